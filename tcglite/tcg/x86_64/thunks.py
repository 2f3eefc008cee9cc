"""The code around the blocks: into host code, out of it, and into Python (QEMU:
tcg_target_qemu_prologue).

One copy stands at the start of each buffer. Whatever leaves a block saves the whole register map
to env, whatever comes back loads it again: so Python always finds every guest register in memory,
and may change it. A callback cannot throw through host code; where one wants to leave for the loop
it sets ``unwinding`` and returns, and the thunk goes straight to the epilogue, from any depth.
"""

from __future__ import annotations

from .asm import (
    ADD,
    CC,
    CMP,
    LOAD,
    NEG,
    OR,
    R8,
    R12,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDTSC,
    RDX,
    RET,
    RSI,
    RSP,
    SHL,
    STORE,
    SUB,
    TEST,
    XOR,
    alu_mi,
    alu_ri,
    imm,
    mov_ri,
    pop,
    push,
    rm,
    rr,
    shift_ri,
)
from .layout import ADDEND, BIAS, BUDGET, ENV, FRAME, Layout

_SAVED = (RBP, RBX, R12, R13, R14, R15)  #: what a System V function must leave as it was
_CALL_RAX, _JMP_RAX = b"\xff\xd0", b"\xff\xe0"


def save_map(layout: Layout) -> bytes:
    """Guest registers and the budget to env; flags change."""
    code = b"".join(
        rm(STORE, home, ENV, temp.value - BIAS) for temp, home in layout.homes.items()
    )
    if layout.count:
        code += rr(b"\xf7", NEG, BUDGET, False) + rm(STORE, BUDGET, ENV, layout.low, None, False)
    return code


def load_map(layout: Layout) -> bytes:
    """Guest registers and the budget from env; flags change."""
    code = b"".join(rm(LOAD, home, ENV, temp.value - BIAS) for temp, home in layout.homes.items())
    if layout.count:
        code += rm(LOAD, BUDGET, ENV, layout.low, None, False) + rr(b"\xf7", NEG, BUDGET, False)
    return code


def make_thunks(layout: Layout, callbacks: dict[str, int]) -> tuple[bytes, dict[str, int]]:
    """The code, and where in it each thunk begins. ``callbacks``: host addresses of the functions
    for "load", "store" and "lookup"."""
    code = bytearray()
    at: dict[str, int] = {}

    def begin(name: str) -> None:
        code.extend(b"\xcc" * (-len(code) % 16))
        at[name] = len(code)

    def jump(name: str, opcode: bytes = b"\xe9") -> None:
        code.extend(opcode)
        code.extend(imm(at[name] - len(code) - 4))

    not_zero = bytes([0x0F, 0x80 | CC["ne"]])
    zero = bytes([0x0F, 0x80 | CC["eq"]])
    unwinding = alu_mi(CMP, ENV, layout.unwinding, 0, False)

    begin("clock")  # uint64_t clock(void)
    stamp = RDTSC + shift_ri(SHL, RDX, 32) + rr(OR, RAX, RDX)
    code += stamp + RET

    begin("enter")  # uint64_t enter(void *host_code)
    code += b"".join(map(push, _SAVED)) + alu_ri(SUB, RSP, FRAME)
    code += rr(LOAD, RAX, RDI) + mov_ri(ENV, layout.env) + mov_ri(ADDEND, layout.addend)
    code += load_map(layout) + _JMP_RAX

    begin("exit")  # eax: the exit word
    code += save_map(layout)
    at["leave"] = len(code)  # the same, where env is right already
    code += rr(LOAD, RCX, RAX) + stamp + rm(STORE, RAX, ENV, layout.stamp) + rr(LOAD, RAX, RCX)
    code += alu_ri(ADD, RSP, FRAME) + b"".join(map(pop, reversed(_SAVED))) + RET

    begin("unwind")  # in a thunk that a block called: off to the loop
    code += alu_ri(ADD, RSP, 8) + rr(XOR, RAX, RAX, False)
    jump("leave")

    def call(name: str, arguments: bytes, target: bytes) -> None:
        """A thunk that a block calls, and that calls ``target`` with ``arguments``."""
        begin(name)
        code.extend(save_map(layout) + arguments + alu_ri(SUB, RSP, 8) + target + _CALL_RAX)
        code.extend(alu_ri(ADD, RSP, 8) + unwinding)
        jump("unwind", not_zero)
        code.extend(load_map(layout) + RET)

    call(  # rax address, ecx memop, rdx host PC
        "load",
        rr(LOAD, RDI, RAX) + rr(LOAD, RSI, RCX, False),
        mov_ri(RAX, callbacks["load"]),
    )
    call(  # rax address, rdx value, ecx memop; the host PC is where this returns to
        "store",
        rr(LOAD, RDI, RAX) + rr(LOAD, RSI, RDX) + rr(LOAD, RDX, RCX, False)
        + rm(LOAD, RCX, RSP, 0),
        mov_ri(RAX, callbacks["store"]),
    )  # fmt: skip
    call(  # rax the function, its arguments in the frame behind the return address
        "helper",
        b"".join(rm(LOAD, r, RSP, 8 * k) for k, r in enumerate((RDI, RSI, RDX, RCX, R8))),
        b"",
    )

    begin("lookup")  # goto_ptr found nothing: on to the block that Python names, or to the loop
    code += save_map(layout) + mov_ri(RAX, callbacks["lookup"]) + _CALL_RAX
    code += rr(TEST, RAX, RAX)
    jump("leave", zero)
    code += rr(LOAD, RDX, RAX) + load_map(layout) + rr(LOAD, RAX, RDX) + _JMP_RAX
    return bytes(code), at

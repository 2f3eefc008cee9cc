"""From the ops of one block to x86-64 code: one function per family of ops.

QEMU: tcg_out_op and its relatives, tcg/i386/tcg-target.c.inc. Nothing here runs anything or needs
an x86 computer: given a layout, the place in the buffer and the places of the thunks, out come
bytes. A block is laid out as head, main line, and then what is rarely run: refusals, exits of jump
slots that are not patched, slow paths of accesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..backend import TB_EXIT_REQUESTED
from ..cflags import TRACE_TIMES
from ..env import JMP_CACHE_MASK
from ..ir import CONST, GLOBAL, Op, Temp
from ..ops import BB_EXIT
from .asm import (
    ADD,
    AND,
    CC_G,
    CC_NE,
    CMP,
    LOAD,
    NOPS,
    OR,
    RAX,
    RCX,
    RDTSC,
    RDX,
    RSP,
    SHL,
    STORE,
    SUB,
    alu_mi,
    alu_ri,
    fits32,
    imm,
    mov_ri,
    rel32,
    rm,
    rr,
    shift_ri,
)
from .layout import BIAS, BUDGET, ENV, Layout
from .regs import NOBODY
from .values import FAMILIES, Values

JMP, CALL = b"\xe9", b"\xe8"


@dataclass(slots=True)
class Emission:
    """Code of one block. ``slots``: of each jump slot, (where its displacement stands, where its
    own exit is), or None. ``marks``: (offset, number of the op that the code from there is for)."""

    code: bytearray
    insn_ends: list[int]
    slots: list[tuple[int, int] | None]
    marks: list[tuple[int, int]] = field(default_factory=list)


class Emitter(Values):
    """Emits one block. ``at``: its offset in the buffer; ``thunks``: name -> offset there;
    ``callback(helper)``: host address of a helper's callback."""

    def __init__(
        self,
        layout: Layout,
        number: int,
        at: int,
        thunks: dict[str, int],
        callback: Callable[[Any], int],
    ) -> None:
        super().__init__(layout)
        self.number = number
        self.at = at
        self.thunks = thunks
        self.callback = callback
        self.insn_ends: list[int] = []
        self.slots: list[tuple[int, int] | None] = [None, None]
        self.jumps: dict[Any, int] = {}  # label -> end of the forward jump to it
        self.later: list[tuple[int, int, Callable[[], None]]] = []  # jump's end, op, its code
        self.outer: list[dict[Temp, int]] = []  # ``pinned`` outside each region that is open
        self.fused: dict[Any, int] = {}  # label -> last op behind it, done already

    def emit(self, ops: Sequence[Op], marks: bool = False) -> Emission:
        """All of it; ``marks``: note which code came from which op."""
        out = Emission(self.code, self.insn_ends, self.slots)
        self.ops = ops
        code, last = self.code, len(ops)
        self.index = 0
        while self.index < last:
            op = ops[self.index]
            if marks:
                out.marks.append((len(code), self.index))
            name = op.opdef.name
            if name == "insn_start":
                self.insn_ends.append(len(code))
            else:
                self.op, self.dead = op, op.dead
                self.out = op.args[0] if op.outs else NOBODY
                EMIT[name](self, *op.args)
                if self.dead:
                    self.bury()
            self.index += 1
        self.insn_ends.append(len(code))
        del self.insn_ends[0]  # where the first one begins
        self.held = {}  # nothing of the main line holds in what it jumps to
        for jump, index, rest in self.later:
            if marks:
                out.marks.append((len(code), index))
            code[jump - 4 : jump] = rel32(len(code) - jump)
            rest()
        for path in self.slow:
            if marks:
                out.marks.append((len(code), path.index))
            self.slow_path(path, self.at, self.thunks)
        return out

    # Jumps.

    def out_of_line(self, rest: Callable[[], None]) -> None:
        """The jump just emitted goes to ``rest``, behind the main line."""
        self.later.append((len(self.code), self.index, rest))

    def to_thunk(self, name: str, opcode: bytes = JMP) -> None:
        """Jump to (or call) a thunk."""
        code = self.code
        code += opcode
        code += rel32(self.thunks[name] - self.at - len(code) - 4)

    def leave(self, word: int) -> None:
        """Back to the loop with an exit word: block number and slot, 0 for neither."""
        self.code += mov_ri(RAX, word)
        self.to_thunk("exit")

    def patchable(self, opcode: bytes, compare: bytes, at: int) -> None:
        """The jump of the goto_tb that is op number ``at``, with its displacement aligned, since
        another thread may patch it; the padding goes before ``compare``, which is to stay next to
        the jump. Until it is patched it leads to what stands behind a goto_tb: pc, and exit_tb."""
        slot, pc = self.ops[at].args[0], self.ops[at + 1].args[1].value
        code = self.code
        code += NOPS[-(self.at + len(code) + len(compare) + len(opcode)) & 3]
        code += compare
        code += opcode
        code += bytes(4)
        jump = len(code)

        def leave() -> None:
            self.slots[slot] = jump - 4, len(code)
            self.store_const(ENV, self.layout.pc, pc)
            self.leave(self.number << 2 | slot)

        self.out_of_line(leave)

    # Branches.

    def op_brcond(self, a: Temp, b: Temp, cond: str, label: Any) -> None:
        """Where the label stands before a goto_tb, the conditional jump is itself the slot."""
        ops, at = self.ops, self.index + 1
        while ops[at].opdef.name != "set_label" or ops[at].args[0] is not label:
            at += 1
        after = [op.opdef.name for op in ops[at + 1 : at + 4]]
        before = ops[at - 1].opdef
        compare, code = self.comparison(a, b, cond)
        opcode = bytes([0x0F, 0x80 | code])
        if after == ["goto_tb", "mov", "exit_tb"] and before.flags & BB_EXIT:
            self.patchable(opcode, compare, at + 1)
            self.fused[label] = at + 3
            return
        self.sync()
        self.outer.append(self.pinned)
        self.pinned = self.pinned | self.frame
        self.code += compare + opcode + bytes(4)
        self.jumps[label] = len(self.code)

    def sync(self) -> None:
        """Put a copy of each temporary that lives on into the frame: another path may come to
        need it."""
        dying = [self.op.args[i] for i in self.dead]
        for r, temp in self.held.items():
            if temp not in dying:
                self.save(temp, r)

    def op_set_label(self, label: Any) -> None:
        if label in self.fused:
            self.index = self.fused[label]
            return
        self.vacate_all()
        jump = self.jumps[label]
        self.code[jump - 4 : jump] = rel32(len(self.code) - jump)
        inner, self.pinned = self.pinned, self.outer.pop()
        self.free += {*inner.values()} - {*self.frame.values(), *self.pinned.values()}

    # State, helpers.

    def op_ld(self, out: Temp, offset: int) -> None:
        r = self.homes.get(out)
        if r is None:
            r = self.grab()
        self.code += rm(LOAD, r, ENV, offset - BIAS)
        self.finish(r)

    def op_st(self, value: Temp, offset: int) -> None:
        if value.kind == CONST and fits32(value.value):
            self.store_const(ENV, offset - BIAS, value.value)
        else:
            self.code += rm(STORE, self.src(value), ENV, offset - BIAS)

    def op_call(self, *args: Any) -> None:
        """Arguments go to the frame, where the thunk finds them whatever the map is."""
        helper = args[-1]
        outs = self.op.outs
        for k, temp in enumerate(args[outs:-1]):
            if temp.kind == CONST and fits32(temp.value):
                self.store_const(RSP, 8 * k, temp.value)
            else:
                self.code += rm(STORE, self.src(temp), RSP, 8 * k)
        self.bury()
        self.vacate_all()
        self.code += mov_ri(RAX, self.callback(helper))
        self.to_thunk("helper", CALL)
        if outs:
            self.finish(RAX)

    def op_mb(self) -> None:
        """One hart, and x86-64 keeps its stores in order."""

    # Leaving.

    def op_exit_check(self, charge: int, kick: bool, pc: int | None) -> None:
        """Charge the budget and test the exit flag. The budget counts up to 0 in a register, the
        flag is 0 or the smallest number: one signed comparison refuses for either."""
        code, layout = self.code, self.layout
        if charge:
            code += alu_ri(ADD, BUDGET, charge, False)
            if kick:
                code += rm(CMP, BUDGET, ENV, layout.high, None, False)
            opcode = CC_G
        elif kick:
            code += alu_mi(CMP, ENV, layout.high, 0, False)
            opcode = CC_NE
        else:
            return
        code += bytes([0x0F, 0x80 | opcode]) + bytes(4)

        def refuse() -> None:
            if charge:
                self.code += alu_ri(SUB, BUDGET, charge, False)
            if pc is None:
                self.leave(self.number << 2 | TB_EXIT_REQUESTED)
                return
            if pc >= 0:
                self.store_const(ENV, layout.pc, pc)
            self.leave(0)

        self.out_of_line(refuse)

    def op_trace_tb(self, mode: int) -> None:
        """The block's number, and the time stamp counter, to the ring."""
        code, layout = self.code, self.layout
        times = mode == TRACE_TIMES
        code += rm(LOAD, RDX, ENV, layout.ring_next)
        code += mov_ri(RCX, layout.ring)
        code += shift_ri(SHL, RDX, 4 if times else 3, False)
        code += alu_ri(AND, RDX, (layout.ring_words << 3) - (16 if times else 8), False)
        code += rr(ADD, RCX, RDX)
        code += rm(b"\xc7", 0, RCX, 0) + imm(self.number)
        if times:
            code += RDTSC + shift_ri(SHL, RDX, 32) + rr(OR, RAX, RDX) + rm(STORE, RAX, RCX, 8)
        code += alu_mi(ADD, ENV, layout.ring_next, 1)

    def op_goto_tb(self, slot: int) -> None:
        self.patchable(JMP, b"", self.index)
        self.index += 2
        self.dead = ()

    def op_exit_tb(self, slot: int | None) -> None:
        self.leave(0 if slot is None else self.number << 2 | slot)

    def op_goto_ptr(self) -> None:
        """Look the pc up in the jump cache: pc and flags must agree; else ask Python."""
        code, layout = self.code, self.layout
        for r, temp in self.held.items():
            if temp.kind == GLOBAL and temp.value - BIAS == layout.pc:
                if r != RAX:
                    code += rr(LOAD, RAX, r)
                break
        else:
            code += rm(LOAD, RAX, ENV, layout.pc)
        code += rr(LOAD, RCX, RAX, False)
        code += shift_ri(SHL, RCX, 4, False)
        code += alu_ri(AND, RCX, JMP_CACHE_MASK << 5, False)
        code += rm(CMP, RAX, ENV, layout.jmp_cache, RCX)
        self.to_thunk("lookup", b"\x0f\x85")
        code += rm(LOAD, RDX, ENV, layout.flags)
        code += rm(CMP, RDX, ENV, layout.jmp_cache + 8, RCX)
        self.to_thunk("lookup", b"\x0f\x85")
        code += rm(b"\xff", 4, ENV, layout.jmp_cache + 16, RCX, False)


EMIT: dict[str, Callable[..., None]] = FAMILIES | {
    name.removeprefix("op_"): getattr(Emitter, name)
    for name in dir(Emitter)
    if name.startswith("op_")
}

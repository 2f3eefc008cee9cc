"""From a seed to a program: always the same one, in one version of tcglite.

Every program ends: by itself, with all registers stored and the finisher told; or asleep for ever;
or at its limit of instructions, in a loop of its own.
"""

from __future__ import annotations

import random

from ...accel.mechanisms import Mechanisms
from ...target.asm import assemble
from ...target.names import REG_NAMES
from .kinds import KINDS, OVER_PAGE, over
from .operands import CORNERS, FRAME
from .pieces import SUBROUTINES, Pieces
from .program import Program

LINES = (30, 90)  #: least and most lines of the part that differs from program to program
PLIC_SOURCE = 5

#: Where the frame's pointers point: around the edge of the two pages of data.
_POINTERS = {"sp": "edge - 0x100", "s0": "edge - 64", "s1": "edge - 3", "gp": "saved"}
_LOADED = [name for name in REG_NAMES if name not in FRAME]

_HANDLER = """
        .balign 64
vectors:{vectors}
        .balign 64
handler:
        sd   t0, 0(gp)
        sd   t1, 8(gp)
        csrr t0, mcause
        bltz t0, interrupt
        ld   t1, 16(gp); add  t1, t1, t0; sd   t1, 16(gp)
        addi t0, t0, -1
        bnez t0, handler1
        csrw mepc, ra               # nothing to fetch there: back to who jumped
        j    handled
handler1:
        addi t0, t0, -7
        bnez t0, handler2
        li   t1, 0x1800; csrs mstatus, t1    # ecall from U: go on in M
handler2:
        csrr t1, mtval
        ld   t0, 24(gp); xor  t0, t0, t1; sd   t0, 24(gp)
        csrr t0, mepc; lhu  t1, 0(t0); andi t1, t1, 3; sltiu t1, t1, 3; slli t1, t1, 1; \
sub  t0, t0, t1; addi t0, t0, 4; csrw mepc, t0
handled:{work}
        ld   t0, 0(gp)
        ld   t1, 8(gp)
        mret
interrupt:
        csrr t1, mepc
        ld   t0, 32(gp); slli t0, t0, 1; xor  t0, t0, t1; sd   t0, 32(gp)
        csrr t0, mcause; andi t0, t0, 15; addi t0, t0, -3
        bnez t0, interrupt1
        sw   zero, 0(tp)
        j    handled
interrupt1:
        addi t0, t0, -4
        bnez t0, interrupt2
        li   t0, -1; li   t1, 0x2004000; sd   t0, 0(t1)
        j    handled
interrupt2:
        li   t0, 0xc200000; lw   t1, 4(t0); sw   t1, 4(t0)
        j    handled
"""
_WORK = """
        li   t0, 3
handled1:
        addi t0, t0, -1
        bnez t0, handled1"""


def _prologue(rng: random.Random, timer: bool, vectored: bool) -> str:
    """Registers from a table, lines that nobody raised lowered, interrupts mostly on."""
    enabled = 0x888 if timer else 0x808
    entry = "vectors + 1" if vectored else "handler"
    lines = ["_start: .option norvc", f"        la   t0, {entry}", "        csrw mtvec, t0",
             "        li   tp, 0x2000000"]  # fmt: skip
    if timer:  # elsewhere nothing is ever armed, so that a wfi may be the end
        lines.append("        li   t0, -1; li   t1, 0x2004000; sd   t0, 0(t1)")
    lines += [
        f"        li   t0, 0xc000000; li   t1, 7; sw   t1, {4 * PLIC_SOURCE}(t0)",
        f"        li   t0, 0xc002000; li   t1, {1 << PLIC_SOURCE}; sw   t1, 0(t0)",
        f"        li   t0, {rng.choice((enabled, enabled, 8, 0)):#x}; csrw mie, t0",
    ]
    lines += [f"        la   {name}, {place}" for name, place in _POINTERS.items()]
    lines.append("        la   t6, table")
    lines += [f"        ld   {name}, {8 * n}(t6)" for n, name in enumerate(_LOADED)]
    if rng.random() < 0.85:
        lines.append("        csrsi mstatus, 8")
    return "\n".join(lines) + "\n"


def _length(prologue: str) -> int:
    """Instructions in the prologue, all of which run once."""
    labels = "handler: vectors: edge: saved: table:"
    return sum(len(data) for _, data in assemble(prologue + labels).segments) // 4


def _sleep() -> str:
    """A sleep that an interrupt from outside ends, right after it or later."""
    return "## asleep\n        csrci mstatus, 8; li   t0, 8; csrw mie, t0; wfi; csrsi mstatus, 8\n"


def _subroutines(p: Pieces) -> list[str]:
    """Each begins with an instruction that programs change; the leaf is called by the others."""
    rng = p.rng
    out = [f".org 0x3000 - {rng.choice((0, 2, 4, 10, 40, 100))}"]
    for name in reversed(SUBROUTINES):
        option = p.set_length(rng.choice((2, 4)))
        body = [*p.slot(f"{name}_slot"), *p.body()]
        if name != "leaf" and rng.random() < 0.6:
            body += ["jal  s9, leaf", *p.straight(2)]
        back = "jr s9" if name == "leaf" else "ret"
        out += ["## subroutine", option, f"{name}:", *body, back]
    return out


def _body(p: Pieces) -> list[str]:
    """Paragraphs until it is long enough."""
    rng = p.rng
    out: list[str] = []
    names, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    wanted = rng.randrange(*LINES)
    while len(out) < wanted:
        kind = rng.choices(names, weights)[0]
        out.append(f"## {kind}")
        if rng.random() < 0.4:
            out.append(p.set_length(6 - p.length))
        out += KINDS[kind][0](p)
    return out


def _end(rng: random.Random, quiet: bool) -> list[str]:
    """All registers into memory; then the finisher, a loop, or sleep."""
    stores = "; ".join(f"sd {name}, {40 + 8 * n}(gp)" for n, name in enumerate(REG_NAMES[1:]))
    case = rng.random()
    if case < 0.08:
        last = ["stop: j stop"]
    elif case < 0.16 and quiet:
        last = ["csrw mie, zero; wfi"]
    else:
        last = ["li t0, 0x100000; li t1, 0x5555; sw t1, 0(t0)"]
    return ["## end", ".option norvc", stores, *last, "1: j 1b"]


def _value(rng: random.Random) -> int:
    """A corner, anything, or what is negative in all sizes."""
    any_ = rng.getrandbits(64)
    return rng.choice((rng.choice(CORNERS), any_, any_ | 0x8080_8080_8080_8080))


def _data(rng: random.Random) -> str:
    values = [_value(rng) for _ in _LOADED]
    words = [_value(rng) for _ in range(24)]
    return f"""
## data
        .org 0x3c00
saved:  .space 320
table:  .dword {", ".join(f"{value:#x}" for value in values)}
        .org 0x4f60
        .dword {", ".join(f"{word:#x}" for word in words[:20])}
edge:   .dword {", ".join(f"{word:#x}" for word in words[20:])}
        .org {OVER_PAGE:#x} - 0x20
"""


def _mechanisms(rng: random.Random, icount: bool) -> Mechanisms:
    """Switches that must make no difference."""
    checks = ("tb-end", "every-insn", "quantum", "acyclic", "unlink")
    check = "tb-start" if icount or rng.random() < 0.6 else rng.choice(checks)
    return Mechanisms(
        chain=rng.random() < 0.92,
        goto_ptr=rng.random() < 0.92,
        irq_check=check,
        quantum=rng.choice((1, 3, 10, 50)) if check == "quantum" else 1000,
        restore="eager" if rng.random() < 0.1 else True,
        io_last=rng.random() < 0.12,
        max_block_insns=512 if rng.random() < 0.75 else rng.randrange(1, 17),
    )


def generate(seed: int) -> Program:
    """The program of that number."""
    rng = random.Random(seed)
    icount = rng.randrange(4) if rng.random() < 0.25 else None
    mechanisms = _mechanisms(rng, icount is not None)
    asleep = rng.random() < 0.06
    timer = rng.random() < 0.6 and not asleep
    prologue = _prologue(rng, timer, rng.random() < 0.3)
    began = _length(prologue)
    p = Pieces(rng, icount, timer)
    option = p.set_length(rng.choice((2, 4)))
    body, end, subroutines = _body(p), _end(rng, not timer), _subroutines(p)
    vectors = "\n        j    handler" * 12
    handler = _HANDLER.format(vectors=vectors, work=_WORK if rng.random() < 0.3 else "")
    source = [
        prologue + (_sleep() if asleep else "") + "        j    body", handler,
        f"        .org 0x1000 - {rng.choice((0, 2, 40, 150, 300, 0xC00 // 2)):#x}",
        "body:", option, *body, *end, *subroutines,
        _data(rng), *(over(p) if p.over else ()),
    ]  # fmt: skip
    lines = ("msip", "msip", "mtip", f"plic:{PLIC_SOURCE}") if timer else (
        "msip", "msip", f"plic:{PLIC_SOURCE}"
    )  # fmt: skip
    irq = [
        (began + int(2 ** rng.uniform(0, 10.5)), rng.choice(lines))
        for _ in range(rng.choice((0, 0, 1, 2, 4, 7)))
    ]
    if asleep:
        irq.append((began + 4 + rng.choice((0, 0, 1, 9)), "msip"))
    events = ("FlagCleared",) * 4 + ("LoopExit", "ChainPatched", "BlockTranslated", "TrapReturn")
    at = [
        (rng.choice(events), rng.randrange(1, 12), rng.choice(lines))
        for _ in range(rng.choice((0, 0, 0, 1, 3)))
    ]
    text = "\n".join(source).strip("\n")
    return Program(str(seed), text, tuple(sorted(irq)), tuple(sorted(set(at))), mechanisms, icount)

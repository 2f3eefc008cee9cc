"""Single random instructions as text, from the rows of the instruction set.

What is held fixed is only what keeps a program in one piece: some registers belong to the program's
frame and are never written here, loads and stores go through them, and CSRs that would stop the
machine from coming back are left to whoever knows what to write there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ...target.disas import order_text
from ...target.insns import BASE_ROWS, COMPRESSED_ROWS, Row, operand_names
from ...target.names import CSR_NAMES, FREG_NAMES, REG_NAMES, ROUNDING_MODES

#: The frame: ra and s9 link calls, gp points to where the handler saves registers, tp to the CLINT,
#: sp, s0 and s1 into the data, s10 and s11 count loops.
FRAME = ("zero", "ra", "sp", "gp", "tp", "s0", "s1", "s9", "s10", "s11")
FREE = tuple(name for name in REG_NAMES if name not in FRAME)
_SHORT = ("a0", "a1", "a2", "a3", "a4", "a5")  # of those that a compressed instruction can name

#: Singles and doubles stay apart: what is in the upper half of a register that holds a single,
#: older implementations have otherwise.
SINGLES, DOUBLES = ("ft0", "ft1", "ft10", "ft11"), FREG_NAMES[8:16]

CORNERS = (
    0, 1, 2, 3, 31, 32, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF,
    0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_8000_0000,
    0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000,
    0x8000_0000_0000_0001, 0xFFFF_FFFF_0000_0000, 0xFFFF_FFFF_7FFF_FFFF, 0xFFFF_FFFF_8000_0000,
    0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF,
)  # fmt: skip

#: May be written with anything: nothing that follows depends on it, or it keeps nothing.
WRITABLE = (
    "mscratch", "mscratch", "mepc", "mcause", "mtval", "mcounteren", "menvcfg", "misa",
    "mcountinhibit", "mip", "minstret", "pmpaddr0", "pmpaddr3", "mhpmcounter3", "mhpmevent4",
    "fflags", "frm", "fcsr",
)  # fmt: skip
READABLE = (
    *WRITABLE, "mstatus", "mie", "mtvec", "instret", "mvendorid", "marchid", "mimpid", "mhartid",
    "mconfigptr", "pmpcfg0",
)  # fmt: skip
#: Not there in this hart, or read-only: illegal instructions.
ABSENT = ("sstatus", "satp", "stvec", "medeleg", "mideleg", "hpmcounter3", "0x7c0", "0x015")
READ_ONLY = ("mvendorid", "mhartid", "instret", "cycle", "time")
#: They depend on the host's clock, unless time is made of instructions.
TIMERS = ("cycle", "time", "mcycle")

_SYSTEM = ("ecall", "ebreak", "mret", "wfi", "illegal_s")
_JUMPS = ("jal", "jalr", "branch")
_FP = ("fpload", "fpstore", "fmv", "fsgnj", "fparith")


def _straight(rows: Sequence[Row]) -> tuple[Row, ...]:
    apart = (*_SYSTEM, *_JUMPS, *_FP, "fence_i", "csr", "csri", "lr", "sc")
    return tuple(r for r in rows if r.family not in apart and r.name != "c.addi16sp")


STRAIGHT = {4: _straight(BASE_ROWS), 2: _straight(COMPRESSED_ROWS)}
MEMORY = {n: tuple(r for r in rows if r.family in ("load", "store", "amo"))
          for n, rows in STRAIGHT.items()}  # fmt: skip
FP = {4: tuple(r for r in BASE_ROWS if r.family in _FP),
      2: tuple(r for r in COMPRESSED_ROWS if r.family in _FP)}  # fmt: skip
FP_STATE = {n: tuple(r for r in rows if r.family != "fparith") for n, rows in FP.items()}
CSR = tuple(r for r in BASE_ROWS if r.family in ("csr", "csri"))
BRANCHES = {4: tuple(r for r in BASE_ROWS if r.family == "branch"),
            2: tuple(r for r in COMPRESSED_ROWS if r.family == "branch")}  # fmt: skip


def _single(row: Row) -> bool:
    return row.arg == "l" or row.arg[-1] == "s" or row.name in ("fmv.w.x", "fmv.x.w")


def _register(rng: random.Random, row: Row, name: str) -> str:
    """An integer register for an operand."""
    field = next((f for f in row.fields if f.name == name), None)
    if field is None:  # fixed by the pattern
        return "sp"
    if field.bias:
        return rng.choice(_SHORT)
    if name == "rd":
        if rng.random() < 0.04 and ("rd", 0) not in row.where:
            return "zero"
        return rng.choice(FREE)
    zero = (name, 0) not in row.where and rng.random() < 0.05
    return "zero" if zero else rng.choice(REG_NAMES[1:])


def _pointer(rng: random.Random, row: Row) -> str:
    """The base of a memory access; s1 is odd."""
    if row.family in ("lr", "sc"):  # one size at one place: what a mixed pair does, is open
        return "s0" if row.arg == "l" else "sp"
    if row.family == "amo":
        return "s1" if rng.random() < 0.06 else rng.choice(("s0", "sp"))
    return rng.choice(("s0", "s1") if row.length == 2 else ("s0", "s1", "sp"))


def _number(rng: random.Random, row: Row) -> int:
    field = row.field("imm")
    low, high, step = field.limits()
    near = rng.random()
    if row.family in ("load", "store", "fpload", "fpstore") and row.length == 4:
        return rng.randrange(-8, 72) if near < 0.7 else rng.randrange(low, high + 1)
    while True:
        value = rng.choice((low, high, 0, step)) if near < 0.2 else rng.randrange(low, high + 1)
        value -= value % step
        if ("imm", value) not in row.where:
            return value
        near = 1.0


def instruction(rng: random.Random, row: Row, target: str = "") -> str:
    """The row with random operands, as text. ``target``: the label that it branches to."""
    name = row.name
    if "q" in row.pattern:
        name += rng.choice(("", "", ".aq", ".rl", ".aqrl"))
    operands = row.operands
    for operand in operand_names(operands):
        if operand == "sp":  # compressed instructions name it in their syntax
            continue
        if operand in ("rd", "rs1", "rs2"):
            memory = row.family in ("load", "store", "amo", "lr", "sc", "fpload", "fpstore")
            text = _pointer(rng, row) if memory and operand == "rs1" else (
                _register(rng, row, operand)
            )  # fmt: skip
        elif operand[:3] in ("frd", "frs"):
            text = rng.choice(SINGLES if _single(row) else DOUBLES)
        elif operand in ("imm", "shamt"):
            text = str(_number(rng, row))
        elif operand == "hi20":
            text = f"{_number(rng, row) >> 12 & 0xFFFFF:#x}"
        elif operand == "order":
            text = f"{order_text(rng.randrange(16))}, {order_text(rng.randrange(16))}"
        elif operand == "addr":
            text = target
        else:
            assert operand in ("rm", "rm=rne"), operand
            text = rng.choice([mode for mode in ROUNDING_MODES if mode])
        operands = _replace(operands, operand, text)
    return f"{name} {operands}".rstrip()


def _replace(operands: str, operand: str, text: str) -> str:
    """Put ``text`` in the place of an operand, but not of one whose name begins like it."""
    head, _, tail = operands.partition(operand)
    return head + text + tail


def csr_access(rng: random.Random, icount: bool) -> str:
    """A CSR instruction, sometimes an illegal one, that cannot take the program out of its way."""
    row = rng.choice(CSR)
    kind, rd = row.name, _register(rng, row, "rd")
    case = rng.random()
    if case < 0.45:
        name = rng.choice(WRITABLE)
        source = str(rng.randrange(32)) if row.family == "csri" else _register(rng, row, "rs1")
        if name == "mcounteren" and rng.random() < 0.5:
            source = "0" if row.family == "csri" else "zero"
        if name in ("mepc", "mip", "misa", "minstret") and row.family == "csr":
            source = rng.choice(FREE)
    elif case < 0.85:  # only reads, which csrrw does with no operand
        kind = rng.choice(("csrrs", "csrrc", "csrrsi", "csrrci"))
        name = rng.choice(READABLE + TIMERS if icount else READABLE)
        source = "0" if kind.endswith("i") else "zero"
    else:
        name = rng.choice(ABSENT + READ_ONLY)
        source = str(rng.randrange(1, 32)) if row.family == "csri" else rng.choice(FREE)
    return f"{kind} {rd}, {name}, {source}"


assert all(name.startswith("0x") or name in CSR_NAMES.values() for name in ABSENT + READABLE)

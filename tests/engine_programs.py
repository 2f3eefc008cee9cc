"""Generated RV64IMAC programs that only ever go forward, for the tests that compare engines.

Every instruction row of the integer machine can come, with arbitrary fields; what is held fixed is
only what keeps a program in one piece: loads and stores go through pointers that nobody overwrites,
atomics are aligned, jumps skip exactly one instruction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tcglite.target.asm_encode import encode
from tcglite.target.decode import decode, insn_length
from tcglite.target.insns import BASE_ROWS, COMPRESSED_ROWS, ROWS, Row

CODE = 0x8000_0000
RAM_SIZE = 0x10000
DATA, DATA_SIZE = 0x8000_8000, 0x2000  #: two pages
EDGE = DATA + 0x1000  #: where the second begins

#: Pointers that programs never write: far and near of the page edge, aligned and odd.
POINTERS = {2: EDGE - 0x100, 8: EDGE - 64, 9: EDGE - 3, 18: EDGE - 4}
SCRATCH = 13  #: holds the targets of indirect jumps
MSCRATCH = 0x340

CORNERS = (
    0, 1, 2, 3, 31, 32, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF,
    0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_8000_0000,
    0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000,
    0x8000_0000_0000_0001, 0xFFFF_FFFF_0000_0000, 0xFFFF_FFFF_7FFF_FFFF, 0xFFFF_FFFF_8000_0000,
    0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF,
)  # fmt: skip

#: Families that trap, sleep, or belong to the FPU: tested elsewhere.
_NOT_HERE = {
    "ecall", "ebreak", "mret", "wfi", "illegal_s", "fpload", "fpstore", "fmv", "fsgnj", "fparith",
}  # fmt: skip
RV64IMAC = tuple(
    row
    for row in (*BASE_ROWS, *COMPRESSED_ROWS)
    if row.family not in _NOT_HERE and row.name != "c.addi16sp"  # that one moves a pointer
)
JUMPS = ("jal", "jalr", "branch")
STRAIGHT = tuple(r for r in RV64IMAC if r.family not in JUMPS)


@dataclass(frozen=True, slots=True)
class Item:
    """One instruction to be laid out: its row, and the raw bits that its fields are taken from."""

    row: Row
    raw: int

    def __repr__(self) -> str:
        return f"Item({self.row.name}, {self.raw:#x})"


def _pointer(row: Row, raw: int) -> int:
    """The base register of a memory access."""
    if row.family in ("lr", "sc", "amo"):
        if row.family == "amo":
            choice = (2, 8, 8, 18 if row.arg[1] == "l" else 2)
        else:  # no sc.w after lr.d: QEMU's stores, and reports failure
            choice = (18, 18) if row.arg == "l" else (2, 8)
    else:
        choice = (8, 9) if row.length == 2 else (2, 8, 9, 18)
    return choice[raw >> 24 & len(choice) - 1]


def bits_of(item: Item, target: int = 0) -> int | None:
    """The instruction, with the fields that must not be arbitrary put right; ``target`` is the
    distance that it jumps. None: these raw bits give no such instruction."""
    row = item.row
    values = {f.name: f.extract(item.raw) for f in row.fields}
    if row.family in ("load", "store", "lr", "sc", "amo"):
        if "rs1" in values:
            values["rs1"] = _pointer(row, item.raw)
        if row.length == 4 and "imm" in values and item.raw >> 27 & 1:
            values["imm"] = item.raw >> 20 & 15  # near the page edge
        if row.length == 2 and values.get("rs1") == 9:
            values["imm"] &= 0x38
    if row.family in JUMPS and "imm" in values:
        values["imm"] = target
    if row.family == "jalr":
        values["rs1"] = SCRATCH
    if "csr" in values:
        values["csr"] = MSCRATCH
    if "rd" in values and (values["rd"] in POINTERS or values["rd"] == SCRATCH):
        values["rd"] = 14 if row.length == 2 else 31
    bits = encode(row, values)
    insn = decode(bits)
    return bits if insn is not None and insn.row is row else None


def layout(items: Iterable[Item]) -> list[int]:
    """The instructions of a program; jumps skip the one after them (or nothing, at the end)."""
    program: list[int] = []
    after: list[int] = []  # what the jump in hand is to skip, worked out from the back
    for item in reversed(list(items)):
        row = item.row
        skipped = sum(map(insn_length, after))
        if row.family == "jalr":
            length = row.length
            jump = bits_of(item, item.raw >> 28)
            if jump is None:
                continue
            imm = 0 if length == 2 else item.raw >> 28
            odd = item.raw >> 7 & 1  # bit 0 of the target is dropped
            distance = 8 + length + skipped + odd - imm
            front = [
                encode(ROWS["auipc"], {"rd": SCRATCH, "imm": 0}),
                encode(ROWS["addi"], {"rd": SCRATCH, "rs1": SCRATCH, "imm": distance}),
                jump,
            ]
        else:
            bits = bits_of(item, row.length + skipped)
            if bits is None:
                continue
            front = [bits]
        after = front
        program[:0] = front
    return program


def code_of(program: Iterable[int]) -> bytes:
    """The bytes of a program."""
    return b"".join(bits.to_bytes(insn_length(bits), "little") for bits in program)


def random_items(rng: random.Random, count: int, rows: tuple[Row, ...] = RV64IMAC) -> list[Item]:
    """``count`` random instructions."""
    return [Item(rng.choice(rows), rng.getrandbits(32)) for _ in range(count)]


def registers(value: Callable[[int], int]) -> list[int]:
    """x0 … x31 before the program runs: ``value(n)``, but for x0 and the pointers."""
    return [0, *(POINTERS.get(n, value(n)) for n in range(1, 32))]


def load_immediate(rd: int, value: int) -> list[int]:
    """lui, addi and shifts that make any 64-bit constant in rd (32-bit instructions only)."""
    value &= (1 << 64) - 1
    signed = value - (1 << 64) if value >> 63 else value
    low = (signed & 0xFFF) - (0x1000 if signed & 0x800 else 0)
    addi = encode(ROWS["addi"], {"rd": rd, "rs1": rd, "imm": low})
    if -(1 << 31) <= signed < 1 << 31:
        upper = (signed - low + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)
        lui = encode(ROWS["lui"], {"rd": rd, "imm": upper})
        return [lui, encode(ROWS["addiw"], {"rd": rd, "rs1": rd, "imm": low})]
    shift = encode(ROWS["slli"], {"rd": rd, "rs1": rd, "imm": 12})
    return [*load_immediate(rd, signed - low >> 12), shift, addi]

"""The decoder: instruction bits to the row that they match and the values of its fields.

Mirrors what QEMU generates from target/riscv/*.decode, with one difference: a compressed
instruction decodes to its base instruction with length 2, so that the translator never sees it.
"""

from __future__ import annotations

from typing import Any

from tcglite.target.insns import BASE_ROWS, COMPRESSED_ROWS, Field, Row

CACHE_LIMIT = 1 << 16
"""Decoded instructions kept; a guest that runs random bytes must not fill the host's memory."""


_FIELDS = ("rd", "rs1", "rs2", "rs3", "imm", "csr", "rm", "aq", "rl")


class Insn:
    """One decoded instruction. Shared by all who decode the same bits: never change it.

    `row` is the row that matched (a compressed one perhaps, for listings); `name`, `family`, `arg`
    and `flags` are the base row's. Fields that the instruction lacks are 0. `imm` is a signed
    integer, in bytes for pc-relative ones, already shifted for lui and auipc; for fence it is
    pred << 4 | succ. The number of a csrr*i is in `rs1`.
    """

    __slots__ = ("arg", "bits", "row", *_FIELDS)
    rd: int
    rs1: int
    rs2: int
    rs3: int
    imm: int
    csr: int
    rm: int
    aq: int
    rl: int

    def __init__(self, row: Row, bits: int, values: list[int]) -> None:
        """`values` are those of the fields, in the order of `_FIELDS`."""
        self.row = row
        self.arg: Any = row.arg  # str or a tuple of str, as the family wants it
        self.bits = bits
        (
            self.rd, self.rs1, self.rs2, self.rs3, self.imm,
            self.csr, self.rm, self.aq, self.rl,
        ) = values  # fmt: skip

    @property
    def name(self) -> str:
        return (self.row.base or self.row).name

    @property
    def family(self) -> str:
        return self.row.family

    @property
    def flags(self) -> int:
        return self.row.flags

    @property
    def length(self) -> int:
        return self.row.length

    def __repr__(self) -> str:
        return f"<Insn {self.row.name} {self.bits:#0{2 + 2 * self.length}x}>"


def insn_length(halfword: int) -> int:
    """Bytes of the instruction that starts with this 16-bit half: 2 or 4.

    Encodings that the specification reserves for longer instructions count as 4, as in QEMU; they
    match no row.
    """
    return 4 if halfword & 3 == 3 else 2


class _Plan:
    """How to decode one row, worked out once: which bits go to which of the `_FIELDS`."""

    __slots__ = ("mask", "row", "scattered", "simple", "start", "value", "where")

    def __init__(self, row: Row) -> None:
        self.row, self.mask, self.value = row, row.mask, row.value
        sources = row.expansion or tuple((field.name, field.name) for field in row.fields)
        fields = {field.name: field for field in row.fields}
        self.start = [0] * len(_FIELDS)
        """Values before the instruction is looked at: the constants of an expansion."""
        self.simple: list[tuple[int, int, int, int, int]] = []
        """(index in _FIELDS, right shift, mask, sign, what to add) of fields in one run."""
        self.scattered: list[tuple[int, Field]] = []
        place: dict[str, int] = {}
        for name, source in sources:
            index = _FIELDS.index(name)
            if isinstance(source, int):
                self.start[index] = source
                continue
            field = fields[source]
            place[source] = index
            right, mask, left = field.runs[0]
            if len(field.runs) == 1 and not left:
                self.simple.append((index, right, mask, field.sign, field.bias - field.sign))
            else:
                self.scattered.append((index, field))
        self.where = [(place[name], value) for name, value in row.where]


def _index(rows: tuple[Row, ...], key_mask: int) -> dict[int, list[_Plan]]:
    """The rows by the bits under `key_mask`; a row with free bits there has several entries."""
    index: dict[int, list[_Plan]] = {}
    for row in rows:
        plan = _Plan(row)
        free = key_mask & ~row.mask
        extra = free
        while True:  # all subsets of the free bits
            index.setdefault(row.value & key_mask | extra, []).append(plan)
            if not extra:
                break
            extra = (extra - 1) & free
    return index


_KEY_32 = 0x707F  # opcode and funct3
_KEY_16 = 0xE003  # quadrant and funct3
_INDEX_32 = _index(BASE_ROWS, _KEY_32)
_INDEX_16 = _index(COMPRESSED_ROWS, _KEY_16)


def _decode(bits: int) -> Insn | None:
    if bits & 3 == 3:
        plans = _INDEX_32.get(bits & _KEY_32, ())
    else:
        plans = _INDEX_16.get(bits & _KEY_16, ())
    for plan in plans:
        if bits & plan.mask == plan.value:
            values = plan.start.copy()
            for index, right, mask, sign, add in plan.simple:
                values[index] = (bits >> right & mask ^ sign) + add
            for index, field in plan.scattered:
                values[index] = field.extract(bits)
            for index, refused in plan.where:
                if values[index] == refused:
                    break
            else:
                return Insn(plan.row, bits, values)
    return None


_cache: dict[int, Insn | None] = {}


def decode(bits: int) -> Insn | None:
    """Decode a 32-bit word (low two bits 11) or a 16-bit half (any other); None is illegal."""
    insn = _cache.get(bits)
    if insn is None and bits not in _cache:
        if len(_cache) >= CACHE_LIMIT:
            _cache.clear()
        insn = _cache[bits] = _decode(bits)
    return insn

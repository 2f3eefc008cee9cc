"""The instruction set: one row per instruction.

Everything that knows instructions reads these rows: the decoder, the disassembler, the assembler
and, by family and argument, the translator. The counterpart in QEMU is the pair
target/riscv/insn32.decode and insn16.decode; the tables for floating point and for compressed
instructions are in `insns_fp` and `insns_c`.

A row reads

    pattern | assembly | family argument | flags | immediate | conditions

*Pattern*, from bit 31 (or 15) down: `0` and `1` are fixed, `-` is ignored (and written as 0), and
letters are fields:

    d rd    s rs1    t rs2    r rs3    c csr    m rounding mode    q aq    l rl
    i signed immediate        u unsigned immediate

A register field of three bits (compressed instructions) means x8 to x15.
*Assembly* is the mnemonic and its operands: rd rs1 rs2 rs3 (integer), frd frs1 frs2 frs3 (FP),
imm, shamt, addr (pc-relative), hi20 (upper immediate, written without its 12 low zeros), csr,
zimm (rs1 as a number), order (fence), rm (may be left out: dynamic; `rm=rne`: to nearest even).
*Family* is the translation function, *argument* its parameter: several words make a tuple, `.` is
the empty word, `=` the mnemonic.
*Immediate* says which immediate bits the letters i or u hold, in the order in which they are met;
without it they are the low ones in order.
*Conditions* are fields that must not have a value for the row to match. The rounding modes 5 and 6
are reserved, so they match no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tcglite.target.insns_c import COMPRESSED
from tcglite.target.insns_fp import FLOATING_POINT

ENDS_TB = 1
"""The instruction is the last of its block, whatever it does."""
MAY_TRAP = 2
"""The instruction may raise an exception at run time."""

BASE = """
# RV64I
iiiiiiiiiiiiiiiiiiii ddddd 0110111    | lui rd, hi20         | lui        | | 31:12
iiiiiiiiiiiiiiiiiiii ddddd 0010111    | auipc rd, hi20       | auipc      | | 31:12
iiiiiiiiiiiiiiiiiiii ddddd 1101111    | jal rd, addr         | jal      | ENDS_TB | 20 10:1 11 19:12
iiiiiiiiiiii sssss 000 ddddd 1100111  | jalr rd, imm(rs1)    | jalr       | ENDS_TB
iiiiiii ttttt sssss 000 iiiii 1100011 | beq rs1, rs2, addr   | branch eq  | ENDS_TB | 12 10:5 4:1 11
iiiiiii ttttt sssss 001 iiiii 1100011 | bne rs1, rs2, addr   | branch ne  | ENDS_TB | 12 10:5 4:1 11
iiiiiii ttttt sssss 100 iiiii 1100011 | blt rs1, rs2, addr   | branch lt  | ENDS_TB | 12 10:5 4:1 11
iiiiiii ttttt sssss 101 iiiii 1100011 | bge rs1, rs2, addr   | branch ge  | ENDS_TB | 12 10:5 4:1 11
iiiiiii ttttt sssss 110 iiiii 1100011 | bltu rs1, rs2, addr  | branch ltu | ENDS_TB | 12 10:5 4:1 11
iiiiiii ttttt sssss 111 iiiii 1100011 | bgeu rs1, rs2, addr  | branch geu | ENDS_TB | 12 10:5 4:1 11
iiiiiiiiiiii sssss 000 ddddd 0000011  | lb rd, imm(rs1)      | load sb    | MAY_TRAP
iiiiiiiiiiii sssss 001 ddddd 0000011  | lh rd, imm(rs1)      | load sw    | MAY_TRAP
iiiiiiiiiiii sssss 010 ddddd 0000011  | lw rd, imm(rs1)      | load sl    | MAY_TRAP
iiiiiiiiiiii sssss 011 ddddd 0000011  | ld rd, imm(rs1)      | load q     | MAY_TRAP
iiiiiiiiiiii sssss 100 ddddd 0000011  | lbu rd, imm(rs1)     | load ub    | MAY_TRAP
iiiiiiiiiiii sssss 101 ddddd 0000011  | lhu rd, imm(rs1)     | load uw    | MAY_TRAP
iiiiiiiiiiii sssss 110 ddddd 0000011  | lwu rd, imm(rs1)     | load ul    | MAY_TRAP
iiiiiii ttttt sssss 000 iiiii 0100011 | sb rs2, imm(rs1)     | store b    | MAY_TRAP
iiiiiii ttttt sssss 001 iiiii 0100011 | sh rs2, imm(rs1)     | store w    | MAY_TRAP
iiiiiii ttttt sssss 010 iiiii 0100011 | sw rs2, imm(rs1)     | store l    | MAY_TRAP
iiiiiii ttttt sssss 011 iiiii 0100011 | sd rs2, imm(rs1)     | store q    | MAY_TRAP
iiiiiiiiiiii sssss 000 ddddd 0010011  | addi rd, rs1, imm    | arithi add
iiiiiiiiiiii sssss 010 ddddd 0010011  | slti rd, rs1, imm    | arithi slt
iiiiiiiiiiii sssss 011 ddddd 0010011  | sltiu rd, rs1, imm   | arithi sltu
iiiiiiiiiiii sssss 100 ddddd 0010011  | xori rd, rs1, imm    | arithi xor
iiiiiiiiiiii sssss 110 ddddd 0010011  | ori rd, rs1, imm     | arithi or
iiiiiiiiiiii sssss 111 ddddd 0010011  | andi rd, rs1, imm    | arithi and
000000 uuuuuu sssss 001 ddddd 0010011 | slli rd, rs1, shamt  | arithi shl
000000 uuuuuu sssss 101 ddddd 0010011 | srli rd, rs1, shamt  | arithi shr
010000 uuuuuu sssss 101 ddddd 0010011 | srai rd, rs1, shamt  | arithi sar
0000000 ttttt sssss 000 ddddd 0110011 | add rd, rs1, rs2     | arith add
0100000 ttttt sssss 000 ddddd 0110011 | sub rd, rs1, rs2     | arith sub
0000000 ttttt sssss 001 ddddd 0110011 | sll rd, rs1, rs2     | arith shl
0000000 ttttt sssss 010 ddddd 0110011 | slt rd, rs1, rs2     | arith slt
0000000 ttttt sssss 011 ddddd 0110011 | sltu rd, rs1, rs2    | arith sltu
0000000 ttttt sssss 100 ddddd 0110011 | xor rd, rs1, rs2     | arith xor
0000000 ttttt sssss 101 ddddd 0110011 | srl rd, rs1, rs2     | arith shr
0100000 ttttt sssss 101 ddddd 0110011 | sra rd, rs1, rs2     | arith sar
0000000 ttttt sssss 110 ddddd 0110011 | or rd, rs1, rs2      | arith or
0000000 ttttt sssss 111 ddddd 0110011 | and rd, rs1, rs2     | arith and
iiiiiiiiiiii sssss 000 ddddd 0011011  | addiw rd, rs1, imm   | arithwi add
0000000 uuuuu sssss 001 ddddd 0011011 | slliw rd, rs1, shamt | arithwi shl
0000000 uuuuu sssss 101 ddddd 0011011 | srliw rd, rs1, shamt | arithwi shr
0100000 uuuuu sssss 101 ddddd 0011011 | sraiw rd, rs1, shamt | arithwi sar
0000000 ttttt sssss 000 ddddd 0111011 | addw rd, rs1, rs2    | arithw add
0100000 ttttt sssss 000 ddddd 0111011 | subw rd, rs1, rs2    | arithw sub
0000000 ttttt sssss 001 ddddd 0111011 | sllw rd, rs1, rs2    | arithw shl
0000000 ttttt sssss 101 ddddd 0111011 | srlw rd, rs1, rs2    | arithw shr
0100000 ttttt sssss 101 ddddd 0111011 | sraw rd, rs1, rs2    | arithw sar
1000 0011 0011 ----- 000 ----- 0001111 | fence.tso            | fence
---- uuuuuuuu ----- 000 ----- 0001111 | fence order          | fence
000000000000 00000 000 00000 1110011  | ecall                | ecall      | ENDS_TB MAY_TRAP
000000000001 00000 000 00000 1110011  | ebreak               | ebreak     | ENDS_TB MAY_TRAP

# Zifencei
------------ ----- 001 ----- 0001111  | fence.i              | fence_i    | ENDS_TB

# Zicsr
cccccccccccc sssss 001 ddddd 1110011  | csrrw rd, csr, rs1   | csr rw     | ENDS_TB MAY_TRAP
cccccccccccc sssss 010 ddddd 1110011  | csrrs rd, csr, rs1   | csr rs     | ENDS_TB MAY_TRAP
cccccccccccc sssss 011 ddddd 1110011  | csrrc rd, csr, rs1   | csr rc     | ENDS_TB MAY_TRAP
cccccccccccc sssss 101 ddddd 1110011  | csrrwi rd, csr, zimm | csri rw    | ENDS_TB MAY_TRAP
cccccccccccc sssss 110 ddddd 1110011  | csrrsi rd, csr, zimm | csri rs    | ENDS_TB MAY_TRAP
cccccccccccc sssss 111 ddddd 1110011  | csrrci rd, csr, zimm | csri rc    | ENDS_TB MAY_TRAP

# Privileged (sret and sfence.vma stay illegal until the machine has S mode)
0011000 00010 00000 000 00000 1110011 | mret                 | mret       | ENDS_TB MAY_TRAP
0001000 00010 00000 000 00000 1110011 | sret                 | illegal_s  | ENDS_TB MAY_TRAP
0001000 00101 00000 000 00000 1110011 | wfi                  | wfi        | MAY_TRAP
0001001 ttttt sssss 000 00000 1110011 | sfence.vma rs1, rs2  | illegal_s  | MAY_TRAP

# RV64M
0000001 ttttt sssss 000 ddddd 0110011 | mul rd, rs1, rs2     | arith mul
0000001 ttttt sssss 001 ddddd 0110011 | mulh rd, rs1, rs2    | arith mulsh
0000001 ttttt sssss 010 ddddd 0110011 | mulhsu rd, rs1, rs2  | arith mulsu
0000001 ttttt sssss 011 ddddd 0110011 | mulhu rd, rs1, rs2   | arith muluh
0000001 ttttt sssss 100 ddddd 0110011 | div rd, rs1, rs2     | div div
0000001 ttttt sssss 101 ddddd 0110011 | divu rd, rs1, rs2    | div divu
0000001 ttttt sssss 110 ddddd 0110011 | rem rd, rs1, rs2     | div rem
0000001 ttttt sssss 111 ddddd 0110011 | remu rd, rs1, rs2    | div remu
0000001 ttttt sssss 000 ddddd 0111011 | mulw rd, rs1, rs2    | arithw mul
0000001 ttttt sssss 100 ddddd 0111011 | divw rd, rs1, rs2    | divw div
0000001 ttttt sssss 101 ddddd 0111011 | divuw rd, rs1, rs2   | divw divu
0000001 ttttt sssss 110 ddddd 0111011 | remw rd, rs1, rs2    | divw rem
0000001 ttttt sssss 111 ddddd 0111011 | remuw rd, rs1, rs2   | divw remu

# RV64A
00010 ql 00000 sssss 010 ddddd 0101111 | lr.w rd, (rs1)           | lr l       | MAY_TRAP
00011 ql ttttt sssss 010 ddddd 0101111 | sc.w rd, rs2, (rs1)      | sc l       | MAY_TRAP
00001 ql ttttt sssss 010 ddddd 0101111 | amoswap.w rd, rs2, (rs1) | amo swap l | MAY_TRAP
00000 ql ttttt sssss 010 ddddd 0101111 | amoadd.w rd, rs2, (rs1)  | amo add l  | MAY_TRAP
00100 ql ttttt sssss 010 ddddd 0101111 | amoxor.w rd, rs2, (rs1)  | amo xor l  | MAY_TRAP
01000 ql ttttt sssss 010 ddddd 0101111 | amoor.w rd, rs2, (rs1)   | amo or l   | MAY_TRAP
01100 ql ttttt sssss 010 ddddd 0101111 | amoand.w rd, rs2, (rs1)  | amo and l  | MAY_TRAP
10000 ql ttttt sssss 010 ddddd 0101111 | amomin.w rd, rs2, (rs1)  | amo min l  | MAY_TRAP
10100 ql ttttt sssss 010 ddddd 0101111 | amomax.w rd, rs2, (rs1)  | amo max l  | MAY_TRAP
11000 ql ttttt sssss 010 ddddd 0101111 | amominu.w rd, rs2, (rs1) | amo minu l | MAY_TRAP
11100 ql ttttt sssss 010 ddddd 0101111 | amomaxu.w rd, rs2, (rs1) | amo maxu l | MAY_TRAP
00010 ql 00000 sssss 011 ddddd 0101111 | lr.d rd, (rs1)           | lr q       | MAY_TRAP
00011 ql ttttt sssss 011 ddddd 0101111 | sc.d rd, rs2, (rs1)      | sc q       | MAY_TRAP
00001 ql ttttt sssss 011 ddddd 0101111 | amoswap.d rd, rs2, (rs1) | amo swap q | MAY_TRAP
00000 ql ttttt sssss 011 ddddd 0101111 | amoadd.d rd, rs2, (rs1)  | amo add q  | MAY_TRAP
00100 ql ttttt sssss 011 ddddd 0101111 | amoxor.d rd, rs2, (rs1)  | amo xor q  | MAY_TRAP
01000 ql ttttt sssss 011 ddddd 0101111 | amoor.d rd, rs2, (rs1)   | amo or q   | MAY_TRAP
01100 ql ttttt sssss 011 ddddd 0101111 | amoand.d rd, rs2, (rs1)  | amo and q  | MAY_TRAP
10000 ql ttttt sssss 011 ddddd 0101111 | amomin.d rd, rs2, (rs1)  | amo min q  | MAY_TRAP
10100 ql ttttt sssss 011 ddddd 0101111 | amomax.d rd, rs2, (rs1)  | amo max q  | MAY_TRAP
11000 ql ttttt sssss 011 ddddd 0101111 | amominu.d rd, rs2, (rs1) | amo minu q | MAY_TRAP
11100 ql ttttt sssss 011 ddddd 0101111 | amomaxu.d rd, rs2, (rs1) | amo maxu q | MAY_TRAP
"""

_FIELD_OF_LETTER = {
    "d": "rd", "s": "rs1", "t": "rs2", "r": "rs3", "c": "csr", "m": "rm", "q": "aq", "l": "rl",
    "i": "imm", "u": "imm",
}  # fmt: skip

FIELD_OF_OPERAND = {
    "rd": "rd", "rs1": "rs1", "rs2": "rs2", "rs3": "rs3",
    "frd": "rd", "frs1": "rs1", "frs2": "rs2", "frs3": "rs3",
    "imm": "imm", "shamt": "imm", "addr": "imm", "hi20": "imm", "order": "imm",
    "csr": "csr", "zimm": "rs1", "rm": "rm", "rm=rne": "rm",
}  # fmt: skip
"""The instruction field that an operand of the assembly syntax is kept in."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where one field lives: runs of instruction bits and the value bits that they hold."""

    name: str
    runs: tuple[tuple[int, int, int], ...]
    """(right shift of the instruction, mask, left shift of the value), for each run of bits."""
    sign: int
    """The value bit that is the sign, as a power of two; 0 for unsigned fields."""
    bias: int
    """Added to the value: 8 for the three-bit registers of compressed instructions."""

    def extract(self, bits: int) -> int:
        """The field's value in the instruction `bits`, sign-extended if it is signed."""
        value = self.bias
        for right, mask, left in self.runs:
            value += (bits >> right & mask) << left
        return value - 2 * self.sign if value & self.sign else value

    def insert(self, value: int) -> int:
        """Instruction bits that hold `value`, which must be one of `fits`."""
        bits = 0
        for right, mask, left in self.runs:
            bits |= ((value - self.bias) >> left & mask) << right
        return bits

    def fits(self, value: int) -> bool:
        """Can the field hold this value?"""
        return self.extract(self.insert(value)) == value

    def limits(self) -> tuple[int, int, int]:
        """Lowest and highest value, and the step between values."""
        ones = sum(mask << left for _, mask, left in self.runs)
        step = min(1 << left for _, _, left in self.runs)
        if self.sign:
            return -self.sign, self.sign - step, step
        return self.bias, self.bias + ones, step


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One instruction. A compressed one (`base` is set) carries the family of its base row."""

    name: str
    pattern: str
    operands: str
    family: str
    arg: str | tuple[str, ...]
    flags: int
    fields: tuple[Field, ...]
    where: tuple[tuple[str, int], ...]
    """(field, value): the row does not match when the field has the value."""
    base: Row | None
    expansion: tuple[tuple[str, str | int], ...]
    """For compressed rows: (field of the base row, own field that gives it or a constant)."""
    hints: tuple[tuple[str, int], ...]
    """(field, value): the instruction is a hint, which does nothing, if the field has the value."""
    mask: int
    value: int

    def field(self, name: str) -> Field:
        """The field of that name."""
        return next(field for field in self.fields if field.name == name)

    @property
    def length(self) -> int:
        """Bytes: 2 or 4."""
        return len(self.pattern) // 8


def _runs(pattern: str, letter: str, layout: str) -> Iterator[tuple[int, int, int]]:
    """Runs (right, mask, left) of a letter in a pattern, whose value bits `layout` lists."""
    places = [len(pattern) - 1 - i for i, c in enumerate(pattern) if c == letter]
    bits: list[int] = []
    for item in layout.split() if layout else [f"{len(places) - 1}:0"]:
        high, _, low = item.partition(":")
        bits += range(int(high), int(low or high) - 1, -1)
    assert len(bits) == len(places), (pattern, letter, layout)
    start = 0
    for n in range(1, len(bits) + 1):
        if n == len(bits) or places[n] != places[n - 1] - 1 or bits[n] != bits[n - 1] - 1:
            yield places[n - 1], (1 << n - start) - 1, bits[n - 1]
            start = n


@cache
def _fields(shape: str, layout: str) -> tuple[Field, ...]:
    """The fields of all patterns that have this shape: their letters, `-` for every other bit."""
    fields = []
    for letter in dict.fromkeys(shape.replace("-", "")):
        is_imm = letter in "iu"
        runs = tuple(_runs(shape, letter, layout if is_imm else ""))
        sign = 1 << max(left + mask.bit_length() - 1 for _, mask, left in runs)
        bias = 8 if letter in "dst" and shape.count(letter) == 3 else 0
        fields.append(Field(_FIELD_OF_LETTER[letter], runs, sign if letter == "i" else 0, bias))
    return tuple(fields)


_TO_SHAPE = str.maketrans("01", "--")


def _word(pattern: str, ones: str) -> int:
    return int("".join("1" if c in ones else "0" for c in pattern), 2)


def _flags(text: str) -> int:
    return sum({"ENDS_TB": ENDS_TB, "MAY_TRAP": MAY_TRAP}[word] for word in text.split())


def _argument(words: list[str], name: str) -> str | tuple[str, ...]:
    parts = tuple({".": "", "=": name}.get(word, word) for word in words)
    return parts if len(parts) > 1 else "".join(parts)


def _lines(table: str, columns: int) -> Iterator[list[str]]:
    for line in table.splitlines():
        if line and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split("|")]
            yield cells + [""] * (columns - len(cells))


def _tests(text: str, operator: str) -> tuple[tuple[str, int], ...]:
    tests = (test.partition(operator) for test in text.split())
    return tuple((name, int(value)) for name, _, value in tests)


def _where(text: str, pattern: str) -> tuple[tuple[str, int], ...]:
    if "m" in pattern:
        text += " rm!=5 rm!=6"
    return _tests(text, "!=")


def _base_rows(table: str) -> Iterator[Row]:
    for pattern, assembly, meaning, flags, layout in _lines(table, 5):
        pattern = pattern.replace(" ", "")
        name, _, operands = assembly.partition(" ")
        family, *words = meaning.split()
        yield Row(
            name, pattern, operands, family, _argument(words, name), _flags(flags),
            _fields(pattern.translate(_TO_SHAPE), layout), _where("", pattern), None, (), (),
            _word(pattern, "01"), _word(pattern, "1"),
        )  # fmt: skip


def operand_names(operands: str) -> list[str]:
    """The operands of an assembly syntax, in order: "rd, imm(rs1)" gives rd, imm, rs1."""
    return operands.replace("(", " ").replace(")", " ").replace(",", " ").split()


def _expansion(base: Row, template: str) -> Iterator[tuple[str, str | int]]:
    """Pair each operand of the base row with what the template has in its place."""
    constants = {"x0": 0, "ra": 1, "sp": 2, "0": 0}
    names, given = operand_names(base.operands), operand_names(template)
    assert len(names) == len(given), (base.name, template)
    for name, source in zip(names, given, strict=True):
        yield FIELD_OF_OPERAND[name], constants.get(source, FIELD_OF_OPERAND.get(source, ""))


def _compressed_rows(table: str, base_rows: dict[str, Row]) -> Iterator[Row]:
    for pattern, assembly, expansion, layout, where, hints in _lines(table, 6):
        pattern = pattern.replace(" ", "")
        name, _, operands = assembly.partition(" ")
        base_name, _, template = expansion.partition(" ")
        base = base_rows[base_name]
        yield Row(
            name, pattern, operands, base.family, base.arg, base.flags,
            _fields(pattern.translate(_TO_SHAPE), layout), _where(where, pattern),
            base, tuple(_expansion(base, template)), _tests(hints, "="),
            _word(pattern, "01"), _word(pattern, "1"),
        )  # fmt: skip


BASE_ROWS: tuple[Row, ...] = tuple(_base_rows(BASE + FLOATING_POINT))
"""The 4-byte instructions. Where two rows match, the first one counts."""

_BY_NAME = {row.name: row for row in BASE_ROWS}

COMPRESSED_ROWS: tuple[Row, ...] = tuple(_compressed_rows(COMPRESSED, _BY_NAME))
"""The 2-byte instructions. Where two rows match, the first one counts."""

ROWS: dict[str, Row] = _BY_NAME | {row.name: row for row in COMPRESSED_ROWS}
"""Every instruction by its mnemonic."""

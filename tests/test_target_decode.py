"""The decoder and its rows: every row, every 16-bit half, and validity against Capstone."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from capstone import CS_ARCH_RISCV, CS_MODE_RISCV64, CS_MODE_RISCVC, Cs

from tcglite.target import decode as decode_module
from tcglite.target.asm_encode import encode
from tcglite.target.decode import decode, insn_length
from tcglite.target.insns import BASE_ROWS, COMPRESSED_ROWS, ENDS_TB, MAY_TRAP, ROWS, Row

ALL_ROWS = [*BASE_ROWS, *COMPRESSED_ROWS]
FIELDS = ("rd", "rs1", "rs2", "rs3", "imm", "csr", "rm", "aq", "rl")


def random_bits(row: Row, rng: random.Random) -> int:
    """Bits of this row with random fields (ignored bits 0) that the row's conditions allow."""
    while True:
        extra = rng.getrandbits(8 * row.length)
        if rng.random() < 0.5:  # small values and zero registers more often
            extra &= rng.getrandbits(8 * row.length)
        for bit, letter in enumerate(reversed(row.pattern)):
            if letter == "-":
                extra &= ~(1 << bit)
        bits = row.value | extra & ~row.mask
        insn = decode(bits)
        if insn and insn.row is row:
            return bits


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.name)
def test_every_row_decodes_to_itself(row):
    rng = random.Random(row.name)
    for _ in range(50):
        insn = decode(random_bits(row, rng))
        assert insn.row is row
        assert insn.length == len(row.pattern) // 8 == row.length
        assert (insn.family, insn.arg, insn.flags) == (row.family, row.arg, row.flags)
        assert insn.name == (row.base or row).name


def test_known_encodings():
    """Words taken from GNU objdump listings: name and fields."""
    for bits, name, fields in [
        (0x00A50513, "addi", {"rd": 10, "rs1": 10, "imm": 10}),
        (0xFE0518E3, "bne", {"rs1": 10, "imm": -16}),
        (0x12345537, "lui", {"rd": 10, "imm": 0x12345000}),
        (0xFFFFF537, "lui", {"rd": 10, "imm": -0x1000}),
        (0xFFDFF0EF, "jal", {"rd": 1, "imm": -4}),
        (0x00008067, "jalr", {"rs1": 1}),
        (0xFEB43823, "sd", {"rs1": 8, "rs2": 11, "imm": -16}),
        (0x43F5D593, "srai", {"rd": 11, "rs1": 11, "imm": 63}),
        (0x41F5D59B, "sraiw", {"rd": 11, "rs1": 11, "imm": 31}),
        (0x300467F3, "csrrsi", {"rd": 15, "rs1": 8, "csr": 0x300}),
        (0x1605252F, "lr.w", {"rd": 10, "rs1": 10, "aq": 1, "rl": 1}),
        (0x00C5B52F, "amoadd.d", {"rd": 10, "rs1": 11, "rs2": 12}),
        (0x0330000F, "fence", {"imm": 0x33}),
        (0x6AC5F543, "fmadd.d", {"rd": 10, "rs1": 11, "rs2": 12, "rs3": 13, "rm": 7}),
        (0x4501, "addi", {"rd": 10}),
        (0x1101, "addi", {"rd": 2, "rs1": 2, "imm": -32}),
        (0x7139, "addi", {"rd": 2, "rs1": 2, "imm": -64}),
        (0xE822, "sd", {"rs1": 2, "rs2": 8, "imm": 16}),
        (0x8082, "jalr", {"rs1": 1}),
        (0xBFF5, "jal", {"imm": -4}),
        (0x2388, "fld", {"rd": 10, "rs1": 15, "imm": 0}),
    ]:
        insn = decode(bits)
        assert insn is not None, hex(bits)
        assert insn.name == name
        assert {f: getattr(insn, f) for f in FIELDS} == dict.fromkeys(FIELDS, 0) | fields


def test_all_compressed_decode_as_their_base_instruction():
    """All 49,152 halves: the 32-bit encoding of the expansion decodes to the same fields."""
    legal = 0
    for bits in range(1 << 16):
        insn = decode(bits) if bits & 3 != 3 else None
        if insn is None:
            continue
        legal += 1
        base = insn.row.base
        wide = decode(encode(base, {f: getattr(insn, f) for f in FIELDS}))
        assert wide.row is base
        assert [getattr(wide, f) for f in FIELDS] == [getattr(insn, f) for f in FIELDS], hex(bits)
    # Of 3 * 2^14: quadrant 0 funct3 100, c.addi4spn 0, c.addiw to x0, c.lui 0, the two reserved
    # forms behind c.and, c.lwsp and c.ldsp to x0, c.jr x0.
    assert legal == 3 * 2**14 - (2048 + 8 + 64 + 32 + 128 + 64 + 64 + 1)


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        (0x0000, "c.unimp"),
        (0x0004, "c.addi4spn with imm 0"),
        (0x8000, "quadrant 0, funct3 100"),
        (0x2005, "c.addiw with rd 0"),
        (0x6081, "c.lui with imm 0"),
        (0x6101, "c.addi16sp with imm 0"),
        (0x9C41, "quadrant 1, 1 11 10"),
        (0x9C61, "quadrant 1, 1 11 11"),
        (0x4002, "c.lwsp with rd 0"),
        (0x6002, "c.ldsp with rd 0"),
        (0x8002, "c.jr with rs1 0"),
        (0x1015252F, "lr.w with rs2 1"),
        (0x00B55553, "fadd.s with rounding mode 5"),
        (0x00B56553, "fadd.s with rounding mode 6"),
        (0x02051013 | 1 << 26, "slli with bit 26"),
        (0x0205151B, "slliw by 32"),
        (0x00200073, "uret"),
        (0x30200173, "mret with rd 2"),
        (0xFFFFFFFF, "all ones"),
        (0x0000400B, "custom-0"),
    ],
)
def test_reserved_encodings_are_illegal(bits, why):
    assert decode(bits) is None, why


def test_lengths():
    assert [insn_length(half) for half in (0x0000, 0x0001, 0x8082, 0x0013)] == [2, 2, 2, 4]
    assert insn_length(0x001F) == insn_length(0xFFFF) == 4  # reserved for longer ones: 4, as QEMU


FAMILIES = {
    "lui", "auipc", "jal", "jalr", "branch", "load", "store", "arith", "arithi", "arithw",
    "arithwi", "div", "divw", "fence", "fence_i", "ecall", "ebreak", "mret", "wfi", "csr", "csri",
    "lr", "sc", "amo", "fpload", "fpstore", "fmv", "fsgnj", "fparith", "illegal_s",
}  # fmt: skip


def test_families_and_flags():
    assert {row.family for row in BASE_ROWS} == FAMILIES
    assert ROWS["amomaxu.d"].arg == ("maxu", "q")
    assert ROWS["fsgnj.s"].arg == ("", "s")
    assert ROWS["fadd.d"].arg == "fadd.d"
    enders = {row.family for row in BASE_ROWS if row.flags & ENDS_TB}
    assert enders == {
        "jal", "jalr", "branch", "fence_i", "ecall", "ebreak", "csr", "csri", "mret", "illegal_s",
    }  # fmt: skip
    trapping = {row.family for row in BASE_ROWS if row.flags & MAY_TRAP}
    assert trapping == {
        "load", "store", "ecall", "ebreak", "csr", "csri", "mret", "wfi", "lr", "sc", "amo",
        "fpload", "fpstore", "fparith", "illegal_s",
    }  # fmt: skip


def test_no_two_rows_match_the_same_bits():
    """Except where the table says that the first one counts."""
    overlaps = set()
    for rows in (BASE_ROWS, COMPRESSED_ROWS):
        for n, first in enumerate(rows):
            for second in rows[n + 1 :]:
                if (first.value ^ second.value) & first.mask & second.mask == 0:
                    overlaps.add((first.name, second.name))
    assert overlaps == {
        ("fence.tso", "fence"),
        ("c.nop", "c.addi"),
        ("c.addi16sp", "c.lui"),  # rd != 2
        ("c.jr", "c.mv"),  # rs2 != 0
        ("c.ebreak", "c.jalr"),  # rs1 != 0
        ("c.ebreak", "c.add"),
        ("c.jalr", "c.add"),  # rs2 != 0
    }


def test_cache_is_shared_and_bounded(monkeypatch):
    monkeypatch.setattr(decode_module, "CACHE_LIMIT", 10)
    assert decode(0x13) is decode(0x13)
    for n in range(100):
        decode(0x13 | n << 20)
    assert len(decode_module._cache) <= 10


# Validity against Capstone: where the two disagree, and why we are right.

CAPSTONE = Cs(CS_ARCH_RISCV, CS_MODE_RISCV64 | CS_MODE_RISCVC)


def capstone_name(bits: int) -> str | None:
    length = insn_length(bits)
    return next((i.mnemonic for i in CAPSTONE.disasm(bits.to_bytes(length, "little"), 0)), None)


def disagreement(bits: int) -> str:
    """Empty if Capstone agrees on whether `bits` are an instruction; else the reason, or "?"."""
    insn, theirs = decode(bits), capstone_name(bits)
    if (insn is None) == (theirs is None):
        return ""
    if insn is None:
        if theirs == "c.unimp" and bits == 0:
            return "c.unimp is the name of an illegal instruction"
        if theirs == "c.lui" and bits & 0x107C == 0:
            return "c.lui with imm 0 is reserved"
        if theirs == "uret" and bits == 0x00200073:
            return "uret: the N extension is gone from the specification"
        return "?"
    if any(getattr(insn, name) == value for name, value in insn.row.hints):
        return "hints are legal and do nothing"
    if insn.family in ("fence", "fence_i") and bits != encode(insn.row, {"imm": insn.imm}):
        return "reserved fields of fence and fence.i are to be ignored"
    if insn.name in ("fcvt.d.s", "fcvt.d.w", "fcvt.d.wu") and insn.rm != 0:
        return "these conversions are exact, but any valid rounding mode may be encoded"
    return "?"


def test_every_half_is_valid_here_as_in_capstone():
    reasons = Counter(disagreement(bits) for bits in range(1 << 16) if bits & 3 != 3)
    del reasons[""]
    assert reasons == {
        "hints are legal and do nothing": 285,
        "c.unimp is the name of an illegal instruction": 1,
        "c.lui with imm 0 is reserved": 30,
    }


def test_random_words_are_valid_here_as_in_capstone():
    """Random words, random words with a known opcode, and instructions with one bit flipped."""
    rng = random.Random(0)
    opcodes = sorted({row.value & 0x7F for row in BASE_ROWS})
    reasons: Counter[str] = Counter()
    for n in range(60_000):
        bits = rng.getrandbits(32) | 3
        if n % 3 == 1:
            bits = bits & ~0x7F | rng.choice(opcodes)
        if n % 3 == 2:
            row = rng.choice(BASE_ROWS)
            bits = row.value | bits & ~row.mask
            if rng.random() < 0.5:
                bits ^= 1 << rng.randrange(2, 32)
        reason = disagreement(bits)
        assert reason != "?", f"{bits:#010x}: {decode(bits)}, Capstone: {capstone_name(bits)}"
        reasons[reason] += 1
    assert reasons[""] > 55_000
    assert len(reasons) > 3


def test_the_comparison_notices_a_wrong_decoder(monkeypatch):
    monkeypatch.setattr(decode_module, "_cache", {0x00A50513: None})
    assert disagreement(0x00A50513) == "?"

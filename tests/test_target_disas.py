"""The disassembler against Capstone: every row with random operands."""

from __future__ import annotations

import random
import re

import pytest
from capstone import CS_ARCH_RISCV, CS_MODE_RISCV64, CS_MODE_RISCVC, Cs
from test_target_decode import ALL_ROWS, random_bits

from tcglite.target import disas
from tcglite.target.decode import decode
from tcglite.target.disas import disassemble, listing, mnemonic_operands
from tcglite.target.insns import ROWS
from tcglite.target.names import CSR_NAMES, CSR_NUMBERS

CAPSTONE = Cs(CS_ARCH_RISCV, CS_MODE_RISCV64 | CS_MODE_RISCVC)
_NUMBER = re.compile(r"-?\b(?:0x[0-9a-f]+|\d+)\b")

CSR_NAMES_ONLY_THEIRS = {
    "ustatus", "uie", "utvec", "uscratch", "uepc", "ucause", "utval", "uip",  # N, withdrawn
    "sedeleg", "sideleg",  # withdrawn with it
    "sbadaddr", "sptbr", "mbadaddr", "mucounteren", "mscounteren", "mhcounteren",  # old names
    "mbase", "mbound", "mibase", "mibound", "mdbase", "mdbound", "dscratch",
    *(f"{name}h" for name in ("cycle", "time", "instret", "mcycle", "minstret")),  # RV32 only
    *(f"{name}{n}h" for name in ("hpmcounter", "mhpmcounter") for n in range(3, 32)),
    "pmpcfg1", "pmpcfg3",
}  # fmt: skip


def plain(text: str) -> str:
    """Numbers in decimal: Capstone writes those above 9 in hexadecimal, we never do."""
    return _NUMBER.sub(lambda match: str(int(match[0], 0)), text)


def ours(bits: int) -> tuple[str, str]:
    name, operands = mnemonic_operands(decode(bits), 0, relative=True)
    return name, plain(operands)


def theirs(bits: int, length: int) -> tuple[str, str]:
    insn = next(CAPSTONE.disasm(bits.to_bytes(length, "little"), 0))
    return insn.mnemonic, plain(insn.op_str)


def normalised(bits: int) -> tuple[str, str]:
    """Capstone's text, brought to what we print where Capstone 5 lacks an alias or a name."""
    insn = decode(bits)
    name, operands = theirs(bits, insn.length)
    parts = operands.split(", ")
    if insn.row.name == "addi" and insn.rs1 == 0 and name in ("addi", "mv"):
        return "li", f"{parts[0]}, {insn.imm}"  # it has no li
    if insn.row.name == "jalr" and len(parts) == 3:  # old syntax: jalr rd, rs1, imm
        if parts[0] == "zero":
            return "jr", f"{parts[2]}({parts[1]})"
        return "jalr", f"{parts[0]}, {parts[2]}({parts[1]})"
    if name == "c.nop" and insn.imm:  # a hint: it drops the immediate
        return name, str(insn.imm)
    if insn.row.name == "fence":
        if insn.imm == 0x10:
            return "pause", ""
        return name, operands.replace("unknown", "0")
    if name.startswith("csr"):
        # The tables of names differ: compare the CSR by number.
        number = plain(CSR_NAMES.get(insn.csr, str(insn.csr)))
        given = [part in CSR_NAMES_ONLY_THEIRS or part == str(insn.csr) for part in parts]
        if any(given):
            parts[given.index(True)] = number
        return name, ", ".join(parts)
    return name, operands


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.name)
def test_every_row_reads_as_in_capstone(row):
    rng = random.Random(row.name)
    compared = 0
    for _ in range(150):
        bits = random_bits(row, rng)
        if next(CAPSTONE.disasm(bits.to_bytes(row.length, "little"), 0), None) is None:
            continue  # test_target_decode says which and why
        assert ours(bits) == normalised(bits), hex(bits)
        compared += 1
    assert compared


def test_the_comparison_notices_swapped_operands(monkeypatch):
    monkeypatch.setattr(disas, "REG_NAMES", disas.REG_NAMES[::-1])
    assert ours(0x00B50533) != normalised(0x00B50533)


def test_every_alias_is_printed():
    """Each alias that is not `parse` appears in the random comparison above or here."""
    seen = set()
    rng = random.Random(1)
    for row in ALL_ROWS:
        for _ in range(300):
            bits = random_bits(row, rng)
            bits &= rng.choice([~0, ~0xF8000, ~0xF80, ~0x1F00000, ~0xFFF00000])
            insn = decode(bits)
            if insn:
                seen.add(mnemonic_operands(insn, 0)[0])
    for name in ("fcsr", "frm", "fflags", "cycle", "time", "instret", "mstatus"):
        for funct3 in (1, 2, 3, 5, 6, 7):
            for rd in (0, 5):
                for rs1 in (0, 6):
                    word = CSR_NUMBERS[name] << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x73
                    seen.add(mnemonic_operands(decode(word), 0)[0])
    words = (0x0FF0000F, 0x0100000F, 0x12000073, 0xC0001073, 0xFFF54513, 0x00153513, 0x0FF57513,
             0x20B58553, 0x20B59553, 0x20B5A553, 0x22B58553, 0x22B59553, 0x22B5A553)  # fmt: skip
    seen |= {mnemonic_operands(decode(word), 0)[0] for word in words}
    printed = {alias.name for alias in disas.ALIASES if alias.printed}
    assert printed <= seen


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x00140413, "addi    s0, s0, 1"),
        (0xFE051AE3, "bnez    a0, 0x80000004"),
        (0x0100006F, "j       0x80000020"),
        (0xFF1FF0EF, "jal     0x80000000"),
        (0xA001, "c.j     0x80000010"),
        (0x00A12023, "sw      a0, 0(sp)"),
        (0x1605252F, "lr.w.aqrl a0, (a0)"),
        (0x00C5B52F, "amoadd.d a0, a2, (a1)"),
        (0x30046073, "csrsi   mstatus, 8"),
        (0x7C002573, "csrr    a0, 0x7c0"),
        (0x12345537, "lui     a0, 0x12345"),
        (0x777D, "c.lui   a4, 0xfffff"),
        (0x8330000F, "fence.tso"),
        (0x0000000F, "fence   0, 0"),
        (0xD2050553, "fcvt.d.w fa0, a0"),
        (0xD2057553, "fcvt.d.w fa0, a0, dyn"),
        (0x00B57553, "fadd.s  fa0, fa0, fa1"),
        (0x00B51553, "fadd.s  fa0, fa0, fa1, rtz"),
        (0x8082, "c.jr    ra"),
        (0x00008067, "ret"),
        (0x0000, "c.unimp"),
        (0x4002, ".half   0x4002"),
        (0x0000400B, ".word   0x0000400b"),
    ],
)
def test_text(bits, text):
    assert disassemble(bits, 0x8000_0010) == text


def test_targets_wrap_at_64_bits():
    assert disassemble(0xFF1FF0EF, 0) == "jal     0xfffffffffffffff0"


def test_listing_and_its_loose_ends():
    code = bytes.fromhex("13041400 8280 0000 0b400000 1304")
    assert [(a, n, text) for a, _, n, text in listing(code, 0x1000)] == [
        (0x1000, 4, "addi    s0, s0, 1"),
        (0x1004, 2, "c.jr    ra"),
        (0x1006, 2, "c.unimp"),
        (0x1008, 4, ".word   0x0000400b"),
        (0x100C, 2, ".half   0x0413"),
    ]
    assert [text for *_, text in listing(b"\x13", 0)] == [".byte   0x13"]


def test_rows_and_names_have_no_duplicates():
    assert len(ROWS) == len(ALL_ROWS)
    assert len(CSR_NAMES) == len(CSR_NUMBERS)

"""The disassembler: instruction bits to assembly text, driven by the rows of `insns`.

Prints as Capstone and LLVM do (pseudo-instruction names, `c.` names kept), numbers in decimal as
QEMU's and GNU's disassemblers do; the counterpart in QEMU is disas/riscv.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tcglite.target.decode import Insn, decode, insn_length
from tcglite.target.insns import FIELD_OF_OPERAND
from tcglite.target.insns_alias import ALIASES, Alias
from tcglite.target.names import CSR_NAMES, FREG_NAMES, REG_NAMES, ROUNDING_MODES

_OPERAND = re.compile(r"[a-z][\w=]*")

_ALIASES_OF: dict[str, list[Alias]] = {}
for _alias in ALIASES:
    if _alias.printed:
        _ALIASES_OF.setdefault(_alias.base.name, []).append(_alias)


def order_text(bits: int) -> str:
    """One operand of fence: four bits as the letters i, o, r, w; none of them is 0."""
    return "".join(letter for n, letter in enumerate("wroi") if bits >> n & 1)[::-1] or "0"


def _fits(alias: Alias, insn: Insn) -> bool:
    for field, source in alias.expansion:
        wanted = source if isinstance(source, int) else getattr(insn, source)
        if getattr(insn, field) != wanted:
            return False
    return True


def _syntax(insn: Insn) -> tuple[str, str]:
    """Mnemonic and operand syntax: those of the first alias that fits, else of the row."""
    row = insn.row
    for alias in _ALIASES_OF.get(row.name, ()):
        if _fits(alias, insn):
            return alias.name, alias.operands
    suffix = ("", ".rl", ".aq", ".aqrl")[insn.aq << 1 | insn.rl]
    return row.name + suffix, row.operands


def _operand(name: str, insn: Insn, pc: int, relative: bool) -> str:
    if name == "sp":  # compressed instructions name it in their syntax
        return name
    value: int = getattr(insn, FIELD_OF_OPERAND[name])
    if name in ("rd", "rs1", "rs2", "rs3"):
        return REG_NAMES[value]
    if name in ("frd", "frs1", "frs2", "frs3"):
        return FREG_NAMES[value]
    if name == "addr":
        return str(value) if relative else f"{pc + value & 0xFFFF_FFFF_FFFF_FFFF:#x}"
    if name == "hi20":
        return f"{value >> 12 & 0xFFFFF:#x}"
    if name == "csr":
        return CSR_NAMES.get(value, f"{value:#x}")
    if name == "order":
        return f"{order_text(value >> 4)}, {order_text(value & 15)}"
    if name in ("rm", "rm=rne"):
        return ROUNDING_MODES[value]
    return str(value)


def mnemonic_operands(insn: Insn, pc: int, *, relative: bool = False) -> tuple[str, str]:
    """The two halves of an instruction's text; `relative` prints branch offsets, not targets."""
    name, syntax = _syntax(insn)
    # The rounding mode is left out where it is what the assembler assumes.
    if insn.rm == 7:
        syntax = syntax.removesuffix(", rm")
    if insn.rm == 0:
        syntax = syntax.removesuffix(", rm=rne")
    return name, _OPERAND.sub(lambda m: _operand(m[0], insn, pc, relative), syntax)


def disassemble(bits: int, pc: int = 0, *, relative: bool = False) -> str:
    """The text of one instruction at `pc`; bits that are no instruction become .word or .half."""
    insn = decode(bits)
    if insn is None:
        if bits == 0:
            return "c.unimp"  # the specification's name for this illegal instruction
        if insn_length(bits) == 2:
            return f".half   {bits:#06x}"
        return f".word   {bits:#010x}"
    name, operands = mnemonic_operands(insn, pc, relative=relative)
    return f"{name:<7} {operands}".rstrip()


def listing(code: bytes, pc: int) -> Iterator[tuple[int, int, int, str]]:
    """(address, bits, length, text) of each instruction in `code`, which starts at `pc`.

    Bytes at the end that are only a part of an instruction come as .half or .byte.
    """
    at = 0
    while at < len(code):
        length = insn_length(code[at])
        if at + length > len(code):
            length = min(2, len(code) - at)
            bits = int.from_bytes(code[at : at + length], "little")
            text = f".half   {bits:#06x}" if length == 2 else f".byte   {bits:#04x}"
        else:
            bits = int.from_bytes(code[at : at + length], "little")
            text = disassemble(bits, pc + at)
        yield pc + at, bits, length, text
        at += length

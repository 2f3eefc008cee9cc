"""The assembler: GNU syntax in, the same bytes out as LLVM makes for RV64GC.

    assembly = assemble(source)
    assembly.symbols["_start"]; assembly.to_elf()

It takes labels (also 1: with 1f and 1b), expressions, %hi %lo %pcrel_hi %pcrel_lo, the usual
pseudo-instructions and directives; compresses where `.option rvc` holds (it does from the start);
relaxes branches. Linking is not relaxed: la and call keep their two instructions, as with lld.
Not there: macros, conditional assembly, the C preprocessor.

The room: `asm_expr` reads words and expressions, `asm_operands` the operands that the rows of
`insns` describe, `asm_pseudo` and `asm_directives` the rest of the language, into an `asm_unit`
made of `asm_items`, which are laid out and emitted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tcglite.target.asm_directives import assemble_directive
from tcglite.target.asm_elf import ElfSection, ElfSymbol, write_elf
from tcglite.target.asm_expr import (
    AsmError,
    Symbol,
    SyntaxFault,
    Token,
    constant,
    evaluate,
    statements,
)
from tcglite.target.asm_items import Section, layout, value_of
from tcglite.target.asm_operands import (
    assemble_instruction,
    shape_of,
    split_operands,
)
from tcglite.target.asm_pseudo import PSEUDO, assemble_pseudo
from tcglite.target.asm_unit import Unit
from tcglite.target.insns import ROWS

__all__ = ["AsmError", "Assembly", "assemble"]


@dataclass
class Assembly:
    """What the assembler made."""

    sections: list[ElfSection]
    """Those with something in them, in the order of their addresses."""
    symbols: dict[str, int]
    """Labels and variables (.equ) by name; numeric labels are left out."""
    entry: int
    """The address of `_start`, or of the first section."""
    lines: dict[int, int]
    """Address of each instruction or piece of data to its source line, from 1."""
    elf_symbols: list[ElfSymbol] = field(repr=False)

    @property
    def segments(self) -> list[tuple[int, bytes]]:
        """(address, bytes) to load, one per section with contents; .bss is zero anyway."""
        return [(s.address, s.data) for s in self.sections if s.data]

    def to_elf(self) -> bytes:
        """A static ELF executable for RV64 with sections, symbols and loadable segments."""
        return write_elf(self.sections, self.elf_symbols, self.entry)


def _statement(unit: Unit, tokens: list[Token]) -> None:
    """Labels, then one assignment, directive or instruction, or nothing."""
    while len(tokens) > 1 and tokens[1].text == ":" and tokens[0].kind in ("name", "int"):
        unit.tokens = tokens[:1]
        unit.define_label(tokens[0])
        tokens = tokens[2:]
    if not tokens:
        return
    unit.tokens = tokens
    head, rest = tokens[0], tokens[1:]
    if head.kind != "name":
        raise SyntaxFault(f"expected an instruction, got {head.text}", [head])
    if rest and rest[0].text == "=" and rest[0].kind == "op":
        unit.define_variable(head, unit.parser(rest[1:]).whole())
    elif head.text.startswith("."):
        assemble_directive(unit, head, rest)
    else:
        _instruction(unit, head, split_operands(rest))


def _instruction(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    if head.text in ("unimp", "c.unimp") and not operands and (unit.rvc or head.text[0] == "c"):
        unit.emit_unimp()
    elif head.text in PSEUDO and (head.text not in ROWS or _at_symbol(head.text, operands)):
        assemble_pseudo(unit, head, operands)
    else:
        assemble_instruction(unit, head, operands)


def _at_symbol(name: str, operands: list[list[Token]]) -> bool:
    """Is this load or store the pseudo-instruction, with a symbol instead of offset(register)?"""
    (form,), _ = PSEUDO[name]
    return len(operands) == len(form) and shape_of(operands[1]) == "expr"


def _rank(section: Section) -> tuple[int, int]:
    """Sections in the usual order of a linker script: code (.text.init first), constants, data."""
    kind = 0 if section.is_code else 1 if not section.is_writable else 3 if section.is_bss else 2
    order = {".text.init": 0, ".text": 1, ".rodata": 1, ".data": 1, ".bss": 1}
    return kind, order.get(section.name, 2)


def _emit(section: Section) -> bytes:
    if section.is_bss:
        for item in section.items:
            if item.has_data():
                raise SyntaxFault(f"{section.name} can only hold zeros", item.tokens)
        return b""
    return b"".join(item.emit() for item in section.items)


def _elf_symbols(unit: Unit, sections: list[Section]) -> list[ElfSymbol]:
    """All named labels and variables; names that start with .L stay inside, as everywhere."""
    numbers = {section.name: n for n, section in enumerate(sections, 1)}
    result = []
    for key, symbol in unit.symbols.items():
        if symbol.defined and " " not in key and not key.startswith(".L"):
            size = 0 if symbol.size is None else value_of(symbol.size)
            place = numbers.get(symbol.section) if symbol.section else None
            result.append(
                ElfSymbol(key, _value(symbol), place, size, symbol.kind, symbol.is_global)
            )
    return result


def _value(symbol: Symbol) -> int:
    value = evaluate(symbol.expr) if symbol.expr else symbol.address
    return (value or 0) % (1 << 64)


def assemble(
    source: str, *, origin: int = 0x8000_0000, symbols: Mapping[str, int] | None = None
) -> Assembly:
    """Assemble a program that will be loaded at `origin`.

    `symbols` are names defined from outside, as by .equ. Raises `AsmError` at the first mistake,
    with the line, the source text and a caret under the words at fault.
    """
    unit = Unit()
    for name, value in (symbols or {}).items():
        unit.define_variable(Token("name", name, 0, 0), constant(value))
    try:
        for tokens in statements(source):
            _statement(unit, tokens)
        sections = sorted(unit.sections.values(), key=_rank)
        layout(sections, origin)
        data = {section.name: _emit(section) for section in sections}
        sections = [section for section in sections if section.size]
        elf_symbols = _elf_symbols(unit, sections)
    except SyntaxFault as fault:
        raise AsmError(fault.message, fault.tokens, source) from None
    made = [
        ElfSection(
            section.name,
            section.address,
            section.size,
            data[section.name],
            section.alignment,
            section.is_code,
            section.is_writable,
        )
        for section in sections
    ]
    values = {symbol.name: symbol.value for symbol in elf_symbols}
    lines = {
        item.address: item.tokens[0].line
        for section in sections
        for item in section.items
        if item.size and item.tokens
    }
    entry = values.get("_start", made[0].address if made else origin)
    return Assembly(made, values, entry, lines, elf_symbols)

"""Writes what the assembler made as an ELF executable (System V ABI; RISC-V ELF psABI)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

EM_RISCV = 243
EF_RISCV_RVC = 1
_ALIGNMENT = 16
"""File offset and address of a segment are equal modulo this; nobody maps pages of these files."""


@dataclass(frozen=True)
class ElfSection:
    """A section that is loaded."""

    name: str
    address: int
    size: int
    data: bytes
    """Empty for sections of zeros (.bss)."""
    alignment: int
    is_code: bool
    is_writable: bool


@dataclass(frozen=True)
class ElfSymbol:
    """A label or a constant."""

    name: str
    value: int
    section: int | None
    """Number of its section, from 1; None for constants."""
    size: int
    kind: str
    """function, object, or anything else."""
    is_global: bool


class _Strings:
    """A string table."""

    def __init__(self) -> None:
        self.data = bytearray(1)

    def add(self, text: str) -> int:
        offset = len(self.data)
        self.data += text.encode() + b"\0"
        return offset


def _segments(sections: list[ElfSection]) -> list[list[ElfSection]]:
    """Runs of neighbours with the same permissions; zeros only at the end of a run."""
    runs: list[list[ElfSection]] = []
    for section in sections:
        last = runs[-1][-1] if runs else None
        if (
            last
            and (last.is_code, last.is_writable) == (section.is_code, section.is_writable)
            and not (section.data and not last.data)
        ):
            runs[-1].append(section)
        else:
            runs.append([section])
    return runs


def _symbol_table(symbols: list[ElfSymbol], strings: _Strings) -> tuple[bytes, int]:
    """The table, local symbols first, and how many of those there are."""
    ordered = sorted(symbols, key=lambda symbol: symbol.is_global)
    table = bytes(24)
    for symbol in ordered:
        info = symbol.is_global << 4 | {"function": 2, "object": 1}.get(symbol.kind, 0)
        place = 0xFFF1 if symbol.section is None else symbol.section
        table += struct.pack(
            "<IBBHQQ", strings.add(symbol.name), info, 0, place, symbol.value, symbol.size
        )
    return table, 1 + sum(not symbol.is_global for symbol in symbols)


def write_elf(sections: list[ElfSection], symbols: list[ElfSymbol], entry: int) -> bytes:
    """The bytes of a static little-endian ELF64 for RISC-V with compressed instructions."""
    runs = _segments(sections)
    image = bytearray(64 + 56 * len(runs))
    offsets: dict[str, int] = {}
    program = b""
    for run in runs:
        first, last = run[0], run[-1]
        image += bytes((first.address - len(image)) % _ALIGNMENT)
        start = len(image)
        for section in run:
            offsets[section.name] = start + section.address - first.address
            image += bytes(offsets[section.name] - len(image)) if section.data else b""
            image += section.data
        flags = 4 | 2 * first.is_writable | first.is_code
        in_memory = last.address + last.size - first.address
        program += struct.pack(
            "<IIQQQQQQ", 1, flags, start, first.address, first.address,
            len(image) - start, in_memory, _ALIGNMENT,
        )  # fmt: skip
    image[64 : 64 + len(program)] = program

    names, strings = _Strings(), _Strings()
    headers = [bytes(64)]
    for section in sections:
        kind = 1 if section.data else 8
        flags = 2 | section.is_writable | 4 * section.is_code
        place = (section.address, offsets[section.name], section.size, 0, 0, section.alignment, 0)
        headers.append(struct.pack("<IIQQQQIIQQ", names.add(section.name), kind, flags, *place))
    table, locals_ = _symbol_table(symbols, strings)
    string_table = len(headers) + 1
    extra = [
        (".symtab", 2, table, string_table, locals_, 24),
        (".strtab", 3, bytes(strings.data), 0, 0, 0),
        (".shstrtab", 3, b"", 0, 0, 0),
    ]
    for name, kind, data, link, info, size in extra:
        at_name = names.add(name)
        image += bytes(-len(image) % 8)
        data = data or bytes(names.data)
        where = (len(image), len(data), link, info, 8, size)
        headers.append(struct.pack("<IIQQQQIIQQ", at_name, kind, 0, 0, *where))
        image += data
    image += bytes(-len(image) % 8)
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, EM_RISCV, 1, entry,
        64, len(image), EF_RISCV_RVC, 64, 56, len(runs), 64, len(headers), len(headers) - 1,
    )  # fmt: skip
    image[:64] = header
    return bytes(image) + b"".join(headers)

"""Getting a program into guest memory (QEMU: hw/core/loader.c, hw/riscv/boot.c).

pyelftools reads the ELF; it is imported when the first one is loaded.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..accel.memory import AddressSpace
from ..errors import GuestError, named, shown


@dataclass(frozen=True, slots=True)
class Image:
    """A program: ``segments`` (address, bytes, size in memory), ``code``, what of it is
    instructions (address, bytes), and its symbols."""

    name: str
    segments: tuple[tuple[int, bytes, int], ...]
    code: tuple[tuple[int, bytes], ...]
    symbols: dict[str, int] = field(default_factory=dict)

    def load(self, memory: AddressSpace) -> None:
        """Copy into RAM; what a segment has beyond its bytes is zero."""
        base, end = memory.ram_base, memory.ram_base + memory.ram_size
        for addr, data, size in self.segments:
            if not memory.in_ram(addr, size):
                raise GuestError(
                    f"{self.name}: a segment at {addr:#x} of {size:#x} bytes is outside RAM "
                    f"({base:#x} to {end:#x})"
                )
            memory.write_bytes(addr, data + bytes(size - len(data)))


def check_overlaps(images: Iterable[Image]) -> None:
    """Refuse programs of which two segments want the same memory."""
    spans = sorted((addr, addr + size, i.name) for i in images for addr, _, size in i.segments)
    for (_, end, name), (start, _, other) in pairwise(spans):
        if start < end:
            whose = "two segments" if name == other else f"its segments and those of {other}"
            raise GuestError(f"{name}: {whose} overlap at {start:#x}")


def read_file(what: str, path: str | Path) -> bytes:
    """The bytes of a file; GuestError if they cannot be had."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise GuestError(f"{named(path)}: cannot read the {what}: {why}") from None


def read_image(guest: Any, raw_base: int) -> Image:
    """An image from a path, from bytes, or from whatever has ``to_elf()`` (an assembled program).
    What does not begin as an ELF is raw, and goes to ``raw_base``."""
    if hasattr(guest, "to_elf"):
        name, data = "assembled program", guest.to_elf()
    elif isinstance(guest, bytes | bytearray):
        name, data = "image", bytes(guest)
    elif isinstance(guest, str | Path):
        name, data = named(guest), read_file("guest", guest)
    else:
        raise GuestError(f"a guest is a path, bytes or an assembled program, not {shown(guest)}")
    if not data:
        raise GuestError(f"{name} is empty")
    if data[:4] == b"\x7fELF":
        return _read_elf(name, data)
    return Image(name, ((raw_base, data, len(data)),), ((raw_base, data),))


def _read_elf(name: str, data: bytes) -> Image:
    from elftools.common.exceptions import ELFError
    from elftools.elf.constants import P_FLAGS, SH_FLAGS
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    try:
        elf = ELFFile(io.BytesIO(data))
        if elf.elfclass != 64 or not elf.little_endian or elf["e_machine"] != "EM_RISCV":
            order = "little" if elf.little_endian else "big"
            kind = f"{elf.elfclass}-bit {order}-endian {elf['e_machine']}"
            raise GuestError(f"{name} is an ELF for {kind}; expected 64-bit little-endian RISC-V")
        segments, code = [], []
        for segment in elf.iter_segments():
            if segment["p_type"] != "PT_LOAD" or not segment["p_memsz"]:
                continue
            content = segment.data()
            if len(content) != segment["p_filesz"]:
                raise GuestError(f"{name} is truncated: a segment's bytes are missing")
            if len(content) > segment["p_memsz"]:
                raise GuestError(f"{name} is damaged: a segment has more bytes than memory")
            segments.append((segment["p_paddr"], content, segment["p_memsz"]))
            if segment["p_flags"] & P_FLAGS.PF_X:
                code.append((segment["p_paddr"], content))
        sections = [
            section for section in elf.iter_sections("SHT_PROGBITS")
            if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
        ]  # fmt: skip
        if sections:  # a segment may have data beside its instructions
            code = [(section["sh_addr"], section.data()) for section in sections]
        symbols = {
            symbol.name: symbol["st_value"]
            for section in elf.iter_sections()
            if isinstance(section, SymbolTableSection)
            for symbol in section.iter_symbols()
            if symbol.name and not symbol.name.startswith(("$", ".L"))
            and symbol["st_info"]["type"] != "STT_FILE" and symbol["st_shndx"] != "SHN_ABS"
        }
    except GuestError:
        raise
    except (ELFError, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise GuestError(f"{name} is a damaged ELF file: {error or type(error).__name__}") from None
    except Exception as error:  # the library parses untrusted headers; nothing of it may escape
        raise GuestError(f"{name} is a damaged ELF file: {type(error).__name__}") from None
    if not segments:
        raise GuestError(f"{name} has no segment to load")
    return Image(name, tuple(segments), tuple(code), symbols)

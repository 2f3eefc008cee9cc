"""The guest's physical address space: RAM and device windows (QEMU: system/memory.c, physmem.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..errors import TcgliteError, UsageError, shown, whole
from ..tcg.env import PAGE_BITS, PAGE_SIZE
from ..tcg.hostmem import check_guard, private_memory

RAM_BASE = 0x8000_0000


class MemTxError(Exception):
    """A device refuses an access; the guest gets an access fault."""


class Device(Protocol):
    """Registers in a window of the address space; ``size`` is 1, 2, 4 or 8 bytes."""

    name: str

    def read(self, offset: int, size: int) -> int: ...
    def write(self, offset: int, size: int, value: int) -> None: ...


class AddressSpace:
    """RAM at ``ram_base`` and devices around it, or (``overlay``) a few bytes inside it. ``guard``:
    what host code writes to lies between guard pages."""

    def __init__(self, ram_size: int, ram_base: int = RAM_BASE, guard: bool = False) -> None:
        if ram_size <= 0 or ram_size % PAGE_SIZE:
            raise UsageError(
                f"memory size {ram_size:#x} is not a positive multiple of {PAGE_SIZE} bytes"
            )
        self.ram_base = ram_base
        self.ram_size = ram_size
        self.guard = guard
        if guard:
            check_guard()
        try:
            self.ram = private_memory(ram_size, guard, huge=True)
        except (OSError, OverflowError, ValueError, MemoryError):
            raise UsageError(
                f"memory size {ram_size:#x} is more than this computer can give"
            ) from None
        self.windows: list[tuple[int, int, Device]] = []
        self.overlay_pages: set[int] = set()  # RAM pages with an overlay in them
        self.on_write: Callable[[int, int], None] = lambda addr, size: None
        self.check_writable: Callable[[], None] = lambda: None  # before a store by subscript

    def map(self, base: int, size: int, device: Device) -> None:
        """Put ``device`` at ``base``; over RAM it becomes an overlay. First come, first served."""
        self.windows.append((base, size, device))
        if self.in_ram(base, size):
            self.overlay_pages |= {base >> PAGE_BITS, base + size - 1 >> PAGE_BITS}

    def in_ram(self, addr: int, size: int) -> bool:
        """Do all ``size`` bytes at ``addr`` lie in RAM?"""
        return self.ram_base <= addr and addr + size <= self.ram_base + self.ram_size

    def find(self, addr: int, size: int = 1) -> tuple[Device, int] | None:
        """The device whose window overlaps the access, and the offset in it (never negative for
        accesses that start inside)."""
        for base, length, device in self.windows:
            if addr < base + length and base < addr + size:
                return device, addr - base
        return None

    # The port for everybody but the hart: debugger, loader, device DMA. It invalidates blocks.

    def _check(self, addr: int, size: int) -> int:
        if size < 0 or not self.in_ram(addr, size):
            end = self.ram_base + self.ram_size
            raise TcgliteError(
                f"{addr:#x}..{addr + size:#x} is not in RAM ({self.ram_base:#x}..{end:#x})"
            )
        return addr - self.ram_base

    def read_bytes(self, addr: int, size: int) -> bytes:
        """Physical memory; TcgliteError outside RAM."""
        offset = self._check(addr, size)
        return bytes(self.ram[offset : offset + size])

    def write_bytes(self, addr: int, data: bytes) -> None:
        """Write physical memory and drop the blocks that were made from it."""
        offset = self._check(addr, len(data))
        self.ram[offset : offset + len(data)] = data
        if data:
            self.on_write(addr, len(data))

    def clear(self) -> None:
        """All of RAM becomes zero."""
        zero = bytes(1 << 20)
        for offset in range(0, self.ram_size, len(zero)):
            end = min(offset + len(zero), self.ram_size)
            if self.ram[offset:end] != zero[: end - offset]:  # do not touch untouched pages
                self.ram[offset:end] = zero[: end - offset]
        self.on_write(self.ram_base, self.ram_size)

    def __getitem__(self, key: int | slice) -> int | bytes:
        data = self.read_bytes(*_span(key))
        return data if isinstance(key, slice) else data[0]

    def __setitem__(self, key: int | slice, value: int | bytes) -> None:
        self.check_writable()
        start, size = _span(key)
        if isinstance(key, slice):
            data = _bytes(value)
            if len(data) != size:
                raise UsageError(f"{len(data)} bytes given for a slice of {size}")
        else:
            data = bytes([whole("a byte of memory", value, 0, 255)])
        self.write_bytes(start, data)


def _span(key: Any) -> tuple[int, int]:
    """Address and size of a subscript."""
    if not isinstance(key, slice):
        return whole("memory address", key, 0), 1
    if key.start is None or key.stop is None or key.step not in (None, 1):
        raise UsageError("memory slices need a start and an end, and no step")
    start = whole("start of a memory slice", key.start, 0)
    stop = whole("end of a memory slice", key.stop, 0)
    if stop < start:
        raise UsageError(f"the memory slice {start:#x}:{stop:#x} ends before it begins")
    return start, stop - start


def _bytes(value: Any) -> bytes:
    """What bytes() makes of a sequence of bytes, but not of a number or a text."""
    try:
        if not isinstance(value, int):
            return bytes(value)
    except (TypeError, ValueError):
        pass
    raise UsageError(f"{shown(value)} is not a sequence of bytes")

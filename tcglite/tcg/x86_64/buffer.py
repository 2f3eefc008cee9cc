"""Memory that can be written and executed (QEMU: tcg/region.c, splitwx in alloc_code_gen_buffer).

Blocks are patched by one thread while another runs them, so write permission cannot come and go:
either one mapping may do both ("rwx"), or the same memory is mapped twice, once to write and once
to run ("dual"). Where a system allows neither, there is no native code. A "plain" buffer is for
looking only: code can be emitted into it and listed, nothing may enter it.
"""

from __future__ import annotations

import mmap
import os
import platform
import sys

from ...errors import BackendUnavailable
from ..hostmem import PAGE, address_of, guard_ends, rounded

KINDS = ("rwx", "dual")  #: in the order in which they are tried


class CodeBuffer:
    """``size`` bytes of one of KINDS, or "plain"; ``base``: the address at which code runs;
    ``guard``: between guard pages. It is unmapped when nobody holds the object, which whoever runs
    in it does."""

    def __init__(self, size: int, kind: str, guard: bool = False) -> None:
        self.size = size
        self.kind = kind
        first = PAGE if guard else 0
        write, run = _map(rounded(size) + 2 * first, kind)
        if guard:
            guard_ends(write)
            guard_ends(run)
        self.base = address_of(run) + first
        self._run = run  # held, since code runs there
        self._bytes = memoryview(write)[first : first + rounded(size)]
        self._words = self._bytes.cast("I")

    def write(self, offset: int, code: bytes | bytearray) -> None:
        """Put code where nothing runs yet."""
        self._bytes[offset : offset + len(code)] = code

    def patch(self, offset: int, displacement: int) -> None:
        """Replace an aligned 32-bit displacement by one store, while code may run there."""
        self._words[offset >> 2] = displacement & 0xFFFFFFFF

    def read(self, offset: int, size: int) -> bytes:
        """What stands there now."""
        return bytes(self._bytes[offset : offset + size])


def make_buffer(size: int, guard: bool = False) -> CodeBuffer:
    """The first kind that works here; BackendUnavailable says why none does."""
    reason = unsupported()
    if reason:
        raise BackendUnavailable(reason)
    for kind in KINDS:
        try:
            return CodeBuffer(size, kind, guard)
        except (OSError, ValueError, AttributeError) as error:
            reason = reason or f"no memory to run code from ({error})"
    raise BackendUnavailable(reason)


def unsupported() -> str:
    """Why x86-64 code of ours cannot run here, whatever memory there is; "" if it can."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"this computer is {platform.machine() or 'unknown'}, not x86_64"
    if sys.platform not in ("linux", "darwin"):
        return f"it runs on Linux and macOS, not on {sys.platform}"
    if sys.maxsize < 1 << 32:
        return "this Python has 32 bits"
    return ""


def _map(size: int, kind: str) -> tuple[mmap.mmap, mmap.mmap]:
    """The memory as it is written, and as it is run."""
    if kind == "plain":
        memory = mmap.mmap(-1, size)
        return memory, memory
    read_write, run = mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_EXEC
    if kind == "rwx":
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        memory = mmap.mmap(-1, size, flags, read_write | run)
        return memory, memory
    fd = os.memfd_create("tcglite", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        return (
            mmap.mmap(fd, size, mmap.MAP_SHARED, read_write),
            mmap.mmap(fd, size, mmap.MAP_SHARED, run),
        )
    finally:
        os.close(fd)

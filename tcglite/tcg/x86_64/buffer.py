"""Memory that can be written and executed (QEMU: tcg/region.c, splitwx in alloc_code_gen_buffer).

Blocks are patched by one thread while another runs them, so write permission cannot come and go:
either one mapping may do both ("rwx"), or the same memory is mapped twice, once to write and once
to run ("dual"). Where a system allows neither, there is no native code. A "plain" buffer is for
looking only: code can be emitted into it and listed, nothing may enter it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys

from ...errors import BackendUnavailable

KINDS = ("rwx", "dual")  #: in the order in which they are tried


class CodeBuffer:
    """``size`` bytes of one of KINDS, or "plain"; ``base``: the address at which code runs. It is
    unmapped when nobody holds the object, which whoever runs in it does."""

    def __init__(self, size: int, kind: str) -> None:
        self.size = size
        self.kind = kind
        self._write, self._run = _map(size, kind)
        self.base = _address(self._run)
        self._words = memoryview(self._write).cast("B").cast("I")

    def write(self, offset: int, code: bytes | bytearray) -> None:
        """Put code where nothing runs yet."""
        self._write[offset : offset + len(code)] = code

    def patch(self, offset: int, displacement: int) -> None:
        """Replace an aligned 32-bit displacement by one store, while code may run there."""
        self._words[offset >> 2] = displacement & 0xFFFFFFFF

    def read(self, offset: int, size: int) -> bytes:
        """What stands there now."""
        return self._write[offset : offset + size]


def make_buffer(size: int) -> CodeBuffer:
    """The first kind that works here; BackendUnavailable says why none does."""
    reason = unsupported()
    if reason:
        raise BackendUnavailable(reason)
    for kind in KINDS:
        try:
            return CodeBuffer(size, kind)
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


class _Buffer(ctypes.Structure):
    """Python's Py_buffer, of which only ``buf`` is read; room for the rest."""

    _fields_ = [("buf", ctypes.c_void_p), ("rest", ctypes.c_void_p * 15)]


def _address(memory: mmap.mmap) -> int:
    """Where a mapping lies, also one that is read-only, which ctypes refuses to look at."""
    view = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(memory), ctypes.byref(view), 0)
    address = view.buf
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
    return int(address or 0)

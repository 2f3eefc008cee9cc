"""Memory of the host: page-aligned, private to the process, on request between guard pages.

QEMU: util/mmap-alloc.c (qemu_ram_mmap, which ends RAM with a guard page). A guard page may be
neither read nor written, so host code that strays there dies at once instead of changing what is
not the guest's. Pages come when they are touched.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

from ..errors import UsageError

PAGE = mmap.PAGESIZE


def check_guard() -> None:
    """UsageError where there is no mprotect."""
    if sys.platform not in ("linux", "darwin"):
        raise UsageError(f"guard=True works on Linux and macOS, not on {sys.platform}")


def rounded(size: int) -> int:
    """``size`` in whole pages."""
    return -(-size // PAGE) * PAGE


def private_memory(size: int, guard: bool = False, huge: bool = False) -> mmap.mmap | memoryview:
    """``size`` bytes, zero, that a forked child does not share. ``guard``: between guard pages, and
    a memoryview. ``huge``: large pages, where the system has some to give."""
    whole = rounded(size) + 2 * PAGE if guard else size
    if hasattr(mmap, "MAP_PRIVATE"):
        memory = mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, whole)
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without them
            pass
    if not guard:
        return memory
    guard_ends(memory)
    return memoryview(memory)[PAGE : PAGE + size]


def guard_ends(memory: mmap.mmap) -> None:
    """Make the first and the last page of a mapping guard pages."""
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    first = address_of(memory)
    for page in (first, first + len(memory) - PAGE):
        if mprotect(page, PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")


class _Buffer(ctypes.Structure):
    """Python's Py_buffer, of which only ``buf`` is read; room for the rest."""

    _fields_ = [("buf", ctypes.c_void_p), ("rest", ctypes.c_void_p * 15)]


def address_of(memory: mmap.mmap | memoryview | bytearray) -> int:
    """Where it lies, also what is read-only, which ctypes refuses to look at."""
    view = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(memory), ctypes.byref(view), 0)
    address = view.buf
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
    return int(address or 0)

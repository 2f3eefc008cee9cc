"""The part of a CPU's memory block that generated code of any guest addresses.

QEMU keeps it at negative offsets from ``env`` (CPUNegativeOffsetState); here the target's state
structure has a field ``neg`` of this type, and everything is one ctypes block that Python and host
code both read and write. Host byte order is little-endian on every machine that we run on.
"""

from __future__ import annotations

import ctypes

TLB_BITS = 12
TLB_SIZE = 1 << TLB_BITS  #: entries; small tables miss on every step of a large list walk
TLB_WORDS = 4  #: 64-bit words in an entry: read tag, write tag, fetch tag, addend
PAGE_BITS = 12
PAGE_SIZE = 1 << PAGE_BITS
PAGE_MASK = ~(PAGE_SIZE - 1) & (1 << 64) - 1

KICK = 1 << 31  #: the exit flag when it is up: the smallest number, below any budget negated

JMP_CACHE_BITS = 12
JMP_CACHE_SIZE = 1 << JMP_CACHE_BITS  #: entries of the jump cache (QEMU: TB_JMP_CACHE_SIZE)
JMP_CACHE_MASK = JMP_CACHE_SIZE - 1
JMP_CACHE_WORDS = 4  #: 64-bit words in an entry: guest pc, flags, host address, block number
JMP_CACHE_EMPTY = 1  #: a pc that no block has

#: Flags in the low bits of a tag; any of them makes the inline comparison fail.
TLB_NOTDIRTY = 1 << 10  #: the page holds translated code: a store must invalidate it
TLB_MMIO = 1 << 9  #: not plain memory
TLB_EMPTY = (1 << 64) - 1  #: a tag that matches nothing


class IcountDecr(ctypes.Structure):
    """Budget and exit flag in one word, so that one signed test asks both (QEMU: IcountDecr).

    ``low``: instructions left; ``high``: 0, or KICK once somebody wants the loop back. QEMU's
    halves have 16 bits each (and -1 for the flag); ours have 32.
    """

    _fields_ = [("low", ctypes.c_uint32), ("high", ctypes.c_uint32)]


class CPUNeg(ctypes.Structure):
    """What generated code needs besides guest registers; 64-bit words throughout."""

    _fields_ = [
        ("icount_decr", IcountDecr),
        ("ring_next", ctypes.c_uint64),  # block records written since reset
        ("unwinding", ctypes.c_uint64),  # a callback wants to leave for the loop
        ("stamp", ctypes.c_uint64),  # time stamp counter when host code was last left
        ("_pad", ctypes.c_uint64 * 4),  # tlb and jmp_cache begin cache lines, if neg does
        ("tlb", ctypes.c_uint64 * (TLB_SIZE * TLB_WORDS)),
        ("jmp_cache", ctypes.c_uint64 * (JMP_CACHE_SIZE * JMP_CACHE_WORDS)),
    ]

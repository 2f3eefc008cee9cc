"""cflags: how a block is to be compiled; part of its key (QEMU: include/exec/translation-block.h).

The low bits are QEMU's. Above them sit ours: what a switch changes in generated code is a bit
here, so a block made under one switch is never found under another.
"""

from __future__ import annotations

CF_COUNT_MASK = 0x1FF  #: at most so many guest instructions; 0 means MAX_INSNS
CF_NO_GOTO_TB = 0x200  #: leave by exit_tb(0) where goto_tb would stand
CF_NO_GOTO_PTR = 0x400  #: leave by exit_tb(0) where goto_ptr would stand
CF_MEMI_ONLY = 0x1000  #: made by cpu_io_recompile: its one access may reach a device
CF_USE_ICOUNT = 0x2000  #: virtual time is instructions
CF_INVALID = 0x4000  #: removed; nobody may find it or link to it any more
CF_NOIRQ = 0x10000  #: no look at interrupts before it and no test of the flag inside
CF_COUNT = 0x100000  #: charge instructions to the budget (always set with CF_USE_ICOUNT)
CF_CHECK_SHIFT = 21  #: two bits: where generated code tests the exit flag (CHECK_*)
CF_CHECK_MASK = 3 << CF_CHECK_SHIFT
CF_TRACE_SHIFT = 23  #: two bits: TRACE_*
CF_TRACE_MASK = 3 << CF_TRACE_SHIFT
CF_EAGER_PC = 0x2000000  #: store pc before every access (restore="eager")

CHECK_HEAD, CHECK_END, CHECK_INSN, CHECK_NONE = range(4)
TRACE_OFF, TRACE_BLOCKS, TRACE_TIMES = range(3)

MAX_INSNS = 512  #: QEMU's TCG_MAX_INSNS
MAX_OPS = 4000  #: a block also ends when its IR has grown to this


def cf_count(cflags: int) -> int:
    """The instruction limit that ``cflags`` asks for, 1 … 512."""
    return cflags & CF_COUNT_MASK or MAX_INSNS


def cf_with_count(cflags: int, count: int) -> int:
    """``cflags`` with another instruction limit (512 is written as 0)."""
    return cflags & ~CF_COUNT_MASK | count % MAX_INSNS


def cf_check(cflags: int) -> int:
    """Where the exit flag is tested: CHECK_HEAD, CHECK_END, CHECK_INSN or CHECK_NONE."""
    return (cflags & CF_CHECK_MASK) >> CF_CHECK_SHIFT


def cf_trace(cflags: int) -> int:
    """What a block records when it runs: TRACE_OFF, TRACE_BLOCKS or TRACE_TIMES."""
    return (cflags & CF_TRACE_MASK) >> CF_TRACE_SHIFT

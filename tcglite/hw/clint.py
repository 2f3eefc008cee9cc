"""CLINT: software interrupt and timer of the hart (QEMU: ``hw/intc/riscv_aclint.c``).

``mtime`` counts at 10 MHz of the board's virtual clock and starts at 0 on reset. ``mtimecmp`` is 0
at power-on, so **MTIP is pending at reset**, as on the QEMU board; software clears it by storing a
later ``mtimecmp``. The comparison is made when ``mtimecmp`` or ``mtime`` is written and when the
timer set there fires, not at each read of ``mtime``. That timer is due 100 ns for each missing
tick *after the write*, so up to 99 ns after the tick itself, as in QEMU: instruction counts of
timer interrupts agree under icount.

Measured on ``virt`` (QEMU 7.2.22), one hart, and so here:

===================  ==============  =====================================================
offset               sizes           what
===================  ==============  =====================================================
0x0000               4               msip: bit 0, the level of the line; other bits read 0
0x0004 - 0x3fff      4               loads 0, stores ignored
0x4000               4, 8            mtimecmp, whole or low word
0x4004               4               mtimecmp, high word
0x4008 - 0xbff7      4, 8            loads 0, stores ignored
0xbff8               4, 8            mtime, whole or low word; writable
0xbffc               4               mtime, high word; writable
0xc000 - 0xffff      none            access fault (nothing is mapped there on ``virt``)
any                  others          access fault: 1 and 2 bytes everywhere, 8 bytes below
                                     0x4000
===================  ==============  =====================================================

Simplifications: one hart; no Sstc; a reset is a power-on (QEMU's warm reset clears ``mtime`` and
msip but keeps ``mtimecmp``; here a reset by the guest ends the run).
"""

from __future__ import annotations

from ..accel.memory import MemTxError
from .clock import VirtualClock
from .lines import Line

NS_PER_TICK = 100            # 10 MHz
MSIP = 0x0000
MTIMECMP = 0x4000
MTIME = 0xBFF8
END = 0xC000
_LOW = 0xFFFF_FFFF
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class Clint:
    """``msip`` and ``mtip`` are the lines to the hart."""

    name = "clint"

    def __init__(self, clock: VirtualClock, msip: Line, mtip: Line) -> None:
        self._clock = clock
        self._msip = msip
        self._mtip = mtip
        self._timer = clock.timer(self._expired)
        self._offset = 0             # mtime = clock ticks + offset, in ticks
        self.mtimecmp = 0

    def reset(self) -> None:
        """Power-on: mtime 0, mtimecmp 0 (so MTIP is pending), msip clear."""
        self._msip.set(0)
        self.mtimecmp = 0
        self._set_mtime(0)

    @property
    def mtime(self) -> int:
        """Ticks of 100 ns, 64 bits."""
        return self._clock.now() // NS_PER_TICK + self._offset & _MASK

    def read(self, offset: int, size: int) -> int:
        _check(offset, size)
        if offset == MSIP:
            return self._msip.level
        for base, value in ((MTIMECMP, self.mtimecmp), (MTIME, self.mtime)):
            if offset == base:
                return value if size == 8 else value & _LOW
            if offset == base + 4:
                return value >> 32
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        _check(offset, size)
        if offset == MSIP:
            self._msip.set(value & 1)
        elif MTIMECMP <= offset < MTIMECMP + 8:
            self.mtimecmp = _merge(self.mtimecmp, offset, size, value)
            self._compare()
        elif MTIME <= offset < MTIME + 8:
            self._set_mtime(_merge(self.mtime, offset, size, value))

    def _set_mtime(self, value: int) -> None:
        self._offset = value - self._clock.now() // NS_PER_TICK
        self._compare()

    def _compare(self) -> None:
        now = self._clock.now()
        missing = self.mtimecmp - (now // NS_PER_TICK + self._offset & _MASK)
        if missing <= 0:
            self._timer.modify(None)
            self._mtip.set(1)
        else:
            self._mtip.set(0)
            self._timer.modify(now + missing * NS_PER_TICK)

    def _expired(self) -> None:
        self._mtip.set(1)


def _merge(old: int, offset: int, size: int, value: int) -> int:
    """``old`` with the written word, or all of it, replaced."""
    if size == 8:
        return value & _MASK
    if offset & 4:
        return (value & _LOW) << 32 | old & _LOW
    return old & ~_LOW | value & _LOW


def _check(offset: int, size: int) -> None:
    allowed = (4,) if offset < MTIMECMP else (4, 8)
    if offset >= END or size not in allowed or offset % size:
        raise MemTxError

"""QEMU's rules of counting under icount, for a machine that is compared with it.

QEMU charges a block when it enters it. What a fault leaves undone is given back, as here. What it
does not give back are instructions that trap and were known to when they were translated (ecall,
ebreak, illegal ones), and what follows wfi in its block (helper_wfi leaves without restoring; seen
on 7.2). Nothing of that retires by the specification (3.1.10), and tcglite does not count it. Under
icount those instructions take time, so a timer fires earlier on QEMU: a machine that is compared is
given the same time.
"""

from __future__ import annotations

from ..hw.clock import ICountClock
from ..machine import Machine
from ..target.trap import ILLEGAL_INST
from ..trace import events as ev

#: QEMU's boot ROM on the ``virt`` board runs so many instructions before the guest.
BOOT_INSNS = 6

_MRET = 0x3020_0073
_OPCODE, _SYSTEM, _FUNCT3 = 0x7F, 0x73, 7 << 12


class QemuClock:
    """Keeps the clock of ``machine``, which must be under icount and new, where QEMU's is."""

    def __init__(self, machine: Machine) -> None:
        assert isinstance(machine.clock, ICountClock)
        self._clock = machine.clock
        self._undone = 0
        self._skip(BOOT_INSNS)
        machine.recorder.listen(self._event)

    def _event(self, event: ev.Event) -> None:
        if isinstance(event, ev.StateRestored):
            self._undone = event.undone
        elif isinstance(event, ev.Halted):  # it follows the restoring at wfi, which itself retires
            self._skip(self._undone - 1)
        elif isinstance(event, ev.ExceptionRaised) and event.expected and not _found_late(event):
            self._skip(1)

    def _skip(self, insns: int) -> None:
        if insns > 0:
            self._clock.warp(insns << self._clock.shift)
            self._clock.on_rearm()


def _found_late(event: ev.ExceptionRaised) -> bool:
    """Is that exception raised by one of QEMU's helpers, which restores first: a CSR access, or an
    mret outside M mode?"""
    bits = event.tval
    csr = bits & _OPCODE == _SYSTEM and bits & _FUNCT3 != 0
    return event.cause == ILLEGAL_INST and (csr or bits == _MRET)

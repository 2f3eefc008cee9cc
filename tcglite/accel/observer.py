"""Looking at a hart that runs, without being noticed.

Host code keeps the budget in a register, so the count in memory is as old as the last time it was
left. An observer sets the exit flag like anybody else; the refusal that follows is not told to
statistics, events or the interrupt logic, and the block is entered again at once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..tcg.cflags import CHECK_HEAD, CHECK_INSN, cf_check
from ..tcg.env import KICK

if TYPE_CHECKING:
    from .cpu import CPUState

_PATIENCE = 0.005  #: seconds; a hart that is in a callback may take longer than anybody waits


class Observer:
    """Of one hart."""

    def __init__(self, cpu: CPUState) -> None:
        self.cpu = cpu
        self._came_by = threading.Event()

    def look(self) -> None:
        """Have memory hold the counts of this moment, from any thread but the hart's; where the
        flag is not tested at the head of blocks, nothing happens."""
        self._came_by.clear()
        if self._ask():
            self._came_by.wait(_PATIENCE)

    def nudge(self) -> None:
        """Have the loop come by for the events of another thread that wait for it, if what that
        thread has done does not bring it back anyway."""
        if self.cpu.recorder.deferring and not self.cpu.kicked:
            self._ask()

    def _ask(self) -> bool:
        cpu = self.cpu
        if cf_check(cpu.cflags) not in (CHECK_HEAD, CHECK_INSN) or cpu.halted:
            return False
        cpu._decr.high = KICK
        return True

    def answer(self) -> None:
        """The loop is here, the flag is down, memory is right."""
        cpu = self.cpu
        cpu.recorder.settle(cpu.insns_now(), cpu.env.neg.ring_next)
        self._came_by.set()

    def was_all(self) -> bool:
        """A block refused because of the flag: because of us alone? Then the flag is taken back,
        unless somebody else sets it just now."""
        cpu = self.cpu
        if cpu.kicked or cpu.exit_request:
            return False
        cpu.discreet = True
        cpu._decr.high = 0
        if cpu.kicked or cpu.exit_request:
            cpu._decr.high = KICK
        return True

"""One machine that a panel plays in slices, and what was learnt from its events so far."""

from __future__ import annotations

import re
from collections import Counter, deque
from typing import Any

from tcglite.errors import UsageError, shown
from tcglite.lab.latency import Latencies
from tcglite.lab.programs import resolve
from tcglite.lab.snapshot import Recording, View
from tcglite.lab.timeline import Letters
from tcglite.machine import Machine, Mechanisms, RunResult, StopReason
from tcglite.trace.events import (
    Event,
    FlagCleared,
    FlagSet,
    InterruptTaken,
    LineRaised,
    LoopExit,
    Refused,
)

BEFORE, AFTER = 60, 240     # block runs that are kept before and after something that happened
KEEP = 8000                 # events and block runs that a picture can show when all stands still
LIVE = 700                  # while it runs: the last interrupt or two

# What a person calls it -> what the machine calls the line.
LINES = {"timer": "mtip", "doorbell": "msip", "mtip": "mtip", "msip": "msip", "meip": "meip",
         "uart": "uart"}


class Player:
    """A machine with its guest. ``deaf``: its chained code never looks at the exit flag, and
    nothing of it is traced, since looking would mean to stop it."""

    def __init__(self, guest: Any, backend: str = "auto", deaf: bool = False) -> None:
        self.ended = ""
        self.pressed = 0
        self._deaf = deaf
        self.name, image = resolve(guest)
        self.machine = Machine(
            image, backend=backend, watchdog=None, trace=None if deaf else "blocks",
            mechanisms=Mechanisms(irq_check="never" if deaf else "tb-start"))
        self._counts: Counter[str] = Counter()
        self._letters = Letters()
        self._latencies = Latencies()
        self._history: deque[Event] = deque(maxlen=KEEP)
        self._recordings = (Recording(letters=self._letters),) * 2
        self._kept = 0              # block runs before this one are in the history, or never
        self._wanted = 0            # keep them up to this one
        self._from: int | None = None   # something happened at this block run
        self._careful = False           # instructions are counted out: no need to stop for a look
        self._ours = _Stops()
        if not deaf:
            self.machine.recorder.listen(self._heard)

    @staticmethod
    def check(what: str, value: str = "") -> None:
        """Refuse what ``inject`` could not do."""
        if not isinstance(what, str) or not isinstance(value, str):
            raise UsageError(f"inject({shown(what)}, {shown(value)}): expected texts, as in "
                             "inject('key', 'x')")
        if what == "key" or (what == "uart" and value):
            if not value:
                raise UsageError("a key press needs the character: inject('key', 'x')")
        elif what not in LINES and not re.fullmatch(r"plic:\d+", what):
            raise UsageError(f"interrupt {what!r}: expected key, timer, doorbell, uart, mtip, "
                             "msip, meip or plic:N")

    def inject(self, what: str, value: str = "") -> None:
        """A key, or a line that goes up."""
        self.check(what, value)
        self.pressed += 1
        if value and what in ("key", "uart"):
            self.machine.uart.type(value)
        else:
            self.machine.raise_irq(LINES.get(what, what))

    def raise_within(self, insns: int, what: str) -> None:
        """Have a line go up right after that many more instructions; while it stands still. Of
        what another thread raises nobody knows the exact place in a block; of this, it is known."""
        self.check(what)
        self.pressed += 1
        self.machine.raise_at((self.machine.insns or 0) + insns, LINES.get(what, what))

    def start(self) -> None:
        """Let it run."""
        if not self.ended:
            self.machine.start()

    def pause(self) -> None:
        """Let it stand still; harmless if it does already."""
        if self.machine.running:
            self._finish(self.machine.pause())
        elif not self.ended:
            self._finish(self.machine.wait())

    def step(self, insns: int) -> None:
        """Run exactly that many instructions."""
        if not self.ended:
            self._careful = True
            self.machine.start(insns)
            self._finish(self.machine.wait())
            self._careful = False

    def collect(self) -> None:
        """Keep what there is to see around what happened; while the machine stands still."""
        if self._deaf:
            return
        written = self.machine.blocks_run
        if self._from is not None:
            self._kept = max(self._kept, self._from - BEFORE)
            self._from = None
        stop = min(self._wanted, written)
        if stop > self._kept:
            ours = _Stops()
            self._history.extend(event for event in self.machine.events_between(self._kept, stop)
                                 if not ours.hides(event))
            self._kept = stop
            events = tuple(self._history)
            self._recordings = (Recording(events[-LIVE:], self._letters),
                                Recording(events, self._letters))

    @property
    def moving(self) -> bool:
        """Does it run just now?"""
        return self.machine.running

    @property
    def noticed(self) -> bool:
        """Has something happened that ``collect`` has not looked at?"""
        return self._from is not None

    def recording(self, whole: bool = True) -> Recording:
        """What can be drawn, all or the last part; the same object until there is more."""
        return self._recordings[whole]

    def view(self) -> View:
        """The counters. Also while it runs: they lie in memory, nothing has to be stopped."""
        counts, stats = self._counts, self.machine.stats
        deaf = self._deaf
        return View(
            pressed=self.pressed,
            insns=self.machine.insns or 0,
            returns=stats.loop_returns if deaf else counts["returns"],
            translations=stats.tb_translated,
            refused=stats.tb_refused if deaf else counts["refused"],
            taken=stats.interrupts_taken,
            output=self.machine.console,
            waits=tuple(self._latencies.waits),
        )

    def close(self) -> None:
        """Stop the machine and free it."""
        self.machine.close()

    def _finish(self, result: RunResult) -> None:
        if result.reason not in (StopReason.PAUSED, StopReason.MAX_INSNS):
            code = "" if result.exit_code is None else f", code {result.exit_code}"
            self.ended = f"{result.reason.value}{code}. {result.detail}".rstrip(". ")

    def _heard(self, event: Event) -> None:
        """Each event as it happens, on whatever thread: count it, note where to look."""
        if self._ours.hides(event):
            return
        self._letters.see(event)
        self._latencies.feed((event,))
        if isinstance(event, Refused):
            self._counts["refused"] += 1
        elif isinstance(event, LoopExit):
            self._counts["returns"] += 1
        elif isinstance(event, LineRaised | InterruptTaken):
            if self._from is None:
                self._from = event.ring
            self._wanted = event.ring + AFTER
            if not self._careful:
                # In a millisecond, native code writes over all of the ring: hold on at once.
                self.machine.quit()


class _Stops:
    """Tells events that the panel itself causes by stopping the machine for a look."""

    def __init__(self) -> None:
        self._stop = self._other = False

    def hides(self, event: Event) -> bool:
        """Is this event only there because we wanted to look?"""
        if isinstance(event, FlagSet):
            if event.why == "stop":
                self._stop = True
                return True
            self._other = True
        elif isinstance(event, FlagCleared):
            only = self._stop and not self._other
            self._stop = self._other = False
            return only
        elif isinstance(event, Refused) or (isinstance(event, LoopExit)
                                            and event.reason == "refused"):
            return self._stop and not self._other
        return False

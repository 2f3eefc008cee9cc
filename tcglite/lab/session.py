"""The model behind a panel: machines that run in slices, commands in, snapshots out.

No widget here: everything can be driven from plain Python, which is how tests and the notebook's
own checks do it. All methods may be called from any thread; what they ask for happens on the one
worker thread, which owns the machines.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tcglite.errors import UsageError
from tcglite.lab import registry
from tcglite.lab.player import Player
from tcglite.lab.snapshot import ENDED, FROZEN, RUNNING, STOPPED, Snapshot
from tcglite.lab.worker import Worker

SLICE = 0.06            # seconds between snapshots: at most 20 in a second
DUTY = 0.1              # the part of it in which the machine runs, unless at full speed
LEAD_IN = 0.002         # run this long before an interrupt comes: it shall meet chained code …
LOOK = 0.005            # how often to look whether something has happened
LEAD_OUT = 4000         # … and it runs so many instructions after it: the handler, and more
SOON = (2000, 6000)     # random arrivals come within so many instructions of a slice
PATIENCE = 60.0         # freeze after so many seconds without a click


class Session:
    """One panel's machines. ``publish`` gets each new snapshot, on the worker's thread."""

    def __init__(self, guest: Any, *, twin: bool = False, full_speed: bool = False,
                 backend: str = "auto", key: str = "",
                 publish: Callable[[Snapshot], None] = lambda shot: None) -> None:
        self.guest = guest
        self.key = key
        self.snapshot = Snapshot(note="not started", full_speed=full_speed)
        self.last_error: str | None = None
        self._backend = backend
        self._publish_to = publish
        self._changed = threading.Condition()
        self._touched = time.monotonic()
        self._looked = 0.0
        self._state, self._note = FROZEN, ""
        self._full_speed = full_speed
        self._rate = 0.0
        self._random = random.Random(0)
        self._next_arrival = 0.0
        self._arrival = "doorbell"
        self._waiting: deque[tuple[str, str]] = deque()
        self._with_twin = twin
        self.player = Player(guest, backend)        # a bad guest is an error of the cell itself
        self.twin = Player(guest, backend, deaf=True) if twin else None
        self.worker = Worker(self._turn, self._failed, self._end)

    # -- what may be asked, from any thread -------------------------------------------------

    def go(self) -> None:
        """Let the machine run."""
        registry.freeze_others(self)
        self._ask(self._go)

    def freeze(self, note: str = "") -> None:
        """Let it stand still; its time stands still too."""
        self._ask(lambda: self._freeze(note))

    def reset(self) -> None:
        """A new machine with the same guest; it runs if the old one did."""
        self._ask(self._reset)

    def set_full_speed(self, full: bool) -> None:
        """All the time for the machine, or about a tenth of it."""
        self._ask(lambda: self._set(full_speed=full))

    def set_rate(self, per_second: float, what: str = "doorbell") -> None:
        """Have a line go up after random instructions, that often per second on average (but at
        most once in each slice); 0: never."""
        self.player.check(what)
        self._ask(lambda: self._set(rate=per_second, arrival=what))

    def inject(self, what: str, value: str = "") -> None:
        """Press a key ("uart" or "key", the characters), or raise a line: "timer", "doorbell",
        "mtip", "msip", "meip", "plic:N"."""
        self.player.check(what, value)
        self._ask(lambda: self._inject(what, value))

    def step(self, insns: int, timeout: float = 30) -> Snapshot:
        """Freeze, run exactly that many guest instructions, and return what there is to see."""
        def work() -> None:
            self._freeze("")
            self.player.step(insns)
            self._look()
        self._touched = time.monotonic()
        self.worker.call(work, timeout)
        return self.snapshot

    def wait(self, until: Callable[[Snapshot], bool] | str, timeout: float = 20) -> Snapshot:
        """Wait until a snapshot satisfies ``until``: a function, "taken" (one more interrupt than
        now), "output" (more output than now), or a state such as "frozen"."""
        now = self.snapshot
        if until == "taken":
            test: Callable[[Snapshot], bool] = lambda s: s.taken > now.taken  # noqa: E731
        elif until == "output":
            test = lambda s: s.output != now.output  # noqa: E731
        elif callable(until):
            test = until
        elif until in (RUNNING, FROZEN, ENDED, STOPPED):
            test = lambda s: s.state == until  # noqa: E731
        else:
            raise UsageError(f"wait for {until!r}: expected a function, taken, output, {RUNNING}, "
                             f"{FROZEN}, {ENDED} or {STOPPED}")
        with self._changed:
            if not self._changed.wait_for(lambda: test(self.snapshot), timeout):
                raise TimeoutError(f"nothing of that kind within {timeout} s; "
                                   f"the panel is {self.snapshot.state}")
        return self.snapshot

    def draw(self, command: Callable[[], None]) -> None:
        """Have the view change what it shows, on the worker's thread."""
        self._ask(command)

    def report(self, error: Exception) -> None:
        """Show an error in the panel's error line."""
        self._ask(lambda: self._failed(str(error)))

    def close(self) -> None:
        """End the worker and free the machines."""
        self.worker.close()

    # -- what happens, on the worker's thread -----------------------------------------------

    def _ask(self, command: Callable[[], None]) -> None:
        self._touched = time.monotonic()
        self.worker.submit(command)

    def _turn(self) -> float | None:
        if self._state != RUNNING:
            self._look()
            return None
        if time.monotonic() - self._touched > PATIENCE:
            self._freeze("a minute without a click; press Go")
            return 0
        began = time.monotonic()
        until = began + (SLICE if self._full_speed else SLICE * DUTY)
        if self._arrives(began):
            self.player.raise_within(self._random.randrange(*SOON), self._arrival)
            if self.twin is not None:
                self.twin.inject(self._arrival)
        self.player.start()
        if self._waiting:
            self.worker.serve(LEAD_IN)
            while self._waiting:
                self._deliver(*self._waiting.popleft())
        while not self.player.noticed and (left := until - time.monotonic()) > 0:
            self.worker.serve(min(left, LOOK))
        self.player.pause()
        if self.player.noticed:
            self.player.step(LEAD_OUT)
        self.player.collect()
        if self.player.ended:
            self._state, self._note = ENDED, self.player.ended
            self._pause_twin()
        now = time.monotonic()
        if now - self._looked >= SLICE * 0.9 or self._state != RUNNING:
            self._looked = now
            self._look()
        return 0 if self._full_speed else max(began + SLICE - time.monotonic(), 0)

    def _arrives(self, now: float) -> bool:
        if not self._rate:
            return False
        due = now >= self._next_arrival
        if due:
            self._next_arrival = now + self._random.expovariate(self._rate)
        return due

    def _go(self) -> None:
        if self._state == FROZEN:
            self._state, self._note = RUNNING, ""
            if self.twin is not None:
                self.twin.start()

    def _freeze(self, note: str) -> None:
        self.player.pause()
        if self._state == RUNNING:
            self._state, self._note = FROZEN, note
            self._pause_twin()

    def _pause_twin(self) -> None:
        if self.twin is not None:
            self.twin.pause()

    def _reset(self) -> None:
        running = self._state in (RUNNING, ENDED)
        self._close_players()
        self.player = Player(self.guest, self._backend)
        self.twin = Player(self.guest, self._backend, deaf=True) if self._with_twin else None
        self._state, self._note, self.last_error = FROZEN, "", None
        self._waiting.clear()
        if running:
            self._go()
        self._look()

    def _set(self, full_speed: bool | None = None, rate: float | None = None,
             arrival: str | None = None) -> None:
        if full_speed is not None:
            self._full_speed = full_speed
        if rate is not None and arrival is not None:
            self._rate, self._arrival = rate, arrival
            self._next_arrival = 0.0
        self._look()

    def _inject(self, what: str, value: str) -> None:
        if self._waiting or (self._state == RUNNING and not self.player.moving):
            self._waiting.append((what, value))     # between two slices: wait for the next
        else:
            self._deliver(what, value)

    def _deliver(self, what: str, value: str) -> None:
        self.player.inject(what, value)
        if self.twin is not None:
            self.twin.inject(what, value)

    def _look(self) -> None:
        self.player.collect()
        self._show(Snapshot(
            state=self._state, note=self._note, full_speed=self._full_speed,
            main=self.player.view(), twin=self.twin.view() if self.twin else None,
            recording=self.player.recording(whole=self._state != RUNNING),
            error=self.last_error or ""))

    def _show(self, shot: Snapshot) -> None:
        self._publish_to(shot)      # first: who waits for a snapshot finds it on the page
        with self._changed:
            self.snapshot = shot
            self._changed.notify_all()

    def _failed(self, line: str) -> None:
        self.last_error = line
        self._show(replace(self.snapshot, state=self._state, error=line))

    def _end(self) -> None:
        self._close_players()
        self._state = STOPPED
        self._show(replace(self.snapshot, state=STOPPED, note=""))

    def _close_players(self) -> None:
        self.player.close()
        if self.twin is not None:
            self.twin.close()

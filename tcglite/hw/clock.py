"""Virtual time and the timers that hang on it (QEMU: ``util/qemu-timer.c``, ``system/cpus.c``).

All times are integer nanoseconds since reset. What mirrors what:

* ``VirtualClock`` is QEMU_CLOCK_VIRTUAL with its list of armed timers. QEMU keeps a sorted list
  per clock and thread; a board has three timers, so a plain list and ``min`` are enough.
* ``HostClock`` is that clock without icount: host time that passes only while the machine runs.
  QEMU's main loop sleeps until the next deadline; here one daemon thread does.
* ``ICountClock`` is that clock under icount (``accel/tcg/icount-common.c``): instructions, shifted,
  plus a bias that ``warp`` moves when idle time is skipped. QEMU's adaptive shift (``auto``) and
  ``sleep=on`` do not exist here.

Timers are armed, and fire, with the machine's lock held; so an arming and a firing never overlap.
"""

from __future__ import annotations

import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable

from ..errors import StateError, UsageError

NEVER = 1 << 63              # later than any deadline: QEMU's timers end at INT64_MAX too
_LONGEST_SLEEP = 3600.0      # seconds; host waits have an upper limit, far deadlines take several


class Timer:
    """One deadline and what to call when it is reached; made by ``VirtualClock.timer``."""

    __slots__ = ("_clock", "callback", "deadline")

    def __init__(self, clock: VirtualClock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.callback = callback
        self.deadline = NEVER

    def modify(self, deadline_ns: int | None) -> None:
        """Arm for ``deadline_ns`` (which may lie in the past: it fires at the next look), or
        disarm with None. Replaces an earlier deadline."""
        self._clock._modify(self, NEVER if deadline_ns is None else deadline_ns)


class VirtualClock(ABC):
    """What all clocks share: the armed timers. ``now`` is the subclass's business.

    ``on_rearm`` is called after the earliest deadline has changed because somebody armed or
    disarmed a timer (not because one fired): the moment at which an instruction budget must be
    computed anew."""

    def __init__(self) -> None:
        self.on_rearm: Callable[[], None] = _nothing
        self._armed: list[Timer] = []

    @abstractmethod
    def now(self) -> int:
        """Nanoseconds since reset."""

    @abstractmethod
    def reset(self) -> None:
        """Begin again at 0 ns. Timers stay as they are: their owners reset them."""

    def timer(self, callback: Callable[[], None]) -> Timer:
        """A new, disarmed timer."""
        return Timer(self, callback)

    def deadline(self) -> int | None:
        """The earliest armed deadline in ns, or None."""
        return min((timer.deadline for timer in self._armed), default=None)

    def run_due(self) -> None:
        """Fire every timer whose deadline is not after now: earliest first, ties in the order of
        arming, each at most once, disarmed before its callback runs. A callback may arm and
        disarm any timer; one that re-arms its own for the past is called at the next look."""
        now = self.now()
        fired: list[Timer] = []
        while due := [t for t in self._armed if t.deadline <= now and t not in fired]:
            timer = min(due, key=lambda t: t.deadline)
            self._armed.remove(timer)
            timer.deadline = NEVER
            fired.append(timer)
            timer.callback()

    def _modify(self, timer: Timer, deadline: int) -> None:
        before = self.deadline()
        if timer.deadline != NEVER:
            self._armed.remove(timer)
        timer.deadline = min(deadline, NEVER)
        if timer.deadline != NEVER:
            self._armed.append(timer)
        if self.deadline() != before:
            self._rearmed()

    def _rearmed(self) -> None:
        self.on_rearm()


def _nothing() -> None:
    """What ``on_rearm`` does until somebody wants to know."""


class ICountClock(VirtualClock):
    """Time is instructions: ``now() == bias + (insns() << shift)``.

    ``insns`` gives the instructions charged since reset; in a device access that includes the
    one that accesses (measured on QEMU 7.2.22: a timer set for 300 ns fires 300 instructions
    after the store that sets it). ``shift`` is QEMU's (0 to 10: an instruction takes 2**shift
    ns). Nothing here runs timers by itself: who executes instructions calls ``run_due`` when the
    deadline is reached."""

    def __init__(self, insns: Callable[[], int], shift: int = 0) -> None:
        if not 0 <= shift <= 10:
            raise UsageError(f"icount shift {shift}: expected 0 to 10")
        super().__init__()
        self.insns = insns
        self.shift = shift
        self.bias = 0

    def now(self) -> int:
        return self.bias + (self.insns() << self.shift)

    def reset(self) -> None:
        """Forget the bias; time is 0 when the instruction counter is."""
        self.bias = 0

    def warp(self, ns: int) -> None:
        """Skip ``ns`` of idle time (every hart waits: QEMU's ``sleep=off``)."""
        if ns < 0:
            raise UsageError(f"cannot warp by {ns} ns: time does not go back")
        self.bias += ns


class HostClock(VirtualClock):
    """Host time (``time.perf_counter_ns``) that stands still between ``stop`` and ``start``.

    Made stopped, at 0. While it runs, its thread sleeps until the earliest deadline and fires due
    timers holding ``lock``; after ``stop`` has returned none fires. ``now`` needs no lock.

    The thread is created by the first ``start`` and ended by ``close``. It knows the clock by a
    weak reference only, so a clock (and the machine behind its timers) that everybody has dropped
    goes away and takes the thread with it. It sleeps on a bell that stays rung until it is heard:
    arming an earlier deadline cannot slip between its look and its sleep."""

    def __init__(self, lock: threading.RLock) -> None:
        super().__init__()
        self._lock = lock
        # (ns until the last start or stop, host time of the start or None while stopped): one
        # tuple, replaced whole, so that now() may be called from any thread.
        self._time: tuple[int, int | None] = (0, None)
        self._closed = False
        self._bell = _Bell()
        self._wakes_at = NEVER       # when the thread will look by itself
        self._thread: threading.Thread | None = None

    def now(self) -> int:
        elapsed, since = self._time
        return elapsed if since is None else elapsed + time.perf_counter_ns() - since

    @property
    def running(self) -> bool:
        """Whether time passes."""
        return self._time[1] is not None

    def reset(self) -> None:
        with self._lock:
            self._time = (0, time.perf_counter_ns() if self.running else None)
            self._wake()

    def start(self) -> None:
        """Let time pass. Harmless when it does already."""
        with self._lock:
            if self._closed:
                raise StateError("this clock is closed")
            if not self.running:
                self._time = (self._time[0], time.perf_counter_ns())
            if self._thread is None:
                bell = self._bell
                self._thread = threading.Thread(
                    target=_serve, name="tcglite-clock", daemon=True,
                    args=(weakref.ref(self, lambda _: bell.ring()), bell, self._lock))
                self._thread.start()
            self._wake()

    def stop(self) -> None:
        """Let time stand still. Harmless when it does already."""
        with self._lock:
            self._time = (self.now(), None)

    def close(self) -> None:
        """Stop for good and end the thread. Not to be called while holding the lock, which the
        thread may be waiting for; harmless the second time."""
        with self._lock:
            self.stop()
            self._closed = True
            self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _rearmed(self) -> None:
        # A later deadline needs no wake-up: the thread looks at the old one and sleeps on.
        deadline = self.deadline()
        if self.running and deadline is not None and deadline < self._wakes_at:
            self._wake()
        super()._rearmed()

    def _wake(self) -> None:
        self._wakes_at = -NEVER      # it is about to look: one ring is enough
        self._bell.ring()

    def _look(self) -> float | None:
        """Fire what is due (lock held); seconds until the next look, None for "when woken"."""
        if not self.running:
            self._wakes_at = NEVER
            return None
        self._wakes_at = -NEVER
        self.run_due()
        deadline = self.deadline()
        self._wakes_at = NEVER if deadline is None else deadline
        if deadline is None:
            return None
        return min(max(deadline - self.now(), 0) / 1e9, _LONGEST_SLEEP)


class _Bell:
    """A binary semaphore that anybody may ring, a finaliser too: ringing takes no lock.

    (Event and Condition do take one; SimpleQueue does not, but in Python 3.11 its ``get`` with a
    timeout of some microseconds may wait for ever.)"""

    def __init__(self) -> None:
        self._silent = threading.Lock()
        self._silent.acquire()

    def ring(self) -> None:
        try:
            self._silent.release()
        except RuntimeError:         # rung already, and not heard yet
            pass

    def wait(self, timeout: float | None) -> None:
        """Until rung, or for ``timeout`` seconds; None: for as long as it takes."""
        self._silent.acquire(timeout=-1 if timeout is None else timeout)


def _serve(ref: weakref.ref[HostClock], bell: _Bell, lock: threading.RLock) -> None:
    """The clock's thread: look, sleep, look. A function, so that it holds no reference to the
    clock while it sleeps."""
    timeout: float | None = None
    while True:
        bell.wait(timeout)
        with lock:
            clock = ref()
            if clock is None or clock._closed:
                return
            timeout = clock._look()
            del clock

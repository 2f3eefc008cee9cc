"""The vCPU thread (QEMU: accel/tcg/tcg-accel-ops-rr.c, -mttcg.c, system/cpus.c).

Guest code never runs on the main thread, which must stay able to hear Ctrl-C. The thread refers to
the hart and the clock, never to the machine's facade, so that a dropped machine can be collected;
it is a daemon, stopped and joined at exit, so that a process always ends cleanly.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import StateError
from ..target import cpu as target
from ..target.trap import UnhandledTrap
from ..tcg.env import KICK
from .cpu import CPUState
from .cpu_exec import Excp, cpu_exec
from .replay import Inputs

SWITCH_INTERVAL = 0.0005  #: seconds; Python's 5 ms would make a busy guest deaf to its raisers
_WATCH_INTERVAL = 0.02
_AT_EXIT = 2.0  # seconds; a callback that never returns must not keep the process


class Clock(Protocol):
    """What the thread needs of the board's clock."""

    def now(self) -> int: ...
    def deadline(self) -> int | None: ...
    def run_due(self) -> None: ...


@dataclass(slots=True, eq=False)
class Run:
    """One run, and how it ended: the reason's name, one line of detail, instructions, seconds,
    where the hart stood, what a callback raised. ``done`` is held as long as it lasts."""

    done: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False
    reason: str = "paused"
    detail: str = ""
    insns: int | None = 0
    seconds: float = 0.0
    pc: int = target.RESET_PC
    exit_code: int | None = None
    error: BaseException | None = None


class VCPU:
    """One hart's thread. ``clock_start``/``clock_stop``: host time passes only while it runs;
    ``warp(ns)``: skip idle virtual time (icount); ``may_wake()``: can anything still end a wfi?"""

    def __init__(
        self,
        cpu: CPUState,
        clock: Clock,
        inputs: Inputs,
        *,
        clock_start: Callable[[], None],
        clock_stop: Callable[[], None],
        warp: Callable[[int], None] | None,
        watchdog: float | None,
    ) -> None:
        self.cpu = cpu
        self.clock = clock
        self.inputs = inputs
        self.may_wake: Callable[[], bool] = lambda: True
        self.watchdog = watchdog
        self.last = Run(ended=True)  # the run that is under way, or was the last one
        self._clock_start, self._clock_stop, self._warp = clock_start, clock_stop, warp
        # Ctrl-C may come anywhere in the main thread, and could leave an Event or a Condition
        # locked for ever; so both sides meet at locks and queues, which are written in C.
        self._jobs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._gate = threading.Lock()  # start against stop and close
        _all.add(self)

    # From outside.

    @property
    def running(self) -> bool:
        """Is a run under way?"""
        return not self.last.ended

    def start(self, max_insns: int | None) -> Run:
        """Let the hart run; ``max_insns`` is relative to now."""
        self._check_outside()
        with self._gate:
            if self._closed:
                raise StateError("this machine is closed")
            self.check_stopped()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._main, name="tcglite-vcpu", daemon=True
                )
                self._thread.start()
            cpu = self.cpu
            cpu.stop_reason, cpu.stop_detail, cpu.error = None, "", None
            cpu.budget.stop_at = None if max_insns is None else cpu.budget.now() + max_insns
            run = Run()
            run.done.acquire()
            self.last = run
            self._jobs.put(run)
            return run

    def stop(self, reason: str, run: Run | None = None) -> Run:
        """Ask the run that is under way (where given: if it is ``run``) to end; the last run."""
        self._check_outside()
        with self._gate:
            if self.running and (run is None or run is self.last):
                self.cpu.stop(reason)
            return self.last

    def check_stopped(self) -> None:
        """StateError while a run is under way."""
        if self.running:
            raise StateError("the machine is running; pause() it first")

    def wait(self, run: Run, timeout: float | None = None) -> bool:
        """Wait until ``run`` has ended; False if ``timeout`` seconds were not enough. Waits in
        slices, so that Ctrl-C is heard on every system."""
        self._check_outside()
        end = None if timeout is None else time.monotonic() + timeout
        while not run.ended:
            left = 0.05 if end is None else min(0.05, end - time.monotonic())
            if left <= 0:
                return False
            if run.done.acquire(timeout=left):
                run.done.release()
        return True

    def close(self) -> None:
        """Stop, and end the thread; harmless the second time."""
        self._check_outside()
        with self._gate:
            self._closed = True
            self._jobs.put(None)
        self.cpu.stop("paused")
        if self._thread is not None:
            self._thread.join()

    def release(self) -> None:
        """Ask everything to end, for a finaliser: it may run in any thread, at any line, so it
        takes no lock and waits for nobody. ``_watch`` cuts the links of a chain that is deaf."""
        cpu = self.cpu
        self._closed = True
        cpu.stop_reason = cpu.stop_reason or "paused"
        cpu.exit_request = True
        cpu.env.neg.icount_decr.high = KICK
        cpu.wake_up()
        self._jobs.put(None)

    @property
    def inside(self) -> bool:
        """Is this the thread that runs the hart: a callback?"""
        return self.running and threading.get_ident() == self.cpu.thread

    def _check_outside(self) -> None:
        if self.inside:
            raise StateError("the machine waits for its callback: that cannot wait for the machine")

    # In the thread.

    def _main(self) -> None:
        while (run := self._jobs.get()) is not None:
            if not self._closed:
                self._run(run)
            run.ended = True
            run.done.release()
            del run
        self._jobs.put(None)  # for a second thread, if Ctrl-C came when the first one started

    def _run(self, run: Run) -> None:
        cpu = self.cpu
        cpu.thread = threading.get_ident()
        began, first = time.perf_counter(), cpu.insns_now()
        ended = threading.Event()
        _busy(+1)
        try:
            if not cpu.mechanisms.flag_heard:
                threading.Thread(
                    target=self._watch, args=(ended,), name="tcglite-watchdog", daemon=True
                ).start()
            self._clock_start()
            self._loop()
        except UnhandledTrap as trap:
            cpu.stop("unhandled-trap", trap.text)
        except BaseException as error:
            cpu.fail(error)
        finally:
            self._clock_stop()
            _busy(-1)
            ended.set()
            last = cpu.insns_now()
            assert cpu.stop_reason is not None
            run.reason, run.detail, run.error = cpu.stop_reason, cpu.stop_detail, cpu.error
            run.insns = None if last is None or first is None else last - first
            run.seconds, run.pc = time.perf_counter() - began, cpu.env.pc
            run.exit_code = cpu.exit_code if run.reason == "exit" else None

    def _loop(self) -> None:
        cpu, budget = self.cpu, self.cpu.budget
        icount = cpu.icount_shift is not None
        while True:
            cpu.exit_request = False
            if cpu.stop_reason is not None:
                return
            if icount:
                with cpu.lock:
                    self.clock.run_due()
            self.inputs.apply(budget.now())
            if cpu.count:
                budget.fire(budget.now())
                budget.prepare()
                if budget.stop_at is not None and budget.stop_at <= budget.insns:
                    cpu.stop("max-insns")
                    continue
            if cpu_exec(cpu) is Excp.HALTED:
                self._wait_for_work()

    def _wait_for_work(self) -> None:
        """Sleep in wfi until an enabled interrupt is pending or somebody stops the run."""
        cpu = self.cpu
        while True:
            now = cpu.budget.now()
            cpu.budget.fire(now)  # a line that goes up right after the wfi
            if cpu.stop_reason is not None or target.has_work(cpu.env) or self.inputs.waiting(now):
                return
            deadline = self.clock.deadline()
            if self._warp is not None and deadline is not None:
                self._warp(max(0, deadline - self.clock.now()))
                with cpu.lock:
                    self.clock.run_due()
            elif not self.may_wake():
                cpu.stop("deadlock", f"wfi before {cpu.env.pc:#x}, and nothing can end it")
            else:
                cpu.sleep(0.05)

    def _watch(self, ended: threading.Event) -> None:
        """Where chained code does not hear the flag: stop a run that has been deaf too long, and
        cut the links for those who could only set the flag."""
        since: float | None = None
        limit = self.watchdog
        while not ended.wait(_WATCH_INTERVAL):
            if self.cpu.stop_reason is not None:
                self.cpu.request_exit()
            elif not self.cpu.env.neg.icount_decr.high or self.cpu.halted:
                since = None
            elif since is None:
                since = time.monotonic()
            elif limit is not None and time.monotonic() - since > limit:
                self.cpu.stop("watchdog", f"the exit flag was up for {limit:g} s and nobody looked")


_all: weakref.WeakSet[VCPU] = weakref.WeakSet()
_busy_lock = threading.Lock()
_busy_count = 0
_interval = 0.0


def _busy(change: int) -> None:
    """While any hart runs, threads take turns more often; afterwards as before."""
    global _busy_count, _interval
    with _busy_lock:
        if _busy_count == 0 and change > 0:
            _interval = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL)
        _busy_count += change
        if _busy_count == 0:
            sys.setswitchinterval(_interval)


def stop_all() -> int:
    """Ask every hart that runs to stop, without waiting; how many there were."""
    running = [vcpu for vcpu in list(_all) if vcpu.running]
    for vcpu in running:
        vcpu.cpu.stop("paused")
    return len(running)


@atexit.register
def _close_all() -> None:
    vcpus = list(_all)
    for vcpu in vcpus:
        vcpu.release()
    for vcpu in vcpus:
        if vcpu._thread is not None:
            vcpu._thread.join(_AT_EXIT)


def _after_fork() -> None:
    """Threads do not survive a fork: in the child, all machines are closed."""
    for vcpu in list(_all):
        vcpu._closed, vcpu._thread, vcpu.last.ended = True, None, True
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Virtual time, its timers, and the thread that fires them."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcglite.errors import StateError, UsageError
from tcglite.hw.clock import HostClock, ICountClock, Timer, VirtualClock

MS = 1_000_000


class HandClock(VirtualClock):
    ns = 0

    def now(self) -> int:
        return self.ns

    def reset(self) -> None:
        self.ns = 0


@pytest.fixture
def host() -> Iterator[tuple[HostClock, threading.RLock]]:
    lock = threading.RLock()
    clock = HostClock(lock)
    yield clock, lock
    thread = clock._thread
    clock.close()
    assert thread is None or not thread.is_alive()


# -- timers -----------------------------------------------------------------------------------

def test_due_timers_fire_once_earliest_first_and_ties_in_the_order_of_arming():
    clock, fired = HandClock(), []
    timers = {n: clock.timer(lambda n=n: fired.append(n)) for n in "abcd"}
    for name, deadline in (("a", 30), ("b", 10), ("c", 10), ("d", 31)):
        timers[name].modify(deadline)
    assert clock.deadline() == 10
    clock.ns = 30
    clock.run_due()
    assert fired == ["b", "c", "a"]
    assert clock.deadline() == 31
    clock.run_due()
    assert fired == ["b", "c", "a"]


def test_a_timer_fires_at_its_deadline_and_not_a_nanosecond_before():
    clock, fired = HandClock(), []
    clock.timer(lambda: fired.append(clock.ns)).modify(100)
    clock.ns = 99
    clock.run_due()
    assert fired == []
    clock.ns = 100
    clock.run_due()
    assert fired == [100]


def test_a_callback_may_rearm_its_own_timer_even_for_the_past():
    clock, fired = HandClock(), []

    def again() -> None:
        fired.append(clock.ns)
        timer.modify(clock.ns - 5)

    timer = clock.timer(again)
    timer.modify(0)
    clock.ns = 50
    clock.run_due()              # returns: the second firing waits for the next look
    assert fired == [50]
    assert clock.deadline() == 45
    clock.run_due()
    assert fired == [50, 50]


def test_a_callback_may_disarm_and_put_off_other_due_timers():
    clock, fired = HandClock(), []

    def first() -> None:
        fired.append("first")
        off.modify(None)
        later.modify(1000)
        early.modify(5)

    first_timer = clock.timer(first)
    off, later, early = (clock.timer(lambda n=n: fired.append(n))
                         for n in ("off", "later", "early"))
    first_timer.modify(1)
    off.modify(2)
    later.modify(3)
    clock.ns = 10
    clock.run_due()
    assert fired == ["first", "early"]
    assert clock.deadline() == 1000


def test_disarming_twice_and_arming_for_never_are_harmless():
    clock = HandClock()
    timer = clock.timer(lambda: None)
    timer.modify(None)
    timer.modify(1 << 80)
    assert clock.deadline() is None
    timer.modify(7)
    timer.modify(None)
    timer.modify(None)
    assert clock.deadline() is None


def test_on_rearm_hears_of_each_change_of_the_earliest_deadline_and_of_nothing_else():
    clock, heard = HandClock(), []
    clock.on_rearm = lambda: heard.append(clock.deadline())
    a, b = clock.timer(lambda: None), clock.timer(lambda: None)
    a.modify(10)
    b.modify(20)          # not the earliest
    b.modify(5)
    b.modify(5)
    a.modify(30)
    b.modify(None)
    clock.ns = 40
    clock.run_due()       # firing is not arming
    assert heard == [10, 5, 30]


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 50)) | st.integers(0, 20)))
def test_timers_behave_as_a_table_of_deadlines(steps: list):
    """A step arms timer n for a deadline (or disarms it), or lets time pass."""
    clock, fired = HandClock(), []
    armed: dict[int, tuple[int, int]] = {}      # timer -> (deadline, when it was armed)
    timers: list[Timer] = [clock.timer(lambda n=n: fired.append(n)) for n in range(6)]
    for order, step in enumerate(steps):
        if isinstance(step, tuple):
            number, deadline = step
            timers[number].modify(deadline)
            armed.pop(number, None)
            if deadline is not None:
                armed[number] = deadline, order
        else:
            clock.ns += step
            due = sorted((n for n in armed if armed[n][0] <= clock.ns), key=lambda n: armed[n])
            fired.clear()
            clock.run_due()
            assert fired == due
            for number in due:
                del armed[number]
        assert clock.deadline() == min((d for d, _ in armed.values()), default=None)


# -- icount -----------------------------------------------------------------------------------

def test_icount_time_is_instructions_and_warp_skips_idle_time():
    insns = 0
    clock = ICountClock(lambda: insns, shift=3)
    assert clock.now() == 0
    insns = 5
    assert clock.now() == 40
    clock.warp(1000)
    assert clock.now() == 1040
    insns = 0
    clock.reset()
    assert clock.now() == 0


def test_icount_refuses_nonsense():
    with pytest.raises(UsageError, match="expected 0 to 10"):
        ICountClock(lambda: 0, shift=11)
    with pytest.raises(UsageError, match="does not go back"):
        ICountClock(lambda: 0).warp(-1)


# -- host time --------------------------------------------------------------------------------

def test_host_time_stands_still_until_started_and_after_stop(host):
    clock, _ = host
    assert clock.now() == 0
    time.sleep(0.01)
    assert clock.now() == 0
    clock.start()
    time.sleep(0.01)
    clock.stop()
    stood = clock.now()
    assert stood >= 10 * MS
    time.sleep(0.01)
    assert clock.now() == stood
    clock.start()
    assert clock.now() >= stood


def test_no_thread_before_the_first_start_and_one_after_many(host):
    clock, _ = host
    before = set(threading.enumerate())
    assert clock._thread is None
    for _ in range(3):
        clock.start()
        clock.start()
        clock.stop()
    assert set(threading.enumerate()) - before == {clock._thread}


def test_a_timer_fires_in_the_clocks_thread_holding_the_lock(host):
    clock, lock = host
    seen = []
    fired = threading.Event()

    def callback() -> None:
        free = threading.Thread(target=lambda: seen.append(lock.acquire(blocking=False)))
        free.start()
        free.join()
        seen.append(threading.current_thread().name)
        fired.set()

    with lock:
        clock.timer(callback).modify(2 * MS)
    clock.start()
    assert fired.wait(5)
    assert seen == [False, "tcglite-clock"]
    assert clock.now() >= 2 * MS


def test_arming_an_earlier_deadline_wakes_the_sleeping_thread(host):
    clock, lock = host
    fired = threading.Event()
    late, early = clock.timer(lambda: None), clock.timer(fired.set)
    with lock:
        late.modify(3_600_000 * MS)
    clock.start()
    time.sleep(0.02)             # it sleeps for an hour now
    with lock:
        early.modify(clock.now() + MS)
    assert fired.wait(5)


def test_arming_while_stopped_fires_after_start(host):
    clock, lock = host
    clock.start()
    clock.stop()
    fired = threading.Event()
    with lock:
        clock.timer(fired.set).modify(0)
    assert not fired.wait(0.02)
    clock.start()
    assert fired.wait(5)


def test_rearming_from_the_callback_loses_no_deadline(host):
    """A periodic timer, while another thread moves a second one about: all ticks come."""
    clock, lock = host
    ticks, done = [], threading.Event()

    def tick() -> None:
        ticks.append(clock.now())
        if len(ticks) == 200:
            done.set()
        else:
            periodic.modify(clock.now() + MS // 20)

    periodic, other = clock.timer(tick), clock.timer(lambda: None)
    with lock:
        periodic.modify(0)
    clock.start()
    while not done.is_set() and clock.now() < 20_000 * MS:
        with lock:
            other.modify(clock.now() + MS // 50)
        with lock:
            other.modify(None)
        time.sleep(0)
    assert done.is_set()


def test_each_of_many_short_deadlines_fires(host):
    """Arm, wait for the firing, arm again: a wake-up that slipped through would hang this."""
    clock, lock = host
    fired = threading.Event()
    timer = clock.timer(fired.set)
    clock.start()
    for i in range(2000):
        fired.clear()
        with lock:
            timer.modify(clock.now() + (i % 3) * 10_000)
        assert fired.wait(5), f"round {i}"


def test_nothing_fires_after_stop_has_returned(host):
    clock, lock = host
    fired = []
    timer = clock.timer(lambda: fired.append(clock.running))
    for _ in range(50):
        clock.start()
        with lock:
            timer.modify(clock.now() + MS // 10)
        time.sleep(0.0002)
        clock.stop()
        count = len(fired)
        time.sleep(0.0005)
        assert len(fired) == count
    assert all(fired)


def test_reset_begins_at_zero_again_and_fires_old_deadlines_at_their_new_time(host):
    clock, lock = host
    fired = threading.Event()
    with lock:
        clock.timer(fired.set).modify(40 * MS)
    clock.start()
    time.sleep(0.02)
    clock.reset()
    assert clock.now() < 20 * MS
    assert fired.wait(5)
    assert clock.now() >= 40 * MS


def test_close_ends_the_thread_at_once_and_for_good():
    lock = threading.RLock()
    clock = HostClock(lock)
    with lock:
        clock.timer(lambda: None).modify(3_600_000 * MS)
    clock.start()
    thread = clock._thread
    before = time.monotonic()
    clock.close()
    clock.close()
    assert time.monotonic() - before < 2
    assert not thread.is_alive()
    with pytest.raises(StateError):
        clock.start()


def test_a_timer_may_close_its_own_clock():
    lock = threading.RLock()
    clock = HostClock(lock)
    with lock:
        clock.timer(clock.close).modify(0)
    clock.start()
    thread = clock._thread
    thread.join(5)
    assert not thread.is_alive()


def test_a_dropped_clock_ends_its_thread_and_keeps_nothing_alive():
    class Machine:
        def __init__(self) -> None:
            self.clock = HostClock(threading.RLock())
            self.timer = self.clock.timer(self.callback)
            self.timer.modify(3_600_000 * MS)
            self.clock.start()

        def callback(self) -> None:
            """Makes the timer, and so the clock, refer to the machine."""

    machine = Machine()
    gone = weakref.ref(machine)
    thread = machine.clock._thread
    time.sleep(0.02)
    del machine
    gc.collect()
    assert gone() is None
    thread.join(5)
    assert not thread.is_alive()

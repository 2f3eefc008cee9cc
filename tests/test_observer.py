"""Looking at a machine that runs leaves no trace; and what other threads do meanwhile is recorded
with numbers that are right, although host code keeps its count to itself."""

from __future__ import annotations

import threading
import time

import backends
import pytest
from running import SECONDS, until

from tcglite import Machine, Mechanisms, guests
from tcglite.target.asm import assemble
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

LOOP = """
_start: addi    s0, s0, 1
        addi    s1, s1, 3
        xor     s2, s2, s1
        j       _start
"""


def machine(**options: object) -> Machine:
    program = assemble("        .option norvc\n" + LOOP)
    return Machine(program, backend=backends.chosen, memory="64K", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("check", ["tb-start", "every-insn"])
def test_the_count_of_a_running_machine_goes_on(check: str) -> None:
    with machine(mechanisms=Mechanisms(irq_check=check)) as m:
        m.start()
        seen = [0]
        for _ in range(20):
            until(lambda: (m.insns or 0) > seen[-1], "the count goes on")
            seen.append(m.insns or 0)
        result = m.pause()
        assert seen == sorted(seen)
        assert m.insns == result.insns
        assert seen[-1] <= m.insns


def test_nobody_notices_who_looks() -> None:
    """Counters and events are those of a run at which nobody looked."""
    with machine(trace="events") as m:
        m.start()
        until(lambda: (m.insns or 0) > 10_000, "it runs")
        for _ in range(50):
            assert m.insns
        before = m.stats.loop_returns, m.stats.tb_refused, len(m.events)
        for _ in range(50):
            assert m.insns
        assert (m.stats.loop_returns, m.stats.tb_refused, len(m.events)) == before
        m.pause()
        assert m.stats.tb_refused == 1
        assert [e.why for e in m.events if isinstance(e, ev.FlagSet)][-1] == "stop"
        assert m.cpu["s1"] - 3 * m.cpu["s0"] in (0, -3)


def test_who_looks_takes_no_kick_away() -> None:
    """A stop that comes while others look is heard."""
    with machine() as m:
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                assert m.insns is not None

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            m.start()
            time.sleep(0.001)
            m.pause()
        done.set()
        for thread in threads:
            thread.join()


def test_a_callback_that_looks_does_not_wait_for_itself() -> None:
    seen: list[int] = []
    with Machine(guests.load("hello"), backend=backends.chosen,
                 on_output=lambda data: seen.append(m.insns or 0)) as m:
        m.run(timeout=SECONDS)
    assert seen == sorted(set(seen))
    assert len(seen) == len("Hello, world!\n")


@pytest.mark.parametrize("trace", ["events", "blocks", "times"])
def test_events_of_other_threads_have_the_numbers_of_their_place(trace: str) -> None:
    """A line that nobody listens to makes no block refuse; yet it is soon recorded, on a seam."""
    with machine(trace=trace) as m:
        m.start()
        until(lambda: (m.insns or 0) > 10_000, "it runs")
        for n in (3, 4, 5):
            before = m.insns
            m.raise_irq(f"plic:{n}")
            until(lambda n=n: any(isinstance(e, ev.LineRaised) and e.line == f"plic:{n}"
                                  for e in m.recorder), "it is recorded")
            after = m.insns
            (raised,) = [e for e in m.recorder
                         if isinstance(e, ev.LineRaised) and e.line == f"plic:{n}"]
            assert before is not None
            assert after is not None
            assert raised.insns is not None
            assert before <= raised.insns <= after
            assert raised.insns % 4 == 0
        m.pause()
        assert m.stats.tb_refused == 1  # for the pause
        numbers = [e.insns for e in m.recorder if e.insns is not None]
        assert numbers == sorted(numbers)

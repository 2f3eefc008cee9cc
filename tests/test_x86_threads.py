"""Native code runs without Python's lock: who waits, who answers, and that no interrupt is lost."""

from __future__ import annotations

import random
import sys
import threading
from pathlib import Path
from typing import Any

import backends
import pytest
from running import (
    ALL,
    SECONDS,
    SERVER,
    SPIN,
    Acks,
    ask,
    machine,
    nothing_is_left,  # noqa: F401
    until,
)

from tcglite import Mechanisms
from tcglite.machine import StopReason

sys.path.append(str(Path(__file__).resolve().parent.parent / "bench"))

import soak

pytestmark = pytest.mark.skipif(
    bool(backends.MISSING["x86_64"]), reason=backends.MISSING["x86_64"] or "it runs here"
)
FOR_EVER = 10_000  #: seconds that a thread may keep Python's lock


@pytest.mark.parametrize("check", ALL)
def test_python_goes_on_while_guests_spin(check: str) -> None:
    """Two guests spin, in chained code where such a loop is ever chained. Whoever has Python's
    lock may keep it for ever, so this thread could never go on if one of them did."""
    with (
        machine(SPIN, check, backend="x86_64") as a,
        machine(SPIN, check, backend="x86_64", count=check == "quantum") as b,
    ):
        a.start()
        b.start()
        chained = check != "acyclic"
        until(lambda: a.stats.chain_patched >= chained <= b.stats.chain_patched, "both are chained")
        until(lambda: a.stats.loop_returns > 0 < b.stats.loop_returns, "both have run a block")
        counted = 0
        sys.setswitchinterval(FOR_EVER)
        for n in range(1_000_000):
            counted += n & 1
        assert a.running
        assert b.running
        assert a.pause().reason is b.pause().reason is StopReason.PAUSED
        assert a.cpu["s1"] // 3 in (a.cpu["s0"], a.cpu["s0"] - 1)
        assert b.cpu["s0"]


def test_a_guest_that_asks_for_python_all_the_time_lets_others_in() -> None:
    """Each access to a device is a call into Python, from which the thread goes back to code that
    does not need it; nobody has to wait for the end."""
    polls = "_start: li t0, 0x10000000\n1: lbu t1, 5(t0)\n addi s0, s0, 1\n j 1b\n"
    with machine(polls, backend="x86_64") as m:
        m.start()
        until(lambda: (m.insns or 0) > 1000, "it polls")
        sys.setswitchinterval(FOR_EVER)
        for n in range(300):
            threading.Event().wait(0.0001)
            assert m.running, n
        m.pause()
        assert m.cpu["s0"] > 300


@pytest.mark.parametrize("check", ["tb-start", "tb-end", "unlink"])
def test_raised_at_random_moments_by_several_threads(check: str) -> None:
    """Several threads with moments of their own, between two machines that answer."""
    one, two = Acks(), Acks()
    failed: list[BaseException] = []

    def work(m: Any, acks: Acks, what: str, seed: int) -> None:
        rng, nothing = random.Random(seed), threading.Event()
        answer = acks.expect(what.encode())

        def act() -> None:
            nothing.wait(rng.choice((0, 0, 0.0001, 0.001)) * rng.random())
            m.raise_irq("msip") if what == "m" else m.uart.type(what)

        try:
            ask(act, answer, 400)
        except BaseException as error:
            failed.append(error)

    with (
        machine(SERVER, check, backend="x86_64", on_output=one) as a,
        machine(SERVER, check, backend="x86_64", on_output=two, trace="times") as b,
    ):
        threads = [
            threading.Thread(target=work, args=(m, acks, what, seed))
            for seed, (m, acks, what) in enumerate(
                [(a, one, "m"), (a, one, "x"), (b, two, "m"), (b, two, "x")]
            )
        ]
        a.start()
        b.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "a thread hangs"
        for m in (a, b):
            m.pause()
            assert m.cpu["s6"] == 400
    assert not failed


@pytest.mark.parametrize(
    ("seed", "options"),
    [(0, {}), (1, {"count": False}), (2, {"mechanisms": Mechanisms(irq_check="unlink")})],
    ids=["as it is", "uncounted", "unlinking"],
)
def test_a_minute_of_interrupts_at_random_moments(seed: int, options: dict[str, Any]) -> None:
    """Twenty seconds of it here; ``bench/soak.py`` for as long as one likes."""
    found = soak.soak(18, seed, backend="x86_64", **options)
    assert found.good, found
    assert found.raised > 100

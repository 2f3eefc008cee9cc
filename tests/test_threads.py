"""The vCPU thread: requests from any thread, start and pause, several machines."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import backends
import pytest
from running import (
    ALL,
    HEARD,
    SECONDS,
    SERVER,
    SLEEPER,
    SPIN,
    Acks,
    ask,
    machine,
    nothing_is_left,  # noqa: F401
    until,
)

from tcglite import Machine, Mechanisms, guests
from tcglite.errors import StateError
from tcglite.machine import StopReason
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

# -- requests ---------------------------------------------------------------------------------


def test_no_request_is_lost_in_20000() -> None:
    """Another thread raises, waits for the guest's answer, and raises again. The chained loop
    spins all the time, so each hand-over waits for Python's switch interval: it is made short."""
    acks = Acks()
    with machine(SERVER, on_output=acks) as m:
        answer = acks.expect(b"m")
        m.start()
        ask(lambda: m.raise_irq("msip"), answer, 1)
        sys.setswitchinterval(1e-6)
        raiser = threading.Thread(target=ask, args=(lambda: m.raise_irq("msip"), answer, 19_999))
        raiser.start()
        raiser.join()
        m.pause()
        assert m.cpu["s6"] == m.stats.interrupts_taken == 20_000


@pytest.mark.parametrize(
    "options",
    [*({"check": check} for check in HEARD), {"count": False}, {"trace": "blocks"},
     {"icount": 0}, {"check": "unlink", "count": False}, {"mechanisms": Mechanisms(chain=False)},
     {"mechanisms": Mechanisms(cache=False)}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("source", [SERVER, SLEEPER], ids=["spins", "sleeps"])
def test_no_request_is_lost_anywhere(source: str, options: dict[str, Any]) -> None:
    acks = Acks()
    with machine(source, on_output=acks, **options) as m:
        m.start()
        ask(lambda: m.raise_irq("msip"), acks.expect(b"m"), 1)
        sys.setswitchinterval(1e-6)
        ask(lambda: m.raise_irq("msip"), acks.expect(b"m"), 300)
        ask(lambda: m.uart.type("x"), acks.expect(b"x"), 300)
        m.pause()
        assert m.cpu["s6"] == 301


@pytest.mark.parametrize("source", [SERVER, SLEEPER], ids=["spins", "sleeps"])
def test_two_raisers_at_once(source: str) -> None:
    acks = Acks()
    failed: list[BaseException] = []

    def work(act: Callable[[], object], answer: threading.Semaphore) -> None:
        try:
            ask(act, answer, 1000)
        except BaseException as error:
            failed.append(error)

    with machine(source, on_output=acks) as m:
        m.start()
        threads = [
            threading.Thread(target=work, args=(lambda: m.raise_irq("msip"), acks.expect(b"m"))),
            threading.Thread(target=work, args=(lambda: m.uart.type("x"), acks.expect(b"x"))),
        ]
        ask(lambda: m.raise_irq("msip"), acks.expect(b"m"), 1)
        sys.setswitchinterval(1e-5)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        m.pause()
    assert not failed


@pytest.mark.parametrize("source", [SERVER, SLEEPER], ids=["spins", "sleeps"])
@pytest.mark.parametrize("check", HEARD)
def test_no_request_is_lost_over_pauses(check: str, source: str) -> None:
    """While one thread asks and waits for answers, another one pauses and starts the machine."""
    acks = Acks()
    with machine(source, check, on_output=acks) as m:
        asked = threading.Thread(
            target=ask, args=(lambda: m.raise_irq("msip"), acks.expect(b"m"), 100)
        )
        nothing = threading.Event()
        asked.start()
        while asked.is_alive():
            m.start()
            nothing.wait(0.001)
            m.pause()
        assert m.cpu["s6"] == 100


def test_requests_before_the_start_and_between_runs_are_kept() -> None:
    acks = Acks()
    with machine(SERVER, on_output=acks) as m:
        for key in b"ab":
            m.raise_irq("msip")
            m.uart.type(bytes([key]))
            m.start()
            for answer in (b"m", bytes([key])):
                assert acks.expect(answer).acquire(timeout=SECONDS)
            m.pause()
        assert sorted(m.console) == ["a", "b", "m", "m"]


def test_typing_faster_than_the_guest_reads() -> None:
    text = bytes(random.Random(1).choices(range(33, 127), k=3000))
    done = threading.Event()
    got = bytearray()

    def output(data: bytes) -> None:
        got.extend(data)
        if len(got) == len(text):
            done.set()

    with machine(SERVER, on_output=output) as m:
        m.start()
        for start in range(0, len(text), 100):
            m.uart.type(text[start : start + 100])
        assert done.wait(SECONDS)
        m.pause()
        assert m.console.encode() == got == text


# -- start and pause --------------------------------------------------------------------------


@pytest.mark.parametrize("check", ALL)
def test_a_run_in_pieces_is_the_run(check: str) -> None:
    """Paused wherever it happens to be; nothing is done twice or left out."""
    rng, nothing = random.Random(check), threading.Event()
    guest, mechanisms = guests.load("fib"), Mechanisms(irq_check=check)
    options: dict[str, Any] = {
        "mechanisms": mechanisms, "memory": "1M", "backend": backends.chosen
    }  # fmt: skip
    with Machine(guest, **options) as whole, Machine(guest, **options) as m:
        expected = whole.run(timeout=SECONDS)
        insns = 0
        while True:
            m.start()
            nothing.wait(rng.random() * 0.004)
            result = m.pause()
            assert result.insns is not None
            insns += result.insns
            assert insns == m.insns
            assert result.pc == m.cpu.pc
            if result.reason is not StopReason.PAUSED:
                break
        assert (result.reason, result.exit_code) == (StopReason.EXIT, expected.exit_code)
        assert insns == m.insns == expected.insns
        assert m.console == whole.console
        assert m.cpu.registers == whole.cpu.registers


def test_a_guest_that_ends_while_it_is_being_paused_has_ended() -> None:
    """Else the end would be lost: the next start would go on behind the store that ends."""
    source = "_start: li t0, 0x100000\n li t1, 0x3333 + (7 << 16)\n li a0, 0x10000000\n"
    source += " sb t1, 0(a0)\n sw t1, 0(t0)\n j .\n"
    with machine(source, on_output=lambda data: m.quit()) as m:
        result = m.run(timeout=SECONDS)
        assert (result.reason, result.exit_code) == (StopReason.EXIT, 7)


def test_paused_machines_have_no_passing_time() -> None:
    """Not even for a timer that is armed: it comes after the next start."""
    source = (
        SERVER.replace("0x808", "0x888")
        .replace(
            "li      t1, -1\n        li      t0, CLINT + 0x4000",
            "li      t1, 500000\n        li      t0, CLINT + 0x4000",  # 50 ms
        )
        .replace("sw      zero, 0(s2)", "csrw mie, zero")
    )
    acks = Acks()
    with machine(source, on_output=acks) as m:
        m.run(max_insns=100, timeout=SECONDS)
        assert not m.cpu.csr["mip"]
        then = m.cpu.csr["time"], m.clock.now(), m.insns
        assert then[0] < 500_000
        threading.Event().wait(0.1)
        assert (m.cpu.csr["time"], m.clock.now(), m.insns) == then
        assert not m.cpu.csr["mip"]
        m.start()
        assert acks.expect(b"m").acquire(timeout=SECONDS)
        m.pause()
        assert m.cpu.csr["time"] >= 500_000


def test_what_is_refused_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with machine(SPIN) as m:
        m.start()
        refused: list[Callable[[], object]] = [
            m.start, m.run, m.reset, lambda: m.cpu.pc, lambda: m.cpu["a0"], lambda: m.cpu.priv,
            lambda: m.cpu.csr["mepc"], lambda: m.cpu.registers, lambda: m.tbs,
            lambda: setattr(m.cpu, "pc", 0), lambda: m.cpu.__setitem__("a0", 1),
            lambda: setattr(m, "mechanisms", Mechanisms()),
            lambda: m.set_log(["exec"], sys.stderr),
        ]  # fmt: skip
        for act in refused:
            with pytest.raises(StateError, match=r"^the machine is running; pause\(\) it first$"):
                act()
        with pytest.raises(StateError, match="still running after 0"):
            m.wait(timeout=0)
        assert m.running
        m.pause()
        assert not m.running
        for act in refused[3:]:
            act()


def test_what_can_be_seen_while_it_runs() -> None:
    acks = Acks()
    with machine(SERVER, trace="blocks", on_output=acks) as m:
        m.start()
        for _ in range(3):
            ask(lambda: m.raise_irq("msip"), acks.expect(b"m"), 10)
            assert m.insns
            assert m.events
            assert m.stats.interrupts_taken >= 10
            assert set(m.console) == {"m"}
            assert m.memory[0x8000_0000]
            assert m.events_lost >= 0
        m.pause()


# -- several ----------------------------------------------------------------------------------


def test_machines_are_independent() -> None:
    """Several run at once, each with its own guest and switches, beside one that spins."""
    checks = dict(zip(("hello", "timer", "fault", "crc", "syscalls", "wfi"), HEARD, strict=True))
    results: dict[str, tuple[StopReason, str, int | None]] = {}

    def work(name: str, check: str) -> None:
        with Machine(
            guests.load(name), mechanisms=Mechanisms(irq_check=check), backend=backends.chosen
        ) as m:
            reason = m.run(timeout=SECONDS).reason
            results[name] = reason, m.console, m.wait().exit_code

    with machine(SPIN, "never") as spinning:
        spinning.start()
        threads = [threading.Thread(target=work, args=pair) for pair in checks.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert spinning.running
    for name in checks:
        guest = guests.info(name)
        assert results[name] == (StopReason.EXIT, guest.console, guest.exit_code)


def test_the_switch_interval_is_that_of_before_when_the_last_machine_stops() -> None:
    before = sys.getswitchinterval()
    with machine(SPIN) as a, machine(SPIN) as b:
        a.start()
        b.start()
        until(lambda: a.insns and b.insns, "both run")
        assert sys.getswitchinterval() < before
        a.pause()
        assert sys.getswitchinterval() < before
        b.pause()
        assert sys.getswitchinterval() == before


@pytest.mark.parametrize("check", ["tb-start", "unlink", "never"])
def test_everybody_at_once(check: str) -> None:
    """Threads that start, pause, raise, type and look, in no order: only StateError comes out."""
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        acts: list[Callable[[], object]] = [
            m.start, m.start, m.pause, m.quit, lambda: m.run(timeout=0.002), lambda: m.cpu.pc,
            lambda: m.run(max_insns=50, timeout=SECONDS), lambda: m.raise_irq("msip"),
            lambda: m.uart.type("x"), lambda: m.events, lambda: m.insns, lambda: m.running,
            lambda: m.wait(timeout=0.001),
        ]  # fmt: skip
        for _ in range(40):
            try:
                rng.choice(acts)()
            except StateError:
                pass
            except BaseException as error:
                failed.append(error)

    with machine(SERVER, check, trace="events") as m:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "a thread hangs"
        assert not failed
        m.pause()
        assert m.run(max_insns=20, timeout=SECONDS).insns == 20


def test_a_run_is_waited_for_and_stopped_by_itself() -> None:
    """Not the next one, which somebody else may have started in the meantime."""
    with machine(SPIN) as m:
        first = m._vcpu.start(50)
        assert m.wait(timeout=SECONDS).insns == 50
        m.start()
        assert m._result(first).insns == 50
        m._vcpu.stop("timeout", first)
        threading.Event().wait(0.05)
        assert m.running
        assert m.pause().reason is StopReason.PAUSED
        assert m._result(first).reason is StopReason.MAX_INSNS


def test_closing_under_everybodys_hands() -> None:
    for seed in range(30):
        m = machine(SPIN, ALL[seed % len(ALL)])
        go = threading.Barrier(3)
        failed: list[BaseException] = []

        def work(act: Callable[[], object], go: Any = go, failed: Any = failed) -> None:
            go.wait(SECONDS)
            try:
                act()
            except StateError:
                pass
            except BaseException as error:
                failed.append(error)

        acts = (m.start, lambda m=m: m.run(timeout=SECONDS), m.close)
        threads = [threading.Thread(target=work, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "a thread hangs"
        assert not failed
        assert not m.running


def test_the_watchdog_ends_a_run_that_is_deaf_and_nothing_else() -> None:
    with machine(SERVER, "never", watchdog=0.2) as m:
        m.start()
        threading.Event().wait(0.5)
        assert m.running  # nobody has asked for anything
        m.raise_irq("msip")
        result = m.wait(timeout=SECONDS)
        assert result.reason is StopReason.WATCHDOG
        assert "0.2 s" in result.detail


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize("when", [ev.ChainPatched, ev.ChainUnpatched, ev.LineRaised])
def test_a_listener_may_stop_the_machine(check: str, when: type[ev.Event]) -> None:
    """Also where stopping means to cut links, which is an event as well."""
    m = machine(SERVER, check, trace="events", watchdog=None)
    m.recorder.listen(lambda event: m.quit() if isinstance(event, when) else None)

    def work() -> None:
        for _ in range(3):
            m.start()
            m.raise_irq("msip")
            m.pause()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "the machine waits for itself"
    m.close()

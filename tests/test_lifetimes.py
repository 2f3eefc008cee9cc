"""Callbacks that fail or ask for too much; machines that are closed, dropped, collected."""

from __future__ import annotations

import gc
import weakref

import backends
import pytest
from running import (
    ALL,
    ASLEEP,
    SECONDS,
    SPIN,
    machine,
    nothing_is_left,  # noqa: F401
    ours,
    until,
)

from tcglite import Machine, Mechanisms, guests
from tcglite.errors import StateError
from tcglite.machine import StopReason

pytestmark = pytest.mark.usefixtures("backend")

# -- callbacks --------------------------------------------------------------------------------

GREETING = """
_start: la      s0, text
        li      s1, 0x10000000
again:  lbu     a0, 0(s0)
        beqz    a0, end
        sb      a0, 0(s1)
        addi    s2, s2, 1
        addi    s0, s0, 1
        j       again
end:    li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .
text:   .asciz  "0123456789"
"""


class Oops(BaseException):
    """No subclass of Exception."""


@pytest.mark.parametrize("error", [ValueError("of\nmine"), Oops(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("check", ALL)
def test_what_a_callback_raises_comes_out_of_run(check: str, error: BaseException) -> None:
    """At every byte; and the machine goes on as if nothing had been."""

    def output(data: bytes) -> None:
        raise error

    with machine(GREETING, check) as calm, machine(GREETING, check, on_output=output) as m:
        expected = calm.run(timeout=SECONDS)
        for n in range(1, 11):
            with pytest.raises(type(error)) as caught:
                m.run(timeout=SECONDS)
            assert caught.value is error
            assert not m.running
            assert m.console == "0123456789"[:n]
            if check != "every-insn":
                assert m.cpu["s2"] == n
        result = m.wait() if m.wait().reason is StopReason.EXIT else m.run(timeout=SECONDS)
        assert result.reason is StopReason.EXIT
        assert (m.insns, m.cpu.registers) == (expected.insns, calm.cpu.registers)


def test_what_a_callback_raises_in_the_background_comes_out_once() -> None:
    def output(data: bytes) -> None:
        raise ValueError("mine")

    with machine(GREETING, on_output=output) as m:
        m.start()
        with pytest.raises(ValueError, match="mine"):
            m.wait(timeout=SECONDS)
        assert m.wait().reason is StopReason.PAUSED
        m.start()
        until(lambda: not m.running, "the run ends")
        with pytest.raises(ValueError, match="mine"):
            m.pause()


class Broken:
    """A device that a user made, with a mistake in it."""

    name = "broken"

    def read(self, offset: int, size: int) -> int:
        return [1, 2][offset]

    def write(self, offset: int, size: int, value: int) -> None:
        raise ZeroDivisionError


def test_what_a_device_raises_comes_out_of_run() -> None:
    source = "_start: li a0, 0x30000000\n addi s0, s0, 1\n sb a0, 0(a0)\n addi s0, s0, 1\n"
    source += " lbu a1, 5(a0)\n addi s0, s0, 1\n j .\n"
    with machine(source, mechanisms=Mechanisms(max_block_insns=4)) as m:
        m.memory.map(0x3000_0000, 0x100, Broken())
        with pytest.raises(ZeroDivisionError):
            m.run(timeout=SECONDS)
        assert (m.cpu["s0"], m.insns) == (2, 4)
        with pytest.raises(IndexError):
            m.run(timeout=SECONDS)
        assert m.cpu["s0"] == 3
        assert m.run(max_insns=5, timeout=SECONDS).insns == 5


@pytest.mark.parametrize("what", ["wait", "pause", "run", "start", "close", "reset"])
def test_a_callback_cannot_wait_for_its_machine(what: str) -> None:
    """It would wait for itself; it hears so, and run() reports it."""
    with machine(GREETING, on_output=lambda data: getattr(m, what)()) as m:
        with pytest.raises(StateError, match="machine"):
            m.run(timeout=SECONDS)
        assert m.console == "0"
        assert not m.running


def test_a_callback_may_ask_for_everything_else() -> None:
    def output(data: bytes) -> None:
        assert m.insns
        assert m.running
        m.raise_irq("plic:3")
        m.uart.type("x")
        if data == b"5":
            m.quit()

    with machine(GREETING, on_output=output) as m:
        assert m.run(timeout=SECONDS).reason is StopReason.PAUSED
        assert m.console == "012345"
        assert m.run(timeout=SECONDS).reason is StopReason.EXIT


RESETS = {
    "selfmod": {"mechanisms": Mechanisms(invalidate=False)},
    "fault": {},
    "doorbell": {"icount": 0},
    "syscalls": {"mechanisms": Mechanisms(irq_check="unlink")},
    "vmexit": {"trace": "blocks"},
    "clockread": {"icount": 3, "memory": "1M"},
}


@pytest.mark.parametrize("name", RESETS)
def test_after_a_reset_everything_is_as_at_the_first_time(name: str) -> None:
    """Wherever the run before was left, and whatever the guest did to its own code."""
    with Machine(guests.load(name), backend=backends.chosen, **RESETS[name]) as m:
        first = m.run(timeout=SECONDS)
        after = m.insns, m.console, m.cpu.registers, m.cpu.csr["mstatus"]
        for limit in (None, 5, 50, 151, 0):
            m.reset()
            assert (m.insns, m.console, m.cpu.pc) == (0, "", 0x8000_0000)
            m.raise_irq("plic:7")  # forgotten by the next reset
            m.run(max_insns=limit, timeout=SECONDS)
        m.reset()
        again = m.run(timeout=SECONDS)
        assert (again.reason, again.exit_code, again.pc) == (
            first.reason,
            first.exit_code,
            first.pc,
        )
        assert (m.insns, m.console, m.cpu.registers, m.cpu.csr["mstatus"]) == after


# -- lifetimes --------------------------------------------------------------------------------


def test_close_twice_and_use_after_it() -> None:
    m = machine(SPIN)
    m.run(max_insns=30, timeout=SECONDS)
    m.close()
    m.close()
    assert not ours()
    for act in (m.start, m.run, lambda: m.run(max_insns=1)):
        with pytest.raises(StateError, match=r"^this machine is closed$"):
            act()
    assert m.pause().insns == 30
    assert (m.insns, m.cpu["s1"], m.console) == (30, 30, "")
    m.raise_irq("mtip")
    m.uart.type("x")


def test_closing_what_never_ran() -> None:
    m = machine(SPIN)
    m.close()
    with pytest.raises(StateError, match="closed"):
        m.start()


@pytest.mark.parametrize("source", [SPIN, ASLEEP], ids=["spins", "sleeps"])
@pytest.mark.parametrize("check", ALL)
def test_close_ends_a_run(check: str, source: str) -> None:
    with machine(source, check) as m:
        m.start()
    assert not m.running
    assert m.wait().reason is StopReason.PAUSED
    assert not [name for name in ours() if name != "tcglite-watchdog"]


@pytest.mark.parametrize(
    ("check", "started"),
    [(check, "spins") for check in ALL]
    + [(check, how) for check in ("tb-start", "never") for how in (None, "ran", "sleeps")],
)
def test_a_machine_that_nobody_holds_goes_away(check: str, started: str | None) -> None:
    """At once, thread and all, also while its guest runs; its memory, and that of its host code,
    with the next collection."""
    m = machine(ASLEEP if started == "sleeps" else SPIN, check, on_output=lambda data: None)
    if started == "ran":
        m.run(max_insns=10, timeout=SECONDS)
    elif started:
        m.start()
        until(lambda m=m: (m.insns or 0) > 1, "the guest runs")
    host = m._cpu.tbs.backend
    facade = weakref.ref(m)
    parts = [weakref.ref(part) for part in (m.memory, host, getattr(host, "buffer", host))]
    del host
    gc.collect()
    gc.disable()
    try:
        del m
        assert facade() is None
        until(lambda: not set(ours()) - {"tcglite-clock"}, "the thread ends")
    finally:
        gc.enable()
    until(
        lambda: gc.collect() is not None and not any(part() for part in parts),
        "the memory is given back",
    )


def test_a_machine_in_a_cycle_goes_away_with_a_collection() -> None:
    for check in ("tb-start", "never"):
        m = machine(SPIN, check)
        m.itself = m  # type: ignore[attr-defined]
        facade = weakref.ref(m)
        m.start()
        del m
        until(lambda ref=facade: gc.collect() is not None and ref() is None, "it is collected")


def test_many_machines_leave_nothing_behind() -> None:
    for n in range(100):
        m = machine(SPIN, ALL[n % len(ALL)])
        m.start()
        if n % 2:
            m.close()
    del m

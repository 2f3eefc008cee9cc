"""The UART's receiver against a model, and what the console sees. Register values, sizes and
interrupt conditions as QEMU shows them are in ``hw_access.txt``."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tcglite.errors import UsageError
from tcglite.hw import console
from tcglite.hw.clock import VirtualClock
from tcglite.hw.console import Console
from tcglite.hw.uart import (
    FCR,
    FIFO_SIZE,
    IER,
    IIR,
    LCR,
    LSR,
    MCR,
    MCR_LOOP,
    RBR,
    THR,
    Uart,
)

CHARACTER = 10 * 10**9 // 9600      # ns, after reset


class HandClock(VirtualClock):
    ns = 0

    def now(self) -> int:
        return self.ns

    def reset(self) -> None:
        self.ns = 0

    def advance(self, ns: int) -> None:
        self.ns += ns
        self.run_due()


class Line:
    level = 0
    raised = 0       # how often it was driven high

    def __call__(self, level: int) -> None:
        self.level = level
        self.raised += level


class Bench:
    """A UART on a table: ``w`` and ``r`` are the guest's byte accesses."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.line = Line()
        self.printed: list[bytes] = []
        self.console = Console(self.printed.append)
        self.uart = Uart(self.console, self.clock, threading.RLock(), self.line)

    def r(self, register: int) -> int:
        return self.uart.read(register, 1)

    def w(self, register: int, value: int) -> None:
        self.uart.write(register, 1, value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class ReceiverAgainstModel(RuleBasedStateMachine):
    """What is typed is read once, in order, whatever the guest does to its FIFO."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.unread = bytearray()       # typed, not yet read
        self.last = 0
        self.fifo = False
        self.trigger = 1
        self.enabled = False
        self.quiet_ns = 0               # since a byte arrived or was read
        self.timed_out = False          # until a byte is read
        self.waiting = 0                # bytes in the receiver

    def arrived(self, anew: bool = False) -> None:
        waiting = min(len(self.unread), FIFO_SIZE if self.fifo else 1)
        if waiting != self.waiting or anew:
            self.quiet_ns = 0
        if anew:
            self.timed_out = False
        self.waiting = waiting

    @rule(data=st.binary(max_size=20))
    def type(self, data: bytes) -> None:
        self.bench.uart.type(data)
        self.unread += data
        self.arrived()

    @rule(count=st.integers(1, 20))
    def read(self, count: int) -> None:
        for _ in range(count):
            got = self.bench.r(RBR)
            if self.unread:
                self.last = self.unread.pop(0)
                assert got == self.last
            else:
                assert got == (0 if self.fifo else self.last)
            self.arrived(anew=True)     # even if one came in its place

    @rule(fifo=st.booleans(), trigger=st.integers(0, 3), clear=st.booleans())
    def set_fifo(self, fifo: bool, trigger: int, clear: bool) -> None:
        self.bench.w(FCR, fifo | clear << 1 | trigger << 6)
        anew = clear or fifo != self.fifo
        self.fifo = fifo
        self.trigger = (1, 4, 8, 14)[trigger] if fifo else 1
        self.arrived(anew)

    @rule(enabled=st.booleans())
    def set_ier(self, enabled: bool) -> None:
        self.bench.w(IER, enabled)
        self.enabled = enabled

    @rule(characters=st.sampled_from([1, 3, 4, 9]))
    def wait(self, characters: int) -> None:
        self.bench.clock.advance(characters * CHARACTER)
        self.quiet_ns += characters * CHARACTER
        if self.fifo and self.waiting and self.quiet_ns >= 4 * CHARACTER:
            self.timed_out = True

    @invariant()
    def the_guest_sees_what_waits(self) -> None:
        assert self.bench.r(LSR) == (0x61 if self.waiting else 0x60)
        expected = 1
        if self.enabled and self.timed_out:
            expected = 0xC
        elif self.enabled and self.waiting >= self.trigger:
            expected = 4
        assert self.bench.r(IIR) == expected | (0xC0 if self.fifo else 0)
        assert self.bench.line.level == (expected != 1)


ReceiverAgainstModel.TestCase.settings = settings(max_examples=80, stateful_step_count=30,
                                                  deadline=None)
TestReceiverAgainstModel = ReceiverAgainstModel.TestCase


def test_text_is_typed_as_utf8_and_wrong_types_are_refused(bench: Bench):
    bench.uart.type("é")
    assert [bench.r(RBR), bench.r(RBR)] == [0xC3, 0xA9]
    with pytest.raises(UsageError, match="cannot type int: expected str or bytes"):
        bench.uart.type(7)  # type: ignore[arg-type]


def test_a_whole_page_may_be_typed_ahead(bench: Bench):
    text = bytes(range(256)) * 40
    bench.w(FCR, 1)
    bench.uart.type(text)
    assert bytes(bench.r(RBR) for _ in text) == text
    assert bench.r(LSR) == 0x60


def test_input_that_came_before_the_guest_set_up_its_fifo_is_not_lost(bench: Bench):
    bench.uart.type("hello")
    bench.w(FCR, 7)
    assert bytes(bench.r(RBR) for _ in range(5)) == b"hello"


def test_bytes_that_looped_back_are_dropped_when_the_fifo_is_cleared(bench: Bench):
    bench.w(FCR, 1)
    bench.w(MCR, MCR_LOOP)
    bench.w(THR, ord("x"))
    assert bench.r(LSR) == 0x61
    bench.w(FCR, 3)
    assert bench.r(LSR) == 0x60
    assert bench.printed == []


def test_nothing_arrives_from_the_console_in_loopback_and_all_of_it_afterwards(bench: Bench):
    bench.w(IER, 1)
    bench.w(MCR, MCR_LOOP)
    bench.uart.type("a")
    assert bench.r(LSR) == 0x60
    bench.w(MCR, 0)
    assert bench.line.level == 1
    assert bench.r(RBR) == ord("a")


def test_typing_from_another_thread_waits_for_the_lock(bench: Bench):
    lock = bench.uart._lock
    bench.w(IER, 1)
    with lock:
        thread = threading.Thread(target=bench.uart.type, args=("k",))
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert bench.line.level == 0
    thread.join(5)
    assert bench.line.level == 1


def test_output_is_kept_and_handed_on_byte_by_byte(bench: Bench):
    for byte in b"ok\n":
        bench.w(THR, byte)
    assert bench.uart.output == b"ok\n"
    assert bench.printed == [b"o", b"k", b"\n"]


def test_of_endless_output_the_last_part_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console, "KEPT", 8)
    screen = Console()
    for i in range(40):
        screen.print(bytes([i]))
    assert 8 <= len(screen.output) <= 16
    assert screen.output == bytes(range(40))[-len(screen.output):]


def test_the_timeout_follows_the_line_parameters(bench: Bench):
    bench.w(LCR, 0x80)
    bench.w(0, 255)
    bench.w(1, 0)
    bench.w(LCR, 0x1F)           # 8 data bits, parity, 2 stop bits: 12 with the start bit
    bench.w(FCR, 0x41)
    bench.w(IER, 1)
    bench.uart.type("x")
    four_characters = 4 * (12 * 255 * 10**9 // 399193)
    bench.clock.advance(four_characters - 1)
    assert bench.line.level == 0
    bench.clock.advance(1)
    assert bench.line.level == 1
    assert bench.r(IIR) == 0xCC
    bench.w(LCR, 0x9F)
    bench.w(0, 0)                # divisor 0 changes nothing, and divides nothing
    assert bench.r(IIR) == 0xCC


def test_each_byte_read_with_more_waiting_is_a_new_request(bench: Bench):
    """The PLIC is asked again although the line never fell: a guest that reads one byte for each
    interrupt gets an interrupt for each byte."""
    bench.w(IER, 1)
    bench.uart.type("abc")
    before = bench.line.raised
    bench.r(RBR)
    bench.r(RBR)
    assert bench.line.raised == before + 2
    bench.r(RBR)
    assert bench.line.level == 0


def test_reset_empties_the_receiver_and_lowers_the_line(bench: Bench):
    bench.w(FCR, 1)
    bench.w(IER, 3)
    bench.uart.type("ab")
    assert bench.line.level == 1
    bench.uart.reset()
    assert bench.line.level == 0
    assert bench.clock.deadline() is None
    assert [bench.r(i) for i in range(8)] == [0, 0, 1, 0, 8, 0x60, 0xB0, 0]

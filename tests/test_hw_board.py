"""The board's wiring, the CLINT's timer, the finisher, HTIF."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from tcglite.accel.memory import AddressSpace, MemTxError
from tcglite.errors import GuestError, UnknownName
from tcglite.hw.board import MIP_MEIP, MIP_MSIP, MIP_MTIP, VirtBoard
from tcglite.hw.clock import HostClock, ICountClock, VirtualClock

TOHOST, FROMHOST = 0x80001000, 0x80001040
MTIMECMP, MTIME = 0x2004000, 0x200BFF8
GETCHAR, PUTCHAR = 0x0100 << 48, 0x0101 << 48


class HandClock(VirtualClock):
    ns = 0

    def now(self) -> int:
        return self.ns

    def reset(self) -> None:
        self.ns = 0

    def advance(self, ns: int) -> None:
        self.ns += ns
        self.run_due()


class Bench:
    """A board and a hart's ``mip``; ``lines`` is what a trace would hear."""

    def __init__(self, clock: VirtualClock | None = None, **symbols: int | None) -> None:
        self.memory = AddressSpace(1 << 16)
        self.clock = clock or HandClock()
        self.lock = threading.RLock()
        self.mip = 0
        self.lines: list[tuple[str, int]] = []
        self.exits: list[tuple[str, int]] = []
        self.board = VirtBoard(self.memory, self.clock, self.lock, self.set_mip,
                               lambda *e: self.exits.append(e), lambda *e: self.lines.append(e),
                               **symbols)

    def set_mip(self, mask: int, level: int) -> None:
        self.mip = self.mip | mask if level else self.mip & ~mask

    def load(self, address: int, size: int = 8) -> int:
        device, offset = self.memory.find(address, size) or pytest.fail(hex(address))
        return device.read(offset, size)

    def store(self, address: int, value: int, size: int = 8) -> None:
        device, offset = self.memory.find(address, size) or pytest.fail(hex(address))
        device.write(offset, size, value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def htif() -> Bench:
    return Bench(tohost=TOHOST, fromhost=FROMHOST)


# -- lines ------------------------------------------------------------------------------------

def test_mtip_is_pending_at_reset_and_nothing_else(bench: Bench):
    assert bench.mip == MIP_MTIP
    assert bench.lines == [("mtip", 1)]
    bench.store(MTIMECMP, (1 << 64) - 1)
    assert bench.mip == 0
    assert bench.lines[-1] == ("mtip", 0)


@pytest.mark.parametrize(("line", "bit"),
                         [("msip", MIP_MSIP), ("mtip", MIP_MTIP), ("meip", MIP_MEIP)])
def test_a_line_of_the_hart_can_be_driven_from_outside(bench: Bench, line: str, bit: int):
    bench.store(MTIMECMP, (1 << 64) - 1)
    bench.board.set_irq(line, 1)
    assert bench.mip == bit
    assert bench.lines[-1] == (line, 1)
    bench.board.set_irq(line, 0)
    assert bench.mip == 0


def test_a_raised_line_falls_when_the_guest_serves_it_as_after_a_real_interrupt(bench: Bench):
    bench.store(MTIMECMP, 1 << 40)
    for line in ("mtip", "msip", "meip"):
        bench.board.set_irq(line, 1)
    bench.store(MTIMECMP, 1 << 41)
    bench.store(0x2000000, 0, 4)
    assert bench.load(0xC200004, 4) == 0     # a claim of nothing
    assert bench.mip == 0


@pytest.mark.parametrize("line", ["uart", "plic:10"])
def test_the_uarts_line_has_two_names_and_one_level(bench: Bench, line: str):
    bench.store(0xC000028, 1, 4)
    bench.store(0xC002000, 1 << 10, 4)
    bench.board.set_irq(line, 1)
    assert bench.mip & MIP_MEIP
    assert ("uart", 1) in bench.lines
    assert bench.load(0xC200004, 4) == 10
    assert not bench.mip & MIP_MEIP
    bench.board.set_irq("uart", 0)
    assert bench.lines[-1] == ("uart", 0)


def test_each_raise_of_a_source_is_a_request_even_if_the_line_is_high(bench: Bench):
    bench.store(0xC00017C, 1, 4)
    bench.store(0xC002008, 1 << 31, 4)
    for _ in range(3):
        bench.board.set_irq("plic:95", 1)
        assert bench.load(0xC200004, 4) == 95
        bench.store(0xC200004, 95, 4)
        assert bench.load(0xC200004, 4) == 0
    assert bench.lines.count(("plic:95", 1)) == 1


@pytest.mark.parametrize("line", ["", "seip", "plic", "plic:", "plic:0", "plic:96", "plic:-1",
                                  "plic:1:2", "plic: 5", "plic:²", "MTIP"])
def test_unknown_lines_are_named_in_the_error(bench: Bench, line: str):
    with pytest.raises(UnknownName, match=r"expected mtip, msip, meip, uart or plic:1 to plic:95"):
        bench.board.set_irq(line, 1)
    with pytest.raises(UnknownName):
        bench.board.check_line(line)
    bench.board.check_line("plic:95")


def test_a_typed_key_becomes_an_external_interrupt(bench: Bench):
    bench.store(0xC000028, 1, 4)
    bench.store(0xC002000, 1 << 10, 4)
    bench.store(0x10000001, 1, 1)
    bench.board.uart.type("k")
    assert bench.lines[-2:] == [("uart", 1), ("meip", 1)]
    assert bench.load(0xC200004, 4) == 10
    assert bench.load(0x10000000, 1) == ord("k")
    assert bench.lines[-2:] == [("meip", 0), ("uart", 0)]


def test_reset_is_power_on(bench: Bench):
    bench.store(0xC000028, 1, 4)
    bench.store(0xC002000, 1 << 10, 4)
    bench.store(0x10000001, 3, 1)
    bench.store(0x10000000, ord("x"), 1)
    bench.store(0x2000000, 1, 4)
    bench.store(MTIMECMP, 1 << 40)
    bench.store(MTIME, 1 << 30)
    bench.board.uart.type("typed")
    bench.board.set_irq("plic:3", 1)
    bench.board.reset()
    assert bench.mip == MIP_MTIP
    assert bench.load(MTIME) == bench.load(MTIMECMP) == bench.load(0xC000028, 4) == 0
    assert bench.load(0xC001000, 4) == 0
    assert bench.load(0x10000005, 1) == 0x60
    assert bench.board.uart.output == b""
    assert bench.clock.deadline() is None


# -- the timer --------------------------------------------------------------------------------

def test_mtip_rises_when_mtime_reaches_mtimecmp(bench: Bench):
    bench.store(MTIMECMP, 1000)
    assert bench.mip == 0
    assert bench.clock.deadline() == 100_000
    bench.clock.advance(99_999)
    assert (bench.mip, bench.load(MTIME)) == (0, 999)
    bench.clock.advance(1)
    assert (bench.mip, bench.load(MTIME)) == (MIP_MTIP, 1000)


def test_the_deadline_counts_whole_ticks_from_the_write_as_in_qemu(bench: Bench):
    bench.clock.advance(12_345)
    bench.store(MTIMECMP, 200)
    assert bench.clock.deadline() == 12_345 + (200 - 123) * 100


def test_writing_mtime_moves_the_deadline(bench: Bench):
    bench.store(MTIMECMP, 1000)
    bench.store(MTIME, 900)
    assert bench.clock.deadline() == 100 * 100
    bench.store(MTIME, 1000)
    assert bench.mip == MIP_MTIP
    assert bench.clock.deadline() is None
    bench.store(MTIME, 0)
    assert bench.mip == 0
    assert bench.clock.deadline() == 1000 * 100


def test_mtime_wraps_at_64_bits(bench: Bench):
    bench.store(MTIMECMP, 0xFFFF_FFFF_FFFF_FFFF)
    bench.store(MTIME, 0xFFFF_FFFF_FFFF_FFFE)
    bench.clock.advance(100)
    assert bench.mip == MIP_MTIP
    bench.clock.advance(300)
    assert bench.load(MTIME) == 2


def test_a_far_mtimecmp_arms_nothing(bench: Bench):
    bench.store(MTIMECMP, 0xFFFF_FFFF_FFFF_FFFF)
    assert bench.clock.deadline() is None


def test_under_icount_mtime_is_instructions():
    insns = 0
    bench = Bench(ICountClock(lambda: insns, shift=0))
    insns = 1_234
    assert bench.load(MTIME) == 12
    bench.store(MTIMECMP, 20)
    assert bench.clock.deadline() == 1_234 + 800


def test_with_host_time_the_interrupt_comes_by_itself():
    risen = threading.Event()
    lock = threading.RLock()
    clock = HostClock(lock)
    memory = AddressSpace(4096)
    board = VirtBoard(memory, clock, lock, lambda mask, level: risen.set() if level else None,
                      lambda *e: None, lambda *e: None)
    try:
        with lock:
            board.clint.write(0x4000, 8, 20_000)         # 2 ms
        risen.clear()
        assert not risen.wait(0.01)                      # time stands still
        clock.start()
        assert risen.wait(5)
        assert board.clint.mtime >= 20_000
    finally:
        clock.close()


def test_a_dropped_board_ends_the_clocks_thread():
    def make() -> tuple[weakref.ref[VirtBoard], threading.Thread | None]:
        lock = threading.RLock()
        clock = HostClock(lock)
        board = VirtBoard(AddressSpace(4096), clock, lock, lambda *e: None, lambda *e: None,
                          lambda *e: None)
        with lock:
            board.clint.write(0x4000, 8, 1 << 40)
        clock.start()
        return weakref.ref(board), clock._thread

    gone, thread = make()
    gc.collect()
    assert gone() is None
    thread.join(5)
    assert not thread.is_alive()


# -- the ways out -----------------------------------------------------------------------------

@pytest.mark.parametrize(("size", "value", "exit_"), [
    (4, 0x5555, ("exit", 0)), (2, 0x5555, ("exit", 0)), (4, 0x12345555, ("exit", 0)),
    (4, 0x3333, ("exit", 0)), (4, 0x33333, ("exit", 3)), (4, 0xFFFF3333, ("exit", 0xFFFF)),
    (2, 0x3333, ("exit", 0)), (4, 0x7777, ("reset", 0)), (2, 0x7777, ("reset", 0))])
def test_finisher(bench: Bench, size: int, value: int, exit_: tuple[str, int]):
    bench.store(0x100000, value, size)
    assert bench.exits == [exit_]


def test_htif_exits_with_half_of_an_odd_value(htif: Bench):
    for value in (1, 3, 0x55):
        htif.store(TOHOST, value)
    assert htif.exits == [("exit", 0), ("exit", 1), ("exit", 0x2A)]
    assert htif.load(TOHOST) == 0


def test_htif_exits_on_two_word_stores_and_on_repeated_low_words(htif: Bench):
    htif.store(TOHOST, 7, 4)
    assert htif.exits == []
    assert htif.load(TOHOST, 4) == 7
    htif.store(TOHOST + 4, 0, 4)
    assert htif.exits == [("exit", 3)]
    htif.store(TOHOST, 5, 4)
    htif.store(TOHOST, 5, 4)
    assert htif.exits[1:] == [("exit", 2)]


def test_htif_console(htif: Bench):
    htif.store(TOHOST, PUTCHAR | ord("A"))
    assert htif.load(FROMHOST) == PUTCHAR | 0x100 | ord("A")
    htif.store(TOHOST, ord("B"), 4)
    htif.store(TOHOST + 4, PUTCHAR >> 32, 4)
    assert htif.board.uart.output == b"AB"


def test_htif_getchar_waits_for_a_key_and_takes_what_was_typed_ahead(htif: Bench):
    htif.store(TOHOST, GETCHAR)
    assert htif.load(FROMHOST) == 0
    htif.board.uart.type("xyz")
    assert htif.load(FROMHOST) == GETCHAR | 0x100 | ord("x")
    for key in "yz":
        htif.store(FROMHOST, 0)
        htif.store(TOHOST, GETCHAR)
        assert htif.load(FROMHOST) == GETCHAR | 0x100 | ord(key)
    assert htif.load(0x10000005, 1) == 0x60      # the UART has none of them left


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def test_htif_system_calls(htif: Bench):
    block, text = 0x80002000, 0x80003000
    htif.memory.write_bytes(text, b"hello")
    for call, result in (((64, 1, text, 5), 5), ((64, 1, 0x1000, 5), -14), ((57, 1, 0, 0), -38)):
        htif.memory.write_bytes(block, words(*call))
        htif.store(FROMHOST, 0)
        htif.store(TOHOST, block)
        assert htif.load(FROMHOST) == 1
        assert int.from_bytes(htif.memory.read_bytes(block, 8), "little", signed=True) == result
    assert htif.board.uart.output == b"hello"
    htif.memory.write_bytes(block, words(93, 9, 0, 0))
    htif.store(TOHOST, block)
    assert htif.exits == [("exit", 9)]


@pytest.mark.parametrize("value", [0, 0x0200 << 48 | 5, 0x0103 << 48 | 5, 0x0001 << 48 | 5, 2,
                                   0x0000_FFFF_FFFF_FFFE])
def test_htif_ignores_what_it_does_not_know(htif: Bench, value: int):
    htif.store(TOHOST, value)
    assert htif.load(TOHOST) == 0
    assert htif.exits == []
    assert htif.board.uart.output == b""


def test_htif_words_can_be_accessed_in_every_aligned_size(htif: Bench):
    htif.store(FROMHOST, 0x1122334455667788)
    assert [htif.load(FROMHOST + 1, 1), htif.load(FROMHOST + 2, 2), htif.load(FROMHOST + 4, 4)] == [
        0x77, 0x5566, 0x11223344]
    htif.store(FROMHOST + 3, 0xAA, 1)
    assert htif.load(FROMHOST) == 0x11223344AA667788
    for address, size in ((FROMHOST + 1, 2), (FROMHOST + 4, 8), (FROMHOST - 4, 8)):
        with pytest.raises(MemTxError):
            htif.load(address, size)


def test_htif_exists_only_where_the_elf_asks_for_it(bench: Bench):
    assert bench.board.htif is None
    assert bench.memory.find(TOHOST) is None
    only_tohost = Bench(tohost=TOHOST)
    assert only_tohost.memory.find(FROMHOST) is None
    with pytest.raises(GuestError, match="tohost is at 0x80001004: expected a multiple of 8"):
        Bench(tohost=TOHOST + 4)

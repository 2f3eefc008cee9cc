"""icount: budget, exact deadlines, device accesses at the right time, idle time skipped."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import backends
import pytest
from engine import (
    ENABLE,
    END,
    ROUND,
    SETUP,
    STAY,
    THREE_BLOCKS,
    block_at,
    finish,
    machine,
    only,
    run,
    taken,
)

from tcglite import Machine
from tcglite.accel import icount
from tcglite.machine import StopReason
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

NS_PER_TICK = 100

#: A timer every s9 ticks, over a loop of 7 with a device access in it; each mepc is stored.
PERIODIC = f"""
        {ENABLE}
        li      s10, 0x2004000
        li      s11, 0x2000000
        la      s6, table
        li      s8, 30
        mv      s7, s9
        sd      s7, 0(s10)
a:      addi    s0, s0, 1
        lw      s1, 4(s11)
        addi    s0, s0, 1
        addi    s0, s0, 1
        j       b
b:      addi    s0, s0, 1
        j       a
        .balign 64
handler: add    s7, s7, s9
        sd      s7, 0(s10)
        csrr    t0, mepc
        sd      t0, 0(s6)
        addi    s6, s6, 8
        addi    s8, s8, -1
        nop
        beqz    s8, done
        mret
done:   {END}
        .balign 4096
table:  .skip   256
"""


def periodic(ticks: int, **options: Any) -> Machine:
    m = machine(PERIODIC, **{"icount": 0} | options)
    m.cpu["s9"] = ticks
    assert run(m, 200_000).exit_code == 0
    return m


def stream(m: Machine) -> list[tuple[Any, ...]]:
    """All events but for host time and host addresses."""
    return [(event.ring, *backends.without_addresses(event)) for event in m.events]


def test_the_same_run_every_time() -> None:
    """Five runs: the same instructions, blocks, cuts, rewinds and traps, at the same places."""
    runs = [periodic(3, trace="blocks") for _ in range(5)]
    table = runs[0].symbols["table"]
    first = runs[0].memory[table : table + 240]
    for m in runs[1:]:
        assert stream(m) == stream(runs[0])
        assert m.memory[table : table + 240] == first
    assert len({epc for _, epc in taken(runs[0])}) > 4, "and they are all over the loop"


def test_without_icount_mepc_is_always_the_head_of_a_block() -> None:
    """Which the deadlines above are not: that is what icount buys."""
    m = machine(ENABLE + THREE_BLOCKS + STAY)
    for n in range(SETUP, SETUP + 3 * ROUND):
        m.reset()
        m.raise_at(n, "mtip")
        run(m, SETUP + 5 * ROUND)
        assert taken(m)[-1][1] in {m.symbols[name] for name in "abc"}
    with periodic(3) as exact:
        heads = {exact.symbols["a"], exact.symbols["b"]}
        assert {epc for _, epc in taken(exact)} - heads


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_deadlines_are_met_to_the_instruction(shift: int) -> None:
    """A timer set for tick T fires at the first instruction at or after T; the handler's own
    instructions count. (The comparison is made in ticks of the store's own time.)"""
    m = periodic(7, icount=shift)
    # Each timer store is followed by the interrupt at the instruction where virtual time is due.
    stores = [e for e in only(m, ev.DeviceAccess) if e.write and e.device == "clint"]
    stores = [e for e in stores if e.offset == 0x4000 and e.value < 1 << 60]
    due = []
    for store in stores[:-1]:
        now = ((store.insns or 0) + 1) << shift
        deadline = now + (store.value - now // NS_PER_TICK) * NS_PER_TICK
        due.append(-(-deadline >> shift))
    assert [at for at, _ in taken(m)] == due
    assert len(due) == 30


@pytest.mark.parametrize("ticks", [2000, 655])
def test_a_budget_that_does_not_fit_is_split(ticks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """``low`` holds so much at most (65535 in QEMU, and here), the rest waits in ``extra``; when
    only ``low`` was used up the loop refills it, and cuts no block for that."""
    monkeypatch.setattr(icount, "ICOUNT_LOW", 0xFFFF)
    m = machine(
        f"""
        {ENABLE}
        li      s10, 0x2004000
        li      s9, {ticks}
        sd      s9, 0(s10)
a:      addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        j       a
        {STAY}
""",
        icount=0,
    )
    run(m, 300_000)
    armed = [e.insns or 0 for e in only(m, ev.DeviceAccess) if e.write][-1]
    due = armed + 1 + NS_PER_TICK * ticks
    assert taken(m)[0][0] == due
    refills = [e for e in only(m, ev.IcountRefill) if (e.insns or 0) > armed and e.insns != due]
    for refill in refills:
        assert refill.low <= 0xFFFF
        if (refill.insns or 0) < due:
            assert (refill.insns or 0) + refill.low + refill.extra == due
            assert refill.low == min(due - (refill.insns or 0), 0xFFFF)
    whole = block_at(m, m.symbols["a"], icount=7)
    cuts = [e.insns or 0 for e in only(m, ev.DeadlineCut) if e.tb == whole.number]
    assert all(due - 7 < at < due for at in cuts)
    refused = [e for e in only(m, ev.Refused) if e.cause == "budget" and (e.insns or 0) < due - 7]
    assert len(refused) == (due - armed) // 65_535


@pytest.mark.parametrize("options", [{}, {"max_block_insns": 1}, {"max_block_insns": 3}], ids=str)
def test_every_clock_read_sees_the_time_now(options: dict[str, int]) -> None:
    """mtime as an instruction's own number; through the CSR too. And so time is monotone."""
    source = """
        li      s10, 0x200bff8
        la      s6, table
        li      s8, 40
a:      addi    s0, s0, 1
        ld      s1, 0(s10)
        sd      s1, 0(s6)
        addi    s0, s0, 1
        csrr    s2, time
        sd      s2, 8(s6)
        addi    s6, s6, 16
        addi    s8, s8, -1
        bnez    s8, a
""" + END + "        .balign 4096\ntable: .skip 1024\n"  # fmt: skip
    m = finish(source, icount=7, **options)
    reads = [event for event in only(m, ev.DeviceAccess) if event.offset == 0xBFF8]
    assert len(reads) == 40
    for read in reads:
        assert read.value == ((read.insns or 0) + 1 << 7) // NS_PER_TICK
    table = m.memory[m.symbols["table"] : m.symbols["table"] + 640]
    assert isinstance(table, bytes)
    times = [int.from_bytes(table[i : i + 8], "little") for i in range(0, 640, 8)]
    assert all(a <= b for a, b in pairwise(times))
    assert times[1::2] == [((e.insns or 0) + 4 << 7) // NS_PER_TICK for e in reads]
    if not options:
        assert m.stats.io_recompiles == 40 + 1, "and the store that ends the guest"


def test_without_recompilation_reads_come_from_the_future() -> None:
    """The block was charged whole at its head: time goes back between a device read and the CSR
    read behind it."""
    source = """
        li      s10, 0x200bff8
        fence.i
        ld      s1, 0(s10)
        nop
        nop
        nop
        nop
        nop
        nop
        fence.i
        csrr    s2, time
""" + END  # fmt: skip
    exact, naive = finish(source, icount=10), finish(source, icount=10, icount_recompile=False)
    assert exact.cpu["s1"] == 4 * 1024 // 100
    assert naive.cpu["s1"] == 11 * 1024 // 100
    assert exact.cpu["s2"] == naive.cpu["s2"] == 12 * 1024 // 100
    assert naive.stats.io_recompiles == 0


def test_idle_time_is_skipped() -> None:
    """Ten seconds of sleep take no host time and no instructions; the wake-up is on time."""
    m = finish(
        f"""
        li      s10, 0x2004000
        li      t0, 100000000           # 10 s
        sd      t0, 0(s10)
        li      t0, 0x80
        csrw    mie, t0
        csrr    s1, minstret
        wfi
        csrr    s2, minstret
        csrr    s3, time
        {END}
""",
        icount=0,
    )
    assert m.cpu["s2"] - m.cpu["s1"] == 2
    assert m.cpu["s3"] == 100_000_000
    (halted,), (woken,) = only(m, ev.Halted), only(m, ev.Woken)
    assert woken.insns == halted.insns


def test_sleep_that_nothing_can_end_is_a_deadlock() -> None:
    source = """
        li      s10, 0x2004000
        li      t0, -1
        sd      t0, 0(s10)
        csrw    mie, {mie}
        wfi
        j       .
"""
    m = machine(source.format(mie="x0"), icount=0)
    result = run(m, 100)
    assert result.reason is StopReason.DEADLOCK
    assert "wfi" in result.detail
    m = machine("li t1, 0x800\n" + source.format(mie="t1"), icount=0)
    m.inputs_open = lambda: False
    assert run(m, 100).reason is StopReason.DEADLOCK
    assert m.cpu.pc == m.symbols["_start"] + 4 * 6 + 4


@pytest.mark.parametrize("n", range(SETUP + ROUND, SETUP + 2 * ROUND))
def test_raise_at_is_a_deadline_like_any_other(n: int) -> None:
    """Under icount the block is cut, so the interrupt is taken exactly there."""
    m = machine(ENABLE + THREE_BLOCKS + STAY, icount=0)
    m.raise_at(n, "msip")
    run(m, SETUP + 4 * ROUND)
    ((at, epc),) = taken(m)
    offset = n - SETUP - ROUND
    assert (at, epc) == (n, m.symbols["a"] + 4 * offset)


def test_a_line_from_outside_acts_between_two_blocks() -> None:
    m = machine(ENABLE + THREE_BLOCKS + STAY, icount=0)
    run(m, SETUP + 5)
    m.set_irq("msip", 1)
    run(m, 10)
    assert taken(m) == [(SETUP + 5, m.symbols["b"] + 8)]

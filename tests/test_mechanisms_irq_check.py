"""Seven ways to look for interrupts: six deliver, each with its own latency; one is deaf.

Blocks of 3, 4 and 5 instructions in a linked loop; a line goes up right after instruction n, for
every n of two rounds; where the interrupt is taken follows from the mode and the block lengths.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import pytest
from engine import (
    ENABLE,
    END,
    RAM,
    ROUND,
    SECONDS,
    SETUP,
    STAY,
    THREE_BLOCKS,
    finish,
    machine,
    only,
    run,
    taken,
)

from tcglite import Machine, Mechanisms
from tcglite.errors import UsageError
from tcglite.machine import StopReason
from tcglite.tcg.cflags import CF_COUNT_MASK
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

LOOP = ENABLE + THREE_BLOCKS + STAY
WARM = SETUP + 4 * ROUND
DELIVER = ["tb-start", "tb-end", "every-insn", "quantum", "acyclic", "unlink"]
HEADS = [WARM + k * ROUND + d for k in range(7) for d in (0, 3, 7)]

#: The same loop, its blocks joined by indirect jumps: goto_ptr instead of links.
INDIRECT = (
    ENABLE
    + """
        la      s3, a
        la      s4, b
        la      s5, c
        jr      s3
"""
    + THREE_BLOCKS.replace("j       a", "jr      s3")
    .replace("j       b", "jr      s4")
    .replace("j       c", "jr      s5")
    + STAY
)


def where(source: str, n: int, **options: Any) -> int | None:
    """The instruction number at which the interrupt raised at ``n`` is taken."""
    with machine(source, **options) as m:
        m.raise_at(n, "msip")
        run(m, WARM + 6 * ROUND)
        ((at, epc),) = taken(m)
        assert epc == m.cpu.csr["mepc"]
        return at


@pytest.mark.parametrize("irq_check", ["tb-start", "tb-end", "unlink"])
def test_the_next_block_does_not_begin(irq_check: str) -> None:
    """Head tests and unlinking: at the first block boundary from n on. A test at the end comes
    before the jump, so for it the boundary is the same one."""
    for n in range(WARM, WARM + 2 * ROUND):
        assert where(LOOP, n, irq_check=irq_check) == min(at for at in HEADS if at >= n)


def test_every_instruction_is_flat() -> None:
    for n in range(WARM, WARM + ROUND):
        assert where(LOOP, n, irq_check="every-insn") == n


def test_acyclic_waits_for_the_edge_that_would_close_the_loop() -> None:
    """a to b and b to c are linked, c to a never is: the loop looks once a round."""
    for n in range(WARM, WARM + 2 * ROUND):
        assert where(LOOP, n, irq_check="acyclic") == -(-(n - WARM) // ROUND) * ROUND + WARM


@pytest.mark.parametrize("quantum", [1, 2, 5, 13, 20])
def test_quantum_looks_where_a_block_would_not_fit_any_more(quantum: int) -> None:
    """The looks do not depend on the interrupt; they are at most a quantum apart (but for blocks
    that are longer), and never less than a quantum minus the next block."""
    with machine(LOOP, irq_check="quantum", quantum=quantum) as quiet:
        run(quiet, WARM + 6 * ROUND)
        looks = [event.insns or 0 for event in only(quiet, ev.Refused) if event.cause == "budget"]
    warm = [at for at in looks if at >= WARM]
    lengths = [b - a for a, b in pairwise(warm)]
    assert all(quantum - 5 < length <= max(quantum, 5) for length in lengths)
    assert set(warm) <= set(HEADS)
    for n in range(WARM, WARM + 2 * ROUND, 3):
        expected = min(at for at in looks if at >= n)
        assert where(LOOP, n, irq_check="quantum", quantum=quantum) == expected


@pytest.mark.parametrize(("source", "n"), [(LOOP, WARM + 5), (INDIRECT, WARM + 30)])
def test_never_is_deaf_until_the_watchdog_stops_it(source: str, n: int) -> None:
    """Linked blocks, and blocks joined by goto_ptr, test nothing: the line is up, nothing is ever
    taken. The watchdog cuts the links."""
    m = machine(source, irq_check="never", watchdog=0.2)
    m.raise_at(n, "msip")
    result = m.run(timeout=SECONDS)
    assert result.reason is StopReason.WATCHDOG
    assert "nobody looked" in result.detail
    assert (result.insns or 0) > n + 1000
    assert m.stats.interrupts_taken == 0
    assert [event.insns for event in only(m, ev.LineRaised) if event.line == "msip"] == [n]
    assert m.cpu.pc in range(m.symbols["a"], m.symbols["handler"])


def test_never_is_not_deaf_while_the_loop_is_still_visited() -> None:
    """Before the jumps are patched every block comes back, and the loop looks as always."""
    assert where(LOOP, SETUP + 5, irq_check="never") == SETUP + 7


def test_never_ends_at_a_limit_a_timeout_and_a_pause_all_the_same() -> None:
    m = machine(LOOP, irq_check="never", watchdog=None)
    assert run(m, 1000).insns == 1000
    assert m.run(timeout=0.05).reason is StopReason.TIMEOUT
    m.start()
    assert m.pause().reason is StopReason.PAUSED
    assert m.cpu.pc in range(m.symbols["a"], m.symbols["handler"])


@pytest.mark.parametrize("irq_check", DELIVER)
def test_indirect_jumps_hide_nothing(irq_check: str) -> None:
    """goto_ptr edges are tested, unlinked, counted and kept acyclic like patched jumps."""
    base = SETUP + 7 + 4 * ROUND
    for n in range(base, base + ROUND, 2):
        wait = (where(INDIRECT, n, irq_check=irq_check, quantum=10) or 0) - n
        assert 0 <= wait <= {"every-insn": 0, "quantum": 14, "acyclic": ROUND}.get(irq_check, 4)


@pytest.mark.parametrize("source", [LOOP, INDIRECT], ids=["links", "goto_ptr"])
@pytest.mark.parametrize(
    ("irq_check", "count"),
    [(mode, count) for mode in DELIVER for count in (True, False) if count or mode != "quantum"],
)
def test_a_raise_from_another_thread_is_heard(irq_check: str, count: bool, source: str) -> None:
    """The guest spins in its linked loop; another thread raises; the handler ends the machine."""
    m = machine(
        source.replace("handler: j      handler", f"handler: {END}"),
        irq_check=irq_check,
        count=count,
    )
    warm = threading.Event()
    c = m.symbols["c"]  # the last of the blocks that are translated

    def watch(event: ev.Event) -> None:
        if isinstance(event, ev.BlockTranslated) and event.pc == c:
            warm.set()

    m.recorder.listen(watch)
    m.start()
    assert warm.wait(SECONDS)
    m.raise_irq("msip")
    assert m.wait(SECONDS).reason is StopReason.EXIT
    assert m.stats.interrupts_taken == 1


def test_the_same_instructions_whatever_the_mode() -> None:
    """Without interrupts no mode changes what the guest does, or its blocks."""
    results, blocks = set(), set()
    for irq_check in [*DELIVER, "never"]:
        with machine(LOOP, irq_check=irq_check) as m:
            run(m, 500)
            results.add((m.cpu.pc, *m.cpu.registers))
            blocks.add(tuple((tb.pc, tb.icount) for tb in m.tbs if not tb.cflags & CF_COUNT_MASK))
    assert len(results) == 1
    assert len(blocks) == 1


@pytest.mark.parametrize(
    ("irq_check", "returns"),
    [("tb-start", 0), ("tb-end", 0), ("every-insn", 0), ("unlink", 0), ("never", 0),
     ("acyclic", 50), ("quantum", 30)],
)  # fmt: skip
def test_what_looking_costs_in_returns_to_the_loop(irq_check: str, returns: int) -> None:
    """50 rounds of a linked loop: only acyclic and quantum come back to look; 600 instructions in
    quanta of 20 of which at most 16 … 20 are used."""
    visits = []
    for rounds in (0, 50):
        with machine(LOOP, irq_check=irq_check, quantum=20) as m:
            run(m, WARM + rounds * ROUND)
            visits.append(m.stats.loop_returns)
    if irq_check == "quantum":
        assert returns <= visits[1] - visits[0] <= 600 // 16 + 1
    else:
        assert visits[1] - visits[0] == returns


# The other ways to leave the loop out, or not.


def test_cache_off_translates_again_each_time() -> None:
    with machine(LOOP, cache=False, trace="blocks") as m:
        run(m, WARM + 20 * ROUND)
        runs = len(only(m, ev.BlockRun))
        assert m.stats.tb_translated == runs == m.stats.loop_returns
        assert m.stats.chain_patched == 0
        assert m.tbs == []
    assert where(LOOP, WARM + 1, cache=False) == WARM + 3


def test_chain_off_comes_back_after_each_block_but_for_goto_ptr() -> None:
    """As with QEMU's -d nochain: direct jumps are looked up instead."""
    with machine(LOOP, chain=False, trace="blocks") as m:
        run(m, WARM + 20 * ROUND)
        assert m.stats.chain_patched == 0
        assert {e.entry for e in only(m, ev.BlockRun)} == {"loop", "goto_ptr"}
        assert m.stats.loop_returns < 12
    with machine(LOOP, chain=False, goto_ptr=False, trace="blocks") as m:
        run(m, WARM + 20 * ROUND)
        assert {e.entry for e in only(m, ev.BlockRun)} == {"loop"}
        assert m.stats.loop_returns == len(only(m, ev.BlockRun))


def test_goto_ptr_off_comes_back_after_indirect_jumps() -> None:
    with machine(INDIRECT, goto_ptr=False, trace="blocks") as m:
        run(m, WARM + 20 * ROUND)
        assert {e.entry for e in only(m, ev.BlockRun)} == {"loop"}
    with machine(INDIRECT, trace="blocks") as m:
        run(m, WARM + 20 * ROUND)
        assert [e.entry for e in only(m, ev.BlockRun)][-11:-1] == ["goto_ptr"] * 10


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 512])
def test_max_block_insns_limits_every_block(limit: int) -> None:
    body = "\n".join(["addi s0, s0, 1"] * 20)
    m = finish(body + END, max_block_insns=limit)
    assert m.cpu["s0"] == 20
    assert max(tb.icount for tb in m.tbs) == min(limit, 25)
    assert m.stats.tb_translated == {1: 24, 2: 12, 3: 8, 7: 4, 512: 1}[limit]


def test_a_block_ends_at_512_instructions_by_default() -> None:
    m = machine("\n".join(["addi s0, s0, 1"] * 600) + "\nj .")
    run(m, 700)
    assert [tb.icount for tb in m.tbs if tb.pc in (RAM, RAM + 4 * 512)] == [512, 89]


# Refusals.


@pytest.mark.parametrize(
    ("switches", "options", "says"),
    [
        ({"irq_check": "often"}, {}, "irq_check='often' is unknown; expected tb-start"),
        ({"irq_check": "quantum"}, {"count": False}, "quantum"),
        ({"irq_check": "never"}, {"icount": 0}, "icount needs irq_check='tb-start'"),
        ({"irq_check": "tb-end"}, {"icount": 0}, "icount needs irq_check='tb-start'"),
        ({"irq_check": "every-insn"}, {"icount": 3}, "icount needs irq_check='tb-start'"),
        ({}, {"icount": 0, "count": False}, "icount counts instructions"),
        ({"quantum": 0, "irq_check": "quantum"}, {}, "quantum=0"),
        ({"max_block_insns": 0}, {}, "max_block_insns=0"),
        ({"max_block_insns": 513}, {}, "max_block_insns=513"),
        ({"restore": "lazy"}, {}, "restore='lazy'"),
        ({}, {"icount": 11}, "icount=11"),
        ({}, {"trace": "all"}, "trace='all' is unknown"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    switches: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Machine(b"\0\0\0\0", mechanisms=Mechanisms(**switches), memory="64K", **options)
    assert "\n" not in str(caught.value)


def test_other_switches_are_checked_too_when_they_are_assigned() -> None:
    m = machine(LOOP, count=False)
    with pytest.raises(UsageError, match="quantum"):
        m.mechanisms = Mechanisms(irq_check="quantum")
    assert m.mechanisms.irq_check == "tb-start", "as it was"
    m.mechanisms = Mechanisms(irq_check="unlink")
    assert m.mechanisms.irq_check == "unlink"


def test_changed_switches_run_no_block_made_under_the_old_ones() -> None:
    """A cut block that was wanted next is forgotten as well."""
    m = machine(LOOP)
    stop = [True]

    def stop_at_the_cut(event: ev.Event) -> None:
        if isinstance(event, ev.DeadlineCut) and stop.pop():
            m._cpu.stop("paused")

    m.recorder.listen(stop_at_the_cut)
    run(m, WARM)
    result = m.run(max_insns=ROUND + 1, timeout=SECONDS)
    assert result.reason is StopReason.PAUSED
    assert m._cpu.cflags_next_tb is not None
    m.mechanisms = Mechanisms(irq_check="never", max_block_insns=1)
    assert m.tbs == []
    run(m, 3 * ROUND)
    assert {tb.icount for tb in m.tbs} == {1}
    assert len({tb.cflags for tb in m.tbs}) == 1

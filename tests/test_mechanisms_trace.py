"""What chained code records by itself, held against what the machine really does."""

from __future__ import annotations

from functools import partial
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
    machine,
    only,
    run,
    successors,
    taken,
)

import tcglite.machine
from tcglite import Machine, Mechanisms, guests
from tcglite.target.decode import decode
from tcglite.trace import events as ev
from tcglite.trace.recorder import Recorder

pytestmark = pytest.mark.usefixtures("backend")

#: Faults, expected exceptions, wfi, calls, device accesses; no interrupt is ever taken.
BUSY = """
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x80
        csrw    mie, t0                 # MTIP is pending: wfi does not sleep
        li      s11, 0x50000
        li      s10, 0x2000000
        li      s9, 3
a:      addi    s0, s0, 1
        ld      t2, 0(s11)
        lw      s1, 0(s10)
        jal     ra, f
        sub     s2, s0, s9
        bnez    s2, a
        ecall
        wfi
        .word   0x0000000b
        csrr    s3, minstret
        li      s0, 0
        j       a
f:      addi    s4, s4, 1
        ret
        .balign 4
handler: csrr   t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
"""

LOOP = ENABLE + THREE_BLOCKS + STAY


def executed_instructions(m: Machine) -> list[tuple[int, int]]:
    """(instruction number, pc) of everything that the block records say has retired."""
    blocks = {tb.number: [row[0] for row in tb.guest] for tb in m.tbs}
    return [
        ((event.insns or 0) + i, pc)
        for event in only(m, ev.BlockRun)
        for i, pc in enumerate(blocks[event.tb][: event.executed])
    ]


@pytest.mark.parametrize("mode", ["blocks", "times"])
@pytest.mark.parametrize(
    "options",
    [{}, {"chain": False, "goto_ptr": False}, {"max_block_insns": 2}, {"irq_check": "tb-end"},
     {"irq_check": "never"}, {"irq_check": "quantum", "quantum": 11}, {"io_last": True},
     {"icount": 0}, {"restore": "eager"}],
    ids=str,
)  # fmt: skip
def test_the_records_tell_every_instruction_once(options: dict[str, Any], mode: str) -> None:
    """Expanded to instructions, the blocks that ran are the run with one instruction a block."""
    with machine(BUSY, max_block_insns=1, trace="blocks") as single:
        run(single, 400)
        reference = executed_instructions(single)
        assert [n for n, _ in reference] == list(range(400))
    with machine(BUSY, **options, trace=mode) as m:
        run(m, 400)
        assert executed_instructions(m) == reference
        assert m.events_lost == 0


@pytest.mark.parametrize("name", ["hello", "syscalls", "illegal", "fpu_off", "fault"])
def test_bundled_guests_tell_the_same_story_in_blocks_and_in_instructions(name: str) -> None:
    stories = []
    for switches in (Mechanisms(), Mechanisms(max_block_insns=1)):
        with Machine(
            guests.load(name), backend=backends.chosen, mechanisms=switches, trace="blocks",
            memory="1M",
        ) as m:  # fmt: skip
            assert run(m).exit_code == 0
            stories.append(executed_instructions(m))
            total = m.insns
            assert [n for n, _ in stories[-1]] == list(range(total or 0))
    short = min(len(story) for story in stories)  # the block of the last store runs to its end
    assert stories[0][:short] == stories[1][:short]
    assert abs(len(stories[0]) - len(stories[1])) <= 1


def test_every_instruction_mode_says_where_a_block_was_left() -> None:
    with machine(LOOP, irq_check="every-insn", trace="blocks") as m:
        m.raise_at(SETUP + 5 * ROUND + 5, "msip")
        run(m, SETUP + 6 * ROUND)
        partial_runs = [e for e in only(m, ev.BlockRun) if e.executed != e.count]
        assert [(e.insns, e.pc, e.executed) for e in partial_runs] == [
            (SETUP + 5 * ROUND + 3, m.symbols["b"], 2)
        ]


@pytest.mark.parametrize(
    "options",
    [{}, {"io_last": True}, {"irq_check": "acyclic"}, {"irq_check": "unlink"},
     {"irq_check": "quantum", "quantum": 13}, {"chain": False}, {"icount": 0}],
    ids=str,
)  # fmt: skip
def test_how_a_block_was_entered(options: dict[str, Any]) -> None:
    """ "chain": a link from the block before it exists at that moment; "goto_ptr": the block before
    it ends in an indirect jump; "loop": anything else, and only then did the loop come by."""
    with machine(BUSY, **options, trace="blocks") as m:
        run(m, 300)
        by_number = {tb.number: tb for tb in m.tbs}
        links: set[tuple[int, int]] = set()
        previous: int | None = None
        came_back = True
        kinds = set()
        for event in m.events:
            if isinstance(event, ev.ChainPatched):
                links.add((event.src, event.dst))
            elif isinstance(event, ev.ChainUnpatched):
                links.discard((event.src, event.dst))
            elif isinstance(event, ev.LoopExit | ev.BlockTranslated):
                came_back = True
            elif isinstance(event, ev.BlockRun):
                kinds.add(event.entry)
                assert (event.entry == "loop") is came_back
                if event.entry == "chain":
                    assert previous is not None
                    assert (previous, event.tb) in links
                    assert event.pc in successors(by_number[previous])
                elif event.entry == "goto_ptr":
                    assert previous is not None
                    assert indirect(by_number[previous]) or "chain" in options
                previous, came_back = event.tb, False
        expected = {"loop", "chain", "goto_ptr"}
        if "chain" in options:
            expected = {"loop", "goto_ptr"}
        elif options.get("irq_check") == "acyclic":
            expected = {"loop", "chain"}
        assert kinds == expected


def indirect(tb: Any) -> bool:
    insn = decode(tb.guest[-1][1])
    return insn is not None and insn.family == "jalr"


def test_a_refused_block_is_not_in_the_records() -> None:
    """The record is written behind the check."""
    with machine(LOOP, trace="blocks") as m:
        m.raise_at(SETUP + 4 * ROUND + 1, "msip")
        run(m, SETUP + 6 * ROUND)
        (refused,) = [e for e in only(m, ev.Refused) if (e.insns or 0) > SETUP]
        ((at, _),) = taken(m)
        assert refused.insns == at
        runs_at = [e.pc for e in only(m, ev.BlockRun) if e.insns == at]
        assert runs_at == [m.symbols["handler"]], "not the refused one"
        assert refused.ring == only(m, ev.InterruptTaken)[0].ring


def with_ring(words: int, source: str, **options: Any) -> Machine:
    original = tcglite.machine.Recorder
    tcglite.machine.Recorder = partial(Recorder, ring_words=words)  # type: ignore[misc]
    try:
        return machine(source, **options)
    finally:
        tcglite.machine.Recorder = original  # type: ignore[misc]


def block_runs(m: Machine) -> list[tuple[Any, ...]]:
    return [(e.insns, e.ring, e.tb, e.executed, e.entry) for e in only(m, ev.BlockRun)]


@pytest.mark.parametrize("mode", ["blocks", "times"])
@pytest.mark.parametrize(
    "options",
    [{}, {"icount": 0}, {"irq_check": "tb-end"}, {"chain": False}, {"cache": False}],
    ids=str,
)
def test_a_wrapped_ring_loses_the_oldest_says_so_and_numbers_the_rest_right(
    options: dict[str, Any], mode: str
) -> None:
    """At many points of a run with faults, ecall, wfi and device accesses in it: whatever comes
    first in the part that is left, its instruction numbers are exact. (Only how the very first
    block that is left was entered cannot be known any more.)"""
    with with_ring(1 << 16, BUSY, trace=mode, **options) as whole:
        with with_ring(16, BUSY, trace=mode, **options) as part:
            kept = 16 if mode == "blocks" else 8
            for _ in range(40):
                run(whole, 7)
                run(part, 7)
                wanted, found = block_runs(whole), block_runs(part)
                assert whole.events_lost == 0
                assert part.events_lost == max(0, len(wanted) - kept)
                assert len(found) == min(len(wanted), kept)
                assert [row[:4] for row in found] == [row[:4] for row in wanted[-kept:]]
                assert found[1:] == wanted[-kept:][1:]
            assert part.events_lost > 50


def test_a_window_shows_what_the_whole_shows_there() -> None:
    """Its numbers must not depend on what broke off behind it."""
    with machine(BUSY, trace="blocks") as m:
        run(m, 300)
        whole = m.events
        for first in range(0, m.blocks_run, 9):
            window = m.events_between(first, first + 20)
            runs = [e for e in window if isinstance(e, ev.BlockRun)]
            wanted = [e for e in whole if isinstance(e, ev.BlockRun)][first : first + 20]
            assert [(e.insns, e.ring, e.tb) for e in runs] == [
                (e.insns, e.ring, e.tb) for e in wanted
            ]
            assert [e.executed for e in runs[:-1]] == [e.executed for e in wanted[:-1]]


def test_without_trace_there_are_no_events_and_no_records() -> None:
    """Nor is there code for them."""
    for trace in (None, "events", "blocks", "times"):
        with machine(LOOP, trace=trace) as m:
            run(m, 200)
            assert bool(m.events) == (trace is not None)
            records = trace in ("blocks", "times")
            assert bool(m._cpu.env.neg.ring_next) == records
            for tb in m.tbs:
                texts = [row.text + row.note for row in tb.host]
                assert any("P[" in t or "ring_next" in t for t in texts) == records


def test_without_counting_block_records_have_no_numbers() -> None:
    with machine(f"nop\nj b\nb: nop\n{END}", trace="blocks", count=False) as m:
        run(m)
        assert {event.insns for event in m.events} == {None}
        assert [event.count for event in only(m, ev.BlockRun)][:2] == [2, 6]


def test_events_are_in_the_order_in_which_they_happened() -> None:
    """Instruction numbers, ring positions and host times never go back; but for what happens in
    mid-block, which carries its own number and comes behind the record of its block."""
    with machine(BUSY, trace="times") as m:
        run(m, 300)
        clock = ring = 0.0
        for event in m.events:
            assert event.time >= clock - 1e-6
            assert event.ring >= ring
            clock, ring = max(clock, event.time), event.ring
        numbers = [
            e.insns
            for e in m.events
            if isinstance(e, ev.BlockRun | ev.ExceptionRaised | ev.TrapReturn | ev.Halted)
        ]
        in_order = [n or 0 for n in numbers]
        assert in_order == sorted(in_order)

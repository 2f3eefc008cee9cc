"""The recorder: events and block records in one order, and what a wrapped ring has lost."""

from __future__ import annotations

from collections import deque

import pytest

from tcglite import Machine, guests
from tcglite.trace import events as ev
from tcglite.trace.recorder import MAX_EVENTS, RING_WORDS, Recorder

A, B = 1, 2  # blocks of 5 and 2 instructions


class Hart:
    """Writes into a recorder as generated code and ``cpu_exec`` do."""

    def __init__(self, words: int = 8, mode: str = "blocks") -> None:
        self.recorder = Recorder(mode, words)
        self.insns = self.ring = 0
        self.counts = {A: 5, B: 2}
        for tb, count in self.counts.items():
            self.emit(ev.BlockTranslated, tb=tb, pc=0x100 * tb, count=count)

    def emit(self, kind: type[ev.Event], insns: int | None = None, **fields: object) -> None:
        at = self.insns if insns is None else insns
        self.recorder.emit(kind(insns=at, time=1.0, ring=self.ring, **fields))  # type: ignore[arg-type]

    def run(self, *blocks: int) -> None:
        recorder = self.recorder
        for tb in blocks:
            place = self.ring % recorder.capacity * recorder.words_each
            recorder.ring[place] = tb
            if recorder.words_each == 2:
                recorder.ring[place + 1] = self.ring * 1_000_000_000
            self.ring += 1
            self.insns += self.counts[tb]

    def leave(self, reason: str = "slot") -> None:
        self.emit(ev.LoopExit, reason=reason, tb=None)

    def events(self, between: tuple[int, int] | None = None) -> list[ev.Event]:
        return self.recorder.events(self.ring, self.insns, between)


def told(events: list[ev.Event]) -> list[object]:
    """Each event in short."""
    short: list[object] = []
    for event in events:
        if isinstance(event, ev.BlockRun):
            short.append((event.entry, "AB"[event.tb - 1], event.insns, event.executed))
        elif isinstance(event, ev.BlocksLost):
            short.append(("lost", event.ring, event.count, event.insns))
        elif not isinstance(event, ev.BlockTranslated):
            short.append(type(event).__name__)
    return short


def test_blocks_stand_between_the_events_around_them():
    hart = Hart()
    hart.run(A, B)
    hart.leave()
    hart.run(A)
    assert told(hart.events()) == [
        ("loop", "A", 0, 5), ("chain", "B", 5, 2), "LoopExit", ("loop", "A", 7, 5),
    ]  # fmt: skip


def test_a_block_that_broke_off_says_how_much_of_it_ran():
    hart = Hart()
    hart.run(A)
    hart.insns = 3
    hart.leave("exception")
    hart.run(B)
    assert told(hart.events()) == [("loop", "A", 0, 3), "LoopExit", ("loop", "B", 3, 2)]


def test_what_the_ring_lost_is_said_where_it_was_and_the_events_there_stay():
    hart = Hart(words=4)
    hart.run(A, B, A)
    hart.emit(ev.LineRaised, insns=9, line="mtip", level=1)
    hart.leave()
    hart.run(B, A, B, A)
    hart.leave()
    hart.run(A)
    assert told(hart.events()) == [
        ("lost", 0, 3, 0), "LineRaised", "LoopExit", ("lost", 3, 1, 12),
        ("chain", "A", 14, 5), ("chain", "B", 19, 2), ("chain", "A", 21, 5), "LoopExit",
        ("loop", "A", 26, 5),
    ]  # fmt: skip


def test_an_event_at_the_first_record_that_is_left_comes_after_the_loss():
    hart = Hart(words=2)
    hart.run(A, B)
    hart.leave()
    hart.run(A, B)
    assert told(hart.events()) == [
        ("lost", 0, 2, 0), "LoopExit", ("loop", "A", 7, 5), ("chain", "B", 12, 2),
    ]  # fmt: skip


def test_nothing_is_lost_that_was_not_asked_for():
    hart = Hart(words=4)
    hart.run(A, B, A, B, A, B)
    assert told(hart.events((3, 5))) == [("chain", "B", 12, 2), ("chain", "A", 14, 5)]
    assert told(hart.events((1, 3)))[0] == ("lost", 1, 1, None)
    assert told(hart.events((0, 1))) == [("lost", 0, 1, 0)]


def test_blocks_whose_events_are_gone_are_lost_too():
    """How they were entered, and whether they broke off, stood in those events."""
    hart = Hart(words=8)
    hart.run(A, B)
    for _ in range(MAX_EVENTS):
        hart.leave()
    hart.run(A)
    assert told(hart.events())[0] == ("lost", 0, 2, None)
    assert told(hart.events())[-1] == ("loop", "A", 7, 5)


def test_a_block_translated_just_now_was_entered_by_the_loop():
    """Also where the visit itself is not told, as at the limit of a run."""
    hart = Hart()
    hart.run(A)
    hart.emit(ev.BlockTranslated, tb=B, pc=0x200, count=2, full=False)
    hart.run(B)
    assert told(hart.events()) == [("loop", "A", 0, 5), ("loop", "B", 5, 2)]


def test_time_stamps_take_half_of_the_ring():
    hart = Hart(words=8, mode="times")
    hart.run(A, B, A, B, A)
    events = hart.events()
    assert told(events)[0] == ("lost", 0, 1, 0)
    assert [e.time for e in events if isinstance(e, ev.BlockRun)] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("words", [16, 64, 256])
def test_a_small_ring_tells_the_same_story_as_a_large_one(monkeypatch, words, backend):
    def recorded(size: int) -> list[ev.Event]:
        with monkeypatch.context() as patch:
            patch.setattr("tcglite.machine.Recorder", lambda mode: Recorder(mode, size))
            with Machine(guests.load("doorbell"), trace="blocks", backend=backend) as machine:
                machine.run(timeout=20)
                assert machine.blocks_run > 256
                return machine.events

    whole, part = recorded(RING_WORDS), recorded(words)
    runs = [
        [(e.insns, e.ring, e.tb, e.executed, e.entry) for e in events if isinstance(e, ev.BlockRun)]
        for events in (whole, part)
    ]
    assert runs[1] == runs[0][-words:]
    others = [
        [(type(e), e.insns, e.ring) for e in events
         if not isinstance(e, ev.BlockRun | ev.BlocksLost)] for events in (whole, part)
    ]  # fmt: skip
    assert others[1] == others[0]
    position = 0
    for event in part:  # every block is either told or said to be lost, in order
        if isinstance(event, ev.BlocksLost | ev.BlockRun):
            assert event.ring == position
            position += event.count if isinstance(event, ev.BlocksLost) else 1
    assert position == len(runs[0])


def test_another_thread_may_settle_the_last_event_first():
    """Any thread that emits settles what waits, just like the hart that comes by."""

    class Shared(deque[ev.Event]):
        def __bool__(self) -> bool:
            """There is something; and a moment later somebody else has taken it."""
            some = len(self) > 0
            self.clear()
            return some

    recorder = Recorder("events")
    recorder._deferred = Shared([ev.FlagCleared(insns=None, time=0.0, ring=0)])
    recorder.settle(1, 0)
    assert not list(recorder)

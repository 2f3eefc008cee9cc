"""The timeline of long runs: one axis with what was not recorded, and the overview of a file."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from lab_timeline_stories import LOOP, STORIES, Tape, chained, crowd, far, handler, lost, warm

from tcglite import Machine, guests
from tcglite.lab.timeline import layout, overview, shapes, to_text
from tcglite.lab.timeline.columns import LOST, Axis, round_step
from tcglite.lab.timeline.layout import telling
from tcglite.lab.timeline.metrics import text_width
from tcglite.lab.timeline.reading import read
from tcglite.lab.timeline.shapes import Layout, Shape
from tcglite.trace import events as ev
from tcglite.trace.recorder import Recorder


def of(picture: Layout, kind: type[Shape]) -> list:
    return [shape for shape in picture.shapes if isinstance(shape, kind)]


def wrapped(rounds: int = 1500) -> list[ev.Event]:
    """A long run of which the ring has lost the larger part, with five interrupts in it."""
    tape = Tape()
    warm(tape, 1)
    first = True
    for number in range(6):
        if number < 4:
            tape.lose(40_000, 160_000)
        else:
            chained(tape, rounds)
        start = tape.run(1)
        tape.kick("mtip", start + 3)
        tape.refuse(2)
        tape.take(7, LOOP)
        handler(tape, first=first)
        first = False
    return tape.events


def shifted(events: list[ev.Event], insns: int = 400_000) -> list[ev.Event]:
    """The same, so many instructions later."""
    return [replace(event, insns=(event.insns or 0) + insns) for event in events[1:]]


# What was not recorded


def test_what_was_not_recorded_has_a_place_of_its_own_and_says_how_much():
    picture = layout(wrapped())
    assert picture.mode == "density"
    holes = [hole for hole in of(picture, shapes.Lost) if hole.blocks == 40_000]
    assert len(holes) == 8, "four in the code lane, four in the minimap"
    assert "not recorded" in [t.text for t in of(picture, shapes.Text)], "too narrow for words"
    one = layout([ev.BlocksLost(insns=0, time=0.0, ring=0, count=70_000), *shifted(crowd(6000))])
    (said,) = [hole for hole in of(one, shapes.Lost) if hole.lines]
    assert said.lines == ("not recorded", "70,000 blocks", "not to scale")
    assert "40,000 blocks (160,000 instructions) not recorded" in to_text(picture)


def test_axis_numbers_grow_from_left_to_right_and_none_is_cut_off():
    for events in (wrapped(), crowd(), lost(), far(), STORIES["nested"]()):
        for picture in (layout(events), overview(events)):
            ticks: dict[float, list[shapes.Tick]] = {}
            for tick in of(picture, shapes.Tick):
                ticks.setdefault(tick.y, []).append(tick)
            for row in ticks.values():
                numbers = [int(t.label.replace(",", "")) for t in sorted(row, key=lambda t: t.x)]
                assert numbers == sorted(numbers)
                for t in row:
                    half = text_width(t.label, t.size) / 2
                    assert t.x + t.shift - half >= 0
                    assert t.x + t.shift + half <= picture.width


def test_every_mark_is_at_its_instruction_also_where_nothing_was_recorded():
    story = read(wrapped())
    axis = Axis(story, range(len(story.parts)), 100, 1000, least=50)
    raised = [mark for mark in story.marks if mark.kind == "raised"]
    places = [axis.x(mark.at) for mark in raised]
    assert places == sorted(places)
    assert all(a < b for a, b in pairwise(places))
    edges = {s.x for s in axis.stretches} | {s.x + s.w for s in axis.stretches}
    assert min(edges) == 100
    assert max(edges) == pytest.approx(1100)
    holes = [s for s in axis.stretches if s.lost]
    assert sum(s.w for s in holes) <= LOST * 1000 + 0.01
    assert all(axis.compressed(s) for s in holes)


def test_a_small_loss_is_drawn_to_scale():
    tape = Tape()
    warm(tape, 200)
    tape.lose(100, 400)
    chained(tape, 200)
    story = read(tape.events)
    axis = Axis(story, range(len(story.parts)), 0, 1000, least=10)
    (hole,) = [s for s in axis.stretches if s.lost]
    assert not axis.compressed(hole)
    assert hole.w == pytest.approx(1000 * 400 / story.last)


def test_visits_to_the_loop_of_which_nothing_is_known_are_counted_in_the_gap():
    story = read(lost())
    gaps = [part for part in story.parts if hasattr(part, "lost")]
    assert [(gap.blocks, gap.lost, gap.visits) for gap in gaps] == [
        (904, 3618, 4), (62, 250, 1),
    ]  # fmt: skip
    assert not story.arcs or story.arcs[0][0] > 5, "the first ghost's block may have run unseen"
    assert "①▼ i=3614 line mtip raised in a block that was not recorded" in to_text(
        layout(lost())
    )


def test_nobody_knows_where_a_recording_begins_that_begins_with_a_loss():
    gone = ev.BlocksLost(insns=None, time=0.0, ring=0, count=70)
    leave = ev.LoopExit(insns=500, time=0.0, ring=70, reason="none", tb=None)
    run = ev.BlockRun(
        insns=500, time=0.0, ring=70, tb=1, pc=LOOP, count=7, executed=7, entry="loop"
    )
    assert to_text(layout([gone, leave, run])).splitlines()[0] == (
        "   i=500 … 70 blocks not recorded"
    )


def test_a_real_run_that_wrapped_the_ring(monkeypatch):
    monkeypatch.setattr("tcglite.machine.Recorder", lambda mode: Recorder(mode, 128))
    with Machine(guests.load("doorbell"), trace="blocks") as machine:
        machine.run(timeout=20)
        picture = overview(machine.events, title="doorbell")
    assert picture.mode == "overview"
    assert [m.i for m in picture.marks if m.kind == "raised"] == [53, 463, 888]
    text = to_text(picture)
    assert "①▼ i=53 line msip raised in a block that was not recorded" in text
    assert "③▼ i=888 line msip raised in AL 8/11" in text
    assert "Closer: interrupt 3 (software)" in text, "the first one fully recorded"


def test_an_event_inside_the_block_before_is_drawn_there():
    """With the test at the block's end the loop hears of it before the event is written."""
    tape = Tape()
    warm(tape)
    start = tape.run(1)
    tape.leave("none")
    tape.kick("mtip", start + 3)
    tape.take(7, LOOP)
    handler(tape, back=1)
    text = to_text(layout(tape.events))
    assert "①▼ i=51 line mtip raised in A 3/7" in text
    assert "(4 instructions · 1 block after ▼)" in text


def test_a_block_that_breaks_off_at_once_was_running_when_the_line_went_up():
    """With the test before every instruction."""
    tape = Tape()
    warm(tape)
    tape.run(1, executed=3)
    tape.leave("none")
    tape.kick("mtip")
    tape.take(7, LOOP + 12)
    handler(tape, back=1)
    assert "①▼ i=51 line mtip raised in A 3/7" in to_text(layout(tape.events))


# Long ways


def test_an_interrupt_that_waited_long_is_shown_from_raised_to_taken():
    events = far()
    k = next(k for k, mark in enumerate(layout(events).marks) if mark.kind == "taken")
    picture = layout(events, window=k)
    assert picture.mode == "folded"
    (bracket,) = of(picture, shapes.Bracket)
    assert (bracket.label, bracket.earlier) == ("325 instructions · 82 blocks", False)
    assert any(fold.times > 30 for fold in of(picture, shapes.Fold))


def test_an_interrupt_raised_before_the_window_comes_in_from_the_left():
    events = far()
    taken = next(mark for mark in layout(events).marks if mark.kind == "taken")
    picture = layout(events, window=(taken.i - 20, taken.i + 20))
    (bracket,) = of(picture, shapes.Bracket)
    assert bracket.earlier
    (route,) = of(picture, shapes.Route)
    box = min(of(picture, shapes.Box), key=lambda box: box.x)
    assert route.points[0][0] == pytest.approx(box.x, abs=30)


# The overview


def test_a_small_run_needs_no_overview():
    events = STORIES["fault"]()
    assert overview(events).shapes == layout(events).shapes
    assert overview([]).mode == "empty"


def test_a_run_in_which_nothing_happens_has_nothing_to_show_closer():
    tape = Tape()
    warm(tape)
    for k in range(3000):
        tape.translate(100 + k * k % 37, 0x8000_0400 + 16 * (k * k % 37), 4)
        tape.run(100 + k * k % 37)
    tape.add(ev.FlagSet, why="stop")
    assert overview(tape.events).mode == "density"


@pytest.mark.parametrize("make", [crowd, wrapped, STORIES["repeats"]])
def test_the_overview_shows_everything_and_below_it_one_interrupt_closer(make):
    events = make()
    picture = overview(events, title="name of the guest")
    assert picture.mode == "overview"
    assert picture.width == 960
    (lens,) = of(picture, shapes.Lens)
    (frame,) = of(picture, shapes.Frame)
    assert lens.x == pytest.approx(frame.x, abs=0.1)
    assert lens.y >= frame.y + frame.h
    top = [mark for mark in of(picture, shapes.Mark) if mark.y < lens.y]
    low = [mark for mark in of(picture, shapes.Mark) if mark.y > lens.y]
    taken = sum(mark.kind == "taken" for mark in picture.marks)
    assert sum(mark.times for mark in top if mark.kind == "taken") == taken
    assert [mark.times for mark in low if mark.kind == "taken"] == [1]
    assert of(picture, shapes.Bracket)[0].y > lens.y
    assert picture.text[-1]
    assert any(line.startswith("Closer: interrupt ") for line in picture.text)


def test_the_head_line_has_the_name_and_the_numbers_of_the_run():
    texts = [t.text for t in of(layout(wrapped(10), title="my guest"), shapes.Text)]
    assert texts[0] == "my guest"
    assert texts[1] == (
        "640,292 instructions · 160,070 blocks run (70 recorded) · 16 loop visits"
        " · 6 interrupts taken"
    )
    assert "my guest" not in [t.text for t in of(layout(wrapped(10)), shapes.Text)]


def test_the_most_telling_interrupt_is_the_one_with_the_most_to_see():
    tape = Tape()
    warm(tape)
    tape.leave("slot", 2, 0)
    tape.kick("msip")
    tape.take(3, LOOP)
    handler(tape, line="msip", back=1)
    start = tape.run(1)
    tape.kick("mtip", start + 3)
    tape.refuse(2)
    tape.take(7, LOOP)
    handler(tape, first=False)
    story = read(tape.events)
    found = telling(story)
    assert found is not None
    assert story.marks[found].line() == "②◆ i=72 taken, mepc=A"


def test_very_many_marks_of_a_kind_are_one_sign_and_a_strip():
    tape = Tape()
    warm(tape, 1)
    for _ in range(700):
        tape.run(1, executed=3)
        tape.add(ev.IoRecompile, tb=1, guest_pc=LOOP + 12)
        tape.leave("exception", 1)
        tape.run(2, "loop")
    picture = layout(tape.events)
    assert picture.mode == "density"
    assert [m.times for m in of(picture, shapes.Mark) if m.kind == "rewound"] == [700]
    assert [c for c in of(picture, shapes.Columns) if c.name == "rewound"]


def test_a_task_strip_stands_over_an_overview_too():
    tasks = {"one": (LOOP, LOOP + 4), "two": (0x8000_1000, 0x8000_2000)}
    tape = Tape()
    warm(tape, 1)
    for k in range(600):
        tape.translate(10 + k, 0x8000_1000 + 4 * k, 3)
        for block in (10 + k, 10 + k // 2, 10 + k // 3):
            tape.run(block)
    for _ in range(900):
        tape.run(1)
    picture = layout(tape.events, tasks=tasks)
    assert picture.mode == "density"
    strips = [s for s in of(picture, shapes.Strip) if s.row == "task"]
    assert [strip.label for strip in strips][-2:] == ["two", "one"]
    turns = [s for s in of(layout(crowd(), tasks=tasks), shapes.Strip) if s.row == "task"]
    assert not turns, "too many and too short to be seen"


def test_round_steps():
    assert [round_step(x) for x in (0.2, 1, 3, 7, 11, 49, 501)] == [1, 1, 5, 10, 20, 50, 1000]

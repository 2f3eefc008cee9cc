"""The timeline: what its shapes say, that nothing is lost, and that it can be read."""

from __future__ import annotations

import json
import os
import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from lab_timeline_stories import (
    STORIES,
    Tape,
    chained,
    crowd,
    far,
    first_interrupt,
    handler,
    warm,
)

from tcglite.errors import UsageError
from tcglite.lab import theme
from tcglite.lab.timeline import Letters, layout, legend, overview, shapes, to_svg, to_text
from tcglite.lab.timeline.draw import Label, draw, nodes
from tcglite.lab.timeline.layout import NODES
from tcglite.lab.timeline.metrics import text_width
from tcglite.lab.timeline.placing import Repeat, fold
from tcglite.lab.timeline.shapes import Layout, Shape
from tcglite.trace import events as ev

GOLDEN = Path(__file__).parent / "golden"
LANES = ["DEVICE", "REQUEST", "GENERATED", "LOOP", "HELPERS", "WHOLE RUN"]


def of(picture: Layout, kind: type[Shape]) -> list:
    return [shape for shape in picture.shapes if isinstance(shape, kind)]


def marks(picture: Layout, kind: str) -> list[shapes.Mark]:
    return [mark for mark in of(picture, shapes.Mark) if mark.kind == kind]


def boxes(picture: Layout, name: str) -> list[shapes.Box]:
    return [box for box in of(picture, shapes.Box) if box.name == name]


@pytest.mark.parametrize("name", sorted(STORIES))
def test_shapes_are_the_golden_ones(name):
    picture = layout(STORIES[name]())
    lines = [json.dumps(data, ensure_ascii=False) for data in picture.as_data()]
    found = "[\n" + ",\n".join(lines) + "\n]\n"
    path = GOLDEN / f"timeline_{name}.json"
    if os.environ.get("TCGLITE_WRITE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    expected = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(found) == expected, f"rewrite {path.name} with TCGLITE_WRITE_GOLDEN=1"


@pytest.mark.parametrize("name", sorted(STORIES))
def test_text_is_the_golden_one(name):
    found = to_text(layout(STORIES[name]())) + "\n"
    path = GOLDEN / f"timeline_{name}.txt"
    if os.environ.get("TCGLITE_WRITE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_lanes_stand_in_the_specified_order():
    picture = layout(first_interrupt())
    found = {t.text: t.y for t in of(picture, shapes.Text) if t.text in LANES}
    assert sorted(found, key=lambda name: found[name]) == LANES


def test_the_first_interrupt_is_told_as_the_specification_words_it():
    text = to_text(layout(first_interrupt()))
    assert "①▼ i=51 line mtip raised in A 3/7" in text
    assert "①✕ i=55 B refused 0/1" in text
    assert "①◆ i=55 taken, mepc=B" in text


def test_a_box_is_as_wide_as_its_instructions_and_chained_boxes_touch():
    picture = layout(first_interrupt())
    a, b, c = boxes(picture, "A")[0], boxes(picture, "B")[0], boxes(picture, "C")[0]
    assert a.w / a.count == pytest.approx(b.w / b.count, abs=0.02)
    assert a.w / a.count == pytest.approx(c.w / c.count, abs=0.02)
    row = sorted(of(picture, shapes.Box), key=lambda box: box.x)
    chained_seams = [seam for seam in of(picture, shapes.Seam) if seam.kind == "chained"]
    ends = {round(box.x + box.w, 1) for box in row}
    for seam in chained_seams:
        assert any(abs(seam.x - end) < 0.1 for end in ends)


def test_every_visit_to_the_loop_is_a_gutter_of_the_same_width():
    picture = layout(first_interrupt())
    gutters = of(picture, shapes.Gutter)
    assert len(gutters) == 6
    assert len({gutter.w for gutter in gutters}) == 1


def test_the_refused_block_is_a_ghost_with_an_arc_to_its_next_real_run():
    picture = layout(first_interrupt())
    (ghost,) = of(picture, shapes.Ghost)
    assert (ghost.name, ghost.caption) == ("B", "0/1")
    (arc,) = of(picture, shapes.Arc)
    assert arc.label == "same host address"
    later = [box for box in boxes(picture, "B") if box.x > ghost.x]
    assert later[0].x <= arc.x + arc.w <= later[0].x + later[0].w


def test_one_interrupt_is_one_number_and_one_polyline():
    picture = layout(first_interrupt())
    for kind in ("raised", "flag", "refused", "taken"):
        assert [mark.numbers for mark in marks(picture, kind)] == [(1,)]
    (route,) = [r for r in of(picture, shapes.Route) if not r.dotted]
    for kind in ("raised", "flag", "refused", "taken"):
        mark = marks(picture, kind)[0]
        assert (mark.x, mark.y) in route.points
    (bracket,) = of(picture, shapes.Bracket)
    assert bracket.label == "4 instructions · 1 block"
    assert bracket.number == 1


def test_noticed_by_the_loop_there_is_no_refusal():
    picture = layout(STORIES["by_the_loop"]())
    assert not marks(picture, "refused")
    assert not of(picture, shapes.Ghost)
    assert [mark.numbers for mark in marks(picture, "taken")] == [(1,)]


def test_masked_it_is_looked_at_and_the_flag_drops_while_the_line_stays_high():
    picture = layout(STORIES["masked"]())
    (looked,) = marks(picture, "looked")
    (taken,) = marks(picture, "taken")
    (line,) = of(picture, shapes.Bar)
    (flag,) = [strip for strip in of(picture, shapes.Strip) if strip.row == "exit flag"]
    assert flag.x + flag.w <= looked.x < taken.x < line.x + line.w
    enabled = [strip for strip in of(picture, shapes.Strip) if strip.row == "enabled"]
    assert not any(strip.x <= looked.x <= strip.x + strip.w for strip in enabled)


def test_a_deadline_cut_has_a_saw_edge_and_a_ghost_without_a_number():
    picture = layout(STORIES["deadline"]())
    (cut,) = [box for box in of(picture, shapes.Box) if box.edge == "saw"]
    assert cut.name == "A[2/7]"
    (scissors,) = marks(picture, "cut")
    assert scissors.x == pytest.approx(cut.x + cut.done, abs=0.1)
    assert [mark.numbers for mark in marks(picture, "refused")] == [()]


def test_a_rewound_block_is_hollow_after_the_access():
    picture = layout(STORIES["io_recompile"]())
    (hollow,) = [box for box in of(picture, shapes.Box) if box.done < box.w - 0.1]
    assert (hollow.name, hollow.caption) == ("A", "3/7")
    (rewound,) = marks(picture, "rewound")
    assert rewound.x == pytest.approx(hollow.x + hollow.done, abs=0.1)


def test_an_expected_exception_ends_the_block_and_sets_no_flag():
    picture = layout(STORIES["ecall"]())
    (square,) = marks(picture, "expected")
    (stopped,) = [box for box in of(picture, shapes.Box) if box.executed < box.count]
    assert square.x == pytest.approx(stopped.x + stopped.done, abs=0.1)
    assert not marks(picture, "flag")
    assert not marks(picture, "refused")


def test_an_unexpected_exception_is_tied_to_what_was_restored():
    picture = layout(STORIES["fault"]())
    (bolt,) = marks(picture, "unexpected")
    (tie,) = [tie for tie in of(picture, shapes.Tie) if tie.dashed]
    assert tie.x == pytest.approx(bolt.x, abs=0.1)
    texts = [text.text for text in of(picture, shapes.Text)]
    assert "host 0x7f1234a6 → guest 0x80000048 · load access fault" in texts


def test_a_block_translated_again_keeps_its_letter_with_a_prime():
    picture = layout(STORIES["selfmod"]())
    assert boxes(picture, "A")
    assert boxes(picture, "A′")
    assert boxes(picture, "A")[0].colour == boxes(picture, "A′")[0].colour
    assert "A dropped: its code at 0x80000044 changed" in to_text(picture)


def test_handlers_are_bands_by_depth():
    picture = layout(STORIES["nested"]())
    outer, inner = of(picture, shapes.Band)
    assert (outer.depth, inner.depth) == (1, 2)
    assert outer.x < inner.x
    assert inner.x + inner.w < outer.x + outer.w


def test_patching_is_shown_once_on_the_stem():
    picture = layout(first_interrupt())
    assert sum(stem.patched for stem in of(picture, shapes.Stem)) == 3


def test_hundreds_of_blocks_are_run_length_coded_and_broken_at_each_mark():
    picture = layout(STORIES["repeats"]())
    assert picture.mode == "folded"
    assert [fold.times for fold in of(picture, shapes.Fold)] == [100, 100, 100, 100]
    assert "(▶A ▶B) × 100" in to_text(picture)
    assert len(marks(picture, "taken")) == 3


def test_ten_thousand_blocks_are_density_columns_and_no_mark_is_lost():
    picture = layout(crowd())
    assert picture.mode == "density"
    for kind in ("raised", "flag", "refused", "taken"):
        assert sum(mark.times for mark in marks(picture, kind)) == 40
    columns = {c.name for c in of(picture, shapes.Columns) if not c.role}
    assert len(columns) <= 6
    assert node_count(picture) <= NODES


def test_around_a_mark_the_whole_way_of_its_interrupt_is_shown():
    events = crowd()
    everything = layout(events)
    for k, mark in enumerate(everything.marks):
        if mark.number in (3, 38):
            zoomed = layout(events, window=k)
            assert zoomed.mode == "single"
            for kind in ("raised", "flag", "refused", "taken"):
                assert (mark.number,) in [m.numbers for m in marks(zoomed, kind)]
            assert of(zoomed, shapes.Frame), "the minimap shows where we are"
            assert zoomed.marks[k].shown


def test_a_window_of_instructions_shows_those():
    picture = layout(first_interrupt(), window=(15, 31))
    assert picture.window == (15, 31)
    assert [box.name for box in of(picture, shapes.Box)] == ["B", "A", "B", "A"][-4:]


def test_lost_blocks_are_said():
    tape = Tape()
    warm(tape, 1)
    tape.insns += 5000
    chained(tape, 1)
    picture = layout(tape.events)
    assert [gutter.kind for gutter in of(picture, shapes.Gutter)].count("gap") == 1
    assert "… 5,000 instructions not recorded" in to_text(picture)


def test_tasks_are_a_strip_on_top():
    tasks = {"one": (0x8000_0040, 0x8000_005C), "two": (0x8000_005C, 0x8000_0060)}
    picture = layout(first_interrupt(), tasks=tasks, window=(0, 30))
    strips = [strip for strip in of(picture, shapes.Strip) if strip.row == "task"]
    assert {strip.colour for strip in strips} == {0, 1}
    device = next(text for text in of(picture, shapes.Text) if text.text == "DEVICE")
    assert all(strip.y + strip.h < device.y for strip in strips)


def test_letters_survive_when_older_events_are_gone():
    letters = Letters()
    events = first_interrupt()
    before = layout(events, letters=letters)
    after = layout(events[-6:], letters=letters)
    assert after.names.items() <= before.names.items()


def test_without_counting_nothing_breaks():
    events = [
        type(e)(**{n: getattr(e, n) for n in e.__dataclass_fields__} | {"insns": None})
        for e in first_interrupt()
    ]
    text = to_text(layout(events))
    assert "①▼ i=~48 line mtip raised in A" in text
    assert "①◆" in text


def test_nothing_recorded_is_said():
    assert layout([]).mode == "empty"
    assert layout(first_interrupt(), window=(10_000, 10_001)).mode == "empty"


@pytest.mark.parametrize(
    "options", [{"window": 99}, {"window": (5, 1)}, {"width": 3}, {"scale": 99}]
)
def test_bad_options_are_one_line_errors(options):
    with pytest.raises(UsageError) as caught:
        layout(first_interrupt(), **options)
    assert "\n" not in str(caught.value)


def test_legend_shows_what_is_asked_for():
    some = legend(["block", "raised"])
    assert some.text == (
        "block: a block that ran; its width is its instructions",
        "raised: a device raised its line",
    )
    assert len(legend("all").text) > len(legend().text)
    assert 'style="max-width:100%;height:auto"' in to_svg(legend())
    with pytest.raises(UsageError, match="no sign 'nope'"):
        legend(["nope"])


def test_letters_and_colours():
    assert [theme.letter(k) for k in (0, 25, 26, 51, 52, 701, 702)] == [
        "A", "Z", "AA", "AZ", "BA", "ZZ", "AAA",
    ]  # fmt: skip
    assert theme.block_style(0).hatch == ""
    assert theme.block_style(8).hatch
    assert theme.block_style(8).fill == theme.block_style(0).fill
    assert len({theme.block_style(k) for k in range(48)}) == 48


def test_fold_finds_the_longest_cover():
    assert fold(list("abcabcabcabcx")) == [Repeat(0, 3, 4), Repeat(12, 1, 1)]
    assert fold([None, None, None, None]) == [Repeat(k, 1, 1) for k in range(4)]
    assert fold([]) == []


# Legibility: of every picture and every window around a mark


def pictures() -> list[tuple[str, Layout]]:
    found = []
    for name, story in [*STORIES.items(), ("crowd", crowd), ("far", far)]:
        events = story()
        whole = layout(events)
        found += [(name, whole), (f"{name} large", layout(events, scale=1.7))]
        found.append((f"{name} saved", overview(events, title="a guest with a name")))
        step = max(len(whole.marks) // 6, 1)
        for k in range(0, len(whole.marks), step):
            found.append((f"{name} mark {k}", layout(events, window=k)))
    found += [("legend", legend()), ("whole legend", legend("all", width=700))]
    return found


PICTURES = pictures()


@pytest.mark.parametrize(("name", "picture"), PICTURES, ids=[name for name, _ in PICTURES])
def test_texts_are_large_inside_the_picture_and_do_not_overlap(name, picture):
    labels = []
    for shape in picture.shapes:
        for p in draw(shape):
            if isinstance(p, Label):
                wide = text_width(p.text, p.size, p.bold) * 0.93
                left = p.x - {"start": 0, "middle": wide / 2, "end": wide}[p.anchor]
                labels.append((left, p.y - p.size * 0.73, left + wide, p.y, p))
    for left, top, right, bottom, p in labels:
        assert p.size >= 12, p
        assert 0 <= left <= right <= picture.width + 1, p
        assert 0 <= top <= bottom <= picture.height, p
    for a, b in combinations(labels, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"{a[4].text!r} at {a[:4]} overlaps {b[4].text!r} at {b[:4]}"


@pytest.mark.parametrize(("name", "picture"), PICTURES, ids=[name for name, _ in PICTURES])
def test_svg_is_valid_and_small_enough(name, picture):
    svg = to_svg(picture)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert len(list(root.iter())) <= NODES
    assert node_count(picture) >= len(list(root.iter())) - 10
    assert not re.search(r"https?://(?!www\.w3\.org)", svg), "nothing from anywhere else"


def test_a_long_handler_is_left_out_around_a_mark_but_not_from_the_text():
    tape = Tape()
    warm(tape)
    start = tape.run(1)
    tape.kick("mtip", start + 3)
    tape.refuse(2)
    tape.take(7, 0x8000_005C)
    for k in range(20):
        tape.translate(30 + k, 0x8000_0400 + 16 * k, 4)
        tape.run(30 + k, "loop")
        tape.leave("slot", 30 + k, 0)
    handler(tape)
    picture = layout(tape.events, window=-1)
    (skip,) = of(picture, shapes.Skip)
    assert skip.blocks == 18
    assert skip.insns == 72
    assert len(of(picture, shapes.Arc)) == 1
    assert "○T" in to_text(picture)
    assert not of(layout(tape.events), shapes.Skip)


def test_a_machine_says_that_it_left_the_code_before_it_says_which_block_refused():
    turned = first_interrupt()
    at = next(k for k, e in enumerate(turned) if isinstance(e, ev.Refused))
    turned[at : at + 2] = [turned[at + 1], turned[at]]
    assert layout(turned).shapes == layout(first_interrupt()).shapes


def test_what_happens_before_the_first_reset_is_not_told():
    tape = Tape()
    tape.add(ev.BlocksFlushed, why="mechanisms changed")
    tape.kick("mtip")
    warm(tape)
    picture = layout(tape.events)
    assert [mark.kind for mark in picture.marks] == ["reset"]
    assert of(picture, shapes.Bar), "the line is high all the same"


def test_a_pending_request_that_is_looked_at_again_and_again_is_one_mark():
    tape = Tape()
    warm(tape, 1)
    tape.kick("mtip")
    tape.refuse(1)
    tape.add(ev.FlagCleared)
    for _ in range(5):
        tape.add(ev.InterruptLooked, pending=0x80, enabled=0)
        tape.run(1, "loop")
        tape.leave("none", 1)
    picture = layout(tape.events)
    assert [mark.kind for mark in picture.marks].count("looked") == 1
    assert [step.name for step in of(picture, shapes.Step)].count("I") == 4


def test_device_registers_have_their_names():
    tape = Tape()
    warm(tape, 1)
    for device, offset, value, write in (
        ("clint", 0x4000, 0x3E8, True), ("uart", 0, 120, True), ("plic", 4, 1, False),
    ):  # fmt: skip
        at = tape.run(1)
        tape.add(
            ev.DeviceAccess, at, device=device, offset=offset, size=4, value=value, write=write
        )
    texts = {text.text for text in of(layout(tape.events), shapes.Text)}
    assert {"mtimecmp ← 0x3e8", 'uart ← "x"', "plic+0x4 → 1"} <= texts


def node_count(picture: Layout) -> int:
    return nodes(picture.shapes)


def test_a_second_interrupt_has_the_next_number():
    tape = Tape()
    warm(tape)
    for first in (True, False):
        start = tape.run(1)
        tape.kick("mtip", start + 3)
        tape.refuse(2)
        tape.take(7, 0x8000_005C)
        handler(tape, first=first)
    numbers = [info.number for info in layout(tape.events).marks if info.kind == "taken"]
    assert numbers == [1, 2]


def test_events_of_another_hart_are_left_out():
    other = ev.FlagCleared(insns=1, time=0.0, ring=0, hart=1)
    assert layout([*first_interrupt(), other]).shapes == layout(first_interrupt()).shapes

"""Below the loop: helpers, the ways of the interrupts, their brackets, and the axis."""

from __future__ import annotations

from dataclasses import dataclass

from tcglite.lab.timeline.canvas import HELPER_MARKS, mark_row
from tcglite.lab.timeline.lanes import Lanes
from tcglite.lab.timeline.metrics import fitting, number_text, text_width
from tcglite.lab.timeline.shapes import Bracket, Mark, Route, Tick, Tie
from tcglite.lab.timeline.story import Gap, Ghost, Journey, Note, Run, distance, latency_text
from tcglite.lab.timeline.story import Mark as StoryMark

ROWS = 4  # so many rows of texts at most in the HELPERS lane; the text twin has them all
LABELS = 3  # so many rows of brackets


@dataclass(slots=True)
class _Rows:
    """Rows of intervals that must not touch."""

    left: float
    right: float
    most: int
    used: list[list[tuple[float, float]]]

    def free(self, row: int, start: float, stop: float) -> bool:
        if row >= len(self.used):
            return True
        return all(stop <= a or start >= b for a, b in self.used[row])

    def take(self, start: float, stop: float, most: int | None = None) -> int | None:
        """The first of ``most`` rows that is free there; None if there is none."""
        for row in range(self.most if most is None else most):
            if self.free(row, start, stop):
                while len(self.used) <= row:
                    self.used.append([])
                self.used[row].append((start, stop))
                return row
        return None


def helpers(lanes: Lanes) -> None:
    """Traps and restored states tied to their blocks, device accesses, and what else happened."""
    m, c = lanes.m, lanes.c
    c.lane("HELPERS", "RESTORE")
    top = c.y
    height = m(19)
    rows = _Rows(lanes.p.left, lanes.p.right, ROWS, [[]])
    c.rows["helpers"] = top + m(14)
    base = c.rows["helpers"] + m(4)
    details = [mark for mark in lanes.marks if mark.kind in HELPER_MARKS]
    signs, _ = mark_row(
        m, 0.0, [(lanes.p.x_clamped(k.at, lanes.story), k) for k in details],
        lanes.p.left, lanes.p.right,
    )  # fmt: skip
    for sign in signs:
        rows.used[0].append((sign.x - m.sign - m(2), sign.x + m.sign + m(2)))
    for sign, mark in _single(signs, details):
        start = sign.x + m.sign + m(2)
        stop = start + text_width(mark.detail, m.small) + m(6)
        if mark.detail and rows.free(0, start + m(1), stop) and stop <= lanes.p.right:
            rows.used[0].append((start, stop))
            c.text(start + m(2), base, mark.detail)
    for notes in _ties(lanes).values():
        text = " · ".join(note.text for note in notes)
        x = lanes.p.x_clamped(notes[0].at, lanes.story)
        text = fitting(text, m.small, lanes.p.right - lanes.p.left)
        wide = text_width(text, m.small)
        left = max(min(x - wide / 2, lanes.p.right - wide), lanes.p.left)
        row = rows.take(left - m(4), left + wide + m(4))
        if row is None:
            continue
        c.text(left, base + row * height, text, halo=True)
        restored = any(note.kind == "restored" for note in notes)
        start = lanes.box_y + m.box
        stop = base + row * height - m(12)
        c.middle.append(Tie(x=x, y=start, w=0.0, h=stop - start, dashed=restored))
    _devices(lanes, rows, base, height)
    c.y = top + max(len(rows.used), 2) * height + m(8)


def _single(signs: list[Mark], marks: list[StoryMark]) -> list[tuple[Mark, StoryMark]]:
    """The signs that stand for one mark each, with that mark."""
    found = []
    remaining = list(marks)
    for sign in signs:
        mine = [mark for mark in remaining if mark.kind == sign.kind][: sign.times]
        for mark in mine:
            remaining.remove(mark)
        if sign.times == 1:
            found.append((sign, mine[0]))
    return found


def _ties(lanes: Lanes) -> dict[tuple[int, float], list[Note]]:
    found: dict[tuple[int, float], list[Note]] = {}
    for note in lanes.story.notes:
        if note.kind in ("restored", "trap") and note.at.part in lanes.p.at:
            found.setdefault((note.at.part, note.at.offset), []).append(note)
    return found


def _devices(lanes: Lanes, rows: _Rows, base: float, height: float) -> None:
    """A square for each device access, with its text where there is room."""
    m, c = lanes.m, lanes.c
    last = None
    for note in lanes.story.notes:
        if note.kind not in ("device", "woken") or note.at.part not in lanes.p.at:
            continue
        x = lanes.p.x_clamped(note.at, lanes.story)
        if last is not None and x - last < m(14):
            continue
        half = m(6)
        full = x + half + m(4) + text_width(note.text, m.small) + m(6)
        row = rows.take(x - half, full, most=2) if full <= lanes.p.right + m(8) else None
        if row is not None:
            c.text(x + half + m(3), base + row * height, note.text, role="muted", halo=True)
        else:
            row = rows.take(x - half, x + half, most=2)
        if row is not None and note.kind == "device":
            y = base + row * height - m(4)
            c.middle.append(Mark(x=x, y=y, kind="device", size=m(6), font=m.small))
            start = lanes.box_y + m.box
            c.back.append(Tie(x=x, y=start, w=0.0, h=y - m(6) - start, dashed=True))
        last = x


def routes(lanes: Lanes) -> None:
    """One polyline for each interrupt, from raised over flag and refused to taken."""
    for journey in lanes.story.journeys:
        marks = [lanes.story.marks[k] for k in journey.marks]
        spots = [(mark, lanes.spots[id(mark)]) for mark in marks if id(mark) in lanes.spots]
        if not spots:
            continue
        points: list[tuple[float, float]] = []
        previous = ""
        if entry := _entry(lanes, journey, marks):
            points, previous = [entry], "earlier"
        for mark, (x, y) in spots:
            if not points:
                points.append((x, y))
                previous = mark.kind
                continue
            if (x, y) == points[-1]:
                continue
            if previous == "flag":  # on from the foot of its pole, below its cloth
                points.append((points[-1][0], points[-1][1] + lanes.m(7)))
            last_x, last_y = points[-1]
            if last_x != x and last_y != y:
                # A refused block's ✕ leaves downwards, everything else along its own row.
                points.append((last_x, y) if previous == "refused" else (x, last_y))
            points.append((x, y))
            previous = mark.kind
        if len(points) > 1:
            lanes.c.middle.append(_route(lanes, journey.number, points))
        raised, (x, y) = spots[0]
        part = lanes.story.parts[raised.at.part]
        if raised.kind == "raised" and isinstance(part, Run) and len(spots) > 1:
            exact = lanes.p.x_clamped(raised.at, lanes.story)
            if abs(exact - x) < lanes.m(1):
                down = [(x, max(spots[1][1][1], y)), (x, lanes.box_y)]
                lanes.c.middle.append(_route(lanes, journey.number, down, dotted=True))


def _entry(
    lanes: Lanes, journey: Journey, marks: list[StoryMark]
) -> tuple[float, float] | None:
    """Where the way of an interrupt comes in that was raised before this window: at the left, in
    the row of its last mark there."""
    if marks[0].at.part >= lanes.p.parts.start:
        return None
    earlier = [mark for mark in marks if mark.at.part < lanes.p.parts.start]
    rows = lanes.c.rows
    y = {"flag": rows["exit flag"] + lanes.m(3), "looked": rows["I"]}.get(
        earlier[-1].kind, rows.get(f"line {earlier[0].lane}", rows["exit flag"])
    )
    return (lanes.p.left, y)


def _route(
    lanes: Lanes, number: int, points: list[tuple[float, float]], dotted: bool = False
) -> Route:
    rounded = tuple((round(x, 2), round(y, 2)) for x, y in points)
    return Route(x=rounded[0][0], y=rounded[0][1], number=number, points=rounded,
                 dotted=dotted, line=lanes.m(2.6))


def brackets(lanes: Lanes) -> None:
    """Below each interrupt that was raised and taken here: how long it waited."""
    m, c = lanes.m, lanes.c
    rows = _Rows(lanes.p.left, lanes.p.right, LABELS, [])
    for journey in lanes.story.journeys:
        found = distance(lanes.story, journey)
        if found is None:
            continue
        raised, taken, insns, blocks = found
        earlier = raised.at.part < lanes.p.parts.start
        if not (earlier or id(raised) in lanes.spots) or id(taken) not in lanes.spots:
            continue
        start = lanes.p.left if earlier else lanes.spots[id(raised)][0]
        stop = lanes.spots[id(taken)][0]
        label = latency_text(insns, blocks)
        wide = text_width(label, m.normal, bold=True) + 2 * m.badge + m(8)
        middle = (start + stop) / 2
        left = min(start, middle - wide / 2)
        right = max(stop, middle + wide / 2)
        if right > lanes.c.width - m(4):
            left -= right - (lanes.c.width - m(4))
        row = rows.take(left - m(6), right + m(6))
        if row is None:
            continue
        c.front.append(
            Bracket(
                x=start, y=c.y + row * m(32) + m(2), w=max(stop - start, m(2)), h=m(9),
                label=label, number=journey.number, size=m.normal, earlier=earlier,
            )
        )  # fmt: skip
    if rows.used:
        c.y += len(rows.used) * m(32) + m(4)


def axis(lanes: Lanes) -> None:
    """Instruction numbers: where interrupts were raised first, then where blocks begin."""
    m, c = lanes.m, lanes.c
    c.lane()
    y = c.y
    c.text(m(8), y + m(20), "instructions →", role="muted")
    wanted: list[tuple[float, int]] = []
    for mark in lanes.marks:
        if mark.kind == "raised" and isinstance(lanes.story.parts[mark.at.part], Run | Gap):
            wanted.append((lanes.p.x_clamped(mark.at, lanes.story), mark.at.i))
    for number, x, _ in lanes.shown():
        part = lanes.story.parts[number]
        if isinstance(part, Run | Ghost | Gap):
            wanted.append((x, part.i))
    if len(lanes.p.parts):
        last = lanes.story.parts[lanes.p.parts.stop - 1]
        if isinstance(last, Run | Gap):
            wanted.append((lanes.p.right, last.i + lanes.story.insns(last)))
    rows = _Rows(lanes.p.left, lanes.p.right, 1, [])
    for x, i in wanted:
        label = number_text(i)
        half = text_width(label, m.small) / 2
        middle = min(x, c.width - m(5) - half)
        if rows.take(middle - half - m(5), middle + half + m(5)) is not None:
            c.middle.append(Tick(x=x, y=y, h=m(6), label=label, size=m.small, shift=middle - x))
    c.y += m(28)

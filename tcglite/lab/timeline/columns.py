"""Many blocks at once: one axis for all of them, and how often each ran, in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tcglite.lab.theme import letter
from tcglite.lab.timeline.canvas import Canvas
from tcglite.lab.timeline.glyphs import SIGNS
from tcglite.lab.timeline.metrics import Metrics, fitting, number_text, text_width
from tcglite.lab.timeline.shapes import Columns, Frame, Lost, Tally, Tick
from tcglite.lab.timeline.story import Gap, Point, Run, Story
from tcglite.lab.timeline.twin import totals

TOP = 6  # so many blocks have their own colour; the others are grey
LOST = 0.3  # at most this part of the width shows what was not recorded
MINIMAP = 160  # columns

Box = tuple[float, float, float, float]


@dataclass(slots=True)
class Stretch:
    """Parts from number ``start`` on, all recorded or all lost: instructions ``first`` to before
    ``stop`` on the pixels ``x`` to ``x + w``."""

    start: int
    lost: bool
    first: int
    stop: int
    blocks: int | None = 0
    gaps: int = 0
    x: float = 0.0
    w: float = 0.0

    @property
    def insns(self) -> int:
        return self.stop - self.first


class Axis:
    """Guest instructions on pixels, without gutters. What was recorded has one scale; what was
    not, beyond :data:`LOST` of the width, is compressed, but never under ``least`` pixels."""

    def __init__(
        self, story: Story, parts: range, left: float, width: float, least: float
    ) -> None:
        self.story, self.parts, self.left, self.width = story, parts, left, width
        self.stretches = self._stretches()
        self._share(least)
        self.recorded = sum(s.insns for s in self.stretches if not s.lost)
        self.xs = self._starts()

    def _stretches(self) -> list[Stretch]:
        found: list[Stretch] = []
        last = Stretch(-1, False, -1, -1)
        for number in self.parts:
            part = self.story.parts[number]
            if isinstance(part, Run):
                lost, insns = False, part.executed
            elif isinstance(part, Gap):
                lost, insns = True, part.lost
            else:
                continue
            if last.stop != part.i or last.lost != lost:
                last = Stretch(number, lost, part.i, part.i)
                found.append(last)
            last.stop += insns
            if isinstance(part, Gap):
                last.gaps += 1
                last.blocks = (
                    None if last.blocks is None or part.blocks is None
                    else last.blocks + part.blocks
                )  # fmt: skip
        return found

    def _share(self, least: float) -> None:
        """Give each stretch its pixels."""
        gone = [s for s in self.stretches if s.lost]
        there = [s for s in self.stretches if not s.lost]
        missing = sum(s.insns for s in gone)
        kept = sum(s.insns for s in there)
        if gone and kept:
            share = min(missing / (missing + kept), LOST)
            least = min(least, LOST * self.width / len(gone))
            for s in gone:
                part = s.insns / missing if missing else 0
                s.w = max(share * self.width * part, least)
        elif gone:
            for s in gone:
                s.w = self.width * (s.insns / missing if missing else 1 / len(gone))
        room = self.width - sum(s.w for s in gone)
        for s in there:
            s.w = room * (s.insns / kept if kept else 1 / len(there))
        x = self.left
        for s in self.stretches:
            s.x = x
            x += s.w

    def _starts(self) -> list[float]:
        """Where each part of the story begins, and where the last one ends."""
        parts = self.story.parts
        xs = [self.left] * self.parts.start
        x = self.left
        after = [stretch.start for stretch in self.stretches[1:]] + [self.parts.stop]
        for stretch, stop in zip(self.stretches, after, strict=False):
            xs += [x] * (stretch.start - len(xs))
            x = stretch.x
            scale = stretch.w / stretch.insns if stretch.insns else 0.0
            bare = stretch.w / stretch.gaps if stretch.lost and not stretch.insns else 0.0
            for number in range(stretch.start, stop):
                xs.append(x)
                part = parts[number]
                if isinstance(part, Run):
                    x += part.executed * scale
                elif isinstance(part, Gap):  # perhaps nobody counted instructions
                    x += part.lost * scale + bare
        return xs + [x] * (len(parts) + 1 - len(xs))

    def x(self, point: Point) -> float:
        """The pixel of a point."""
        start, stop = self.xs[point.part], self.xs[point.part + 1]
        insns = self.story.insns(self.story.parts[point.part])
        return start + (stop - start) * min(point.offset / insns, 1) if insns else start

    def compressed(self, stretch: Stretch) -> bool:
        """Is its scale another one than that of what was recorded?"""
        if not (stretch.lost and self.recorded):
            return False
        scale = next(s.w / s.insns for s in self.stretches if not s.lost and s.insns)
        return not stretch.insns or abs(stretch.w / stretch.insns / scale - 1) > 0.05

    def ticks(self, m: Metrics, y: float, right: float) -> list[Tick]:
        """Instruction numbers: those at which something begins or ends, then round ones; none is
        cut off at ``right``."""
        found: list[Tick] = []
        used: list[tuple[float, float]] = []

        def tick(x: float, i: int) -> None:
            label = number_text(i)
            wide = text_width(label, m.small)
            middle = min(x, right - wide / 2)
            start, stop = middle - wide / 2 - m(7), middle + wide / 2 + m(7)
            if all(stop <= a or start >= b for a, b in used):
                used.append((start, stop))
                found.append(
                    Tick(x=x, y=y, h=m(6), label=label, size=m.small, shift=middle - x)
                )  # fmt: skip

        ends = [(s.x, s.first) for s in self.stretches]
        if self.stretches:
            last = self.stretches[-1]
            ends.insert(1, (last.x + last.w, last.stop))
        for x, i in ends:
            tick(x, i)
        for s in self.stretches:
            if not s.insns or s.w < m(1):
                continue
            step = round_step(s.insns * m(84) / s.w)
            for i in range(-(-s.first // step) * step, s.stop, step):
                tick(s.x + s.w * (i - s.first) / s.insns, i)
        return sorted(found, key=lambda t: t.x)

    def holes(self, m: Metrics, y: float, h: float, said: bool = True) -> list[Lost]:
        """What was not recorded, as shapes; ``said``: with words, as far as they fit."""
        found = []
        for s in self.stretches:
            if not s.lost or s.w < 0.5:
                continue
            words = ["not recorded"]
            words.append(f"{s.blocks:,} blocks" if s.blocks is not None else f"{s.insns:,} instr.")
            words += ["not to scale"] * self.compressed(s)
            texts = [fitting(word, m.small, s.w - m(10), bold=k < 1)
                     for k, word in enumerate(words)] if said else []  # fmt: skip
            fits = all(text and not text.endswith("…") for text in texts)
            found.append(
                Lost(
                    x=s.x, y=y, w=s.w, h=h, blocks=s.blocks, insns=s.insns,
                    lines=tuple(texts) if fits else (), size=m.small,
                )
            )  # fmt: skip
        return found


def round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that is not below ``least``."""
    unit = 1
    while unit * 10 < least:
        unit *= 10
    return next(unit * k for k in (1, 2, 5, 10) if unit * k >= least)


def most_run(story: Story, parts: range) -> list[tuple[int, int]]:
    """The blocks (number behind the letter, instructions), most instructions first, at most
    :data:`TOP`."""
    by_tb: Counter[int] = Counter()
    for number in parts:
        part = story.parts[number]
        if isinstance(part, Run):
            by_tb[part.tb] += part.executed
    executed: Counter[int] = Counter()
    for tb, insns in by_tb.items():
        executed[story.letters.index(tb)] += insns
    ranked = sorted(executed.items(), key=lambda item: (-item[1], item[0]))
    return [item for item in ranked[:TOP] if item[1]]


def block_columns(
    axis: Axis, ranked: list[tuple[int, int]], y: float, height: float, count: int
) -> list[Columns]:
    """One :class:`Columns` for each of the most run blocks, and one for all others."""
    top = {index: rank for rank, (index, _) in enumerate(ranked)}
    story, parts = axis.story, axis.parts
    blocks = [part.tb for k in parts if isinstance(part := story.parts[k], Run)]
    if len(blocks) <= count:
        return _exact(axis, y, height, top)
    rank_of = {tb: top.get(story.letters.index(tb), TOP) for tb in set(blocks)}
    filled = [[0.0] * count for _ in range(TOP + 1)]
    per = axis.width / count
    xs, left = axis.xs, axis.left
    for number in parts:
        part = story.parts[number]
        if not isinstance(part, Run):
            continue
        row = filled[rank_of[part.tb]]
        start, stop = (xs[number] - left) / per, (xs[number + 1] - left) / per
        column = min(int(start), count - 1)
        while stop > column + 1 and column < count - 1:
            row[column] += column + 1 - start
            column += 1
            start = column
        row[column] += stop - start
    full = [sum(column) for column in zip(*filled, strict=True)]
    floor = [y + height] * count
    out = []
    for rank in range(TOP + 1):
        rects: list[Box] = []
        for column, amount in enumerate(filled[rank]):
            tall = height * amount / full[column] if full[column] > 0.02 else 0
            if tall < 0.05:
                continue
            floor[column] -= tall
            x = left + column * per
            box = (round(x, 2), round(floor[column], 2), round(per, 2), round(tall, 2))
            if rects and _joins(rects[-1], box):
                last = rects[-1]
                box = (last[0], last[1], round(box[0] + box[2] - last[0], 2), last[3])
                rects[-1] = box
            else:
                rects.append(box)
        if rects:
            index = next((i for i, r in top.items() if r == rank), -1)
            out.append(_columns(axis, y, height, index, rects))
    return out


def _exact(axis: Axis, y: float, height: float, top: dict[int, int]) -> list[Columns]:
    """Few blocks: each as a rectangle of its own width."""
    rects: dict[int, list[Box]] = {}
    for number in axis.parts:
        part = axis.story.parts[number]
        if isinstance(part, Run) and part.executed:
            index = axis.story.letters.index(part.tb)
            start = axis.xs[number]
            box = (round(start, 2), y, round(axis.xs[number + 1] - start, 2), height)
            rects.setdefault(index if index in top else -1, []).append(box)
    return [_columns(axis, y, height, index, found) for index, found in sorted(rects.items())]


def _columns(axis: Axis, y: float, height: float, index: int, rects: list[Box]) -> Columns:
    name, role = (letter(index), "") if index >= 0 else ("others", "faint")
    return Columns(
        x=axis.left, y=y, w=axis.width, h=height, name=name, colour=max(index, 0),
        rects=tuple(rects), role=role,
    )  # fmt: skip


def _joins(a: Box, b: Box) -> bool:
    return abs(a[0] + a[2] - b[0]) < 0.05 and a[1] == b[1] and a[3] == b[3]


def counted_columns(
    axis: Axis, counts: Iterable[tuple[int, int]], y: float, height: float, count: int
) -> tuple[Columns | None, int]:
    """How often something happened in each column, from (part, times); the tallest is as high as
    the lane, and that number."""
    amounts = [0] * count
    for number, times in counts:
        column = int((axis.xs[number] - axis.left) / axis.width * count)
        amounts[min(max(column, 0), count - 1)] += times
    most = max(amounts, default=0)
    if not most:
        return None, 0
    step = axis.width / count
    rects = tuple(
        (
            round(axis.left + column * step, 2),
            round(y + height * (1 - n / most), 2),
            round(step, 2),
            round(height * n / most, 2),
        )
        for column, n in enumerate(amounts)
        if n
    )
    columns = Columns(
        x=axis.left, y=y, w=axis.width, h=height, name="visits", colour=0, rects=rects, role="on"
    )
    return columns, most


def interval_columns(
    intervals: Iterable[tuple[float, float]], y: float, height: float, name: str, role: str
) -> Columns | None:
    """Intervals in pixels as one shape; those closer than a pixel are joined."""
    joined: list[list[float]] = []
    for start, stop in sorted(intervals):
        stop = max(stop, start + 0.8)
        if joined and start <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], stop)
        else:
            joined.append([start, stop])
    if not joined:
        return None
    rects = tuple((round(a, 2), y, round(b - a, 2), height) for a, b in joined)
    return Columns(
        x=rects[0][0], y=y, w=round(joined[-1][1] - joined[0][0], 2), h=height, name=name,
        colour=0, rects=rects, role=role,
    )  # fmt: skip


def minimap(canvas: Canvas, story: Story, parts: range, right: float) -> None:
    """The whole recording in one strip, a frame around ``parts``, and each kind of mark with its
    count."""
    m, c = canvas.m, canvas
    c.lane("WHOLE RUN")
    c.y += m(6)
    everything = range(len(story.parts))
    axis = Axis(story, everything, m.names, right - m.names, least=m(8))
    height = m(18)
    c.middle += axis.holes(m, c.y, height, said=False)
    c.middle += block_columns(axis, most_run(story, everything), c.y, height, MINIMAP)
    spots = [axis.x(mark.at) for mark in story.marks if mark.kind == "taken"]
    taken = interval_columns(
        [(x - m(1), x + m(1)) for x in spots], c.y - m(4), height + m(8), "taken", "journey"
    )
    if taken:
        c.middle.append(taken)
    if len(parts) and len(parts) < len(everything):
        start, stop = axis.xs[parts.start], axis.xs[parts.stop]
        c.front.append(
            Frame(x=start - m(2), y=c.y - m(3), w=max(stop - start, m(3)) + m(4), h=height + m(6))
        )
    c.y += height + m(22)
    text = run_text(story)
    c.text(m.names, c.y, text, role="muted")
    x = m.names + text_width(text, m.small) + m(18)
    counts = Counter(mark.kind for mark in story.marks)
    for kind in SIGNS:
        if not counts[kind]:
            continue
        label = f"× {counts[kind]:,}"
        room = m(22) + text_width(label, m.small) + m(12)
        if x + room > right + m(10):
            x = m.names
            c.y += m(21)
        c.front.append(
            Tally(x=x + m(8), y=c.y - m(4), kind=kind, count=counts[kind], size=m.small)
        )
        x += room
    c.y += m(10)


def run_text(story: Story) -> str:
    """``1760 instructions · 445 blocks run · 30 loop visits``, and what was not recorded."""
    have = totals(story, range(len(story.parts)))
    blocks = number_text(have.runs + (have.blocks or 0))
    if have.blocks:
        blocks += f" blocks run ({number_text(have.runs)} recorded)"
    else:
        blocks += " blocks run"
    visits = "" if have.gaps and not have.visits else f" · {number_text(have.visits)} loop visits"
    return f"{number_text(have.insns)} instructions · {blocks}{visits}"

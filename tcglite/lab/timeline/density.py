"""Many blocks at once: how often each ran, in columns."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tcglite.lab.theme import letter
from tcglite.lab.timeline.shapes import Columns
from tcglite.lab.timeline.story import Point, Run, Story, Visit

TOP = 6  # so many blocks have their own colour; the others are grey


@dataclass(slots=True)
class Scale:
    """Executed instructions to pixels, without gutters and gaps."""

    left: float
    width: float
    starts: list[int]  # executed before each part of the story
    total: int

    def x(self, point: Point, story: Story) -> float:
        """The pixel of a point."""
        done = self.starts[point.part]
        if isinstance(story.parts[point.part], Run):
            done += int(point.offset)
        return self.at(done)

    def at(self, executed: int) -> float:
        """The pixel of a number of executed instructions."""
        return self.left + self.width * min(max(executed, 0), self.total) / max(self.total, 1)

    def insns(self, x: float, story: Story) -> int:
        """The guest's own count at a pixel."""
        done = round((x - self.left) / self.width * self.total)
        part = max(bisect_right(self.starts, done) - 1, 0)
        return story.parts[part].i + done - self.starts[part] if story.parts else 0


def scale(story: Story, parts: range, left: float, width: float) -> Scale:
    """All of ``parts`` over ``width`` pixels."""
    starts = []
    total = 0
    for number, part in enumerate(story.parts):
        starts.append(total)
        if number in parts and isinstance(part, Run):
            total += part.executed
    return Scale(left, width, starts, total)


def most_run(story: Story, parts: range) -> list[tuple[int, int]]:
    """The blocks (number behind the letter, instructions), most instructions first, at most
    :data:`TOP`."""
    executed: Counter[int] = Counter()
    for number in parts:
        part = story.parts[number]
        if isinstance(part, Run):
            executed[story.letters.index(part.tb)] += part.executed
    ranked = sorted(executed.items(), key=lambda item: (-item[1], item[0]))
    return [item for item in ranked[:TOP] if item[1]]


def block_columns(
    story: Story, parts: range, axis: Scale, y: float, height: float, count: int
) -> list[Columns]:
    """One :class:`Columns` for each of the most run blocks, and one for all others."""
    top = {index: rank for rank, (index, _) in enumerate(most_run(story, parts))}
    if sum(isinstance(story.parts[k], Run) for k in parts) <= count:
        return _exact(story, parts, axis, y, height, top)
    per = axis.total / count if axis.total else 1.0
    filled = [[0.0] * count for _ in range(TOP + 1)]
    for number in parts:
        part = story.parts[number]
        if not isinstance(part, Run) or not part.executed:
            continue
        rank = top.get(story.letters.index(part.tb), TOP)
        start = float(axis.starts[number])
        stop = start + part.executed
        column = int(start / per)
        while start < stop and column < count:
            edge = min(stop, (column + 1) * per)
            filled[rank][column] += max(edge - start, 0)
            start = max(edge, start)
            column += 1
    step = axis.width / count
    floor = [y + height] * count
    out = []
    for rank in range(TOP + 1):
        rects: list[tuple[float, float, float, float]] = []
        for column, amount in enumerate(filled[rank]):
            tall = height * min(amount / per, 1.0)
            if tall < 0.05:
                continue
            floor[column] -= tall
            x = axis.left + column * step
            box = (round(x, 2), round(floor[column], 2), round(step, 2), round(tall, 2))
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


def _exact(
    story: Story, parts: range, axis: Scale, y: float, height: float, top: dict[int, int]
) -> list[Columns]:
    """Few blocks: each as a rectangle of its own width."""
    rects: dict[int, list[tuple[float, float, float, float]]] = {}
    for number in parts:
        part = story.parts[number]
        if isinstance(part, Run) and part.executed:
            index = story.letters.index(part.tb)
            start = axis.at(axis.starts[number])
            wide = axis.at(axis.starts[number] + part.executed) - start
            box = (round(start, 2), y, round(wide, 2), height)
            rects.setdefault(index if index in top else -1, []).append(box)
    return [_columns(axis, y, height, index, found) for index, found in sorted(rects.items())]


def _columns(
    axis: Scale, y: float, height: float, index: int,
    rects: list[tuple[float, float, float, float]],
) -> Columns:  # fmt: skip
    name, role = (letter(index), "") if index >= 0 else ("others", "faint")
    return Columns(
        x=axis.left, y=y, w=axis.width, h=height, name=name, colour=max(index, 0),
        rects=tuple(rects), role=role,
    )  # fmt: skip


def _joins(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return abs(a[0] + a[2] - b[0]) < 0.05 and a[1] == b[1] and a[3] == b[3]


def visit_columns(
    story: Story, parts: range, axis: Scale, y: float, height: float, count: int
) -> tuple[Columns | None, int]:
    """How often the loop ran in each column, the tallest as high as the lane; and that number."""
    visits = [0] * count
    for number in parts:
        if isinstance(story.parts[number], Visit):
            column = int(axis.starts[number] / max(axis.total, 1) * count)
            visits[min(column, count - 1)] += 1
    most = max(visits, default=0)
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
        for column, n in enumerate(visits)
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

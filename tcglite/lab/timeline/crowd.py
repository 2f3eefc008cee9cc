"""The picture of very many blocks: density columns, and every mark still there, counted."""

from __future__ import annotations

from tcglite.lab.theme import letter
from tcglite.lab.timeline.bottom import number_text
from tcglite.lab.timeline.canvas import CODE_MARKS, HELPER_MARKS, LOOP_MARKS, Canvas, mark_row
from tcglite.lab.timeline.density import (
    Scale,
    block_columns,
    interval_columns,
    most_run,
    scale,
    visit_columns,
)
from tcglite.lab.timeline.metrics import Metrics, text_width
from tcglite.lab.timeline.minimap import minimap
from tcglite.lab.timeline.shapes import Columns, Rule, Shape, Tick
from tcglite.lab.timeline.story import Change, Point, Story

COLUMNS = 120
LINES = 6  # so many device lines have a row

Picture = tuple[tuple[Shape, ...], tuple[float, float], str]


def density(story: Story, parts: range, width: float, m: Metrics) -> Picture:
    """Columns of the most run blocks, with the same lanes as the picture of single blocks."""
    c = Canvas(m, width)
    left, right = m.names, width - m(26)
    axis = scale(story, parts, left, right - left)
    crowd = _Crowd(c, story, parts, axis, left, right)
    top = c.y
    _device(crowd)
    _request(crowd)
    _code(crowd)
    _loop(crowd)
    crowd.lane_marks(HELPER_MARKS, "HELPERS", "RESTORE")
    bands = interval_columns(
        (
            (crowd.x(band.start), right if band.end is None else crowd.x(band.end))
            for band in story.handlers
            if band.start.part < parts.stop and (band.end is None or band.end.part >= parts.start)
        ),
        top, c.y - top, "handlers", "band",
    )  # fmt: skip
    if bands:
        c.back.insert(0, bands)
    _axis(crowd)
    minimap(c, story, parts, right)
    return c.shapes(), (width, c.y), "density"


class _Crowd:
    def __init__(
        self, c: Canvas, story: Story, parts: range, axis: Scale, left: float, right: float
    ) -> None:
        self.c, self.story, self.parts, self.axis = c, story, parts, axis
        self.left, self.right = left, right

    def x(self, point: Point) -> float:
        return self.axis.x(point, self.story)

    def add(self, columns: Columns | None) -> None:
        if columns is not None:
            self.c.middle.append(columns)

    def level(self, changes: list[Change], row: str, y: float, role: str) -> None:
        """A row that is filled where its level is high."""
        c, m = self.c, self.c.m
        c.back.append(Rule(x=self.left, y=y + m(7), w=self.right - self.left))
        spans = []
        level = self.story.level_before(changes, row, self.parts.start)
        start = self.left
        for change in changes:
            if change.row != row or change.at.part not in self.parts:
                continue
            x = self.x(change.at)
            if level and not change.level:
                spans.append((start, x))
            elif change.level and not level:
                start = x
            level = change.level
        if level:
            spans.append((start, self.right))
        self.add(interval_columns(spans, y - m(5), m(12), row, role))

    def marks(self, *kinds: str) -> None:
        """A row of marks for each kind that there is."""
        c, m = self.c, self.c.m
        for kind in kinds:
            found = [
                (self.x(mark.at), mark)
                for mark in self.story.marks
                if mark.kind == kind and mark.at.part in self.parts
            ]
            if found:
                signs, _ = mark_row(m, c.y + m(11), found, self.left, self.right - m(8))
                c.front += signs
                c.y += m(22)

    def lane_marks(self, kinds: tuple[str, ...], *names: str) -> None:
        """A lane of marks only."""
        c, m = self.c, self.c.m
        c.lane(*names)
        start = c.y
        self.marks(*kinds)
        c.y = max(c.y, start + m(18) * len(names) + m(4))


def _device(crowd: _Crowd) -> None:
    c, m = crowd.c, crowd.c.m
    c.lane("DEVICE")
    start = c.y
    crowd.marks("raised")
    changes = [change for change in crowd.story.lines if change.at.part in crowd.parts]
    names = list(dict.fromkeys(change.row for change in changes))
    for name in names[:LINES]:
        crowd.level(crowd.story.lines, name, c.row(name, name, m(24)), "line")
    if len(names) > LINES:
        c.row("more", f"{len(names) - LINES} more lines", m(20))
    c.y = max(c.y, start + m(24))


def _request(crowd: _Crowd) -> None:
    c, m = crowd.c, crowd.c.m
    c.lane("REQUEST")
    crowd.marks("flag")
    for row in ("enabled", "exit flag"):
        crowd.level(crowd.story.strips, row, c.row(row, row, m(24)), "on")


def _code(crowd: _Crowd) -> None:
    c, m = crowd.c, crowd.c.m
    c.lane("GENERATED", "CODE")
    start = c.y
    crowd.marks("refused", *CODE_MARKS)
    _key(crowd)
    height = m(90)
    c.y = max(c.y, start + m(28))
    c.middle += block_columns(crowd.story, crowd.parts, crowd.axis, c.y, height, COLUMNS)
    c.y += height + m(8)


def _key(crowd: _Crowd) -> None:
    """Letter and share of each coloured block."""
    c, m = crowd.c, crowd.c.m
    x = crowd.left
    total = max(crowd.axis.total, 1)
    ranked = most_run(crowd.story, crowd.parts)
    entries = [(index, n / total) for index, n in ranked]
    rest = 1 - sum(share for _, share in entries)
    for index, share in [*entries, *([(-1, rest)] if rest > 0.0005 else [])]:
        name = letter(index) if index >= 0 else "others"
        label = f"{name}  {share:.0%}" if share >= 0.01 else f"{name}  < 1%"
        size = m(13)
        if x + m(19) + text_width(label, m.normal, bold=True) > crowd.right:
            x = crowd.left
            c.y += m(22)
        c.middle.append(
            Columns(
                x=x, y=c.y + m(5), w=size, h=size, name=name, colour=max(index, 0),
                rects=((x, c.y + m(5), size, size),), role="" if index >= 0 else "faint",
            )
        )  # fmt: skip
        c.text(x + m(19), c.y + m(16), label, m.normal, bold=True)
        x += m(19) + text_width(label, m.normal, bold=True) + m(18)
    c.y += m(26)


def _loop(crowd: _Crowd) -> None:
    c, m = crowd.c, crowd.c.m
    c.lane("LOOP")
    start = c.y
    crowd.marks(*LOOP_MARKS)
    height = m(36)
    y = c.y + m(6)
    columns, most = visit_columns(crowd.story, crowd.parts, crowd.axis, y, height, COLUMNS)
    crowd.add(columns)
    c.text(m.names - m(10), y + m(15), "visits", anchor="end", role="muted")
    c.text(m.names - m(10), y + m(31), f"most: {most:,}", anchor="end", role="muted")
    c.y = max(y + height, start + m(30)) + m(4)


def _axis(crowd: _Crowd) -> None:
    c, m = crowd.c, crowd.c.m
    c.lane()
    c.text(m(8), c.y + m(20), "instructions →", role="muted")
    end = crowd.left - m(8)
    for k in range(7):
        x = crowd.left + (crowd.right - crowd.left) * k / 6
        label = number_text(crowd.axis.insns(x, crowd.story))
        half = text_width(label, m.small) / 2
        if x - half > end:
            c.middle.append(Tick(x=x, y=c.y, h=m(6), label=label, size=m.small))
            end = x + half + m(8)
    c.y += m(28)


def empty(story: Story, width: float, m: Metrics) -> Picture:
    """Nothing happened, or not in this window."""
    c = Canvas(m, width)
    c.y += m(16)
    text = "Nothing recorded in this window." if story.parts else "Nothing recorded yet."
    c.text(m(12), c.y + m(10), text, m.normal, role="muted")
    c.y += m(30)
    if story.parts:
        minimap(c, story, range(0), width - m(26))
    return c.shapes(), (width, c.y), "empty"

"""The picture of very many blocks: density columns, and every mark still there, counted."""

from __future__ import annotations

from tcglite.lab.theme import letter
from tcglite.lab.timeline.canvas import (
    CODE_MARKS,
    HELPER_MARKS,
    LOOP_MARKS,
    Canvas,
    Tasks,
    mark_row,
    mark_shape,
    task_strips,
)
from tcglite.lab.timeline.columns import (
    Axis,
    block_columns,
    counted_columns,
    interval_columns,
    most_run,
)
from tcglite.lab.timeline.metrics import text_width
from tcglite.lab.timeline.shapes import Columns, Lost, Rule, Tie
from tcglite.lab.timeline.story import Change, Gap, Run, Story, Visit

COLUMNS = 120
LINES = 6  # so many device lines have a row
GROUPS = 8  # so many signs of one kind stand in a row; more are one sign and a strip


def density(canvas: Canvas, story: Story, parts: range, tasks: Tasks | None = None) -> Axis:
    """Columns of the most run blocks, with the same lanes as the picture of single blocks."""
    c, m = canvas, canvas.m
    left, right = m.names, c.width - m(26)
    crowd = _Crowd(c, story, parts, Axis(story, parts, left, right - left, least=m(104)))
    crowd.tasks(tasks)
    top = c.y
    crowd.device()
    crowd.request()
    crowd.code()
    crowd.loop()
    crowd.lane_marks(HELPER_MARKS, "HELPERS", "RESTORE")
    crowd.background(top)
    c.lane()
    c.text(m(8), c.y + m(20), "instructions →", role="muted")
    c.middle += crowd.axis.ticks(m, c.y, c.width - m(5))
    c.y += m(28)
    return crowd.axis


class _Crowd:
    """Draws the lanes, one after the other."""

    def __init__(self, c: Canvas, story: Story, parts: range, axis: Axis) -> None:
        self.c, self.m, self.story, self.parts, self.axis = c, c.m, story, parts, axis
        self.left, self.right = axis.left, axis.left + axis.width

    def add(self, columns: Columns | None) -> None:
        if columns is not None:
            self.c.middle.append(columns)

    def tasks(self, tasks: Tasks | None) -> None:
        """Which task's code runs."""
        if tasks:
            places = [
                (self.axis.xs[k], self.axis.xs[k + 1], part.pc)
                for k in self.parts
                if isinstance(part := self.story.parts[k], Run)
            ]
            task_strips(self.c, tasks, places)

    def level(self, changes: list[Change], row: str, y: float, role: str) -> None:
        """A row that is filled where its level is high."""
        c, m = self.c, self.m
        c.back.append(Rule(x=self.left, y=y + m(7), w=self.right - self.left))
        spans = []
        level = self.story.level_before(changes, row, self.parts.start)
        start, since = self.left, self.parts.start
        for change in changes:
            if change.row != row or change.at.part not in self.parts:
                continue
            x = self.axis.x(change.at)
            if level and not change.level and change.at.part > since:
                spans.append((start, x))
            elif change.level and not level:
                start, since = x, -1
            level = change.level
        if level:
            spans.append((start, self.right))
        self.add(interval_columns(spans, y - m(5), m(12), row, role))

    def marks(self, *kinds: str) -> None:
        """A row of marks for each kind that there is."""
        c, m = self.c, self.m
        for kind in kinds:
            found = [
                (self.axis.x(mark.at), mark)
                for mark in self.story.marks
                if mark.kind == kind and mark.at.part in self.parts
            ]
            if not found:
                continue
            signs, _ = mark_row(m, c.y + m(11), found, self.left, self.right - m(8))
            if len(signs) > GROUPS and len(found) > 2 * len(signs):
                sign = mark_shape(m, self.left, c.y + m(11), [mark for _, mark in found])
                signs = [sign]
                start = sign.x + m(20) + text_width(f"×{sign.times:,}", m.small, bold=True)
                spans = [(max(x - m(1), start), x + m(1)) for x, _ in found if x > start]
                self.add(interval_columns(spans, c.y + m(8), m(6), kind, "on"))
            c.front += signs
            c.y += m(22)

    def lane_marks(self, kinds: tuple[str, ...], *names: str) -> None:
        """A lane of marks only."""
        c, m = self.c, self.m
        c.lane(*names)
        start = c.y
        self.marks(*kinds)
        c.y = max(c.y, start + m(18) * len(names) + m(4))

    def device(self) -> None:
        c, m = self.c, self.m
        c.lane("DEVICE")
        start = c.y
        self.marks("raised")
        changes = [change for change in self.story.lines if change.at.part in self.parts]
        names = list(dict.fromkeys(change.row for change in changes))
        for name in names[:LINES]:
            self.level(self.story.lines, name, c.row(name, name, m(24)), "line")
        if len(names) > LINES:
            c.row("more", f"{len(names) - LINES} more lines", m(20))
        c.y = max(c.y, start + m(24))

    def request(self) -> None:
        c, m = self.c, self.m
        c.lane("REQUEST")
        self.marks("flag")
        for row in ("enabled", "exit flag"):
            self.level(self.story.strips, row, c.row(row, row, m(24)), "on")

    def code(self) -> None:
        """The key, what was not recorded, and the columns."""
        c, m = self.c, self.m
        c.lane("GENERATED", "CODE")
        start = c.y
        self.marks("refused", *CODE_MARKS)
        ranked = most_run(self.story, self.parts)
        self.key(ranked)
        height = m(90)
        c.y = max(c.y, start + m(28))
        c.middle += self.axis.holes(m, c.y, height)
        c.middle += block_columns(self.axis, ranked, c.y, height, COLUMNS)
        c.y += height + m(8)

    def key(self, ranked: list[tuple[int, int]]) -> None:
        """Letter and share of each coloured block, and what hatched paper means, where that is
        not written on it."""
        c, m = self.c, self.m
        x = self.left
        total = max(self.axis.recorded, 1)
        entries = [(index, n / total) for index, n in ranked]
        rest = 1 - sum(share for _, share in entries)
        for index, share in [*entries, *([(-1, rest)] if rest > 0.0005 else [])]:
            name = letter(index) if index >= 0 else "others"
            label = f"{name}  {share:.0%}" if share >= 0.01 else f"{name}  < 1%"
            size = m(13)
            if x + m(19) + text_width(label, m.normal, bold=True) > self.right:
                x = self.left
                c.y += m(22)
            c.middle.append(
                Columns(
                    x=x, y=c.y + m(5), w=size, h=size, name=name, colour=max(index, 0),
                    rects=((x, c.y + m(5), size, size),), role="" if index >= 0 else "faint",
                )
            )  # fmt: skip
            c.text(x + m(19), c.y + m(16), label, m.normal, bold=True)
            x += m(19) + text_width(label, m.normal, bold=True) + m(18)
        if any(not hole.lines for hole in self.axis.holes(m, 0, 0)):
            label, size = "not recorded", m(13)
            if x + m(19) + text_width(label, m.normal, bold=True) > self.right:
                x = self.left
                c.y += m(22)
            c.middle.append(Lost(x=x, y=c.y + m(5), w=size, h=size, blocks=None, insns=0))
            c.text(x + m(19), c.y + m(16), label, m.normal, bold=True)
        c.y += m(26)

    def loop(self) -> None:
        c, m = self.c, self.m
        c.lane("LOOP")
        start = c.y
        self.marks(*LOOP_MARKS)
        height = m(36)
        y = c.y + m(6)
        counts = (
            (k, part.visits if isinstance(part, Gap) else 1)
            for k in self.parts
            if isinstance(part := self.story.parts[k], Visit | Gap)
        )
        columns, most = counted_columns(self.axis, counts, y, height, COLUMNS)
        self.add(columns)
        c.text(m.names - m(10), y + m(15), "visits", anchor="end", role="muted")
        c.text(m.names - m(10), y + m(31), f"at most {most:,}", anchor="end", role="muted")
        c.y = max(y + height, start + m(30)) + m(4)

    def background(self, top: float) -> None:
        """Handlers as pale bands; where what was not recorded ends."""
        c, parts, x = self.c, self.parts, self.axis.x
        bands = interval_columns(
            (
                (x(band.start), self.right if band.end is None else x(band.end))
                for band in self.story.handlers
                if band.start.part < parts.stop
                and (band.end is None or band.end.part >= parts.start)
            ),
            top, c.y - top, "handlers", "band",
        )  # fmt: skip
        if bands:
            c.back.insert(0, bands)
        edges = {s.x + end for s in self.axis.stretches if s.lost for end in (0, s.w)}
        c.back += [
            Tie(x=at, y=top, w=0.0, h=c.y - top) for at in sorted(edges - {self.left, self.right})
        ]

"""Collects shapes from top to bottom: what the lanes have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tcglite.lab.timeline.metrics import Metrics, fitting, text_width
from tcglite.lab.timeline.shapes import Mark, Rule, Shape, Strip, Text
from tcglite.lab.timeline.story import Mark as StoryMark

# which marks stand in which lane
LOOP_MARKS = ("looked", "taken")
CODE_MARKS = ("cut", "rewound", "expected", "unexpected")
HELPER_MARKS = ("dropped", "sleep", "reset")

STRIPS = 150  # more turns of tasks than that: only those that can be seen

Tasks = Mapping[str, tuple[int, int]]  # name -> (first address, end address) of its code


class Canvas:
    """Shapes in three layers, and how far down the picture has come (``y``)."""

    def __init__(self, m: Metrics, width: float) -> None:
        self.m = m
        self.width = width
        self.y = m(4)
        self.back: list[Shape] = []
        self.middle: list[Shape] = []
        self.front: list[Shape] = []
        self.rows: dict[str, float] = {}  # the middle line of a named row

    def text(
        self, x: float, y: float, text: str, size: float = 0, anchor: str = "start",
        bold: bool = False, role: str = "ink", halo: bool = False,
    ) -> None:  # fmt: skip
        """A text with its baseline at y."""
        size = size or self.m.small
        self.middle.append(
            Text(
                x=x, y=y, w=text_width(text, size, bold), h=size, text=text, size=size,
                anchor=anchor, bold=bold, role=role, halo=halo,
            )
        )  # fmt: skip

    def lane(self, *names: str) -> None:
        """Begin a lane: a faint line over the whole width and its name on the left."""
        m = self.m
        self.back.append(Rule(x=m(4), y=self.y, w=self.width - m(8)))
        for number, name in enumerate(names):
            self.text(m(8), self.y + m(17) + number * m(15), name, bold=True)

    def row(self, name: str, label: str, height: float) -> float:
        """A named row of the current lane; returns its middle line and moves down."""
        m = self.m
        middle = self.y + height / 2
        self.rows[name] = middle
        if label:
            self.text(m.names - m(10), middle + m(4), label, anchor="end", role="muted")
        self.y += height
        return middle

    def shapes(self) -> tuple[Shape, ...]:
        """All shapes, back to front, coordinates to a hundredth of a pixel."""
        return tuple(_rounded(s) for s in (*self.back, *self.middle, *self.front))


def _rounded(shape: Shape) -> Shape:
    changes = {}
    for name in ("x", "y", "w", "h", "done", "bx", "by", "shift", "middle", "left", "right"):
        value = getattr(shape, name, None)
        if isinstance(value, float):
            changes[name] = round(value, 2)
    return replace(shape, **changes)


def task_strips(
    c: Canvas, tasks: Tasks, places: Iterable[tuple[float, float, int]]
) -> None:
    """The strip on top: which task's code runs where, from (start, end, pc) of each block. It lies
    over the tasks' handlers, which belong to none."""
    m = c.m
    c.text(m(8), c.y + m(15), "TASK", bold=True)
    ranges = list(tasks.items())
    spans: list[tuple[float, float, int]] = []
    for x, right, pc in places:
        owner = next((k for k, (_, (low, end)) in enumerate(ranges) if low <= pc < end), -1)
        if spans and spans[-1][2] == owner:
            spans[-1] = (spans[-1][0], right, owner)
        else:
            spans.append((x, right, owner))
    least = m(4) if len(spans) > STRIPS else 0
    for left, right, owner in spans:
        if owner >= 0 and right - left >= least:
            label = fitting(ranges[owner][0], m.small, right - left - m(6), bold=True)
            c.middle.append(
                Strip(
                    x=left, y=c.y + m(2), w=right - left, h=m(18), row="task", label=label,
                    colour=owner,
                )
            )  # fmt: skip
    c.y += m(24)


@dataclass(slots=True)
class _Group:
    """Marks drawn as one sign: it needs ``before`` and ``after`` pixels beside its middle."""

    x: float
    kind: str
    before: float
    after: float
    members: list[StoryMark]


def mark_row(
    m: Metrics, y: float, placed: Iterable[tuple[float, StoryMark]], left: float, right: float
) -> tuple[list[Mark], dict[int, float]]:
    """The marks of one row, none on top of another: equal kinds that would touch become one
    sign with a count, others step aside. Also says where each story mark went, by its id."""
    groups: list[_Group] = []
    last: dict[str, _Group] = {}  # of each kind
    end = left - m(100)
    for x, mark in sorted(placed, key=lambda item: item[0]):
        x = min(max(x, left), right)
        before = m.sign + (2 * m.badge + m(1) if mark.number is not None else 0)
        same = last.get(mark.kind)
        if same is not None and x - before < same.x + same.after:
            same.members.append(mark)
            count = text_width(f"×{len(same.members):,}", m.small, bold=True)
            same.after = m.sign + count + m(7)
            end = max(end, same.x + same.after)
            continue
        x = max(x, end + before)
        last[mark.kind] = _Group(x, mark.kind, before, m.sign + m(1), [mark])
        groups.append(last[mark.kind])
        end = max(end, x + m.sign + m(1))
    limit = right
    for group in reversed(groups):  # who was pushed over the edge pushes back
        group.x = min(group.x, limit)
        limit = group.x - group.before - m.sign
    shapes = [mark_shape(m, group.x, y, group.members) for group in groups]
    return shapes, {id(mark): group.x for group in groups for mark in group.members}


def mark_shape(
    m: Metrics, x: float, y: float, members: Sequence[StoryMark], above: float = 0
) -> Mark:
    """One sign for these moments; a single one has its number on its left, or ``above``."""
    numbers = tuple(mark.number for mark in members if mark.number is not None)
    side = -(m.sign + m.badge + m(1))
    return Mark(
        x=x, y=y, kind=members[0].kind, numbers=numbers, times=len(members), size=m.sign,
        bx=0.0 if above else side, by=-above, font=m.small,
    )  # fmt: skip

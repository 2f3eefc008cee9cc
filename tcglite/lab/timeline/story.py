"""From a list of events to a story: blocks, visits to the loop, and numbered interrupts.

The story has no coordinates. It is a row of *parts* in the order in which they happened: a
:class:`Run` of a block, a :class:`Visit` to the loop, a :class:`Ghost` (a refused block), a
:class:`Gap` (blocks that the ring lost). Everything else is a point on a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from tcglite.lab.timeline.glyphs import circled, sign
from tcglite.lab.timeline.names import Letters
from tcglite.trace.events import Event


@dataclass(slots=True)
class Run:
    """``executed`` of the ``count`` instructions of block ``tb``, the first one number ``i``."""

    tb: int
    pc: int
    count: int
    executed: int
    entry: str
    i: int
    cut: bool = False


@dataclass(slots=True)
class Visit:
    """One visit to ``cpu_exec``: what the loop did before it entered host code again."""

    i: int
    reason: str = ""
    found: bool = False
    translated: int = 0
    patched: int = 0
    looked: str = ""  # "", "none", "again", "masked" or "taken"
    exception: bool = False
    sleep: bool = False
    refills: int = 0


@dataclass(slots=True)
class Ghost:
    """Block ``tb`` was entered and refused: nothing of it ran."""

    tb: int
    pc: int
    count: int
    cause: str
    entry: str
    i: int


@dataclass(slots=True)
class Gap:
    """``lost`` instructions ran unrecorded, in ``blocks`` blocks (None: nobody counted them) with
    ``visits`` to the loop between them of which there is nothing to tell."""

    lost: int
    i: int
    blocks: int | None = None
    visits: int = 0


Part: TypeAlias = Run | Visit | Ghost | Gap


@dataclass(slots=True)
class Point:
    """A moment: ``offset`` instructions into a Run or a Gap, or that fraction of any other part.
    ``i`` is the number of instructions retired before it."""

    part: int
    offset: float
    i: int
    known: bool = True


@dataclass(slots=True)
class Mark:
    """A moment worth going to. ``number``: which interrupt it belongs to."""

    kind: str
    at: Point
    text: str
    number: int | None = None
    lane: str = ""
    detail: str = ""
    cut: int = 0

    def line(self) -> str:
        """As in the text twin: ``①▼ i=1650 line mtip raised in A 3/7``."""
        about = "" if self.at.known else "~"
        return f"{circled(self.number)}{sign(self.kind)} i={about}{self.at.i} {self.text}"


@dataclass(slots=True)
class Journey:
    """One interrupt on its way: the numbers of its marks, from raised to taken."""

    number: int
    cause: int | None
    marks: list[int] = field(default_factory=list)
    flagged: bool = False
    taken: bool = False


@dataclass(slots=True)
class Change:
    """From here on ``row`` has this level."""

    row: str
    level: int
    at: Point


@dataclass(slots=True)
class Handler:
    """The guest is in a trap handler between two points; ``depth`` 1 is the outermost;
    ``label``: what it handles."""

    start: Point
    end: Point | None
    depth: int
    label: str


@dataclass(slots=True)
class Note:
    """A helper at work: a device access, a restored state, a trap."""

    kind: str
    at: Point
    text: str


@dataclass(slots=True)
class Story:
    """Everything that a picture of these events can show."""

    letters: Letters
    parts: list[Part] = field(default_factory=list)
    cells: list[range] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    journeys: list[Journey] = field(default_factory=list)
    lines: list[Change] = field(default_factory=list)
    strips: list[Change] = field(default_factory=list)
    handlers: list[Handler] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    arcs: list[tuple[int, int]] = field(default_factory=list)  # (ghost part, run part)

    def run(self, cell: int) -> Run | None:
        """The block that ends this cell; None for a gap, and if nothing ran after the loop."""
        last = self.parts[self.cells[cell][-1]]
        return last if isinstance(last, Run) else None

    def name(self, part: Run | Ghost) -> str:
        """The block's letter."""
        return self.letters.name(part.tb)

    def insns(self, part: Part) -> int:
        """How many instructions retired in it."""
        if isinstance(part, Run):
            return part.executed
        return part.lost if isinstance(part, Gap) else 0

    @property
    def first(self) -> int:
        """Instructions retired before the first part."""
        return self.parts[0].i if self.parts else 0

    @property
    def last(self) -> int:
        """Instructions retired after the last part."""
        return self.parts[-1].i + self.insns(self.parts[-1]) if self.parts else 0

    def level_before(self, changes: Sequence[Change], row: str, part: int) -> int:
        """The level of ``row`` when ``part`` begins. Before its first change a row is taken to
        have the other level, since events tell changes only."""
        level = None
        for change in changes:
            if change.row != row:
                continue
            if change.at.part >= part:
                return 1 - change.level if level is None else level
            level = change.level
        return 0 if level is None else level


def distance(story: Story, journey: Journey) -> tuple[Mark, Mark, int, int | None] | None:
    """From raised to taken: both marks, the instructions and blocks that ran between them (blocks
    None: not all were recorded). None for an interrupt that was not taken."""
    marks = [story.marks[k] for k in journey.marks]
    raised = next((mark for mark in marks if mark.kind == "raised"), None)
    taken = next((mark for mark in marks if mark.kind == "taken"), None)
    if raised is None or taken is None:
        return None
    insns, blocks, lost = 0, 0, False
    for number in range(raised.at.part, taken.at.part):
        part = story.parts[number]
        ran = story.insns(part) - (int(raised.at.offset) if number == raised.at.part else 0)
        if isinstance(part, Run | Gap):
            insns += ran
            blocks += ran > 0
            lost = lost or isinstance(part, Gap)
    return raised, taken, insns, None if lost else blocks


def latency_text(insns: int, blocks: int | None) -> str:
    """``4 instructions · 1 block``."""
    if not insns:
        return "at once"
    text = f"{insns:,} instruction{'s' * (insns != 1)}"
    return text if blocks is None else f"{text} · {blocks:,} block{'s' * (blocks != 1)}"


def cells_of(parts: Sequence[Part]) -> list[range]:
    """A cell is a block's run, or a gap, with whatever came between the one before and it."""
    cells = []
    start = 0
    for number, part in enumerate(parts):
        if isinstance(part, Run | Gap):
            cells.append(range(start, number + 1))
            start = number + 1
    if start < len(parts):
        cells.append(range(start, len(parts)))
    return cells


def learn(letters: Letters | None, events: Iterable[Event]) -> Letters:
    """The letters after these events."""
    letters = letters or Letters()
    for event in events:
        letters.see(event)
    return letters

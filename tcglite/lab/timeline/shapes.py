"""What a picture is made of: shapes with a meaning and a place, in pixels, y downwards.

``layout()`` makes them, painters draw them (through :mod:`tcglite.lab.timeline.draw`), tests
compare them. A shape says what it means first and where it stands second.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A place: the top left corner, width and height, in pixels."""

    x: float
    y: float
    w: float = 0.0
    h: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box(Shape):
    """A block that ran: ``done`` pixels of its width are its executed instructions, the rest is
    hollow. ``edge`` "saw": the block was cut short. ``colour``: the number behind the letter."""

    tb: int
    name: str
    colour: int
    count: int
    executed: int
    done: float
    label: str  # "inside", "above" or "none"
    caption: str = ""
    edge: str = ""
    size: float = 18.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ghost(Shape):
    """A refused block: nothing of it ran. Fixed width."""

    tb: int
    name: str
    caption: str
    size: float = 18.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam(Shape):
    """How a block was entered, at its left edge: ``kind`` chained, goto_ptr or entered."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem(Shape):
    """The way down to the loop (``up`` False) or up from it; ``patched``: ✚ on it."""

    up: bool
    patched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gutter(Shape):
    """A visit to the loop: costs no instructions, constant width, not to scale. ``kind``:
    loop, gap (unrecorded) or sleep."""

    kind: str = "loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Shape):
    """A letter in the LOOP lane: E, I, F or T, done in this visit."""

    name: str
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arc(Shape):
    """From a ghost (x, y) to the next real run of that block (x + w, y); ``h`` is the height;
    its tip stays ``lift`` above the block, whose letter stands there."""

    lift: float = 0.0
    label: str = ""
    size: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark(Shape):
    """A sign centred on x, y; ``numbers``: of which interrupts; ``times``: how many moments it
    stands for. The number of one moment stands on a badge ``bx``, ``by`` pixels off."""

    kind: str
    numbers: tuple[int, ...] = ()
    times: int = 1
    size: float = 8.0
    bx: float = 0.0
    by: float = 0.0
    font: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Shape):
    """The polyline of one interrupt, from its first to its last mark; x, y is the first."""

    number: int
    line: float
    points: tuple[tuple[float, float], ...]
    dotted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar(Shape):
    """A device line is high."""

    row: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip(Shape):
    """A state is on: interrupts enabled, or the exit flag; or a task runs (``row`` "task")."""

    row: str
    label: str = ""
    colour: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Band(Shape):
    """The guest is in a trap handler."""

    depth: int
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof(Shape):
    """The whole time of a handler, visits to the loop included: the upper edge of its band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie(Shape):
    """A thin line from x, y to x + w, y + h."""

    dashed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket(Shape):
    """A bracket open upwards from x to x + w with its label below. ``earlier``: it begins left of
    the picture."""

    label: str
    number: int = 0
    size: float = 12.0
    earlier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold(Shape):
    """A frame around boxes that stand for ``times`` repetitions of themselves; ``middle``: of the
    boxes."""

    times: int
    label: str
    middle: float
    size: float = 13.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip(Shape):
    """Blocks left out because nothing happened in them; not to scale."""

    blocks: int
    insns: int
    size: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Shape):
    """Blocks ran here that were not recorded (``blocks`` None: nobody knows how many); ``lines``:
    what is written on it, the first one bold."""

    blocks: int | None
    insns: int
    lines: tuple[str, ...] = ()
    size: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens(Shape):
    """From x to x + w above, to ``left`` to ``right`` below: what is above is drawn closer below.
    """

    left: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Shape):
    """A text; y is its baseline. ``w`` is its measured width. ``role``: its colour."""

    text: str
    size: float
    anchor: str = "start"
    bold: bool = False
    role: str = "ink"
    halo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick(Shape):
    """An instruction number on the axis at x; its label stands ``shift`` pixels off."""

    label: str
    size: float = 12.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Shape):
    """A faint line between lanes, from x to x + w."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notches(Shape):
    """Short strokes down from y, one for each instruction boundary in the boxes."""

    at: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns(Shape):
    """Density: rectangles of one block's colour, each (x, y, width, height); ``role`` if they
    are no block's."""

    name: str
    colour: int
    rects: tuple[tuple[float, float, float, float], ...]
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame(Shape):
    """The part of a minimap or overview that is drawn closer; ``line``: width of its edge."""

    line: float = 2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally(Shape):
    """How many marks of a kind the whole recording has; x, y is the sign's middle."""

    kind: str
    count: int
    size: float


@dataclass(frozen=True, slots=True)
class MarkInfo:
    """A mark of the recording, shown or not: what *next* and *previous* move between."""

    kind: str
    number: int | None
    i: int
    line: str
    shown: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture without a painter. ``marks``: all of the recording; ``text``: the text twin of
    what is shown; ``mode``: single, folded, density, overview, empty or legend; ``window``: the
    guest instructions shown; ``names``: the letter of each block seen, by its tb number."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    mode: str
    summary: str = ""
    text: tuple[str, ...] = ()
    marks: tuple[MarkInfo, ...] = ()
    window: tuple[int, int] = (0, 0)
    names: dict[int, str] = field(default_factory=dict)

    def as_data(self) -> list[dict[str, Any]]:
        """The shapes as plain data, for goldens."""
        return [{"shape": type(s).__name__, **asdict(s)} for s in self.shapes]

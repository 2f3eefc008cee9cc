"""How to read this: the signs of the timeline, each with its words."""

from __future__ import annotations

from collections.abc import Iterable

from tcglite.errors import UsageError
from tcglite.lab.theme import font_scale
from tcglite.lab.timeline.canvas import Canvas
from tcglite.lab.timeline.metrics import Metrics, text_width
from tcglite.lab.timeline.shapes import (
    Arc,
    Band,
    Bar,
    Box,
    Fold,
    Ghost,
    Gutter,
    Layout,
    Lost,
    Mark,
    Roof,
    Seam,
    Shape,
    Stem,
    Step,
    Strip,
)

# name -> words; the order is that of the notebooks, each adds a few
WORDS = {
    "block": "a block that ran; its width is its instructions",
    "chained": "entered by a patched jump from the block before",
    "loop": "a visit to the loop: no guest instructions, not to scale",
    "entered": "entered from the loop",
    "raised": "a device raised its line",
    "line": "the line is high",
    "flag": "the exit flag is set",
    "refused": "the block saw the flag and refused: nothing of it ran",
    "taken": "the loop took the interrupt",
    "handler": "the guest is in its handler",
    "same": "the refused block runs after all: same host address",
    "enabled": "the guest has interrupts enabled",
    "looked": "the loop looked: not enabled, so it waits",
    "patched": "the jump was patched: from now on chained",
    "goto_ptr": "entered through lookup_and_goto_ptr",
    "steps": "the loop: E exception, I interrupt, F find, T translate",
    "fold": "repeated, drawn once",
    "expected": "an exception that was known when translating",
    "unexpected": "a fault inside a block; the rest did not run",
    "dropped": "a block was thrown away, its code changed",
    "rewound": "rewound to a device access, which then runs alone",
    "cut": "cut to fit the budget: the first 2 of 7 instructions",
    "sleep": "wfi: the guest sleeps",
    "reset": "the guest was reset",
    "lost": "blocks ran here that were not recorded",
}
FIRST = ("block", "chained", "loop", "entered", "raised", "line", "flag", "refused", "taken",
         "handler", "same")  # fmt: skip


def legend(
    names: Iterable[str] | None = None, *, width: float = 960, scale: float | None = None
) -> Layout:
    """A strip of labelled shapes. ``names``: which of :data:`WORDS`, None for those that the
    first interrupt needs (:data:`FIRST`), ``"all"`` for all. Raises UsageError for others."""
    chosen = list(WORDS if names == "all" else FIRST if names is None else names)
    unknown = [name for name in chosen if name not in WORDS]
    if unknown:
        raise UsageError(f"no sign {unknown[0]!r} in the legend; there are {', '.join(WORDS)}")
    m = Metrics(font_scale() if scale is None else scale)
    width = max(width, m(560))
    c = Canvas(m, width)
    cell = m(52)
    column = max(text_width(WORDS[name], m.normal) for name in chosen) + m(90) if chosen else 1.0
    columns = max(int((width - m(16)) / column), 1)
    rows = -(-len(chosen) // columns)
    for number, name in enumerate(chosen):
        across, down = divmod(number, rows)
        x = m(12) + across * column
        y = c.y + down * cell
        c.middle += _sample(name, x, y + m(4), m)
        c.text(x + m(72), y + m(32), WORDS[name], m.normal)
    text = tuple(f"{name}: {WORDS[name]}" for name in chosen)
    return Layout(
        width=width, height=c.y + rows * cell + m(4), shapes=c.shapes(), mode="legend",
        summary="How to read the timeline. " + ". ".join(WORDS[name] for name in chosen) + ".",
        text=text,
    )  # fmt: skip


class _Sample:
    """Shapes in a place 56 wide and 46 high at x, y."""

    def __init__(self, x: float, y: float, m: Metrics) -> None:
        self.x, self.y, self.m = x, y, m
        self.middle, self.half = x + m(28), y + m(24)

    def box(
        self, at: float, wide: float, index: int, *, size: float = 18, done: float | None = None,
        executed: int = 7, caption: str = "", edge: str = "",
    ) -> Box:  # fmt: skip
        m = self.m
        return Box(
            x=self.x + m(at), y=self.y + m(2), w=m(wide), h=m(44), tb=index, name="ABC"[index],
            colour=index, count=7, executed=executed, done=m(wide if done is None else done),
            label="inside", caption=caption, edge=edge, size=m(size),
        )  # fmt: skip

    def seam(self, at: float, kind: str) -> Seam:
        m = self.m
        return Seam(x=self.x + m(at), y=self.half, w=m(6), h=m(6), kind=kind)

    def mark(
        self, kind: str, at: float = 28, down: float = 24, number: int = 0, size: float = 8,
        bx: float = 0, by: float = 0,
    ) -> Mark:  # fmt: skip
        m = self.m
        return Mark(
            x=self.x + m(at), y=self.y + m(down), kind=kind, numbers=(number,) if number else (),
            size=m(size), bx=m(bx), by=m(by), font=m.small,
        )  # fmt: skip

    def stem(self, at: float, high: float, patched: int = 0) -> Stem:
        m = self.m
        return Stem(x=self.x + m(at), y=self.half, w=m(6), h=m(high), up=True, patched=patched)

    def gutter(self, at: float, wide: float) -> Gutter:
        return Gutter(x=self.x + self.m(at), y=self.y, w=self.m(wide), h=self.m(46))

    def ghost(self) -> Ghost:
        m = self.m
        return Ghost(
            x=self.x + m(14), y=self.y + m(2), w=m(38), h=m(44), tb=1, name="B", caption="0/7",
            size=m(18),
        )  # fmt: skip

    def letters(self) -> list[Shape]:
        m = self.m
        return [
            Step(x=self.x + m(8 + 14 * k), y=self.half, name=name, size=m.normal)
            for k, name in enumerate("EIFT")
        ]


def _sample(name: str, x: float, y: float, m: Metrics) -> list[Shape]:
    """What the legend shows for a name."""
    s = _Sample(x, y, m)
    samples: dict[str, list[Shape]] = {
        "block": [s.box(4, 48, 0, caption="7")],
        "chained": [s.box(0, 28, 0), s.box(28, 28, 1), s.seam(28, "chained")],
        "goto_ptr": [s.box(0, 28, 0), s.box(28, 28, 1), s.seam(28, "goto_ptr")],
        "loop": [s.gutter(14, 28)],
        "entered": [s.gutter(0, 24), s.box(24, 30, 0), s.stem(18, 20), s.seam(24, "entered")],
        "line": [Bar(x=x + m(2), y=s.half - m(6), w=m(52), h=m(12), row="mtip")],
        "enabled": [Strip(x=x + m(2), y=s.half - m(6), w=m(52), h=m(12), row="enabled")],
        "handler": [
            Band(x=x, y=y, w=m(56), h=m(46), depth=1), Roof(x=x, y=y, w=m(56), h=m(3)),
            s.box(12, 32, 2),
        ],
        "refused": [s.ghost(), s.mark("refused", 14, number=1, bx=-3, by=-17)],
        "same": [Arc(x=x + m(6), y=y + m(40), w=m(44), h=m(26), size=m.small)],
        "lost": [Lost(x=x, y=y + m(1), w=m(56), h=m(46), blocks=None, insns=0, size=m.small)],
        "patched": [s.stem(25, 20, patched=1)],
        "steps": [s.gutter(0, 56), *s.letters()],
        "fold": [
            s.box(4, 18, 0, size=15),
            Fold(
                x=x, y=y, w=m(62), h=m(48), times=99, label="A × 99", size=m(12), middle=s.half
            ),
        ],
        "cut": [
            s.box(2, 44, 0, edge="saw", executed=2, caption="2/7"), s.mark("cut", 47, 30)
        ],
        "unexpected": [
            s.box(2, 52, 0, done=30, executed=4), s.mark("unexpected", 32, 34)
        ],
        "rewound": [s.box(2, 52, 0, done=30, executed=4), s.mark("rewound", 32, 34)],
        "expected": [s.box(2, 52, 0, done=42, executed=6), s.mark("expected", 44, 34)],
    }  # fmt: skip
    if name in samples:
        return samples[name]
    if name in ("raised", "flag", "taken", "looked"):
        return [s.mark(name, 38, number=1, size=10, bx=-22)]
    return [s.mark(name, size=10)]

"""The signs of the timeline as outlines, so that they look the same whatever fonts there are.

Each sign lives in a square from -1 to 1 (y downwards). A path is a tuple of commands
``(letter, *numbers)`` as in SVG: M, L, C, Z, absolute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Command: TypeAlias = tuple[str | float, ...]
Path: TypeAlias = tuple[Command, ...]

_K = 0.5523  # a quarter of a circle as one cubic curve


def polygon(*points: tuple[float, float]) -> Path:
    """A closed polygon."""
    first, *rest = points
    return (("M", *first), *(("L", *p) for p in rest), ("Z",))


def lines(*strokes: Sequence[tuple[float, float]]) -> Path:
    """Open strokes."""
    out: list[Command] = []
    for first, *rest in strokes:
        out.append(("M", *first))
        out.extend(("L", *p) for p in rest)
    return tuple(out)


def circle(x: float, y: float, r: float) -> Path:
    """A circle as four curves."""
    k = r * _K
    return (
        ("M", x + r, y),
        ("C", x + r, y + k, x + k, y + r, x, y + r),
        ("C", x - k, y + r, x - r, y + k, x - r, y),
        ("C", x - r, y - k, x - k, y - r, x, y - r),
        ("C", x + k, y - r, x + r, y - k, x + r, y),
        ("Z",),
    )


def pill(x: float, y: float, w: float, h: float) -> Path:
    """A rectangle with round ends, top left corner at x, y."""
    r = h / 2
    k = r * _K
    left, right = x + r, x + w - r
    return (
        ("M", left, y),
        ("L", right, y),
        ("C", right + k, y, x + w, y + r - k, x + w, y + r),
        ("C", x + w, y + r + k, right + k, y + h, right, y + h),
        ("L", left, y + h),
        ("C", left - k, y + h, x, y + r + k, x, y + r),
        ("C", x, y + r - k, left - k, y, left, y),
        ("Z",),
    )


def moved(path: Path, x: float, y: float, scale: float = 1.0) -> Path:
    """The path scaled about the origin, then moved."""
    out: list[Command] = []
    for letter, *numbers in path:
        moved_numbers = [
            float(v) * scale + (y if i % 2 else x) for i, v in enumerate(numbers)
        ]
        out.append((letter, *moved_numbers))
    return tuple(out)


_DIAMOND = polygon((0, -1), (0.95, 0), (0, 1), (-0.95, 0))
_FLAG = (
    ("M", -0.72, 1.0),
    ("L", -0.72, -1.0),
    ("L", 0.95, -0.5),
    ("L", -0.42, 0.08),
    ("L", -0.42, 1.0),
    ("Z",),
)
_CROSS = lines([(-0.72, -0.72), (0.72, 0.72)], [(-0.72, 0.72), (0.72, -0.72)])
_BOLT = polygon(
    (0.28, -1.0), (-0.72, 0.16), (-0.06, 0.16), (-0.3, 1.0), (0.72, -0.22), (0.06, -0.22)
)
_SCISSORS = (
    *lines([(-0.42, 0.36), (0.62, -1.0)], [(0.42, 0.36), (-0.62, -1.0)]),
    *circle(-0.58, 0.66, 0.3),
    *circle(0.58, 0.66, 0.3),
)
_BACK = (
    ("M", 0.75, 0.95),
    ("C", 0.95, -0.1, 0.5, -0.62, -0.25, -0.5),
    ("L", -0.6, -0.42),
    ("M", -0.1, -1.0),
    ("L", -0.75, -0.4),
    ("L", -0.02, 0.12),
)
_PLUS = polygon(
    (-0.3, -0.9), (0.3, -0.9), (0.3, -0.3), (0.9, -0.3), (0.9, 0.3), (0.3, 0.3),
    (0.3, 0.9), (-0.3, 0.9), (-0.3, 0.3), (-0.9, 0.3), (-0.9, -0.3), (-0.3, -0.3),
)  # fmt: skip
_MOON = (
    ("M", 0.35, -0.95),
    ("C", -1.25, -0.9, -1.25, 0.9, 0.35, 0.95),
    ("C", -0.45, 0.5, -0.45, -0.5, 0.35, -0.95),
    ("Z",),
)
_DROPPED = (*circle(0, 0, 0.85), *lines([(-0.6, 0.6), (0.6, -0.6)]))
_RESET = (
    ("M", 0.62, -0.55),
    ("C", 0.1, -1.1, -0.85, -0.8, -0.85, 0.0),
    ("C", -0.85, 1.1, 0.85, 1.1, 0.85, 0.05),
    ("M", 0.7, -1.05),
    ("L", 0.68, -0.42),
    ("L", 0.05, -0.45),
)
_TRIANGLE = polygon((-0.8, -0.95), (0.9, 0), (-0.8, 0.95))

# name -> (path, how it is painted, the character that stands for it in texts)
SIGNS: dict[str, tuple[Path, str, str]] = {
    "raised": (polygon((-0.95, -0.75), (0.95, -0.75), (0, 0.9)), "fill", "▼"),
    "flag": (_FLAG, "fill", "⚑"),
    "refused": (_CROSS, "stroke", "✕"),
    "looked": (_DIAMOND, "hollow", "◇"),
    "taken": (_DIAMOND, "fill", "◆"),
    "cut": (_SCISSORS, "stroke", "✂"),
    "rewound": (_BACK, "stroke", "↶"),
    "expected": (polygon((-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)), "fill", "■"),
    "unexpected": (_BOLT, "fill", "⚡"),
    "patched": (_PLUS, "fill", "✚"),
    "dropped": (_DROPPED, "stroke", "⊘"),
    "sleep": (_MOON, "fill", "☾"),
    "reset": (_RESET, "stroke", "⟲"),
    "chained": (_TRIANGLE, "fill", "▶"),
    "goto_ptr": (_TRIANGLE, "hollow", "▷"),
    "entered": (circle(0, 0, 0.8), "hollow", "○"),
    "device": (polygon((-0.6, -0.6), (0.6, -0.6), (0.6, 0.6), (-0.6, 0.6)), "hollow", "▫"),
}


def sign(kind: str) -> str:
    """The character for a sign in texts: ``sign("taken")`` is ◆."""
    return SIGNS[kind][2]


def circled(number: int | None) -> str:
    """1 is ①; from 21 on (21); nothing for None."""
    if number is None:
        return ""
    return chr(0x2460 + number - 1) if 1 <= number <= 20 else f"({number})"

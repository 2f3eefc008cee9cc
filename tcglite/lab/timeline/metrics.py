"""Sizes in pixels, all from one scale, and how wide a text is."""

from __future__ import annotations

from dataclasses import dataclass

_NARROW = dict.fromkeys("iIjl|'.,:;!", 0.33)
_HALF = dict.fromkeys("ftr()[]/ -·", 0.41)
_WIDE = dict.fromkeys("mMWw@%", 0.95)
_WIDTHS = {**_NARROW, **_HALF, **_WIDE, "→": 0.84, "←": 0.84, "×": 0.84, "′": 0.3, "…": 1.0}


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of ``text`` in DejaVu Sans or Verdana at ``size`` pixels, never too little: other
    faces are narrower."""
    total = sum(_WIDTHS.get(c, 0.72 if c.isupper() else 0.635) for c in text)
    return total * size * (1.1 if bold else 1.0)


def fitting(text: str, size: float, room: float, bold: bool = False) -> str:
    """``text``, shortened with … so that it fits into ``room`` pixels; "" if nothing does."""
    if text_width(text, size, bold) <= room:
        return text
    while text and text_width(text + "…", size, bold) > room:
        text = text[:-1].rstrip()
    return text + "…" if text else ""


def number_text(i: int) -> str:
    """An instruction number for people: 1650, 16,500."""
    return str(i) if i < 10_000 else f"{i:,}"


@dataclass(frozen=True, slots=True)
class Metrics:
    """All lengths of a picture; ``scale`` 1 is made for a page, 1.6 for a lecture hall."""

    scale: float = 1.0

    def __call__(self, pixels: float) -> float:
        return pixels * self.scale

    @property
    def small(self) -> float:
        return 12 * self.scale

    @property
    def normal(self) -> float:
        return 13 * self.scale

    @property
    def big(self) -> float:
        return 18 * self.scale

    @property
    def names(self) -> float:
        """Width of the column with the lanes' names."""
        return 158 * self.scale

    @property
    def gutter(self) -> float:
        return 28 * self.scale

    @property
    def ghost(self) -> float:
        return 38 * self.scale

    @property
    def gap(self) -> float:
        return 100 * self.scale

    @property
    def skip(self) -> float:
        return 84 * self.scale

    @property
    def box(self) -> float:
        """Height of a block."""
        return 48 * self.scale

    @property
    def sign(self) -> float:
        """Half the size of a mark."""
        return 8 * self.scale

    @property
    def badge(self) -> float:
        """Half the size of an interrupt's number."""
        return 9 * self.scale

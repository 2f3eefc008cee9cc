"""Shapes to drawing: rectangles, outlines and labels, the only three things a painter knows.

Colours are roles of :mod:`tcglite.lab.theme` or plain ``#rrggbb``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tcglite.lab.theme import block_style
from tcglite.lab.timeline import shapes
from tcglite.lab.timeline.glyphs import SIGNS, Path, lines, moved, pill, polygon
from tcglite.lab.timeline.metrics import text_width


@dataclass(frozen=True, slots=True)
class Rectangle:
    x: float
    y: float
    w: float
    h: float
    fill: str = "none"
    stroke: str = "none"
    line: float = 0.0
    dash: tuple[float, ...] = ()
    radius: float = 0.0
    opacity: float = 1.0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    path: Path
    fill: str = "none"
    stroke: str = "none"
    line: float = 0.0
    dash: tuple[float, ...] = ()
    opacity: float = 1.0
    round: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    y: float
    text: str
    size: float
    fill: str = "ink"
    anchor: str = "start"  # start, middle or end
    bold: bool = False
    halo: str = ""  # role of the outline that keeps it legible on any ground


Primitive = Rectangle | Outline | Label


def draw(shape: shapes.Shape) -> Iterator[Primitive]:
    """The primitives of one shape, back to front."""
    yield from _DRAW[type(shape)](shape)


def nodes(all_shapes: Iterable[shapes.Shape]) -> int:
    """How many SVG elements these shapes need."""
    total = 0
    for shape in all_shapes:
        for primitive in draw(shape):
            total += 2 if isinstance(primitive, Rectangle) and primitive.title else 1
    return total


def _box(s: shapes.Box) -> Iterator[Primitive]:
    style = block_style(s.colour)
    unit = s.size / 18
    title = f"{s.name}: {s.executed} of {s.count} instructions"
    saw = s.edge == "saw" and s.done >= 4 * unit
    if s.done < s.w - 0.01:  # the rest, which did not run
        yield Rectangle(
            s.x, s.y, s.w, s.h, "paper", "ink", 1.2 * unit, (3 * unit, 3 * unit), title=title
        )
    if s.done > 0:
        if saw:
            yield Outline(_saw(s.x, s.y, s.done, s.h, 4 * unit), style.fill, "ink", 1.2 * unit)
        else:
            yield Rectangle(s.x, s.y, s.done, s.h, style.fill, "ink", 1.2 * unit, title=title)
        if style.hatch:
            yield Outline(
                _hatch(s.x, s.y, s.done, s.h, style.hatch, 7 * unit),
                stroke=style.ink, line=unit, opacity=0.55,
            )  # fmt: skip
    if s.label != "inside":
        return
    filled = (s.x, s.done, style.ink, style.fill)
    hollow = (s.x + s.done, s.w - s.done, "ink", "paper")
    needed = text_width(s.name, s.size, bold=True) + 8 * unit
    x, w, ink, halo = filled if s.done >= min(needed, s.w - 0.01) else hollow
    yield Label(x + w / 2, s.y + 21 * unit, s.name, s.size, ink, "middle", bold=True, halo=halo)
    if s.caption:
        needed = text_width(s.caption, 12 * unit) + 12 * unit
        x, w, ink, halo = hollow if s.w - s.done >= needed else filled
        y = s.y + 41 * unit
        yield Label(x + w / 2, y, s.caption, 12 * unit, ink, "middle", halo=halo)


def _saw(x: float, y: float, w: float, h: float, tooth: float) -> Path:
    """A box whose right edge is a saw."""
    points = [(x, y), (x + w, y)]
    count = max(int(h / (2 * tooth)), 1)
    step = h / count
    for k in range(count):
        points += [(x + w - tooth, y + (k + 0.5) * step), (x + w, y + (k + 1) * step)]
    return polygon(*points, (x, y + h))


def _hatch(x: float, y: float, w: float, h: float, kind: str, step: float) -> Path:
    """Lines inside a rectangle, cut at its edges."""
    strokes: list[list[tuple[float, float]]] = []
    if kind == "-":
        k = y + step
        while k < y + h:
            strokes.append([(x, k), (x + w, k)])
            k += step
    if kind == "|":
        k = x + step
        while k < x + w:
            strokes.append([(k, y), (k, y + h)])
            k += step
    if kind in ("/", "x", "\\"):
        offset = step
        while offset < w + h:
            a = (min(offset, w), max(offset - w, 0))
            b = (max(offset - h, 0), min(offset, h))
            if kind in ("/", "x"):
                strokes.append([(x + a[0], y + a[1]), (x + b[0], y + b[1])])
            if kind in ("\\", "x"):
                strokes.append([(x + w - a[0], y + a[1]), (x + w - b[0], y + b[1])])
            offset += step
    return lines(*strokes)


def _ghost(s: shapes.Ghost) -> Iterator[Primitive]:
    unit = s.size / 18
    title = f"{s.name} refused: {s.caption} instructions ran"
    yield Rectangle(
        s.x, s.y, s.w, s.h, "paper", "ink", 1.6 * unit, (5 * unit, 3.5 * unit), title=title
    )
    middle = s.x + s.w / 2 + 3 * unit
    yield Label(middle, s.y + 19 * unit, s.name, s.size * 0.9, "ink", "middle", bold=True)
    yield Label(middle, s.y + 42 * unit, s.caption, 12 * unit, "ink", "middle")


def _sign(
    kind: str, x: float, y: float, size: float, role: str, halo: float = 0.0
) -> Iterator[Primitive]:
    path, paint, _ = SIGNS[kind]
    path = moved(path, x, y, size)
    if halo:
        yield Outline(path, "paper", "paper", size * 0.32 + halo * 2, round=True)
    if paint == "fill":
        yield Outline(path, role)
    elif paint == "hollow":
        yield Outline(path, "paper", role, size * 0.28)
    else:
        yield Outline(path, "none", role, size * 0.34, round=True)


def _seam(s: shapes.Seam) -> Iterator[Primitive]:
    if s.kind == "entered":
        yield from _sign("entered", s.x, s.y, s.w, "ink")
        return
    path = moved(SIGNS[s.kind][0], s.x, s.y, s.w)
    hollow = s.kind == "goto_ptr"
    yield Outline(path, "paper" if hollow else "#111111", "#111111" if hollow else "#FFFFFF",
                  s.w * 0.22)


def _stem(s: shapes.Stem) -> Iterator[Primitive]:
    """Down: from the box's edge to the loop; up: from the loop to the next box."""
    across, bottom = s.x + s.w, s.y + s.h
    if s.up:
        path = lines([(s.x, bottom), (s.x, s.y), (across, s.y)])
    else:
        path = lines([(s.x, s.y), (across, s.y), (across, bottom)])
    yield Outline(path, stroke="ink", line=s.w * 0.3)
    if s.patched:
        y = bottom - s.w * 2.6
        yield from _sign("patched", s.x, y, s.w * 1.3, "ink", halo=s.w * 0.1)


_GUTTERS = {"loop": ("gutter", 1.0), "sleep": ("gutter", 1.0), "gap": ("faint", 0.6)}


def _gutter(s: shapes.Gutter) -> Iterator[Primitive]:
    fill, opacity = _GUTTERS[s.kind]
    yield Rectangle(s.x, s.y, s.w, s.h, fill, opacity=opacity)


def _step(s: shapes.Step) -> Iterator[Primitive]:
    yield Label(
        s.x, s.y + s.size * 0.36, s.name, s.size, "ink", "middle", bold=True, halo="gutter"
    )


def _arc(s: shapes.Arc) -> Iterator[Primitive]:
    left, right, top = s.x, s.x + s.w, s.y - s.h
    tip_y = s.y - s.lift
    r = min(s.size * 0.8, s.w / 2, s.h - s.lift)
    unit = s.size / 12
    gap = text_width(s.label, s.size) / 2 + 4 * unit if s.label else 0.0
    middle = (left + right) / 2
    path: Path = (
        ("M", left, s.y),
        ("L", left, top + r),
        ("C", left, top + r * 0.45, left + r * 0.45, top, left + r, top),
        ("L", middle - gap, top),
        ("M", middle + gap, top),
        ("L", right - r, top),
        ("C", right - r * 0.45, top, right, top + r * 0.45, right, top + r),
        ("L", right, tip_y - 3 * unit),
    )
    yield Outline(path, stroke="ink", line=1.3 * unit)
    arrow = polygon(
        (right - 4 * unit, tip_y - 7 * unit), (right + 4 * unit, tip_y - 7 * unit),
        (right, tip_y),
    )  # fmt: skip
    yield Outline(arrow, "ink")
    if s.label:
        yield Label(middle, top + s.size * 0.36, s.label, s.size, "ink", "middle")


JOURNEY = ("raised", "flag", "refused", "looked", "taken")


def _mark(s: shapes.Mark) -> Iterator[Primitive]:
    role = "journey" if s.kind in JOURNEY and s.numbers else "ink"
    yield from _sign(s.kind, s.x, s.y, s.size, role, halo=s.size * 0.14)
    if s.times > 1:
        yield Label(
            s.x + s.size * 1.25, s.y + s.font * 0.36, f"×{s.times:,}", s.font, "ink", bold=True,
            halo="paper",
        )  # fmt: skip
    elif s.numbers:
        yield from _badge(s.x + s.bx, s.y + s.by, s.numbers[0], s.font)


def _badge(x: float, y: float, number: int, font: float) -> Iterator[Primitive]:
    """An interrupt's number on a disc."""
    text = str(number)
    h = font * 1.34
    w = max(h, font * (0.7 * len(text) + 0.5))
    yield Outline(pill(x - w / 2, y - h / 2, w, h), "journey", "paper", font * 0.1)
    yield Label(x, y + font * 0.36, text, font, "journey-ink", "middle", bold=True)


def _route(s: shapes.Route) -> Iterator[Primitive]:
    path = lines(list(s.points))
    if s.dotted:
        yield Outline(path, stroke="journey", line=s.line * 0.6, dash=(s.line * 0.6, s.line * 1.2))
        return
    yield Outline(path, stroke="journey", line=s.line)


def _bar(s: shapes.Bar) -> Iterator[Primitive]:
    yield Rectangle(s.x, s.y, s.w, s.h, "line")


def _strip(s: shapes.Strip) -> Iterator[Primitive]:
    if s.row == "task":
        fill = block_style(s.colour + 1).fill
        yield Rectangle(s.x, s.y, s.w, s.h, fill, "ink", 0.8, opacity=1.0)
        if s.label:
            y = s.y + s.h * 0.73
            yield Label(s.x + s.w / 2, y, s.label, s.h * 0.67, block_style(s.colour + 1).ink,
                        "middle", bold=True)
        return
    yield Rectangle(s.x, s.y, s.w, s.h, "raised" if s.row == "exit flag" else "on")


def _band(s: shapes.Band) -> Iterator[Primitive]:
    yield Rectangle(s.x, s.y, s.w, s.h, "band" if s.depth == 1 else "band2")


def _roof(s: shapes.Roof) -> Iterator[Primitive]:
    yield Rectangle(s.x, s.y, s.w, s.h, "roof")


def _tie(s: shapes.Tie) -> Iterator[Primitive]:
    dash = (3.0, 3.0) if s.dashed else ()
    path = lines([(s.x, s.y), (s.x + s.w, s.y + s.h)])
    yield Outline(path, stroke="muted", line=1.3, dash=dash)


def _bracket(s: shapes.Bracket) -> Iterator[Primitive]:
    foot, right = s.y + s.h, s.x + s.w
    path = lines([(s.x, s.y), (s.x, foot), (right, foot), (right, s.y)][s.earlier :])
    yield Outline(path, stroke="journey", line=s.size * 0.16)
    if s.earlier:
        h = s.size * 0.4
        yield Outline(polygon((s.x - h, foot), (s.x + h, foot - h), (s.x + h, foot + h)), "journey")
    y = s.y + s.h + s.size * 1.3
    middle = s.x + s.w / 2
    if not s.number:
        yield Label(middle, y, s.label, s.size, "ink", "middle", bold=True)
        return
    shift = s.size * 0.8
    wide = text_width(s.label, s.size, bold=True)
    yield from _badge(middle - wide / 2 - shift * 0.4, y - s.size * 0.36, s.number, s.size)
    yield Label(middle + shift, y, s.label, s.size, "ink", "middle", bold=True, halo="paper")


def _fold(s: shapes.Fold) -> Iterator[Primitive]:
    yield Rectangle(s.x, s.y, s.w, s.h, "none", "ink", s.size * 0.14, radius=s.size * 0.6)
    yield Label(
        s.x + s.w - s.size * 0.6, s.middle + s.size * 0.36, f"× {s.times:,}", s.size, "ink",
        "end", bold=True,
    )  # fmt: skip


def _skip(s: shapes.Skip) -> Iterator[Primitive]:
    unit = s.size / 12
    yield Rectangle(
        s.x + 3 * unit, s.y, s.w - 6 * unit, s.h, "paper", "muted", 1.2 * unit,
        (2 * unit, 3 * unit), radius=6 * unit,
    )  # fmt: skip
    middle = s.x + s.w / 2
    yield Label(middle, s.y + s.h * 0.42, f"{s.blocks} blocks", s.size, "ink", "middle", bold=True)
    yield Label(middle, s.y + s.h * 0.78, f"{s.insns} instr.", s.size, "ink", "middle")


def _lost(s: shapes.Lost) -> Iterator[Primitive]:
    unit = s.size / 12
    title = f"{s.insns:,} instructions not recorded" if s.insns else "not recorded"
    yield Rectangle(s.x, s.y, s.w, s.h, "paper", title=title)
    yield Outline(
        _hatch(s.x, s.y, s.w, s.h, "/", 7 * unit), stroke="gutter", line=2.2 * unit
    )
    yield Rectangle(
        s.x, s.y, s.w, s.h, "none", "muted", 1.2 * unit, (2 * unit, 3 * unit)
    )
    top = s.y + s.h / 2 - (len(s.lines) - 1) * s.size * 0.75 + s.size * 0.36
    for k, text in enumerate(s.lines):
        y = top + k * s.size * 1.5
        yield Label(
            s.x + s.w / 2, y, text, s.size, "ink", "middle", bold=not k, halo="paper"
        )


def _lens(s: shapes.Lens) -> Iterator[Primitive]:
    low = s.y + s.h
    area = polygon((s.x, s.y), (s.x + s.w, s.y), (s.right, low), (s.left, low))
    yield Outline(area, "gutter", opacity=0.6)
    sides = lines([(s.x, s.y), (s.left, low)], [(s.x + s.w, s.y), (s.right, low)])
    yield Outline(sides, stroke="muted", line=1.2)


def _text(s: shapes.Text) -> Iterator[Primitive]:
    yield Label(s.x, s.y, s.text, s.size, s.role, s.anchor, s.bold, "paper" if s.halo else "")


def _tick(s: shapes.Tick) -> Iterator[Primitive]:
    yield Outline(lines([(s.x, s.y), (s.x, s.y + s.h)]), stroke="ink", line=1.2)
    y = s.y + s.h + s.size * 1.1
    yield Label(s.x + s.shift, y, s.label, s.size, "ink", "middle", halo="paper")


def _rule(s: shapes.Rule) -> Iterator[Primitive]:
    yield Outline(lines([(s.x, s.y), (s.x + s.w, s.y)]), stroke="faint", line=1.0)


def _notches(s: shapes.Notches) -> Iterator[Primitive]:
    path = lines(*([(x, s.y), (x, s.y + s.h)] for x in s.at))
    yield Outline(path, stroke="#111111", line=1.0, opacity=0.6)


def _columns(s: shapes.Columns) -> Iterator[Primitive]:
    path: Path = ()
    for x, y, w, h in s.rects:
        path += polygon((x, y), (x + w, y), (x + w, y + h), (x, y + h))
    style = block_style(s.colour)
    yield Outline(path, s.role or style.fill)
    if not s.role and style.hatch:
        hatched: Path = ()
        for x, y, w, h in s.rects:
            hatched += _hatch(x, y, w, h, style.hatch, 5)
        yield Outline(hatched, stroke=style.ink, line=1.0, opacity=0.55)


def _frame(s: shapes.Frame) -> Iterator[Primitive]:
    yield Rectangle(s.x, s.y, s.w, s.h, "none", "ink", s.line, radius=3.0)


def _tally(s: shapes.Tally) -> Iterator[Primitive]:
    yield from _sign(s.kind, s.x, s.y, s.size * 0.58, "ink")
    yield Label(s.x + s.size, s.y + s.size * 0.33, f"× {s.count:,}", s.size, "muted")


_DRAW: dict[type[shapes.Shape], Callable[[Any], Iterator[Primitive]]] = {
    shapes.Box: _box,
    shapes.Ghost: _ghost,
    shapes.Seam: _seam,
    shapes.Stem: _stem,
    shapes.Gutter: _gutter,
    shapes.Step: _step,
    shapes.Arc: _arc,
    shapes.Mark: _mark,
    shapes.Route: _route,
    shapes.Bar: _bar,
    shapes.Strip: _strip,
    shapes.Band: _band,
    shapes.Roof: _roof,
    shapes.Tie: _tie,
    shapes.Bracket: _bracket,
    shapes.Fold: _fold,
    shapes.Skip: _skip,
    shapes.Lost: _lost,
    shapes.Lens: _lens,
    shapes.Text: _text,
    shapes.Tick: _tick,
    shapes.Rule: _rule,
    shapes.Notches: _notches,
    shapes.Columns: _columns,
    shapes.Frame: _frame,
    shapes.Tally: _tally,
}

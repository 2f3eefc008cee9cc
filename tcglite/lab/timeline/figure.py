"""The matplotlib painter: the same picture as PNG, SVG or PDF, without pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcglite.lab.theme import FIGURE_FONT, LIGHT, Theme, theme
from tcglite.lab.timeline.draw import Label, Outline, Primitive, Rectangle, draw
from tcglite.lab.timeline.glyphs import Path
from tcglite.lab.timeline.shapes import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100  # one pixel of the layout is one pixel of a PNG saved at this
_POINTS = 72 / DPI


def to_figure(layout: Layout, look: str | Theme = LIGHT) -> Figure:
    """A figure of its own canvas (Agg), not known to pyplot: safe in any thread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = theme(look)
    figure = Figure(figsize=(layout.width / DPI, layout.height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.patch.set_facecolor(chosen.colour("paper"))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    axes.set_axis_off()
    for order, primitive in enumerate(p for shape in layout.shapes for p in draw(shape)):
        _paint(axes, primitive, chosen, order + 1)
    return figure


def _paint(axes: Axes, p: Primitive, look: Theme, order: int) -> None:
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.patches import Rectangle as Patch

    if isinstance(p, Label):
        _label(axes, p, look, order)
        return
    style: dict[str, Any] = {
        "facecolor": look.colour(p.fill),
        "edgecolor": look.colour(p.stroke),
        "linewidth": p.line * _POINTS if p.stroke != "none" else 0,
        "alpha": p.opacity if p.opacity < 1 else None,
        "zorder": order,
    }
    if p.dash and p.line:
        style["linestyle"] = (0, tuple(d / p.line for d in p.dash))
    if isinstance(p, Outline):
        if not p.path:
            return
        if p.round:
            style |= {"capstyle": "round", "joinstyle": "round"}
        axes.add_patch(PathPatch(_vertices(p.path), fill=p.fill != "none", **style))
        return
    assert isinstance(p, Rectangle)
    if p.radius:
        box = f"round,pad=0,rounding_size={p.radius}"
        style["fill"] = p.fill != "none"
        axes.add_patch(FancyBboxPatch((p.x, p.y), p.w, p.h, boxstyle=box, **style))
    else:
        axes.add_patch(Patch((p.x, p.y), p.w, p.h, fill=p.fill != "none", **style))


def _vertices(path: Path) -> Any:
    from matplotlib.path import Path as MplPath

    codes_of = {"M": MplPath.MOVETO, "L": MplPath.LINETO, "C": MplPath.CURVE4}
    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    for letter, *values in path:
        numbers = [float(v) for v in values]
        if letter == "Z":
            points.append(points[-1])
            codes.append(MplPath.CLOSEPOLY)
            continue
        for k in range(0, len(numbers), 2):
            points.append((numbers[k], numbers[k + 1]))
            codes.append(codes_of[str(letter)])
    return MplPath(points, codes)


def _label(axes: Axes, p: Label, look: Theme, order: int) -> None:
    from matplotlib.patheffects import withStroke

    effects = []
    if p.halo:
        effects = [withStroke(linewidth=p.size * 0.26 * _POINTS, foreground=look.colour(p.halo))]
    axes.text(
        p.x,
        p.y,
        p.text,
        fontsize=p.size * _POINTS,
        color=look.colour(p.fill),
        ha={"start": "left", "middle": "center", "end": "right"}[p.anchor],
        va="baseline",
        weight="bold" if p.bold else "normal",
        family=FIGURE_FONT,
        path_effects=effects,
        parse_math=False,
        zorder=order,
    )

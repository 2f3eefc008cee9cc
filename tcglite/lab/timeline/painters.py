"""The two painters: SVG for pages, matplotlib for files. Both draw the same primitives."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from tcglite.lab.theme import AUTO, FIGURE_FONT, FONT, LIGHT, ROLES, Theme, theme
from tcglite.lab.timeline.draw import Label, Outline, Primitive, Rectangle, draw
from tcglite.lab.timeline.glyphs import Path
from tcglite.lab.timeline.shapes import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100  # one pixel of the layout is one pixel of a PNG saved at this
_POINTS = 72 / DPI


def to_svg(layout: Layout, look: str | Theme = AUTO) -> str:
    """One ``<svg>`` element, valid inside a page and as a file of its own.

    ``look``: "auto" follows JupyterLab's theme, VS Code's, or the system's; "light", "dark".
    It has ``role="img"`` and the layout's summary as its label.
    """
    chosen = theme(look)
    scope = f".tcglite-timeline-{chosen.name}"
    paint = _Painter(chosen)
    body = "".join(paint.one(p) for shape in layout.shapes for p in draw(shape))
    w, h = _n(layout.width), _n(layout.height)
    label = escape(layout.summary, quote=True)
    # A legend is read as a whole: it shrinks to the page. A timeline keeps its size and scrolls.
    fit = "max-width:100%;height:auto" if layout.mode == "legend" else "max-width:none"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{scope[1:]}" viewBox="0 0 {w} {h}" '
        f'width="{w}" height="{h}" role="img" aria-label="{label}" '
        f'font-family="{escape(FONT)}" style="{fit}">'
        f"<style>{_style(chosen, scope)}</style>"
        f'<rect width="{w}" height="{h}" {paint.fill("paper")}/>{body}</svg>'
    )


def _style(chosen: Theme, scope: str) -> str:
    """Custom properties and, for each role, a fill and a stroke class."""
    rules = [chosen.css(scope)]
    for name in ROLES:
        rules.append(f"{scope} .f-{name}{{fill:var(--tl-{name})}}")
        rules.append(f"{scope} .s-{name}{{stroke:var(--tl-{name})}}")
    return "".join(rules)


class _Painter:
    """Writes primitives; plain colours beside the classes, for readers without CSS."""

    def __init__(self, chosen: Theme) -> None:
        self.theme = chosen

    def fill(self, role: str) -> str:
        if role == "none" or role.startswith("#"):
            return f'fill="{role}"'
        return f'class="f-{role}" fill="{self.theme.colour(role)}"'

    def paint(self, fill: str, stroke: str) -> str:
        classes, plain = [], []
        for letter, name, role in (("f", "fill", fill), ("s", "stroke", stroke)):
            if role in ROLES:
                classes.append(f"{letter}-{role}")
            if name == "fill" or role != "none":
                plain.append(f'{name}="{self.theme.colour(role)}"')
        start = f'class="{" ".join(classes)}" ' if classes else ""
        return start + " ".join(plain)

    def one(self, p: Primitive) -> str:
        if isinstance(p, Label):
            return self.label(p)
        extra = self.paint(p.fill, p.stroke)
        if p.stroke != "none":
            extra += f' stroke-width="{_n(p.line)}"'
        if p.dash:
            extra += f' stroke-dasharray="{" ".join(map(_n, p.dash))}"'
        if p.opacity < 1:
            extra += f' opacity="{_n(p.opacity)}"'
        if isinstance(p, Outline):
            joins = ' stroke-linecap="round" stroke-linejoin="round"' if p.round else ""
            return f'<path d="{_path(p.path)}" {extra}{joins}/>'
        return self.rectangle(p, extra)

    def rectangle(self, p: Rectangle, extra: str) -> str:
        radius = f' rx="{_n(p.radius)}"' if p.radius else ""
        start = f'<rect x="{_n(p.x)}" y="{_n(p.y)}" width="{_n(p.w)}" height="{_n(p.h)}"'
        if p.title:
            return f"{start}{radius} {extra}><title>{escape(p.title)}</title></rect>"
        return f"{start}{radius} {extra}/>"

    def label(self, p: Label) -> str:
        extra = self.paint(p.fill, p.halo or "none")
        if p.halo:
            extra += f' stroke-width="{_n(p.size * 0.26)}" paint-order="stroke"'
            extra += ' stroke-linejoin="round"'
        if p.anchor != "start":
            extra += f' text-anchor="{p.anchor}"'
        if p.bold:
            extra += ' font-weight="700"'
        text = escape(p.text, quote=False)
        return f'<text x="{_n(p.x)}" y="{_n(p.y)}" font-size="{_n(p.size)}" {extra}>{text}</text>'


def _n(value: float) -> str:
    """A number in as few characters as it needs."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return text if text not in ("-0", "") else "0"


def _path(path: Path) -> str:
    return "".join(
        str(letter) + " ".join(_n(float(v)) for v in numbers) for letter, *numbers in path
    )


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

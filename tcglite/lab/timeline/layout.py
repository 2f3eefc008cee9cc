"""``layout()``: from events to shapes. Painters and texts only read what it returns."""

from __future__ import annotations

from collections.abc import Iterable

from tcglite.errors import UsageError
from tcglite.lab.theme import font_scale
from tcglite.lab.timeline import bottom, crowd, twin
from tcglite.lab.timeline.canvas import Canvas
from tcglite.lab.timeline.draw import nodes
from tcglite.lab.timeline.lanes import Lanes, Tasks
from tcglite.lab.timeline.metrics import Metrics
from tcglite.lab.timeline.minimap import minimap
from tcglite.lab.timeline.names import Letters
from tcglite.lab.timeline.placing import (
    FOLDED,
    SINGLE,
    Placing,
    Window,
    place,
    select,
    skipped,
)
from tcglite.lab.timeline.reading import read
from tcglite.lab.timeline.shapes import Layout, MarkInfo, Shape
from tcglite.lab.timeline.story import Story
from tcglite.trace.events import Event

NODES = 1500  # an SVG never has more elements
_RESERVE = 20  # its own: title, style, groups


def layout(
    events: Iterable[Event],
    *,
    width: float = 960,
    window: Window = None,
    span: int = 12,
    tasks: Tasks | None = None,
    scale: float | None = None,
    letters: Letters | None = None,
    hart: int = 0,
) -> Layout:
    """The timeline of a machine's events (``m.events``) as shapes.

    ``width``: pixels to fit into; many single boxes may need up to three times as much.
    ``window``: None shows everything; a number the surroundings of that mark of
    ``Layout.marks`` (negative from the end), at least ``span`` blocks and the interrupt's whole
    way, without the dull part of a long handler; a pair the instructions from the first to
    before the second.
    ``tasks``: name -> (first address, end address) of each task's code, for a strip on top.
    ``scale``: size of everything; None is the lab's own (``lab.present()``).
    ``letters``: the letters of earlier pictures, to be kept.
    Raises UsageError for a mark that does not exist, a width or scale out of range.
    """
    factor = font_scale() if scale is None else scale
    if not 0.5 <= factor <= 4:
        raise UsageError(f"scale {factor!r}: expected a number from 0.5 to 4")
    if not 200 <= width <= 20_000:
        raise UsageError(f"width {width!r}: expected pixels from 200 to 20000")
    m = Metrics(factor)
    width = max(float(width), m(560))
    story = read(events, letters, hart)
    cells = select(story, window, span)
    if not len(cells):
        return _finish(*crowd.empty(story, width, m), story, range(0))
    if len(cells) <= SINGLE:
        skips = skipped(story, cells) if isinstance(window, int) else ()
        placing = place(story, cells, width, m, folding=False, skips=skips)
        assert placing is not None
        shapes, size = _single(story, placing, width, m, tasks)
        if nodes(shapes) <= NODES - _RESERVE:
            return _finish(shapes, size, "single", story, placing.parts)
    if len(cells) <= FOLDED:
        placing = place(story, cells, width, m, folding=True)
        if placing is not None:
            shapes, size = _single(story, placing, width, m, tasks)
            if nodes(shapes) <= NODES - _RESERVE:
                return _finish(shapes, size, "folded", story, placing.parts)
    parts = range(story.cells[cells.start].start, story.cells[cells.stop - 1].stop)
    return _finish(*crowd.density(story, parts, width, m), story, parts)


def _single(
    story: Story, placing: Placing, width: float, m: Metrics, tasks: Tasks | None
) -> tuple[tuple[Shape, ...], tuple[float, float]]:
    width = max(width, placing.right + m(26))
    canvas = Canvas(m, width)
    lanes = Lanes(canvas, story, placing, tasks)
    lanes.tasks_strip()
    top = canvas.y
    if any(lanes.in_view(handler) for handler in story.handlers):
        canvas.y += m(19)
    lanes.device()
    lanes.request()
    lanes.code()
    lanes.loop()
    bottom.helpers(lanes)
    floor = canvas.y
    lanes.gutters(top, floor)
    lanes.bands(top, floor)
    canvas.back.sort(key=_depth)
    lanes.put_marks()
    bottom.routes(lanes)
    bottom.axis(lanes)
    bottom.brackets(lanes)
    minimap(canvas, story, placing.parts, width - m(26))
    return canvas.shapes(), (width, canvas.y)


def _depth(shape: Shape) -> int:
    """Bands lie deepest, the gutters on them, the rules on top."""
    return {"Band": 0, "Gutter": 1}.get(type(shape).__name__, 2)


def _finish(
    shapes: tuple[Shape, ...], size: tuple[float, float], mode: str, story: Story, parts: range
) -> Layout:
    marks = tuple(
        MarkInfo(mark.kind, mark.number, mark.at.i, mark.line(), mark.at.part in parts)
        for mark in story.marks
    )
    seen = {p.tb for p in story.parts if hasattr(p, "tb")}
    return Layout(
        width=round(size[0], 2),
        height=round(size[1], 2),
        shapes=shapes,
        mode=mode,
        summary=twin.summary(story, parts),
        text=twin.lines(story, parts),
        marks=marks,
        window=twin.bounds(story, parts),
        names={tb: story.letters.name(tb) for tb in sorted(seen)},
    )

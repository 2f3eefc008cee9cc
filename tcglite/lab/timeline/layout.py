"""``layout()`` and ``overview()``: from events to shapes. Painters and texts only read these."""

from __future__ import annotations

from collections.abc import Iterable

from tcglite.errors import UsageError
from tcglite.lab.theme import font_scale
from tcglite.lab.timeline import bottom, twin
from tcglite.lab.timeline.canvas import Canvas, Tasks
from tcglite.lab.timeline.columns import minimap, run_text
from tcglite.lab.timeline.density import density
from tcglite.lab.timeline.draw import nodes
from tcglite.lab.timeline.lanes import Lanes
from tcglite.lab.timeline.metrics import Metrics, fitting, text_width
from tcglite.lab.timeline.names import Letters
from tcglite.lab.timeline.placing import (
    FOLDED,
    REACHES,
    SINGLE,
    Placing,
    Window,
    place,
    select,
)
from tcglite.lab.timeline.reading import read
from tcglite.lab.timeline.shapes import Frame, Layout, Lens, MarkInfo, Shape
from tcglite.lab.timeline.story import Gap, Journey, Story, distance, latency_text
from tcglite.trace.events import Event

NODES = 1500  # an SVG never has more elements
_RESERVE = 20  # its own: title, style, groups
SPAN = 12  # blocks around a mark, at least
RICHEST = 100  # so many interrupts are compared
WIDER = 1.35  # a picture that is so much wider than asked is no overview


def layout(
    events: Iterable[Event],
    *,
    width: float = 960,
    window: Window = None,
    span: int = SPAN,
    tasks: Tasks | None = None,
    scale: float | None = None,
    letters: Letters | None = None,
    hart: int = 0,
    title: str | None = None,
) -> Layout:
    """The timeline of a machine's events (``m.events``) as shapes.

    ``width``: pixels to fit into; many single boxes may need up to three times as much.
    ``window``: None shows everything; a number the surroundings of that mark of
    ``Layout.marks`` (negative from the end), at least ``span`` blocks and of the interrupt's way
    what fits, without the dull part of a long handler; a pair the instructions from the first to
    before the second.
    ``tasks``: name -> (first address, end address) of each task's code, for a strip on top.
    ``scale``: size of everything; None is the lab's own (``lab.present()``).
    ``letters``: the letters of earlier pictures, to be kept.
    ``title``: a head line; the run's own numbers follow it.
    Raises UsageError for a mark that does not exist, a width or scale out of range.
    """
    m = _metrics(width, scale)
    story = read(events, letters, hart)
    return _layout(story, max(float(width), m(560)), m, window, span, tasks, title)


def overview(
    events: Iterable[Event],
    *,
    width: float = 960,
    tasks: Tasks | None = None,
    scale: float | None = None,
    letters: Letters | None = None,
    hart: int = 0,
    title: str | None = None,
) -> Layout:
    """A whole run that tells its story without a second look: a small one as ``layout()`` draws
    it; of a larger one an overview, and below it, closer, its most telling moment, the first
    interrupt that was taken. The options are those of :func:`layout`."""
    m = _metrics(width, scale)
    width = max(float(width), m(560))
    story = read(events, letters, hart)
    mark = telling(story)
    found = None if mark is None else _closer(story, mark, SPAN, width, m)
    if found is None or len(story.cells) <= FOLDED:
        whole = _layout(story, width, m, None, SPAN, tasks, title)
        if found is None or (whole.mode != "density" and whole.width <= WIDER * width):
            return whole
    assert mark is not None
    c = Canvas(m, max(width, found.right + m(26)))
    _head(c, story, title)
    parts = range(len(story.parts))
    top = c.y
    axis = density(c, story, parts, tasks)
    start, stop = axis.xs[found.parts.start], axis.xs[found.parts.stop]
    start, wide = start - m(2), max(stop - start, m(2)) + m(4)
    c.back.append(Frame(x=start, y=top - m(1), w=wide, h=c.y - top + m(2), line=m(1.6)))
    c.back.append(
        Lens(x=start, y=c.y + m(1), w=wide, h=m(30), left=found.left, right=found.right)
    )
    c.text(m(8), c.y + m(22), "CLOSER", bold=True)
    c.y += m(31)
    caption = _caption(story, mark)
    c.text(found.left, c.y + m(20), caption, m.normal, bold=True)
    c.y += m(28)
    _single(c, story, found, tasks)
    text = (*twin.lines(story, parts), f"Closer: {caption}", *twin.lines(story, found.parts))
    return _finish(c, "overview", story, parts, text)


def telling(story: Story) -> int | None:
    """The mark that tells most: of the interrupts whose whole way was recorded, the first with
    the most to see; else the first of what is rarest. None if nothing of it happened."""
    taken = [j for j in story.journeys[:RICHEST] if j.taken and not _gaps(story, j)]
    if taken:
        best = max(taken, key=lambda j: len({story.marks[k].kind for k in j.marks}))
        return next(k for k in best.marks if story.marks[k].kind == "taken")
    for kind in ("taken", "unexpected", "dropped", "rewound", "expected", "cut", "looked",
                 "raised", "refused", "sleep"):  # fmt: skip
        there = [
            k for k, mark in enumerate(story.marks)
            if mark.kind == kind and not (kind == "looked" and mark.number is None)
        ]  # fmt: skip
        if there:
            return there[0]
    return None


def _gaps(story: Story, journey: Journey) -> bool:
    first, last = (story.marks[journey.marks[k]].at.part for k in (0, -1))
    around = story.parts[max(first - 1, 0) : last + 3]
    return any(isinstance(part, Gap) for part in around)


def _caption(story: Story, mark: int) -> str:
    """What is to be seen around a mark, in a line."""
    found = story.marks[mark]
    for journey in story.journeys:
        measured = distance(story, journey)
        if journey.number == found.number and measured is not None:
            _, taken, insns, blocks = measured
            wait = latency_text(insns, blocks)
            return f"interrupt {journey.number} ({taken.detail}), from raised to taken: {wait}"
    return found.line()


def _metrics(width: float, scale: float | None) -> Metrics:
    factor = font_scale() if scale is None else scale
    if not 0.5 <= factor <= 4:
        raise UsageError(f"scale {factor!r}: expected a number from 0.5 to 4")
    if not 200 <= width <= 20_000:
        raise UsageError(f"width {width!r}: expected pixels from 200 to 20000")
    return Metrics(factor)


def _layout(
    story: Story, width: float, m: Metrics, window: Window, span: int, tasks: Tasks | None,
    title: str | None,
) -> Layout:  # fmt: skip
    cells = select(story, window, span)
    if not len(cells):
        return _empty(story, width, m, title)
    placings = []
    if isinstance(window, int):
        placings.append(_closer(story, window, span, width, m))
    elif len(cells) <= SINGLE:
        placings.append(place(story, cells, width, m, folding=False))
    if len(cells) <= FOLDED:
        placings.append(place(story, cells, width, m, folding=True))
        if isinstance(window, tuple):
            placings.append(place(story, cells, width, m, folding=True, skipping=True))
    for placing in placings:
        if placing is None:
            continue
        c = Canvas(m, max(width, placing.right + m(26)))
        _head(c, story, title)
        _single(c, story, placing, tasks)
        minimap(c, story, placing.parts, c.width - m(26))
        if nodes(c.shapes()) <= NODES - _RESERVE:
            mode = "folded" if placing.folds else "single"
            return _finish(c, mode, story, placing.parts)
    c = Canvas(m, width)
    _head(c, story, title)
    parts = range(story.cells[cells.start].start, story.cells[cells.stop - 1].stop)
    density(c, story, parts, tasks)
    minimap(c, story, parts, width - m(26))
    return _finish(c, "density", story, parts)


def _closer(story: Story, mark: int, span: int, width: float, m: Metrics) -> Placing | None:
    """The surroundings of a mark: as much of its interrupt's way as fits, folded if it is long."""
    placing = None
    for reach in REACHES:
        cells = select(story, mark, span, reach)
        for folding in (False, True):
            if len(cells) <= (FOLDED if folding else SINGLE):
                placing = place(story, cells, width, m, folding, skipping=True)
                if placing is not None and placing.right <= WIDER * width:
                    return placing
    return placing


def _head(c: Canvas, story: Story, title: str | None) -> None:
    """The guest's name and the run's numbers, in one line."""
    if title is None:
        return
    m = c.m
    x = m(8)
    if title:
        name = fitting(title, m.big, c.width / 2, bold=True)
        c.text(x, c.y + m(19), name, m.big, bold=True)
        x += text_width(name, m.big, bold=True) + m(14)
    text = run_text(story)
    taken = sum(mark.kind == "taken" for mark in story.marks)
    if taken:
        text += f" · {taken:,} interrupt{'s' * (taken != 1)} taken"
    c.text(x, c.y + m(19), fitting(text, m.normal, c.width - x - m(8)), m.normal, role="muted")
    c.y += m(32)


def _empty(story: Story, width: float, m: Metrics, title: str | None) -> Layout:
    """Nothing happened, or not in this window."""
    c = Canvas(m, width)
    _head(c, story, title)
    text = "Nothing recorded in this window." if story.parts else "Nothing recorded yet."
    c.text(m(12), c.y + m(26), text, m.normal, role="muted")
    c.y += m(46)
    if story.parts:
        minimap(c, story, range(0), width - m(26))
    return _finish(c, "empty", story, range(0))


def _single(canvas: Canvas, story: Story, placing: Placing, tasks: Tasks | None) -> None:
    """All lanes of a picture of single blocks."""
    m = canvas.m
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


def _depth(shape: Shape) -> int:
    """Bands lie deepest, the gutters on them, the rules on top."""
    return {"Band": 0, "Gutter": 1, "Frame": 3}.get(type(shape).__name__, 2)


def _finish(
    c: Canvas, mode: str, story: Story, parts: range, text: tuple[str, ...] | None = None
) -> Layout:
    marks = tuple(
        MarkInfo(mark.kind, mark.number, mark.at.i, mark.line(), mark.at.part in parts)
        for mark in story.marks
    )
    seen = {p.tb for p in story.parts if hasattr(p, "tb")}
    return Layout(
        width=round(c.width, 2),
        height=round(c.y, 2),
        shapes=c.shapes(),
        mode=mode,
        summary=twin.summary(story, parts),
        text=twin.lines(story, parts) if text is None else text,
        marks=marks,
        window=twin.bounds(story, parts),
        names={tb: story.letters.name(tb) for tb in sorted(seen)},
    )

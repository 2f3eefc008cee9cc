"""The whole recording in one strip, always: where the picture is, and how many marks there are."""

from __future__ import annotations

from collections import Counter

from tcglite.lab.timeline.bottom import number_text
from tcglite.lab.timeline.canvas import Canvas
from tcglite.lab.timeline.density import block_columns, interval_columns, scale
from tcglite.lab.timeline.glyphs import SIGNS
from tcglite.lab.timeline.metrics import text_width
from tcglite.lab.timeline.shapes import Frame, Tally
from tcglite.lab.timeline.story import Run, Story, Visit

COLUMNS = 160


def minimap(canvas: Canvas, story: Story, parts: range, right: float) -> None:
    """The strip, a frame around ``parts``, and each kind of mark with its count."""
    m, c = canvas.m, canvas
    c.lane("WHOLE RUN")
    c.y += m(6)
    everything = range(len(story.parts))
    left, width = m.names, right - m.names
    axis = scale(story, everything, left, width)
    height = m(18)
    c.middle += block_columns(story, everything, axis, c.y, height, COLUMNS)
    spots = [axis.x(mark.at, story) for mark in story.marks if mark.kind == "taken"]
    taken = interval_columns(
        [(x - m(1), x + m(1)) for x in spots], c.y - m(4), height + m(8), "taken", "journey"
    )
    if taken:
        c.middle.append(taken)
    if len(parts) and len(parts) < len(everything):
        start = axis.at(axis.starts[parts.start])
        stop = axis.at(axis.starts[parts.stop]) if parts.stop < len(axis.starts) else left + width
        c.front.append(
            Frame(x=start - m(2), y=c.y - m(3), w=max(stop - start, m(3)) + m(4), h=height + m(6))
        )
    c.y += height + m(22)
    runs = [part for part in story.parts if isinstance(part, Run)]
    visits = sum(isinstance(part, Visit) for part in story.parts)
    text = (
        f"{number_text(sum(run.executed for run in runs))} instructions · "
        f"{number_text(len(runs))} blocks run · {number_text(visits)} loop visits"
    )
    c.text(left, c.y, text, role="muted")
    x = left + text_width(text, m.small) + m(18)
    counts = Counter(mark.kind for mark in story.marks)
    for kind in SIGNS:
        if not counts[kind]:
            continue
        label = f"× {counts[kind]:,}"
        room = m(22) + text_width(label, m.small) + m(12)
        if x + room > right + m(10):
            x = left
            c.y += m(21)
        c.front.append(
            Tally(x=x + m(8), y=c.y - m(4), kind=kind, count=counts[kind], size=m.small)
        )
        x += room
    c.y += m(10)

"""The timeline of any list of events whatever: it never fails, loses nothing, stays small."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcglite.lab.timeline import layout, shapes, to_svg, to_text
from tcglite.lab.timeline.layout import NODES
from tcglite.trace import events as ev

small = st.integers(0, 9)
pcs = st.sampled_from([0x8000_0000 + 0x20 * k for k in range(8)])
SPECIAL = {
    "reason": st.sampled_from(["slot", "none", "refused", "exception"]),
    "entry": st.sampled_from(["loop", "chain", "goto_ptr"]),
    "line": st.sampled_from(["mtip", "msip", "meip", "plic:10", "uart", "plic:3"]),
    "why": st.sampled_from(["interrupt", "stop", "budget"]),
    "cause": st.sampled_from([1, 3, 5, 7, 8, 11, 99]),
    "device": st.sampled_from(["uart", "<&>"]),
    "level": st.integers(0, 1),
    "pending": st.sampled_from([0, 8, 0x80, 0x880]),
    "pc": pcs,
    "slot": st.sampled_from([None, 0, 1]),
    "count": st.integers(0, 12),
    "executed": st.integers(0, 12),
}
KINDS = [
    kind
    for kind in vars(ev).values()
    if isinstance(kind, type) and issubclass(kind, ev.Event) and kind is not ev.Event
]


@st.composite
def one_event(draw: st.DrawFn) -> ev.Event:
    kind = draw(st.sampled_from([*KINDS, *[ev.BlockRun] * 12]))
    values = {}
    for name, field in kind.__dataclass_fields__.items():
        if name in SPECIAL and not (name == "cause" and kind is ev.Refused):
            values[name] = draw(SPECIAL[name])
        elif name == "cause":
            values[name] = draw(st.sampled_from(["flag", "budget"]))
        elif field.type == "bool":
            values[name] = draw(st.booleans())
        else:
            values[name] = draw(small)
    values["hart"] = 0
    values["insns"] = draw(st.one_of(st.none(), st.integers(0, 400)))
    return kind(**values)


@st.composite
def recordings(draw: st.DrawFn) -> list[ev.Event]:
    """Anything, repeated or not, with counts that are consistent or not."""
    found = draw(st.lists(one_event(), max_size=60))
    found *= draw(st.sampled_from([1, 1, 2, 9]))
    if draw(st.booleans()):
        insns = 0
        straight = []
        for event in found:
            values = {n: getattr(event, n) for n in event.__dataclass_fields__}
            straight.append(type(event)(**{**values, "insns": insns}))
            if isinstance(event, ev.BlockRun):
                insns += event.executed
        found = straight
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(recordings(), st.sampled_from([300, 960, 2000]), st.data())
def test_any_events_give_a_picture(events, width, data):
    whole = layout(events, width=width)
    check(whole, width)
    if whole.marks:
        k = data.draw(st.integers(-len(whole.marks), len(whole.marks) - 1))
        check(layout(events, window=k, width=width), width)
    start, stop = sorted((data.draw(st.integers(0, 500)), data.draw(st.integers(0, 500))))
    check(layout(events, window=(start, stop), width=width), width)


def check(picture: shapes.Layout, width: float) -> None:
    root = ElementTree.fromstring(to_svg(picture))
    assert len(list(root.iter())) <= NODES
    row = sorted(
        (s.x, s.x + s.w)
        for s in picture.shapes
        if isinstance(s, shapes.Box | shapes.Ghost) and s.w > 0
    )
    for (_, end), (start, _) in pairwise(row):
        assert end <= start + 0.02, "two boxes overlap"
    drawn: Counter[str] = Counter()
    for shape in picture.shapes:
        if isinstance(shape, shapes.Mark) and shape.kind != "device":
            drawn[shape.kind] += shape.times
            assert 0 <= shape.x <= picture.width
    if picture.mode != "empty":
        assert drawn == Counter(mark.kind for mark in picture.marks if mark.shown)
    tally = {s.kind: s.count for s in picture.shapes if isinstance(s, shapes.Tally)}
    if picture.mode != "empty" or tally:
        assert tally == Counter(mark.kind for mark in picture.marks)
    assert isinstance(to_text(picture), str)

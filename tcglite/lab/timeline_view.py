"""Timeline: a machine's recording as a picture with buttons from mark to mark.

The picture is made by ``tcglite.lab.timeline``; here are only the buttons. Without a kernel the
saved output shows the picture and its text twin.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from tcglite.errors import UsageError
from tcglite.lab.timeline import Layout, Letters, layout, save_timeline, to_html
from tcglite.machine import Machine
from tcglite.trace.events import BlockRun, Event

SPANS = (6, 12, 24, 48, 120, 600)       # how many blocks are shown around a mark, at least


class Timeline(widgets.VBox):
    """``Timeline(machine)`` or ``Timeline(events)``.

    ``mark``: begin at mark (a number as in ``drawn.marks``, negative from the end); else
    everything is shown. ``options`` are those of ``tcglite.lab.timeline.layout``: window, width,
    tasks, scale. From plain Python: ``text``, ``drawn``, ``move(1)``, ``zoom(-1)``,
    ``everything()``, ``save("x.svg")``.
    """

    def __init__(self, source: Any, *, mark: int | None = None, **options: Any) -> None:
        self._events = _events(source)
        _check_window(self._events, options.get("window"))
        self._options = options
        self._letters = Letters()
        self._zoom = 1
        self._at = mark
        self.drawn = self._draw()
        self._picture, self._where = widgets.HTML(), widgets.HTML()
        super().__init__(children=[self._picture, widgets.HBox([
            self._button("◀ mark", "To the mark before", lambda: self.move(-1)),
            self._button("mark ▶", "To the next mark", lambda: self.move(1)),
            self._button("closer", "Fewer blocks", lambda: self.zoom(-1)),
            self._button("wider", "More blocks", lambda: self.zoom(1)),
            self._button("everything", "The whole recording", self.everything),
            self._where])])
        self._show()

    @property
    def text(self) -> str:
        """The text twin of what is shown."""
        return "\n".join(self.drawn.text)

    def move(self, by: int) -> None:
        """To the next mark (1), or back (-1)."""
        marks = self.drawn.marks
        if marks:
            at = -1 if self._at is None and by > 0 else len(marks) if self._at is None else (
                self._at % len(marks))
            self._at = min(max(at + by, 0), len(marks) - 1)
            self._show()

    def zoom(self, by: int) -> None:
        """More blocks around the mark (1), or fewer (-1)."""
        self._zoom = min(max(self._zoom + by, 0), len(SPANS) - 1)
        self._show()

    def everything(self) -> None:
        """The whole recording."""
        self._at = None
        self._show()

    def save(self, path: str | Path) -> None:
        """Write what is shown to a file: .svg, .png or .pdf."""
        save_timeline(self._events, path, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        given = dict(self._options)
        if self._at is not None:
            given |= {"window": self._at, "span": SPANS[self._zoom]}
        return given | {"letters": self._letters}

    def _draw(self) -> Layout:
        return layout(self._events, **self._arguments())

    def _show(self) -> None:
        self.drawn = drawn = self._draw()
        self._picture.value = to_html(drawn)
        place = f"{len(drawn.marks)} marks"
        if self._at is not None and drawn.marks:
            number = self._at % len(drawn.marks)
            place = f"mark {number + 1} of {len(drawn.marks)}: {drawn.marks[number].line}"
        self._where.value = f'<span role="status" aria-live="polite">{html.escape(place)}</span>'

    def _button(self, name: str, tip: str, action: Any) -> widgets.Button:
        button = widgets.Button(description=name, tooltip=tip, layout={"width": "auto"})
        button.on_click(lambda _: action())
        return button

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = dict(super()._repr_mimebundle_(**kwargs) or {})
        bundle["text/html"] = to_html(self.drawn)
        bundle["text/plain"] = f"{self.drawn.summary}\n{self.text}"
        return bundle


def _events(source: Any) -> list[Event]:
    """The events of a machine, or those given."""
    found = getattr(source, "events", source)
    if not isinstance(found, Iterable) or isinstance(found, str | bytes):
        raise UsageError(f"timeline of {source!r}: expected a Machine or its events")
    if isinstance(source, Machine) and source.recorder.mode is None:
        raise UsageError("this machine records nothing; expected one made with "
                         "Machine(…, trace='blocks')")
    events = list(found)
    wrong = next((e for e in events if not isinstance(e, Event)), None)
    if wrong is not None:
        raise UsageError(f"timeline of {wrong!r}: expected events, as m.events gives them")
    return events


def _check_window(events: list[Event], window: Any) -> None:
    """A pair of instructions must lie, at least in part, in what was recorded."""
    runs = [event for event in events if isinstance(event, BlockRun)]
    if not runs or not isinstance(window, tuple) or len(window) != 2:
        return      # nothing to compare with, or layout() says what is wrong
    first, last = runs[0].insns, (runs[-1].insns or 0) + runs[-1].executed
    if first is None or not all(isinstance(n, int) for n in window):
        return
    if window[0] >= last or first >= window[1] >= window[0]:
        raise UsageError(f"window={window}: expected a part of the recording, which has "
                         f"instructions {first} to {last}")

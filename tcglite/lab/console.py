"""InterruptConsole: a live machine with buttons that interrupt it, and its last moments.

An arrangement of the Scope. Buttons only submit commands to the session's worker; the worker
publishes snapshots, and this view writes them into HTML widgets. Where no kernel runs, the saved
output is a still picture with its text twin.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from tcglite.lab import registry, theme
from tcglite.lab import snapshot as shots
from tcglite.lab.programs import resolve
from tcglite.lab.session import Session
from tcglite.lab.snapshot import ENDED, RUNNING, STOPPED, Snapshot
from tcglite.lab.strip import Strip

# What Ring does on a guest that is made for one kind of interrupt; elsewhere it is the doorbell.
RING = {"echo": ("key", "A key"), "timer": ("timer", "The timer")}
RANDOM = {"echo": "uart", "timer": "timer"}
LETTERS = "interrupt"

LINES = [("serial port", "uart"), *((f"PLIC source {n}", f"plic:{n}") for n in range(1, 32))]


class InterruptConsole(widgets.VBox):
    """Run ``guest`` and interrupt it: ``InterruptConsole("echo")``.

    ``twin``: the same guest beside it on an engine whose chained code never looks at the exit
    flag. ``run``: start at once. From plain Python: ``inject("uart", "x")``, ``wait("taken")``,
    ``step(100)``, ``snapshot``, ``last_error``, ``go``, ``freeze``, ``reset``, ``stop``.
    """

    def __init__(self, guest: Any = "echo", *, twin: bool = False, full_speed: bool = False,
                 run: bool = True, backend: str = "auto") -> None:
        self._guest, _ = resolve(guest)
        self._strip = Strip()
        self._presses = 0
        self._build(self._guest, twin, full_speed)
        key = registry.this_cell(f"InterruptConsole {self._guest}")
        self.session: Session = registry.replace(key, lambda: Session(
            guest, twin=twin, full_speed=full_speed, backend=backend, publish=self._show))
        super().__init__(children=self._rows)
        if run:
            self.session.go()

    # -- from plain Python ------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The newest state of the machine that was published."""
        return self.session.snapshot

    @property
    def last_error(self) -> str | None:
        """The error that the panel shows, None if all is well."""
        return self.session.last_error

    def inject(self, what: str, value: str = "") -> None:
        """Interrupt the guest: ``inject("uart", "x")``, ``inject("timer")``, ``("plic:3")``."""
        self.session.inject(what, value)

    def wait(self, until: Callable[[Snapshot], bool] | str = "taken",
             timeout: float = 20) -> Snapshot:
        """Wait for "taken", "output", a state such as "frozen", or until a function is true."""
        return self.session.wait(until, timeout)

    def step(self, insns: int) -> Snapshot:
        """Freeze, then run exactly that many guest instructions."""
        return self.session.step(insns)

    def go(self) -> None:
        """Let the machine run."""
        self.session.go()

    def freeze(self) -> None:
        """Let it stand still."""
        self.session.freeze()

    def reset(self) -> None:
        """Begin again with a new machine."""
        self.session.reset()

    def stop(self) -> None:
        """End the panel; its machine is freed."""
        self.session.close()

    def close(self) -> None:
        """As every widget's ``close``; ends the panel too."""
        if hasattr(self, "session"):    # not so after a bad guest, when ipywidgets cleans up
            self.session.close()
        super().close()

    # -- the view ---------------------------------------------------------------------------

    def _build(self, guest: str, twin: bool, full_speed: bool) -> None:
        """All widgets; handlers do nothing but submit."""
        what, name = RING.get(guest, ("doorbell", "The doorbell"))
        self._ring_what = what
        self._ring = self._button("Ring", f"{name} interrupts the guest", self._on_ring, "primary")
        self._freeze = self._button("Freeze", "Stop the machine and its time, or go on",
                                    self._on_freeze)
        self._previous = self._button("◀ mark", "To the mark before", lambda: self._move(-1))
        self._next = self._button("mark ▶", "To the next mark", lambda: self._move(1))
        self._closer = self._button("closer", "Fewer blocks", lambda: self._zoom(-1))
        self._wider = self._button("wider", "More blocks", lambda: self._zoom(1))
        self._reset = self._button("Reset", "Begin again with a new machine", self.reset)
        self._stop = self._button("Stop", "End this panel and its machine", self.stop, "danger")
        self._full = widgets.Checkbox(value=full_speed, description="full speed", indent=False,
                                      layout={"width": "110px"})
        self._full.observe(self._guarded(lambda: self.session.set_full_speed(self._full.value)),
                           "value")
        self._key = widgets.Text(value="x", description="key", layout={"width": "140px"},
                                 style={"description_width": "40px"})
        self._type = self._button("Type", "Send these characters to the serial port",
                                  lambda: self.inject("uart", self._key.value))
        self._timer = self._button("Timer", "The timer's line, mtip, goes up",
                                   lambda: self.inject("timer"))
        self._doorbell = self._button("Doorbell", "The doorbell's line, msip, goes up",
                                      lambda: self.inject("doorbell"))
        self._line = widgets.Dropdown(options=LINES, layout={"width": "180px"})
        self._raise = self._button("Raise", "This line goes up",
                                   lambda: self.inject(self._line.value))
        self._rate = widgets.IntSlider(value=0, min=0, max=20, description="at random, per second",
                                       continuous_update=False, layout={"width": "340px"},
                                       style={"description_width": "150px"})
        self._rate.observe(self._guarded(lambda: self.session.set_rate(
            self._rate.value, RANDOM.get(guest, "doorbell"))), "value")
        more = widgets.Accordion(children=[widgets.VBox([
            widgets.HBox([self._key, self._type, self._timer, self._doorbell, self._line,
                          self._raise]), self._rate])])
        more.set_title(0, "More ways to interrupt")
        more.selected_index = None

        self._status, self._error, self._picture = (widgets.HTML() for _ in range(3))
        self._counters, self._waits, self._output = (widgets.HTML() for _ in range(3))
        title = widgets.HTML(f"<b>{html.escape(guest)}</b>"
                             + (" and its deaf twin" if twin else ""))
        picture = [self._picture,
                   widgets.HBox([self._previous, self._next, self._closer, self._wider])]
        numbers = [widgets.HBox([self._counters, self._output, self._waits],
                                layout={"flex_flow": "row wrap", "grid_gap": "24px"})]
        self._rows = [
            widgets.HBox([self._ring, self._freeze, self._reset, self._stop, self._full, title]),
            self._status,
            self._error,
            *(numbers + picture if twin else picture + numbers),    # twins: what differs first
            more,
        ]

    def _button(self, name: str, tip: str, action: Callable[[], None],
                style: str = "") -> widgets.Button:
        button = widgets.Button(description=name, tooltip=tip, button_style=style,
                                layout={"width": "auto"})
        button.on_click(self._guarded(action))
        return button

    def _guarded(self, action: Callable[[], None]) -> Callable[..., None]:
        """ipywidgets swallows what a handler raises: show it in the error line."""
        def handler(*_: Any) -> None:
            try:
                action()
            except Exception as error:
                self.session.report(error)
        return handler

    def _on_ring(self) -> None:
        letter = LETTERS[self._presses % len(LETTERS)]
        self._presses += 1
        self.session.inject(self._ring_what, letter if self._ring_what == "key" else "")

    def _on_freeze(self) -> None:
        if self.session.snapshot.state == RUNNING:
            self.session.freeze()
        else:
            self.session.go()

    def _move(self, by: int) -> None:
        self.session.draw(lambda: self._strip.move(by))

    def _zoom(self, by: int) -> None:
        self.session.draw(lambda: self._strip.zoom(by))

    def _show(self, shot: Snapshot) -> None:
        """Write a snapshot into the widgets; on the worker's thread. Equal values cost nothing."""
        self._strip.show(shot.recording)
        self._status.value = shots.status_html(shot)
        self._error.value = shots.error_html(shot)
        self._counters.value = shots.counters_html(shot)
        self._waits.value = shots.waits_html(shot.main)
        lines = 5 if shot.twin is None else 2
        self._output.value = shots.output_html("the guest prints", shot.main, lines) + (
            shots.output_html("the deaf twin prints", shot.twin, lines) if shot.twin else "")
        self._picture.value = self._picture_html(shot)
        self._freeze.description = "Freeze" if shot.state == RUNNING else "Go"
        over = shot.state in (ENDED, STOPPED)
        self._freeze.disabled = over
        for button in (self._ring, self._type, self._timer, self._doorbell, self._raise):
            button.disabled = over
        self._stop.disabled = self._reset.disabled = shot.state == STOPPED
        still = shot.state == RUNNING
        for button in (self._previous, self._next, self._closer, self._wider):
            button.disabled = still

    def _picture_html(self, shot: Snapshot) -> str:
        stale = shot.state in (ENDED, STOPPED)
        border = "2px dashed #D55E00" if stale else "1px solid #8888"
        words = self._strip.position
        if stale:
            words = "not live any more · " + words
        inside = self._strip.html or ("<div style='padding:2em'>Press <b>Ring</b>: the moment of "
                                      "the interrupt appears here.</div>")
        return (f'<div style="border:{border};border-radius:4px;min-height:150px;overflow-x:auto">'
                f'{inside}</div><div style="font-size:{0.85 * theme.font_scale():.2f}em">'
                f"{html.escape(words)}</div>")

    # -- where no kernel runs ---------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live widget, and beside it what it shows now as HTML and as text."""
        bundle = dict(super()._repr_mimebundle_(**kwargs) or {})
        shot = self.snapshot
        bundle["text/html"] = (
            f'<figure role="img" aria-label="{html.escape(shots.text(self._guest, shot, ""))}">'
            f"<div><b>{html.escape(self._guest)}</b></div>{self._status.value}"
            f"{self._picture.value}{self._counters.value}{self._output.value}"
            "<figcaption>A still picture of a live panel: run the cell to use it.</figcaption>"
            "</figure>")
        bundle["text/plain"] = shots.text(self._guest, shot, self._strip.text)
        return bundle

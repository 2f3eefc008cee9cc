"""What a panel shows at one moment: plain values, and the HTML and text made from them."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from tcglite.lab import theme
from tcglite.lab.latency import Wait, histogram_svg
from tcglite.lab.timeline.names import Letters
from tcglite.trace.events import Event

RUNNING, FROZEN, ENDED, STOPPED = "running", "frozen", "ended", "stopped"


@dataclass(frozen=True, slots=True)
class View:
    """One machine from outside. ``pressed``: how often something was injected; ``waits``: how
    long each interrupt waited; ``output``: what the guest has printed."""

    pressed: int = 0
    insns: int = 0
    returns: int = 0
    translations: int = 0
    refused: int = 0
    taken: int = 0
    output: str = ""
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """Events to draw, oldest first, and the blocks' letters. The same object as long as there is
    nothing new to draw."""

    events: tuple[Event, ...] = ()
    letters: Letters = field(default_factory=Letters)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The panel. ``state``: running, frozen, ended (the guest) or stopped (the panel);
    ``note``: why, in words."""

    state: str = FROZEN
    note: str = ""
    full_speed: bool = False
    main: View = field(default_factory=View)
    twin: View | None = None
    recording: Recording = field(default_factory=Recording)
    error: str = ""

    @property
    def taken(self) -> int:
        return self.main.taken

    @property
    def output(self) -> str:
        return self.main.output


def status_text(shot: Snapshot) -> str:
    """The state in a few words; changes rarely, so that a screen reader can follow it."""
    speed = "full speed" if shot.full_speed else "about a tenth of full speed"
    words = {
        RUNNING: f"running at {speed}",
        FROZEN: "frozen: nothing moves, also the guest's time stands still",
        ENDED: "the guest has ended",
        STOPPED: "stopped: run the cell again for a new machine",
    }[shot.state]
    return f"{words} ({shot.note})" if shot.note else words


def status_html(shot: Snapshot) -> str:
    """The status line."""
    sign = {RUNNING: "▶", FROZEN: "❚❚", ENDED: "■", STOPPED: "■"}[shot.state]
    return (f'<div role="status" aria-live="polite" style="{_font(1)}">'
            f"{sign} {html.escape(status_text(shot))}</div>")


def error_html(shot: Snapshot) -> str:
    """The error line; empty when nothing went wrong."""
    if not shot.error:
        return ""
    return (f'<div role="alert" style="{_font(1)};border-left:4px solid #c2003a;padding:2px 8px">'
            f"{html.escape(shot.error)}</div>")


ROWS = (
    ("interrupts asked for", "pressed"),
    ("interrupts taken", "taken"),
    ("blocks refused", "refused"),
    ("guest instructions run", "insns"),
    ("returns to the loop", "returns"),
    ("blocks translated", "translations"),
)


def counters_html(shot: Snapshot) -> str:
    """The counters as a table, with a column for the twin if there is one."""
    views = [("this machine", shot.main)]
    if shot.twin is not None:
        views.append(("deaf twin", shot.twin))
    head = "".join(f'<th scope="col" style="text-align:right;padding:0 10px">{name}</th>'
                   for name, _ in views) if shot.twin is not None else ""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;font-weight:normal">{label}</th>'
        + "".join('<td style="text-align:right;padding:0 10px;font-variant-numeric:tabular-nums">'
                  f"<b>{getattr(view, name):,}</b></td>" for _, view in views) + "</tr>"
        for label, name in ROWS)
    top = f"<tr><td></td>{head}</tr>" if head else ""
    return f'<table style="{_font(1)};line-height:1.35">{top}{rows}</table>'


def output_html(name: str, view: View, lines: int = 5) -> str:
    """The end of what the guest printed."""
    tail = "\n".join(view.output.splitlines()[-lines:])
    return (f'<div style="{_font(1)}">{html.escape(name)}<pre aria-label="{html.escape(name)}" '
            'style="margin:0;padding:4px 8px;border:1px solid currentColor;border-radius:4px;'
            f'min-height:{1.3 * lines}em;min-width:14em;max-width:30em;overflow:auto">'
            f"{html.escape(tail[-400:])}</pre></div>")


def waits_html(view: View) -> str:
    """The histogram of raise → handler, with the middle in words."""
    if not view.waits:
        return f'<div style="{_font(1)}">raise → handler: no interrupt yet</div>'
    insns = sorted(w.insns for w in view.waits)
    blocks = sorted(w.blocks for w in view.waits)
    middle = (f"{len(insns)} interrupts: half of them waited at most {insns[len(insns) // 2]} "
              f"instructions and {blocks[len(blocks) // 2]} blocks, the longest {insns[-1]} "
              "instructions")
    return (f'<div style="{_font(1)};max-width:30em">raise → handler, in guest instructions'
            f"{histogram_svg(view.waits, theme.font_scale())}{middle}</div>")


def text(title: str, shot: Snapshot, story: str) -> str:
    """The panel as plain text: for terminals, screen readers and pages without a kernel."""
    lines = [f"{title}: {status_text(shot)}"]
    for name, view in (("", shot.main), ("deaf twin: ", shot.twin)):
        if view is not None:
            lines.append(name + ", ".join(f"{label} {getattr(view, key):,}" for label, key in ROWS))
    if shot.main.output:
        lines.append("the guest printed: " + repr(shot.main.output[-120:]))
    if shot.error:
        lines.append("error: " + shot.error)
    return "\n".join([*lines, story]) if story else "\n".join(lines)


def _font(size: float) -> str:
    return f"font-size:{size * theme.font_scale() * 0.9:.2f}em"

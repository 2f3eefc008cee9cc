"""The pictures that stand on first pages: made by the project, the same on every computer."""

from __future__ import annotations

import base64
import io

from tcglite import guests
from tcglite.lab.picture import Picture
from tcglite.lab.timeline import Layout, layout, to_figure, to_html, to_text
from tcglite.machine import Machine

RAISED_AFTER = 450      # instructions of the guest `timer`: its loop is translated and chained


def first_interrupt_layout(width: float = 960) -> Layout:
    """The guest ``timer``, interrupted once, right after instruction ``RAISED_AFTER``."""
    with Machine(guests.load("timer"), trace="blocks") as machine:
        machine.raise_at(RAISED_AFTER, "mtip")
        machine.run(max_insns=RAISED_AFTER + 30, timeout=20)
        return layout(machine.events, width=width,
                      window=(RAISED_AFTER - 25, RAISED_AFTER + 25))


def first_interrupt() -> Picture:
    """It as a PNG with its text twin: what a page without a kernel shows."""
    drawn = first_interrupt_layout()
    out = io.BytesIO()
    to_figure(drawn).savefig(out, format="png", dpi=140, metadata={"Software": None})
    image = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    picture = Picture(to_html(drawn), to_text(drawn))
    picture.html = (f'<figure style="margin:0"><img style="max-width:100%" src="{image}" '
                    f'alt="{drawn.summary}"><figcaption>What you will see: a timer\'s line goes '
                    "up, the next block refuses, the loop takes the interrupt.</figcaption>"
                    "</figure>")
    return picture

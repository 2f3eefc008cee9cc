"""The picture that stands on first pages: made by the project, the same on every computer."""

from __future__ import annotations

import base64
import html
import io

from tcglite.lab.picture import Picture
from tcglite.lab.programs import bell
from tcglite.lab.timeline import Layout, layout, to_figure, to_text
from tcglite.machine import Machine

RAISED_AFTER = 116      # instructions of `bell`: its loop is translated and chained by then


def first_interrupt_layout(width: float = 960) -> Layout:
    """The program ``bell``, interrupted once, right after instruction ``RAISED_AFTER``."""
    with Machine(bell(), trace="blocks") as machine:
        machine.raise_at(RAISED_AFTER, "msip")
        machine.run(max_insns=RAISED_AFTER + 60, timeout=20)
        return layout(machine.events, width=width,
                      window=(RAISED_AFTER - 14, RAISED_AFTER + 17))


def first_interrupt() -> Picture:
    """It as a PNG with its text twin: what a page without a kernel shows."""
    drawn = first_interrupt_layout()
    out = io.BytesIO()
    to_figure(drawn).savefig(out, format="png", dpi=140, metadata={"Software": None})
    image = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    return Picture(
        f'<figure style="margin:0"><img style="max-width:100%" src="{image}" '
        f'alt="{html.escape(drawn.summary)}"><figcaption>What you will see: a line goes up, the '
        "next block refuses, the loop takes the interrupt.</figcaption></figure>",
        to_text(drawn))

"""The cross-check as a notebook shows it: one line."""

from __future__ import annotations

import html

from tcglite.crosscheck import unicorn
from tcglite.lab.picture import Picture


def crosscheck(guest: str, insns: int = 2000, start: int | None = None) -> Picture:
    """Run a part of ``guest`` without devices beside Unicorn and say if all registers agree."""
    report = unicorn.compare(guest, insns=insns, start=start)
    line = report.line()
    colour = "#1a7f37" if report.ok else "#c2003a" if report.difference else "#6B7280"
    return Picture(f'<div role="status" style="border-left:4px solid {colour};padding:2px 8px">'
                   f"{html.escape(line)}</div>", line)

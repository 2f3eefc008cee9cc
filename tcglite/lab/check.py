"""The cross-check as a notebook shows it: what was compared with what, and what cannot be."""

from __future__ import annotations

import html
from typing import Any

from tcglite import guests
from tcglite.crosscheck.follow import check_guest
from tcglite.crosscheck.qemu import ENDLESS_INSNS
from tcglite.crosscheck.report import Report
from tcglite.crosscheck.traces import check_recorded
from tcglite.lab.picture import Picture

_LIMITS = (
    "Not checked here: Unicorn has no interrupts and no trap entry, so where tcglite takes one, it "
    "is told to, and does by hand what the specification says; QEMU's traps are a recording, made "
    "where time is the number of instructions."
)


def crosscheck(guest: Any, insns: int | None = None) -> Picture:
    """Run ``guest`` (a bundled guest's name, a file, a program) once more beside Unicorn, as far as
    ``insns`` instructions, and beside what QEMU is known to do with it, and say what agrees."""
    bundled = isinstance(guest, str) and guest in guests.names()
    if bundled and insns is None and guests.info(guest).exit_code is None:
        insns = ENDLESS_INSNS
    reports = [r for r in check_guest(guest, max_insns=insns) if r.oracle != "rules" or not r.ok]
    if bundled and insns is None:
        reports.append(check_recorded(guest))
    rows = "".join(f"<li>{html.escape(report.text())}</li>" for report in reports)
    text = "\n".join([*(report.text() for report in reports), _LIMITS])
    return Picture(
        f'<div role="status" style="border-left:4px solid {_colour(reports)};padding:2px 8px">'
        f'<ul style="list-style:none;margin:0;padding:0;white-space:pre-wrap">{rows}</ul>'
        f'<small>{_LIMITS}</small></div>', text,
    )  # fmt: skip


def _colour(reports: list[Report]) -> str:
    if any(report.divergence for report in reports):
        return "#c2003a"
    return "#1a7f37" if all(report.ok for report in reports) else "#6B7280"

"""Tables of figures, and what they were made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

Number = float | None


@dataclass
class Table:
    """``rows``: (label, one number for each of the ``columns``); None: not measured."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Number]]] = field(default_factory=list)
    decimals: int = 2
    notes: list[str] = field(default_factory=list)

    def value(self, label: str, column: str) -> Number:
        """One number."""
        numbers = dict(self.rows)[label]
        return numbers[self.columns.index(column)]


def number(value: Number, decimals: int) -> str:
    """A number with three digits or so, "–" for none."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.{0 if abs(value) >= 100 else decimals}f}"


def text(table: Table) -> str:
    """The table for a terminal and for a README: Markdown whose columns are aligned."""
    rows = [["", *table.columns]]
    rows += [[label, *(number(v, table.decimals) for v in values)] for label, values in table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for k, row in enumerate(rows):
        cells = [c.rjust(w) if i else c.ljust(w)
                 for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("| " + " | ".join(cells) + " |")
        if k == 0:
            rule = ["-" * w if not i else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
            lines.append("| " + " | ".join(rule) + " |")
    notes = "".join(f"\n\n*{note}.*" for note in table.notes)
    return f"### {table.title}\n\n" + "\n".join(lines) + notes


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, str | int | None]:
    """The computer: cores, CPU model, system; no name, nothing else."""
    return {"cores": os.cpu_count(), "cpu": cpu_model(),
            "system": f"{platform.system()} {platform.machine()}"}


def python_version() -> str:
    """Which Python this is."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def package_version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

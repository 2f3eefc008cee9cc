"""The tables as text, as JSON and as a picture."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import engines
from parts import Table


def machine_kind() -> str:
    """Cores and CPU model, no more."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{os.cpu_count()} cores, {model}"


def circumstances(repetitions: int, quick: bool) -> dict[str, str]:
    """What the figures were made with."""
    return {
        "date": date.today().isoformat(),
        "machine": machine_kind(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "qemu": engines.qemu_version() or "not installed",
        "unicorn": engines.version("unicorn") or "not installed",
        "tinyrv": engines.version("tinyrv") or "not installed",
        "repetitions": f"{repetitions}{' (--quick)' if quick else ''}",
    }


def number(value: float | None, decimals: int) -> str:
    """A number with three digits or so, "–" for none."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{0 if abs(value) >= 100 else decimals}f}"


def text(table: Table) -> str:
    """The table for a terminal and for the README: Markdown whose columns are aligned."""
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
    notes = "".join(f"\n{note}." for note in table.notes)
    return f"### {table.title}\n\n" + "\n".join(lines) + "\n" + notes


def as_json(tables: dict[str, Table], about: dict[str, str]) -> dict[str, Any]:
    """Everything, with the same names as in the text."""
    return {
        "about": about,
        "tables": {
            key: {"title": t.title, "notes": t.notes,
                  "rows": {label: dict(zip(t.columns, values, strict=True))
                           for label, values in t.rows}}
            for key, t in tables.items()
        },
    }


#: Colour, mark and size, by column of the table of speeds; drawn in this order.
_MARKS = {
    "tcglite chained": ("#003f5c", "o", 110),
    "tcglite icount": ("#4fa3d8", "s", 34),
    "tcglite nochain": ("#9bc7e4", "v", 70),
    "tinyrv": ("#8c8c8c", "X", 70),
    "QEMU chained": ("#8b2500", "o", 110),
    "QEMU icount": ("#f08a3c", "s", 34),
    "QEMU nochain": ("#f6c28b", "v", 70),
    "Unicorn": ("#9a5fa0", "P", 70),
}


def plot(speeds: Table, costs: Table, about: dict[str, str], path: Path) -> None:
    """Two panels: how fast everything is, and what each mode costs in each of the two engines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    names = [label for label, _ in speeds.rows]
    for column, (colour, mark, size) in _MARKS.items():
        xs = [speeds.value(name, column) for name in names]
        points = [(x, y) for y, x in enumerate(xs) if x is not None]
        if points:
            left.scatter([x for x, _ in points], [y for _, y in points], s=size, color=colour,
                         marker=mark, label=column, zorder=3)
    left.set_xscale("log")
    left.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.grid(axis="x", which="major", color="#dddddd")
    left.grid(axis="y", color="#eeeeee")
    left.set_xlabel("million guest instructions per CPU second (log scale)")
    left.set_title("How fast", loc="left")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, frameon=False, fontsize=9,
                columnspacing=1.2)

    bars = [c for c in ("tcglite icount", "QEMU icount", "tcglite nochain", "QEMU nochain")
            if any(costs.value(name, c) is not None for name in names)]
    height = 0.8 / len(bars)
    for k, column in enumerate(bars):
        values = [costs.value(name, column) or 0 for name in names]
        places = [y + (k - (len(bars) - 1) / 2) * height for y in range(len(names))]
        colour = _MARKS[column][0]
        right.barh(places, values, height * 0.9, color=colour, label=column, zorder=3)
        for value, place in zip(values, places, strict=True):
            right.text(max(value, 1) + 0.06, place, f"{value:.1f}", va="center", fontsize=8)
    right.margins(x=0.1)
    right.axvline(1, color="#444444", linewidth=1, zorder=4)
    right.set_yticks(range(len(names)), names)
    right.invert_yaxis()
    right.grid(axis="x", color="#dddddd")
    right.set_xlabel("time relative to the same engine, chained")
    right.set_title("What a mode costs", loc="left")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False,
                 fontsize=9)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{about['machine']} · {about['python']} · QEMU {about['qemu']} · Unicorn "
        f"{about['unicorn']} · tinyrv {about['tinyrv']} · medians of {about['repetitions']}",
        fontsize=9, color="#555555")
    figure.savefig(path)

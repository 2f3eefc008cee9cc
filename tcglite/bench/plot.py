"""A comparison as a picture: how fast, and what each mode costs. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .compare import RATIOS, Comparison
from .report import COSTS, label, runs, versions
from .table import cpu_model, number

#: Colour and mark of each engine: apart for every kind of colour vision, and in grey.
_LOOKS = {"tcglite": ("#00417a", "o"), "qemu": ("#e07b00", "s"), "unicorn": ("#6f6f6f", "D")}
_PANEL = ("tcglite chained", "qemu chained", "unicorn")
_GRID, _SMALL = "#dddddd", 11


def save_plot(c: Comparison, path: str | Path) -> None:
    """Write a picture; its kind follows from the name's ending. Raises ImportError."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 13, "axes.spines.top": False, "axes.spines.right": False}):
        height = max(7.2, 2.4 + 0.8 * len(c.guests))
        figure = Figure(figsize=(13, height), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1]})
        _speeds(left, c)
        _costs(right, c)
        facts = [f"tcglite's backend: {c.backend}", *versions(c), cpu_model(), runs(c)]
        figure.supxlabel(" · ".join(facts), fontsize=_SMALL, color="#555555")
        figure.savefig(path)


def _speeds(axes: Any, c: Comparison) -> None:
    """A group of lines for each guest, one line for each engine, chained, with its number."""
    names = [name for name in _PANEL if name in c.names]
    step = 1 / (len(names) + 1)
    known = [s for g in c.guests for name in names if (s := g.speed(name))]
    log = max(known) > 100 * min(known)
    least = min(known) / 3 if log else 0
    for k, name in enumerate(names):
        colour, mark = _LOOKS[name.split()[0]]
        for row, guest in enumerate(c.guests):
            speed = guest.speed(name)
            if speed is not None:
                y = row + (k - (len(names) - 1) / 2) * step
                axes.plot([least, speed], [y, y], color=colour, linewidth=2, zorder=2)
                axes.plot([speed], [y], mark, color=colour, markersize=9, zorder=3,
                          label=label(name) if row == 0 else None)
                axes.annotate(number(speed, 1), (speed, y), (8, 0), textcoords="offset points",
                              va="center", fontsize=_SMALL)
    if log:
        axes.set_xscale("log")
    axes.set_xlim(least, max(known) * (3 if log else 1.18))
    for row in range(1, len(c.guests)):
        axes.axhline(row - 0.5, color=_GRID, linewidth=1)
    _finish(axes, [g.name for g in c.guests],
            "million guest instructions per CPU second" + " (log scale)" * log)
    axes.set_title("How fast", loc="left", fontweight="bold")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.11), ncols=3, frameon=False,
                borderaxespad=0, handletextpad=0.3)


def _costs(axes: Any, c: Comparison) -> None:
    """A line for each mode: the guests, and their geometric mean with its number."""
    keys = [key for key in COSTS if set(RATIOS[key]) <= set(c.names)]
    most = 1.0
    for row, key in enumerate(keys):
        colour, mark = _LOOKS[key.split("_")[0]]
        ratios = [r for g in c.guests if (r := g.ratio(key)) is not None]
        mean = c.geomean(key)
        assert mean is not None
        most = max(most, *ratios)
        axes.plot(ratios, [row] * len(ratios), "|", color=colour, markersize=18,
                  markeredgewidth=2, alpha=0.6, zorder=2)
        axes.plot([mean], [row], mark, color=colour, markersize=11, zorder=3)
        axes.annotate(f"{mean:.2f} ×" if mean < 10 else f"{mean:.0f} ×", (mean, row), (0, -22),
                      textcoords="offset points", ha="center", va="center", fontsize=13,
                      bbox={"color": "white", "pad": 1})
    axes.set_xscale("log")
    axes.set_xlim(0.5, max(8, most * 1.6))
    axes.axvline(1, color="#444444", linewidth=1.2, zorder=1)
    _finish(axes, [COSTS[key] for key in keys],
            "time / time of the same engine, chained (log scale)")
    axes.set_ylim(len(keys) - 0.4, -0.6)
    axes.set_title("What a mode costs", loc="left", fontweight="bold")
    axes.plot([], [], "|", color="#444444", markersize=14, markeredgewidth=2, label="a guest")
    axes.plot([], [], "o", color="#444444", markersize=9, label="their geometric mean")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.11), ncols=2, frameon=False,
                borderaxespad=0, handletextpad=0.3)


def _finish(axes: Any, rows: list[str], words: str) -> None:
    """What both panels have: names of rows from top to bottom, plain numbers, a grid."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    if axes.get_xscale() == "log":
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(axis="x", color=_GRID)
    axes.set_axisbelow(True)
    axes.set_xlabel(words)

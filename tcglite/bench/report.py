"""A comparison as text and as one JSON object."""

from __future__ import annotations

from typing import Any

from . import table
from .compare import RATIOS, Comparison
from .engines import QEMU_MODES, TCGLITE_MODES
from .table import Table, text

#: How the text calls the engines, and the ratios in the order of their tables.
LABELS = {"qemu": "QEMU", "unicorn": "Unicorn", "tcglite": "tcglite"}
BESIDE = {
    "qemu": "QEMU : tcglite, both chained",
    "qemu_icount": "QEMU : tcglite, both with icount",
    "qemu_counting": "QEMU chained : tcglite counting",
    "unicorn": "Unicorn : tcglite chained",
}
COSTS = {
    "tcglite_counting_cost": "tcglite counting",
    "tcglite_icount_cost": "tcglite icount",
    "qemu_icount_cost": "QEMU icount",
    "tcglite_nochain_cost": "tcglite nochain",
    "qemu_nochain_cost": "QEMU nochain",
}


def label(contender: str) -> str:
    """How a contender is called in texts."""
    engine, _, mode = contender.partition(" ")
    return f"{LABELS[engine]} {mode}".strip()


def versions(c: Comparison) -> list[str]:
    """The engines that took part, and Python, like "QEMU 7.2.22"."""
    return [f"{LABELS[k]} {v}" if k in LABELS else str(v) for k, v in c.versions.items() if v]


def runs(c: Comparison) -> str:
    """How often everything ran."""
    return f"medians of {c.repeat}" if c.repeat > 1 else "one run each"


def tables(c: Comparison) -> list[Table]:
    """Speeds, ratios to other engines, costs of modes, translation."""
    columns = [g.name for g in c.guests] + ["geomean"]
    speeds = Table("Million guest instructions per CPU second", columns, decimals=1)
    for name in c.names:
        speeds.rows.append((label(name), [*(g.speed(name) for g in c.guests), c.speed(name)]))
    speeds.notes = list(c.notes)
    beside = Table("Time of the other : time of tcglite (above 1, tcglite is faster)", columns)
    costs = Table("What a mode costs: time relative to the same engine chained", columns)
    for made, labels in ((beside, BESIDE), (costs, COSTS)):
        for key, words in labels.items():
            if set(RATIOS[key]) <= set(c.names):
                values = [*(g.ratio(key) for g in c.guests), c.geomean(key)]
                made.rows.append((words, values))
    translation = Table("Translation, CPU µs per guest instruction", [*columns[:-1], "median"],
                        decimals=1)
    values = [*(g.translation_us for g in c.guests), c.translation_us]
    translation.rows.append(("tcglite", values))
    return [t for t in (speeds, beside, costs, translation) if t.rows]


def as_text(c: Comparison) -> str:
    """Everything, for a terminal; Markdown that can be read as it is."""
    facts = table.machine()
    made_with = ", ".join(versions(c))
    head = (f"{facts['cores']} cores, {facts['cpu']}, {facts['system']}\n{made_with}\n"
            f"backend {c.backend}, {runs(c)}, the fastest engine runs for "
            f"{c.seconds:g} s or more\n")
    return "\n\n".join([head.rstrip(), *map(text, tables(c))])


def as_json(c: Comparison) -> dict[str, Any]:
    """Speeds in M insn/s, times in CPU seconds, ratios of times; null: not measured."""
    return {
        "machine": table.machine(),
        "versions": c.versions,
        "backend": c.backend,
        "repeat": c.repeat,
        "seconds": c.seconds,
        "start_seconds": c.start,
        "guests": {
            g.name: {
                "insns": max(g.insns.values()),
                "rounds": g.rounds,
                "seconds": {name: g.seconds.median(name) for name in c.names},
                "tcglite": {mode: g.speed(f"tcglite {mode}") for mode in TCGLITE_MODES},
                "qemu": {mode: g.speed(f"qemu {mode}") for mode in QEMU_MODES}
                if "qemu chained" in c.names else None,
                "unicorn": g.speed("unicorn") if "unicorn" in c.names else None,
                "ratios": {key: g.ratio(key) for key in RATIOS},
                "translation_us": g.translation_us,
            }
            for g in c.guests
        },
        "geomeans": {key: c.geomean(key) for key in RATIOS},
        "translation_us": c.translation_us,
        "notes": c.notes,
    }

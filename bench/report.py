"""What the tables were made with, and everything as JSON."""

from __future__ import annotations

from datetime import date
from typing import Any

from tcglite.bench.table import Table, machine, package_version, python_version


def circumstances(repetitions: int, quick: bool) -> dict[str, str]:
    """What the figures were made with."""
    facts = machine()
    return {
        "date": date.today().isoformat(),
        "machine": f"{facts['cores']} cores, {facts['cpu']}",
        "system": str(facts["system"]),
        "python": python_version(),
        "tinyrv": package_version("tinyrv") or "not installed",
        "repetitions": f"{repetitions}{' (--quick)' if quick else ''}",
    }


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

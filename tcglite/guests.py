"""The guest programs that come with tcglite: which there are, their files, what they print.

They live in ``data/guests`` of the repository; an installed wheel carries them in
``tcglite/_data/guests``. ``guests.json`` there describes each one.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tcglite.errors import GuestError, UnknownName

_PACKAGE = Path(__file__).resolve().parent
_PLACES = (_PACKAGE.parent / "data" / "guests", _PACKAGE / "_data" / "guests")


@dataclass(frozen=True, slots=True)
class Guest:
    """What ``guests.json`` says about a bundled guest.

    ``kind``: "asm" or "c". ``stdin``: what to type. ``console``: everything it prints.
    ``exit_code``: None for a guest that never ends. ``instructions``: about how many it executes;
    None where that depends on host time. ``console_io_last``: what it prints instead on machines
    whose device accesses end a block (``Mechanisms(io_last=True)``, icount, QEMU since 8.2); None
    when the same.
    """

    name: str
    title: str
    kind: str
    elf: Path
    source: Path
    stdin: str
    console: str
    exit_code: int | None
    instructions: int | None
    mechanisms: tuple[str, ...]
    notes: str
    console_io_last: str | None


@cache
def _directory() -> Path:
    for place in _PLACES:
        if (place / "guests.json").is_file():
            return place
    raise GuestError(f"the bundled guests are missing: no guests.json in {_PLACES[-1]}")


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    text = (_directory() / "guests.json").read_text(encoding="utf-8")
    catalogue: dict[str, dict[str, Any]] = json.loads(text)["guests"]
    return catalogue


def names() -> list[str]:
    """The names of the bundled guests, in the order in which to meet them."""
    return list(_catalogue())


def info(name: str) -> Guest:
    """All about the guest ``name``. Raises UnknownName."""
    try:
        entry = _catalogue()[name]
    except KeyError:
        close = difflib.get_close_matches(name, names(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names())}"
        raise UnknownName(f"unknown guest {name!r}; {hint}") from None
    kind = entry["kind"]
    return Guest(
        name=name,
        title=entry["title"],
        kind=kind,
        elf=_directory() / "elf" / f"{name}.elf",
        source=_directory() / "src" / f"{name}.{'S' if kind == 'asm' else 'c'}",
        stdin=entry.get("stdin", ""),
        console=entry["console"],
        exit_code=entry["exit_code"],
        instructions=entry["instructions"],
        mechanisms=tuple(entry["mechanisms"]),
        notes=entry["notes"],
        console_io_last=entry.get("console_io_last"),
    )


def load(name: str) -> Path:
    """The ELF file of the guest ``name``, for ``Machine(...)``. Raises UnknownName."""
    return info(name).elf


def source(name: str) -> str:
    """The source text of the guest ``name``. Raises UnknownName."""
    return info(name).source.read_text(encoding="utf-8")


def find(name: str) -> str | Path:
    """A bundled guest by name, else the name of a file. Raises UnknownName for what is neither."""
    if name in names():
        return load(name)
    if Path(name).exists() or "/" in name or "." in name:
        return name
    return load(name)  # raises, with the names that come close

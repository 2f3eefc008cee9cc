"""The engines and their modes, each as a process that runs an ELF file to its end."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .measure import EngineError, child, python

LIMIT = 600  #: seconds that one run may take

#: tcglite's modes: "chained" and "nochain" count nothing, as QEMU does; "counting" is the default.
TCGLITE_MODES: dict[str, dict[str, Any]] = {
    "chained": {"count": False},
    "counting": {},
    "icount": {"icount": 0},
    "nochain": {"count": False, "mechanisms": {"chain": False, "goto_ptr": False}},
}
QEMU_MODES = {
    "chained": [],
    "icount": ["-icount", "shift=0,sleep=off"],
    "nochain": ["-d", "nochain", "-D", "/dev/null"],
}
QEMU = "qemu-system-riscv64"
_QEMU = ["-M", "virt", "-m", "128M", "-bios", "none", "-display", "none", "-monitor", "none",
         "-serial", "stdio", "-no-reboot"]


@dataclass(frozen=True)
class Run:
    """One run: CPU ``seconds`` of the whole process; guest instructions, where the engine counts
    them; CPU µs that translation took for one guest instruction, where it is known."""

    seconds: float
    insns: int | None = None
    translation_us: float | None = None


@dataclass(frozen=True)
class Contender:
    """An engine in one of its modes, by name, like "qemu icount"; ``run`` takes an ELF file."""

    name: str
    run: Callable[[Path], Run]


def _tcglite(options: dict[str, Any], elf: Path) -> Run:
    ended = python(["-m", "tcglite.bench.worker", "tcglite", str(elf), json.dumps(options)], LIMIT)
    told = json.loads(ended.output)
    return Run(ended.cpu, told["insns"], 1e6 * told["translation"] / told["translated"])


def _unicorn(elf: Path) -> Run:
    return Run(python(["-m", "tcglite.bench.worker", "unicorn", str(elf), "{}"], LIMIT).cpu)


def _qemu(path: str, mode: str, elf: Path) -> Run:
    ended = child([path, *_QEMU, *QEMU_MODES[mode], "-kernel", str(elf)], LIMIT)
    if ended.status:
        said = ended.output.strip().splitlines()[-1:] or ["nothing"]
        raise EngineError(f"QEMU, {mode}: status {ended.status} for {elf.name}; it said {said[0]}")
    return Run(ended.cpu)


def tcglite(backend: str) -> list[Contender]:
    """tcglite in all its modes."""
    return [Contender(f"tcglite {mode}", partial(_tcglite, options | {"backend": backend}))
            for mode, options in TCGLITE_MODES.items()]


def unicorn() -> list[Contender]:
    """Unicorn, which has but one mode; nothing where it is not installed."""
    if importlib.util.find_spec("unicorn") is None:
        return []
    return [Contender("unicorn", _unicorn)]


def qemu() -> list[Contender]:
    """QEMU in all its modes; nothing where it is not installed."""
    path = shutil.which(QEMU)
    if path is None:
        return []
    return [Contender(f"qemu {mode}", partial(_qemu, path, mode)) for mode in QEMU_MODES]


def qemu_version() -> str | None:
    """QEMU's version; None where it is not installed."""
    path = shutil.which(QEMU)
    if path is None:
        return None
    found = re.search(r"version ([\d.]+)", child([path, "--version"], 10).output)
    return found[1] if found else "unknown"

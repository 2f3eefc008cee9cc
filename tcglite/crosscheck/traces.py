"""Recordings of what the bundled guests do on QEMU and where Unicorn ends their blocks, and the
comparison of a run with them: the same check as ``qemu``, where no QEMU is.

They live in ``data/traces`` of the repository (its README describes the format); an installed wheel
carries them in ``tcglite/_data/traces``.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import guests
from ..accel.mechanisms import Mechanisms
from ..errors import GuestError, UnknownName
from ..tcg.backends import check_backend
from .behaviour import Behaviour, Block, TrapSeen, compare, watch
from .qemu import ENDLESS_INSNS
from .report import Report, describe

ORACLE = "QEMU recording"

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE.parent / "data" / "traces", _PACKAGE / "_data" / "traces")


@dataclass(frozen=True, slots=True)
class Recording:
    """``behaviour``: of QEMU ``version``, run with ``options``; ``icount``: its shift, or None.
    ``unicorn``: a version, and ``unicorn_blocks``: where it ends the blocks that tcglite
    translates."""

    guest: str
    elf_sha256: str
    version: str
    options: str
    icount: int | None
    behaviour: Behaviour
    unicorn: str
    unicorn_blocks: list[Block]


def directory() -> Path:
    """Where the recordings are. Raises GuestError if they are missing."""
    for place in _PLACES:
        if (place / "README.md").is_file():
            return place
    raise GuestError(f"the recordings are missing: no README.md in {_PLACES[-1]}")


def names() -> list[str]:
    """The guests of which there is a recording."""
    return [name for name in guests.names() if (directory() / f"{name}.json").is_file()]


def load(name: str) -> Recording:
    """The recording of the bundled guest ``name``. Raises UnknownName, or GuestError if it is of
    another ELF file than the one here."""
    guests.info(name)
    path = directory() / f"{name}.json"
    if not path.is_file():
        raise UnknownName(f"no recording of {name!r}; there are: {', '.join(names())}")
    recording = from_json(json.loads(path.read_text(encoding="utf-8")))
    if recording.elf_sha256 != elf_hash(name):
        raise GuestError(f"the recording of {name} is of another ELF file; make traces renews it")
    return recording


def elf_hash(name: str) -> str:
    """SHA-256 of a bundled guest's ELF file, in hexadecimal."""
    return hashlib.sha256(guests.load(name).read_bytes()).hexdigest()


def check_recorded(
    guest: str,
    *,
    backend: str = "auto",
    mechanisms: Mechanisms | None = None,
    seconds: float = 60.0,
) -> Report:
    """Run the bundled ``guest`` on tcglite as QEMU ran it when it was recorded, and compare.
    ``seconds``: for the run."""
    began = time.perf_counter()
    check_backend(backend)
    recording = load(guest)
    theirs, icount = recording.behaviour, recording.icount
    settings = describe(Mechanisms() if mechanisms is None else mechanisms, icount)
    report = Report(guest, ORACLE, backend, recording.version, settings)
    ours = watch(
        guests.load(guest), backend=backend, mechanisms=mechanisms, icount=icount,
        stdin=guests.info(guest).stdin.encode("latin-1"), seconds=seconds,
        max_insns=ENDLESS_INSNS if theirs.ended == "limit" else None,
    )  # fmt: skip
    if theirs.host_time:
        ours = ours.without_host_time()
    report.backend = ours.backend
    compare(report, ours, theirs, {"Unicorn's blocks": recording.unicorn_blocks})
    report.seconds = time.perf_counter() - began
    return report


# The format.


def to_json(recording: Recording) -> dict[str, Any]:
    """Plain values, as ``data/traces/README.md`` describes them."""
    seen = recording.behaviour
    return {
        "guest": recording.guest,
        "elf_sha256": recording.elf_sha256,
        "qemu": recording.version,
        "options": recording.options,
        "icount": recording.icount,
        "host_time": seen.host_time,
        "ended": seen.ended,
        "exit_code": seen.exit_code,
        "console": seen.console.decode("latin-1"),
        "traps": [
            [t.interrupt, t.cause, _hex(t.epc), _hex(t.tval), t.insn] for t in seen.traps
        ],
        "blocks": _block_rows(seen.blocks),
        "cut_blocks": _block_rows(seen.cut),
        "unicorn": recording.unicorn,
        "unicorn_blocks": _block_rows(recording.unicorn_blocks),
    }  # fmt: skip


def from_json(values: dict[str, Any]) -> Recording:
    """What ``to_json`` gave."""
    traps = [
        TrapSeen(interrupt, cause, None if epc is None else int(epc, 16), int(tval, 16), insn)
        for interrupt, cause, epc, tval, insn in values["traps"]
    ]
    seen = Behaviour(
        traps, values["console"].encode("latin-1"), values["ended"], values["exit_code"],
        _blocks(values["blocks"]), _blocks(values["cut_blocks"]), host_time=values["host_time"],
    )  # fmt: skip
    return Recording(
        values["guest"], values["elf_sha256"], values["qemu"], values["options"],
        values["icount"], seen, values["unicorn"], _blocks(values["unicorn_blocks"]),
    )  # fmt: skip


def _hex(value: int | None) -> str | None:
    return None if value is None else f"{value:#x}"


def _block_rows(blocks: list[Block]) -> list[list[Any]]:
    return [[f"{pc:#x}", insns] for pc, insns in blocks]


def _blocks(rows: list[list[Any]]) -> list[Block]:
    return [(int(pc, 16), insns) for pc, insns in rows]

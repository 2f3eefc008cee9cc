"""What a cross-check found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from ..accel.mechanisms import Mechanisms

#: Where the engine may look, so that interrupts are taken at the same places as in QEMU.
AT_BLOCKS = ("tb-start", "tb-end", "unlink")


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two engines disagree. ``what``: "pc", "a0", "mepc", "memory at 0x…", "trap", "block" …;
    ``since`` and ``until``: instructions retired before and after the piece in which it arose;
    ``pc``: where that piece began; ``context``: more lines for a person."""

    oracle: str
    what: str
    ours: str
    theirs: str
    since: int
    until: int
    pc: int
    context: tuple[str, ...] = ()

    def line(self) -> str:
        """One line: what, where, ours and theirs."""
        span = f"instruction {self.since}"
        if self.until > self.since:
            span = f"instructions {self.since} to {self.until}"
        where = f"after {span} (pc {self.pc:#x})"
        if self.oracle == "rules":
            return f"{self.what} is {self.ours}, and should be {self.theirs}, {where}"
        return f"{self.what} is {self.ours} in tcglite and {self.theirs} in {self.oracle} {where}"


@dataclass(slots=True)
class Report:
    """One guest beside one oracle. ``counts``: how much was compared, by kind. ``notes``: how
    often a documented difference was met (``docs/differences.md`` explains each by its name).
    ``ended``: why the run ended. ``skipped``: why nothing could be compared."""

    guest: str
    oracle: str
    backend: str
    version: str = ""
    settings: str = ""
    insns: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    ended: str = ""
    skipped: str = ""
    divergence: Divergence | None = None

    @property
    def ok(self) -> bool:
        """Was something compared, and all of it equal?"""
        compared = sum(n for kind, n in self.counts.items() if kind != "memories")
        return self.divergence is None and not self.skipped and compared > 0

    @property
    def title(self) -> str:
        """Guest, settings and oracle."""
        where = f" ({self.settings})" if self.settings else ""
        return f"{self.guest}{where} on {self.backend} against {self.oracle} {self.version}".strip()

    def line(self) -> str:
        """The result in one line."""
        if self.skipped:
            return f"– {self.title}: {self.skipped}"
        if self.divergence is not None:
            return f"✗ {self.title}: {self.divergence.line()}"
        if not self.ok:
            return f"– {self.title}: nothing to compare ({self.ended})"
        what = ", ".join(
            f"{n:,} {_one(kind) if n == 1 else kind}" for kind, n in self.counts.items()
        )
        unfinished = f", not over after {self.seconds:.0f} s" if self.ended == "timeout" else ""
        return f"✓ {self.title}: {self.insns:,} instructions{unfinished}; equal: {what}"

    def text(self) -> str:
        """The result with its documented differences, and the context of a divergence."""
        out = [self.line()]
        out += [f"    documented difference: {name}, {n:,} ×" for name, n in self.notes.items()]
        if self.divergence is not None:
            out += [f"    {line}" for line in self.divergence.context]
        return "\n".join(out)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        d = self.divergence
        return {
            "guest": self.guest, "oracle": self.oracle, "version": self.version,
            "backend": self.backend, "settings": self.settings, "ok": self.ok,
            "insns": self.insns, "seconds": self.seconds, "counts": dict(self.counts),
            "differences": dict(self.notes), "ended": self.ended, "skipped": self.skipped,
            "divergence": None if d is None else {
                "what": d.what, "ours": d.ours, "theirs": d.theirs, "since": d.since,
                "until": d.until, "pc": d.pc, "context": list(d.context),
            },
        }  # fmt: skip


def describe(mechanisms: Mechanisms, icount: int | None, grain: str = "piece") -> str:
    """Settings that are not the default ones, in one line."""
    out = [
        f"{f.name}={value}"
        for f in fields(mechanisms)
        if (value := getattr(mechanisms, f.name)) != f.default
    ]
    out += [f"icount={icount}"] if icount is not None else []
    out += [f"grain={grain}"] if grain != "piece" else []
    return " ".join(out)


def _one(kind: str) -> str:
    """The singular of a plural."""
    if kind.endswith("ies"):
        return kind.removesuffix("ies") + "y"
    return kind.removesuffix("es" if kind.endswith("sses") else "s")

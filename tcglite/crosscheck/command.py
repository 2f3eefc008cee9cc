"""``tcglite crosscheck``: guests, settings and oracles, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from .. import guests
from ..accel.mechanisms import Mechanisms
from ..errors import UsageError, shown
from ..tcg.backends import BACKENDS, check_backend
from .follow import FOLLOWERS, check_guest
from .qemu import ENDLESS_INSNS
from .report import Report

ORACLES = (*FOLLOWERS, "qemu")
#: The places where the engine may look for interrupts so that every one is delivered.
DELIVER = ("tb-start", "tb-end", "every-insn", "quantum", "acyclic", "unlink")

Say = Callable[[str], None]


@dataclass
class Result:
    """All reports of one command."""

    reports: list[Report] = field(default_factory=list)

    @property
    def found(self) -> int:
        """How many diverged."""
        return sum(report.divergence is not None for report in self.reports)

    @property
    def status(self) -> int:
        """Exit status: 1 if anything diverged, or if nothing could be compared at all."""
        return int(bool(self.found) or not any(report.ok for report in self.reports))

    def summary(self) -> str:
        """One line about all of them."""
        insns = sum(r.insns for r in self.reports if r.oracle != "rules")
        unfinished = sum(r.ended == "timeout" for r in self.reports if r.oracle != "rules")
        runs = [r for r in self.reports if r.oracle != "rules"]
        skipped = sum(bool(r.skipped) for r in runs)
        text = f"{len(runs)} comparisons, {insns:,} instructions"
        if skipped:
            text += f", {skipped} not possible"
        if unfinished:
            text += f", {unfinished} not over in time"
        return f"{text}: " + (f"{self.found} diverged" if self.found else "no divergence")

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {
            "ok": not self.status,
            "divergences": self.found,
            "reports": [report.as_json() for report in self.reports],
        }


def crosscheck(
    names: Sequence[str],
    *,
    against: Sequence[str] = ("unicorn",),
    backend: str = "auto",
    irq_check: str = "tb-start",
    grain: str = "piece",
    icount: int | None = None,
    irq: Iterable[tuple[str, int]] = (),
    stdin: str | None = None,
    memory: str = "8M",
    max_insns: int | None = None,
    timeout: float = 60.0,
    say: Say | None = None,
    show: Callable[[Report], None] = lambda report: None,
) -> Result:
    """Check each guest against each oracle. backend: also "all"; irq_check: also "all" that
    deliver. show: called with each report as soon as it is there; the rest as ``check_guest``."""
    for name in against:
        if name not in ORACLES:
            raise UsageError(f"--against {shown(name)}; expected some of {','.join(ORACLES)}")
    if not names:
        raise UsageError("nothing to check: name a guest, or --all")
    against = list(dict.fromkeys(against))
    _check_installed(against)
    backends = BACKENDS if backend == "all" else (backend,)
    for one in backends:
        check_backend(one)
    checks = DELIVER if irq_check == "all" else (irq_check,)
    for check in checks:
        Mechanisms(irq_check=check).check(count=True, icount=icount is not None)
    result = Result()
    raises = [(n, line) for line, n in irq]
    for name, one, check in product(names, backends, checks):
        limit = max_insns
        if limit is None and name in guests.names() and guests.info(name).exit_code is None:
            limit = ENDLESS_INSNS
        for report in _one(
            name, against, one, Mechanisms(irq_check=check), grain=grain, icount=icount,
            irq=raises, stdin=stdin, memory=memory, max_insns=limit, timeout=timeout, say=say,
        ):  # fmt: skip
            result.reports.append(report)
            show(report)
    return result


def _check_installed(against: Sequence[str]) -> None:
    """Rather now than in the middle: TcgliteError if an oracle is not here."""
    if "unicorn" in against:
        from .unicorn import require as unicorn_here

        unicorn_here()
    if "spike" in against:
        from .spike_hart import require as spike_here

        spike_here()
    if "qemu" in against:
        from .qemu_run import executable

        executable()


def _one(
    name: str, against: Sequence[str], backend: str, mechanisms: Mechanisms, *,
    say: Say | None, timeout: float, **options: Any,
) -> Iterator[Report]:  # fmt: skip
    """One guest with one setting against all oracles: those that follow, in one run."""
    following = [oracle for oracle in against if oracle in FOLLOWERS]

    def progress(text: str) -> None:
        if say is not None:
            say(f"{name} on {backend}: {text}")

    if following:
        yield from check_guest(
            name, following, backend=backend, mechanisms=mechanisms, say=progress,
            timeout=timeout, **options,
        )  # fmt: skip
    if "qemu" in against:
        from .qemu import check_qemu

        progress("QEMU")
        yield from check_qemu(
            guests.find(name) if name not in guests.names() else name, backend=backend,
            mechanisms=mechanisms, icount=options["icount"], stdin=options["stdin"],
            irq=options["irq"], max_insns=options["max_insns"], seconds=timeout,
        )  # fmt: skip

"""The command ``tcglite fuzz``: what was found, and how to see it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import UsageError, whole
from ...tcg.backends import check_backend
from ...tcg.x86_64.buffer import unsupported
from ..report import Report
from .campaign import Campaign, run_campaign
from .check import Outcome, Settings, check_seed, checked, finds, kind
from .generate import generate
from .program import Program
from .show import block_lines, narrowed, sides
from .shrink import shrink

EXIT_DIVERGED = 1
ORACLES = ("unicorn", "spike", "python")
#: While shrinking: a program that has lost its end is soon known to hang.
_SHRINK_TIMEOUT = 5.0
_SAME = 3  #: programs that all raise the same: then it is not the program that matters

Say = Callable[[str], None]


@dataclass(slots=True)
class Finding:
    """A program that finds something, and the same made small. ``options``: of the command;
    ``common``: others raise the same."""

    outcome: Outcome
    program: Program
    small: Program
    options: str
    report: Report | None = None
    saved: Path | None = None
    common: bool = False

    def text(self) -> str:
        """For people: the difference, the program, the block, how to see it again."""
        out = [self.report.text() if self.report else self.outcome.error.rstrip(), ""]
        if self.report and self.report.divergence:
            out += [*sides(self.report.divergence), ""]
        if self.common:
            out += ["Other programs raise the same: no need to make this one small.", ""]
        else:
            out += [self.small.to_text()]
        if self.report and self.report.divergence:
            out += block_lines(self.small, self.report.divergence, self.report.backend)
        out += ["To see it again:", *(f"    {line}" for line in self.commands())]
        return "\n".join(out)

    def commands(self) -> list[str]:
        """What reproduces it: from the seed, and from the saved small program."""
        lines = []
        if self.outcome.seed is not None:
            lines.append(f"tcglite fuzz --seed {self.outcome.seed} --count 1{self.options}")
        if self.saved is not None:
            lines.append(f"tcglite fuzz{self.options} {shlex.quote(str(self.saved))}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "seed": self.outcome.seed,
            "error": self.outcome.error, "report": self.report and self.report.as_json(),
            "program": self.program.to_text(), "small": self.small.to_text(),
            "saved": self.saved and str(self.saved), "commands": self.commands(),
        }  # fmt: skip


def choose(against: Sequence[str] | None, backend: str) -> tuple[str, ...]:
    """The oracles; by default those that can be had everywhere, and the other backend."""
    check_backend(backend)
    if against is None:
        both = backend != "python" and not unsupported()
        return ("unicorn", "python") if both else ("unicorn",)
    for name in against:
        if name not in ORACLES:
            raise UsageError(f"--against {name}: expected some of {','.join(ORACLES)}")
    return tuple(against)


@dataclass(slots=True)
class Result:
    """What the command has to say."""

    campaign: Campaign
    against: tuple[str, ...]
    found: Finding | None = None

    @property
    def idle(self) -> list[str]:
        """Oracles that compared nothing."""
        return [name for name in self.against if not self.campaign.compared[name]]

    @property
    def status(self) -> int:
        """Of the process: 1 also if nothing at all was compared."""
        return EXIT_DIVERGED if self.found or len(self.idle) == len(self.against) else 0

    def text(self) -> str:
        """For people."""
        if self.found:
            return self.found.text()
        c = self.campaign
        lines = [f"– {name}: {c.skipped.get(name, 'nothing was compared')}" for name in self.idle]
        if agreed := [name for name in self.against if name not in self.idle]:
            lines.append(
                f"✓ {c.done:,} programs, {c.insns:,} instructions in {c.seconds:.1f} s: "
                f"no difference to {', '.join(agreed)}"
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "programs": self.campaign.done, "insns": self.campaign.insns,
            "seconds": self.campaign.seconds, "against": list(self.against),
            "compared": dict(self.campaign.compared), "skipped": self.campaign.skipped,
            "found": self.found and self.found.as_json(),
        }  # fmt: skip


def fuzz(
    files: Sequence[str] = (), *, seed: int = 0, count: int = 200, jobs: int | None = None,
    against: Sequence[str] | None = None, backend: str = "auto", dask: str | None = None,
    save: str | None = None, say: Say | None = None,
) -> Result:  # fmt: skip
    """Check programs, from ``files`` or from seeds; what one of them finds is made small."""
    seed, count = whole("--seed", seed, 0), whole("--count", count, 1)
    jobs = None if jobs is None else whole("--jobs", jobs, 1, 1024)
    settings = Settings(choose(against, backend), backend)
    if save is not None and not Path(save).is_dir():
        raise UsageError(f"--save {save}: there is no such directory")
    if files:
        campaign, program = _files([Program.load(file) for file in files], settings)
    else:
        campaign = run_campaign(range(seed, seed + count), settings, jobs, dask=dask, say=say)
        outcome = campaign.found
        program = generate(outcome.seed) if outcome and outcome.seed is not None else None
    result = Result(campaign, settings.against)
    if campaign.found is not None and program is not None:
        options = (f" --against {','.join(against)}" if against else "") + (
            f" --backend {backend}" if backend != "auto" else ""
        )
        result.found = _finding(campaign.found, program, settings, options, save, say)
    return result


def _files(programs: Sequence[Program], settings: Settings) -> tuple[Campaign, Program | None]:
    """Programs in turn, until one finds something; which one."""
    campaign = Campaign()
    for program in programs:
        outcome = checked(program, settings)
        campaign.seconds += outcome.seconds
        campaign.add(outcome)
        if not outcome.ok:
            return campaign, program
    return campaign, None


def _needed(outcome: Outcome, settings: Settings) -> tuple[str, ...]:
    """The oracles that what was found depends on: the others only take time."""
    if outcome.divergence is None:
        return settings.against
    return tuple(name for name in settings.against if name == outcome.divergence.oracle)


def _common(outcome: Outcome, settings: Settings) -> bool:
    """Do the next programs raise the same?"""
    if not outcome.raised or outcome.seed is None:
        return False
    after = range(outcome.seed + 1, outcome.seed + _SAME)
    return all(kind(check_seed(seed, settings)) == kind(outcome) for seed in after)


def _finding(
    outcome: Outcome, program: Program, settings: Settings, options: str, save: str | None,
    say: Say | None,
) -> Finding:  # fmt: skip
    """Make it small, check that once more, save it."""
    small, common = program, _common(outcome, settings)
    shrinks = outcome.divergence is not None or outcome.raised not in ("", "TimeoutError")
    if shrinks and not common:
        quick = replace(settings, timeout=_SHRINK_TIMEOUT, against=_needed(outcome, settings))
        small = shrink(program, finds(outcome, quick), say)
    report = outcome.divergence
    if small != program:
        report = checked(small, quick).divergence or report
    if report is not None:
        report = narrowed(small, settings, report)
    finding = Finding(outcome, program, small, options, report, common=common)
    if save is not None:
        finding.saved = Path(save, f"{program.name}.S")
        finding.saved.write_text(small.to_text(), encoding="utf-8")
    return finding

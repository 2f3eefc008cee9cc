"""One program beside oracles, and what a worker of a campaign does with a seed."""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import TcgliteError
from ...machine import Machine, RunResult, StopReason
from ...target.asm import AsmError, Assembly
from ...target.names import FREG_NUMBERS, REG_NUMBERS
from ..backends import check_backends
from ..follow import check_guest, raise_on_events
from ..report import Report
from .generate import generate
from .program import MEMORY, Program

_NUMBER = re.compile(r"0x[0-9a-f]+")
TIMEOUT = 60.0  #: seconds; programs are over in a fraction of one


@dataclass(frozen=True, slots=True)
class Settings:
    """``against``: oracles, "python" among them for the other backend."""

    against: tuple[str, ...] = ("unicorn",)
    backend: str = "auto"
    timeout: float = TIMEOUT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one program. ``seed``: None for one that has none. ``error``: what the machine
    or an oracle raised, in full; ``raised``: its class; ``where``: the function that raised it."""

    seed: int | None
    reports: tuple[Report, ...] = ()
    seconds: float = 0.0
    error: str = ""
    raised: str = ""
    where: str = ""

    @property
    def divergence(self) -> Report | None:
        """The first report that has one."""
        return next((r for r in self.reports if r.divergence is not None), None)

    @property
    def ok(self) -> bool:
        """Nothing found?"""
        return not self.error and self.divergence is None


def start(program: Program, guest: Assembly, backend: str, trace: str | None = None) -> Machine:
    """A machine that stands before the program's first instruction."""
    m = Machine(
        guest, backend=backend, mechanisms=program.mechanisms, icount=program.icount,
        memory=MEMORY, trace=trace,
    )  # fmt: skip
    for n, line in program.irq:
        m.raise_at(n, line)
    raise_on_events(m, program.at)
    m.inputs_open = lambda: False
    m._vcpu._watch = _wait  # type: ignore[method-assign]  # it would write events at any moment
    return m


def _wait(ended: threading.Event) -> None:
    ended.wait()


def check_program(
    program: Program, backend: str = "auto", against: Sequence[str] = ("unicorn",),
    timeout: float = TIMEOUT, grain: str = "piece",
) -> list[Report]:  # fmt: skip
    """Run it beside each of ``against``; a report for each, and those of the rules. ``grain``: see
    ``check_guest``."""
    guest = program.assemble()
    reports: list[Report] = []
    oracles = [name for name in against if name != "python"]
    if oracles or not against:
        reports += check_guest(
            guest, oracles, backend=backend, mechanisms=program.mechanisms, icount=program.icount,
            irq=program.irq, at=program.at, memory=MEMORY, max_insns=program.max_insns,
            timeout=timeout, grain=grain,
        )  # fmt: skip
    if "python" in against:
        if backend == "python":
            raise TcgliteError("the python backend cannot be checked against itself")

        def run(backend: str, max_insns: int) -> tuple[Machine, RunResult]:
            m = start(program, guest, backend, trace="events")
            return m, m.run(max_insns=max_insns, timeout=timeout)

        reports.append(check_backends(program.name, run, program.max_insns))
    for report in reports:
        report.guest = program.name
        if report.ended == StopReason.TIMEOUT.value:
            raise TimeoutError(f"not over after {timeout:g} s: {report.title}")
    return reports


def checked(program: Program, settings: Settings, seed: int | None = None) -> Outcome:
    """``check_program``, and whatever it raises that is no fault of who asked."""
    began = time.perf_counter()
    try:
        reports = check_program(program, settings.backend, settings.against, settings.timeout)
    except Exception as error:
        if isinstance(error, TcgliteError) and (seed is None or not isinstance(error, AsmError)):
            raise  # something is not installed, or not there, or not a program
        seconds, text = time.perf_counter() - began, traceback.format_exc()
        where = traceback.extract_tb(error.__traceback__)[-1].name
        return Outcome(seed, (), seconds, text, type(error).__name__, where)
    return Outcome(seed, tuple(reports), time.perf_counter() - began)


def check_seed(seed: int, settings: Settings) -> Outcome:
    """Make the program of a seed and check it: what the workers of a campaign do."""
    return checked(generate(seed), settings, seed)


def finds(outcome: Outcome, settings: Settings) -> Callable[[Program], bool]:
    """For shrinking: does a program find the same kind of thing? Else it would slide into what is
    no fault of anybody's, like code that was changed without fence.i."""

    def holds(program: Program) -> bool:
        try:
            return kind(checked(program, settings)) == kind(outcome)
        except TcgliteError:
            return False

    return holds


def kind(outcome: Outcome) -> tuple[str, ...]:
    """Who disagrees, about what: a register, memory, a trap …; or what was raised, and where."""
    report = outcome.divergence
    if report is None or report.divergence is None:
        return outcome.raised, outcome.where
    found = report.divergence
    what = "register" if found.what in REG_NUMBERS or found.what in FREG_NUMBERS else found.what
    return report.oracle, *(_NUMBER.sub("", text) for text in (what, found.ours, found.theirs))

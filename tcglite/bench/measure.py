"""How things are timed: CPU seconds, interleaved repetitions, medians, ratios within one run.

The machine that runs this may be shared. CPU time leaves out the waiting for a free core;
interleaving gives all contenders the same good and bad minutes; a ratio is made of two values of
the same repetition before the median is taken.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from ..errors import TcgliteError, UsageError

_ROOT = Path(__file__).resolve().parents[2]  #: where a child finds this very package


class EngineError(TcgliteError):
    """An engine did not do what it should: no end, a wrong status."""


@dataclass
class Series:
    """One number per repetition and contender; None where one could not take part."""

    values: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, name: str, value: float | None) -> None:
        self.values.setdefault(name, []).append(value)

    def names(self) -> list[str]:
        """The contenders that have a value, in order."""
        return [n for n, values in self.values.items() if any(v is not None for v in values)]

    def median(self, name: str) -> float | None:
        """The median of a contender's values."""
        known = [v for v in self.values.get(name, []) if v is not None]
        return median(known) if known else None

    def ratio(self, name: str, base: str) -> float | None:
        """The median of value / value of ``base`` in the same repetition; where they did not
        both take part in any, the ratio of the medians."""
        pairs = zip(self.values.get(name, []), self.values.get(base, []), strict=False)
        both = [a / b for a, b in pairs if a is not None and b]
        if both:
            return median(both)
        a, b = self.median(name), self.median(base)
        return a / b if a is not None and b else None


def geomean(values: Iterable[float | None]) -> float | None:
    """The geometric mean of what is known."""
    known = [v for v in values if v]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def interleave(
    contenders: Mapping[str, Callable[[], float | None]],
    repetitions: int,
    least: Mapping[str, int] | None = None,
) -> Series:
    """Run all contenders in turn, ``repetitions`` times; those named in ``least`` only so often."""
    series = Series()
    for repetition in range(repetitions):
        for name, contender in contenders.items():
            if repetition < (least or {}).get(name, repetitions):
                series.add(name, contender())
            else:
                series.add(name, None)
    return series


def cpu_seconds(action: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads, that ``action`` takes."""
    began = time.process_time()
    action()
    return time.process_time() - began


@dataclass(frozen=True)
class Ended:
    """How a child ended: its output, its status, its CPU seconds, wall seconds."""

    output: str
    status: int
    cpu: float
    seconds: float


def child(command: list[str], limit: float) -> Ended:
    """Run a program, for ``limit`` seconds at most; it can write no file of more than two
    megabytes, since engines' logs can fill a disk. CPU seconds are its own and its children's,
    and those of every other child that ends meanwhile. Raises EngineError at the limit."""
    try:
        import resource
    except ImportError:
        raise UsageError("CPU time of other programs is measured on Linux and macOS only") from None
    shell = ["sh", "-c", 'ulimit -f 4096; exec "$@"', "sh", *command]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    try:
        done = subprocess.run(shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=limit,
                              env=os.environ | {"PYTHONPATH": path})
    except subprocess.TimeoutExpired:
        raise EngineError(f"{Path(command[0]).name} did not end within {limit:.0f} s") from None
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(done.stdout.decode("utf-8", "replace"), done.returncode, cpu, seconds)


def python(arguments: list[str], limit: float = 60) -> Ended:
    """Run a fresh Python like this one. Raises EngineError where it fails."""
    ended = child([sys.executable, *arguments], limit)
    if ended.status:
        last = ended.output.strip().splitlines()[-1:] or [f"status {ended.status}"]
        raise EngineError(f"a child of the benchmark failed: {last[0]}")
    return ended

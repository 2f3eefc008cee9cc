"""How quick the cross-checks are: guest instructions per CPU second, checking included."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import engines

from tcglite.bench.table import Table
from tcglite.bench.workloads import NAMES
from tcglite.crosscheck.follow import check_guest
from tcglite.crosscheck.fuzz.check import check_program
from tcglite.crosscheck.fuzz.generate import generate
from tcglite.errors import TcgliteError

PROGRAMS = 100
LINES = (
    # label, oracle, grain, instructions (None: all)
    ("Unicorn, each visit to the loop", "unicorn", "piece", None),
    ("Unicorn, each block", "unicorn", "block", 200_000),
    ("Unicorn, each instruction", "unicorn", "insn", 50_000),
    ("Spike, each visit to the loop", "spike", "piece", None),
    ("Spike, each instruction", "spike", "insn", 200_000),
)


def _cpu(do: Callable[[], object]) -> float:
    began = time.process_time()
    do()
    return time.process_time() - began


def checks(repetitions: int, quick: bool) -> Table:
    """The workloads beside Unicorn and Spike."""
    names = NAMES[:1] if quick else NAMES
    backend = engines.backends()[0]
    table = Table(f"Cross-checks of the workloads ({backend}), thousand guest instructions per "
                  "CPU second", list(names))  # fmt: skip
    for label, oracle, grain, limit in LINES:
        row: list[float | None] = []
        for name in names:
            rates = []
            for _ in range(repetitions):
                began = time.process_time()
                try:
                    *_, report = check_guest(
                        name, (oracle,), backend=backend, grain=grain, max_insns=limit)
                except TcgliteError:  # not installed
                    break
                assert report.ok, report.text()
                rates.append(report.insns / (time.process_time() - began) / 1000)
            row.append(median(rates) if rates else None)
        table.rows.append((label, row))
    return table


def fuzzing(repetitions: int, quick: bool) -> Table:
    """Generated programs: making, assembling, running and comparing one."""
    seeds = range(PROGRAMS // 5 if quick else PROGRAMS)
    table = Table("One generated program, CPU ms, all included", ["Unicorn", "Spike"])
    for backend in engines.backends():
        row: list[float | None] = []
        for oracle in ("unicorn", "spike"):
            def run(oracle: str = oracle, backend: str = backend) -> None:
                for seed in seeds:
                    for report in check_program(generate(seed), backend, (oracle,)):
                        assert report.divergence is None, report.text()

            try:
                row.append(1000 * _cpu(run) / len(seeds))
            except TcgliteError:
                row.append(None)
        table.rows.append((backend, row))
    insns = [check_program(generate(seed), "auto", ())[0].insns for seed in seeds]
    table.notes.append(f"{len(seeds)} programs, of about 200 instructions besides what sets them "
                       f"up; a run has {median(insns):,.0f} (median)")  # fmt: skip
    return table

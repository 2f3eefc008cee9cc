"""The same run on two host backends: all that it leaves behind, and every event, must be equal."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from itertools import zip_longest
from typing import Any

from ..errors import TcgliteError, shown
from ..machine import Machine, RunResult
from ..target.cpu import CPURISCVState
from ..tcg.x86_64.buffer import unsupported
from ..trace.events import Event
from .report import Divergence, Report

#: What only the translator's own code uses, and the place of a pending load.
_PRIVATE = ("neg", "bins", "excp_uw2", "load_val")


def state(m: Machine, result: RunResult) -> dict[str, Any]:
    """All that a run leaves behind and that does not depend on how it was executed."""
    env = m._cpu.env
    words = {
        name: (list(value) if hasattr(value := getattr(env, name), "__len__") else value)
        for name, *_ in CPURISCVState._fields_
        if name not in _PRIVATE
    }
    base, size = m.memory.ram_base, m.memory.ram_size
    memory = hashlib.sha1(m.memory.read_bytes(base, size)).hexdigest()
    return words | {
        "reason": result.reason.value, "insns": m.insns, "console": m.console, "memory": memory,
        "halted": m.cpu.halted, "exit_code": result.exit_code, "detail": result.detail,
    }  # fmt: skip


def told(event: Event) -> tuple[Any, ...]:
    """An event without what only one run or one backend has: times, host addresses."""
    names = [f.name for f in fields(event) if f.name not in ("time", "host_pc")]
    return type(event), *(getattr(event, name) for name in names)


def differences(
    m: Machine, result: RunResult, n: Machine, other: RunResult
) -> Iterator[tuple[str, Any, Any]]:
    """(what, in the first, in the second) of all that is not equal; of the events only the first
    that is not."""
    for x, y in zip_longest(m.events, n.events):
        if x is None or y is None or told(x) != told(y):
            yield "event", x, y
            break
    mine, theirs = (state(m, result) | asdict(m.stats), state(n, other) | asdict(n.stats))
    yield from ((what, a, theirs[what]) for what, a in mine.items() if a != theirs[what])


def check_backends(
    name: str, run: Callable[[str, int], tuple[Machine, RunResult]], max_insns: int
) -> Report:
    """``run(backend, max_insns)`` on x86_64 beside python. Where they differ at the end, the first
    instruction after which they do is looked for."""
    if reason := unsupported():
        raise TcgliteError(f"x86_64 and python cannot be compared here: {reason}")
    began = time.perf_counter()
    found, insns, counts, ended = _beside(run, max_insns)
    report = Report(
        name, "python", "x86_64", insns=insns, seconds=time.perf_counter() - began,
        counts=counts, ended=ended,
    )  # fmt: skip
    if found:
        report.divergence = _divergence(run, found, insns)
    return report


Found = list[tuple[str, Any, Any]]
Run = Callable[[str, int], tuple[Machine, RunResult]]


def _beside(run: Run, max_insns: int) -> tuple[Found, int, Counter[str], str]:
    """What differs after so many instructions; instructions run, what was compared, the end."""
    m, result = run("x86_64", max_insns)
    n, other = run("python", max_insns)
    with m, n:
        found = list(differences(m, result, n, other))
        counts = Counter({"events": len(m.events), "states": 1})
        return found, m.insns or 0, counts, result.reason.value


def _divergence(run: Run, found: Found, insns: int) -> Divergence:
    """The differences at the end of a run as one, as early as it can be had."""
    good, bad = 0, insns
    while bad - good > 1:
        middle = (good + bad) // 2
        earlier = _beside(run, middle)[0]
        if earlier:
            found, bad = earlier, middle
        else:
            good = middle
    with run("python", good)[0] as m:
        pc = m.cpu.pc
    what, ours, theirs = found[-1] if found[0][0] == "event" else found[0]
    rows = tuple(f"{w}: {_short(a)} / {_short(b)}" for w, a, b in found)
    return Divergence("python", what, _short(ours), _short(theirs), good, bad, pc, rows)


def _short(value: Any) -> str:
    return f"{value:#x}" if isinstance(value, int) else shown(value)

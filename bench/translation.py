"""What translation costs, stage by stage, over all bundled guests."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from parts import Table

from tcglite import Machine, guests
from tcglite.accel import cpu_exec, translate_all
from tcglite.target import decode
from tcglite.tcg import python_backend

STAGES = ("tb_gen_code", "translate", "optimize", "emission", "compile()", "the rest")


class Clock:
    """CPU seconds of the thread by name of what was timed."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.insns = self.lines = self.blocks = 0

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, with its time added up under ``name``."""

        def wrapped(*args: Any, **keywords: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **keywords)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.thread_time() - began

        return wrapped


@contextmanager
def watching(clock: Clock, stages: bool) -> Iterator[None]:
    """Time every translation meanwhile, as a whole or also stage by stage."""
    made = clock.timed("tb_gen_code", cpu_exec.tb_gen_code)

    def tb_gen_code(*args: Any) -> Any:
        tb = made(*args)
        clock.blocks += 1
        clock.insns += tb.icount
        clock.lines += len(tb.host.lines)
        return tb

    backend = python_backend.PythonBackend
    places: list[tuple[Any, str, Any]] = [(cpu_exec, "tb_gen_code", tb_gen_code)]
    if stages:
        places += [
            (translate_all, "translate", clock.timed("translate", translate_all.translate)),
            (translate_all, "optimize", clock.timed("optimize", translate_all.optimize)),
            (backend, "compile", clock.timed("backend", backend.compile)),
            (python_backend, "compile", clock.timed("compile()", builtins.compile)),
        ]
    before = [vars(place).get(name) for place, name, _ in places]
    for place, name, function in places:
        setattr(place, name, function)
    try:
        yield
    finally:
        for (place, name, _), function in zip(places, before, strict=True):
            if function is None:
                delattr(place, name)
            else:
                setattr(place, name, function)


def translated(name: str, stages: bool) -> Clock:
    """Run a guest in a new machine, with nothing decoded before."""
    clock = Clock()
    decode._cache.clear()
    with watching(clock, stages), Machine(guests.load(name), memory="16M") as machine:
        machine.uart.type(guests.info(name).stdin)
        machine.run(max_insns=200_000, timeout=1)
    return clock


def one_guest(name: str) -> tuple[list[float], Clock]:
    """µs per guest instruction, whole and by stage. Two runs, since looking at the clock for each
    stage costs some microseconds itself; the stages are shares of the whole."""
    whole = translated(name, stages=False)
    total = 1e6 * whole.spent["tb_gen_code"] / whole.insns
    clock = translated(name, stages=True)
    s = clock.spent
    parts = [s["translate"], s["optimize"], s["backend"] - s["compile()"], s["compile()"]]
    parts.append(s["tb_gen_code"] - s["translate"] - s["optimize"] - s["backend"])
    return [total, *(total * part / s["tb_gen_code"] for part in parts)], whole


def translation(repetitions: int, quick: bool) -> Table:
    """Medians over the guests, of each guest's median over the repetitions."""
    names = guests.names()
    times: dict[str, list[list[float]]] = {name: [] for name in names}
    lines, insns = [], []
    for _ in range(repetitions):
        for name in names:
            stages, clock = one_guest(name)
            times[name].append(stages)
            lines.append(clock.lines / clock.insns)
            insns.append(clock.insns / clock.blocks)
    guest = {name: [median(column) for column in zip(*rows, strict=True)]
             for name, rows in times.items()}
    table = Table("Translation, CPU µs per guest instruction", list(STAGES), decimals=1)
    columns = list(zip(*guest.values(), strict=True))
    table.rows.append((f"median of {len(names)} guests", [median(c) for c in columns]))
    order = sorted(names, key=lambda name: guest[name][0])
    table.rows.append((f"cheapest: {order[0]}", list(guest[order[0]])))
    table.rows.append((f"dearest: {order[-1]}", list(guest[order[-1]])))
    per_line = table.rows[0][1][STAGES.index("compile()")]
    assert per_line is not None
    table.notes.append(f"medians over the guests: {median(insns):.1f} instructions in a block, "
                       f"{median(lines):.1f} lines of Python for an instruction, "
                       f"{per_line / median(lines):.0f} µs of compile() for a line")
    return table

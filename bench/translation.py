"""What translation costs, stage by stage, over all bundled guests."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median
from typing import Any

from tcglite import Machine, guests
from tcglite.accel import translate_all
from tcglite.bench.table import Table
from tcglite.bench.worker import Clock, translations
from tcglite.target import decode
from tcglite.tcg import python_backend

STAGES = ("tb_gen_code", "translate", "optimize", "emission", "compile()", "the rest")


@contextmanager
def stages(clock: Clock) -> Iterator[None]:
    """Time every translation meanwhile, stage by stage."""
    backend = python_backend.PythonBackend
    places: list[tuple[Any, str, Any]] = [
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


def translated(name: str, by_stage: bool) -> Clock:
    """Run a guest in a new machine, with nothing decoded before."""
    clock = Clock()
    decode._cache.clear()
    watching = stages(clock) if by_stage else nullcontext()
    with watching, translations(clock), Machine(
        guests.load(name), backend="python", memory="16M"
    ) as machine:
        machine.uart.type(guests.info(name).stdin)
        machine.run(max_insns=200_000, timeout=1)
    return clock


def one_guest(name: str) -> tuple[list[float], Clock]:
    """µs per guest instruction, whole and by stage. Two runs, since looking at the clock for each
    stage costs some microseconds itself; the stages are shares of the whole."""
    whole = translated(name, by_stage=False)
    total = 1e6 * whole.spent["tb_gen_code"] / whole.insns
    clock = translated(name, by_stage=True)
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
            spent, clock = one_guest(name)
            times[name].append(spent)
            lines.append(sum(len(tb.host.lines) for tb in clock.blocks) / clock.insns)
            insns.append(clock.insns / len(clock.blocks))
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

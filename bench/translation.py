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
from tcglite.tcg.x86_64 import backend as x86_backend
from tcglite.tcg.x86_64.buffer import unsupported

STAGES = ("tb_gen_code", "translate", "optimize", "emission", "compile()", "the rest")
BACKENDS: dict[str, Any] = {
    "x86_64": x86_backend.X86Backend, "python": python_backend.PythonBackend,
}


@contextmanager
def stages(clock: Clock, name: str) -> Iterator[None]:
    """Time every translation meanwhile, stage by stage."""
    backend = BACKENDS[name]
    clock.spent["compile()"] = 0.0
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


def translated(name: str, by_stage: bool, backend: str) -> Clock:
    """Run a guest in a new machine, with nothing decoded before."""
    clock = Clock()
    decode._cache.clear()
    watching = stages(clock, backend) if by_stage else nullcontext()
    with watching, translations(clock), Machine(
        guests.load(name), backend=backend, memory="16M"
    ) as machine:
        machine.uart.type(guests.info(name).stdin)
        machine.run(max_insns=200_000, timeout=1)
    return clock


def one_guest(name: str, backend: str) -> tuple[list[float], Clock]:
    """µs per guest instruction, whole and by stage. Two runs, since looking at the clock for each
    stage costs some microseconds itself; the stages are shares of the whole."""
    whole = translated(name, False, backend)
    total = 1e6 * whole.spent["tb_gen_code"] / whole.insns
    clock = translated(name, True, backend)
    s = clock.spent
    parts = [s["translate"], s["optimize"], s["backend"] - s["compile()"], s["compile()"]]
    parts.append(s["tb_gen_code"] - s["translate"] - s["optimize"] - s["backend"])
    return [total, *(total * part / s["tb_gen_code"] for part in parts)], whole


def translation(repetitions: int, quick: bool) -> Table:
    """Medians over the guests, of each guest's median over the repetitions."""
    names = guests.names()
    table = Table("Translation, CPU µs per guest instruction", list(STAGES), decimals=1)
    insns: list[float] = []
    for backend in BACKENDS:
        if backend == "x86_64" and unsupported():
            table.notes.append(f"no x86_64: {unsupported()}")
            continue
        times: dict[str, list[list[float]]] = {name: [] for name in names}
        for _ in range(repetitions):
            for name in names:
                spent, clock = one_guest(name, backend)
                times[name].append(spent)
                insns.append(clock.insns / len(clock.blocks))
        guest = {name: [median(column) for column in zip(*rows, strict=True)]
                 for name, rows in times.items()}
        columns = list(zip(*guest.values(), strict=True))
        table.rows.append((f"{backend}: median of {len(names)}", [median(c) for c in columns]))
        order = sorted(names, key=lambda name: guest[name][0])
        for label, name in (("cheapest", order[0]), ("dearest", order[-1])):
            table.rows.append((f"{backend}: {label}, {name}", list(guest[name])))
    table.notes.append(f"{median(insns):.1f} instructions in a block; nothing decoded before; the "
                       "stages include some looking at the clock, the whole does not")
    return table

"""What is measured, part by part. Each part returns a ``Table``: rows of labelled numbers."""

from __future__ import annotations

import sys
from functools import partial
from statistics import median
from typing import Any

import engines

from tcglite import Machine, Mechanisms, guests
from tcglite.accel.mechanisms import IRQ_CHECKS
from tcglite.bench.measure import Series, child, cpu_seconds, interleave, python
from tcglite.bench.table import Table
from tcglite.bench.workloads import NAMES, Workload

NOCHAIN = Mechanisms(chain=False, goto_ptr=False)


def loop(repetitions: int, quick: bool) -> Table:
    """The chained loop of four instructions."""
    rounds = 50_000 if quick else 200_000
    seconds = 0.1 if quick else 0.3
    runs: dict[str, Any] = {}
    for name in engines.backends():
        runs[f"{name}, counting"] = partial(engines.tcglite_loop, seconds, backend=name)
        runs[f"{name}, count=False"] = partial(
            engines.tcglite_loop, seconds, backend=name, count=False)
    series = interleave(
        runs | {
            "bare sketch, memoryview, tests a flag": lambda: engines.sketch("memoryview", rounds),
            "bare sketch, list, tests nothing": lambda: engines.sketch("list", rounds),
            "tinyrv": lambda: engines.tinyrv("loop", rounds // 4),
        },
        repetitions,
    )
    base = "python, counting"
    table = Table("The loop of 4 instructions, chained to itself", ["M insn/s", "ratio"])
    for name in series.values:
        table.rows.append((name, [series.median(name), series.ratio(name, base)]))
    table.notes.append("ratio: to the python backend, counting")
    return table


def race(repetitions: int, quick: bool) -> Table:
    """The six workloads beside tinyrv, an interpreter in Python."""
    table = Table("Workloads beside tinyrv, million guest instructions per CPU second",
                  ["tcglite", "tinyrv", "tcglite : tinyrv"], decimals=1)
    for name in NAMES[:2] if quick else NAMES:
        series = interleave({"tcglite": partial(engines.tcglite, name, backend="python"),
                             "tinyrv": partial(engines.tinyrv, name)},
                            repetitions, {"tinyrv": 1 if quick else 3})
        table.rows.append((name, [series.median("tcglite"), series.median("tinyrv"),
                                  series.ratio("tcglite", "tinyrv")]))
    table.notes.append("tcglite with the python backend; both run the bundled ELF to its end (1.3 "
                       "to 2.2 million instructions; tcglite: translation included)")
    return table


#: Variants of one machine against the default.
SWITCHES: dict[str, dict[str, Any]] = {
    "default, against itself": {},
    "count=False": {"count": False},
    "icount=0": {"icount": 0},
    **{f"irq_check={n!r}": {"mechanisms": Mechanisms(irq_check=n)} for n in IRQ_CHECKS
       if n != "tb-start"},
    "irq_check='quantum', quantum=100":
        {"mechanisms": Mechanisms(irq_check="quantum", quantum=100)},
    "goto_ptr=False": {"mechanisms": Mechanisms(goto_ptr=False)},
    "chain=False": {"mechanisms": Mechanisms(chain=False)},
    "chain=False, goto_ptr=False": {"mechanisms": NOCHAIN},
    "restore=False": {"mechanisms": Mechanisms(restore=False)},
    "restore='eager'": {"mechanisms": Mechanisms(restore="eager")},
    "io_last=True": {"mechanisms": Mechanisms(io_last=True)},
    "invalidate=False": {"mechanisms": Mechanisms(invalidate=False)},
    "icount=0, icount_recompile=False":
        {"icount": 0, "mechanisms": Mechanisms(icount_recompile=False)},
    "max_block_insns=1": {"mechanisms": Mechanisms(max_block_insns=1)},
    "trace='events'": {"trace": "events"},
    "trace='blocks'": {"trace": "blocks"},
    "trace='times'": {"trace": "times"},
}
#: Those in which each block comes back to the loop.
FEW = {"chain=False, goto_ptr=False", "irq_check='acyclic'"}
NO_CACHE = {"mechanisms": Mechanisms(cache=False)}


def switches(repetitions: int, quick: bool) -> Table:
    """Each switch and mode alone, on the loop and on sieve, each time right beside the default."""
    seconds = 0.05 if quick else 0.15
    sieve = Workload("sieve")
    names = engines.backends()
    table = Table("Switches: time relative to the default",
                  [f"{name}, {guest}" for name in names for guest in ("loop", "sieve")])
    elfs = {name: sieve.elf(100 if name == "x86_64" else 1) for name in names}
    for label, options in SWITCHES.items():
        row: list[float | None] = []
        for name in names:
            loops, sieves = [], []
            for _ in range(repetitions):
                loops.append(engines.tcglite_loop(seconds, backend=name)
                             / engines.tcglite_loop(seconds, backend=name, **options))
                elf = elfs[name]
                if name == "x86_64" and label in FEW:
                    elf = sieve.elf(1)  # some thousand times slower
                rounds = 100 if elf != elfs[name] else 1
                sieves.append(rounds * engines.seconds_for(elf, backend=name, **options)
                              / engines.seconds_for(elfs[name], backend=name))
            row += [median(loops), median(sieves)]
        table.rows.append((label, row))
    insns = 5_000
    uncached: list[float | None] = []
    for name in names:
        whole = engines.tcglite("sieve", backend=name)
        part = engines.tcglite_part("sieve", insns, backend=name, **NO_CACHE)
        uncached += [None, whole / part]
    table.rows.append((f"cache=False (first {insns:,} instructions)", uncached))
    return table


def imports(repetitions: int, quick: bool) -> Table:
    """The import, in fresh processes."""
    codes = {"python -c pass": "pass", "import tcglite": "import tcglite",
             "from tcglite import Machine, guests": "from tcglite import Machine, guests"}
    wall, cpu = Series(), Series()
    for _ in range(3 * repetitions):
        for name, code in codes.items():
            ended = python(["-c", code])
            wall.add(name, ended.seconds)
            cpu.add(name, ended.cpu)
    count = "import sys; before = len(sys.modules); {}; print(len(sys.modules) - before)"
    table = Table("Import, in fresh processes", ["s", "CPU s", "CPU s more", "modules more"], [], 3)
    least = cpu.median("python -c pass")
    assert least is not None
    for name, code in codes.items():
        spent = cpu.median(name)
        assert spent is not None
        modules = float(python(["-c", count.format(code)]).output)
        table.rows.append((name, [wall.median(name), spent, spent - least, modules]))
    return table


_MEMORY = """
import resource, sys
{}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def memory(repetitions: int, quick: bool) -> Table:
    """Peak resident memory of whole processes."""
    make = "from tcglite import Machine, guests; m = Machine(guests.load({!r}), memory='64M'); "
    codes = {
        "python -c pass": "pass",
        "import tcglite": "import tcglite",
        "a 64 MB machine, not run": make.format("crc"),
        "a 64 MB machine that ran crc": make.format("crc") + "m.run(timeout=60)",
        "the same with trace='blocks'":
            make.format("crc").replace("'64M'", "'64M', trace='blocks'") + "m.run(timeout=60)",
        "a 64 MB machine, every byte of it written":
            make.format("crc") + "m.run(timeout=60); size = 1 << 20\n"
            "for at in range(0x80000000, 0x84000000, size): m.memory[at:at + size] = bytes(size)",
    }

    def peak(code: str) -> float:
        # A child of a small process, since Linux counts what its parent had when it was forked.
        shell = ["sh", "-c", '"$@"; exit $?', "sh"]
        return float(child([*shell, sys.executable, "-c", _MEMORY.format(code)], 60).output)

    series = interleave({n: partial(peak, c) for n, c in codes.items()}, 1 if quick else 3)
    table = Table("Memory of a process", ["MB at most"], decimals=1)
    table.rows = [(name, [series.median(name)]) for name in codes]
    return table


def loop_return(repetitions: int, quick: bool) -> Table:
    """What one trip to the execution loop costs: the loop's block, chained and not."""

    def trip(rounds: int, **options: Any) -> float:
        with Machine(guests.load("loop"), **options) as machine:
            machine.run(max_insns=400)
            before = machine.cpu["s0"]
            spent = cpu_seconds(lambda: machine.run(max_insns=4 * rounds))
            return 1e6 * spent / (machine.cpu["s0"] - before)

    names = engines.backends()
    table = Table("From one block to the next, µs", names, decimals=2)
    table.rows = [
        ("a block of 4 instructions, chained (goto_tb)", []),
        ("more, if the next block is looked up (goto_ptr)", []),
        ("more, if the execution loop is asked (exit_tb)", []),
    ]
    for name in names:
        few = 5_000 if quick else 40_000
        many = few * (100 if name == "x86_64" else 1)
        series = interleave(
            {"chained": partial(trip, many, backend=name),
             "goto_ptr": partial(trip, many, backend=name, mechanisms=Mechanisms(chain=False)),
             "loop": partial(trip, few, backend=name, mechanisms=NOCHAIN)}, repetitions)
        chained, ptr, whole = (series.median(n) for n in ("chained", "goto_ptr", "loop"))
        assert chained is not None
        assert ptr is not None
        assert whole is not None
        for (_, numbers), value in zip(
            table.rows, (chained, ptr - chained, whole - chained), strict=True
        ):
            numbers.append(value)
    return table

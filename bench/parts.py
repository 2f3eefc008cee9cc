"""What is measured, part by part. Each part returns a ``Table``: rows of labelled numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import engines
import workloads
from measure import Series, cpu_seconds, guarded, interleave, python

from tcglite import Machine, Mechanisms, guests
from tcglite.accel.mechanisms import IRQ_CHECKS

Number = float | None


@dataclass
class Table:
    """``rows``: (label, one number for each of the ``columns``); None: not measured."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Number]]] = field(default_factory=list)
    decimals: int = 2
    notes: list[str] = field(default_factory=list)

    def value(self, label: str, column: str) -> Number:
        """One number."""
        numbers = dict(self.rows)[label]
        return numbers[self.columns.index(column)]


def loop(repetitions: int, quick: bool) -> Table:
    """The chained loop of four instructions."""
    rounds = 50_000 if quick else 200_000
    seconds = 0.1 if quick else 0.3
    series = interleave(
        {
            "tcglite, counting": lambda: engines.tcglite_loop(seconds),
            "tcglite, count=False": lambda: engines.tcglite_loop(seconds, count=False),
            "bare sketch, memoryview, tests a flag": lambda: engines.sketch("memoryview", rounds),
            "bare sketch, list, tests nothing": lambda: engines.sketch("list", rounds),
            "tinyrv": lambda: engines.tinyrv("loop", rounds // 4),
        },
        repetitions,
    )
    base = "tcglite, counting"
    table = Table("The loop of 4 instructions, chained to itself", ["M insn/s", "ratio"])
    for name in series.values:
        table.rows.append((name, [series.median(name), series.ratio(name, base)]))
    table.notes.append("ratio: to tcglite, counting")
    return table


def modes(repetitions: int, quick: bool) -> list[Table]:
    """Six workloads on four engines: speeds, and what each mode costs."""
    names = workloads.NAMES[:2] if quick else workloads.NAMES
    with_qemu = workloads.can_scale() and engines.qemu_path() is not None
    speeds = Table("Workloads, million guest instructions per CPU second",
                   [*(f"tcglite {m}" for m in engines.TCGLITE_MODES), "tinyrv", "Unicorn",
                    *(f"QEMU {m}" for m in engines.QEMU_MODES)], decimals=1)
    columns = [f"{engine} {mode}" for engine in ("tcglite", "QEMU")
               for mode in ("icount", "nochain")]
    costs = Table("What a mode costs: time relative to the same engine chained",
                  [*columns, "tcglite : tinyrv", "QEMU : tcglite", "QEMU : Unicorn"])
    for name in names:
        series = _one_workload(name, repetitions, quick, with_qemu)
        speeds.rows.append((name, [series.median(c) for c in speeds.columns]))
        ratios = [series.ratio(f"{c.split()[0]} chained", c) for c in columns]
        ratios += [series.ratio("tcglite chained", "tinyrv"),
                   series.ratio("QEMU chained", "tcglite chained"),
                   series.ratio("QEMU chained", "Unicorn")]
        costs.rows.append((name, ratios))
    speeds.notes.append("tcglite and tinyrv run the committed ELF to its end (1.3 to 2.2 million "
                        "instructions; tcglite: translation included)")
    if with_qemu:
        speeds.notes.append("QEMU and Unicorn run the same source with a larger SCALE (10 to 280 "
                            "million instructions); QEMU's start, measured with hello, is "
                            "subtracted")
    else:
        speeds.notes.append("QEMU and Unicorn need qemu-system-riscv64 and the extra 'guests'")
    return [speeds, costs]


def _one_workload(name: str, repetitions: int, quick: bool, with_qemu: bool) -> Series:
    contenders: dict[str, Callable[[], Number]] = {}
    for mode, options in engines.TCGLITE_MODES.items():
        contenders[f"tcglite {mode}"] = partial(engines.tcglite, name, **options)
    contenders["tinyrv"] = partial(engines.tinyrv, name)
    if with_qemu:
        elf = workloads.scaled(name, quick)
        insns = engines.qemu_insns(elf)
        contenders["Unicorn"] = partial(engines.unicorn, elf, insns)
        hello = guests.load("hello")
        for mode in engines.QEMU_MODES:

            def run(mode: str = mode) -> float:
                start = engines.qemu_run(hello, mode)[0]
                return insns / (engines.qemu_run(elf, mode)[0] - start) / 1e6

            contenders[f"QEMU {mode}"] = run
    return interleave(contenders, repetitions, {"tinyrv": 1 if quick else 3})


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
    "chain=False, goto_ptr=False": {"mechanisms": engines.NOCHAIN},
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
NO_CACHE = {"mechanisms": Mechanisms(cache=False)}


def switches(repetitions: int, quick: bool) -> Table:
    """Each switch and mode alone, on the loop and on sieve, each time right beside the default."""
    seconds = 0.05 if quick else 0.15
    ratios: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in SWITCHES}
    for _ in range(repetitions):
        for name, options in SWITCHES.items():
            loops, sieves = ratios[name]
            loops.append(engines.tcglite_loop(seconds) / engines.tcglite_loop(seconds, **options))
            sieves.append(engines.tcglite("sieve") / engines.tcglite("sieve", **options))
    table = Table("Switches: time relative to the default", ["loop", "sieve"])
    table.rows = [(name, [median(both[0]), median(both[1])]) for name, both in ratios.items()]
    insns = 5_000
    uncached = engines.tcglite("sieve") / engines.tcglite_part("sieve", insns, **NO_CACHE)
    table.rows.append((f"cache=False (first {insns:,} instructions)", [None, uncached]))
    return table


def imports(repetitions: int, quick: bool) -> Table:
    """The import, in fresh processes."""
    codes = {"python -c pass": "pass", "import tcglite": "import tcglite",
             "from tcglite import Machine, guests": "from tcglite import Machine, guests"}
    wall, cpu = Series(), Series()
    for _ in range(3 * repetitions):
        for name, code in codes.items():
            ended = python(code)
            wall.add(name, ended.seconds)
            cpu.add(name, ended.cpu)
    count = "import sys; before = len(sys.modules); {}; print(len(sys.modules) - before)"
    table = Table("Import, in fresh processes", ["s", "CPU s", "CPU s more", "modules more"], [], 3)
    least = cpu.median("python -c pass")
    assert least is not None
    for name, code in codes.items():
        spent = cpu.median(name)
        assert spent is not None
        modules = float(python(count.format(code)).output)
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
        return float(guarded([sys.executable, "-c", _MEMORY.format(code)], 60).output)

    series = interleave({n: partial(peak, c) for n, c in codes.items()}, 1 if quick else 3)
    table = Table("Memory of a process", ["MB at most"], decimals=1)
    table.rows = [(name, [series.median(name)]) for name in codes]
    return table


def loop_return(repetitions: int, quick: bool) -> Table:
    """What one trip to the execution loop costs: the loop's block, chained and not."""
    rounds = 5_000 if quick else 40_000

    def trip(**options: Any) -> float:
        with Machine(guests.load("loop"), **options) as machine:
            machine.run(max_insns=400)
            before = machine.cpu["s0"]
            spent = cpu_seconds(lambda: machine.run(max_insns=4 * rounds))
            return 1e6 * spent / (machine.cpu["s0"] - before)

    series = interleave(
        {"chained": trip, "goto_ptr": lambda: trip(mechanisms=Mechanisms(chain=False)),
         "loop": lambda: trip(mechanisms=engines.NOCHAIN)}, repetitions)
    chained, ptr, whole = (series.median(n) for n in ("chained", "goto_ptr", "loop"))
    assert chained is not None
    assert ptr is not None
    assert whole is not None
    table = Table("From one block to the next, µs", ["µs"], decimals=2)
    table.rows = [
        ("a block of 4 instructions, chained (goto_tb)", [chained]),
        ("more, if the next block is looked up (goto_ptr)", [ptr - chained]),
        ("more, if the execution loop is asked (exit_tb)", [whole - chained]),
    ]
    return table

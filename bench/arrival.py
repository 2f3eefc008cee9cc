"""From the exit flag, set by another thread, to native code being left, to the guest's handler.

Three stamps of the same time stamp counter: right before the flag is stored (this thread), in the
exit thunk (host code), in the record that the handler's first block makes (host code again).
Between the first two lies the translator's mechanism; between the last two lie the way back into
Python, which has to get the GIL first, and the trip through the loop.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from tcglite import Machine
from tcglite.bench.table import Table
from tcglite.target.asm import assemble
from tcglite.tcg.x86_64 import buffer

#: Two chained blocks for ever. The handler takes the software interrupt back and then stops the
#: machine, so that its record is among the last in the ring.
PROGRAM = """
        .option norvc
        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      s10, 0x2000000          # CLINT, msip
        li      s11, 0x100000           # finisher
        li      t1, 0x5555
        li      t0, 8
        csrw    mie, t0
        csrsi   mstatus, 8
one:
        addi    s0, s0, 1
        xor     s1, s1, s0
        j       two
two:
        addi    s2, s2, 1
        j       one
handler:
        sw      zero, 0(s10)
        sw      t1, 0(s11)
        mret
"""

SPANS = ("flag to native exit", "native exit to handler", "flag to handler")


def _busy(stop: threading.Event) -> None:
    """A Python thread that computes and computes."""
    while not stop.is_set():
        sum(range(1000))


def spans(kicks: int, busy: bool) -> list[tuple[float, float, float]]:
    """µs of the three SPANS, for each kick that could be followed."""
    stop = threading.Event()
    program = assemble(PROGRAM)
    found = []
    with Machine(program, backend="x86_64", trace="times", memory="1M") as machine:
        machine.recorder.enabled = False  # the records of blocks are enough
        cpu = machine._cpu
        backend: Any = cpu.tbs.backend
        exits: list[int] = []
        flags: list[int] = []
        enter, kick = backend.enter, cpu.kick

        def entered(code: Any) -> tuple[int, int]:
            result = enter(code)
            exits.append(cpu.env.neg.stamp)
            return result

        def kicked(why: str) -> None:
            flags.append(backend.clock())
            kick(why)

        backend.enter, cpu.kick = entered, kicked
        thread = threading.Thread(target=_busy, args=(stop,))
        if busy:
            thread.start()
        per_us = _ticks_per_us(backend.clock)
        for _ in range(kicks):
            machine.start()
            time.sleep(0.003)
            del exits[:], flags[:]
            machine.raise_irq("msip")
            machine.wait(5)
            left = next(at for at in exits if at > flags[0])
            handled = _last_run(machine, program.symbols["handler"])
            a, b = (left - flags[0]) / per_us, (handled - left) / per_us
            found.append((a, b, a + b))
        stop.set()
        if busy:
            thread.join()
    return found


def _last_run(machine: Machine, pc: int) -> int:
    """The stamp of the last record of the block at ``pc``."""
    ring, at = machine.recorder.ring, machine.blocks_run
    numbers = {tb.number for tb in machine.tbs if tb.pc == pc}
    while True:
        at -= 1
        i = at % machine.recorder.capacity * 2
        if ring[i] in numbers:
            return int(ring[i + 1])


def _ticks_per_us(clock: Any) -> float:
    began, first = time.perf_counter(), clock()
    time.sleep(0.05)
    return float(clock() - first) / (time.perf_counter() - began) / 1e6


def arrival(repetitions: int, quick: bool) -> Table:
    """Medians and worst tenths, with the process otherwise idle and with a busy Python thread."""
    table = Table("From the exit flag to the handler, native code, wall µs",
                  [f"{span}, {what}" for span in SPANS for what in ("median", "worst tenth")],
                  decimals=1)
    if buffer.unsupported():
        table.notes.append(f"not measured: {buffer.unsupported()}")
        return table
    for label, busy in (("process idle", False), ("a busy Python thread", True)):
        rows = [row for _ in range(repetitions) for row in spans(20 if quick else 100, busy)]
        columns = [sorted(column) for column in zip(*rows, strict=True)]
        table.rows.append((label, [value for column in columns
                                   for value in (median(column), column[len(column) * 9 // 10])]))
        PICTURES[label] = columns
    if not quick:
        _draw(Path(__file__).with_name("arrival.png"))
    return table


PICTURES: dict[str, list[list[float]]] = {}


def _draw(path: Path) -> None:
    """Both spans, one histogram for each situation, on one logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(PICTURES), 1, figsize=(8, 5), sharex=True, layout="constrained")
    edges = [10 ** (k / 8) for k in range(-4, 37)]
    for axis, (label, columns) in zip(axes, PICTURES.items(), strict=True):
        for column, name, colour, hatch in zip(
            columns[:2], SPANS[:2], ("#0072B2", "#E69F00"), ("", "///"), strict=True
        ):
            axis.hist(column, bins=edges, color=colour, hatch=hatch, alpha=0.75, label=(
                f"{name} (median {median(column):.3g} µs)"), edgecolor="white")
        axis.set_xscale("log")
        axis.set_title(label, loc="left")
        axis.set_ylabel("arrivals")
        axis.legend(frameon=False)
    axes[-1].set_xlabel("µs")
    figure.savefig(path, dpi=110)
    plt.close(figure)

"""From the moment a line goes up to the moment the guest's handler is entered."""

from __future__ import annotations

import time
from statistics import median

from tcglite import Machine, Mechanisms
from tcglite.accel.mechanisms import IRQ_CHECKS
from tcglite.bench.table import Table
from tcglite.target.asm import assemble
from tcglite.trace import events as ev

#: Two chained blocks for ever; the handler takes the software interrupt back and counts.
PROGRAM = """
        .option norvc
        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      s10, 0x2000000          # CLINT, msip
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
        addi    s9, s9, 1
        mret
"""


def one(irq_check: str, kicks: int) -> tuple[list[float], list[float]]:
    """µs from the call of ``raise_irq`` to the exit flag, and from there to the interrupt."""
    to_flag, to_handler = [], []
    with Machine(assemble(PROGRAM), mechanisms=Mechanisms(irq_check=irq_check), trace="events",
                 memory="1M") as machine:
        machine.start()
        called = []
        for _ in range(kicks):
            time.sleep(0.004)
            called.append(time.perf_counter())
            machine.raise_irq("msip")
        time.sleep(0.05)
        machine.pause()
        events = machine.events
    for began, until in zip(called, [*called[1:], float("inf")], strict=True):
        flag = next((e.time for e in events if isinstance(e, ev.FlagSet)
                     and began < e.time < until), None)
        taken = next((e.time for e in events if isinstance(e, ev.InterruptTaken)
                      and began < e.time < until), None)
        if flag is not None and taken is not None:
            to_flag.append(1e6 * (flag - began))
            to_handler.append(1e6 * (taken - flag))
    return to_flag, to_handler


def latency(repetitions: int, quick: bool) -> Table:
    """Wall time, another thread of the same Python raises; medians over all kicks."""
    kinds = [name for name in IRQ_CHECKS if name != "never"]
    flag: dict[str, list[float]] = {name: [] for name in kinds}
    handler: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(repetitions):
        for name in kinds:
            a, b = one(name, 10 if quick else 40)
            flag[name] += a
            handler[name] += b
    table = Table("An interrupt from another thread, wall µs",
                  ["raise to flag", "flag to handler", "worst tenth"], decimals=0)
    for name in kinds:
        late = sorted(handler[name])
        worst = late[len(late) * 9 // 10] if late else None
        table.rows.append((f"irq_check={name!r}", [
            median(flag[name]) if late else None, median(late) if late else None, worst]))
    table.notes.append("the raiser sleeps at once; one that computes on keeps Python's GIL, and "
                       "with it the guest, for up to the switch interval (0.5 ms)")
    return table

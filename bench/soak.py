"""Interrupts at random moments for a long time: is any lost, is anything left behind?

    python bench/soak.py --seconds 3600 [--backend x86_64] [--irq-check unlink] [--no-count]

The guest is ``roundrobin``, without its end and with shorter turns: its timer keeps switching three
tasks that check their own registers. Another thread raises msip at random moments, each time after
the guest has answered the last one, and counts. The guest counts in memory, not on its console,
which would grow. Prints raised, taken, turns, and how much the process has grown; exits with 1 if
an interrupt was lost or a task miscounted. A test does the same for a minute.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from tcglite import Machine, Mechanisms, guests  # noqa: E402
from tcglite.accel.mechanisms import IRQ_CHECKS  # noqa: E402
from tcglite.target.asm import assemble  # noqa: E402

LOST = 30  #: seconds without an answer
PATIENCE = (0.0, 0.0, 0.00005, 0.0005, 0.003)  #: longest waits before a raise, one taken at random

_CHANGES = {
    # n * (n + 1) / 2 is wrong from round 2**32 on, which takes a quarter of a minute; twice the
    # sum is right modulo 2**64.
    "        srli    t0, t0, 1\n        beq     t0, s1, task_a\n": """
        slli    t1, s1, 1
        beq     t0, t1, task_a
""",
    "TURN,     200000        # 20 ms": "TURN,     10000         # 1 ms",
    "TURNS,    12": "TURNS,    -1",
    "MTIE,     0x80 ": "MTIE,     0x88 ",
    "        ld      t0, F_LETTER(sp)\n        li      t1, UART\n        sb      t0, 0(t1)\n": "",
    "        ld      sp, F_NEXT(sp)\nswitch_to:": """
        andi    t0, t0, 4               # 7 is the timer, 3 the software interrupt
        beqz    t0, rung
        ld      sp, F_NEXT(sp)
switch_to:""",
    "        ld      t0, F_PC(sp)\n": "resume:\n        ld      t0, F_PC(sp)\n",
    "finish:    ": """
rung:                                   # taken back first, or the next one could be lost
        li      t0, 0x2000000
        sw      zero, 0(t0)
        la      t0, rings
        ld      t1, 0(t0)
        addi    t1, t1, 1
        sd      t1, 0(t0)
        j       resume

finish:    """,
    "turns:\n        .dword  0\n": "turns:\n        .dword  0\nrings:\n        .dword  0\n",
}


def guest() -> Any:
    """The program, assembled."""
    source = guests.source("roundrobin")
    for old, new in _CHANGES.items():
        assert source.count(old) == 1, f"{old!r} is not once in roundrobin.S"
        source = source.replace(old, new)
    return assemble(source)


@dataclass(frozen=True)
class Soaked:
    """``raised`` by us, ``rings`` counted by the guest, ``turns`` of its timer, ``taken`` by the
    machine; rounds and errors of each task; bytes that the process grew by."""

    raised: int
    rings: int
    turns: int
    taken: int
    rounds: list[int]
    errors: list[int]
    grown: int

    @property
    def good(self) -> bool:
        """Nothing lost, nothing twice, no register mixed up. (The first turn needs no timer; the
        pause may come when the timer's interrupt has been taken and its turn not been counted.)"""
        return (
            self.raised == self.rings
            and self.taken - self.rings - (self.turns - 1) in (0, 1)
            and all(self.rounds)
            and not any(self.errors)
        )


def soak(
    seconds: float, seed: int = 0, report: Callable[[int], object] | None = None, **options: Any
) -> Soaked:
    """Raise for so long; ``options`` are the machine's. ``report``: told the count each minute."""
    rng = random.Random(seed)
    program = guest()
    place = program.symbols
    with Machine(program, memory="1M", **options) as m:

        def word(address: int) -> int:
            return int.from_bytes(m.memory[address : address + 8], "little")

        m.start()
        raised, before = 0, _resident()
        end = minute = time.monotonic()
        end += seconds
        while (now := time.monotonic()) < end:
            time.sleep(rng.random() * rng.choice(PATIENCE))
            m.raise_irq("msip")
            raised += 1
            while word(place["rings"]) != raised:
                time.sleep(0.00002)
                if not m.running or time.monotonic() - now > LOST:
                    raise SystemExit(f"interrupt {raised} was lost: {m.pause()}")
            if raised == 100:
                before = _resident()  # all code has been translated
            if report is not None and now - minute > 60:
                minute = now
                report(raised)
        grown = _resident() - before
        m.pause()
        # The frame of the task that was interrupted last is old, and so is only too small.
        frames = [place[f"frame_{name}"] for name in "abc"]
        return Soaked(
            raised=raised, rings=word(place["rings"]), turns=word(place["turns"]),
            taken=m.stats.interrupts_taken,
            rounds=[word(frame + 64) for frame in frames],
            errors=[word(frame + 152) for frame in frames],
            grown=grown,
        )  # fmt: skip


def _resident() -> int:
    """Bytes of memory that this process has now (0 where nobody says)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Interrupts at random moments, for a long time.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--irq-check", default="tb-start", choices=IRQ_CHECKS)
    parser.add_argument("--no-count", action="store_true")
    args = parser.parse_args()
    found = soak(
        args.seconds, args.seed, lambda n: print(f"{n:,} raised so far", flush=True),
        backend=args.backend, mechanisms=Mechanisms(irq_check=args.irq_check),
        count=not args.no_count,
    )  # fmt: skip
    print(f"raised {found.raised:,}, counted by the guest {found.rings:,}; turns {found.turns:,}")
    print(f"taken {found.taken:,}; rounds of the tasks {found.rounds}, errors {found.errors}")
    print(f"memory grew by {found.grown / 1024:,.0f} KiB")
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())

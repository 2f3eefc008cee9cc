"""One guest on one engine, in this process: million guest instructions per CPU second.

Engines are in their plainest fast setting; what one is spared or cannot do is said at its
function. An engine that is not installed gives None.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tcglite import Machine, guests
from tcglite.bench.measure import cpu_seconds
from tcglite.hw.loader import read_image
from tcglite.tcg.backends import BACKENDS
from tcglite.tcg.x86_64.buffer import unsupported

RAM_BASE = 0x8000_0000
FINISHER, UART, LSR = 0x10_0000, 0x1000_0000, 5
LIMIT = 60  #: seconds that one run may take

# tcglite


def backends() -> list[str]:
    """The host backends that work here."""
    return [name for name in BACKENDS if name != "x86_64" or not unsupported()]


def tcglite(guest: str, **options: Any) -> float:
    """The whole guest, translation included."""
    with Machine(guests.load(guest), **options) as machine:
        seconds = cpu_seconds(lambda: machine.run(timeout=LIMIT))
        assert machine.insns is not None
        return machine.insns / seconds / 1e6


def seconds_for(elf: Path, **options: Any) -> float:
    """CPU seconds of a whole run, translation included."""
    with Machine(elf, **options) as machine:
        return cpu_seconds(lambda: machine.run(timeout=LIMIT))


def tcglite_part(guest: str, insns: int, **options: Any) -> float:
    """The first ``insns`` instructions only, for what is too slow to run a guest to its end."""
    with Machine(guests.load(guest), **options) as machine:
        seconds = cpu_seconds(lambda: machine.run(max_insns=insns, timeout=LIMIT))
        assert machine.insns is not None
        return machine.insns / seconds / 1e6


def tcglite_loop(seconds: float = 0.25, **options: Any) -> float:
    """The endless guest ``loop``, for some time after it has been chained; s0 counts rounds."""
    with Machine(guests.load("loop"), **options) as machine:
        machine.run(timeout=0.02)
        before = machine.cpu["s0"]
        spent = cpu_seconds(lambda: machine.run(timeout=seconds))
        return 4 * (machine.cpu["s0"] - before) / spent / 1e6


# A bare sketch of "one Python function per block", on the same loop

SKETCH = """
def block():
    if FLAG: return None
    R[8] = R[8] + 1 & M
    s1 = R[9] = R[9] + 3 & M
    R[18] = R[18] ^ s1
    return block
"""


def sketch(state: str, rounds: int) -> float:
    """``state``: "memoryview" (as tcglite, with a test of an exit flag) or "list" (without)."""
    source = SKETCH
    registers: Any = [0] * 32
    if state == "memoryview":
        registers = memoryview(bytearray(8 * 40)).cast("Q")
        source = source.replace("FLAG", "R[39]")
    else:
        source = source.replace("    if FLAG: return None\n", "")
    names: dict[str, Any] = {"R": registers, "M": (1 << 64) - 1}
    exec(source, names)

    def run() -> None:
        fn: Callable[[], Any] = names["block"]
        for _ in range(rounds):
            fn = fn()

    seconds = cpu_seconds(run)
    assert registers[8] == rounds
    return 4 * rounds / seconds / 1e6


# tinyrv


@cache
def _tinyrv() -> Any:
    try:
        return importlib.import_module("tinyrv")
    except ImportError:
        return None


def tinyrv(guest: str, insns: int | None = None) -> float | None:
    """Its bare simulator, without the board (which would cost it more): the UART's status byte is
    put into memory so that the guest finds it ready, and the store to the finisher ends the run.
    Traces off. ``insns``: at most so many."""
    package = _tinyrv()
    if package is None:
        return None

    base: Any = package.sim

    class Simulator(base):
        done = False

        def notify_stored(self, addr: int) -> None:
            if addr == FINISHER:
                self.done = True

    machine = Simulator(xlen=64, trap_misaligned=False)
    for address, data, _ in read_image(guests.load(guest), RAM_BASE).segments:
        machine.copy_in(address, data)
    machine.copy_in(UART + LSR, b"\x60")
    machine.pc = RAM_BASE

    def run() -> None:
        left = insns if insns is not None else -1
        while left and not machine.done:
            machine.step(trace=False)
            left -= 1

    seconds = cpu_seconds(run)
    return machine.cycle / seconds / 1e6

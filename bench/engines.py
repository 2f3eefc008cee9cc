"""One guest on one engine: million guest instructions per CPU second.

All engines are in their plainest fast setting; what each is spared or cannot do is said at its
function. An engine that is not installed gives None.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from measure import cpu_seconds, guarded

from tcglite import Machine, Mechanisms, guests

RAM_BASE = 0x8000_0000
FINISHER, UART, LSR = 0x10_0000, 0x1000_0000, 5
LIMIT = 60  #: seconds that one QEMU run may take

NOCHAIN = Mechanisms(chain=False, goto_ptr=False)
#: tcglite's modes that have a counterpart in QEMU, and one between them.
TCGLITE_MODES: dict[str, dict[str, Any]] = {
    "chained": {},
    "icount": {"icount": 0},
    "no goto_tb": {"mechanisms": Mechanisms(chain=False)},
    "nochain": {"mechanisms": NOCHAIN},
}
QEMU_MODES = {
    "chained": [],
    "icount": ["-icount", "shift=0,sleep=off"],
    "nochain": ["-d", "nochain", "-D", "/dev/null"],
}


def version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# tcglite


def tcglite(guest: str, **options: Any) -> float:
    """The whole guest, translation included."""
    with Machine(guests.load(guest), **options) as machine:
        began = machine.insns
        seconds = cpu_seconds(lambda: machine.run(timeout=LIMIT))
        insns = machine.insns if began is not None else guests.info(guest).instructions
        assert insns is not None
        return insns / seconds / 1e6


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
    for address, data in segments(guests.load(guest)):
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


# Unicorn


def unicorn(elf: Path, insns: int) -> float | None:
    """The whole guest in one call, without hooks. It has no devices: the UART is plain memory with
    the status byte set, and the store to the finisher, which is not mapped, ends the run."""
    try:
        import unicorn as package
        from unicorn.riscv_const import UC_RISCV_REG_PC
    except ImportError:
        return None
    machine = package.Uc(package.UC_ARCH_RISCV, package.UC_MODE_RISCV64)
    machine.mem_map(RAM_BASE, 128 << 20)
    machine.mem_map(UART, 0x1000)
    machine.mem_write(UART + LSR, b"\x60")
    for address, data in segments(elf):
        machine.mem_write(address, data)
    ended: list[Exception] = []

    def run() -> None:
        try:
            machine.emu_start(RAM_BASE, 0)
        except package.UcError as error:
            ended.append(error)

    seconds = cpu_seconds(run)
    where = machine.reg_read(UC_RISCV_REG_PC)
    if not ended or getattr(ended[0], "errno", None) != package.UC_ERR_WRITE_UNMAPPED:
        raise RuntimeError(f"Unicorn did not reach the end of {elf.name}: {ended}, pc {where:#x}")
    return insns / seconds / 1e6


# QEMU

_QEMU = ["-M", "virt", "-m", "128M", "-bios", "none", "-display", "none", "-monitor", "none",
         "-serial", "stdio", "-no-reboot"]


@cache
def qemu_path() -> str | None:
    """Where QEMU is."""
    return shutil.which("qemu-system-riscv64")


def qemu_version() -> str | None:
    """QEMU's version."""
    path = qemu_path()
    if path is None:
        return None
    found = re.search(r"version ([\d.]+)", guarded([path, "--version"], 10).output)
    return found[1] if found else "unknown"


def qemu_run(elf: Path, mode: str) -> tuple[float, str]:
    """CPU seconds of a whole QEMU process, its start included, and what the guest printed."""
    path = qemu_path()
    assert path is not None
    ended = guarded([path, *_QEMU, *QEMU_MODES[mode], "-kernel", str(elf)], LIMIT)
    if ended.status:
        raise RuntimeError(f"QEMU, {mode}, {elf.name}: status {ended.status}\n{ended.output}")
    return ended.cpu, ended.output


def qemu_insns(elf: Path) -> int:
    """How many instructions the scaled guest takes: it says so itself, under icount."""
    found = re.search(r"instructions (\d+)", qemu_run(elf, "icount")[1])
    assert found is not None
    return int(found[1])


def segments(elf: Path) -> list[tuple[int, bytes]]:
    """What the ELF puts into memory: (address, bytes)."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        return [(s["p_paddr"], s.data()) for s in ELFFile(file).iter_segments()
                if s["p_type"] == "PT_LOAD" and s["p_filesz"]]

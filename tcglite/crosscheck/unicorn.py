"""The same guest in Unicorn, compared with tcglite register by register.

Unicorn is a fork of QEMU 5.0 without devices and interrupts, so it can check the part of a run
between them: tcglite runs the guest up to a place, its state is copied over, then both go on in
steps, and after each step the program counter and the 31 registers must be equal, at the end all
of the RAM. Where the guest reads a device or takes a trap, the comparison stops and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tcglite import guests
from tcglite.errors import TcgliteError, UsageError
from tcglite.machine import Machine
from tcglite.target.names import REG_NAMES

RAM_BASE = 0x80000000
DEVICES = ((0x100000, 0x1000), (0x2000000, 0x10000), (0xC000000, 0x600000), (0x10000000, 0x1000))


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared. ``difference`` is empty when everything was equal; ``ended`` says why
    the comparison stopped before ``insns`` instructions, if it did."""

    guest: str
    start: int
    insns: int
    checks: int
    version: str
    difference: str = ""
    ended: str = ""

    @property
    def ok(self) -> bool:
        return not self.difference and self.insns > 0

    def line(self) -> str:
        """The result in one line."""
        span = f"{self.guest}, instructions {self.start} to {self.start + self.insns}"
        if self.difference:
            return f"✗ tcglite and Unicorn {self.version} differ: {span}: {self.difference}"
        if not self.insns:
            return f"✗ nothing was compared: {span}: {self.ended}"
        why = f" (then {self.ended})" if self.ended else ""
        return (f"✓ tcglite agrees with Unicorn {self.version}: {span}{why}: pc and 31 registers "
                f"equal at {self.checks} places, memory equal at the end")


class Twin:
    """A Unicorn that begins where a tcglite machine stands."""

    def __init__(self, machine: Machine, ram: bytes) -> None:
        try:
            import unicorn
            from unicorn import riscv_const as names
        except ImportError:
            raise TcgliteError("the cross-check needs Unicorn: "
                               "pip install 'tcglite[crosscheck]'") from None
        self.version = unicorn.__version__
        self._uc = uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        self._registers = [getattr(names, f"UC_RISCV_REG_X{n}") for n in range(1, 32)]
        self._pc = names.UC_RISCV_REG_PC
        self.device = ""
        uc.mem_map(RAM_BASE, len(ram))
        uc.mem_write(RAM_BASE, ram)
        for base, size in DEVICES:
            uc.mem_map(base, size)
            uc.hook_add(unicorn.UC_HOOK_MEM_READ, self._device_read, begin=base,
                        end=base + size - 1)
        for number, register in enumerate(self._registers, start=1):
            uc.reg_write(register, machine.cpu[f"x{number}"])
        uc.reg_write(self._pc, machine.cpu.pc)
        self._error = unicorn.UcError

    def _device_read(self, uc: Any, access: int, address: int, *rest: Any) -> None:
        self.device = f"the guest reads a device at {address:#x}"
        uc.emu_stop()

    def step(self, insns: int) -> str:
        """Run that many instructions; why it could not, if so. (Unicorn keeps blocks without a
        counter if its first run had none, so every run has one.)"""
        try:
            self._uc.emu_start(self._uc.reg_read(self._pc), 0, count=insns)
        except self._error as error:
            return f"a trap: {error}"
        return self.device

    def state(self) -> list[int]:
        """pc and x1 to x31."""
        return [self._uc.reg_read(self._pc), *(self._uc.reg_read(r) for r in self._registers)]

    def ram(self, size: int) -> bytes:
        """All of the RAM."""
        return bytes(self._uc.mem_read(RAM_BASE, size))


def state(machine: Machine) -> list[int]:
    """pc and x1 to x31 of a stopped machine."""
    return [machine.cpu.pc, *(machine.cpu[f"x{n}"] for n in range(1, 32))]


def difference(ours: list[int], theirs: list[int]) -> str:
    """The first register that differs, "" if none does."""
    for name, mine, other in zip(("pc", *REG_NAMES[1:]), ours, theirs, strict=True):
        if mine != other:
            return f"{name} is {mine:#x} here and {other:#x} there"
    return ""


def compare(guest: str, insns: int = 2000, start: int = 200, every: int = 20,
            backend: str = "auto") -> Report:
    """Run ``guest`` to instruction ``start``, then ``insns`` more beside Unicorn, comparing after
    every ``every`` instructions."""
    if min(insns, every) < 1 or start < 0:
        raise UsageError(f"insns={insns}, every={every}, start={start}: expected positive numbers")
    size = 8 << 20
    image = guests.load(guest) if guest in guests.names() else guest
    with Machine(image, backend=backend, memory="8M") as machine:
        if start:
            machine.run(max_insns=start, timeout=20)
        twin = Twin(machine, bytes(machine.memory[RAM_BASE:RAM_BASE + size]))
        done = checks = 0
        ended = found = ""
        while done < insns and not ended and not found:
            step = min(every, insns - done)
            ended = twin.step(step)
            if ended:
                break
            before = machine.stats.interrupts_taken
            machine.run(max_insns=step, timeout=20)
            if machine.stats.interrupts_taken != before:
                ended = "tcglite took an interrupt"
                break
            found = difference(state(machine), twin.state())
            done += step
            checks += 1
        if done and not ended and not found:
            mine = bytes(machine.memory[RAM_BASE:RAM_BASE + size])
            if mine != twin.ram(size):
                found = "memory is not the same at the end"
        return Report(str(guest), start, done, checks, twin.version, found, ended)

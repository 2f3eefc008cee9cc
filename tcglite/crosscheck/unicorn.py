"""The same guest in Unicorn, compared with tcglite register by register.

Unicorn is a fork of QEMU 5.0 without devices and interrupts, so it can check the part of a run
between them: tcglite runs the guest up to a place, its state is copied over, then both go on in
steps, and after each step the program counter and the 31 registers must be equal, at the end all
of the RAM. Where the guest reads a device, takes a trap, or comes to an instruction that depends on
what Unicorn does not have or cannot be told, both stop before it, and the report says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tcglite import guests
from tcglite.errors import TcgliteError, UsageError, whole
from tcglite.machine import Machine, StopReason
from tcglite.target.disas import disassemble
from tcglite.target.names import CSR_NUMBERS, REG_NAMES

RAM_BASE = 0x80000000
DEVICES = ((0x2000000, 0x10000), (0xC000000, 0x600000), (0x10000000, 0x1000))
FINISHER = (0x100000, 0x1000)   # a write to it ends the guest: Unicorn shall not go beyond that
DEFAULT_START = 200

# Copied over, and the same on both sides whatever the guest does with them …
COPIED = ("mscratch", "mepc", "mcause", "mtval", "mtvec")
# … or only until they are read: some of their bits exist on one side only.
WRITTEN = ("mstatus", "mie", "mcounteren")
_COPIED = {CSR_NUMBERS[name] for name in COPIED}
_WRITTEN = {CSR_NUMBERS[name] for name in WRITTEN}
_FP = {0x07, 0x27, 0x43, 0x47, 0x4B, 0x4F, 0x53}
_SYSTEM, _AMO, _MRET = 0x73, 0x2F, 0x30200073
_NOWHERE = 1    # an odd address is never reached


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared. ``difference`` is empty when everything was equal; ``ended`` says why
    the comparison stopped before as many instructions as were asked for, if it did; ``memory``:
    was all of the RAM compared after the last one?"""

    guest: str
    start: int
    insns: int
    checks: int
    version: str
    difference: str = ""
    ended: str = ""
    memory: bool = False

    @property
    def ok(self) -> bool:
        return not self.difference and self.insns > 0

    def line(self) -> str:
        """The result in one line."""
        span = f"{self.guest}, instructions {self.start} to {self.start + self.insns}"
        if self.difference:
            return f"✗ tcglite and Unicorn {self.version} differ: {span}: {self.difference}"
        if not self.insns:
            return f"– nothing to compare at instruction {self.start} of {self.guest}: {self.ended}"
        why = f" (then {self.ended})" if self.ended else ""
        places = f"{self.checks} place{'s' if self.checks > 1 else ''}"
        memory = "memory equal at the end" if self.memory else "memory not compared"
        return (f"✓ tcglite agrees with Unicorn {self.version}: {span}{why}: pc and 31 registers "
                f"equal at {places}, {memory}")


def barrier(bits: int, reserved: bool) -> bool:
    """Must the comparison end before this instruction, which may behave in another way there?
    ``reserved``: has there been an lr since the state was copied?"""
    if bits & 3 != 3:                               # c.fld, c.fsd, c.fldsp, c.fsdsp
        return bits & 3 != 1 and bits >> 13 & 7 in (1, 5)
    opcode, csr = bits & 0x7F, bits >> 20
    if opcode == _AMO:
        return bits >> 27 == 3 and not reserved     # sc
    if opcode == _SYSTEM and bits >> 12 & 7:
        return csr not in _COPIED and (csr not in _WRITTEN or bool(bits >> 7 & 31))
    return opcode in _FP or (opcode == _SYSTEM and bits != _MRET)


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
        self._uc = uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64,
                                   names.UC_CPU_RISCV64_SIFIVE_E51)
        self._registers = [getattr(names, f"UC_RISCV_REG_X{n}") for n in range(1, 32)]
        self._pc = names.UC_RISCV_REG_PC
        self._error = unicorn.UcError
        self._why = ""
        self._at = self._limit = self._begun = 0
        self._reserved = False
        uc.mem_map(RAM_BASE, len(ram))
        uc.mem_write(RAM_BASE, ram)
        for base, size in DEVICES:      # a read is an error, so that it leaves all as it was
            uc.mem_map(base, size, unicorn.UC_PROT_WRITE)
        uc.mem_map(*FINISHER, unicorn.UC_PROT_NONE)
        uc.hook_add(unicorn.UC_HOOK_MEM_READ_PROT, self._device_read)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE_PROT, self._finisher_write)
        uc.hook_add(unicorn.UC_HOOK_CODE, self._before)
        for name in COPIED + WRITTEN:   # while it is in M mode, where it begins
            uc.reg_write(getattr(names, f"UC_RISCV_REG_{name.upper()}"), machine.cpu.csr[name])
        for number, register in enumerate(self._registers, start=1):
            uc.reg_write(register, machine.cpu[f"x{number}"])
        uc.reg_write(names.UC_RISCV_REG_PRIV, machine.cpu.priv)
        uc.reg_write(self._pc, machine.cpu.pc)

    def _device_read(self, uc: Any, access: int, address: int, *rest: Any) -> bool:
        self._why = f"the guest reads a device at {address:#x}"
        return False

    def _finisher_write(self, *_: Any) -> bool:
        self._why = "the guest ends"
        return False

    def _before(self, uc: Any, address: int, size: int, *rest: Any) -> None:
        """Before each instruction: is it one too many, or one to stop at?"""
        self._at = address
        if self._begun == self._limit:
            uc.emu_stop()
            return
        bits = int.from_bytes(uc.mem_read(address, 2), "little")
        if bits & 3 == 3:
            bits |= int.from_bytes(uc.mem_read(address + 2, 2), "little") << 16
        if barrier(bits, self._reserved):
            self._why = f"the guest comes to {' '.join(disassemble(bits, address).split())}"
            uc.emu_stop()
            return
        self._reserved |= bits & 0x7F == _AMO and bits >> 27 == 2
        self._begun += 1

    def step(self, insns: int) -> tuple[int, str]:
        """Run that many instructions; how many it did run, and why not more, if so."""
        self._begun, self._limit, self._why = 0, insns, ""
        try:
            self._uc.emu_start(self._uc.reg_read(self._pc), _NOWHERE)
        except self._error as error:
            # The last one did not retire, unless it was a jump to where nothing can be fetched.
            fetch = "fetch" in str(error).lower()
            self._begun -= not fetch
            if not fetch:
                self._uc.reg_write(self._pc, self._at)
            return self._begun, self._why or f"a trap: {error}"
        if self._begun < insns and not self._why:
            self._why = "Unicorn does not go on"
        return self._begun, self._why

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


def compare(guest: str, insns: int = 2000, start: int | None = None, every: int = 20,
            backend: str = "auto") -> Report:
    """Run ``guest`` to instruction ``start``, then ``insns`` more beside Unicorn, comparing after
    every ``every`` instructions. ``start`` None: 200, but 0 if the guest is shorter than that."""
    insns, every = whole("insns", insns, 1), whole("every", every, 1)
    start = None if start is None else whole("start", start, 0)
    size = 8 << 20
    image = guests.find(guest) if isinstance(guest, str) else guest
    with Machine(image, backend=backend, memory="8M") as machine:
        start = _advance(machine, guest, start)
        twin = Twin(machine, bytes(machine.memory[RAM_BASE:RAM_BASE + size]))
        done = checks = 0
        ended = found = ""
        together = True
        while done < insns and not ended and not found:
            step, ended = twin.step(min(every, insns - done))
            if not step:
                break
            before = machine.stats.interrupts_taken
            result = machine.run(max_insns=step, timeout=20)
            if machine.stats.interrupts_taken != before:
                ended, together = "tcglite took an interrupt", False
                break
            if result.reason is not StopReason.MAX_INSNS:
                ended, together = f"the guest stopped: {result.reason.value}", False
                break
            found = difference(state(machine), twin.state())
            done += step
            checks += 1
        memory = together and done > 0 and not found
        if memory and bytes(machine.memory[RAM_BASE:RAM_BASE + size]) != twin.ram(size):
            found = "memory is not the same at the end"
        return Report(str(guest), start, done, checks, twin.version, found, ended, memory)


def _advance(machine: Machine, guest: str, start: int | None) -> int:
    """Run to where the comparison begins, and say where that is."""
    target = DEFAULT_START if start is None else start
    if not target:
        return 0
    result = machine.run(max_insns=target, timeout=20)
    if result.reason is StopReason.MAX_INSNS:
        return target
    if start is None:
        machine.reset()
        return 0
    raise UsageError(f"start={start}: {guest} stopped after {result.insns} instructions "
                     f"({result.reason.value}); expected a smaller number")

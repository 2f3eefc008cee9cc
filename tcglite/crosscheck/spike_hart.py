"""One hart of Spike, the RISC-V Foundation's reference simulator, that can be put into any state.

The package ``spike`` (PyPI) gives Spike's own C++ objects to Python. A device tree of ours says
which hart to make and puts CLINT and PLIC where no guest looks; RAM is a memory object that we
hold, and the board's devices are ours. What the package cannot set (privilege, interrupt lines, f0
to f31), the hart sets itself, by instructions in a page of its own.
"""

from __future__ import annotations

import ctypes
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from ..accel.memory import AddressSpace
from ..errors import TcgliteError
from ..target.cpu import MIP_MEIP, MIP_MSIP, MIP_MTIP, MPP_SHIFT, MSTATUS_FS, PRV_M
from ..target.names import CSR_NUMBERS
from .spike_tree import blob, tree

try:
    import riscv
    from riscv import cfg, devices, sim
except ImportError:
    riscv = None

#: misa shows F and D, which tcglite's does not; zicclsm: plain misaligned accesses work.
ISA = "rv64imafdc_zicsr_zifencei_zicntr_zicclsm"

# Addresses, below 2**56 and such as no guest comes to by chance. Nothing is in the hole.
_PAGE, _CLINT, _PLIC, _SPARE, _HOLE = (0xA5_1C93_7B5D_0000 + (n << 32) for n in range(5))
_STORE, _MRET, _NOP, _FLD, _FSD, _DATA = (
    _PAGE + offset for offset in (0, 4, 8, 0x100, 0x200, 0x400)
)
_CODE = 0x00B5_3023, 0x3020_0073, 0x0000_0013  # sd a1, 0(a0); mret; nop
_PLIC_PRIORITY, _PLIC_ENABLE = 4, 0x2000
_MTIMECMP, _NEVER = 0x4000, (1 << 64) - 1
_SIGNALS = 2, 6, 15  # SIGINT, SIGABRT, SIGTERM
_CHUNK = 1 << 16

MSTATUS, MIE, MEPC, MCAUSE, MTVAL, MIP, MINSTRET, MCYCLE, PMPCFG0 = (
    CSR_NUMBERS[name]
    for name in (
        "mstatus", "mie", "mepc", "mcause", "mtval", "mip", "minstret", "mcycle", "pmpcfg0"
    )
)  # fmt: skip

Load = Callable[[int, int], int]
Store = Callable[[int, int, int], None]


def installed() -> bool:
    """Can the package be imported?"""
    return riscv is not None


def version() -> str:
    """Of the package; Spike itself has no releases."""
    return metadata.version("spike")


class SpikeHart:
    """Built for one address space: RAM there, and windows whose accesses are asked of ``load``
    (address, bytes) and told to ``store`` (address, bytes, value). ``p``, ``x``: Spike's hart and
    its integer registers."""

    def __init__(self, memory: AddressSpace, load: Load, store: Store) -> None:
        self.layout = layout(memory)
        self.load, self.store = load, store
        self._base = memory.ram_base
        self._ram = devices.mem_t(memory.ram_size)
        self._page = devices.mem_t(0x1000)
        bus = [(self._base, self._ram), (_PAGE, self._page)]
        bus += [(base, _window(self, base, size)) for base, size in self.layout[2]]
        self._keep: list[Any] = [bus]  # Spike holds bare pointers
        self._sim = self._make(bus)
        self.p = self._sim.get_core(0)
        self.state = self.p.state
        self.x = self.state.XPR
        self._lines = 0
        self._page.store(0, struct.pack("<3I", *_CODE))
        for n in range(32):
            self._page.store(_FLD + 4 * n - _PAGE, _word(8 * n << 20 | 0x53007 | n << 7))
            low, high = 8 * n & 31, 8 * n >> 5
            self._page.store(_FSD + 4 * n - _PAGE, _word(high << 25 | n << 20 | 0x53027 | low << 7))
        self._sim.plic.store(_PLIC_PRIORITY, _word(1))
        self._sim.plic.set_interrupt_level(1, 1)  # for ever; whether it is heard is set_lines
        with self._aside():
            self._write(_CLINT + _MTIMECMP, _NEVER)

    def _make(self, bus: list[tuple[int, Any]]) -> Any:
        """Spike itself, which takes over three signals on the way: they are given back."""
        libc = ctypes.CDLL(None)
        kept = [(number, ctypes.create_string_buffer(1024)) for number in _SIGNALS]
        for number, action in kept:
            libc.sigaction(number, None, action)
        plugins = []
        for base, device in bus:
            name = f"tcglite-{base:#x}"
            factory = _factory(device, base)
            self._keep.append(factory)
            devices.mmio_device_map[name] = factory
            plugins.append((name, [""]))
        try:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory, "spike.dtb")
                path.write_bytes(blob(tree(ISA, _CLINT, _PLIC)))
                return sim.sim_t(
                    cfg=cfg.cfg_t(isa=ISA, priv="mu", mem_layout=[cfg.mem_cfg_t(_SPARE, 0x1000)]),
                    halted=False, plugin_device_factories=plugins, args=["none"],
                    dtb_file=str(path),
                )  # fmt: skip
        finally:
            for number, action in kept:
                libc.sigaction(number, action, None)

    # Memory.

    def read(self, addr: int, size: int) -> int:
        """RAM, physical address."""
        return int.from_bytes(self._ram.load(addr - self._base, size), "little")

    def write(self, addr: int, size: int, value: int) -> None:
        """RAM, physical address."""
        self._ram.store(addr - self._base, value.to_bytes(size, "little"))

    def unequal(self, memory: AddressSpace) -> Iterator[tuple[int, bytes, bytes]]:
        """The stretches of RAM that are not the same: address, ours, Spike's."""
        for at in range(0, memory.ram_size, _CHUNK):
            size = min(_CHUNK, memory.ram_size - at)
            ours, theirs = bytes(memory.ram[at : at + size]), self._ram.load(at, size)
            if ours != theirs:
                yield self._base + at, ours, theirs

    def copy(self, memory: AddressSpace) -> None:
        """Hold what that RAM holds."""
        for addr, ours, _ in self.unequal(memory):
            self._ram.store(addr - self._base, ours)

    def flush(self) -> None:
        """Forget decoded instructions, as fence.i does: a write to the PMP has that effect."""
        self.p.put_csr(PMPCFG0, self.p.get_csr(PMPCFG0))

    # State.

    def reset(self) -> None:
        """M mode, all registers as after power-on, nothing cached, awake."""
        self.set_lines(0)
        self.p.reset()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Whatever the hart executes in here, it will not have counted or changed pc, a0 or a1."""
        p, state, x = self.p, self.state, self.x
        pc, a0, a1 = state.pc, x[10], x[11]
        enabled, instret, cycle = p.get_csr(MIE), p.get_csr(MINSTRET), p.get_csr(MCYCLE)
        p.put_csr(MIE, 0)
        yield
        self.set_counters(instret, cycle)
        p.put_csr(MIE, enabled)
        x.write(10, a0)
        x.write(11, a1)
        state.pc = pc

    def _write(self, addr: int, value: int) -> None:
        """Have the hart store 8 bytes."""
        self.x.write(10, addr)
        self.x.write(11, value)
        self.state.pc = _STORE
        self.p.step(1)

    def set_lines(self, mip: int) -> None:
        """Drive MSIP, MTIP and MEIP, without an interrupt being taken yet."""
        change = mip ^ self._lines
        self._lines = mip
        if change & MIP_MEIP:
            self._sim.plic.store(_PLIC_ENABLE, _word(2 if mip & MIP_MEIP else 0))
        if change & (MIP_MSIP | MIP_MTIP):
            with self._aside():
                if change & MIP_MSIP:
                    self._write(_CLINT, 1 if mip & MIP_MSIP else 0)
                if change & MIP_MTIP:
                    self._write(_CLINT + _MTIMECMP, 0 if mip & MIP_MTIP else _NEVER)

    def set_counters(self, instret: int, cycle: int) -> None:
        """minstret and mcycle. The instruction after a write is not counted, as if it were the
        one that writes; so one has to follow. No interrupt may be enabled."""
        pc = self.state.pc
        self.p.put_csr(MINSTRET, instret)
        self.p.put_csr(MCYCLE, cycle)
        self.state.pc = _NOP
        self.p.step(1)
        self.state.pc = pc

    def skip(self, length: int) -> None:
        """Count the instruction at pc, of ``length`` bytes, as executed."""
        p = self.p
        self.set_counters(p.get_csr(MINSTRET) + 1, p.get_csr(MCYCLE) + 1)
        self.state.pc += length

    def enter_trap(self, cause: int, tval: int) -> None:
        """Take an exception at pc: the hart fetches where nothing is, and is told why after."""
        p, pc = self.p, self.state.pc
        self.state.pc = _HOLE
        p.step(1)
        for number, value in ((MEPC, pc), (MCAUSE, cause), (MTVAL, tval)):
            p.put_csr(number, value)

    def has_csr(self, number: int) -> bool:
        """Does this CSR exist in Spike?"""
        try:
            self.p.get_csr(number)
        except RuntimeError:  # a trap, which nobody in Spike catches here
            return False
        return True

    def set_privilege(self, priv: int) -> None:
        """From M mode, where reset leaves the hart."""
        if priv != PRV_M:
            p, pc = self.p, self.state.pc
            kept = [(number, p.get_csr(number)) for number in (MSTATUS, MEPC)]
            with self._aside():
                p.put_csr(MSTATUS, priv << MPP_SHIFT)
                p.put_csr(MEPC, pc)
                self.state.pc = _MRET
                p.step(1)
            for number, value in kept:
                p.put_csr(number, value)

    def reserve(self, addr: int | None) -> None:
        """Hold a reservation as after lr at ``addr``; None: none that a guest can use."""
        self.p.mmu.load_reserved_32(_DATA if addr is None else addr)

    @contextmanager
    def _floating(self) -> Iterator[None]:
        """With the floating-point unit on, and a0 where f0 to f31 are put."""
        status = self.p.get_csr(MSTATUS)
        with self._aside():
            self.p.put_csr(MSTATUS, status | MSTATUS_FS)
            self.x.write(10, _DATA)
            yield
        self.p.put_csr(MSTATUS, status)

    def read_f(self) -> tuple[int, ...]:
        """f0 to f31."""
        with self._floating():
            self.state.pc = _FSD
            self.p.step(32)
        return struct.unpack("<32Q", self._page.load(_DATA - _PAGE, 256))

    def load_f(self, number: int, value: int) -> None:
        """One of f0 to f31, which makes the floating-point state dirty."""
        values = list(self.read_f())
        values[number] = value
        self.write_f(values)
        self.p.put_csr(MSTATUS, self.p.get_csr(MSTATUS) | MSTATUS_FS)

    def write_f(self, values: Sequence[int]) -> None:
        """f0 to f31."""
        self._page.store(_DATA - _PAGE, struct.pack("<32Q", *values))
        with self._floating():
            self.state.pc = _FLD
            self.p.step(32)


def layout(memory: AddressSpace) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    """What a hart is built for: base and size of RAM, windows outside it as (base, size)."""
    windows = ((base, size) for base, size, _ in memory.windows if not memory.in_ram(base, size))
    return memory.ram_base, memory.ram_size, tuple(windows)


#: Harts that nobody uses now. A Spike is never quite given back, and takes 2 ms and 3 MB to make.
_idle: list[SpikeHart] = []


def borrow(memory: AddressSpace, load: Load, store: Store) -> SpikeHart:
    """A hart for that address space, perhaps one that was used before: in any state."""
    wanted = layout(memory)
    for i, hart in enumerate(_idle):
        if hart.layout == wanted:
            del _idle[i]
            hart.load, hart.store = load, store
            return hart
    return SpikeHart(memory, load, store)


def give_back(hart: SpikeHart) -> None:
    """The hart may be lent to somebody else."""
    hart.load, hart.store = (lambda addr, size: 0), (lambda addr, size, value: None)
    _idle.append(hart)


def require() -> None:
    """TcgliteError if Spike is not here."""
    if not installed():
        raise TcgliteError(
            "the cross-check with Spike needs its package, which exists for Linux and CPython up "
            "to 3.12: pip install 'tcglite[oracle]'"
        )


def _word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _window(hart: SpikeHart, base: int, size: int) -> Any:
    class Window(devices.abstract_device_t):
        def size(self) -> int:
            return size

        def load(self, offset: int, length: int) -> bytes:
            return hart.load(base + offset, length).to_bytes(length, "little")

        def store(self, offset: int, data: bytes) -> None:
            hart.store(base + offset, len(data), int.from_bytes(data, "little"))

    return Window()


def _factory(device: Any, base: int) -> Any:
    class Factory(devices.device_factory_t):
        def parse_from_fdt(self, tree: Any, owner: Any, *rest: str) -> tuple[Any, int]:
            return device, base

        def generate_dts(self, owner: Any, *rest: str) -> str:
            return ""

    return Factory()

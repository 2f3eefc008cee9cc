"""Control and status registers, one row each (QEMU: target/riscv/csr.c, csr_ops).

Privileged specification, chapter 2 and 3. A row says how a register reads and what a write does to
it (WARL: what cannot be stored is not). A CSR without a row does not exist: illegal instruction.
PMP registers hold what is written, as firmware needs to go on; they do not check accesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .cpu import (
    CPU,
    MIE_MASK,
    MISA,
    MPP_SHIFT,
    MSTATUS_FS,
    MSTATUS_MIE,
    MSTATUS_MPIE,
    MSTATUS_MPP,
    MSTATUS_MPRV,
    MSTATUS_SD,
    MSTATUS_TW,
    MSTATUS_UXL,
    PRV_M,
    update_tb_flags,
)
from .names import CSR_NUMBERS
from .trap import ILLEGAL_INST, emit_enable

M64 = (1 << 64) - 1
_MSTATUS_WRITABLE = MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_FS | MSTATUS_MPRV | MSTATUS_TW

Read = Callable[[CPU, int], int]
Write = Callable[[CPU, int, int], None]


@dataclass(frozen=True, slots=True)
class CSR:
    """``read(cpu, current) -> value``; ``write(cpu, value, current)``; ``current`` is the number of
    instructions that are charged but have not retired: 1 for the CSR instruction itself, 0 from
    outside. ``fp``: illegal while FS is off; ``counter``: bit of mcounteren that lets U mode read
    it, or None."""

    read: Read
    write: Write | None = None
    fp: bool = False
    counter: int | None = None


def _nothing(cpu: CPU, value: int, current: int) -> None:
    """A register of which no bit can be changed; writing it is allowed."""


def _const(value: int) -> CSR:
    return CSR(lambda cpu, current: value, _nothing)


def _plain(field: str, mask: int = M64, fp: bool = False, shift: int = 0) -> CSR:
    """The bits ``mask`` (before shifting) of an env field, all of them writable."""

    def read(cpu: CPU, current: int) -> int:
        return getattr(cpu.env, field) >> shift & mask

    def write(cpu: CPU, value: int, current: int) -> None:
        rest = getattr(cpu.env, field) & ~(mask << shift)
        setattr(cpu.env, field, rest | (value & mask) << shift)
        if fp:
            cpu.env.mstatus |= MSTATUS_FS
            update_tb_flags(cpu.env)

    return CSR(read, write, fp)


def _array(field: str, index: int, mask: int = M64) -> CSR:
    def write(cpu: CPU, value: int, current: int) -> None:
        getattr(cpu.env, field)[index] = value & mask

    return CSR(lambda cpu, current: getattr(cpu.env, field)[index], write)


def read_mstatus(cpu: CPU, current: int = 0) -> int:
    """mstatus with SD, which says that FS is dirty."""
    status = cpu.env.mstatus
    return status | MSTATUS_SD if status & MSTATUS_FS == MSTATUS_FS else status


def _write_mstatus(cpu: CPU, value: int, current: int) -> None:
    env = cpu.env
    mpp = (value & MSTATUS_MPP) >> MPP_SHIFT
    if mpp not in (0, PRV_M):
        mpp = (env.mstatus & MSTATUS_MPP) >> MPP_SHIFT
    env.mstatus = value & _MSTATUS_WRITABLE | mpp << MPP_SHIFT | MSTATUS_UXL
    update_tb_flags(env)
    emit_enable(cpu)


def _write_mie(cpu: CPU, value: int, current: int) -> None:
    cpu.env.mie = value & MIE_MASK
    emit_enable(cpu)


def _write_mtvec(cpu: CPU, value: int, current: int) -> None:
    if value & 3 < 2:  # other modes are reserved: the write is dropped, as in QEMU
        cpu.env.mtvec = value


def _write_mepc(cpu: CPU, value: int, current: int) -> None:
    cpu.env.mepc = value & ~1


def _count(cpu: CPU, current: int) -> int:
    """Instructions retired before this one; host ticks where nobody counts (as QEMU does)."""
    insns = cpu.insns_now()
    return cpu.ticks() if insns is None else insns - current


def _counter(field: str) -> tuple[Read, Write]:
    """mcycle and minstret: one instruction is one cycle. The write wins over the instruction's
    own count: the next instruction reads what was written (specification 3.1.10)."""

    def read(cpu: CPU, current: int) -> int:
        return _count(cpu, current) + getattr(cpu.env, field) & M64

    def write(cpu: CPU, value: int, current: int) -> None:
        setattr(cpu.env, field, value - _count(cpu, current) - current & M64)

    return read, write


def _time(cpu: CPU, current: int) -> int:
    return cpu.rdtime()


_cycle, _instret = _counter("mcycle_offset"), _counter("minstret_offset")

_BY_NAME: dict[str, CSR] = {
    "fflags": _plain("fcsr", 0x1F, fp=True),
    "frm": _plain("fcsr", 7, fp=True, shift=5),
    "fcsr": _plain("fcsr", 0xFF, fp=True),
    "cycle": CSR(_cycle[0], None, counter=0),
    "time": CSR(_time, None, counter=1),
    "instret": CSR(_instret[0], None, counter=2),
    "mvendorid": _const(0),
    "marchid": _const(0),
    "mimpid": _const(0),
    "mhartid": _const(0),
    "mconfigptr": _const(0),
    "mstatus": CSR(read_mstatus, _write_mstatus),
    "misa": _const(MISA),
    "mie": CSR(lambda cpu, current: cpu.env.mie, _write_mie),
    "mtvec": CSR(lambda cpu, current: cpu.env.mtvec, _write_mtvec),
    "mcounteren": _plain("mcounteren", 7),
    "menvcfg": _plain("menvcfg", 1),
    "mcountinhibit": _const(0),
    "mscratch": _plain("mscratch"),
    "mepc": CSR(lambda cpu, current: cpu.env.mepc, _write_mepc),
    "mcause": _plain("mcause"),
    "mtval": _plain("mtval"),
    "mip": CSR(lambda cpu, current: cpu.env.mip, _nothing),  # M-level bits belong to the devices
    "mcycle": CSR(*_cycle),
    "minstret": CSR(*_instret),
}
TABLE: dict[int, CSR] = {CSR_NUMBERS[name]: csr for name, csr in _BY_NAME.items()}
TABLE |= {0x3A0 + 2 * i: _array("pmpcfg", i) for i in range(2)}
TABLE |= {0x3B0 + i: _array("pmpaddr", i, (1 << 54) - 1) for i in range(16)}
TABLE |= {number + i: _const(0) for number in (0xB00, 0x320) for i in range(3, 32)}


def _check(cpu: CPU, number: int, writes: bool) -> CSR:
    """The row of a CSR that may be accessed here and now; else an illegal instruction.

    The generated code stored pc and opcode before the call, mostly for nothing.
    """
    csr = TABLE.get(number)
    env = cpu.env
    if (
        csr is None
        or env.priv < number >> 8 & 3
        or (writes
        and number >> 10 == 3)
        or (csr.fp
        and not env.mstatus & MSTATUS_FS)
        or (csr.counter is not None
        and env.priv < PRV_M
        and not env.mcounteren >> csr.counter & 1)
    ):
        cpu.retire(-1)
        cpu.raise_exception(ILLEGAL_INST, 0, expected=True)
    return csr


def csrr(cpu: CPU, ra: int, number: int) -> int:
    """Read without writing (csrrs and csrrc with x0)."""
    cpu.fire_due(0)
    return _check(cpu, number, False).read(cpu, 1)


def csrw(cpu: CPU, ra: int, number: int, value: int) -> None:
    """Write without reading (csrrw with rd = x0)."""
    cpu.fire_due(0)
    csr = _check(cpu, number, True)
    assert csr.write is not None  # the number says that it is writable
    csr.write(cpu, value, 1)


def csrrw(cpu: CPU, ra: int, number: int, value: int, mask: int) -> int:
    """Read, and write the bits of ``mask``; returns the old value."""
    cpu.fire_due(0)
    csr = _check(cpu, number, True)
    assert csr.write is not None
    old = csr.read(cpu, 1)
    csr.write(cpu, old & ~mask | value & mask, 1)
    return old


def peek(cpu: CPU, number: int) -> int:
    """Read from outside (debugger, tests), without access checks; KeyError if there is none."""
    return TABLE[number].read(cpu, 0)


def poke(cpu: CPU, number: int, value: int) -> None:
    """Write from outside; read-only registers raise KeyError too."""
    write = TABLE[number].write
    if write is None:
        raise KeyError(number)
    write(cpu, value, 0)



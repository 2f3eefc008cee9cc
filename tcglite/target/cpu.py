"""State of one hart, in one ctypes block (QEMU: target/riscv/cpu.h, CPURISCVState).

All fields are 64 bits wide. Generated code addresses them by offset, Python by name. ``tb_flags``
is the part of the state that translation may assume, and thus part of every block's key; whoever
changes privilege or mstatus calls ``update_tb_flags``. mie, mip and mstatus.MIE are not in it.
"""

from __future__ import annotations

import ctypes
from typing import Any, NoReturn, Protocol

from ..tcg.env import CPUNeg
from ..tcg.hostmem import private_memory
from ..tcg.ir import GLOBAL, Temp
from .names import FREG_NAMES, REG_NAMES

PRV_U, PRV_S, PRV_M = 0, 1, 3
RESET_PC = 0x8000_0000  #: ``-bios none``: the base of RAM, whatever the ELF's entry says

MSTATUS_MIE, MSTATUS_MPIE = 1 << 3, 1 << 7
MSTATUS_MPP, MSTATUS_FS = 3 << 11, 3 << 13
MSTATUS_MPRV, MSTATUS_TW = 1 << 17, 1 << 21
MSTATUS_UXL, MSTATUS_SD = 2 << 32, 1 << 63
MPP_SHIFT, FS_SHIFT = 11, 13

MIP_MSIP, MIP_MTIP, MIP_MEIP = 1 << 3, 1 << 7, 1 << 11
MIE_MASK = MIP_MSIP | MIP_MTIP | MIP_MEIP

#: RV64, I M A C and U (privileged specification, 3.1.1); F and D come with their arithmetic.
MISA = 2 << 62 | sum(1 << ord(c) - ord("A") for c in "IMACU")

NO_RESERVATION = (1 << 64) - 1  #: load_res when no LR is pending

_CSR_FIELDS = (
    "mstatus", "mie", "mip", "mtvec", "mepc", "mcause", "mtval", "mscratch", "mcounteren",
    "menvcfg", "fcsr", "mcycle_offset", "minstret_offset",
)  # fmt: skip


class CPURISCVState(ctypes.Structure):
    """``bins`` and ``excp_uw2``: words 1 and 2 of the instruction that a restore found."""

    _fields_ = [
        ("x", ctypes.c_uint64 * 32),
        ("f", ctypes.c_uint64 * 32),
        *((name, ctypes.c_uint64) for name in ("pc", "tb_flags", "priv", "load_res", "load_val")),
        *((name, ctypes.c_uint64) for name in ("bins", "excp_uw2")),
        *((name, ctypes.c_uint64) for name in _CSR_FIELDS),
        ("pmpcfg", ctypes.c_uint64 * 4),
        ("pmpaddr", ctypes.c_uint64 * 16),
        ("neg", CPUNeg),
    ]


def new_state(guard: bool = False) -> CPURISCVState:
    """A state that begins a page, so that entries of its tables lie within cache lines. ``guard``:
    between guard pages."""
    return CPURISCVState.from_buffer(private_memory(ctypes.sizeof(CPURISCVState), guard))


class CPU(Protocol):
    """What the guest's code asks of the accelerator (QEMU: CPUState and its functions)."""

    env: CPURISCVState
    halted: bool

    def raise_exception(
        self, cause: int, tval: int, ra: int = 0, expected: bool = False
    ) -> NoReturn: ...
    def restore_state(self, ra: int) -> bool: ...
    def loop_exit(self) -> NoReturn: ...
    def retire(self, insns: int) -> None: ...
    def insns_now(self) -> int | None: ...
    def probe_store(self, addr: int, memop: int, ra: int) -> None: ...
    def rdtime(self) -> int: ...
    def ticks(self) -> int: ...
    def fire_due(self, ra: int) -> None: ...
    def emit(self, event: Any, **fields: Any) -> None: ...


def _offset(name: str) -> int:
    return getattr(CPURISCVState, name).offset


#: x1 … x31 as globals; x0 has none: reads are the constant 0, writes go nowhere.
X = [Temp(GLOBAL, f"x{i}/{REG_NAMES[i]}", 8 * i) for i in range(32)]
F = [Temp(GLOBAL, f"f{i}/{FREG_NAMES[i]}", _offset("f") + 8 * i) for i in range(32)]
PC, LOAD_RES, LOAD_VAL = (
    Temp(GLOBAL, name, _offset(name)) for name in ("pc", "load_res", "load_val")
)
#: Globals that guests use most, hottest first (ABI names: a1 a2 a0 a3 a4 sp s1 a5 ra s0 s2); the
#: order is that of dynamic counts over the benchmark guests.
HOT = [X[i] for i in (11, 12, 10, 13, 14, 2, 9, 15, 1, 8, 18)]
OFFSET_PC, OFFSET_NEG = _offset("pc"), _offset("neg")
OFFSET_MSTATUS, OFFSET_TB_FLAGS, OFFSET_BINS = map(_offset, ("mstatus", "tb_flags", "bins"))

# tb_flags: privilege in bits 0-1, mstatus.FS in bits 2-3, and the mode of loads and stores (which
# MPRV can set apart from the privilege) in bits 4-5.
FLAGS_PRIV, FLAGS_FS_SHIFT, FLAGS_MMU_SHIFT = 3, 2, 4


def update_tb_flags(env: CPURISCVState) -> None:
    """Recompute ``tb_flags`` (QEMU: riscv_get_tb_cpu_state, at each look-up there)."""
    status = env.mstatus
    mmu = env.priv
    if status & MSTATUS_MPRV and mmu == PRV_M:
        mmu = (status & MSTATUS_MPP) >> MPP_SHIFT
    fs = (status & MSTATUS_FS) >> FS_SHIFT
    env.tb_flags = env.priv | fs << FLAGS_FS_SHIFT | mmu << FLAGS_MMU_SHIFT


def reset(env: CPURISCVState) -> None:
    """Power-on state as on the QEMU board with ``-bios none``: M mode, a0 = hart 0, a1 = 0."""
    ctypes.memset(ctypes.addressof(env), 0, CPURISCVState.neg.offset)
    env.pc = RESET_PC
    env.priv = PRV_M
    env.mstatus = MSTATUS_UXL
    env.load_res = NO_RESERVATION
    update_tb_flags(env)


def has_work(env: CPURISCVState) -> bool:
    """Would a hart that sleeps in wfi wake? Whatever mstatus.MIE says (spec 3.3.3)."""
    return bool(env.mip & env.mie)


def restore_state_to_opc(env: CPURISCVState, words: tuple[int, int, int]) -> None:
    """Take over the words that one ``insn_start`` recorded: pc, opcode, exception word."""
    env.pc, env.bins, env.excp_uw2 = words

"""Unicorn's registers: which of them are compared, several at a time, and all at once; and what
it does not do by itself: enter a trap, forget a reservation."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from ..target import trap
from ..target.cpu import (
    MPP_SHIFT,
    MSTATUS_FS,
    MSTATUS_MIE,
    MSTATUS_MPIE,
    MSTATUS_MPP,
    MSTATUS_MPRV,
    PRV_M,
)
from ..target.names import CSR_NUMBERS
from ..tcg.env import PAGE_SIZE
from .oracle import INTERRUPT, State

try:
    from unicorn import riscv_const as names
    from unicorn.unicorn_py3.unicorn import uclib
except ImportError:
    names = None

NOWHERE = 1  # an odd address is never reached
_STUB = 0x5000_0000  # a page that the board does not have
_SC = 0x1805_202F  # sc.w zero, zero, (a0)

_ALL = (1 << 64) - 1
MSTATUS_MASK = MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_FS | MSTATUS_MPRV
#: CSRs that Unicorn has, and the bits of them that both have.
NATIVE = {
    "mstatus": MSTATUS_MASK, "mie": trap.MIE_MASK, "mtvec": _ALL, "mscratch": _ALL,
    "mepc": _ALL & ~1, "mcause": _ALL, "mtval": _ALL, "mcounteren": 7, "fcsr": 0xFF,
}  # fmt: skip
NATIVE_NUMBERS = {CSR_NUMBERS[name]: mask for name, mask in NATIVE.items()}
NATIVE_NUMBERS |= {CSR_NUMBERS[name]: _ALL for name in ("fflags", "frm")}


def _number(name: str) -> int:
    """Unicorn's number of a register; 0 where Unicorn is not installed."""
    return getattr(names, f"UC_RISCV_REG_{name.upper()}", 0)


PC, PRIV = _number("pc"), _number("priv")
X = [_number(f"x{n}") for n in range(32)]
F = [_number(f"f{n}") for n in range(32)]
CSR = {name: _number(name) for name in NATIVE}


class Batch:
    """Several registers in one call: a tenth of what ``reg_read_batch`` takes, which makes its
    arrays anew each time."""

    def __init__(self, uc: Any, registers: Sequence[int]) -> None:
        n = len(registers)
        self._values = (ctypes.c_uint64 * n)()
        first = ctypes.addressof(self._values)
        pointers = (ctypes.c_void_p * n)(*(first + 8 * i for i in range(n)))
        self._arguments = uc._uch, (ctypes.c_int * n)(*registers), pointers, n

    def read(self) -> list[int]:
        uclib.uc_reg_read_batch(*self._arguments)
        return list(self._values)


def map_stub(uc: Any) -> None:
    """Have the page that ``forget_reservation`` needs."""
    uc.mem_map(_STUB, PAGE_SIZE)
    uc.mem_write(_STUB, _SC.to_bytes(4, "little"))


def put(uc: Any, state: State) -> None:
    """Have all registers hold that."""
    uc.reg_write(PRIV, PRV_M)  # else the M-mode CSRs cannot be reached
    for number, value in zip(F, state.f, strict=True):
        uc.reg_write(number, value)
    for name, number in CSR.items():  # mstatus first: FS allows the floating-point ones
        if name != "fcsr" or state["mstatus"] & MSTATUS_FS:
            uc.reg_write(number, state[name])
    uc.reg_write(PC, state["pc"])
    forget_reservation(uc)  # also the first run with a count: hooks are in before blocks
    for number, value in zip(X[1:], state.x[1:], strict=True):
        uc.reg_write(number, value)
    uc.reg_write(PRIV, state["priv"])


def enter(uc: Any, mcause: int, epc: int, tval: int) -> None:
    """Enter a trap (specification 3.1.6.1, 3.1.7, 3.1.14 to 3.1.16)."""
    priv = uc.reg_read(PRIV)
    uc.reg_write(PRIV, PRV_M)  # else the M-mode CSRs cannot be reached
    status = uc.reg_read(CSR["mstatus"])
    mpie = MSTATUS_MPIE if status & MSTATUS_MIE else 0
    status &= ~(MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP)
    uc.reg_write(CSR["mstatus"], status | mpie | priv << MPP_SHIFT)
    uc.reg_write(CSR["mepc"], epc)
    uc.reg_write(CSR["mcause"], mcause)
    uc.reg_write(CSR["mtval"], tval)
    mtvec = uc.reg_read(CSR["mtvec"])
    vector = mtvec & ~3
    if mtvec & 1 and mcause & INTERRUPT:
        vector += 4 * (mcause & ~INTERRUPT)
    uc.reg_write(PC, vector)
    forget_reservation(uc)


def forget_reservation(uc: Any) -> None:
    """Traps and mret end a reservation here, which Unicorn keeps: have it execute an sc that
    fails, from a page of its own."""
    pc, a0, priv = uc.reg_read(PC), uc.reg_read(X[10]), uc.reg_read(PRIV)
    uc.reg_write(X[10], _STUB + PAGE_SIZE // 2)
    uc.emu_start(_STUB, NOWHERE, 0, 1)
    uc.reg_write(X[10], a0)
    uc.reg_write(PC, pc)
    uc.reg_write(PRIV, priv)

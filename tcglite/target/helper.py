"""Functions that generated code calls (QEMU: target/riscv/op_helper.c).

``ra`` is the host PC of the call: who may raise in mid-block hands it on, so that the state of the
instruction can be restored from it.
"""

from __future__ import annotations

from ..tcg.ir import Helper
from ..trace import events as ev
from . import csr, trap
from .cpu import CPU, MSTATUS_TW, PRV_M


def raise_exception(cpu: CPU, ra: int, cause: int) -> None:
    """An expected exception: the block stored pc and the opcode before the call, and ends here.

    No restoring, so ``ra`` is not used; but the block was charged for an instruction that does
    not retire (specification 3.3.1; QEMU counts it).
    """
    cpu.retire(-1)
    cpu.raise_exception(cause, 0, expected=True)


def mret(cpu: CPU, ra: int) -> int:
    """Return from a trap; the new pc."""
    if cpu.env.priv < PRV_M:
        raise_exception(cpu, ra, trap.ILLEGAL_INST)
    return trap.mret(cpu)


def wfi(cpu: CPU, ra: int) -> None:
    """Sleep until an interrupt is pending; unwinds always, wherever in the block it stands.

    QEMU leaves here without restoring and so counts what follows wfi in the block twice; we
    restore to wfi itself and retire exactly that.
    """
    env = cpu.env
    if env.priv < PRV_M and env.mstatus & MSTATUS_TW:
        cpu.raise_exception(trap.ILLEGAL_INST, 0, ra)
    cpu.restore_state(ra)
    env.pc += 4
    cpu.retire(1)
    cpu.halted = True
    cpu.emit(ev.Halted, pc=env.pc)
    cpu.loop_exit()


def sc_probe(cpu: CPU, ra: int, addr: int, memop: int) -> None:
    """A store conditional that fails still faults where the store would."""
    cpu.probe_store(addr, memop, ra)


RAISE_EXCEPTION = Helper("raise_exception", raise_exception, noreturn=True)
MRET = Helper("mret", mret, returns=True)
WFI = Helper("wfi", wfi)
SC_PROBE = Helper("sc_probe", sc_probe)
CSRR = Helper("csrr", csr.csrr, returns=True)
CSRW = Helper("csrw", csr.csrw)
CSRRW = Helper("csrrw", csr.csrrw, returns=True)

"""Trap entry and return (QEMU: target/riscv/cpu_helper.c; privileged specification, 3.1)."""

from __future__ import annotations

from ..trace import events as ev
from .cpu import (
    CPU,
    MIE_MASK,
    MIP_MEIP,
    MIP_MSIP,
    MIP_MTIP,
    MPP_SHIFT,
    MSTATUS_MIE,
    MSTATUS_MPIE,
    MSTATUS_MPP,
    MSTATUS_MPRV,
    NO_RESERVATION,
    PRV_M,
    CPURISCVState,
    update_tb_flags,
)

INST_ACCESS_FAULT, ILLEGAL_INST, BREAKPOINT = 1, 2, 3
LOAD_MISALIGNED, LOAD_ACCESS_FAULT = 4, 5
STORE_MISALIGNED, STORE_ACCESS_FAULT = 6, 7
U_ECALL, M_ECALL = 8, 11
INT_FLAG = 1 << 63  #: top bit of mcause

#: Exception word of an instruction whose faults are always store/AMO faults.
UW2_ALWAYS_STORE_AMO = 1

EXCEPTION_NAMES = {
    0: "misaligned fetch",
    INST_ACCESS_FAULT: "instruction access fault",
    ILLEGAL_INST: "illegal instruction",
    BREAKPOINT: "breakpoint",
    LOAD_MISALIGNED: "misaligned load",
    LOAD_ACCESS_FAULT: "load access fault",
    STORE_MISALIGNED: "misaligned store/AMO",
    STORE_ACCESS_FAULT: "store/AMO access fault",
    U_ECALL: "ecall from U mode",
    M_ECALL: "ecall from M mode",
}
INTERRUPT_NAMES = {3: "machine software", 7: "machine timer", 11: "machine external"}

_PRIORITY = ((MIP_MEIP, 11), (MIP_MSIP, 3), (MIP_MTIP, 7))  # highest first (spec 3.1.9)


class UnhandledTrap(Exception):
    """A trap whose handler cannot run: it would trap at its own first instruction, for ever."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def interrupts_enabled(env: CPURISCVState) -> bool:
    """May an M-level interrupt be taken now, as far as mstatus and privilege go?"""
    return env.priv < PRV_M or bool(env.mstatus & MSTATUS_MIE)


def pending_interrupt(env: CPURISCVState) -> int | None:
    """The interrupt to take now, by priority, or None (QEMU: riscv_cpu_local_irq_pending)."""
    pending = env.mip & env.mie
    if pending and interrupts_enabled(env):
        for bit, cause in _PRIORITY:
            if pending & bit:
                return cause
    return None


def exec_interrupt(cpu: CPU) -> bool:
    """Take the most urgent enabled interrupt; False if none is (QEMU: riscv_cpu_exec_interrupt)."""
    env = cpu.env
    cause = pending_interrupt(env)
    if cause is None:
        if env.mip:
            cpu.emit(ev.InterruptLooked, pending=env.mip, enabled=env.mie)
        return False
    epc = env.pc
    vector = _enter(env, INT_FLAG | cause, epc, 0)
    cpu.emit(ev.InterruptTaken, cause=cause, epc=epc, vector=vector)
    cpu.emit(ev.EnableChanged, enabled=False, mie=env.mie)
    return True


def do_interrupt(cpu: CPU, cause: int, tval: int, expected: bool) -> None:
    """Enter the handler of an exception (QEMU: riscv_cpu_do_interrupt).

    Raises UnhandledTrap where the handler's first instruction is the one that trapped: nothing
    has retired since the last trap, so the guest would do this for ever.
    """
    env = cpu.env
    if cause == U_ECALL and env.priv == PRV_M:
        cause = M_ECALL
    if cause == ILLEGAL_INST:
        tval = env.bins
    if env.excp_uw2 & UW2_ALWAYS_STORE_AMO and not expected:
        cause = {LOAD_MISALIGNED: STORE_MISALIGNED, LOAD_ACCESS_FAULT: STORE_ACCESS_FAULT}.get(
            cause, cause
        )
    epc = env.pc
    if epc == env.mtvec & ~3 and env.priv == PRV_M:
        raise UnhandledTrap(_unhandled(env, cause, epc, tval))
    vector = _enter(env, cause, epc, tval)
    cpu.emit(
        ev.ExceptionRaised, cause=cause, epc=epc, tval=tval, vector=vector, expected=expected
    )
    cpu.emit(ev.EnableChanged, enabled=False, mie=env.mie)


def _enter(env: CPURISCVState, mcause: int, epc: int, tval: int) -> int:
    """The state changes of trap entry to M mode; returns the handler's address."""
    status = env.mstatus & ~(MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP)
    if env.mstatus & MSTATUS_MIE:
        status |= MSTATUS_MPIE
    env.mstatus = status | env.priv << MPP_SHIFT
    env.mepc, env.mcause, env.mtval = epc, mcause, tval
    env.priv = PRV_M
    env.load_res = NO_RESERVATION
    vector = env.mtvec & ~3
    if env.mtvec & 1 and mcause & INT_FLAG:
        vector += 4 * (mcause & ~INT_FLAG)
    env.pc = vector
    update_tb_flags(env)
    return vector


def mret(cpu: CPU) -> int:
    """Leave a handler: privilege and interrupt enable as they were; returns the new pc."""
    env = cpu.env
    status = env.mstatus
    priv = (status & MSTATUS_MPP) >> MPP_SHIFT
    new = status & ~(MSTATUS_MIE | MSTATUS_MPP) | MSTATUS_MPIE
    if status & MSTATUS_MPIE:
        new |= MSTATUS_MIE
    if priv != PRV_M:
        new &= ~MSTATUS_MPRV
    env.mstatus = new  # MPP becomes U, the least privileged mode
    env.priv = priv
    env.load_res = NO_RESERVATION
    update_tb_flags(env)
    cpu.emit(ev.TrapReturn, pc=env.mepc, priv=priv)
    emit_enable(cpu)
    return env.mepc


def emit_enable(cpu: CPU) -> None:
    """Tell the trace whether interrupts are enabled now."""
    env = cpu.env
    cpu.emit(
        ev.EnableChanged, enabled=interrupts_enabled(env) and bool(env.mie), mie=env.mie & MIE_MASK
    )


def _unhandled(env: CPURISCVState, cause: int, epc: int, tval: int) -> str:
    """One line about the trap that could not be handled, and the one before it, if any."""
    what = f"{EXCEPTION_NAMES.get(cause, f'exception {cause}')} at {epc:#x} (mtval {tval:#x})"
    if env.mepc == epc or not (env.mcause or env.mepc):
        return f"{what}, which is the trap handler itself (mtvec)"
    if env.mcause & INT_FLAG:
        first = INTERRUPT_NAMES.get(env.mcause & ~INT_FLAG, "unknown") + " interrupt"
    else:
        first = EXCEPTION_NAMES.get(env.mcause, f"exception {env.mcause}")
    return (
        f"{first} at {env.mepc:#x} (mtval {env.mtval:#x}) has no handler: "
        f"mtvec is {env.mtvec:#x}, and there: {what}"
    )

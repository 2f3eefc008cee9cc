"""The loop that everything comes back to (QEMU: accel/tcg/cpu-exec.c). Read it from the bottom.

    while not cpu_handle_exception():
        while not cpu_handle_interrupt():
            find the block, or translate it; link the last one to it; run
"""

from __future__ import annotations

from enum import IntEnum

from ..target import cpu as target
from ..target import trap
from ..tcg.backend import TB_EXIT_REQUESTED
from ..tcg.cflags import CF_COUNT, CF_NOIRQ, CHECK_HEAD, CHECK_INSN, cf_check
from ..tcg.env import PAGE_BITS
from ..trace import events as ev
from .cpu import CPU_INTERRUPT_HARD, CpuLoopExit, CPUState
from .tb import TranslationBlock
from .translate_all import tb_gen_code


class Excp(IntEnum):
    """Why cpu_exec returned (QEMU: EXCP_*)."""

    INTERRUPT = 0x10000  #: somebody asked: a stop, a limit, a timer under icount
    HALTED = 0x10003  #: wfi


def cpu_handle_exception(cpu: CPUState) -> Excp | None:
    """Enter the guest's handler of a pending exception. Never leaves the loop by itself: after
    trap entry, interrupts are considered, and then the handler runs."""
    if cpu.exception is not None:
        cause, tval, expected = cpu.exception
        cpu.exception = None
        cpu.stats.exceptions += 1
        trap.do_interrupt(cpu, cause, tval, expected)
    return Excp.HALTED if cpu.halted else None


def cpu_handle_interrupt(cpu: CPUState, last_tb: TranslationBlock | None) -> tuple[
    bool, TranslationBlock | None
]:
    """Take an interrupt if one is pending and enabled. (leave the inner loop?, block to link from).

    The flag is dropped before the requests are read: who raises in between sets it again, and the
    next head sees that. A masked request stays; nobody asks again before the loop comes by.
    """
    if cpu.cflags_next_tb is not None and cpu.cflags_next_tb & CF_NOIRQ:
        return False, last_tb
    if cpu.cflags & CF_COUNT and not (cpu.discreet or cpu._decr.low or cpu.budget.extra):
        cpu.budget.exhausted()
    if cpu.discreet:
        cpu.discreet = False
        cpu.observer.answer()
        return cpu.exit_request, last_tb
    if cpu._decr.high:
        kicked, cpu.kicked = cpu.kicked, False
        cpu._decr.high = 0
        if kicked:
            cpu.emit(ev.FlagCleared)
        cpu.observer.answer()  # who asks from now on has set the flag again
    if cpu.tbs.unchained:
        cpu.tbs.unchained = False
    if cpu.interrupt_request & CPU_INTERRUPT_HARD:
        with cpu.lock:
            taken = trap.exec_interrupt(cpu)
        if taken:
            cpu.stats.interrupts_taken += 1
            last_tb = None
    if cpu.exit_request:
        return True, None
    return False, last_tb


def tb_find(cpu: CPUState) -> TranslationBlock:
    """The block for the current state, translated now if it is not known."""
    env = cpu.env
    pc, flags = env.pc, env.tb_flags
    cflags = cpu.cflags if cpu.cflags_next_tb is None else cpu.cflags_next_tb
    cpu.cflags_next_tb = None
    tb = cpu.tbs.lookup(pc, pc, flags, cflags) if cpu.mechanisms.cache else None
    return tb or tb_gen_code(cpu, pc, flags, cflags)


def cpu_tb_exec(cpu: CPUState, tb: TranslationBlock) -> tuple[TranslationBlock | None, int]:
    """Enter host code. Which block left (the last of a chain, not the one entered), and how."""
    if cpu.on_exec is not None:
        cpu.on_exec("trace", tb)
    backend = cpu.tbs.backend
    number, tb_exit = backend.enter(tb.host)
    last = cpu.tbs.by_number[number] if number else None
    if tb_exit == TB_EXIT_REQUESTED:
        assert last is not None
        cpu.env.pc = last.pc  # nothing of it ran; chained jumps do not store pc
    return last, tb_exit


def cpu_loop_exec_tb(cpu: CPUState, tb: TranslationBlock) -> tuple[TranslationBlock | None, int]:
    """Run, and sort out why host code came back: (block whose slot may be linked, slot)."""
    last, tb_exit = cpu_tb_exec(cpu, tb)
    if tb_exit != TB_EXIT_REQUESTED:
        cpu.stats.loop_returns += 1
        if cpu.recorder.enabled:
            if last is None:
                cpu.emit(ev.LoopExit, reason="none", tb=None)
            else:
                cpu.emit(ev.LoopExit, reason="slot", tb=last.number, slot=tb_exit)
        return last, tb_exit
    assert last is not None
    heard = cpu._decr.high and cf_check(last.cflags) in (CHECK_HEAD, CHECK_INSN)
    if heard and cpu.observer.was_all():
        return None, 0
    if cpu.on_exec is not None:
        cpu.on_exec("stopped", last)
    if heard:
        cpu.stats.tb_refused += 1
        cpu.stats.loop_returns += 1
        cpu.emit(ev.LoopExit, reason="refused", tb=last.number)
        cpu.emit(ev.Refused, tb=last.number, pc=last.pc, count=last.icount, cause="flag")
    else:
        cpu.budget.expired(last)
    return None, 0


def cpu_exec_loop(cpu: CPUState) -> Excp:
    """The nested loops."""
    while (why := cpu_handle_exception(cpu)) is None:
        last_tb: TranslationBlock | None = None
        tb_exit = 0
        while True:
            leave, last_tb = cpu_handle_interrupt(cpu, last_tb)
            if leave:
                return Excp.INTERRUPT
            tb = tb_find(cpu)
            if last_tb is not None and not _crosses_page(tb):
                cpu.tbs.add_jump(last_tb, tb_exit, tb)
            last_tb, tb_exit = cpu_loop_exec_tb(cpu, tb)
            if cpu.one_shot is not None:
                cpu.tbs.drop(cpu.one_shot)
                cpu.one_shot = last_tb = None
    return why


def cpu_exec(cpu: CPUState) -> Excp:
    """Run until there is something to do outside; the hart must not be halted without work."""
    if cpu.halted:
        if not target.has_work(cpu.env):
            return Excp.HALTED
        cpu.halted = False
        cpu.emit(ev.Woken, pending=cpu.env.mip & cpu.env.mie)
    while True:
        try:
            return cpu_exec_loop(cpu)
        except CpuLoopExit:  # QEMU's sigsetjmp: all that the loop knew is gone, so no linking
            cpu.stats.loop_returns += 1
            cpu.emit(ev.LoopExit, reason="exception", tb=None)
            if cpu.budget.pending_raise:
                cpu.budget.exhausted()  # granted for a block that has not ended as planned
            if cpu.one_shot is not None:
                cpu.tbs.drop(cpu.one_shot)
                cpu.one_shot = None


def _crosses_page(tb: TranslationBlock) -> bool:
    """Does the block's code reach into a second page? Then nobody may jump to it directly."""
    return tb.phys >> PAGE_BITS != tb.phys + len(tb.code) - 1 >> PAGE_BITS

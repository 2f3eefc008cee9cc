"""One virtual CPU: requests, the exit flag, leaving host code, restoring state.

QEMU: include/hw/core/cpu.h (CPUState), system/cpus.c (cpu_interrupt, qemu_cpu_kick),
accel/tcg/cpu-exec-common.c (cpu_loop_exit*), accel/tcg/translate-all.c (cpu_restore_state).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import shown
from ..target import cpu as target
from ..tcg.backend import Backend, Runtime
from ..tcg.cflags import CHECK_INSN, TRACE_BLOCKS, TRACE_OFF, TRACE_TIMES, cf_check
from ..tcg.env import KICK
from ..trace import events as ev
from ..trace.recorder import Recorder
from .cputlb import SoftMMU
from .icount import Budget
from .mechanisms import Mechanisms
from .memory import AddressSpace
from .observer import Observer
from .tb import TranslationBlock
from .tb_maint import TBContext
from .translate_all import SearchRow, unwind

CPU_INTERRUPT_HARD = 2  #: a device line is up; a level, cleared only when no line is


class CpuLoopExit(Exception):
    """QEMU's siglongjmp to cpu_exec: unwinds host code from any depth."""


@dataclass(slots=True)
class Stats:
    """What the machine has done since it was made."""

    tb_translated: int = 0
    tb_invalidated: int = 0
    loop_returns: int = 0
    chain_patched: int = 0
    tb_refused: int = 0
    interrupts_taken: int = 0
    exceptions: int = 0
    state_restores: int = 0
    io_recompiles: int = 0


class CPUState:
    """Everything about one hart that is not architecture. Other threads may call only
    ``update_mip``, ``kick``, ``request_exit``, ``stop``."""

    def __init__(
        self,
        memory: AddressSpace,
        make_backend: Callable[[Runtime], Backend],
        mechanisms: Mechanisms,
        recorder: Recorder,
        *,
        count: bool,
        icount: int | None,
        lock: threading.RLock,
        capacity: int = 0,
    ) -> None:
        self.env = target.new_state(memory.guard)
        self.memory = memory
        self.recorder = recorder
        self.thread = 0  # ident of the thread that runs, or ran, the hart
        self.stamp: int | None = None  # instruction number of events while raise_at acts
        self.lock = lock  # QEMU's BQL: devices and request bits
        self.stats = Stats()
        self.count = count
        self.icount_shift = icount
        self.budget = Budget(self)
        self.softmmu = SoftMMU(self)
        self.words = memoryview(self.env).cast("B").cast("Q")
        self._pc_word = target.OFFSET_PC // 8
        self._flags_word = target.OFFSET_TB_FLAGS // 8
        self._decr = self.env.neg.icount_decr
        self.runtime = Runtime(
            env=self.env, neg=target.OFFSET_NEG, pc=target.OFFSET_PC, flags=target.OFFSET_TB_FLAGS,
            hot=target.HOT, ram=memory.ram, ram_base=memory.ram_base, ring=recorder.ring, cpu=self,
            load=self.softmmu.load, store=self.softmmu.store, lookup=self.lookup_tb_ptr,
            clock=time.perf_counter_ns, count=count, capacity=capacity,
            guard=memory.guard,
        )  # fmt: skip
        backend = make_backend(self.runtime)
        recorder.seconds = backend.seconds
        self.tbs = TBContext(backend, self.env.neg, self.emit, self.stats)
        self.tbs.on_page = self.softmmu.set_code_page
        memory.on_write = self.softmmu.invalidate
        self.interrupt_request = 0
        self.exit_request = False
        self.halted = False
        self.exception: tuple[int, int, bool] | None = None  # cause, mtval, expected
        self.cflags_next_tb: int | None = None
        self.kicked = False  # somebody wants more than to look on
        self.observer = Observer(self)
        self.discreet = False  # the next trip through the loop must not look at interrupts
        self.one_shot: TranslationBlock | None = None
        self.stop_reason: str | None = None
        self.stop_detail = ""
        self.exit_code: int | None = None  # the guest's own
        self.error: BaseException | None = None  # what ended the run, for whoever waits
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # QEMU: halt_cond
        self.rdtime: Callable[[], int] = lambda: 0
        self.on_translate: Callable[[TranslationBlock], None] = lambda tb: None
        self.on_exec: Callable[[str, Any], None] | None = None  # -d exec: (what, block)
        self.set_mechanisms(mechanisms)

    def set_mechanisms(self, mechanisms: Mechanisms) -> None:
        """Take other switches; old blocks stay, under keys that are not looked up now."""
        icount = self.icount_shift is not None
        mechanisms.check(count=self.count, icount=icount)
        self.mechanisms = mechanisms
        self.cflags_next_tb = None  # made of the old switches
        modes = {"blocks": TRACE_BLOCKS, "times": TRACE_TIMES}
        trace = modes.get(self.recorder.mode or "", TRACE_OFF)
        self.cflags = mechanisms.cflags(count=self.count, icount=icount, trace=trace)
        self.tbs.acyclic = mechanisms.irq_check == "acyclic"
        self.tbs.cflags = self.cflags
        self.tbs.flush("mechanisms changed")
        self.softmmu.flush()

    def reset(self) -> None:
        """Power-on state of the hart; blocks, memory and devices are the machine's business."""
        target.reset(self.env)
        self.interrupt_request = 0
        self.exception = self.cflags_next_tb = self.stop_reason = self.one_shot = None
        self.halted = self.exit_request = self.discreet = self.kicked = False
        self._decr.high = 0
        self.budget.reset()

    # Tracing.

    def emit(self, event: type[ev.Event], **fields: Any) -> None:
        """Record an event, stamped with the instruction count and the number of block records."""
        if event in self.recorder.kinds:
            insns = self.insns_now() if self.stamp is None else self.stamp
            self.emit_at(insns, event, **fields)

    def emit_at(self, insns: int | None, event: type[ev.Event], **fields: Any) -> None:
        """The same with the instruction count given."""
        if event in self.recorder.kinds:
            ring = self.env.neg.ring_next
            made = event(insns=insns, time=time.perf_counter(), ring=ring, **fields)
            if self.tbs.backend.inside and threading.get_ident() != self.thread:
                self.recorder.defer(made)
            else:
                self.recorder.emit(made)

    # Requests, from any thread: first the request, then the flag, so that none is lost.

    def update_mip(self, mask: int, level: int) -> None:
        """A device line changed (QEMU: riscv_cpu_update_mip); level, not edge, and whatever mie
        and mstatus say."""
        with self.lock:
            env = self.env
            env.mip = env.mip | mask if level else env.mip & ~mask
            if env.mip:
                self.interrupt_request |= CPU_INTERRUPT_HARD
                if level:
                    self.kick("interrupt")
            else:
                self.interrupt_request &= ~CPU_INTERRUPT_HARD

    def kick(self, why: str) -> None:
        """Set the exit flag: the next block that tests it refuses to run."""
        self.kicked = True
        self.emit(ev.FlagSet, why=why)  # first: what it leads to shall not be told before it
        self._decr.high = KICK
        if self.mechanisms.irq_check == "unlink":
            self.tbs.unlink_all()
        self.wake_up()

    def wake_up(self) -> None:
        """Have a hart that sleeps, or is about to, look again at what it may have to do."""
        if self._wake.empty():
            self._wake.put(None)

    def sleep(self, seconds: float) -> None:
        """Until somebody calls ``wake_up``, or has done so since the last sleep."""
        try:
            self._wake.get(timeout=seconds)
        except queue.Empty:
            pass

    def request_exit(self) -> None:
        """Get the vCPU out of the loop, also from chained code that tests no flag."""
        self.exit_request = True
        self.kick("stop")
        if not self.mechanisms.kick_heard:
            self.discreet = True
            self.tbs.unlink_all()

    def stop(self, reason: str, detail: str = "") -> None:
        """End the current run for ``reason``; the first reason wins."""
        with self.lock:
            if self.stop_reason is None:
                self.stop_reason, self.stop_detail = reason, detail
        self.request_exit()

    def fail(self, error: BaseException) -> None:
        """A callback raised ``error`` in this hart's thread: end the run where the hart can stop,
        and keep the error for whoever waits."""
        if self.error is None:
            self.error = error
        self.stop("paused", shown(error))

    # Leaving host code.

    def loop_exit(self) -> NoReturn:
        """Unwind to the loop; the state in env is right (QEMU: cpu_loop_exit)."""
        raise CpuLoopExit

    def raise_exception(
        self, cause: int, tval: int, ra: int = 0, expected: bool = False
    ) -> NoReturn:
        """A guest exception. ``ra``: host PC of the access that hit it, or 0 where pc is right
        already (QEMU: riscv_raise_exception)."""
        if ra:
            self.restore_state(ra, self.mechanisms.restore)
        self.exception = cause, tval, expected
        self.loop_exit()

    def unwind(self, ra: int) -> tuple[TranslationBlock, SearchRow] | None:
        """Which block and instruction the host PC ``ra`` belongs to; nothing is changed."""
        tb = self.tbs.lookup_host(ra)
        row = unwind(tb, ra, self.tbs.backend.getpc_adj) if tb is not None else None
        return (tb, row) if tb is not None and row is not None else None

    def _undone(self, tb: TranslationBlock, row: SearchRow) -> int:
        """Instructions charged but not completed when ``row`` is interrupted, itself included."""
        if not self.count or cf_check(tb.cflags) == CHECK_INSN:
            return int(self.count)
        return tb.icount - row.index

    def restore_state(self, ra: int, how: bool | str = True) -> bool:
        """Restore pc and the per-instruction words from host PC ``ra``, and give the budget back
        what the block was charged but did not do; exactly once for each way out of a block.
        ``how``: False restores no word, "eager" all but the pc, which has been stored."""
        found = self.unwind(ra)
        if found is None:
            return False
        tb, row = found
        undone = self._undone(tb, row)
        self.retire(-undone)
        if how:
            pc = self.env.pc if how == "eager" else row.words[0]
            target.restore_state_to_opc(self.env, (pc, *row.words[1:]))
        self.stats.state_restores += 1
        self.emit(ev.StateRestored, tb=tb.number, host_pc=ra, guest_pc=row.words[0], undone=undone)
        return True

    # Counting.

    def retire(self, insns: int) -> None:
        """Charge (or, negative, give back) instructions beside what blocks charge themselves."""
        if self.count:
            self._decr.low -= insns

    def insns_now(self) -> int | None:
        """Instructions charged so far; exact between blocks, the whole block inside one."""
        return self.budget.now() if self.count else None

    def insns_at(self, ra: int) -> int | None:
        """Instructions retired before the one at host PC ``ra`` (0: the last of its block)."""
        now = self.insns_now()
        if now is None:
            return None
        found = self.unwind(ra) if ra else None
        return now - (self._undone(*found) if found else 1)

    def fire_due(self, ra: int) -> None:
        """Raise the lines that ``raise_at`` wants up before the instruction at ``ra``."""
        if self.budget.pending_raise:
            now = self.insns_at(ra)
            assert now is not None
            self.budget.fire(now)

    def ticks(self) -> int:
        """What mcycle and minstret show where nobody counts: host nanoseconds."""
        return time.perf_counter_ns()

    # Code and memory, for translation and generated code.

    def fetch(self, addr: int) -> int:
        """16 bits of guest code; a fault is raised with pc exact, for no block exists yet."""
        return self.softmmu.fetch(addr)

    def probe_store(self, addr: int, memop: int, ra: int) -> None:
        """Raise what a store there would raise, and do nothing else."""
        self.softmmu.probe_store(addr, memop, ra)

    def lookup_tb_ptr(self) -> Any:
        """Host code of the block at the current pc, or None (QEMU: helper_lookup_tb_ptr). Does
        not look at interrupts: the next block's own check does."""
        tbs = self.tbs
        if tbs.unchained:
            return None
        pc = self.words[self._pc_word]
        tb = tbs.lookup(pc, pc, self.words[self._flags_word], self.cflags)
        if tb is None:
            return None
        if self.on_exec is not None:
            self.on_exec("trace", tb)
        return tb.host

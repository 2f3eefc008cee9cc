"""The budget of instructions: limits, deadlines, and what happens when a block does not fit.

QEMU: accel/tcg/icount-common.c, tcg-accel-ops-icount.c. A block is charged whole at its head, or
refused whole; nothing ever stops in the middle of one. The same budget serves icount's deadlines,
``max_insns``, the quantum of ``irq_check="quantum"`` and ``raise_at``; only what is done with a
block that does not fit differs: it is *cut* (its first k instructions are translated as a block of
exactly that length), or, for ``raise_at`` and the quantum, left whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..tcg.cflags import CF_NOIRQ, CHECK_END, CHECK_HEAD, CHECK_INSN, cf_check, cf_with_count
from ..tcg.env import KICK
from ..trace import events as ev

if TYPE_CHECKING:
    from .cpu import CPUState
    from .tb import TranslationBlock

#: Most that ``low`` holds under icount; the rest is ``extra``. QEMU's has 16 bits; but filling it
#: again takes a trip through the loop, and ours costs a thousand times QEMU's.
ICOUNT_LOW = (1 << 22) - 1
COUNT_LOW = 0x7FFFFFFF
CUT, RAISE, QUANTUM, REFILL = range(4)  #: what to do at a limit


class Budget:
    """Instructions that the hart may still run before somebody wants to know.

    ``insns``: retired and accounted for; ``granted``: given since then. What is left is split into
    the word that generated code tests (``low``) and ``extra``.
    """

    def __init__(self, cpu: CPUState) -> None:
        self.cpu = cpu
        self.low_max = COUNT_LOW if cpu.icount_shift is None else ICOUNT_LOW
        self.deadline: Callable[[], int | None] = lambda: None  # instruction number, icount only
        self.stop_at: int | None = None  # max_insns, as an absolute number
        self.input_at: int | None = None  # replay: next recorded input
        self._raises: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self.reset()

    def reset(self) -> None:
        """Back to instruction 0; what was asked for by number is forgotten."""
        self.insns = self.granted = self.extra = 0
        self.cpu.env.neg.icount_decr.low = 0
        self.quantum_end = 0
        self.stop_at = None
        self.pending_raise = False  # a line goes up inside the block that runs now
        self._raises.clear()

    # Accounting.

    def now(self) -> int:
        """Instructions charged so far."""
        return self.insns + self.granted - self.cpu.env.neg.icount_decr.low - self.extra

    def account(self) -> int:
        """Move what was used to ``insns``; what is left (QEMU: icount_update)."""
        left = self.cpu.env.neg.icount_decr.low + self.extra
        self.insns += self.granted - left
        self.granted = left
        return left

    def _grant(self, insns: int) -> None:
        """Set what may be used from now on (QEMU: icount_prepare_for_run)."""
        self.granted = insns
        low = min(insns, self.low_max)
        self.extra = insns - low
        self.cpu.env.neg.icount_decr.low = low
        if self.cpu.icount_shift is not None:
            self.cpu.emit(ev.IcountRefill, low=low, extra=self.extra)

    def prepare(self) -> int:
        """Grant up to the nearest limit; what kind of limit that is."""
        self.account()
        self.pending_raise = False
        n, kind = self._limit()
        self._grant(max(0, n - self.insns))
        return kind

    def _limit(self) -> tuple[int, int]:
        """(instruction number, what to do there) of the nearest limit; a cut goes first."""
        limits = [(n, CUT) for n in self._cuts()]
        if self._raises and self.cpu.icount_shift is None:
            # Where the flag is tested at the end of a block, it must be up before the next head:
            # hold on in front of the block that contains the last instruction.
            before = cf_check(self.cpu.cflags) == CHECK_END
            limits.append((self._raises[0][0] - before, RAISE))
        if self.cpu.mechanisms.irq_check == "quantum":
            if self.quantum_end <= self.insns:
                self.quantum_end = self.insns + self.cpu.mechanisms.quantum
            limits.append((self.quantum_end, QUANTUM))
        limits.append((self.insns + COUNT_LOW, REFILL))
        return min(limits)

    def _cuts(self) -> list[int]:
        """Instruction numbers that a block may not run past."""
        cuts = [self.stop_at, self.input_at]
        if self.cpu.icount_shift is not None:
            cuts += [self.deadline(), self._raises[0][0] if self._raises else None]
        return [n for n in cuts if n is not None]

    # raise_at.

    def raise_at(self, n: int, action: Callable[[], None]) -> None:
        """Have ``action`` (raise a line) happen right after instruction number ``n``."""
        self._order += 1
        heapq.heappush(self._raises, (n, self._order, action))

    def fire(self, insns: int) -> bool:
        """Do what is due after ``insns`` instructions; was there anything?"""
        fired = False
        while self._raises and self._raises[0][0] <= insns:
            self.cpu.stamp, _, action = heapq.heappop(self._raises)
            action()
            self.cpu.stamp = None
            fired = True
        return fired

    # A block did not fit, or the budget was used up exactly.

    def expired(self, tb: TranslationBlock) -> None:
        """The head of ``tb`` found less budget than it needs, and refused; no flag was up."""
        cpu = self.cpu
        left = self.account()
        check = cf_check(tb.cflags)
        charge = 1 if check == CHECK_INSN else tb.icount
        if cpu.mechanisms.irq_check == "quantum" and self.quantum_end < self.insns + charge:
            self._refused(tb)  # the loop looks; then at least this block runs
            self.quantum_end = self.insns + max(cpu.mechanisms.quantum, charge)
            self.prepare()
            return
        kind = self._limit()[1]
        if left >= charge:  # only the low part was used up
            self._grant(left)
            self._refused(tb)
        elif kind == RAISE and (left or check == CHECK_END):
            self._raise_inside(tb)
        elif left == 0:
            fired = self.exhausted()
            if fired and check in (CHECK_HEAD, CHECK_INSN):
                self._refused(tb, "flag")
            elif cpu.icount_shift is not None:
                self._refused(tb)
            elif fired and cpu.tbs.unchained and cpu.mechanisms.irq_check == "unlink":
                cpu.stats.loop_returns += 1  # the jump that led here was cut just in time
                cpu.emit(ev.LoopExit, reason="none", tb=None)
            else:
                cpu.discreet = True
        elif kind == CUT:
            self._cut(tb, left)
        else:
            self.prepare()
            cpu.discreet = True

    def _raise_inside(self, tb: TranslationBlock) -> None:
        """A line goes up inside ``tb``: let exactly this block run. Whoever looks in it at what
        the line changes calls ``fire`` first; else the loop does, for the budget ends with it, and
        the next head refuses as if it had found the flag. (A test at the end does find it.)"""
        keep = min([tb.icount, *(n - self.insns for n in self._cuts())])
        self._grant(keep)
        self.pending_raise = True
        if cf_check(tb.cflags) == CHECK_END:
            self.cpu.kicked = True
            self.cpu._decr.high = KICK
        if keep < tb.icount:
            self._cut(tb, keep)
        elif tb.cflags & CF_NOIRQ:
            self.cpu.cflags_next_tb = tb.cflags  # the loop would not find it by itself
        else:
            self.cpu.discreet = True

    def _cut(self, tb: TranslationBlock, keep: int) -> None:
        """Have the first ``keep`` instructions of ``tb`` run as a block of their own."""
        cpu = self.cpu
        cpu.cflags_next_tb = cf_with_count(tb.cflags, keep)
        cpu.emit(ev.DeadlineCut, tb=tb.number, count=tb.icount, keep=keep)
        if cpu.icount_shift is not None:
            self._refused(tb)
        else:
            cpu.discreet = True

    def exhausted(self) -> bool:
        """The hart is between two instructions, and the budget is used up or no longer right: do
        what is due here and grant more, or ask to leave the loop. Did a line go up?"""
        cpu = self.cpu
        self.account()
        fired = self.fire(self.insns)
        if self.prepare() == CUT and self.granted == 0:
            cpu.exit_request = True
            cpu.discreet = not cpu.mechanisms.kick_heard
        return fired

    def _refused(self, tb: TranslationBlock, cause: str = "budget") -> None:
        self.cpu.stats.tb_refused += 1
        self.cpu.stats.loop_returns += 1
        self.cpu.emit(ev.LoopExit, reason="refused", tb=tb.number)
        self.cpu.emit(ev.Refused, tb=tb.number, pc=tb.pc, count=tb.icount, cause=cause)

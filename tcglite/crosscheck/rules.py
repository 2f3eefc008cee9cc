"""What must hold whatever an oracle says: that interrupts come on time, and time with them.

Unicorn has no interrupts, and Spike is told when to take one; that none is forgotten or late has to
be asked of tcglite itself. Each rule is stated of the architecture's own registers.
"""

from __future__ import annotations

from ..accel.cpu import CPUState
from ..accel.memory import AddressSpace
from ..accel.tb import TranslationBlock
from ..guests import Guest
from ..hw.clock import ICountClock
from ..machine import Machine, RunResult, StopReason
from ..tcg.cflags import CF_NOIRQ
from ..trace import events as ev
from .oracle import Oracle, Piece, State
from .report import AT_BLOCKS

MTIMECMP, MTIME = 0x200_4000, 0x200_BFF8
_NS_PER_TICK = 100  # the CLINT counts at 10 MHz
_MIE, _M_MODE = 8, 3  # mstatus.MIE; the privilege
_MTIP = 1 << 7
_PRIORITY = (11, 3, 7)  # external, software, timer (specification 3.1.9)

#: Where the flag is tested before, in or after every block, no block begins once it is up.
_PROMPT = (*AT_BLOCKS, "every-insn")


class Rules(Oracle):
    """No oracle but the specification, and what the mechanisms promise. ``timer``: nobody raises
    the timer's line but the board's own clock."""

    name = "rules"

    def __init__(self, machine: Machine, timer: bool = True) -> None:
        super().__init__()
        self._clock = machine.clock
        self._shift = machine._cpu.icount_shift
        self._prompt = machine.mechanisms.irq_check in _PROMPT
        self._flag_ring: int | None = None
        self._removed: dict[int, int] = {}  # block number -> block records written by then
        # Virtual time in ns: what was skipped while the hart slept, and when the timer is due by
        # what the guest wrote, which is known from the beginning only.
        self._timed = timer and isinstance(machine.clock, ICountClock) and machine.insns == 0
        self._mtimecmp, self._due, self._skipped = 0, 0, 0
        self._set = False  # has the guest set the clock?

    def begin(self, state: State, memory: AddressSpace) -> None:
        self._skipped = getattr(self._clock, "bias", 0)

    def entered(self, cpu: CPUState, tb: TranslationBlock, piece: Piece) -> None:
        """No block is entered with an interrupt pending and enabled, unless the flag says that
        the loop will be asked (specification 3.1.9: it must be taken in bounded time)."""
        env = cpu.env
        self.counts["looks"] += 1
        if self._timed:
            self._check_timer(cpu, piece)
        self._skipped = getattr(self._clock, "bias", 0)
        if not env.mip & env.mie or tb.cflags & CF_NOIRQ:
            return
        if env.priv == _M_MODE and not env.mstatus & _MIE:
            return
        with cpu.lock:  # who raises a line does all of it under this lock
            lost = not cpu.env.neg.icount_decr.high
        if lost:
            self.differ(
                piece, "an enabled interrupt", f"pending (mip {env.mip:#x}) and forgotten", "taken"
            )

    def _check_timer(self, cpu: CPUState, piece: Piece) -> None:
        """Under icount the timer's line is up if and only if it is time."""
        assert isinstance(self._clock, ICountClock)
        assert self._shift is not None
        now = ((cpu.insns_now() or 0) << self._shift) + self._clock.bias
        level = bool(cpu.env.mip & _MTIP)
        if level != (now >= self._due):
            self.differ(piece, f"the timer's line at {now} ns", level, not level)
        self.counts["timer lines"] += 1

    def _check_deadline(self, cpu: CPUState, piece: Piece) -> None:
        """The clock raises the timer's line: before the first instruction at which it is time;
        and if the hart slept, not a nanosecond later."""
        assert isinstance(self._clock, ICountClock)
        assert self._shift is not None
        now = ((cpu.insns_now() or 0) << self._shift) + self._clock.bias
        slept = self._clock.bias != self._skipped
        if now - self._due > (0 if slept else (1 << self._shift) - 1):
            self.differ(piece, "the timer, in ns,", now, self._due)

    def heard(self, cpu: CPUState, event: ev.Event, piece: Piece) -> None:
        """Once a device has set the flag in mid-block, no further block passes its test; and a
        block that was removed may end, but not begin again, by whatever link."""
        if isinstance(event, ev.FlagSet) and event.why == "interrupt":
            # An armed timer raises from a thread of its own: that event has no exact place.
            if self._prompt and cpu.stamp is not None and self._clock.deadline() is None:
                self._flag_ring = event.ring
        elif isinstance(event, ev.LineRaised):
            if event.line == "mtip" and event.level and cpu.stamp is None and self._timed:
                self._check_deadline(cpu, piece)
        elif isinstance(event, ev.BlockInvalidated):
            self._removed[event.tb] = event.ring
        elif isinstance(event, ev.FlagCleared):
            self._flag_ring = None  # it went up in the loop, or the loop has come back already
        elif isinstance(event, ev.LoopExit) and self._flag_ring is not None:
            late, self._flag_ring = event.ring - self._flag_ring, None
            self.counts["flags"] += 1
            if late:
                self.differ(piece, "blocks begun after the flag was set", late, 0)
        if isinstance(event, ev.LoopExit) and self._removed:
            first = max(min(self._removed.values()), cpu.recorder.lost(event.ring))
            for ring, number in enumerate(cpu.recorder.blocks(first, event.ring), first):
                if ring >= self._removed.get(number, ring + 1):
                    self.differ(piece, f"block {number}, which was removed,", "run again", "gone")
            self.counts["removed blocks"] += len(self._removed)
            self._removed.clear()

    def follow(self, piece: Piece) -> None:
        """The most urgent interrupt is taken first; and under icount, time is the number of
        instructions."""
        if piece.trap is not None and piece.trap.interrupt:
            pending = piece.after["mip"] & piece.before["mie"]
            first = next((cause for cause in _PRIORITY if pending >> cause & 1), None)
            if piece.trap.mcause != (1 << 63) + (first or 0):
                self.differ(piece, "the interrupt taken", piece.trap.mcause & 0xFF, str(first))
            self.counts["interrupts"] += 1
        if self._shift is None or not isinstance(self._clock, ICountClock):
            return
        for access in piece.accesses:
            # QEMU charges a block before it runs: the access's own instruction is in it.
            ns = (access.insns + 1 << self._shift) + self._skipped
            if access.addr == MTIME and access.size == 8 and not access.write and not self._set:
                self.counts["clock reads"] += 1
                if access.value != ns // _NS_PER_TICK:
                    self.differ(piece, "mtime", access.value, ns // _NS_PER_TICK)
            elif MTIMECMP <= access.addr < MTIMECMP + 8 and access.write:
                shift = 8 * (access.addr - MTIMECMP)
                mask = (1 << 8 * access.size) - 1 << shift
                self._mtimecmp = self._mtimecmp & ~mask | access.value << shift & mask
                self._due = ns + max(0, self._mtimecmp - ns // _NS_PER_TICK) * _NS_PER_TICK
            elif access.addr >> 3 == MTIME >> 3 and access.write:
                self._timed, self._set = False, True

    def finish(self, memory: AddressSpace, piece: Piece) -> None:
        pass

    def expect(self, guest: Guest, machine: Machine, result: RunResult, piece: Piece) -> None:
        """A bundled guest that ends by itself: what it prints and returns."""
        if guest.exit_code is None or result.reason is StopReason.MAX_INSNS:
            return
        if result.reason is StopReason.TIMEOUT:
            return  # the report says that it was not over
        if result.reason is not StopReason.EXIT:
            self.differ(piece, "the end", f"{result.reason.value}: {result.detail}", "exit")
        if result.exit_code != guest.exit_code:
            self.differ(piece, "the exit code", result.exit_code, guest.exit_code)
        mechanisms = machine.mechanisms
        io_last = mechanisms.io_last or mechanisms.max_block_insns == 1 or self._shift is not None
        expected = guest.console_io_last if io_last else None
        if guest.console_io_last is not None and mechanisms.irq_check not in AT_BLOCKS:
            return  # it prints where interrupts were taken
        if machine.console != (expected or guest.console):
            self.differ(piece, "the console", repr(machine.console), repr(guest.console))
        self.counts["consoles"] += 1

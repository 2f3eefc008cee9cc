"""A guest on tcglite, and oracles that follow it one piece behind.

The follower listens to the machine's events, in the thread that runs the guest. Each time the
machine is in its loop, it hands over what happened since the last time; so oracles see a live
machine, with interrupts from wherever they come, and nothing has to be stored. The finer grains
take the machine's switches for it: "block" runs every block from the loop, "insn" translates one
instruction at a time (QEMU: -accel tcg,one-insn-per-tb).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import guests
from ..accel.cpu import CPUState
from ..accel.mechanisms import Mechanisms
from ..accel.tb import TranslationBlock
from ..errors import UsageError, seconds, shown, whole
from ..machine import Machine, StopReason
from ..trace import events as ev
from .oracle import INTERRUPT, STATE_WORDS, Access, Diverged, Oracle, Piece, State, Trap
from .report import Report, describe
from .rules import Rules

FOLLOWERS = ("unicorn", "spike")  #: oracles that can follow a running machine
GRAINS = ("piece", "block", "insn")
_WANTED: frozenset[type[ev.Event]] = frozenset((
    ev.LoopExit, ev.DeviceAccess, ev.ExceptionRaised, ev.InterruptTaken, ev.BlockTranslated,
    ev.FlagSet, ev.FlagCleared, ev.BlockInvalidated, ev.LineRaised,
))  # fmt: skip
Raise = tuple[str, int, str]  #: at the n-th (1, 2, …) event of a class, raise a line


def grained(mechanisms: Mechanisms, grain: str) -> Mechanisms:
    """The switches for a grain of comparison."""
    if grain not in GRAINS:
        raise UsageError(f"grain={shown(grain)}; expected one of {', '.join(GRAINS)}")
    if grain == "piece":
        return mechanisms
    mechanisms = replace(mechanisms, chain=False, goto_ptr=False)
    return replace(mechanisms, max_block_insns=1) if grain == "insn" else mechanisms


def raise_on_events(machine: Machine, at: Iterable[Raise]) -> None:
    """Have lines raised from inside events, in the hart's own thread: at a place in the loop that
    no instruction number names, like between the look at the flag and that at the requests."""
    waiting = list(at)
    for name, count, line in waiting:
        if not isinstance(getattr(ev, name, None), type):
            raise UsageError(f"at={shown(name)}: there is no event of that name")
        whole("at: number of the event", count, 1)
        machine.board.check_line(line)
    seen: dict[str, int] = {}

    def listener(event: ev.Event) -> None:
        name = type(event).__name__
        seen[name] = seen.get(name, 0) + 1
        for raise_ in [r for r in waiting if r[:2] == (name, seen[name])]:
            waiting.remove(raise_)  # first: raising makes events
            machine.board.set_irq(raise_[2], 1)

    if waiting:
        machine.recorder.listen(listener)


class Follower:
    """Leads ``oracles`` after a stopped machine, from where it stands now on. ``say``: called with
    a line about twice a second."""

    def __init__(
        self, machine: Machine, oracles: Sequence[Oracle], grain: str = "piece",
        say: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.cpu: CPUState = machine._cpu
        self.oracles = oracles
        self.grain = grain
        self.diverged: Diverged | None = None
        self._looked = True  # is the machine in its loop?
        self._say = say
        self._began = self._said = time.monotonic()
        self._words = self.cpu.words[:STATE_WORDS]
        self._bases = {device.name: base for base, _, device in machine.memory.windows}
        self._accesses: list[Access] = []
        self._block: TranslationBlock | None = None
        self.insns = self.cpu.insns_now() or 0
        self._state = self._now()
        self.last = Piece(self.insns, self.insns, self._state, self._state)
        for oracle in oracles:
            oracle.begin(self._state, machine.memory)
        self._hearers = _overriding(oracles, "heard")
        self._enterers = _overriding(oracles, "entered")
        machine.recorder.listen(self._listen, _WANTED)
        self.cpu.on_exec = self._entered

    def _now(self) -> State:
        return State(self._words)

    def _entered(self, what: str, tb: Any) -> None:
        """The loop enters a block."""
        if what != "trace" or self.diverged is not None:
            return
        self._block = tb
        looked, self._looked = self._looked, False
        if looked:  # else it is host code that looks up where an indirect jump leads
            try:
                for oracle in self._enterers:
                    oracle.entered(self.cpu, tb, self.last)
            except Diverged as found:
                self.diverged = found
                raise

    def _listen(self, event: ev.Event) -> None:
        if self.diverged is None:
            try:
                self._take(event)
            except Diverged as found:
                self.diverged = found
                raise

    def _take(self, event: ev.Event) -> None:
        insns = event.insns or 0
        if isinstance(event, ev.LoopExit):
            self._looked = True
            self._piece(insns, None)
        elif isinstance(event, ev.DeviceAccess):
            addr = self._bases[event.device] + event.offset
            self._accesses.append(Access(insns, addr, event.size, event.value, event.write))
        elif isinstance(event, ev.ExceptionRaised):
            self._piece(insns, Trap(event.cause, event.epc, event.tval))
        elif isinstance(event, ev.InterruptTaken):
            self._piece(insns, Trap(event.cause | INTERRUPT, event.epc, 0))
        elif isinstance(event, ev.BlockTranslated):
            for oracle in self.oracles:
                oracle.translated(self.cpu.tbs.by_number[event.tb], self.last)
        if threading.get_ident() == self.cpu.thread:
            for oracle in self._hearers:
                oracle.heard(self.cpu, event, self.last)

    def _piece(self, insns: int, trap: Trap | None) -> None:
        """The machine is in its loop, ``insns`` instructions after reset."""
        if insns == self.insns and trap is None and not self._accesses:
            return
        state = self._now()
        block = self._block if self.grain != "piece" else None
        piece = Piece(self.insns, insns, self._state, state, self._accesses, trap, block)
        self.insns, self._state, self._accesses, self.last = insns, state, [], piece
        for oracle in self.oracles:
            oracle.follow(piece)
        if self._say is not None and (now := time.monotonic()) - self._said > 0.5:
            self._said = now
            self._say(f"{insns:,} instructions, {now - self._began:.0f} s")

    def finish(self, machine: Machine) -> None:
        """The run has ended: compare what is left."""
        self._piece(self.cpu.insns_now() or 0, None)
        for oracle in self.oracles:
            oracle.finish(machine.memory, self.last)


def _overriding(oracles: Sequence[Oracle], name: str) -> list[Oracle]:
    """Those that want to be told."""
    return [o for o in oracles if getattr(type(o), name) is not getattr(Oracle, name)]


def make_oracle(name: str, machine: Machine, grain: str) -> Oracle:
    """The oracle of that name; TcgliteError that says what to install if it cannot be had."""
    if name == "unicorn":
        from .unicorn import UnicornOracle

        return UnicornOracle(machine.mechanisms.max_block_insns, edges=grain != "piece")
    if name == "spike":
        from .spike import SpikeOracle

        return SpikeOracle()
    raise UsageError(f"against={shown(name)}; expected {' or '.join(FOLLOWERS)}")


def check_guest(
    guest: Any,
    against: Sequence[str] = ("unicorn",),
    *,
    backend: str = "auto",
    mechanisms: Mechanisms | None = None,
    icount: int | None = None,
    irq: Iterable[tuple[int, str]] = (),
    at: Iterable[Raise] = (),
    stdin: str | None = None,
    memory: str | int = "8M",
    start: int = 0,
    max_insns: int | None = None,
    timeout: float | None = 60.0,
    grain: str = "piece",
    say: Callable[[str], None] | None = None,
) -> list[Report]:
    """Run ``guest`` (bundled name, file, assembled program) beside the oracles ``against``; a
    report for each, and first one for the rules that hold without an oracle (``rules.py``).

    irq: (n, line) pairs for ``raise_at``. at: lines raised at events. stdin: what to type; None:
    what the catalogue says. start: the first instruction to compare. max_insns: instructions to
    compare. grain: compare where the machine comes back to its loop ("piece"), after each block,
    or after each instruction. say: called with a line about twice a second.
    """
    info = guests.info(guest) if isinstance(guest, str) and guest in guests.names() else None
    name = info.name if info else Path(guest).name if isinstance(guest, str | Path) else "program"
    mechanisms = Mechanisms() if mechanisms is None else mechanisms
    raises, arrivals, limit = list(irq), list(at), seconds("timeout", timeout)
    with Machine(
        guests.find(guest) if isinstance(guest, str) else guest,
        backend=backend, mechanisms=grained(mechanisms, grain), icount=icount, memory=memory,
        trace="blocks",
    ) as m:  # fmt: skip
        m.recorder.mode, m.recorder.kinds = None, frozenset()  # the ring is wanted, no events
        for n, line in raises:
            m.raise_at(n, line)
        raise_on_events(m, arrivals)
        m.uart.type(stdin if stdin is not None else info.stdin if info else "")
        m.inputs_open = lambda: False
        if start and m.run(max_insns=start, timeout=limit).reason is not StopReason.MAX_INSNS:
            raise UsageError(f"start={start}: {name} ends before that; expected a smaller number")
        rules = Rules(m, timer="mtip" not in [line for *_, line in (*raises, *arrivals)])
        oracles = [rules, *(make_oracle(wanted, m, grain) for wanted in against)]
        try:
            follower = Follower(m, oracles, grain, say)
            began = time.perf_counter()
            result = None
            try:
                result = m.run(max_insns=max_insns, timeout=limit)
                follower.finish(m)
                if info and not (raises or arrivals or stdin):
                    rules.expect(info, m, result, follower.last)
            except Diverged as error:
                follower.diverged = error
        finally:
            for oracle in oracles:
                oracle.close()
        spent = time.perf_counter() - began
        found = follower.diverged.divergence if follower.diverged else None
        return [
            Report(
                name, oracle.name, m.backend, oracle.version, describe(mechanisms, icount, grain),
                follower.insns - start, spent, oracle.counts, oracle.notes,
                ended=result.reason.value if result else "diverged",
                divergence=found if found and found.oracle == oracle.name else None,
            )
            for oracle in oracles
        ]  # fmt: skip

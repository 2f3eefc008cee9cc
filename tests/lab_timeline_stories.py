"""Event lists written by hand: what a machine would record in the situations that the timeline
has a sign for. Used by the tests of the timeline only."""

from __future__ import annotations

from tcglite.trace import events as ev
from tcglite.trace.events import Event

RAM = 0x8000_0000
LOOP, STEP, HANDLER, BACK = RAM + 0x40, RAM + 0x5C, RAM + 0x100, RAM + 0x118


class Tape:
    """Writes events, and keeps the counts that each must carry."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.insns = 0
        self.ring = 0
        self.blocks: dict[int, tuple[int, int]] = {}  # tb -> pc, instructions

    def add(self, kind: type[Event], at: int | None = None, **fields: object) -> None:
        insns = self.insns if at is None else at
        time = 1.0 + insns * 1e-6
        self.events.append(kind(insns=insns, time=time, ring=self.ring, **fields))  # type: ignore[arg-type]

    def translate(self, tb: int, pc: int, count: int, full: bool = True) -> None:
        self.blocks[tb] = (pc, count)
        self.add(ev.BlockTranslated, tb=tb, pc=pc, count=count, full=full)

    def run(self, tb: int, entry: str = "chain", executed: int | None = None) -> int:
        """The block runs; returns the number of its first instruction."""
        pc, count = self.blocks[tb]
        start = self.insns
        done = count if executed is None else executed
        self.add(ev.BlockRun, tb=tb, pc=pc, count=count, executed=done, entry=entry)
        self.ring += 1
        self.insns += done
        return start

    def lose(self, blocks: int, insns: int) -> None:
        """The ring has lost these."""
        self.add(ev.BlocksLost, count=blocks)
        self.ring += blocks
        self.insns += insns

    def leave(self, reason: str, tb: int | None = None, slot: int | None = None) -> None:
        self.add(ev.LoopExit, reason=reason, tb=tb, slot=slot)

    def refuse(self, tb: int, cause: str = "flag") -> None:
        pc, count = self.blocks[tb]
        self.add(ev.Refused, tb=tb, pc=pc, count=count, cause=cause)
        self.leave("refused", tb)

    def kick(self, line: str, at: int | None = None) -> None:
        self.add(ev.LineRaised, at, line=line, level=1)
        self.add(ev.FlagSet, at, why="interrupt")

    def take(self, cause: int, epc: int) -> None:
        self.add(ev.FlagCleared)
        self.add(ev.InterruptTaken, cause=cause, epc=epc, vector=HANDLER)


def warm(tape: Tape, rounds: int = 4) -> None:
    """A (7 instructions) and B (1): translated, patched, then chained to each other."""
    tape.add(ev.Reset, pc=LOOP)
    tape.add(ev.EnableChanged, enabled=True, mie=0x80)
    tape.translate(1, LOOP, 7)
    tape.run(1, "loop")
    tape.leave("slot", 1, 0)
    tape.translate(2, STEP, 1)
    tape.add(ev.ChainPatched, src=1, slot=0, dst=2)
    tape.run(2, "loop")
    tape.leave("slot", 2, 0)
    tape.add(ev.ChainPatched, src=2, slot=0, dst=1)
    tape.run(1, "loop")
    tape.run(2)
    chained(tape, rounds)


def chained(tape: Tape, rounds: int) -> None:
    for _ in range(rounds):
        tape.run(1)
        tape.run(2)


def handler(tape: Tape, first: bool = True, line: str = "mtip", back: int = 2) -> None:
    """C and D, then mret, and the loop finds the refused block again."""
    if first:
        tape.translate(3, HANDLER, 6)
    tape.run(3, "loop")
    if first:
        tape.leave("slot", 3, 0)
        tape.translate(4, BACK, 4)
        tape.add(ev.ChainPatched, src=3, slot=0, dst=4)
    tape.add(ev.LineRaised, line=line, level=0)
    tape.run(4, "loop" if first else "chain")
    tape.add(ev.TrapReturn, pc=STEP, priv=3)
    tape.leave("none", 4)
    tape.run(back, "loop")


def first_interrupt() -> list[Event]:
    """A chained loop; the timer in mid-block; B refuses; the handler; B runs after all."""
    tape = Tape()
    warm(tape)
    start = tape.run(1)
    tape.kick("mtip", start + 3)
    tape.refuse(2)
    tape.take(7, STEP)
    handler(tape)
    chained(tape, 2)
    return tape.events


def lost() -> list[Event]:
    """The ring was too small: of the first interrupt only the events are left."""
    tape = Tape()
    tape.add(ev.Reset, pc=LOOP)
    tape.add(ev.EnableChanged, enabled=True, mie=0x80)
    for tb, pc, count in ((1, LOOP, 7), (2, STEP, 1), (3, HANDLER, 6), (4, BACK, 4)):
        tape.translate(tb, pc, count)
        tape.lose(1, count)
        tape.leave("slot", tb, 0)
    tape.lose(900, 3600)
    tape.kick("mtip", tape.insns - 4)
    tape.refuse(2)
    tape.take(7, STEP)
    tape.lose(2, 10)
    tape.add(ev.LineRaised, line="mtip", level=0)
    tape.add(ev.TrapReturn, pc=STEP, priv=3)
    tape.leave("none")
    tape.lose(60, 240)
    chained(tape, 2)
    start = tape.run(1)
    tape.kick("mtip", start + 3)
    tape.refuse(2)
    tape.take(7, STEP)
    handler(tape, first=False)
    tape.run(1)
    return tape.events


def masked() -> list[Event]:
    """Raised while masked: refused once, looked at, waits; taken when the guest unmasks."""
    tape = Tape()
    warm(tape, 1)
    tape.translate(5, RAM + 0x60, 2)
    tape.leave("slot", 2, 1)
    tape.run(5, "loop")
    tape.add(ev.EnableChanged, enabled=False, mie=0x80)
    tape.leave("none", 5)
    start = tape.run(1, "loop")
    tape.kick("mtip", start + 2)
    tape.refuse(2)
    tape.add(ev.FlagCleared)
    tape.add(ev.InterruptLooked, pending=0x80, enabled=0)
    tape.run(2, "loop")
    chained(tape, 3)
    tape.leave("slot", 2, 1)
    tape.translate(6, RAM + 0x68, 2)
    tape.run(6, "loop")
    tape.add(ev.EnableChanged, enabled=True, mie=0x80)
    tape.leave("none", 6)
    tape.add(ev.InterruptTaken, cause=7, epc=LOOP, vector=HANDLER)
    handler(tape, back=1)
    tape.run(2)
    return tape.events


def by_the_loop() -> list[Event]:
    """The edge is not yet patched: the loop notices before it enters the next block."""
    tape = Tape()
    tape.add(ev.EnableChanged, enabled=True, mie=0x80)
    tape.translate(1, LOOP, 7)
    start = tape.run(1, "loop")
    tape.kick("msip", start + 5)
    tape.leave("slot", 1, 0)
    tape.take(3, STEP)
    handler(tape, line="msip", back=1)
    return tape.events


def deadline() -> list[Event]:
    """icount: A does not fit into the budget, its first two instructions run as a short block."""
    tape = Tape()
    warm(tape, 2)
    tape.add(ev.IcountRefill, low=10, extra=0)
    tape.run(1)
    tape.run(2)
    tape.refuse(1, "budget")
    tape.add(ev.DeadlineCut, tb=1, count=7, keep=2)
    tape.translate(9, LOOP, 2, full=False)
    tape.run(9, "loop")
    tape.leave("none", 9)
    tape.add(ev.LineRaised, line="mtip", level=1)
    tape.add(ev.FlagSet, why="interrupt")
    tape.take(7, LOOP + 8)
    handler(tape)
    return tape.events


def io_recompile() -> list[Event]:
    """icount: a device read in mid-block is rewound and runs alone; then the rest."""
    tape = Tape()
    warm(tape, 1)
    tape.run(1, executed=3)
    tape.add(ev.StateRestored, tb=1, host_pc=0x7F00_1234, guest_pc=LOOP + 12, undone=4)
    tape.add(ev.IoRecompile, tb=1, guest_pc=LOOP + 12)
    tape.leave("exception", 1)
    tape.translate(7, LOOP + 12, 1, full=False)
    tape.run(7, "loop")
    tape.add(ev.DeviceAccess, device="clint", offset=0xBFF8, size=8, value=0x2A, write=False)
    tape.leave("none", 7)
    tape.translate(8, LOOP + 16, 3)
    tape.run(8, "loop")
    tape.leave("slot", 8, 0)
    tape.run(2, "loop")
    tape.run(1)
    return tape.events


def ecall() -> list[Event]:
    """A system call: no flag, no refusal; the block ends there."""
    tape = Tape()
    tape.add(ev.EnableChanged, enabled=True, mie=0x80)
    tape.translate(1, LOOP, 5)
    tape.run(1, "loop", executed=4)
    tape.leave("exception", 1)
    tape.add(
        ev.ExceptionRaised, cause=8, epc=LOOP + 16, tval=0, vector=HANDLER, expected=True
    )
    tape.translate(3, HANDLER, 6)
    tape.run(3, "loop")
    tape.add(ev.TrapReturn, pc=LOOP + 20, priv=0)
    tape.leave("none", 3)
    tape.translate(2, STEP, 3)
    tape.run(2, "loop")
    return tape.events


def fault() -> list[Event]:
    """A load in mid-block faults: the guest pc is found from the host pc."""
    tape = Tape()
    warm(tape, 1)
    tape.run(1, executed=2)
    tape.add(ev.StateRestored, tb=1, host_pc=0x7F12_34A6, guest_pc=LOOP + 8, undone=5)
    tape.leave("exception", 1)
    tape.add(
        ev.ExceptionRaised, cause=5, epc=LOOP + 8, tval=0x10, vector=HANDLER, expected=False
    )
    tape.translate(3, HANDLER, 6)
    tape.run(3, "loop")
    tape.add(ev.TrapReturn, pc=LOOP + 12, priv=3)
    tape.leave("none", 3)
    tape.translate(6, LOOP + 12, 4)
    tape.run(6, "loop")
    tape.leave("slot", 6, 0)
    tape.run(2, "loop")
    tape.run(1)
    return tape.events


def selfmod() -> list[Event]:
    """The guest overwrites the code of A: dropped, and translated again as A′."""
    tape = Tape()
    warm(tape, 1)
    tape.translate(5, RAM + 0x200, 4)
    tape.leave("slot", 2, 1)
    tape.run(5, "loop")
    tape.add(ev.BlockInvalidated, tb=1, addr=LOOP + 4)
    tape.add(ev.ChainUnpatched, src=2, slot=0, dst=1)
    tape.leave("slot", 5, 0)
    tape.translate(6, LOOP, 7)
    tape.run(6, "loop")
    tape.run(2, "goto_ptr")
    tape.run(6, "loop")
    return tape.events


def nested() -> list[Event]:
    """A second interrupt while the handler of the first runs, and wfi before it."""
    tape = Tape()
    warm(tape, 1)
    tape.leave("none", 2)
    tape.add(ev.Halted, pc=STEP)
    tape.add(ev.LineRaised, line="plic:10", level=1)
    tape.add(ev.LineRaised, line="meip", level=1)
    tape.add(ev.FlagSet, why="interrupt")
    tape.add(ev.Woken, pending=0x800)
    tape.take(11, STEP)
    tape.translate(3, HANDLER, 6)
    start = tape.run(3, "loop")
    tape.add(ev.EnableChanged, enabled=True, mie=0x80)
    tape.kick("mtip", start + 4)
    tape.leave("slot", 3, 0)
    tape.take(7, BACK)
    tape.translate(8, HANDLER + 0x40, 5)
    tape.run(8, "loop")
    tape.add(ev.LineRaised, line="mtip", level=0)
    tape.add(ev.TrapReturn, pc=BACK, priv=3)
    tape.leave("none", 8)
    tape.translate(4, BACK, 4)
    tape.run(4, "loop")
    tape.add(ev.LineRaised, line="meip", level=0)
    tape.add(ev.LineRaised, line="plic:10", level=0)
    tape.add(ev.TrapReturn, pc=STEP, priv=3)
    tape.leave("none", 4)
    tape.run(2, "loop")
    tape.run(1)
    return tape.events


def repeats(rounds: int = 400) -> list[Event]:
    """Some hundreds of blocks with three interrupts: run-length coded."""
    tape = Tape()
    warm(tape, rounds // 4)
    for number in range(3):
        start = tape.run(1)
        tape.kick("mtip", start + 2 + number)
        tape.refuse(2)
        tape.take(7, STEP)
        handler(tape, first=number == 0)
        chained(tape, rounds // 4)
    return tape.events


def far(rounds: int = 40) -> list[Event]:
    """Nobody looks at the flag for a long time: taken many blocks after it was raised."""
    tape = Tape()
    warm(tape)
    start = tape.run(1)
    tape.kick("mtip", start + 3)
    tape.run(2)
    chained(tape, rounds)
    tape.leave("none")
    tape.take(7, LOOP)
    handler(tape, back=1)
    chained(tape, 200)
    return tape.events


def crowd(blocks: int = 12_000, interrupts: int = 40) -> list[Event]:
    """More blocks than can be drawn."""
    tape = Tape()
    warm(tape, 1)
    for k in range(9):
        tape.translate(20 + k, RAM + 0x1000 + 64 * k, 3 + k)
    first = True
    for number in range(interrupts):
        for k in range(blocks // interrupts // 2):
            tape.run(1)
            tape.run(20 + (k * k + number // 6) % 9 if k % 3 else 2)
        start = tape.run(1)
        tape.kick("mtip", start + number % 7)
        tape.refuse(2)
        tape.take(7, STEP)
        handler(tape, first=first)
        first = False
    return tape.events


STORIES = {
    "first_interrupt": first_interrupt,
    "lost": lost,
    "masked": masked,
    "by_the_loop": by_the_loop,
    "deadline": deadline,
    "io_recompile": io_recompile,
    "ecall": ecall,
    "fault": fault,
    "selfmod": selfmod,
    "nested": nested,
    "repeats": repeats,
}

"""Reads a machine's events into a :class:`Story`. Nothing here knows a coordinate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tcglite.lab.timeline.names import (
    Letters,
    device_text,
    exception_name,
    interrupt_name,
    line_cause,
)
from tcglite.lab.timeline.story import (
    Change,
    Gap,
    Ghost,
    Handler,
    Journey,
    Mark,
    Note,
    Point,
    Run,
    Story,
    Visit,
    cells_of,
    learn,
)
from tcglite.trace import events as ev


def read(events: Iterable[ev.Event], letters: Letters | None = None, hart: int = 0) -> Story:
    """The story of one hart. ``letters``: keep blocks' names from one picture to the next."""
    mine = [event for event in events if event.hart == hart]
    reader = _Reader(learn(letters, mine))
    for event in mine:
        reader.take(event)
    return reader.finish()


class _Reader:
    def __init__(self, letters: Letters) -> None:
        self.story = Story(letters)
        self.next_i = 0  # instructions retired after the last run
        self.visit: Visit | None = None  # the open visit to the loop
        self.last_run: int | None = None  # its part number; a gap's, if nothing was recorded
        self.pinned = -1  # something stands on the parts up to this one
        self.open: dict[int | None, Journey] = {}  # by cause: raised, not yet taken
        self.high: set[str] = set()
        self.enabled: bool | None = None
        self.stack: list[tuple[Handler, bool | None]] = []
        self.waiting: dict[int, list[int]] = {}  # tb -> ghosts without their next real run
        self.cuts: list[Mark] = []  # deadline cuts whose short block has not run yet
        self.is_cut: dict[int, bool] = {}
        self.refusing: ev.LoopExit | None = None  # left for a refusal that comes next
        handlers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.BlockRun: self.ran,
            ev.BlocksLost: self.blocks_lost,
            ev.BlockTranslated: self.translated,
            ev.LoopExit: self.loop_exit,
            ev.Refused: self.refused,
            ev.ChainPatched: self.patched,
            ev.LineRaised: self.line,
            ev.FlagSet: self.flag,
            ev.FlagCleared: self.flag_cleared,
            ev.InterruptLooked: self.looked,
            ev.EnableChanged: self.enable_changed,
            ev.InterruptTaken: self.taken,
            ev.ExceptionRaised: self.exception,
            ev.TrapReturn: self.trap_return,
            ev.StateRestored: self.restored,
            ev.BlockInvalidated: self.invalidated,
            ev.BlocksFlushed: self.flushed,
            ev.IcountRefill: self.refill,
            ev.DeadlineCut: self.deadline_cut,
            ev.IoRecompile: self.io_recompile,
            ev.DeviceAccess: self.device,
            ev.Halted: self.halted,
            ev.Woken: self.woken,
            ev.Reset: self.reset,
        }
        self.handlers = handlers

    def take(self, event: ev.Event) -> None:
        if self.refusing is not None and not isinstance(event, ev.Refused):
            self.in_loop(self.refusing).reason = "refused"
            self.refusing = None
        handler = self.handlers.get(type(event))
        if handler is not None:  # a patch undone shows in what follows it
            handler(event)

    def finish(self) -> Story:
        for mark in self.cuts:  # nothing ran after the cut
            self.add_mark(mark)
        story = self.story
        # A cut is met before its block runs, but is shown at that block's end.
        order = sorted(range(len(story.marks)), key=lambda k: self.moment(story.marks[k]))
        place = {old: new for new, old in enumerate(order)}
        story.marks = [story.marks[k] for k in order]
        for journey in story.journeys:
            journey.marks = sorted(place[k] for k in journey.marks)
        story.cells = cells_of(story.parts)
        return story

    # Where are we?

    def moment(self, mark: Mark) -> tuple[int, float]:
        """For sorting; what happened in one visit keeps its order."""
        inside = isinstance(self.story.parts[mark.at.part], Run | Gap)
        return (mark.at.part, mark.at.offset if inside else 0)

    def in_loop(self, event: ev.Event) -> Visit:
        """The open visit to the loop, opened if need be."""
        if self.visit is None:
            i = self.next_i if event.insns is None else event.insns
            self.reach(event)
            self.visit = Visit(i=i)
            self.story.parts.append(self.visit)
        return self.visit

    def here(self, event: ev.Event, fraction: float = 0.5) -> Point:
        """The moment of an event: inside the running block, or in the open visit."""
        parts = self.story.parts
        if not parts:
            self.in_loop(event)
        self.reach(event)
        i = self.next_i if event.insns is None else event.insns
        number = len(parts) - 1
        part = parts[number]
        self.pinned = max(self.pinned, number)
        if not isinstance(part, Run | Gap):
            return Point(number, fraction, i, event.insns is not None)
        insns = self.story.insns(part)
        if event.insns is None:
            return Point(number, insns / 2, part.i, known=False)
        return Point(number, min(max(event.insns - part.i, 0), insns), i)

    def raised(self, event: ev.Event) -> Point:
        """The moment of a kick. Where the test comes after the instructions, the loop hears of it
        before it is written down; but it happened inside the block before, which broke off or
        left because of it."""
        visit, number = self.visit, self.last_run
        if visit is not None and number == len(self.story.parts) - 2 and event.insns is not None:
            run = self.story.parts[number]
            if isinstance(run, Run):
                broke_off = run.executed < run.count and not visit.sleep
                at_end = event.insns == visit.i and visit.reason == "none" and broke_off
                if event.insns < visit.i or at_end:
                    offset = min(max(event.insns - run.i, 0), run.executed)
                    return Point(number, offset, event.insns)
        return self.here(event, 0.25)

    def reach(self, event: ev.Event) -> None:
        """A gap in which this happens is at least as long as that."""
        gap = self.story.parts[-1] if self.story.parts else None
        if isinstance(gap, Gap) and event.insns is not None:
            if gap.i < 0:  # the recording begins with it: only now is known where
                gap.i = event.insns
            gap.lost = max(gap.lost, event.insns - gap.i)
            self.next_i = gap.i + gap.lost

    def run_end(self, event: ev.Event) -> Point:
        """The last instruction of the running block, where helpers that end it are shown."""
        at = self.here(event)
        part = self.story.parts[at.part]
        if isinstance(part, Run):
            at.offset = part.executed
        return at

    def stopped_in(self, event: ev.Event) -> Point:
        """Where the last run broke off, if it did; else here."""
        if self.last_run is not None:
            run = self.story.parts[self.last_run]
            insns = self.story.insns(run)
            if isinstance(run, Gap) or (isinstance(run, Run) and insns < run.count):
                return Point(self.last_run, insns, run.i + insns)
        return self.run_end(event)

    def where(self, at: Point) -> str:
        """``in A 3/7`` or ``in the loop``."""
        part = self.story.parts[at.part]
        if isinstance(part, Gap):
            return "in a block that was not recorded"
        if not isinstance(part, Run):
            return "in the loop"
        name = self.story.name(part)
        return f"in {name} {at.offset:g}/{part.count}" if at.known else f"in {name}"

    def add_mark(self, mark: Mark, journey: Journey | None = None) -> None:
        if journey is not None:
            mark.number = journey.number
            journey.marks.append(len(self.story.marks))
        self.story.marks.append(mark)

    def journey(self, cause: int | None) -> Journey:
        """The open journey of this cause, or a new one."""
        found = self.open.get(cause)
        if found is None:
            found = Journey(len(self.story.journeys) + 1, cause)
            self.story.journeys.append(found)
            self.open[cause] = found
        return found

    # Blocks and the loop

    def ran(self, event: ev.BlockRun) -> None:
        parts = self.story.parts
        self.reach(event)
        i = self.next_i if event.insns is None else event.insns
        if parts and isinstance(gap := parts[-1], Gap):
            gap.lost = max(i - gap.i, 0)  # what others said was rounded up to whole blocks
            self.next_i = i
        if event.entry == "loop":
            self.in_loop(event)
        if self.visit is not None:
            self.visit.found = True
        if parts and i != self.next_i and self.last_run is not None:
            parts.append(Gap(max(i - self.next_i, 0), self.next_i))
            self.waiting.clear()
        cut = self.is_cut.get(event.tb)
        if cut is None:
            cut = self.is_cut[event.tb] = "[" in self.story.letters.name(event.tb)
        parts.append(Run(event.tb, event.pc, event.count, event.executed, event.entry, i, cut))
        self.visit = None
        self.last_run = len(parts) - 1
        self.next_i = i + event.executed
        for ghost in self.waiting.pop(event.tb, ()):
            self.story.arcs.append((ghost, self.last_run))
        for mark in self.cuts:
            mark.at = Point(self.last_run, event.executed, self.next_i)
            self.add_mark(mark)
        self.cuts = []

    def blocks_lost(self, event: ev.BlocksLost) -> None:
        """The gap before goes on if nothing stands on the visit that came between."""
        parts = self.story.parts
        gap = parts[-1] if parts else None
        if len(parts) > 1 and isinstance(gap, Visit) and self.pinned < len(parts) - 1:
            before = parts[-2]
            if isinstance(before, Gap):
                parts.pop()
                before.visits += 1
                gap = before
        if not isinstance(gap, Gap):
            gap = Gap(0, self.next_i if parts or event.insns is not None else -1, 0)
            parts.append(gap)
        gap.blocks = (gap.blocks or 0) + event.count
        self.visit = None
        self.waiting.clear()  # they may have run here
        self.last_run = len(parts) - 1

    def translated(self, event: ev.BlockTranslated) -> None:
        self.in_loop(event).translated += 1

    def loop_exit(self, event: ev.LoopExit) -> None:
        if event.reason == "refused":
            self.refusing = event  # the ghost stands before the visit that it leads to
        else:
            self.in_loop(event).reason = event.reason

    def refused(self, event: ev.Refused) -> None:
        entry = "chain"
        self.reach(event)
        if self.visit is not None:
            self.visit.found = True
            entry = "loop"
            self.visit = None
        i = self.next_i if event.insns is None else event.insns
        self.story.parts.append(Ghost(event.tb, event.pc, event.count, event.cause, entry, i))
        number = len(self.story.parts) - 1
        self.waiting.setdefault(event.tb, []).append(number)
        flagged = [j for j in self.open.values() if j.flagged]
        why = "" if event.cause == "flag" else ": the budget is too small"
        name = self.story.letters.name(event.tb)
        self.add_mark(
            Mark(
                "refused",
                Point(number, 0, i, event.insns is not None),
                f"{name} refused 0/{event.count}{why}",
            ),
            flagged[-1] if flagged and event.cause == "flag" else None,
        )
        if self.refusing is not None:
            self.in_loop(self.refusing).reason = "refused"
            self.refusing = None

    def patched(self, event: ev.ChainPatched) -> None:
        self.in_loop(event).patched += 1

    # Interrupts

    def line(self, event: ev.LineRaised) -> None:
        at = self.raised(event)
        self.story.lines.append(Change(event.line, event.level, at))
        cause = line_cause(event.line)
        if event.level:
            self.high.add(event.line)
            text = f"line {event.line} raised {self.where(at)}"
            mark = Mark("raised", at, text, lane=event.line)
            self.add_mark(mark, self.journey(cause))
            return
        self.high.discard(event.line)
        if not any(line_cause(line) == cause for line in self.high):
            self.open.pop(cause, None)

    def flag(self, event: ev.FlagSet) -> None:
        at = self.raised(event)
        self.story.strips.append(Change("exit flag", 1, at))
        if event.why != "interrupt":
            self.add_mark(Mark("flag", at, f"exit flag set: {event.why}"))
            return
        fresh = [j for j in self.open.values() if not j.flagged] or list(self.open.values())
        journey = fresh[-1] if fresh else self.journey(None)
        journey.flagged = True
        self.add_mark(Mark("flag", at, "exit flag set"), journey)

    def flag_cleared(self, event: ev.FlagCleared) -> None:
        visit = self.in_loop(event)
        visit.looked = visit.looked or "none"
        self.story.strips.append(Change("exit flag", 0, self.here(event, 0.4)))

    def looked(self, event: ev.InterruptLooked) -> None:
        visit = self.in_loop(event)
        if visit.looked != "none":
            # It looks on each visit while anything is pending; the story is the look after a kick.
            visit.looked = "again"
            return
        visit.looked = "masked"
        causes = [c for c in self.open if c is not None and event.pending >> c & 1]
        journey = self.open[causes[-1]] if causes else None
        pending = [c for c in range(event.pending.bit_length()) if event.pending >> c & 1]
        waits = ", ".join(interrupt_name(c) for c in causes or pending) or "nothing"
        text = f"looked, not enabled: {waits} waits"
        self.add_mark(Mark("looked", self.here(event), text), journey)

    def taken(self, event: ev.InterruptTaken) -> None:
        self.in_loop(event).looked = "taken"
        at = self.here(event)
        if event.cause not in self.open and None in self.open:
            journey = self.open.pop(None)
            journey.cause = event.cause
        else:
            journey = self.journey(event.cause)
            del self.open[event.cause]
        journey.taken = True
        text = f"taken, mepc={self.story.letters.at(event.epc)}"
        name = interrupt_name(event.cause)
        self.add_mark(Mark("taken", at, text, detail=name), journey)
        if self.enabled is None:
            self.set_enabled(True, at)
        self.enter_handler(at, name, True)

    def exception(self, event: ev.ExceptionRaised) -> None:
        self.in_loop(event).exception = True
        at = self.stopped_in(event)
        name = exception_name(event.cause)
        kind = "expected" if event.expected else "unexpected"
        text = f"{name} {self.where(at)}, mepc={event.epc:#x}"
        self.add_mark(Mark(kind, at, text, detail=name))
        self.story.notes.append(Note("trap", at, name))
        self.enter_handler(self.here(event), name, self.enabled)

    def enter_handler(self, at: Point, label: str, enabled: bool | None) -> None:
        handler = Handler(at, None, len(self.stack) + 1, label)
        self.story.handlers.append(handler)
        self.stack.append((handler, enabled))
        self.set_enabled(False, at)

    def trap_return(self, event: ev.TrapReturn) -> None:
        at = self.run_end(event)
        if not self.stack:
            return  # the trap was entered before the recording began
        handler, enabled = self.stack.pop()
        handler.end = at
        if enabled is not None:
            self.set_enabled(enabled, at)

    def enable_changed(self, event: ev.EnableChanged) -> None:
        self.set_enabled(event.enabled, self.here(event))

    def set_enabled(self, enabled: bool, at: Point) -> None:
        """The first value known is taken to hold since the recording began."""
        if self.enabled is None:
            self.enabled = enabled
            start = Point(0, 0.0, self.story.first)
            self.story.strips.append(Change("enabled", int(self.enabled), start))
        if enabled != self.enabled:
            self.enabled = enabled
            self.story.strips.append(Change("enabled", int(enabled), at))

    # Helpers, cuts, and what else happens

    def restored(self, event: ev.StateRestored) -> None:
        text = f"host {event.host_pc:#x} → guest {event.guest_pc:#x}"
        self.story.notes.append(Note("restored", self.stopped_in(event), text))

    def invalidated(self, event: ev.BlockInvalidated) -> None:
        name = self.story.letters.name(event.tb)
        text = f"{name} dropped: its code at {event.addr:#x} changed"
        self.add_mark(Mark("dropped", self.here(event), text, detail=f"{name} dropped"))

    def flushed(self, event: ev.BlocksFlushed) -> None:
        text = f"all blocks dropped: {event.why}"
        self.add_mark(Mark("dropped", self.here(event), text, detail="all dropped"))

    def refill(self, event: ev.IcountRefill) -> None:
        self.in_loop(event).refills += 1

    def deadline_cut(self, event: ev.DeadlineCut) -> None:
        self.in_loop(event)
        name = self.story.letters.name(event.tb)
        text = f"{name} cut to fit the budget: its first {event.keep} of {event.count}"
        self.cuts.append(Mark("cut", self.here(event, 0.7), text, cut=event.keep))

    def io_recompile(self, event: ev.IoRecompile) -> None:
        at = self.stopped_in(event)
        text = f"rewound {self.where(at)}: the device access will run alone"
        self.add_mark(Mark("rewound", at, text))

    def device(self, event: ev.DeviceAccess) -> None:
        text = device_text(event)
        self.story.notes.append(Note("device", self.here(event), text))

    def halted(self, event: ev.Halted) -> None:
        self.in_loop(event).sleep = True
        self.add_mark(Mark("sleep", self.here(event), "wfi: the hart sleeps", detail="wfi"))

    def woken(self, event: ev.Woken) -> None:
        self.in_loop(event).sleep = True
        self.story.notes.append(Note("woken", self.here(event, 0.8), "woken"))

    def reset(self, event: ev.Reset) -> None:
        if not any(isinstance(part, Run) for part in self.story.parts):
            # What led to the first reset is the making of the machine, not its story.
            self.story.marks.clear()
            self.story.journeys.clear()
            self.story.strips.clear()
            self.enabled = None
        self.open.clear()
        self.in_loop(event)
        self.last_run = None  # the count starts again at 0: not a gap
        self.next_i = 0 if event.insns is None else event.insns
        self.set_enabled(False, self.here(event))
        self.add_mark(Mark("reset", self.here(event), f"reset, pc={event.pc:#x}", detail="reset"))

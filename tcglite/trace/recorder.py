"""Keeps events, and merges them with the block records that chained code writes by itself.

Chained blocks never come back to Python, so each block that passed its check appends its number
(and a time stamp, in mode "times") to a ring in memory. Reading puts both into one order: an event
knows how many records had been written before it. What a wrapped ring has lost is said.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from .events import (
    ALL,
    BlockRun,
    BlocksLost,
    BlockTranslated,
    Event,
    ExceptionRaised,
    Halted,
    LoopExit,
    Reset,
    StateRestored,
)

MODES = (None, "events", "blocks", "times")
RING_WORDS = 1 << 18  #: 64-bit words, 2 MB: 262,144 blocks, or 131,072 with times
MAX_EVENTS = 200_000


class Recorder:
    """``mode``: None, "events" (no block records), "blocks", or "times"."""

    def __init__(self, mode: str | None, ring_words: int = RING_WORDS) -> None:
        self.mode = mode
        self.words_each = 2 if mode == "times" else 1
        self.capacity = ring_words // self.words_each if mode in ("blocks", "times") else 0
        self.ring = (ctypes.c_uint64 * (ring_words if self.capacity else 2))()
        self.listeners: list[Callable[[Event], None]] = []
        self.kinds = ALL if mode is not None else frozenset()  # of events that anybody wants
        self.lost_events = 0
        self.seconds: Callable[[Sequence[int]], list[float]] = _seconds  # of time stamps
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._deferred: deque[Event] = deque()
        self._blocks: dict[int, BlockTranslated] = {}

    def emit(self, event: Event) -> None:
        """Keep ``event`` and tell the listeners; callable from any thread."""
        if self._deferred:
            self.settle(event.insns, event.ring)
        self._keep(event)

    def defer(self, event: Event) -> None:
        """Keep ``event`` when its numbers are known: host code runs, and nobody knows how far."""
        self._deferred.append(event)

    @property
    def deferring(self) -> bool:
        """Do events wait for their numbers?"""
        return bool(self._deferred)

    def settle(self, insns: int | None, ring: int) -> None:
        """These are the numbers now: deferred events get them, and keep their own time."""
        while self._deferred:
            try:
                event = self._deferred.popleft()
            except IndexError:  # another thread has just taken the last one
                return
            self._keep(replace(event, insns=insns, ring=ring))

    def _keep(self, event: Event) -> None:
        if event.__class__ is BlockTranslated:
            self._blocks[event.tb] = event
        if self.mode is not None:
            if len(self._events) == MAX_EVENTS:
                self.lost_events += 1
            self._events.append(event)
        for listener in self.listeners:
            listener(event)

    @property
    def enabled(self) -> bool:
        """Does anybody want events?"""
        return bool(self.kinds)

    def listen(
        self, listener: Callable[[Event], None], kinds: frozenset[type[Event]] = ALL
    ) -> None:
        """Have ``listener`` called with each event, in the thread where it happens. ``kinds``: the
        classes that it needs; it may see others, which somebody else wants."""
        self.listeners.append(listener)
        self.kinds |= kinds

    def lost(self, written: int) -> int:
        """Block records overwritten, when ``written`` have been written in all."""
        return max(0, written - self.capacity) if self.capacity else 0

    def events(
        self, written: int, insns_now: int | None, between: tuple[int, int] | None = None
    ) -> list[Event]:
        """Everything kept, in order, or the block records of those numbers (from, to before) and
        the events among them. ``written``: block records so far; ``insns_now``: the machine's
        instruction count, which anchors the blocks if no event does; None where nobody counts.
        Where the ring has lost blocks stands a ``BlocksLost``."""
        start, stop = 0, written
        events = recent = list(self._events)  # at once: others may be adding to them
        if between is not None:
            start, stop = max(0, between[0]), min(written, between[1])
            recent = list(takewhile(lambda event: event.ring >= start, reversed(events)))[::-1]
            events = [event for event in recent if event.ring < stop]
        if not self.capacity:
            return events
        oldest = self.lost(written)
        if self.lost_events:  # how blocks before the first event were entered is not known
            oldest = max(oldest, self._events[0].ring)
        first = min(max(start, oldest), max(start, stop))
        out, at = self._without_blocks(events, start, first)
        numbers, stamps = self._records(first, stop)
        known = self._blocks
        insns = self._anchor(recent[at:], first, written, insns_now)
        clock = out[-1].time if out else 0.0
        from_loop = first == 0
        before = self._records(first - 1, first)[0] if first > oldest else []
        indirect = any(known[number].indirect for number in before)
        open_run: BlockRun | None = None
        position = run_at = first
        for event in (*events[at:], None):
            until = stop if event is None else min(event.ring, stop)
            for ring in range(position, until):
                block = known[numbers[ring - first]]
                entry = "loop" if from_loop else "goto_ptr" if indirect else "chain"
                time = stamps[ring - first] if stamps else clock
                open_run = BlockRun(
                    insns=None if insns_now is None else insns,
                    time=time, ring=ring, tb=block.tb, pc=block.pc,
                    count=block.count, executed=block.count, entry=entry,
                )  # fmt: skip
                out.append(open_run)
                insns += block.count
                from_loop, indirect = False, block.indirect
            if until > position:
                position, run_at = until, len(out) - 1
            if event is None or event.ring > written:
                break
            clock = event.time
            if isinstance(event, LoopExit):
                from_loop = True
                if open_run is not None and event.insns is not None:
                    done = max(0, min(open_run.count, event.insns - (open_run.insns or 0)))
                    if done != open_run.count:
                        out[run_at] = replace(open_run, executed=done)
                    insns = event.insns
                open_run = None
            elif isinstance(event, BlockTranslated):
                from_loop = True  # also where the visit itself is not told: a limit of the run
            elif isinstance(event, Reset):
                insns, open_run = 0, None
            out.append(event)
        return out

    def _without_blocks(
        self, events: list[Event], start: int, first: int
    ) -> tuple[list[Event], int]:
        """The events before the first record that is left, with what was lost between them; and
        how many of ``events`` these are."""
        out: list[Event] = []
        position, at = start, 0
        insns: int | None = None if start or self.lost_events else 0
        time = events[0].time if events else 0.0
        while position < first:
            ring = min(first, events[at].ring) if at < len(events) else first
            if ring > position:
                out.append(BlocksLost(insns=insns, time=time, ring=position, count=ring - position))
                position = ring
            while at < len(events) and events[at].ring <= position < first:
                insns, time = events[at].insns, events[at].time
                out.append(events[at])
                at += 1
        return out, at

    def _records(self, first: int, stop: int) -> tuple[list[int], list[float]]:
        """Block numbers, and times (seconds) if there are any, of the records from ``first``."""
        if first >= stop:
            return [], []
        each = self.words_each
        view = memoryview(self.ring).cast("B").cast("Q")
        start, end = first % self.capacity, (stop - 1) % self.capacity + 1
        pieces = [(start, end)] if start < end else [(start, self.capacity), (0, end)]
        words = [word for a, b in pieces for word in view[a * each : b * each].tolist()]
        return (words, []) if each == 1 else (words[::2], self.seconds(words[1::2]))

    def blocks(self, first: int, written: int) -> list[int]:
        """Numbers of the blocks run from record ``first`` on, which must not be lost yet.
        ``written``: block records so far."""
        return self._records(first, written)[0]

    def _anchor(self, events: list[Event], first: int, written: int, now: int | None) -> int:
        """Instruction count at the first record that is left."""
        if first == 0:
            return 0
        counts = [self._blocks[number].count for number in self._records(first, written)[0]]
        undone = 0
        for event, following in zip(events, [*events[1:], None], strict=False):
            if event.ring <= first:
                continue
            if isinstance(event, StateRestored):
                undone = event.undone
            elif isinstance(event, Halted):
                undone -= 1  # wfi itself was retired
            elif isinstance(event, LoopExit) and event.insns is not None:
                if isinstance(following, ExceptionRaised) and following.expected:
                    undone = 1
                return event.insns - sum(counts[: event.ring - first]) + undone
        total = sum(counts)
        return (now or total) - total

    def clear(self) -> None:
        """Forget the events (the block table stays: blocks live on)."""
        self._events.clear()
        self.lost_events = 0

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self._events))


def _seconds(stamps: Sequence[int]) -> list[float]:
    """What stamps mean as long as no backend says otherwise: nanoseconds."""
    return [stamp / 1e9 for stamp in stamps]

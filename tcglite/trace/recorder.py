"""Keeps events, and merges them with the block records that chained code writes by itself.

Chained blocks never come back to Python, so each block that passed its check appends its number
(and a time stamp, in mode "times") to a ring in memory. Reading puts both into one order: an event
knows how many records had been written before it. What a wrapped ring has lost is said.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import takewhile

from .events import BlockRun, BlockTranslated, Event, LoopExit, Reset, StateRestored

MODES = (None, "events", "blocks", "times")
RING_WORDS = 1 << 16  #: 64-bit words: 65,536 blocks, or 32,768 with times
MAX_EVENTS = 200_000


class Recorder:
    """``mode``: None, "events" (no block records), "blocks", or "times"."""

    def __init__(self, mode: str | None, ring_words: int = RING_WORDS) -> None:
        self.mode = mode
        self.words_each = 2 if mode == "times" else 1
        self.capacity = ring_words // self.words_each if mode in ("blocks", "times") else 0
        self.ring = (ctypes.c_uint64 * (ring_words if self.capacity else 2))()
        self.listeners: list[Callable[[Event], None]] = []
        self.enabled = mode is not None
        self.lost_events = 0
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._blocks: dict[int, BlockTranslated] = {}

    def emit(self, event: Event) -> None:
        """Keep ``event`` and tell the listeners; callable from any thread."""
        if event.__class__ is BlockTranslated:
            self._blocks[event.tb] = event  # type: ignore[attr-defined]
        if self.mode is not None:
            if len(self._events) == MAX_EVENTS:
                self.lost_events += 1
            self._events.append(event)
        for listener in self.listeners:
            listener(event)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have ``listener`` called with each event, in the thread where it happens."""
        self.listeners.append(listener)
        self.enabled = True

    def lost(self, written: int) -> int:
        """Block records overwritten, when ``written`` have been written in all."""
        return max(0, written - self.capacity) if self.capacity else 0

    def events(
        self, written: int, insns_now: int | None, between: tuple[int, int] | None = None
    ) -> list[Event]:
        """Everything kept, in order, or the block records of those numbers (from, to before) and
        the events among them. ``written``: block records so far; ``insns_now``: the machine's
        instruction count, which anchors the blocks if no event does."""
        first, stop = self.lost(written), written + 1
        if between is None:
            events = list(self._events)
        else:
            first, stop = max(first, between[0]), min(written, between[1])
            recent = takewhile(lambda event: event.ring >= first, reversed(self._events))
            events = [event for event in recent if event.ring < stop][::-1]
        if not self.capacity:
            return events
        insns = self._anchor(events, first, written, insns_now)
        out: list[Event] = []
        open_run: BlockRun | None = None
        from_loop, indirect, clock = True, False, 0.0
        at = run_at = 0
        for position in range(first, stop):
            while at < len(events) and events[at].ring <= position:
                event = events[at]
                at += 1
                if isinstance(event, LoopExit):
                    from_loop = True
                    if open_run is not None and event.insns is not None:
                        done = max(0, min(open_run.count, event.insns - (open_run.insns or 0)))
                        out[run_at] = replace(open_run, executed=done)
                        insns = event.insns
                    open_run = None
                elif isinstance(event, Reset):
                    insns, open_run = 0, None
                clock = event.time
                out.append(event)
            if position == written:
                break
            number, stamp = self._record(position)
            block = self._blocks[number]
            entry = "loop" if from_loop else "goto_ptr" if indirect else "chain"
            open_run = BlockRun(
                insns=insns, time=stamp or clock, ring=position, tb=number, pc=block.pc,
                count=block.count, executed=block.count, entry=entry,
            )  # fmt: skip
            run_at = len(out)
            out.append(open_run)
            insns += block.count
            from_loop, indirect = False, block.indirect
        return out

    def _record(self, position: int) -> tuple[int, float]:
        i = position % self.capacity * self.words_each
        return self.ring[i], self.ring[i + 1] / 1e9 if self.words_each == 2 else 0.0

    def _anchor(self, events: list[Event], first: int, written: int, now: int | None) -> int:
        """Instruction count at the first record that is left."""
        if first == 0:
            return 0
        total, position, undone = 0, first, 0
        for event in events:
            if isinstance(event, LoopExit | StateRestored) and event.ring > first:
                while position < event.ring:
                    total += self._blocks[self._record(position)[0]].count
                    position += 1
                if isinstance(event, StateRestored):
                    undone = event.undone
                elif event.insns is not None:
                    return event.insns - total + undone
        total += sum(self._blocks[self._record(p)[0]].count for p in range(position, written))
        return (now or total) - total

    def clear(self) -> None:
        """Forget the events (the block table stays: blocks live on)."""
        self._events.clear()
        self.lost_events = 0

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self._events))

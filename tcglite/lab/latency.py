"""From the raise of a line to the first instruction of the handler, in instructions and blocks."""

from __future__ import annotations

import html
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from tcglite.trace.events import Event, InterruptTaken, LineRaised, Reset

CAUSES = {"mtip": 7, "msip": 3}     # all other lines arrive as 11, external


@dataclass(frozen=True, slots=True)
class Wait:
    """One interrupt: ``insns`` retired and ``blocks`` begun between raised and taken."""

    cause: int
    insns: int
    blocks: int


class Latencies:
    """Pairs each raise with the interrupt that it leads to. Feed events in their order, once.

    A line that goes down again before it is taken is forgotten. Of several raises that wait for
    the same cause the first counts: that one has waited longest.
    """

    def __init__(self, keep: int = 5000) -> None:
        self.waits: deque[Wait] = deque(maxlen=keep)
        self._raised: dict[int, tuple[str, Event]] = {}

    def feed(self, events: Iterable[Event]) -> None:
        """Take in more events."""
        for event in events:
            if isinstance(event, LineRaised):
                cause = CAUSES.get(event.line, 11)
                if event.level:
                    self._raised.setdefault(cause, (event.line, event))
                elif self._raised.get(cause, ("",))[0] == event.line:
                    del self._raised[cause]
            elif isinstance(event, InterruptTaken):
                _, first = self._raised.pop(event.cause, ("", None))
                if first is not None and first.insns is not None and event.insns is not None:
                    self.waits.append(Wait(event.cause, event.insns - first.insns,
                                           event.ring - first.ring))
            elif isinstance(event, Reset):
                self._raised.clear()


def histogram_svg(waits: Iterable[Wait], scale: float = 1.0) -> str:
    """Bars: how many interrupts waited 0, 1, 2 … instructions; the last bar gathers the rest."""
    counts = Counter(min(w.insns, 15) for w in waits)
    last = max([5, *counts])
    top = max(counts.values(), default=1)
    width, height, base = 26, 60, 74
    total = sum(counts.values())
    label = "; ".join(f"{n} waited {k}{' or more' if k == 15 else ''}"
                      for k, n in sorted(counts.items())) or "no interrupt yet"
    shapes = [f'<line x1="0" y1="{base}" x2="{(last + 1) * width}" y2="{base}" '
              'stroke="currentColor"/>']
    for k in range(last + 1):
        n = counts.get(k, 0)
        tall = round(height * n / top, 1)
        x = k * width
        if n:
            shapes.append(f'<rect x="{x + 3}" y="{base - tall}" width="{width - 6}" '
                          f'height="{tall}" fill="#0072B2"/>'
                          f'<text x="{x + 13}" y="{base - tall - 2}" '
                          f'text-anchor="middle">{n}</text>')
        name = "15+" if k == 15 else str(k)
        shapes.append(f'<text x="{x + 13}" y="{base + 12}" text-anchor="middle">{name}</text>')
    wide = (last + 1) * width
    return (f'<svg role="img" aria-label="{html.escape(label)}" xmlns="http://www.w3.org/2000/svg" '
            f'width="{wide * scale:.0f}" height="{92 * scale:.0f}" viewBox="0 0 {wide} 92" '
            'style="display:block" font-size="11" font-family="sans-serif" fill="currentColor">'
            f'<title>{total} interrupts: {html.escape(label)}</title>' + "".join(shapes) + "</svg>")

"""Run-length coding: ``A B C A B C A B C`` is ``(A B C) × 3``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

LONGEST = 12  # longest repeating unit that is looked for


@dataclass(frozen=True, slots=True)
class Repeat:
    """``times`` repetitions of the ``length`` tokens from ``start`` on; 1: nothing repeats."""

    start: int
    length: int
    times: int

    @property
    def end(self) -> int:
        return self.start + self.length * self.times


def fold(tokens: Sequence[Hashable | None], least: int = 3) -> list[Repeat]:
    """Cover all tokens with repeats, longest cover first, from left to right.

    None equals nothing, not even another None: a token that may not be folded.
    ``least``: fewer repetitions are written out.
    """
    total = len(tokens)
    # reach[p][k]: how many tokens from k on equal the one p places further on
    reach = [[0] * (total + 1) for _ in range(LONGEST + 1)]
    for period in range(1, LONGEST + 1):
        row = reach[period]
        for k in range(total - period - 1, -1, -1):
            same = tokens[k] is not None and tokens[k] == tokens[k + period]
            row[k] = row[k + 1] + 1 if same else 0
    repeats = []
    k = 0
    while k < total:
        best = Repeat(k, 1, 1)
        for period in range(1, LONGEST + 1):
            times = reach[period][k] // period + 1
            if times >= least and times * period > best.length * best.times:
                best = Repeat(k, period, times)
        repeats.append(best)
        k = best.end
    return repeats

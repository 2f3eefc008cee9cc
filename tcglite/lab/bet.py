"""Bet: before you see it, say at which block the interrupt will be taken. Seeded, endless, scored.

The line goes up right after instruction n, as if another thread had done it, and no block is cut
(``Machine.raise_at``), so a round is the same on every computer. The picture shows what ran up to
that moment; the bet is on the block that ``mepc`` will name.
"""

from __future__ import annotations

import html
import random
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from tcglite.errors import TcgliteError, UsageError
from tcglite.lab import registry, theme
from tcglite.lab.picture import figure
from tcglite.lab.programs import resolve
from tcglite.lab.timeline import layout, to_html
from tcglite.lab.timeline.names import Letters
from tcglite.lab.worker import Worker
from tcglite.machine import Machine
from tcglite.trace.events import BlockRun, Event, InterruptTaken, LineRaised, Refused

WARM_UP = 100           # instructions before a raise: by then the loop is translated and chained
RANGE = 200             # the raise comes in these many instructions after that
AFTER = 40              # and so many are run after it


@dataclass(frozen=True, slots=True)
class Round:
    """One bet. ``after``: the raise comes right after that many instructions; ``options``: the
    letters to choose from; ``answer``: the right one."""

    after: int
    line: str
    options: tuple[str, ...]
    answer: str
    explanation: str
    before_html: str
    before_text: str
    full_html: str
    full_text: str


def deal(guest: Any, line: str, seed: int, number: int) -> Round:
    """Round ``number`` of the series ``seed``: always the same."""
    after = WARM_UP + random.Random(f"{seed}/{number}").randrange(RANGE)
    name, image = resolve(guest)
    with Machine(image, trace="blocks") as machine:
        machine.raise_at(after, line)
        machine.run(max_insns=after + AFTER, timeout=20)
        events = list(machine.events)
    where = next((k for k, e in enumerate(events) if isinstance(e, LineRaised)
                  and e.line in (line, "plic:10") and e.level and (e.insns or 0) >= after), None)
    taken = next((e for e in events[where or 0:] if isinstance(e, InterruptTaken)), None)
    if where is None or taken is None:
        raise TcgliteError(f"a bet on {name} needs a line that the guest listens to; "
                           f"nothing was taken after {line} went up")
    letters = Letters()
    runs = [e for e in events if isinstance(e, BlockRun) and (e.insns or 0) < after]
    raised_in = runs[-1]
    before: list[Event] = [e for e in events[:where] if (e.insns or 0) < after]
    drawn = layout(before, window=(max(after - 40, 0), after + 1), letters=letters)
    full = layout(events, window=(max(after - 40, 0), after + AFTER // 2), letters=letters)
    options = sorted({letters.name(e.tb) for e in runs[-20:]})
    return Round(after, line, tuple(options), letters.at(taken.epc),
                 _why(events[where:], raised_in, after, letters, taken),
                 to_html(drawn), "\n".join(drawn.text),
                 to_html(full), "\n".join(full.text))


def _why(later: list[Event], raised_in: BlockRun, after: int, letters: Letters,
         taken: InterruptTaken) -> str:
    done = after - (raised_in.insns or 0)
    left = raised_in.count - done
    block = letters.name(raised_in.tb)
    refused = next((e for e in later if isinstance(e, Refused)), None)
    ran = (f"{block} had run {done} of its {raised_in.count} instructions and ran the other {left}"
           if left else f"{block} had just ended")
    if refused is None:
        return (f"{ran}; there was no jump to the next block yet, so the loop noticed by itself. "
                f"mepc is {letters.at(taken.epc)}.")
    return (f"{ran}; then {letters.name(refused.tb)} tested the flag at its head and went back to "
            f"the loop, 0 of its {refused.count} instructions run. mepc is "
            f"{letters.at(taken.epc)}.")


class Bet(widgets.VBox):
    """``Bet()``: choose a letter, *Place*, see. From plain Python: ``place("D")``, ``another()``,
    ``score``, ``round``."""

    def __init__(self, guest: Any = "bell", line: str = "msip", seed: int = 1) -> None:
        self.guest, self.line, self.seed = guest, line, seed
        self.number = 0
        self.right = self.played = 0
        self.last_error: str | None = None
        self._placed = ""
        self.round = deal(guest, line, seed, 0)
        self._choice = widgets.ToggleButtons(style={"button_width": "60px"},
                                             layout={"width": "auto"})
        self._place = widgets.Button(description="Place the bet", button_style="primary")
        self._another = widgets.Button(description="Another")
        self._picture, self._words = widgets.HTML(), widgets.HTML()
        self._worker = Worker(lambda: None, self._failed)
        registry.replace(registry.this_cell("Bet"), lambda: self._worker)
        self._place.on_click(lambda _: self._worker.submit(
            lambda: self._reveal(self._choice.value)))
        self._another.on_click(lambda _: self._worker.submit(self._deal))
        super().__init__(children=[
            self._picture, self._words,
            widgets.HBox([widgets.Label("taken at"), self._choice, self._place, self._another],
                         layout={"align_items": "baseline"})])
        self._ask()

    @property
    def score(self) -> str:
        """Right bets of all bets."""
        return f"{self.right} of {self.played}"

    def place(self, letter: str) -> str:
        """Bet on a block; returns what happened."""
        self._worker.call(lambda: self._reveal(letter), 30)
        return self._result()

    def another(self) -> Round:
        """The next round."""
        self._worker.call(self._deal, 60)
        return self.round

    def close(self) -> None:
        """As every widget's ``close``; ends the worker too."""
        self._worker.close()
        super().close()

    def _deal(self) -> None:
        self.number += 1
        self.round = deal(self.guest, self.line, self.seed, self.number)
        self._placed = ""
        self._ask()

    def _question(self) -> str:
        return (f"The line {self.line} goes up right after instruction {self.round.after}, that is "
                "in the last block of this picture, or at its end. At which block will the "
                "interrupt be taken: which one will mepc name?")

    def _result(self) -> str:
        verdict = "Right." if self._placed == self.round.answer else (
            f"No: you said {self._placed}, it was {self.round.answer}.")
        return f"{verdict} {self.round.explanation} Score: {self.score}."

    def _ask(self) -> None:
        self._choice.options = self.round.options
        self._choice.value = None
        self._place.disabled = False
        self._picture.value = self.round.before_html
        self._say(self._question())

    def _reveal(self, letter: str | None) -> None:
        if letter not in self.round.options:
            raise UsageError(f"bet on {letter!r}: expected one of {', '.join(self.round.options)}")
        if not self._placed:
            self._placed = letter
            self.played += 1
            self.right += letter == self.round.answer
        self._choice.value = self._placed
        self._place.disabled = True
        self.last_error = None
        self._picture.value = self.round.full_html
        self._say(self._result())

    def _failed(self, line: str) -> None:
        self.last_error = line
        self._say(line)

    def _say(self, words: str) -> None:
        self._words.value = (f'<div role="status" aria-live="polite" style="font-size:'
                             f'{theme.font_scale():.2f}em">{html.escape(words)}</div>')

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live widget, and beside it the question (or the result) as HTML and as text."""
        bundle = dict(super()._repr_mimebundle_(**kwargs) or {})
        words = self._result() if self._placed else self._question()
        picture = self.round.full_html if self._placed else self.round.before_html
        text = self.round.full_text if self._placed else self.round.before_text
        bundle["text/html"] = figure(picture, words, words).html
        bundle["text/plain"] = f"{words}\n{text}"
        return bundle

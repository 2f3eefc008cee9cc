"""Making a program that finds something small: delta debugging over its source and settings.

(Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.) Whatever is left
out, what remains must assemble and still find something; nothing here is left to chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from ...accel.mechanisms import Mechanisms
from ...target.asm import AsmError
from .program import Program

Fails = Callable[[Program], bool]
Say = Callable[[str], None]

LIMIT = 2000  #: trials
_WORD = re.compile(r"[A-Za-z_.][\w.]*")
_LABEL = re.compile(r"^\s*([A-Za-z_]\w*):")
_NUMBER = re.compile(r"(?<![\w.])-?(?:0x[0-9a-f]+|[0-9]+)(?![\w.]|[bf]\b)")
_ENTRY = "_start"


class _Spent(Exception):
    """There were as many trials as may be."""


class Shrinker:
    """``best``: the smallest program so far that still fails."""

    def __init__(self, program: Program, fails: Fails, say: Say | None, limit: int) -> None:
        self.best, self.trials = program, 0
        self._fails, self._say, self._limit = fails, say, limit
        self._seen = {program.to_text()}

    def attempt(self, program: Program) -> bool:
        """Does it still fail? Then it is the best."""
        text = program.to_text()
        if text in self._seen:
            return False
        self._seen.add(text)
        try:
            if not program.assemble().segments:
                return False
        except AsmError:
            return False
        if self.trials == self._limit:
            raise _Spent
        self.trials += 1
        if not self._fails(program):
            return False
        self.best = program
        if self._say is not None:
            count = len(program.source.splitlines())
            self._say(f"shrinking: {count} lines after {self.trials} trials")
        return True

    def lines(self, kept: list[str]) -> bool:
        """Try with these lines only."""
        return self.attempt(replace(self.best, source="\n".join(kept).strip("\n")))

    def run(self) -> None:
        """Until nothing gets smaller."""
        before = None
        while before != self.best:
            before = self.best
            self.settings()
            self.paragraphs()
            self.labels()
            self.chunks(_lines)
            self.splits()
            self.numbers()

    def chunks(self, units_of: Callable[[str], list[str]]) -> None:
        """Leave out runs of units: half of them, then ever shorter runs (ddmin)."""
        size = max(1, len(units_of(self.best.source)) // 2)
        while True:
            at = 0
            while at < len(units := units_of(self.best.source)):
                if not self.lines([*units[:at], *units[at + size :]]):
                    at += size
            if size == 1:
                return
            size //= 2

    def paragraphs(self) -> None:
        """What begins with ``##`` goes as a whole."""
        self.chunks(_paragraphs)

    def labels(self) -> None:
        """A label goes with all that names it."""
        for name in [m[1] for line in _lines(self.best.source) if (m := _LABEL.match(line))]:
            if name == _ENTRY:
                continue
            kept = [
                line
                for line in _lines(self.best.source)
                if name not in _WORD.findall(line.partition("#")[0])
            ]
            self.lines(kept)

    def splits(self) -> None:
        """Lines of several statements become several lines, which can go one by one."""
        at = 0
        while at < len(lines := _lines(self.best.source)):
            parts = _statements(lines[at])
            if len(parts) > 1 and self.lines([*lines[:at], *parts, *lines[at + 1 :]]):
                at += len(parts)
            else:
                at += 1

    def settings(self) -> None:
        """Lines that are raised go, and switches go back to their default."""
        for line in self.best.irq:
            self.attempt(replace(self.best, irq=tuple(x for x in self.best.irq if x != line)))
        for event in self.best.at:
            self.attempt(replace(self.best, at=tuple(x for x in self.best.at if x != event)))
        default = Mechanisms()
        for field in fields(Mechanisms):
            switch = {field.name: getattr(default, field.name)}
            self.attempt(replace(self.best, mechanisms=replace(self.best.mechanisms, **switch)))
        if self.best.icount is not None:
            self.attempt(replace(self.best, icount=None)) or self.attempt(
                replace(self.best, icount=0)
            )

    def numbers(self) -> None:
        """Constants become 0 or 1, or shorter; lists of data go, from their ends."""
        for at in range(len(_lines(self.best.source))):
            self._number_line(at)

    def _number_line(self, at: int) -> None:
        def current() -> str:
            return _lines(self.best.source)[at]

        def put(line: str) -> bool:
            lines = _lines(self.best.source)
            return self.lines([*lines[:at], line, *lines[at + 1 :]])

        if ".dword" in current():
            put(re.sub(r"(?<=\.dword ).*", "0", current()))
            put(_NUMBER.sub("0", current()))
            for _ in range(current().count(", ")):
                values = current().split(", ")
                shorter = put(", ".join(values[: len(values) // 2]))
                if not (shorter or put(", ".join(values[:-1]))):
                    break
        count = len(_NUMBER.findall(current().partition("#")[0]))
        if ".org" in current() or ".balign" in current():
            return
        for n in range(count):
            match = list(_NUMBER.finditer(current()))[n]
            value = int(match[0], 0)
            for simpler in (0, 1):
                if abs(value) > simpler and put(
                    current()[: match.start()] + str(simpler) + current()[match.end() :]
                ):
                    break


def _lines(source: str) -> list[str]:
    return source.split("\n")


def _statements(line: str) -> list[str]:
    """Of a line; fence.i stays with what it follows, as without it nobody promises anything."""
    out: list[str] = []
    for part in line.partition("#")[0].split(";"):
        if out and part.strip() == "fence.i":
            out[-1] += "; fence.i"
        elif part.strip():
            out.append(part if not out else f"        {part.strip()}")
    return out


def _paragraphs(source: str) -> list[str]:
    """Runs of lines, each from a ``##`` on."""
    return list(_grouped(_lines(source)))


def _grouped(lines: list[str]) -> Iterator[str]:
    group: list[str] = []
    for line in lines:
        if line.startswith("##") and group:
            yield "\n".join(group)
            group = []
        group.append(line)
    yield "\n".join(group)


def shrink(program: Program, still_fails: Fails, say: Say | None = None,
           limit: int = LIMIT) -> Program:  # fmt: skip
    """The smallest program found for which ``still_fails`` holds, as it does for ``program``.
    ``limit``: trials. ``say`` hears of progress."""
    shrinker = Shrinker(program, still_fails, say, limit)
    try:
        shrinker.run()
    except _Spent:
        pass
    return shrinker.best

"""One random guest as a text for people: assembly source below the settings that it runs with.

    # tcglite fuzz program 1234
    # irq: msip@120 mtip@300
    # at: FlagCleared:2:msip
    # mechanisms: irq_check=tb-end max_block_insns=8
    # icount: 0
    # max-insns: 3000
    _start: …

irq: lines raised right after an instruction; at: lines raised at the n-th event of a class, so
while the machine is in its loop. Only settings that differ from the default stand there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...accel.mechanisms import Mechanisms
from ...errors import GuestError, TcgliteError, named, shown
from ...target.asm import Assembly, assemble
from ...trace import events as ev

MEMORY = 0x10000  #: all the RAM that a program has, from 0x80000000 on
MAX_INSNS = 3000
_DEFAULT = Mechanisms()
_TITLE = "# tcglite fuzz program "
_SETTING = re.compile(r"# ([a-z-]+):(.*)")


class ProgramError(GuestError):
    """A file that is no such program; the text says in which line."""


@dataclass(frozen=True)
class Program:
    """``irq``: (instruction number, line); ``at``: (event class, number, line)."""

    name: str
    source: str
    irq: tuple[tuple[int, str], ...] = ()
    at: tuple[tuple[str, int, str], ...] = ()
    mechanisms: Mechanisms = _DEFAULT
    icount: int | None = None
    max_insns: int = MAX_INSNS

    def assemble(self) -> Assembly:
        """The guest; lines in error messages are those of ``to_text``."""
        return assemble(self.to_text())

    def to_text(self) -> str:
        """What ``from_text`` reads."""
        return "\n".join([_TITLE + self.name, *self.settings(), self.source.strip("\n")]) + "\n"

    def settings(self) -> list[str]:
        """The header below the title."""
        switches = [
            f"{f.name}={value}"
            for f in fields(Mechanisms)
            if (value := getattr(self.mechanisms, f.name)) != f.default
        ]
        rows = {
            "irq": " ".join(f"{line}@{n}" for n, line in self.irq),
            "at": " ".join(f"{event}:{n}:{line}" for event, n, line in self.at),
            "mechanisms": " ".join(switches),
            "icount": "" if self.icount is None else str(self.icount),
            "max-insns": "" if self.max_insns == MAX_INSNS else str(self.max_insns),
        }
        return [f"# {key}: {value}" for key, value in rows.items() if value]

    @classmethod
    def from_text(cls, text: str, file: str = "program") -> Program:
        """The program; ProgramError with the line if it is none. ``file``: its name there."""
        lines = text.splitlines()
        if not lines or not lines[0].startswith(_TITLE) or not lines[0][len(_TITLE) :].strip():
            raise ProgramError(f"{file}: line 1: expected {_TITLE}NAME")
        program = cls(lines[0][len(_TITLE) :].strip(), "")
        at, seen = 1, set()
        while at < len(lines) and (match := _SETTING.fullmatch(lines[at])):
            where = f"{file}: line {at + 1}"
            key, words = match[1], match[2].split()
            if key in seen:
                raise ProgramError(f"{where}: {key} for the second time")
            seen.add(key)
            try:
                program = replace(program, **_setting(key, words))
            except (TcgliteError, ValueError) as error:
                raise ProgramError(f"{where}: {error}") from None
            at += 1
        return replace(program, source="\n".join(lines[at:]).strip("\n"))

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """The program in a file."""
        try:
            return cls.from_text(Path(path).read_text(encoding="utf-8"), named(path))
        except OSError as error:
            raise ProgramError(f"{named(path)}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ProgramError(f"{named(path)}: not a text in UTF-8") from None


def _setting(key: str, words: list[str]) -> dict[str, Any]:
    """One line of the header, as fields of Program."""
    if key == "irq":
        return {"irq": tuple(_irq(word) for word in words)}
    if key == "at":
        return {"at": tuple(_at(word) for word in words)}
    if key == "mechanisms":
        return {"mechanisms": Mechanisms(**dict(_switch(word) for word in words))}
    if key not in ("icount", "max-insns"):
        raise ValueError(f"{key} is no setting; expected irq, at, mechanisms, icount or max-insns")
    if len(words) != 1:
        raise ValueError(f"{key} is one number")
    return {key.replace("-", "_"): _number(words[0])}


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise ValueError(f"{shown(text)} is not a number like 1000")
    return int(text)


def _irq(word: str) -> tuple[int, str]:
    line, at, number = word.partition("@")
    if not (line and at):
        raise ValueError(f"{shown(word)}; expected LINE@INSN, like msip@120")
    return _number(number), line


def _at(word: str) -> tuple[str, int, str]:
    event, _, rest = word.partition(":")
    number, _, line = rest.partition(":")
    known = getattr(ev, event, None)
    if not line or not (isinstance(known, type) and issubclass(known, ev.Event)):
        raise ValueError(f"{shown(word)}; expected EVENT:N:LINE, like FlagCleared:2:msip")
    return event, _number(number), line


def _switch(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    known = {f.name: f.default for f in fields(Mechanisms)}
    if not equals or name not in known:
        raise ValueError(f"{shown(word)}; expected some of {', '.join(known)}, like chain=False")
    default = known[name]
    if isinstance(default, bool):
        return name, {"True": True, "False": False}.get(text, text)
    return name, text if isinstance(default, str) else _number(text)

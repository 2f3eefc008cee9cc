"""Our own errors: one line that says what was given and what was expected; and the checks of plain
arguments that raise them."""

from __future__ import annotations

import operator
from typing import Any


class TcgliteError(Exception):
    """Base of everything that tcglite raises on bad input or misuse."""


class GuestError(TcgliteError):
    """The guest image cannot be used: not an ELF, wrong machine, outside RAM …"""


class UnknownName(TcgliteError):
    """A guest, register, CSR, backend, log item, or line of that name does not exist."""


class BackendUnavailable(TcgliteError):
    """A host backend that cannot work on this computer; the text says why."""


class StateError(TcgliteError):
    """The machine is in a state that does not allow this (running, closed …)."""


class UsageError(TcgliteError):
    """An argument or a combination of options makes no sense."""


def shown(value: Any) -> str:
    """``value`` as an error message quotes it: one line, not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def named(path: Any) -> str:
    """A path as an error message begins with it: plain where that is one line."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def whole(what: str, value: Any, low: int, high: int | None = None) -> int:
    """``value``, if it is an integer from ``low`` to ``high``; else a UsageError."""
    try:
        number = low - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = low - 1
    if number < low or (high is not None and number > high):
        wanted = f"{low} or more" if high is None else f"{low} to {high}"
        raise UsageError(f"{what}={shown(value)}; expected a whole number, {wanted}")
    return number


def seconds(what: str, value: Any) -> float | None:
    """``value``, if it is None or a number that is not negative; else a UsageError."""
    if value is None or (isinstance(value, int | float) and value >= 0):
        return value
    raise UsageError(f"{what}={shown(value)}; expected None or seconds, 0 or more")

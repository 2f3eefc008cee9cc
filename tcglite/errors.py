"""Our own errors: one line that says what was given and what was expected."""

from __future__ import annotations


class TcgliteError(Exception):
    """Base of everything that tcglite raises on bad input or misuse."""


class GuestError(TcgliteError):
    """The guest image cannot be used: not an ELF, wrong machine, outside RAM …"""


class UnknownName(TcgliteError):
    """A guest, register, CSR, backend, log item, or line of that name does not exist."""


class StateError(TcgliteError):
    """The machine is in a state that does not allow this (running, closed …)."""


class UsageError(TcgliteError):
    """An argument or a combination of options makes no sense."""

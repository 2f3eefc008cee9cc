"""Pages to keep at hand: the words, RISC-V in ten minutes, what the maintainer's mail says.

The texts are the Markdown files in ``texts/``; a front end renders them, a terminal prints them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any


class Card:
    """A page of text. Notebooks show it rendered, everything else gets the Markdown."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/markdown": self.text, "text/plain": self.text}


@cache
def _text(name: str) -> str:
    return files("tcglite.lab").joinpath("texts", f"{name}.md").read_text(encoding="utf-8")


def words() -> Card:
    """The words card: guest and host, request and flag, refused and taken."""
    return Card(_text("words"))


def riscv() -> Card:
    """RISC-V in ten minutes: enough to read every guest, on one page."""
    return Card(_text("riscv"))


def mail() -> Card:
    """The maintainer's mail of 25 August 2020, statement by statement, each with its mark."""
    return Card(_text("mail"))

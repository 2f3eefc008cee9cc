"""Choosing a host backend by name."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UnknownName
from .backend import Backend, Runtime
from .python_backend import PythonBackend

BACKENDS: dict[str, Callable[[Runtime], Backend]] = {"python": PythonBackend}
BEST = ("python",)  #: in the order in which "auto" tries them


def make_backend(name: str) -> Callable[[Runtime], Backend]:
    """The constructor of backend ``name``; "auto": the best one that works here."""
    if name == "auto":
        name = BEST[0]
    if name == "x86_64":
        raise UnknownName("the x86_64 backend is not there yet; expected auto or python")
    if name not in BACKENDS:
        raise UnknownName(f"unknown backend {name!r}; expected auto, {', '.join(BACKENDS)}")
    return BACKENDS[name]

"""Which panels are alive: re-running a cell ends the old one, ``stop_all()`` ends them all."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tcglite.accel import vcpu


class Live(Protocol):
    """What the registry needs of a panel's session. Both may be called from any thread."""

    def close(self) -> None:
        """End the worker and the machines; safe to call twice."""

    def freeze(self, note: str = "") -> None:
        """Let the machines stand still."""


L = TypeVar("L", bound=Live)

_lock = threading.Lock()
_live: dict[str, Live] = {}


def this_cell(kind: str) -> str:
    """A name for the cell that is running; where the front end does not tell, ``kind``: then the
    newest panel of a kind replaces the one before."""
    if "IPython" in sys.modules:
        from IPython import get_ipython
        kernel: Any = getattr(get_ipython(), "kernel", None)
        parent = kernel.get_parent() if hasattr(kernel, "get_parent") else {}
        cell = (parent or {}).get("metadata", {}).get("cellId")
        if cell:
            return f"{kind}:{cell}"
    return kind


def replace(key: str, make: Callable[[], L]) -> L:
    """End what lives under ``key`` (the same cell, run again), then make its successor."""
    forget(key)
    new = make()
    with _lock:
        _live[key] = new
    return new


def forget(key: str) -> None:
    """End what lives under ``key``, if anything does."""
    with _lock:
        old = _live.pop(key, None)
    if old is not None:
        old.close()


def freeze_others(one: Live) -> None:
    """Only one panel runs at a time: a computer in the cloud has one CPU."""
    with _lock:
        others = [panel for panel in _live.values() if panel is not one]
    for panel in others:
        panel.freeze("another panel runs")


def stop_all() -> int:
    """Stop every panel, and every machine that runs in the background; returns how many there
    were. Panels end; machines can be started again."""
    with _lock:
        panels = list(_live.values())
        _live.clear()
    for panel in panels:
        panel.close()
    return len(panels) + vcpu.stop_all()

"""Which panels are alive: re-running a cell ends the old one, ``stop_all()`` ends them all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Stoppable(Protocol):
    """What the registry needs of a panel's session."""

    def close(self) -> None:
        """End the worker and the machines; safe to call twice and from any thread."""


_lock = threading.Lock()
_live: dict[str, Stoppable] = {}


def replace(key: str, make: Callable[[], Stoppable]) -> Stoppable:
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


def stop_all() -> int:
    """Stop every panel and every machine that a panel runs; returns how many there were."""
    with _lock:
        panels = list(_live.values())
        _live.clear()
    for panel in panels:
        panel.close()
    return len(panels)

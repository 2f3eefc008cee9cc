"""The lab: everything that a notebook shows. The package below it knows nothing of notebooks.

``from tcglite import lab`` is cheap: each name below is loaded when it is first used, so that the
timeline and the texts work without the extra ``lab`` (ipywidgets, matplotlib, JupyterLab).
QEMU has no such room.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "bell": "programs",
    "doctor": "health",
    "legend": "show",
    "mail": "cards",
    "present": "show",
    "riscv": "cards",
    "source": "show",
    "stop_all": "registry",
    "words": "cards",
    "figure": "show",
    "crosscheck": "check",
    "Bet": "bet",
    "InterruptConsole": "console",
    "Timeline": "timeline_view",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tcglite.lab' has no attribute {name!r}; it has "
                             + ", ".join(__all__))
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

"""A wire with a level (QEMU: ``hw/core/irq.c``, ``qemu_irq``)."""

from __future__ import annotations

from collections.abc import Callable


class Line:
    """One named interrupt line. Whoever drives it last decides: a device, or a user who pulls it.

    ``on_change`` hears of changes of level, then the sink does; with ``repeat`` the sink hears of
    every ``set``, changed or not, as in QEMU: the PLIC makes a request of each raise."""

    __slots__ = ("_on_change", "_repeat", "_sink", "level", "name")

    def __init__(self, name: str, sink: Callable[[int], None],
                 on_change: Callable[[str, int], None], repeat: bool = False) -> None:
        self.name = name
        self.level = 0
        self._sink = sink
        self._on_change = on_change
        self._repeat = repeat

    def set(self, level: int) -> None:
        """Drive the line: 0 low, 1 high."""
        changed = level != self.level
        if changed:
            self.level = level
            self._on_change(self.name, level)
        if changed or self._repeat:
            self._sink(level)

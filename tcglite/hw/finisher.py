"""The test finisher: a store that ends the run (QEMU: ``hw/misc/sifive_test.c``).

4 KiB at 0x100000. Measured on ``virt`` (QEMU 7.2.22), and so here:

=====================  ==================================================================
2- or 4-byte store     at offset 0, low half 0x5555: exit 0 (the high half is ignored);
                       0x3333: exit with the high half (0 to 65535; 0 with a 2-byte store);
                       0x7777: reset; anything else, or another offset: ignored
2- or 4-byte load      0
1 or 8 bytes           access fault, loads and stores
=====================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable

from ..accel.memory import MemTxError

FAIL = 0x3333
PASS = 0x5555
RESET = 0x7777


class Finisher:
    """``on_exit(reason, code)``: ``("exit", 0..65535)`` or ``("reset", 0)``."""

    name = "finisher"

    def __init__(self, on_exit: Callable[[str, int], None]) -> None:
        self._on_exit = on_exit

    def read(self, offset: int, size: int) -> int:
        _check(offset, size)
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        _check(offset, size)
        if offset != 0:
            return
        status = value & 0xFFFF
        if status == PASS:
            self._on_exit("exit", 0)
        elif status == FAIL:
            self._on_exit("exit", value >> 16 & 0xFFFF if size == 4 else 0)
        elif status == RESET:
            self._on_exit("reset", 0)


def _check(offset: int, size: int) -> None:
    if size not in (2, 4) or offset % size:
        raise MemTxError

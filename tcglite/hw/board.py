"""The ``virt`` board: which device is where and which line goes where (QEMU: ``hw/riscv/virt.c``).

===========  ==========  ============================================================
0x00100000   0x1000      test finisher
0x02000000   0x10000     CLINT
0x0c000000   0x600000    PLIC, two contexts (M and S mode of hart 0)
0x10000000   0x100       UART, PLIC source 10
tohost       8           HTIF, only where the ELF has the symbol; so for fromhost
===========  ==========  ============================================================

The lines are ``mtip`` and ``msip`` (from the CLINT), ``meip`` (from the PLIC), and the PLIC's
sources: ``uart`` (the same as ``plic:10``) and ``plic:N``, N = 1 to 95. A line has one level,
and who drove it last decides: a user who raises ``mtip`` sees it fall when the guest's handler
stores to ``mtimecmp``, as after a real timer interrupt; a source other than the UART's stays high
until the user lowers it, but the PLIC asks only once for each raise (see ``plic``).

Access sizes and reserved offsets are measured on QEMU 7.2.22 (tables in ``clint``, ``plic``,
``uart``, ``finisher``); devices see aligned accesses only. How the CPU cuts a misaligned access to
a device is not the board's business: QEMU 7.2 makes two aligned loads of the same size out of a
misaligned load, and single bytes out of a misaligned store; since 8.1 it cuts both into naturally
aligned pieces.

Not on this board: PCIe, virtio, RTC, flash, ``fw_cfg``, more than one hart. The S context of the
PLIC answers, but its output is not connected as long as the hart has no S mode.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..accel.memory import AddressSpace
from ..errors import GuestError, UnknownName, shown
from . import plic
from .clint import Clint
from .clock import VirtualClock
from .console import Console
from .finisher import Finisher
from .htif import Htif, Word
from .lines import Line
from .uart import Uart

FINISHER_BASE, FINISHER_SIZE = 0x10_0000, 0x1000
CLINT_BASE, CLINT_SIZE = 0x200_0000, 0x1_0000
PLIC_BASE, PLIC_SIZE = 0xC00_0000, plic.SIZE
UART_BASE, UART_SIZE = 0x1000_0000, 0x100
UART_SOURCE = 10

MIP_MSIP, MIP_MTIP, MIP_MEIP = 1 << 3, 1 << 7, 1 << 11


class VirtBoard:
    """All devices of one machine, wired and mapped, in the state of power-on.

    ``set_mip(mask, level)`` moves bits of the hart's ``mip``; ``on_exit(reason, code)`` hears
    ``("exit", code)`` and ``("reset", 0)``; ``on_line(line, level)`` hears each change of a
    line's level. All three are called with ``lock`` held, from the thread that caused it.
    ``tohost`` and ``fromhost`` are the addresses of those symbols, multiples of 8."""

    def __init__(self, memory: AddressSpace, clock: VirtualClock, lock: threading.RLock,
                 set_mip: Callable[[int, int], None],
                 on_exit: Callable[[str, int], None],
                 on_line: Callable[[str, int], None],
                 on_output: Callable[[bytes], None] | None = None,
                 tohost: int | None = None, fromhost: int | None = None) -> None:
        self._memory = memory
        self._lock = lock
        self._clock = clock
        self._set_mip = set_mip
        self._on_line = on_line
        self._lines: dict[str, Line] = {}
        msip, mtip, meip = (self._mip_line(name, bit) for name, bit in
                            (("msip", MIP_MSIP), ("mtip", MIP_MTIP), ("meip", MIP_MEIP)))

        self.console = Console(on_output)
        self.clint = Clint(clock, msip, mtip)
        self.plic = plic.Plic((meip.set, _not_connected))
        self.uart = Uart(self.console, clock, lock, self._source_line(UART_SOURCE).set)
        self.finisher = Finisher(on_exit)
        self.htif: Htif | None = None

        memory.map(FINISHER_BASE, FINISHER_SIZE, self.finisher)
        memory.map(CLINT_BASE, CLINT_SIZE, self.clint)
        memory.map(PLIC_BASE, PLIC_SIZE, self.plic)
        memory.map(UART_BASE, UART_SIZE, self.uart)
        if tohost is not None:
            self.htif = Htif(self.console, self.uart.take, memory, on_exit)
            self.console.readers.insert(0, self.htif.typed)     # before the UART's FIFO
            self._map_word("tohost", tohost, self.htif.tohost)
            if fromhost is not None:
                self._map_word("fromhost", fromhost, self.htif.fromhost)
        self.reset()

    def reset(self) -> None:
        """Power-on: time 0, all lines low, all devices reset, nothing typed or printed; then MTIP
        rises (``mtimecmp`` is 0). The clock goes on if it was running. Reset the hart first: its
        ``mip`` is driven here, and under icount time is made of its instruction counter."""
        with self._lock:
            self._clock.reset()
            self.console.reset()
            for line in self._lines.values():
                line.set(0)
            for device in (self.plic, self.uart, self.clint, self.htif):
                if device is not None:
                    device.reset()

    def set_irq(self, line: str, level: int) -> None:
        """Drive ``line`` from outside, ``level`` 0 or 1. From any thread; takes the lock.

        Raises UnknownName for a line that this board does not have."""
        with self._lock:
            self._find(line).set(1 if level else 0)

    def check_line(self, line: str) -> None:
        """UnknownName if there is no such line."""
        with self._lock:
            self._find(line)

    def _find(self, name: str) -> Line:
        if not isinstance(name, str):
            raise UnknownName(f"{shown(name)} is no interrupt line: expected a name, like mtip")
        if name not in self._lines:
            kind, _, number = name.partition(":")
            if (kind != "plic" or not (number.isascii() and number.isdecimal())
                    or len(number) > 9 or not 1 <= int(number) <= plic.SOURCES):
                raise UnknownName(f"no interrupt line {shown(name)}: expected mtip, msip, meip, "
                                  f"uart or plic:1 to plic:{plic.SOURCES}")
            return self._source_line(int(number))
        return self._lines[name]

    def _mip_line(self, name: str, bit: int) -> Line:
        return self._line(name, lambda level: self._set_mip(bit, level))

    def _source_line(self, source: int) -> Line:
        """The line into the PLIC's ``source``; made when it is first needed."""
        name = "uart" if source == UART_SOURCE else f"plic:{source}"
        return self._line(name, lambda level: self.plic.set_level(source, level), repeat=True)

    def _line(self, name: str, sink: Callable[[int], None], repeat: bool = False) -> Line:
        if name not in self._lines:
            self._lines[name] = Line(name, sink, self._on_line, repeat)
        return self._lines[name]

    def _map_word(self, symbol: str, address: int, word: Word) -> None:
        if address % 8:
            raise GuestError(f"{symbol} is at {address:#x}: expected a multiple of 8")
        self._memory.map(address, 8, word)


def _not_connected(level: int) -> None:
    """Where a line ends that leads nowhere yet."""

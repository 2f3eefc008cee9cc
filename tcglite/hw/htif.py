"""HTIF: the words ``tohost`` and ``fromhost`` (QEMU: ``hw/char/riscv_htif.c``; first in Spike).

Where an ELF defines those symbols, the eight bytes at each are a device; the rest of their page
stays plain memory. Both words can be read and written in any aligned size. A command is

    device << 56 | command << 48 | payload (48 bits)

and takes effect when its high word is stored, so with an 8-byte store or with the second of two
4-byte stores, low word first (as in QEMU); and also when the low word alone is stored a second
time, which is how old test programs end (Spike, which polls, sees the first). Then ``tohost``
reads 0.

======  =======  =========================================================================
device  command  what
======  =======  =========================================================================
0       0        odd payload: exit with ``payload >> 1``;
                 even, not 0: system call, payload is the address of eight 64-bit words
                 (number, arguments), the first of which gets the result: ``write`` (64:
                 descriptor, address, length) prints, ``exit`` (93) exits, others give -38
                 (ENOSYS); then ``fromhost`` becomes 1
1       0        getchar: ``fromhost`` = device, command, ``0x100 | byte`` once one is typed
1       1        putchar: prints the low byte; ``fromhost`` = the command with 0x100 added
others           ignored
======  =======  =========================================================================

Measured on QEMU's ``spike`` machine (7.2.22): putchar's answers, ``tohost`` reading 0, the two
4-byte stores. It differs: QEMU 7.2 has no system calls, answers unknown commands with their upper
16 bits, and puts typed characters into ``fromhost`` without being asked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..accel.memory import AddressSpace, MemTxError
from ..errors import TcgliteError
from .console import Console

SYS_WRITE = 64
SYS_EXIT = 93
EFAULT = 14
ENOSYS = 38
_PAYLOAD = (1 << 48) - 1


class Word:
    """Eight bytes of device memory; ``stored(offset, size)`` is called after each store."""

    def __init__(self, name: str, stored: Callable[[int, int], None]) -> None:
        self.name = name
        self.value = 0
        self._stored = stored

    def read(self, offset: int, size: int) -> int:
        _check(offset, size)
        return self.value >> 8 * offset & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        _check(offset, size)
        mask = (1 << 8 * size) - 1
        self.value = self.value & ~(mask << 8 * offset) | (value & mask) << 8 * offset
        self._stored(offset, size)


class Htif:
    """``take()`` gives the next typed byte or None; ``on_exit("exit", code)`` ends the run."""

    def __init__(self, console: Console, take: Callable[[], int | None],
                 memory: AddressSpace,
                 on_exit: Callable[[str, int], None]) -> None:
        self._console = console
        self._take = take
        self._memory = memory
        self._on_exit = on_exit
        self.tohost = Word("htif tohost", self._tohost_stored)
        self.fromhost = Word("htif fromhost", lambda offset, size: None)
        self._clear()

    def _clear(self) -> None:
        self.tohost.value = self.fromhost.value = 0
        self._low_word_waits = False
        self._getchar: int | None = None     # the command that waits for a key

    def reset(self) -> None:
        """Both words 0, nothing waits."""
        self._clear()

    def typed(self) -> None:
        """Something was typed: answer a getchar that waits."""
        if self._getchar is None:
            return
        byte = self._take()
        if byte is not None:
            self._answer(self._getchar, 0x100 | byte)
            self._getchar = None

    def _tohost_stored(self, offset: int, size: int) -> None:
        if offset + size <= 4 and not self._low_word_waits:
            self._low_word_waits = True
            return
        self._low_word_waits = False
        command, self.tohost.value = self.tohost.value, 0
        self._run(command)

    def _run(self, command: int) -> None:
        device, number, payload = command >> 56, command >> 48 & 0xFF, command & _PAYLOAD
        if (device, number) == (0, 0):
            if payload & 1:
                self._on_exit("exit", payload >> 1)
            elif payload:
                self._system_call(payload)
        elif (device, number) == (1, 0):
            self._getchar = command
            self.typed()
        elif (device, number) == (1, 1):
            self._console.print(bytes((payload & 0xFF,)))
            self._answer(command, 0x100 | payload & 0xFF)

    def _answer(self, command: int, payload: int) -> None:
        self.fromhost.value = command & ~_PAYLOAD | payload

    def _system_call(self, address: int) -> None:
        try:
            result = self._call(struct.unpack("<4Q", self._memory.read_bytes(address, 32)))
            self._memory.write_bytes(address, struct.pack("<q", result))
        except TcgliteError:         # no RAM there: nowhere to put a result
            pass
        self.fromhost.value = 1

    def _call(self, words: tuple[int, ...]) -> int:
        number, first, second, third = words
        if number == SYS_EXIT:
            self._on_exit("exit", first)
            return 0
        if number != SYS_WRITE:
            return -ENOSYS
        try:
            data = self._memory.read_bytes(second, third)
        except TcgliteError:
            return -EFAULT
        self._console.print(data)
        return third


def _check(offset: int, size: int) -> None:
    if offset + size > 8 or offset % size:
        raise MemTxError

"""What is at the other end of the serial line: the user's terminal (QEMU: ``chardev/``).

It keeps everything that the guest printed, and what was typed but not yet taken by a device. It
never overruns a device: devices fetch from ``typed`` when they have room (in QEMU the character
device asks them first).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..errors import UsageError

KEPT = 16 << 20      # bytes of output that are kept at least; a guest may print for ever


class Console:
    """``on_output``, when given, gets each piece of output as bytes, at once, lock held.
    ``readers`` are called, in order, when something was typed."""

    def __init__(self, on_output: Callable[[bytes], None] | None = None) -> None:
        self.on_output = on_output
        self.typed: deque[int] = deque()
        self.readers: list[Callable[[], None]] = []
        self._output = bytearray()

    @property
    def output(self) -> bytes:
        """What the guest printed since reset; of a very long output the last part, at least
        ``KEPT`` bytes."""
        return bytes(self._output)

    def reset(self) -> None:
        """Forget what was printed and what was typed."""
        self.typed.clear()
        self._output.clear()

    def print(self, data: bytes) -> None:
        """The guest prints ``data``."""
        self._output += data
        if len(self._output) > 2 * KEPT:
            del self._output[:-KEPT]
        if self.on_output is not None:
            self.on_output(data)

    def type(self, data: str | bytes) -> None:
        """The user types ``data`` (text as UTF-8)."""
        if isinstance(data, str):
            data = data.encode()
        elif not isinstance(data, bytes | bytearray):
            raise UsageError(f"cannot type {type(data).__name__}: expected str or bytes")
        self.typed.extend(data)
        for reader in self.readers:
            reader()

"""The terminal as the guest's console: keys go to the UART as they are typed.

As with ``qemu -nographic``: Ctrl-A x leaves, Ctrl-A a (or Ctrl-A twice) sends Ctrl-A, Ctrl-A h
says so. Ctrl-C is not the guest's: it interrupts the run.
"""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType
from typing import Any

from .machine import Machine

ESCAPE = 1  #: Ctrl-A
HELP = "\r\nCtrl-A x  leave\r\nCtrl-A a  send Ctrl-A\r\nCtrl-A h  this text\r\n"


class Terminal:
    """Feeds ``machine`` while the ``with`` block runs.

    ``source``: text to type, "-" for standard input as a stream, None for the terminal (or, where
    there is none, for the stream). ``silent``: feed nothing (a recording does it).
    """

    def __init__(self, machine: Machine, source: str | None, *, echo: bool, silent: bool) -> None:
        self._machine = machine
        self._source = source
        self._silent = silent
        self._echo = echo
        self._saved: Any = None
        self._escaped = False
        self._done = threading.Event()

    def __enter__(self) -> Terminal:
        m = self._machine
        if self._silent:
            m.inputs_open = lambda: False
        elif self._source not in (None, "-"):
            m.inputs_open = lambda: False
            m.uart.type(str(self._source))
        elif sys.stdin is None or sys.stdin.closed:
            m.inputs_open = lambda: False
        else:
            interactive = self._source is None and sys.stdin.isatty() and self._echo
            if interactive:
                self._saved = _single_keys()
            m.inputs_open = lambda: not self._done.is_set()
            threading.Thread(
                target=self._read, args=(interactive,), name="tcglite-keys", daemon=True
            ).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._saved is not None:
            _restore(self._saved)

    def _read(self, interactive: bool) -> None:
        """In a thread of its own: from standard input to the UART until the end of either."""
        descriptor = sys.stdin.fileno()
        while not self._done.is_set():
            try:
                data = _key() if interactive and os.name == "nt" else os.read(descriptor, 4096)
            except OSError:
                data = b""
            if not data or self._done.is_set():
                break
            if interactive:
                data = self._keys(data)
            if data:
                self._machine.uart.type(data)
        self._done.set()
        self._machine.poke()

    def _keys(self, data: bytes) -> bytes:
        """What the guest gets of what was typed; escapes are obeyed here."""
        out = bytearray()
        for key in data:
            if not self._escaped:
                if key == ESCAPE:
                    self._escaped = True
                else:
                    out.append(key)
                continue
            self._escaped = False
            if key in (ord("a"), ESCAPE):
                out.append(ESCAPE)
            elif key == ord("x"):
                self._done.set()
                self._machine.quit()
            elif key == ord("h"):
                sys.stderr.write(HELP)
        return bytes(out)


if os.name == "nt":
    import msvcrt

    def _single_keys() -> Any:
        return None

    def _restore(saved: Any) -> None:
        """Nothing was changed."""

    def _key() -> bytes:
        return msvcrt.getch()  # type: ignore[attr-defined,unused-ignore,no-any-return]

else:
    import termios
    import tty

    def _single_keys() -> Any:
        """Keys at once and without echo; Ctrl-C still interrupts, output is as usual."""
        saved = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        return saved

    def _restore(saved: Any) -> None:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)

    def _key() -> bytes:
        return os.read(sys.stdin.fileno(), 1)

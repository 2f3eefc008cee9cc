"""One thread per panel, the only one that touches the panel's machines.

Callbacks of buttons may come on any thread, also while a cell runs (ipykernel 7 serves them on
threads of their own), so all that they do is to submit a command here. The thread is started with
a copy of the cell's context: without it ipykernel 7.0 loses every widget update in silence.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
import traceback
from collections.abc import Callable

from tcglite.errors import TcgliteError

Command = Callable[[], None]


class Worker:
    """Runs commands as they come, and ``turn`` whenever there is time.

    ``turn()`` does a short piece of work and returns how many seconds to wait for commands before
    the next one, None for "until a command comes". ``on_error(line)`` gets one line for each
    exception; the full traceback stays in ``traceback``. The thread goes on after an error.
    """

    def __init__(self, turn: Callable[[], float | None], on_error: Callable[[str], None],
                 at_end: Command | None = None, name: str = "tcglite-panel") -> None:
        self._turn = turn
        self._on_error = on_error
        self._at_end = at_end
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self.traceback = ""
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name=name,
                                        daemon=True)
        self._thread.start()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, command: Command) -> None:
        """Have ``command`` run on the worker's thread, in order."""
        self._commands.put(command)

    def call(self, command: Command, timeout: float) -> None:
        """Have ``command`` run there, wait for its end, and raise here what it raised."""
        done = threading.Event()
        failed: list[BaseException] = []

        def guarded() -> None:
            try:
                command()
            except BaseException as error:
                failed.append(error)
            finally:
                done.set()

        self.submit(guarded)
        deadline = time.monotonic() + timeout
        while not done.wait(0.05):
            if not self.alive:
                raise TcgliteError("this panel was stopped: run its cell again")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the panel did not answer within {timeout} s")
        if failed:
            raise failed[0]

    def serve(self, seconds: float) -> None:
        """Run commands as they come, for that long; for use inside ``turn``."""
        deadline = time.monotonic() + seconds
        while not self.closing:
            left = deadline - time.monotonic()
            if left <= 0 or not self._next(left):
                return

    def freeze(self, note: str = "") -> None:
        """Nothing runs between two commands of a plain worker; sessions have a better one."""

    def close(self, timeout: float = 5) -> None:
        """End the thread; at once, and safe to call twice and from any thread."""
        self._closing.set()
        self._commands.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _next(self, timeout: float | None) -> bool:
        """Run the next command; False if none came in time."""
        try:
            command = self._commands.get(timeout=timeout)
        except queue.Empty:
            return False
        if command is not None and not self.closing:
            self._guarded(command)
        return True

    def _guarded(self, work: Callable[[], float | None] | Command) -> float | None:
        try:
            return work()
        except Exception as error:
            self.traceback = traceback.format_exc()
            kind = "" if isinstance(error, TcgliteError) else f"{type(error).__name__}: "
            self._on_error(f"{kind}{error}")
            return None

    def _work(self) -> None:
        try:
            while not self.closing:
                wait = self._guarded(self._turn)
                if not self.closing:    # else `turn` may have eaten the command that wakes us
                    self._next(wait)
        finally:
            if self._at_end is not None:
                self._guarded(self._at_end)

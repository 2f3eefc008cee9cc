"""Inputs from outside, recorded and replayed at exact instruction numbers (QEMU: replay/).

Under icount everything but inputs is determined by the program: so an input does not act when it
comes, but when the loop next comes by, and that instruction number is written down. Replaying puts
a deadline there. Without recording or replaying, and without icount, inputs act at once.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import GuestError, UsageError, named, shown
from .cpu import CPUState

FORMAT = "tcglite-recording-1"


class Inputs:
    """``act(kind, *args)`` makes an input happen. Kinds and their arguments are the machine's."""

    def __init__(self, cpu: CPUState, act: Callable[..., None]) -> None:
        self._cpu = cpu
        self._act = act
        self._queue: deque[tuple[Any, ...]] = deque()
        self._lock = threading.Lock()
        self.record: list[list[Any]] | None = None
        self._replay: deque[list[Any]] | None = None

    def put(self, kind: str, *args: Any) -> None:
        """An input, from any thread."""
        if self._replay is not None:
            raise UsageError("the machine replays a recording; it takes no other input")
        if self._cpu.icount_shift is None:
            self._act(kind, *args)
            self._cpu.observer.nudge()
            return
        with self._lock:
            self._queue.append((kind, *args))
        self._cpu.exit_request = True
        self._cpu.kick("input")

    def waiting(self, insns: int) -> bool:
        """Is there an input that should act now?"""
        return bool(self._queue) or bool(self._replay and self._replay[0][0] <= insns)

    def apply(self, insns: int) -> None:
        """Let waiting inputs act; the hart is between two instructions, ``insns`` retired."""
        while self._replay and self._replay[0][0] <= insns:
            _, kind, *args = self._replay.popleft()
            self._act(kind, *args)
        if self._replay is not None:
            self._cpu.budget.input_at = self._replay[0][0] if self._replay else None
        while self._queue:
            with self._lock:
                kind, *args = self._queue.popleft()
            if self.record is not None:
                self.record.append([insns, kind, *args])
            self._act(kind, *args)

    def start_record(self) -> None:
        """Write inputs down from now on."""
        if self._cpu.icount_shift is None:
            raise UsageError("recording needs icount: without it, host time decides")
        self.record = []

    def save(self, path: Path, info: dict[str, Any]) -> None:
        """Write the recording as JSON, with what the replaying machine must agree on."""
        text = json.dumps({"format": FORMAT, **info, "inputs": self.record or []}, indent=1)
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"{named(path)}: cannot write the recording: {_why(error)}") from None

    def load(self, path: Path, info: dict[str, Any]) -> None:
        """Replay the recording at ``path``; it must have been made with the same ``info``."""
        if self._cpu.icount_shift is None:
            raise UsageError("replaying needs icount: without it, host time decides")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise GuestError(f"{named(path)}: cannot read the recording: {_why(error)}") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise GuestError(f"{named(path)} is not a recording of tcglite ({FORMAT})")
        for key, value in info.items():
            if data.get(key) != value:
                given = shown(data.get(key))
                raise GuestError(f"{named(path)} was recorded with {key}={given}, not {value!r}")
        inputs = data.get("inputs")
        if not isinstance(inputs, list) or not _good(inputs):
            raise GuestError(
                f"{named(path)}: its inputs are not rows [instruction, kind, …] in order"
            )
        self._replay = deque(inputs)
        self._cpu.budget.input_at = inputs[0][0] if inputs else None


def _good(rows: list[Any]) -> bool:
    """Is every row an instruction number, not before the last one, and an input?"""
    last = 0
    for row in rows:
        match row:
            case [int(n), "type", str(text)] if text.isascii() or max(text) <= "\xff":
                pass
            case [int(n), "line", str(), 0 | 1]:
                pass
            case _:
                return False
        if isinstance(n, bool) or n < last:
            return False
        last = n
    return True


def _why(error: Exception) -> str:
    """One line of what the system or the parser says."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error.strerror if isinstance(error, OSError) else error)

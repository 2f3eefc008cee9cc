"""Compile, patch, enter: the contract of ``tcg/backend.py`` for x86-64."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..backend import HostInsn, Runtime
from ..ir import GLOBAL, Helper, Op, Temp
from .buffer import CodeBuffer, make_buffer
from .emit import Emission, Emitter
from .layout import BIAS, make_layout
from .listing import listing
from .thunks import make_thunks

HEADROOM = 1 << 18  #: bytes; more than the largest block takes
DEFAULT_CAPACITY = 32 << 20  #: bytes
_U64 = ctypes.c_uint64
_LOAD = ctypes.CFUNCTYPE(_U64, _U64, _U64, _U64)
_STORE = ctypes.CFUNCTYPE(_U64, _U64, _U64, _U64, _U64)
_LOOKUP = ctypes.CFUNCTYPE(_U64)
_ENTER = ctypes.CFUNCTYPE(_U64, _U64)
_CLOCK = ctypes.PYFUNCTYPE(_U64)  # keeps the GIL, so that it is read at once
_HELPERS = [ctypes.CFUNCTYPE(_U64, *[_U64] * (n + 1)) for n in range(5)]


class X86Code:
    """Host code of one block: ``size`` bytes at address ``start``, ``offset`` in the buffer.
    ``slots``: (offset of the displacement, offset of its own exit) of each jump slot."""

    __slots__ = ("insn_ends", "number", "offset", "size", "slots", "start")

    def __init__(self, number: int, offset: int, start: int, made: Emission) -> None:
        self.number = number
        self.offset = offset
        self.start = start
        self.size = len(made.code)
        self.insn_ends = made.insn_ends
        self.slots = made.slots


class X86Backend:
    """One buffer of host code and the thunks for one machine. ``buffer``: what ``make_buffer``
    gives; with a "plain" one, code can be listed and not entered."""

    name = "x86_64"
    inside = False
    getpc_adj = 2  # a return address lies behind the call; two less lies in it

    def __init__(self, rt: Runtime, buffer: CodeBuffer | None = None) -> None:
        if buffer is None:
            buffer = make_buffer((rt.capacity or DEFAULT_CAPACITY) + HEADROOM, rt.guard)
        self.buffer = buffer
        self.capacity = buffer.size - HEADROOM
        self.note = f"{buffer.size >> 20} MiB of host code, {buffer.kind}"
        self.layout = make_layout(rt)
        self._cpu = rt.cpu
        self._neg = rt.env.neg
        self._raised: BaseException | None = None
        self._helpers: dict[Helper, tuple[Any, int]] = {}
        lookup = rt.lookup

        def host_of_next() -> int:
            code = lookup()
            return 0 if code is None else code.start

        self._callbacks = {
            "load": _LOAD(self._guarded(rt.load)),
            "store": _STORE(self._guarded(rt.store)),
            "lookup": _LOOKUP(self._guarded(host_of_next)),
        }
        places = {name: _address(fn) for name, fn in self._callbacks.items()}
        code, self.thunks = make_thunks(self.layout, places)
        buffer.write(0, code)
        self._first = self.used = -(-len(code) // 16) * 16
        self._enter = _ENTER(buffer.base + self.thunks["enter"])
        self.clock = _CLOCK(buffer.base + self.thunks["clock"])
        if buffer.kind != "plain":
            self._began = self._now()

    # Python, called by host code.

    def _guarded(self, fn: Callable[..., int | None]) -> Callable[..., int]:
        """``fn`` for host code: an exception cannot pass through that, so it is kept, and the
        thunk that has called is told to unwind; ``enter`` raises it."""
        neg = self._neg

        def call(*args: int) -> int:
            try:
                return fn(*args) or 0
            except BaseException as error:
                self._raised = error
                neg.unwinding = 1
                return 0

        return call

    def _callback(self, helper: Helper) -> int:
        """Host address of the function that calls ``helper``; made once."""
        known = self._helpers.get(helper)
        if known is None:
            fn, cpu = helper.fn, self._cpu

            def call(ra: int, *args: int) -> int | None:
                result = fn(cpu, ra, *args)
                assert not helper.noreturn, f"{helper.name} returned"
                return result

            count = fn.__code__.co_argcount - 2
            pointer = _HELPERS[count](self._guarded(call))
            known = self._helpers[helper] = pointer, _address(pointer)
        return known[1]

    # The contract.

    def compile(self, ops: Sequence[Op], number: int) -> X86Code:
        """Emit the block into the buffer; there must be room (``used`` below ``capacity``)."""
        offset = self.used
        made = Emitter(self.layout, number, offset, self.thunks, self._callback).emit(ops)
        self.buffer.write(offset, made.code)
        self.used = offset + len(made.code) + 15 & ~15
        return X86Code(number, offset, self.buffer.base + offset, made)

    def set_jump(self, code: X86Code, slot: int, target: X86Code | None) -> None:
        """Patch the displacement of one jump; safe while another thread runs it."""
        place = code.slots[slot]
        assert place is not None
        displacement, own_exit = place
        offset = code.offset + displacement
        to = code.offset + own_exit if target is None else target.offset
        self.buffer.patch(offset, to - offset - 4)

    def enter(self, code: X86Code) -> tuple[int, int]:
        """Run host code, without the GIL, until something leaves."""
        self.inside = True
        word = self._enter(code.start)
        self.inside = False
        if self._raised is not None:
            error, self._raised = self._raised, None
            self._neg.unwinding = 0
            raise error
        return word >> 2, word & 3

    def flush(self) -> None:
        """Begin again behind the thunks."""
        self.used = self._first

    # Time.

    def _now(self) -> tuple[int, float]:
        """The time stamp counter and ``time.perf_counter`` at one moment."""
        tries = []
        for _ in range(3):
            before = time.perf_counter()
            stamp = self.clock()
            after = time.perf_counter()
            tries.append((after - before, stamp, (before + after) / 2))
        _, stamp, at = min(tries)
        return stamp, at

    def seconds(self, stamps: Sequence[int]) -> list[float]:
        """Time stamps as values of ``time.perf_counter``, by a line through two moments."""
        first, began = self._began
        last, now = self._now()
        scale = (now - began) / (last - first)
        return [began + (stamp - first) * scale for stamp in stamps]

    # Looking.

    def listing(self, code: X86Code, ops: Sequence[Op]) -> list[HostInsn]:
        """Each instruction as it stands in the buffer now, and the op it came from: what emitting
        ``ops`` once more tells."""
        made = Emitter(
            self.layout, code.number, code.offset, self.thunks, self._callback
        ).emit(ops, marks=True)
        raw = self.buffer.read(code.offset, code.size)
        names = {t.value - BIAS: t.name for op in ops for t in op.args if _is_global(t)}
        return listing(raw, code, made, self.layout, self.thunks, self.buffer.base, names)


def _is_global(arg: Any) -> bool:
    return isinstance(arg, Temp) and arg.kind == GLOBAL


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0



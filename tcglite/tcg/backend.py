"""What a host backend must be able to do (QEMU: tcg/README, tcg/<host>/tcg-target.c.inc).

Everything here is an integer or an object of the backend's own: a block's host code covers the
host addresses ``start`` … ``start + size``; a jump slot is patched and unpatched in place, also
while another thread runs the code; entering host code returns which block left, and how. Guest
state lies in one ctypes block (``env``) that host code and Python both address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from .ir import Op, Temp

#: How a block left, beside slots 0 and 1 (QEMU: TB_EXIT_REQUESTED). With block number 0, the exit
#: names nobody: exit_tb(0), or a goto_ptr that found nothing.
TB_EXIT_REQUESTED = 3


@dataclass(slots=True)
class Runtime:
    """What generated code of one machine refers to; made once, by the accelerator.

    ``env``: the ctypes block; ``neg``: offset of its CPUNeg; ``pc``: offset of the guest pc;
    ``ram``: guest memory, which is at ``ram_base`` in guest physical addresses; ``ring``: memory
    of the block records, a power of two of 64-bit words; ``cpu``: first argument of all helpers;
    ``load``/``store``: slow paths, ``load(addr, memop, ra) -> value``,
    ``store(addr, value, memop, ra)``; ``lookup``: host code of the block for the current pc, or
    None (QEMU: helper_lookup_tb_ptr); ``clock``: time stamp for TRACE_TIMES. ``flags``: offset of
    the word that is part of every block's key; ``hot``: the globals that are used most, hottest
    first, never the pc; ``count``: blocks charge a budget; ``capacity``: bytes of host code to
    keep, 0 for the backend's default; ``guard``: it lies between guard pages.
    """

    env: Any
    neg: int
    pc: int
    ram: Any
    ram_base: int
    ring: Any
    cpu: Any
    load: Callable[[int, int, int], int]
    store: Callable[[int, int, int, int], None]
    lookup: Callable[[], Any]
    clock: Callable[[], int]
    flags: int
    hot: Sequence[Temp]
    count: bool
    capacity: int = 0
    guard: bool = False


class HostInsn(NamedTuple):
    """One host instruction, or line: ``raw``: its bytes in hexadecimal; ``note``: what its operands
    stand for; ``op``: number of the op, after optimisation, that it was made from; ``insn``: number
    in the block of the guest instruction behind that, None for the head."""

    address: int
    raw: str
    text: str
    note: str
    op: int
    insn: int | None = None


class HostCode(Protocol):
    """The host code of one block."""

    start: int
    size: int
    insn_ends: list[int]  #: offset from ``start`` at which each guest instruction's code ends


class Backend(Protocol):
    """One kind of host code."""

    name: str
    getpc_adj: int  #: what to subtract from a return address to be inside the call
    capacity: int  #: bytes (or whatever ``used`` counts) before the accelerator must flush
    used: int
    note: str  #: one line on how it works here
    inside: bool  #: does a thread run code that keeps counts to itself?

    def compile(self, ops: Sequence[Op], number: int) -> HostCode:
        """Host code for ``ops`` of block ``number`` (> 0)."""

    def set_jump(self, code: Any, slot: int, target: Any | None) -> None:
        """Patch ``slot`` of ``code`` to jump to ``target``; None: back to its own exit."""

    def enter(self, code: Any) -> tuple[int, int]:
        """Run from ``code`` on until something leaves: (block number or 0, exit index)."""

    def seconds(self, stamps: Sequence[int]) -> list[float]:
        """The time stamps of TRACE_TIMES as values of ``time.perf_counter``."""

    def listing(self, code: Any, ops: Sequence[Op]) -> list[HostInsn]:
        """Each host instruction, as it is patched now; ``ops`` is what ``code`` was made from."""

    def flush(self) -> None:
        """Forget all code; nothing is running."""

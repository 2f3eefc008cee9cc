"""What a host backend must be able to do (QEMU: tcg/README, tcg/<host>/tcg-target.c.inc).

Everything here is an integer or an object of the backend's own: a block's host code covers the
host addresses ``start`` … ``start + size``; a jump slot is patched and unpatched in place, also
while another thread runs the code; entering host code returns which block left, and how. Guest
state lies in one ctypes block (``env``) that host code and Python both address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .ir import Op

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
    None (QEMU: helper_lookup_tb_ptr); ``clock``: time stamp for TRACE_TIMES.
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

    def compile(self, ops: Sequence[Op], number: int) -> HostCode:
        """Host code for ``ops`` of block ``number`` (> 0)."""

    def set_jump(self, code: Any, slot: int, target: Any | None) -> None:
        """Patch ``slot`` of ``code`` to jump to ``target``; None: back to its own exit."""

    def enter(self, code: Any) -> tuple[int, int]:
        """Run from ``code`` on until something leaves: (block number or 0, exit index)."""

    def listing(self, code: Any) -> list[tuple[int, str, str]]:
        """(host address, raw form, text) of each host instruction, as it is patched now."""

    def flush(self) -> None:
        """Forget all code; nothing is running."""

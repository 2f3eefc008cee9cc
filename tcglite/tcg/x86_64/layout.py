"""The register map: which host register holds what while guest code runs.

    rbp        the guest's state (env + 128, so that one byte reaches the first 32 words)
    r15        what to add to a guest address to get a host address
    r14d       the budget, negated: it counts up to 0 (without counting: one more guest register)
    rbx rsi rdi r8 … r13    the guest's hottest registers, in every block, across jumps
    rax rcx rdx             scratch
    rsp        a frame: arguments of helpers, then slots for temporaries

Everything else of the guest lies in env. Since the map never changes, a jump from block to block
moves nothing; since memory or the map holds every guest register at each op that may raise, one
thunk can save and restore them all (``thunks``).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from ..backend import Runtime
from ..env import CPUNeg, IcountDecr
from ..ir import Temp
from . import asm

ENV, ADDEND, BUDGET = asm.RBP, asm.R15, asm.R14
SCRATCH = (asm.RAX, asm.RDX, asm.RCX)
HOMES = (
    asm.RBX, asm.RSI, asm.RDI, asm.R8, asm.R9, asm.R10, asm.R11, asm.R12, asm.R13,
)  # fmt: skip
BIAS = 128  #: rbp is so far into env
ARGS = 4  #: words of the frame that carry a helper's arguments
SLOTS = 24  #: words of the frame for temporaries
FRAME = 8 * (ARGS + SLOTS) + 8  #: bytes; with six registers pushed, rsp is a multiple of 16

NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
         *(f"r{n}" for n in range(8, 16)))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is; displacements are from rbp. ``homes``: guest register -> host register.
    ``addend``: host address of guest address 0."""

    env: int
    addend: int
    homes: dict[Temp, int]
    count: bool
    pc: int
    flags: int
    low: int
    high: int
    ring_next: int
    unwinding: int
    stamp: int
    tlb: int
    jmp_cache: int
    ring: int
    ring_words: int


def make_layout(rt: Runtime) -> Layout:
    """The layout for one machine."""

    def neg(field: Any) -> int:
        return rt.neg + field.offset - BIAS

    registers = HOMES if rt.count else (*HOMES, BUDGET)
    ring = (ctypes.c_char * len(memoryview(rt.ring).cast("B"))).from_buffer(rt.ring)
    ram = ctypes.addressof(ctypes.c_char.from_buffer(rt.ram))
    return Layout(
        env=ctypes.addressof(rt.env) + BIAS,
        addend=ram - rt.ram_base & (1 << 64) - 1,
        homes=dict(zip(rt.hot, registers, strict=False)),
        count=rt.count,
        pc=rt.pc - BIAS,
        flags=rt.flags - BIAS,
        low=neg(CPUNeg.icount_decr) + IcountDecr.low.offset,
        high=neg(CPUNeg.icount_decr) + IcountDecr.high.offset,
        ring_next=neg(CPUNeg.ring_next),
        unwinding=neg(CPUNeg.unwinding),
        stamp=neg(CPUNeg.stamp),
        tlb=neg(CPUNeg.tlb),
        jmp_cache=neg(CPUNeg.jmp_cache),
        ring=ctypes.addressof(ring),
        ring_words=len(ring) // 8,
    )

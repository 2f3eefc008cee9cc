"""The switches: each turns one mechanism off, or into its naive alternative."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ..errors import UsageError, shown, whole
from ..tcg.cflags import (
    CF_CHECK_SHIFT,
    CF_COUNT,
    CF_EAGER_PC,
    CF_NO_GOTO_PTR,
    CF_NO_GOTO_TB,
    CF_TRACE_SHIFT,
    CF_USE_ICOUNT,
    CHECK_END,
    CHECK_HEAD,
    CHECK_INSN,
    CHECK_NONE,
    MAX_INSNS,
    cf_with_count,
)

#: Where the engine looks for interrupts -> where generated code tests the exit flag.
IRQ_CHECKS = {
    "tb-start": CHECK_HEAD,
    "tb-end": CHECK_END,
    "every-insn": CHECK_INSN,
    "quantum": CHECK_NONE,
    "acyclic": CHECK_NONE,
    "unlink": CHECK_NONE,
    "never": CHECK_NONE,
}


@dataclass(frozen=True)
class Mechanisms:
    """All on by default, as QEMU works. A machine with a switch off still stops safely.

    cache: keep translated blocks. chain: patch jumps between blocks. goto_ptr: look up the target
    of an indirect jump without leaving host code. irq_check: where the engine looks for
    interrupts (``IRQ_CHECKS``). quantum: instructions between two looks with "quantum". restore:
    find the guest pc of a fault from the host PC; False leaves pc as it was, "eager" stores it
    before every access instead. icount_recompile: under icount, run a device access in mid-block
    alone, at the right time. io_last: the same without icount, as QEMU since 8.2. invalidate:
    drop blocks whose guest code was overwritten. max_block_insns: 1 … 512.
    """

    cache: bool = True
    chain: bool = True
    goto_ptr: bool = True
    irq_check: str = "tb-start"
    quantum: int = 1000
    restore: bool | Literal["eager"] = True
    icount_recompile: bool = True
    io_last: bool = False
    invalidate: bool = True
    max_block_insns: int = MAX_INSNS

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, bool) and not isinstance(value, bool):
                if field.name != "restore":
                    raise UsageError(f"{field.name}={shown(value)}; expected True or False")
                if value != "eager":
                    raise UsageError(f"restore={shown(value)}; expected True, False or 'eager'")
        if not isinstance(self.irq_check, str) or self.irq_check not in IRQ_CHECKS:
            names = ", ".join(IRQ_CHECKS)
            raise UsageError(f"irq_check={shown(self.irq_check)} is unknown; expected {names}")
        whole("max_block_insns", self.max_block_insns, 1, MAX_INSNS)
        whole("quantum", self.quantum, 1)

    @property
    def flag_heard(self) -> bool:
        """Does chained code ever test the exit flag?"""
        return IRQ_CHECKS[self.irq_check] != CHECK_NONE

    @property
    def kick_heard(self) -> bool:
        """Does setting the exit flag bring chained code back to the loop?"""
        return self.flag_heard or self.irq_check == "unlink"

    def cflags(self, *, count: bool, icount: bool, trace: int) -> int:
        """What these switches mean for the compilation of a block (QEMU: curr_cflags)."""
        bits = cf_with_count(0, self.max_block_insns)
        bits |= IRQ_CHECKS[self.irq_check] << CF_CHECK_SHIFT | trace << CF_TRACE_SHIFT
        if count:
            bits |= CF_COUNT
        if icount:
            bits |= CF_USE_ICOUNT
        if not (self.chain and self.cache):
            bits |= CF_NO_GOTO_TB
        if not (self.goto_ptr and self.cache) or self.irq_check == "acyclic":
            bits |= CF_NO_GOTO_PTR  # acyclic: an indirect jump could close a loop unseen
        if self.restore == "eager":
            bits |= CF_EAGER_PC
        return bits

    def check(self, *, count: bool, icount: bool) -> None:
        """Refuse combinations that make no sense."""
        if icount and not count:
            raise UsageError("icount counts instructions; it cannot go with count=False")
        if icount and self.irq_check != "tb-start":
            raise UsageError(f"icount needs irq_check='tb-start', not {self.irq_check!r}")
        if self.irq_check == "quantum" and not count:
            raise UsageError("irq_check='quantum' counts instructions; it needs count=True")

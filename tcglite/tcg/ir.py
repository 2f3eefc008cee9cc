"""Temps, ops, and the builder through which a front end emits them (QEMU: tcg/tcg-op.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .ops import OPS, M, OpDef

GLOBAL, CONST, TB = range(3)  #: kinds of temp, after QEMU's TCGTempKind


#: Each op's row, its numbers of outputs and inputs, and the places of its inputs.
_ROWS = {n: (r, r.outs, r.ins, range(r.outs, r.outs + r.ins)) for n, r in OPS.items()}


class Temp:
    """A value of 64 bits: a guest register in memory, a constant, or a temporary of one block."""

    __slots__ = ("kind", "name", "value")

    def __init__(self, kind: int, name: str, value: int = 0) -> None:
        self.kind = kind
        self.name = name
        self.value = value  # GLOBAL: byte offset in env; CONST: the constant

    def __repr__(self) -> str:
        return f"${self.value:#x}" if self.kind == CONST else self.name


class Label:
    """A place further down in the block, the target of exactly one ``brcond``; regions nest."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"$L{self.number}"


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that generated code calls (QEMU: DEF_HELPER_FLAGS_*).

    ``fn(cpu, ra, *args)`` gets the host PC of the call, 0 where the state is already right.
    ``returns``: it has a 64-bit result. ``noreturn``: it always unwinds. ``pure_state``: it
    neither reads nor writes guest registers and does not raise (QEMU: TCG_CALL_NO_RWG).
    """

    name: str
    fn: Callable[..., Any]
    returns: bool = False
    noreturn: bool = False
    pure_state: bool = False


class Op:
    """One op: its row, its arguments (outputs, inputs, constants), and what liveness found out."""

    __slots__ = ("args", "dead", "ins", "opdef", "outs")

    def __init__(self, opdef: OpDef, args: list[Any], outs: int, ins: int) -> None:
        self.opdef = opdef
        self.args = args
        self.outs = outs
        self.ins = ins
        self.dead: tuple[int, ...] = ()  # argument numbers that die here

    @property
    def name(self) -> str:
        return self.opdef.name


class Builder:
    """Collects the ops of one block. Operands are temps or plain integers."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self._consts: dict[int, Temp] = {}
        self._temps = 0
        self._labels = 0

    def const(self, value: int) -> Temp:
        """The constant ``value`` (taken modulo 2**64); equal constants are one temp."""
        value &= M
        temp = self._consts.get(value)
        if temp is None:
            temp = self._consts[value] = Temp(CONST, "", value)
        return temp

    def temp(self) -> Temp:
        """A new temporary; it lives to the end of the block at most."""
        self._temps += 1
        return Temp(TB, f"tmp{self._temps}")

    def label(self) -> Label:
        """A label that is not set yet."""
        self._labels += 1
        return Label(self._labels - 1)

    def emit(self, name: str, *args: Any) -> Op:
        """Append op ``name``; integers in temp positions become constants."""
        row, outs, ins, places = _ROWS[name]
        full = list(args)
        for i in places:
            if full[i].__class__ is int:
                full[i] = self.const(full[i])
        op = Op(row, full, outs, ins)
        self.ops.append(op)
        return op

    def new(self, name: str, *args: Any) -> Temp:
        """Emit a one-output op into a new temporary and return that."""
        out = self.temp()
        self.emit(name, out, *args)
        return out

    def call(self, helper: Helper, *args: Temp | int, out: Temp | None = None) -> None:
        """Call ``helper``; ``out`` takes its result."""
        ins = [self.const(a) if isinstance(a, int) else a for a in args]
        outs = [] if out is None else [out]
        self.ops.append(Op(OPS["call"], [*outs, *ins, helper], len(outs), len(ins)))

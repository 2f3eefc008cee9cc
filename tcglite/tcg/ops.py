"""The ops of the IR, one row each (QEMU: include/tcg/tcg-opc.h, docs/devel/tcg-ops.rst).

A pure op's meaning is written once, as a Python expression over unsigned 64-bit integers; the
constant folder evaluates it and the ``python`` backend emits it. Names are TCG's, printed with the
suffix ``_i64``. Ours alone: ``exit_check`` (QEMU spells the head check as ld_i32, sub_i32,
brcond_i32, st16_i32; each backend lays it out its own way) and ``trace_tb``; ``goto_ptr`` includes
the look-up that QEMU spells as a call before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

M = (1 << 64) - 1  #: all ones
S = 1 << 63  #: the sign bit

# Flags, after QEMU's TCG_OPF_*.
BB_EXIT = 1  #: leaves the block
BB_END = 2  #: a label: what was known before it no longer holds
COND_EXIT = 4  #: may leave or jump: every guest register must be recoverable here
MAY_RAISE = 8  #: may unwind to the loop: the same
SIDE_EFFECT = 16  #: never removed


@dataclass(frozen=True, slots=True)
class OpDef:
    """``outs`` and ``ins`` are the numbers of temp arguments; constants follow them."""

    name: str
    outs: int
    ins: int
    flags: int = 0
    expr: str | None = None
    fold: Callable[..., int] | None = None


#: Conditions as Python expressions over unsigned operands ``{a}`` and ``{b}``.
CONDS = {
    "eq": "{a} == {b}",
    "ne": "{a} != {b}",
    "lt": "{a} ^ S < {b} ^ S",
    "ge": "{a} ^ S >= {b} ^ S",
    "ltu": "{a} < {b}",
    "geu": "{a} >= {b}",
}
INVERTED = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "ltu": "geu", "geu": "ltu"}


def sdiv(a: int, b: int) -> int:
    """Signed division towards zero; as TCG's, undefined for b = 0 (the guest's code guards it)."""
    x, y = (a ^ S) - S, (b ^ S) - S
    q = abs(x) // abs(y)
    return (q if (x < 0) == (y < 0) else -q) & M


def srem(a: int, b: int) -> int:
    """Signed remainder with the dividend's sign; undefined for b = 0."""
    x, y = (a ^ S) - S, (b ^ S) - S
    r = abs(x) % abs(y)
    return (-r if x < 0 else r) & M


NAMES = {"M": M, "S": S, "sdiv": sdiv, "srem": srem}

_PURE = [
    # name     meaning
    ("mov", "{a}"),
    ("add", "{a} + {b} & M"),
    ("sub", "{a} - {b} & M"),
    ("mul", "{a} * {b} & M"),
    ("mulsh", "(({a} ^ S) - S) * (({b} ^ S) - S) >> 64 & M"),
    ("muluh", "{a} * {b} >> 64"),
    ("div", "sdiv({a}, {b})"),
    ("divu", "{a} // {b}"),
    ("rem", "srem({a}, {b})"),
    ("remu", "{a} % {b}"),
    ("and", "{a} & {b}"),
    ("or", "{a} | {b}"),
    ("xor", "{a} ^ {b}"),
    ("shl", "{a} << {b} & M"),
    ("shr", "{a} >> {b}"),
    ("sar", "({a} ^ S) - S >> {b} & M"),
    ("ext32s", "({a} & 0xffffffff ^ 0x80000000) - 0x80000000 & M"),
    ("ext32u", "{a} & 0xffffffff"),
]


def _pure(name: str, expr: str) -> OpDef:
    args = [n for n in "abcd" if "{" + n + "}" in expr]
    plain = expr.format(**{n: n for n in args})
    return OpDef(name, 1, len(args), 0, expr, eval(f"lambda {', '.join(args)}: {plain}", NAMES))


OPS: dict[str, OpDef] = {name: _pure(name, expr) for name, expr in _PURE}
OPS |= {
    d.name: d
    for d in [
        # name, outs, ins, flags; constants after the temps as described
        OpDef("setcond", 1, 2),  # cond
        OpDef("movcond", 1, 4),  # c1 c2 v1 v2, cond: v1 if c1 <cond> c2 else v2
        OpDef("brcond", 0, 2, COND_EXIT),  # cond, label
        OpDef("set_label", 0, 0, BB_END),  # label
        OpDef("ld", 1, 0),  # offset in env (64 bits)
        OpDef("st", 0, 1, SIDE_EFFECT),  # offset in env (64 bits)
        OpDef("qemu_ld", 1, 1, MAY_RAISE),  # memop, mmu index
        OpDef("qemu_st", 0, 2, MAY_RAISE),  # value, address; memop, mmu index
        OpDef("call", 0, 0, SIDE_EFFECT),  # helper; outs and ins as the helper says
        OpDef("mb", 0, 0, SIDE_EFFECT),
        OpDef("insn_start", 0, 0, SIDE_EFFECT),  # the three words
        OpDef("exit_check", 0, 0, COND_EXIT | SIDE_EFFECT),  # charge, test flag?, None|pc|-1
        OpDef("trace_tb", 0, 0, SIDE_EFFECT),  # TRACE_*
        OpDef("goto_tb", 0, 0, COND_EXIT | SIDE_EFFECT),  # slot
        OpDef("exit_tb", 0, 0, BB_EXIT | SIDE_EFFECT),  # slot, or None for exit_tb(0)
        OpDef("goto_ptr", 0, 0, BB_EXIT | SIDE_EFFECT),  # to the block of the stored pc
    ]
}

FOLD_COND = {
    cond: eval(f"lambda a, b: {expr.format(a='a', b='b')}", NAMES) for cond, expr in CONDS.items()
}

# MemOp, after QEMU's include/exec/memop.h.
MO_8, MO_16, MO_32, MO_64 = range(4)
MO_SIZE = 3  #: mask: log2 of the bytes
MO_SIGN = 4  #: sign-extend what was loaded
MO_ALIGN = 8  #: the address must be a multiple of the size

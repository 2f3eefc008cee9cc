"""IR as text, in the layout of QEMU's ``-d op`` and ``-d op_opt`` (QEMU: tcg_dump_ops)."""

from __future__ import annotations

from collections.abc import Iterable

from .ir import Op
from .ops import MO_ALIGN, MO_SIGN, MO_SIZE

_UNTYPED = {"call", "mb", "insn_start", "exit_check", "trace_tb", "goto_tb", "exit_tb"}
_UNTYPED |= {"goto_ptr", "set_label"}


def memop_name(memop: int) -> str:
    """QEMU's name of a memory operation: ``leq``, ``lesl``, ``ub``, with ``al+`` if aligned."""
    size = "bwlq"[memop & MO_SIZE]
    sign = "" if size == "q" else "s" if memop & MO_SIGN else "u"
    return ("al+" if memop & MO_ALIGN else "") + ("" if size == "b" else "le") + sign + size


def format_op(op: Op, number: int = 0) -> str:
    """One op on one line; ``number`` is the block's, shown where exit_tb names its block."""
    name = op.name
    temps = [repr(a) for a in op.args[: op.outs + op.ins]]
    rest = op.args[op.outs + op.ins :]
    if name == "insn_start":
        return "\n ---- " + " ".join(f"{w:016x}" for w in rest)
    if name == "call":
        helper = rest[0]
        return f" call {helper.name},${op.outs:#x}" + "".join("," + t for t in temps)
    if name in ("qemu_ld", "qemu_st"):
        tail = [memop_name(rest[0]), str(rest[1])]
    elif name == "exit_check":
        charge, kick, pc = rest
        tail = [f"${charge:#x}", "flag" if kick else "noflag"]
        tail.append("refuse" if pc is None else f"${pc:#x}")
    elif name == "exit_tb":
        tail = ["$0x0" if rest[0] is None else f"tb{number}:{rest[0]}"]
    elif name in ("ld", "st"):
        tail = ["env", f"${rest[0]:#x}"]
    else:
        tail = [f"${a:#x}" if isinstance(a, int) else str(a) for a in rest]
    suffix = "" if name in _UNTYPED else "_i64"
    return f" {name}{suffix} {','.join(temps + tail)}".rstrip()


def format_ops(ops: Iterable[Op], number: int = 0, liveness: bool = False) -> str:
    """All ops; with ``liveness``, the arguments that die at each op stand behind it."""
    lines = []
    for op in ops:
        line = format_op(op, number)
        if liveness and op.dead:
            line = f"{line:<50}  dead: " + " ".join(map(str, op.dead))
        lines.append(line)
    return "\n".join(lines)

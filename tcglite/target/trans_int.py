"""Translation of integer instructions, memory accesses and control flow, by family.

QEMU: target/riscv/insn_trans/trans_rvi.c.inc, trans_rvm.c.inc, trans_rva.c.inc. Unprivileged
specification, RV64I, M and A.
"""

from __future__ import annotations

from ..tcg.ir import Temp
from ..tcg.ops import MO_8, MO_16, MO_32, MO_64, MO_ALIGN, MO_SIGN, S
from .cpu import LOAD_RES, LOAD_VAL, NO_RESERVATION, PC, X
from .decode import Insn
from .helper import SC_PROBE
from .translate import DisasContext, family

MEMOPS = {"b": MO_8, "w": MO_16, "l": MO_32, "q": MO_64}
MEMOPS |= {"sb": MO_8 | MO_SIGN, "sw": MO_16 | MO_SIGN, "sl": MO_32 | MO_SIGN}
MEMOPS |= {"ub": MO_8, "uw": MO_16, "ul": MO_32}


@family("lui")
def lui(ctx: DisasContext, i: Insn) -> None:
    ctx.b.emit("mov", ctx.dest(i.rd), i.imm)


@family("auipc")
def auipc(ctx: DisasContext, i: Insn) -> None:
    ctx.b.emit("mov", ctx.dest(i.rd), ctx.pc + i.imm)


@family("jal")
def jal(ctx: DisasContext, i: Insn) -> None:
    ctx.b.emit("mov", ctx.dest(i.rd), ctx.next)
    ctx.goto_tb(0, ctx.pc + i.imm & (1 << 64) - 1)


@family("jalr")
def jalr(ctx: DisasContext, i: Insn) -> None:
    target = ctx.b.new("add", ctx.reg(i.rs1), i.imm)
    ctx.b.emit("and", PC, target, ~1)
    ctx.b.emit("mov", ctx.dest(i.rd), ctx.next)
    ctx.goto_ptr()


@family("branch")
def branch(ctx: DisasContext, i: Insn) -> None:
    """Not taken leaves by slot 1, taken by slot 0, as QEMU's front end has it."""
    taken = ctx.b.label()
    ctx.b.emit("brcond", ctx.reg(i.rs1), ctx.reg(i.rs2), i.arg, taken)
    ctx.goto_tb(1, ctx.next)
    ctx.b.emit("set_label", taken)
    ctx.goto_tb(0, ctx.pc + i.imm & (1 << 64) - 1)


def address(ctx: DisasContext, i: Insn) -> Temp | int:
    """rs1 + imm."""
    return ctx.b.new("add", ctx.reg(i.rs1), i.imm) if i.imm else ctx.reg(i.rs1)


@family("load")
def load(ctx: DisasContext, i: Insn) -> None:
    addr = address(ctx, i)
    ctx.before_access()
    ctx.b.emit("qemu_ld", ctx.dest(i.rd), addr, MEMOPS[i.arg], ctx.mmu)


@family("store")
def store(ctx: DisasContext, i: Insn) -> None:
    addr = address(ctx, i)
    ctx.before_access()
    ctx.b.emit("qemu_st", ctx.reg(i.rs2), addr, MEMOPS[i.arg], ctx.mmu)


# Arithmetic: ``arg`` is the TCG op; the few that are not one op have a function.


def slt(ctx: DisasContext, out: Temp, a: Temp | int, b: Temp | int) -> None:
    ctx.b.emit("setcond", out, a, b, "lt")


def sltu(ctx: DisasContext, out: Temp, a: Temp | int, b: Temp | int) -> None:
    ctx.b.emit("setcond", out, a, b, "ltu")


def mulsu(ctx: DisasContext, out: Temp, a: Temp | int, b: Temp | int) -> None:
    """High half of signed a times unsigned b: the unsigned one, less b if a is negative."""
    sign = ctx.b.new("sar", a, 63)
    less = ctx.b.new("and", sign, b)
    ctx.b.emit("sub", out, ctx.b.new("muluh", a, b), less)


_COMPOSED = {"slt": slt, "sltu": sltu, "mulsu": mulsu}
_SHIFTS = ("shl", "shr", "sar")


def _arith(ctx: DisasContext, op: str, out: Temp, a: Temp | int, b: Temp | int) -> None:
    if op in _COMPOSED:
        _COMPOSED[op](ctx, out, a, b)
    else:
        ctx.b.emit(op, out, a, b)


@family("arith")
def arith(ctx: DisasContext, i: Insn) -> None:
    b = ctx.reg(i.rs2)
    if i.arg in _SHIFTS:
        b = ctx.b.new("and", b, 63)
    _arith(ctx, i.arg, ctx.dest(i.rd), ctx.reg(i.rs1), b)


@family("arithi")
def arithi(ctx: DisasContext, i: Insn) -> None:
    _arith(ctx, i.arg, ctx.dest(i.rd), ctx.reg(i.rs1), i.imm)


def _word_op(ctx: DisasContext, op: str, rd: int, a: Temp | int, b: Temp | int) -> None:
    """A W operation: on the low 32 bits, the result sign-extended from bit 31. Two shifts give
    such a result by themselves: sar of a sign-extended value, and shr by a constant that is not 0,
    which clears bit 31."""
    if op == "sar":
        ctx.b.emit("sar", ctx.dest(rd), ctx.b.new("ext32s", a), b)
        return
    if op == "shr":
        a = ctx.b.new("ext32u", a)
        if isinstance(b, int) and b:
            ctx.b.emit("shr", ctx.dest(rd), a, b)
            return
    ctx.b.emit("ext32s", ctx.dest(rd), ctx.b.new(op, a, b))


@family("arithw")
def arithw(ctx: DisasContext, i: Insn) -> None:
    b = ctx.reg(i.rs2)
    if i.arg in _SHIFTS:
        b = ctx.b.new("and", b, 31)
    _word_op(ctx, i.arg, i.rd, ctx.reg(i.rs1), b)


@family("arithwi")
def arithwi(ctx: DisasContext, i: Insn) -> None:
    _word_op(ctx, i.arg, i.rd, ctx.reg(i.rs1), i.imm)


def _div(ctx: DisasContext, op: str, out: Temp, x: Temp | int, y: Temp | int) -> None:
    """Division with RISC-V's results for 0 and for overflow, so that no host op ever traps:
    the divisor is replaced before, the result after."""
    b = ctx.b
    signed = op in ("div", "rem")
    if signed:  # minimum / -1: divide by 1 instead, which gives the quotient; the remainder is 0
        is_min = b.new("setcond", x, S, "eq")
        is_m1 = b.new("setcond", y, -1, "eq")
        overflow = b.new("and", is_min, is_m1)
        y1 = b.new("movcond", overflow, 0, 1, y, "ne")
    else:
        y1 = y if isinstance(y, Temp) else b.const(y)
    safe = b.new("movcond", y, 0, 1, y1, "eq")
    result = b.new(op, x, safe)
    b.emit("movcond", out, y, 0, -1 if op in ("div", "divu") else x, result, "eq")


@family("div")
def div(ctx: DisasContext, i: Insn) -> None:
    _div(ctx, i.arg, ctx.dest(i.rd), ctx.reg(i.rs1), ctx.reg(i.rs2))


@family("divw")
def divw(ctx: DisasContext, i: Insn) -> None:
    """In 64 bits nothing overflows but -2**31 / -1, whose low half is right."""
    extend = "ext32s" if i.arg in ("div", "rem") else "ext32u"
    x = ctx.b.new(extend, ctx.reg(i.rs1))
    y = ctx.b.new(extend, ctx.reg(i.rs2))
    out = ctx.b.temp()
    _div(ctx, i.arg, out, x, y)
    ctx.b.emit("ext32s", ctx.dest(i.rd), out)


# Atomics: one hart, so a load, an op and a store; the destination is written last, because an
# I/O rewind executes the instruction again. Their faults are store/AMO faults, whatever faulted.


@family("lr")
def lr(ctx: DisasContext, i: Insn) -> None:
    ctx.before_access()
    addr = ctx.reg(i.rs1)
    memop = MEMOPS[i.arg] | MO_ALIGN | (MO_SIGN if i.arg == "l" else 0)
    ctx.b.emit("qemu_ld", LOAD_VAL, addr, memop, ctx.mmu)
    ctx.b.emit("mov", LOAD_RES, addr)
    ctx.b.emit("mov", ctx.dest(i.rd), LOAD_VAL)


@family("sc")
def sc(ctx: DisasContext, i: Insn) -> None:
    """Stores if the address is the reserved one and memory still holds the value that LR saw:
    QEMU's compare-and-exchange, which also notices stores by devices."""
    ctx.always_store_amo()
    ctx.before_access()
    b = ctx.b
    addr, memop = ctx.reg(i.rs1), MEMOPS[i.arg] | MO_ALIGN
    failed = b.new("setcond", LOAD_RES, addr, "ne")
    held, lost, changed = b.label(), b.label(), b.label()
    b.emit("brcond", failed, 0, "eq", held)
    b.call(SC_PROBE, addr, memop)
    b.emit("set_label", held)
    b.emit("brcond", failed, 0, "ne", lost)
    now = b.new("qemu_ld", addr, memop | (MO_SIGN if i.arg == "l" else 0), ctx.mmu)
    b.emit("setcond", failed, now, LOAD_VAL, "ne")
    b.emit("brcond", failed, 0, "ne", changed)
    b.emit("qemu_st", ctx.reg(i.rs2), addr, memop, ctx.mmu)
    b.emit("set_label", changed)
    b.emit("set_label", lost)
    b.emit("mov", LOAD_RES, NO_RESERVATION)
    b.emit("mov", ctx.dest(i.rd), failed)


_MINMAX = {"min": "lt", "max": "ge", "minu": "ltu", "maxu": "geu"}


@family("amo")
def amo(ctx: DisasContext, i: Insn) -> None:
    op, size = i.arg
    ctx.always_store_amo()
    ctx.before_access()
    b = ctx.b
    addr, memop = ctx.reg(i.rs1), MEMOPS[size] | MO_ALIGN
    old = b.new("qemu_ld", addr, memop | (MO_SIGN if size == "l" else 0), ctx.mmu)
    new: Temp | int = ctx.reg(i.rs2)
    if op in _MINMAX:
        if size == "l":  # both sign-extended: this keeps the unsigned order as well
            new = b.new("ext32s", new)
        new = b.new("movcond", old, new, old, new, _MINMAX[op])
    elif op != "swap":
        new = b.new(op, old, new)
    b.emit("qemu_st", new, addr, memop, ctx.mmu)
    if i.rd:
        b.emit("mov", X[i.rd], old)

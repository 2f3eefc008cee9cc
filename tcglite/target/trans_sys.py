"""Translation of system, CSR, fence and floating-point instructions, by family.

QEMU: target/riscv/insn_trans/trans_privileged.c.inc, trans_rvi.c.inc (CSRs), trans_rvf.c.inc.
"""

from __future__ import annotations

from ..tcg.ir import Temp
from ..tcg.ops import MO_32, MO_64, S
from .cpu import FLAGS_FS_SHIFT, MSTATUS_FS, OFFSET_MSTATUS, OFFSET_TB_FLAGS, PC, F
from .decode import Insn
from .helper import CSRR, CSRRW, CSRW, MRET, WFI
from .trans_int import address
from .translate import DisasContext, family
from .trap import BREAKPOINT, U_ECALL

_BOX = 0xFFFFFFFF << 32  #: a single in a 64-bit register is NaN-boxed
_CANONICAL_NAN = 0x7FC00000


@family("fence")
def fence(ctx: DisasContext, i: Insn) -> None:
    ctx.b.emit("mb")


@family("fence_i")
def fence_i(ctx: DisasContext, i: Insn) -> None:
    """Stores invalidate blocks at once; this only ends the block, so that no old code follows."""
    ctx.b.emit("mov", PC, ctx.next)
    ctx.exit_to_loop()


@family("ecall")
def ecall(ctx: DisasContext, i: Insn) -> None:
    ctx.exception(U_ECALL)  # trap entry makes it the cause of the mode that it came from


@family("ebreak")
def ebreak(ctx: DisasContext, i: Insn) -> None:
    ctx.exception(BREAKPOINT)


@family("mret")
def mret(ctx: DisasContext, i: Insn) -> None:
    ctx.before_helper()
    ctx.b.call(MRET, out=PC)
    ctx.exit_to_loop()


@family("wfi")
def wfi(ctx: DisasContext, i: Insn) -> None:
    """Does not end the block, as in QEMU; the helper unwinds from wherever it stands."""
    ctx.before_access()  # it may be illegal here
    ctx.b.call(WFI)


@family("illegal_s")
def illegal_s(ctx: DisasContext, i: Insn) -> bool:
    return False


def _csr(ctx: DisasContext, i: Insn, value: Temp | int, nothing: bool) -> None:
    """Every CSR instruction ends its block through the loop: it may have unmasked an interrupt,
    and what it read (time, minstret, mip) is only exact in the last instruction."""
    b = ctx.b
    ctx.before_helper()
    if i.arg == "rw":
        if i.rd == 0:
            b.call(CSRW, i.csr, value)
        else:
            b.call(CSRRW, i.csr, value, -1, out=ctx.dest(i.rd))
    elif nothing:
        b.call(CSRR, i.csr, out=ctx.dest(i.rd))
    else:
        b.call(CSRRW, i.csr, -1 if i.arg == "rs" else 0, value, out=ctx.dest(i.rd))
    b.emit("mov", PC, ctx.next)
    ctx.exit_to_loop()


@family("csr")
def csr(ctx: DisasContext, i: Insn) -> None:
    _csr(ctx, i, ctx.reg(i.rs1), i.rs1 == 0)


@family("csri")
def csri(ctx: DisasContext, i: Insn) -> None:
    _csr(ctx, i, i.rs1, i.rs1 == 0)


# Floating point: registers and moves. That FS is off is known from the block's key, so no test is
# emitted. Arithmetic is illegal until it exists; misa shows neither F nor D till then.


def _mark_fs_dirty(ctx: DisasContext) -> None:
    """mstatus.FS becomes Dirty, once per block; so does its copy in the block key's word."""
    if not ctx.fs_dirty:
        ctx.fs_dirty = True
        for offset, bits in ((OFFSET_MSTATUS, MSTATUS_FS), (OFFSET_TB_FLAGS, 3 << FLAGS_FS_SHIFT)):
            ctx.b.emit("st", ctx.b.new("or", ctx.b.new("ld", offset), bits), offset)


@family("fpload")
def fpload(ctx: DisasContext, i: Insn) -> bool:
    if not ctx.fs:
        return False
    addr = address(ctx, i)
    ctx.before_access()
    value = ctx.b.new("qemu_ld", addr, MO_32 if i.arg == "l" else MO_64, ctx.mmu)
    if i.arg == "l":
        value = ctx.b.new("or", value, _BOX)
    ctx.b.emit("mov", F[i.rd], value)
    _mark_fs_dirty(ctx)
    return True


@family("fpstore")
def fpstore(ctx: DisasContext, i: Insn) -> bool:
    if not ctx.fs:
        return False
    addr = address(ctx, i)
    ctx.before_access()
    ctx.b.emit("qemu_st", F[i.rs2], addr, MO_32 if i.arg == "l" else MO_64, ctx.mmu)
    return True


@family("fmv")
def fmv(ctx: DisasContext, i: Insn) -> bool:
    if not ctx.fs:
        return False
    b = ctx.b
    if i.arg == "x.w":
        b.emit("ext32s", ctx.dest(i.rd), F[i.rs1])
    elif i.arg == "x.d":
        b.emit("mov", ctx.dest(i.rd), F[i.rs1])
    else:
        value = ctx.reg(i.rs1)
        b.emit("or" if i.arg == "w.x" else "mov", F[i.rd], *(
            (value, _BOX) if i.arg == "w.x" else (value,)
        ))  # fmt: skip
        _mark_fs_dirty(ctx)
    return True


def _unbox(ctx: DisasContext, f: Temp) -> Temp:
    """A single: the low half if the register is properly boxed, else the canonical NaN."""
    b = ctx.b
    high = b.new("shr", f, 32)
    return b.new("movcond", high, 0xFFFFFFFF, b.new("ext32u", f), _CANONICAL_NAN, "eq")


@family("fsgnj")
def fsgnj(ctx: DisasContext, i: Insn) -> bool:
    """Sign of rs2 (plain, negated, or exclusive-or'ed with rs1's) on the rest of rs1."""
    if not ctx.fs:
        return False
    b = ctx.b
    kind, size = i.arg
    single = size == "s"
    sign = 1 << 31 if single else S
    rest = sign - 1 if single else S - 1
    x = _unbox(ctx, F[i.rs1]) if single else F[i.rs1]
    y = _unbox(ctx, F[i.rs2]) if single else F[i.rs2]
    if kind == "x":
        value = b.new("xor", x, b.new("and", y, sign))
    else:
        s = b.new("and", y, sign)
        if kind == "n":
            s = b.new("xor", s, sign)
        value = b.new("or", b.new("and", x, rest), s)
    b.emit("or" if single else "mov", F[i.rd], *((value, _BOX) if single else (value,)))
    _mark_fs_dirty(ctx)
    return True


@family("fparith")
def fparith(ctx: DisasContext, i: Insn) -> bool:
    return False

"""Ops that compute: one function per family (QEMU: tcg_out_op in tcg/i386/tcg-target.c.inc).

x86-64 overwrites its first operand, so most of this is about which register that may be: the
output's home, an operand that dies here, or a free scratch register. Pairs of ops that the guest's
32-bit instructions and addresses with an offset consist of are emitted as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import CONST, TB, Op, Temp
from .access import Accesses
from .asm import (
    ADD,
    AND,
    CC,
    CC_SWAPPED,
    CMP,
    CQO,
    DIV,
    IDIV,
    IMUL,
    IMUL1,
    LEA,
    LOAD,
    MOVSXD,
    MOVZX8,
    MUL,
    OR,
    RAX,
    RCX,
    RDX,
    SAR,
    SHL,
    SHR,
    STORE,
    SUB,
    TEST,
    XOR,
    alu_mi,
    alu_ri,
    fits32,
    imm,
    rm,
    rr,
    shift_ri,
)
from .layout import BIAS, ENV

_ALU = {"add": ADD, "sub": SUB, "and": AND, "or": OR, "xor": XOR, "mul": IMUL}
_SHIFT = {"shl": SHL, "shr": SHR, "sar": SAR}
_WIDE = {"mulsh": (IMUL1, RDX), "muluh": (MUL, RDX)}
_DIVIDE = {"div": (IDIV, RAX), "divu": (DIV, RAX), "rem": (IDIV, RDX), "remu": (DIV, RDX)}


class Values(Accesses):
    """Arithmetic, moves, comparisons of one block; ``ops`` are all of it."""

    ops: Sequence[Op]

    def finish(self, r: int, wide: bool = True) -> None:
        """The output is in ``r``; not ``wide``: its low half, to be sign-extended."""
        out = self.out
        if not wide:
            home = self.homes.get(out, r)
            self.code += rr(MOVSXD, home, r)
            r = home
        self.define(out, r)

    def narrow(self) -> bool:
        """Does the next op only sign-extend this one's output, so that 32 bits are enough? That op
        is then done with the one in hand."""
        op = self.ops[self.index + 1]
        out = self.out
        if op.opdef.name != "ext32s" or op.args[1] is not out or 1 not in op.dead:
            return False
        if out.kind != TB or out in self.op.args[1:3]:
            return False
        self.forget(out)
        self.out = op.args[0]
        self.dead = tuple(i for i in self.dead if i) + ((0,) if 0 in op.dead else ())
        self.index += 1
        return True

    def op_arith(self, out: Temp, a: Temp, b: Temp) -> None:
        """add, sub, and, or, xor, mul: the first operand is overwritten."""
        name = self.op.opdef.name
        if name == "add" and b.kind == CONST and self.folds(out, a, b):
            return
        wide = not self.narrow()
        if b.kind == CONST and self.with_const(name, a, b.value, wide):
            return
        opcode = _ALU[name]
        home = self.homes.get(self.out)
        if home is not None and self.where.get(b) == home and self.where.get(a) != home:
            if name == "sub":
                home = None  # b is still needed when the first operand has been put there
            else:
                a, b = b, a
        r = self.accumulator(a, b) if home is None else home
        self.load(r, a)
        self.alu(opcode, r, b, wide)
        self.release(a, r)
        self.finish(r, wide)

    def accumulator(self, a: Temp, b: Temp) -> int:
        """A scratch register in which ``a`` may be overwritten: its own if it dies here."""
        r = self.where.get(a)
        if r in self.held and 1 in self.dead and self.op.args[1] is a:
            return r
        other = self.where.get(b)
        return self.grab() if other is None else self.grab(other)

    def release(self, temp: Temp, r: int) -> None:
        """``temp``, if it is in scratch register ``r``, has been overwritten there."""
        if self.held.get(r) is temp:
            self.forget(temp)

    def with_const(self, name: str, a: Temp, value: int, wide: bool) -> bool:
        """Forms that take a constant and need no copy first."""
        if not fits32(value) and wide:
            return False
        value = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        x = self.where.get(a)
        if name == "mul":
            x = self.src(a)
            r = self.reuse(self.out, 1)
            self.code += rr(b"\x69", r, x, wide) + imm(value)
        elif name == "add" and x is not None:
            r = self.reuse(self.out, 1)
            self.code += alu_ri(ADD, r, value, wide) if x == r else rm(LEA, r, x, value, None, wide)
        else:
            return False
        self.finish(r, wide)
        return True

    def folds(self, out: Temp, a: Temp, b: Temp) -> bool:
        """Is the next op an access to address ``out``, which nobody else reads, so that it can do
        the addition itself?"""
        op = self.ops[self.index + 1]
        if (
            op.opdef.name not in ("qemu_ld", "qemu_st")
            or op.args[1] is not out
            or 1 not in op.dead
            or op.args[0] is out
            or out.kind != TB
            or a is out
            or not fits32(b.value + (1 << 30))  # room for the size of the access
            or not fits32(b.value - (1 << 30) & (1 << 64) - 1)
        ):
            return False
        self.folded = a, b.value - (b.value >> 63 << 64), 1 in self.dead
        self.forget(out)
        self.dead = ()
        return True

    def op_shift(self, out: Temp, a: Temp, b: Temp) -> None:
        kind = _SHIFT[self.op.opdef.name]
        if b.kind == CONST:
            wide = not (kind == SHL and b.value < 32 and self.narrow())
            home = self.homes.get(self.out)
            r = self.accumulator(a, a) if home is None else home
            self.load(r, a)
            self.code += shift_ri(kind, r, b.value & 63, wide)
        else:
            wide = True
            if self.where.get(b) != RCX:
                self.vacate(RCX)
                self.load(RCX, b)
            home = self.homes.get(out)
            x = self.where.get(a)
            if home is not None:
                r = home
            elif x in self.held and x != RCX and 1 in self.dead:
                r = x
            else:
                r = self.grab(RCX)
            self.load(r, a)
            self.code += rr(b"\xd3", kind, r)
        self.release(a, r)
        self.finish(r, wide)

    def op_extend(self, out: Temp, a: Temp) -> None:
        """ext32s, ext32u: a 32-bit move clears the upper half."""
        signed = self.op.opdef.name == "ext32s"
        r = self.homes.get(out)
        if r is None:
            x = self.where.get(a)
            r = x if x in self.held and 1 in self.dead else self.grab()
        self.alu(MOVSXD if signed else LOAD, r, a, signed)
        self.release(a, r)
        self.finish(r)

    def op_mov(self, out: Temp, a: Temp) -> None:
        home, x = self.homes.get(out), self.where.get(a)
        if home is not None:
            self.load(home, a)
        elif out.kind == TB:
            r = x if x in self.held and 1 in self.dead else self.grab()
            self.load(r, a)
            self.release(a, r)
            self.finish(r)
        elif a.kind == CONST and x is None:
            self.forget(out)
            self.store_const(ENV, out.value - BIAS, a.value)
        else:
            x = self.src(a)
            self.forget(out)
            self.code += rm(STORE, x, ENV, out.value - BIAS)

    def op_mul_high(self, out: Temp, a: Temp, b: Temp) -> None:
        """mulsh, muluh: rdx:rax = rax * operand."""
        number, r = _WIDE[self.op.opdef.name]
        self.vacate_all()
        self.load(RAX, a)
        self.alu_group3(number, b)
        self.finish(r)

    def op_divide(self, out: Temp, a: Temp, b: Temp) -> None:
        """div, divu, rem, remu: rax, rdx = rdx:rax / operand. The front end has replaced every
        divisor that would trap here."""
        number, r = _DIVIDE[self.op.opdef.name]
        self.vacate_all()
        self.load(RAX, a)
        self.code += CQO if number == IDIV else rr(XOR, RDX, RDX, False)
        self.alu_group3(number, b)
        self.finish(r)

    def alu_group3(self, number: int, b: Temp) -> None:
        """The one-operand form; its operand is in a home, in memory, or goes to rcx."""
        x = self.where.get(b)
        if x is None and b.kind == CONST:
            self.load(RCX, b)
            x = RCX
        if x is not None:
            self.code += rr(b"\xf7", number, x)
        else:
            self.code += rm(b"\xf7", number, *self.place(b))

    # Comparisons.

    def comparison(self, a: Temp, b: Temp, cond: str) -> tuple[bytes, int]:
        """The comparing instruction, not emitted yet (what it needs in registers is), and the
        condition code to ask for afterwards."""
        codes = CC
        if a.kind == CONST and b.kind != CONST:
            a, b, codes = b, a, CC_SWAPPED
        code = codes[cond]
        if b.kind == CONST and fits32(b.value):
            x = self.where.get(a)
            if x is None and a.kind != CONST:
                return alu_mi(CMP, *self.place(a), b.value & 0xFFFFFFFF), code
            x = self.src(a)
            if b.value == 0 and code not in (2, 3, 6, 7):
                return rr(TEST, x, x), code
            return alu_ri(CMP, x, b.value & 0xFFFFFFFF), code
        x = self.src(a)
        y = self.where.get(b)
        if y is None and b.kind != CONST:
            return rm(CMP, x, *self.place(b)), code
        return rr(CMP, x, self.src(b, x)), code

    def op_setcond(self, out: Temp, a: Temp, b: Temp, cond: str) -> None:
        compare, code = self.comparison(a, b, cond)
        self.code += compare
        r = self.homes.get(out)
        if r is None:
            r = self.grab()
        self.code += rr(bytes([0x0F, 0x90 | code]), 0, r, False, True)
        self.code += rr(MOVZX8, r, r, False, True)
        self.finish(r)

    def op_movcond(self, out: Temp, a: Temp, b: Temp, yes: Temp, no: Temp, cond: str) -> None:
        """Only moves between the comparison and cmov: they leave the flags alone."""
        compare, code = self.comparison(a, b, cond)
        self.code += compare
        r = self.homes.get(out)
        if r is not None and self.where.get(yes) == r:
            yes, no, code = no, yes, code ^ 1
        if yes.kind == CONST:
            self.src(yes)
        x = self.where.get(yes)
        if r is None:
            r = self.grab() if x is None else self.grab(x)
        self.load(r, no)
        opcode = bytes([0x0F, 0x40 | code])
        if x is not None:
            self.code += rr(opcode, r, x)
        else:
            self.code += rm(opcode, r, *self.place(yes))
        self.finish(r)


FAMILIES: dict[str, Callable[..., None]] = {
    **dict.fromkeys(_ALU, Values.op_arith),
    **dict.fromkeys(_SHIFT, Values.op_shift),
    **dict.fromkeys(_WIDE, Values.op_mul_high),
    **dict.fromkeys(_DIVIDE, Values.op_divide),
    "ext32s": Values.op_extend,
    "ext32u": Values.op_extend,
}

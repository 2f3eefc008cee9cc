"""Where the temps of one block are while it is being emitted (QEMU: the register allocator, tcg.c).

A guest register of the map is always in its home. Any other guest register is in env, always; a
scratch register may hold a copy. A temporary is in a scratch register until that is needed for
something else, and then in a slot of the frame. Labels, calls and memory accesses find no scratch
register in use.
"""

from __future__ import annotations

from ...errors import TcgliteError
from ..ir import CONST, GLOBAL, TB, Op, Temp
from .asm import GROUP1, LEA, LOAD, RSP, STORE, alu_ri, fits32, imm, mov_ri, rm, rr
from .layout import ARGS, BIAS, ENV, SCRATCH, SLOTS, Layout

_FREE = list(range(8 * (ARGS + SLOTS - 1), 8 * ARGS - 1, -8))  # slots, the lowest last
NOBODY = Temp(TB, "nobody")  #: the output of an op that has none


class Registers:
    """The code so far, and the whereabouts of temps. ``op`` is the op in hand."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.homes = layout.homes
        self.code = bytearray()
        self.where: dict[Temp, int] = dict(layout.homes)  # temp -> register
        self.held: dict[int, Temp] = {}  # scratch register -> temp
        self.frame: dict[Temp, int] = {}  # temp -> displacement in the frame, if it is there
        self.pinned: dict[Temp, int] = {}  # slots that another way to the next label relies on
        self.free = _FREE.copy()
        self.op: Op
        self.out = NOBODY  # what the op in hand writes
        self.dead: tuple[int, ...] = ()  # numbers of its arguments that die

    # Scratch registers.

    def grab(self, *keep: int) -> int:
        """A scratch register to write to, other than ``keep``."""
        for r in SCRATCH:
            if r not in self.held and r not in keep:
                return r
        for r in SCRATCH:
            if r not in keep:
                self.vacate(r)
                return r
        raise AssertionError("all scratch registers are in use")

    def vacate(self, r: int) -> None:
        """Have scratch register ``r`` hold nothing; a temporary goes to the frame."""
        temp = self.held.pop(r, None)
        if temp is not None:
            del self.where[temp]
            self.save(temp, r)

    def save(self, temp: Temp, r: int) -> None:
        """See that ``temp``, held in ``r``, is in memory as well."""
        if temp.kind == TB and temp not in self.frame:
            if temp not in self.pinned and not self.free:
                raise TcgliteError("a block with too many temporaries at once")
            self.frame[temp] = disp = self.pinned.get(temp) or self.free.pop()
            self.code += rm(STORE, r, RSP, disp)

    def vacate_all(self) -> None:
        """The same for all of them."""
        for r in list(self.held):
            self.vacate(r)

    def forget(self, temp: Temp) -> None:
        """``temp`` is dead, or about to be written: what is known of it no longer holds."""
        r = self.where.get(temp)
        if r in self.held:
            del self.where[temp], self.held[r]
        disp = self.frame.pop(temp, None)
        if disp is not None and temp not in self.pinned:
            self.free.append(disp)

    def bury(self) -> None:
        """After the op in hand: let go of the scratch registers and slots of what died."""
        args, out = self.op.args, self.out
        for i in self.dead:
            temp = args[i]
            if i == 0 and out is not NOBODY:
                if out.kind == TB:  # a copy of what memory has may still be of use
                    self.forget(out)
            elif temp not in self.homes and temp is not out:
                self.forget(temp)

    # Reading.

    def place(self, temp: Temp) -> tuple[int, int]:
        """Base and displacement of a temp that is in no register."""
        if temp.kind == GLOBAL:
            return ENV, temp.value - BIAS
        return RSP, self.frame[temp]

    def src(self, temp: Temp, *keep: int) -> int:
        """A register that holds ``temp``, to read only; scratch registers ``keep`` stay."""
        r = self.where.get(temp)
        if r is None:
            r = self.grab(*keep)
            self.load(r, temp)
            self.where[temp] = r
            self.held[r] = temp
        return r

    def load(self, r: int, temp: Temp) -> None:
        """Copy ``temp`` to ``r``; flags are left alone."""
        where = self.where.get(temp)
        if where is not None:
            if where != r:
                self.code += rr(LOAD, r, where)
        elif temp.kind == CONST:
            self.code += mov_ri(r, temp.value)
        else:
            self.code += rm(LOAD, r, *self.place(temp))

    def alu(self, opcode: bytes, r: int, temp: Temp, wide: bool = True) -> None:
        """``opcode r, temp``, whatever ``temp`` is."""
        where = self.where.get(temp)
        if where is None:
            if temp.kind != CONST:
                self.code += rm(opcode, r, *self.place(temp), None, wide)
                return
            if opcode in GROUP1 and (fits32(temp.value) or not wide):
                self.code += alu_ri(opcode, r, temp.value & 0xFFFFFFFF, wide)
                return
            where = self.src(temp, r)
        self.code += rr(opcode, r, where, wide)

    # Writing.

    def reuse(self, out: Temp, number: int, *keep: int) -> int:
        """The register that ``out`` is to be computed in, from argument ``number`` (that one's own
        if it is scratch and dies here); ``keep`` are still to be read."""
        home = self.homes.get(out)
        if home is not None:
            return home
        temp = self.op.args[number]
        r = self.where.get(temp)
        if r in self.held and number in self.dead and r not in keep:
            self.forget(temp)
            return r
        return self.grab(*keep) if r is None else self.grab(r, *keep)

    def define(self, out: Temp, r: int) -> None:
        """``out`` has been computed in ``r``, its home, or a free scratch register."""
        home = self.homes.get(out)
        if home is not None:
            if home != r:
                self.code += rr(LOAD, home, r)
            return
        self.forget(out)
        if out.kind == GLOBAL:
            self.code += rm(STORE, r, ENV, out.value - BIAS)
        self.where[out] = r
        self.held[r] = out

    def store_const(self, base: int, disp: int, value: int) -> None:
        """A 64-bit constant to memory; the scratch registers stay what they are."""
        if fits32(value):
            self.code += rm(b"\xc7", 0, base, disp) + imm(value)
        else:
            r = self.grab()
            self.code += mov_ri(r, value) + rm(STORE, r, base, disp)

    def lea(self, r: int, base: int, disp: int, wide: bool = True) -> None:
        """``r = base + disp`` without touching flags; 32 bits are enough for a TLB index."""
        if disp:
            self.code += rm(LEA, r, base, disp, None, wide)
        elif r != base:
            self.code += rr(LOAD, r, base, wide)


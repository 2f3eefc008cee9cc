"""Guest loads and stores: the software TLB inline, the slow path out of line.

QEMU: tcg_out_qemu_ld, tcg_out_qemu_st and their slow paths, tcg/i386/tcg-target.c.inc.

The main line compares the page of the access's last byte with the tag of its entry, so an access
that crosses into another page fails the comparison, as does one whose tag carries a flag. While
addressing is bare, every page of RAM has the same addend, which waits in a register; the entry's
own is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..env import PAGE_BITS, PAGE_MASK, TLB_SIZE, TLB_WORDS
from ..ir import CONST, Temp
from ..ops import MO_ALIGN, MO_SIGN, MO_SIZE
from .asm import (
    AND,
    CMP,
    LOAD,
    MOVSX8,
    MOVSX16,
    MOVSXD,
    MOVZX8,
    MOVZX16,
    RAX,
    RCX,
    RDX,
    SHR,
    STORE,
    STORE8,
    STORE16,
    alu_ri,
    fits32,
    imm,
    mov_ri,
    push,
    rel32,
    rm,
    rr,
    shift_ri,
)
from .layout import ADDEND, ENV, Layout
from .regs import Registers

_ENTRY_BITS = (8 * TLB_WORDS).bit_length() - 1
_INDEX_SHIFT = shift_ri(SHR, RCX, PAGE_BITS - _ENTRY_BITS, False)
_INDEX_MASK = alu_ri(AND, RCX, TLB_SIZE - 1 << _ENTRY_BITS, False)
_READ, _WRITE = 0, 8  #: which tag of an entry

#: Loads by memop (size and sign): opcode, 64 bits wide?
_LOADS = {
    0: (MOVZX8, False), 1: (MOVZX16, False), 2: (LOAD, False), 3: (LOAD, True),
    0 | MO_SIGN: (MOVSX8, True), 1 | MO_SIGN: (MOVSX16, True), 2 | MO_SIGN: (MOVSXD, True),
    3 | MO_SIGN: (LOAD, True),
}  # fmt: skip
_STORES = (STORE8, STORE16, STORE, STORE)
_STORES_CONST = (b"\xc6", b"\x66\xc7", b"\xc7", b"\xc7")


_LEA_RCX_RIP, _LEA_RDX_RIP = b"\x48\x8d\x0d", b"\x48\x8d\x15"
_JNE, _CALL, _JMP = b"\x0f\x85", b"\xe8", b"\xe9"


@dataclass(slots=True)
class SlowPath:
    """What is out of line for one access: where the jump to it ends, where it comes back to, the
    op's number, the address (``base`` + ``disp``), the register for what was loaded, and the code
    that fetches what is to be stored."""

    jump: int
    back: int
    index: int
    memop: int
    base: int
    disp: int
    out: int | None = None
    fetch: bytes = b""


class Accesses(Registers):
    """Loads and stores. ``folded``: the addition of a constant that the next access takes over: the
    other operand, the constant, and whether that operand dies."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.slow: list[SlowPath] = []
        self.folded: tuple[Temp, int, bool] | None = None
        self.index = 0  # of the op in hand

    def _lookup(self, number: int, addr: Temp, memop: int, tag: int) -> SlowPath:
        """Address (argument ``number``), comparison, and the jump to the slow path; of the scratch
        registers only rax may be in use afterwards, for the address."""
        disp = 0
        dies = number in self.dead and addr is not self.op.args[0]
        if self.folded is not None:
            (addr, disp, dies), self.folded = self.folded, None
        base = self.src(addr)
        if dies and addr not in self.homes:
            self.forget(addr)
        self.vacate_all()
        code = self.code
        if base in (RCX, RDX):
            code += rr(LOAD, RAX, base)
            base = RAX
        size = 1 << (memop & MO_SIZE)
        self.lea(RCX, base, disp, wide=False)
        code += _INDEX_SHIFT
        code += _INDEX_MASK
        if memop & MO_ALIGN:
            self.lea(RDX, base, disp)
            code += alu_ri(AND, RDX, PAGE_MASK | size - 1)
        else:
            self.lea(RDX, base, disp + size - 1)
            code += alu_ri(AND, RDX, PAGE_MASK)
        code += rm(CMP, RDX, ENV, self.layout.tlb + tag, RCX)
        code += _JNE + bytes(4)
        path = SlowPath(len(code), 0, self.index, memop, base, disp)
        self.slow.append(path)
        return path

    def op_qemu_ld(self, out: Temp, addr: Temp, memop: int, mmu: int) -> None:
        path = self._lookup(1, addr, memop, _READ)
        self.forget(out)
        path.out = r = self.homes.get(out, RAX)
        opcode, wide = _LOADS[memop & (MO_SIZE | MO_SIGN)]
        self.code += rm(opcode, r, path.base, path.disp, ADDEND, wide)
        path.back = len(self.code)
        self.define(out, r)

    def op_qemu_st(self, value: Temp, addr: Temp, memop: int, mmu: int) -> None:
        path = self._lookup(1, addr, memop, _WRITE)
        size = memop & MO_SIZE
        if value.kind == CONST and (size < 3 or fits32(value.value)):
            path.fetch = mov_ri(RDX, value.value)
            code = rm(_STORES_CONST[size], 0, path.base, path.disp, ADDEND, size == 3)
            self.code += code + imm(value.value, min(1 << size, 4))
        else:
            r = self.homes.get(value, RDX)
            start = len(self.code)
            self.load(RDX, value)
            path.fetch = bytes(self.code[start:])
            if r != RDX:
                del self.code[start:]
            self.code += rm(_STORES[size], r, path.base, path.disp, ADDEND, size == 3, size == 0)
        path.back = len(self.code)

    def slow_path(self, path: SlowPath, at: int, thunks: dict[str, int]) -> None:
        """The rest of an access, for Python: address in rax, memop in ecx. The main line's host PC
        goes along, in rdx for a load; a store's thunk returns to it (``at``: of this block)."""
        code = self.code
        code[path.jump - 4 : path.jump] = rel32(len(code) - path.jump)
        if path.out is not None:
            self.lea(RAX, path.base, path.disp)
            code += _LEA_RDX_RIP
            code += rel32(path.back - len(code) - 4)
            code += mov_ri(RCX, path.memop) + _CALL
            code += rel32(thunks["load"] - at - len(code) - 4)
            if path.out != RAX:
                code += rr(LOAD, path.out, RAX)
            code += _JMP
            code += rel32(path.back - len(code) - 4)
            return
        code += path.fetch
        self.lea(RAX, path.base, path.disp)
        code += _LEA_RCX_RIP
        code += rel32(path.back - len(code) - 4)
        code += push(RCX) + mov_ri(RCX, path.memop) + _JMP
        code += rel32(thunks["store"] - at - len(code) - 4)

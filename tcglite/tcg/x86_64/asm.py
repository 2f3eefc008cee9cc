"""Encoding x86-64 instructions: bytes from opcode and operands (Intel SDM volume 2, chapter 2).

No assembler stands between: the emitter needs some forty forms, and joining bytes that were made
once costs a tenth of what the quickest library takes. Registers are their numbers, 0 … 15. A memory
operand is base + displacement, or base + index + displacement.
"""

from __future__ import annotations

import struct
from functools import cache, lru_cache

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 = range(16)

# Opcodes of the form reg, reg/mem.
ADD, OR, AND, SUB, XOR, CMP = b"\x03", b"\x0b", b"\x23", b"\x2b", b"\x33", b"\x3b"
TEST = b"\x85"  # reg/mem, reg
LOAD, STORE, STORE8, STORE16 = b"\x8b", b"\x89", b"\x88", b"\x66\x89"
LEA, MOVSXD, IMUL = b"\x8d", b"\x63", b"\x0f\xaf"
MOVZX8, MOVZX16, MOVSX8, MOVSX16 = b"\x0f\xb6", b"\x0f\xb7", b"\x0f\xbe", b"\x0f\xbf"

#: Of the group 0x81 / 0x83 (arithmetic with a constant): the number in the reg field.
GROUP1 = {ADD: 0, OR: 1, AND: 4, SUB: 5, XOR: 6, CMP: 7}
SHL, SHR, SAR = 4, 5, 7  #: of the group 0xC1 (shift by a constant) and 0xD3 (by cl)
NEG, MUL, IMUL1, DIV, IDIV = 3, 4, 5, 6, 7  #: of the group 0xF7

#: Condition codes of jcc, setcc and cmovcc.
CC = {"ltu": 2, "geu": 3, "eq": 4, "ne": 5, "lt": 12, "ge": 13}
#: The same when the operands change places.
CC_SWAPPED = {"ltu": 7, "geu": 6, "eq": 4, "ne": 5, "lt": 15, "ge": 14}
CC_NE, CC_G = 5, 15

CQO, RDTSC, RET = b"\x48\x99", b"\x0f\x31", b"\xc3"

#: Recommended long no-operations (Intel SDM, NOP), by length.
NOPS = (b"", b"\x90", b"\x66\x90", b"\x0f\x1f\x00")


def fits32(value: int) -> bool:
    """Is ``value``, unsigned 64 bits, a sign-extended 32-bit constant?"""
    return value < 1 << 31 or value >= (1 << 64) - (1 << 31)


def _rex(op: bytes, wide: bool, reg: int, index: int, base: int, byte: bool) -> bytes:
    """Prefixes and opcode; ``byte``: register operands of 8 bits, of which 4 … 7 need a REX."""
    rex = wide << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3
    if op[0] == 0x66:
        return b"\x66" + (bytes([0x40 | rex]) if rex else b"") + op[1:]
    return (bytes([0x40 | rex]) if rex or byte else b"") + op


@cache
def rr(op: bytes, reg: int, rm: int, wide: bool = True, byte: bool = False) -> bytes:
    """``op reg, rm`` with registers; ``wide``: 64 bits, else 32."""
    byte = byte and (reg in (4, 5, 6, 7) or rm in (4, 5, 6, 7))
    return _rex(op, wide, reg, 0, rm, byte) + bytes([0xC0 | (reg & 7) << 3 | rm & 7])


@lru_cache(1 << 14)
def rm(
    op: bytes,
    reg: int,
    base: int,
    disp: int,
    index: int | None = None,
    wide: bool = True,
    byte: bool = False,
) -> bytes:
    """``op reg, [base + index + disp]``; ``disp`` in 32 bits, signed."""
    byte = byte and reg in (4, 5, 6, 7)
    head = _rex(op, wide, reg, index or 0, base, byte)
    if disp == 0 and base & 7 != RBP:
        mod, tail = 0, b""
    elif -128 <= disp < 128:
        mod, tail = 0x40, disp.to_bytes(1, "little", signed=True)
    else:
        mod, tail = 0x80, disp.to_bytes(4, "little", signed=True)
    if index is None and base & 7 != RSP:
        return head + bytes([mod | (reg & 7) << 3 | base & 7]) + tail
    sib = (RSP if index is None else index & 7) << 3 | base & 7
    return head + bytes([mod | (reg & 7) << 3 | RSP, sib]) + tail


def imm(value: int, size: int = 4) -> bytes:
    """The low ``size`` bytes of a constant."""
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


#: A displacement: 32 bits, signed.
rel32 = struct.Struct("<i").pack
_imm32, _imm64 = struct.Struct("<I").pack, struct.Struct("<Q").pack
_MOV32 = [(b"\x41" if reg > 7 else b"") + bytes([0xB8 | reg & 7]) for reg in range(16)]


@lru_cache(1 << 14)
def alu_ri(op: bytes, reg: int, value: int, wide: bool = True) -> bytes:
    """``op reg, constant`` for an op of GROUP1; ``value`` in 32 bits, signed or unsigned."""
    value = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    if -128 <= value < 128:
        return rr(b"\x83", GROUP1[op], reg, wide) + imm(value, 1)
    return rr(b"\x81", GROUP1[op], reg, wide) + imm(value)


@lru_cache(1 << 14)
def alu_mi(op: bytes, base: int, disp: int, value: int, wide: bool = True) -> bytes:
    """``op [base + disp], constant`` for an op of GROUP1."""
    value = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    if -128 <= value < 128:
        return rm(b"\x83", GROUP1[op], base, disp, None, wide) + imm(value, 1)
    return rm(b"\x81", GROUP1[op], base, disp, None, wide) + imm(value)


def mov_ri(reg: int, value: int) -> bytes:
    """``mov reg, constant`` (64 bits, unsigned) in its shortest form that leaves flags alone."""
    if value < 1 << 32:
        return _MOV32[reg] + _imm32(value)
    if fits32(value):
        return rr(b"\xc7", 0, reg) + imm(value)
    return bytes([0x48 | reg >> 3, 0xB8 | reg & 7]) + _imm64(value)


@cache
def shift_ri(kind: int, reg: int, count: int, wide: bool = True) -> bytes:
    """``shl``, ``shr`` or ``sar`` by a constant."""
    return rr(b"\xc1", kind, reg, wide) + imm(count, 1)


@cache
def push(reg: int) -> bytes:
    """``push reg``."""
    return (b"\x41" if reg > 7 else b"") + bytes([0x50 | reg & 7])


@cache
def pop(reg: int) -> bytes:
    """``pop reg``."""
    return (b"\x41" if reg > 7 else b"") + bytes([0x58 | reg & 7])

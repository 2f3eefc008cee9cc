"""The encoder says what it was asked to: Capstone and iced-x86 read its bytes back.

Each case is bytes and what they must mean: (mnemonic, operands). An operand is a register's name,
a number, or (bytes, base, index, displacement).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import capstone
import iced_x86 as iced
import pytest

from tcglite.tcg.x86_64 import asm, thunks

Operand = Any
Case = tuple[bytes, str, tuple[Operand, ...]]

_NAMES = {
    8: "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15",
    4: "eax ecx edx ebx esp ebp esi edi r8d r9d r10d r11d r12d r13d r14d r15d",
    2: "ax cx dx bx sp bp si di r8w r9w r10w r11w r12w r13w r14w r15w",
    1: "al cl dl bl spl bpl sil dil r8b r9b r10b r11b r12b r13b r14b r15b",
}
NAMES = {size: text.split() for size, text in _NAMES.items()}
REGISTERS = range(16)
DISPS = (0, 1, -1, 127, -128, 128, -129, 0x7FFF_FFFF, -1 << 31)
NUMBERS = (0, 1, -1, 127, -128, 128, -129, 0x7FFF_FFFF, -1 << 31, 0x8000_0000, 0xFFFF_FFFF)
BY_CAPSTONE = {"movabs": "mov"}


def by_capstone(code: bytes) -> Iterator[tuple[int, str, tuple[Operand, ...]]]:
    """(size, mnemonic, operands) of each instruction, as Capstone reads it."""
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    for insn in engine.disasm(code, 0):
        operands: list[Operand] = []
        for op in insn.operands:
            if op.type == capstone.x86.X86_OP_REG:
                operands.append(insn.reg_name(op.reg))
            elif op.type == capstone.x86.X86_OP_IMM:
                operands.append(op.imm & (1 << 8 * op.size) - 1)
            else:
                assert op.mem.scale == 1
                base, index = insn.reg_name(op.mem.base), insn.reg_name(op.mem.index)
                operands.append((op.size, base, index, op.mem.disp))
        yield insn.size, BY_CAPSTONE.get(insn.mnemonic, insn.mnemonic), tuple(operands)


_ICED = {
    value: name.lower() for name, value in vars(iced.Register).items() if isinstance(value, int)
}
_ICED |= {getattr(iced.Register, f"R{n}L"): f"r{n}b" for n in range(8, 16)}


def by_iced(code: bytes) -> Iterator[tuple[int, str, tuple[Operand, ...]]]:
    """The same as iced-x86 reads it."""
    formatter = iced.Formatter(iced.FormatterSyntax.INTEL)
    for insn in iced.Decoder(64, code):
        assert not insn.is_invalid
        operands: list[Operand] = []
        for n in range(insn.op_count):
            kind = insn.op_kind(n)
            if kind == iced.OpKind.REGISTER:
                operands.append(_ICED[insn.op_register(n)])
            elif kind == iced.OpKind.MEMORY:
                assert insn.memory_index_scale == 1
                disp = insn.memory_displacement
                operands.append((
                    iced.MemorySizeExt.size(insn.memory_size),
                    _ICED[insn.memory_base],
                    _ICED[insn.memory_index] if insn.memory_index else None,
                    disp - (disp >> 63 << 64),
                ))  # fmt: skip
            else:
                size = _IMMEDIATES.get(kind)
                if size is None:  # shifts, and others, whose constant is a byte
                    size = 1 if insn.op_count == 2 and kind == iced.OpKind.IMMEDIATE8 else 8
                operands.append(insn.immediate(n) & (1 << 8 * size) - 1)
        yield insn.len, formatter.format_mnemonic(insn), tuple(operands)


_IMMEDIATES = {
    iced.OpKind.IMMEDIATE16: 2, iced.OpKind.IMMEDIATE32: 4, iced.OpKind.IMMEDIATE64: 8,
    iced.OpKind.IMMEDIATE8TO16: 2, iced.OpKind.IMMEDIATE8TO32: 4, iced.OpKind.IMMEDIATE8TO64: 8,
    iced.OpKind.IMMEDIATE32TO64: 8,
}  # fmt: skip

#: Opcode, mnemonic, bytes of the register and of the other operand (0: as wide as asked).
REG_RM = [
    *[(op, name, 0, 0) for op, name in (
        (asm.ADD, "add"), (asm.OR, "or"), (asm.AND, "and"), (asm.SUB, "sub"), (asm.XOR, "xor"),
        (asm.CMP, "cmp"), (asm.LOAD, "mov"), (asm.IMUL, "imul"),
    )],
    (asm.MOVSXD, "movsxd", 0, 4),
    (asm.MOVZX8, "movzx", 0, 1), (asm.MOVZX16, "movzx", 0, 2),
    (asm.MOVSX8, "movsx", 0, 1), (asm.MOVSX16, "movsx", 0, 2),
    *[(bytes([0x0F, 0x40 | code]), f"cmov{name}", 0, 0) for code, name in (
        (2, "b"), (3, "ae"), (4, "e"), (5, "ne"), (6, "be"), (7, "a"),
        (12, "l"), (13, "ge"), (14, "le"), (15, "g"),
    )],
]  # fmt: skip
RM_REG = [
    (asm.STORE, "mov", 0, 0), (asm.STORE8, "mov", 1, 1), (asm.STORE16, "mov", 2, 2),
    (asm.TEST, "test", 0, 0),
]  # fmt: skip


def places() -> Iterator[tuple[int, int | None, int]]:
    """Base, index, displacement: every base with every displacement; every index somewhere."""
    yield from ((base, None, disp) for base, disp in product(REGISTERS, DISPS))
    for base, index in product(REGISTERS, REGISTERS):
        if index != asm.RSP:  # it cannot be one
            yield base, index, DISPS[(base + 3 * index) % len(DISPS)]


def memory(size: int, base: int, index: int | None, disp: int) -> Operand:
    return size, NAMES[8][base], None if index is None else NAMES[8][index], disp


def two_registers() -> Iterator[Case]:
    for (op, name, of_reg, of_rm), wide in product(REG_RM, (True, False)):
        size = 8 if wide else 4
        for reg, rm in product(REGISTERS, REGISTERS):
            operands = NAMES[of_reg or size][reg], NAMES[of_rm or size][rm]
            if name == "movsxd" and not wide:
                continue
            byte = of_rm == 1
            yield asm.rr(op, reg, rm, wide, byte), name, operands
    for (op, name, of_reg, _), wide in product(RM_REG, (True, False)):
        size = of_reg or (8 if wide else 4)
        if of_reg and wide:
            continue
        for reg, rm in product(REGISTERS, REGISTERS):
            yield asm.rr(op, reg, rm, wide, of_reg == 1), name, (NAMES[size][rm], NAMES[size][reg])


def with_memory() -> Iterator[Case]:
    rng = random.Random(1)
    for (op, name, of_reg, of_rm), wide in product(
        [*REG_RM, (asm.LEA, "lea", 0, 0)], (True, False)
    ):
        size = 8 if wide else 4
        if name == "movsxd" and not wide:
            continue
        every = op in (asm.LOAD, asm.MOVZX8)
        for base, index, disp in places():
            for reg in REGISTERS if every and index is None else (rng.randrange(16),):
                code = asm.rm(op, reg, base, disp, index, wide)
                there = memory(of_rm or size, base, index, disp)
                yield code, name, (NAMES[of_reg or size][reg], there)
    for (op, name, of_reg, _), wide in product(RM_REG, (True, False)):
        size = of_reg or (8 if wide else 4)
        if of_reg and wide:
            continue
        for base, index, disp in places():
            for reg in REGISTERS if index is None else (rng.randrange(16),):
                code = asm.rm(op, reg, base, disp, index, wide, of_reg == 1)
                yield code, name, (memory(size, base, index, disp), NAMES[size][reg])


def as_signed(value: int) -> int:
    return (value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000


def with_constants() -> Iterator[Case]:
    names = {asm.ADD: "add", asm.OR: "or", asm.AND: "and", asm.SUB: "sub", asm.XOR: "xor",
             asm.CMP: "cmp"}  # fmt: skip
    assert set(names) == set(asm.GROUP1)
    for op, value, wide in product(names, NUMBERS, (True, False)):
        size = 8 if wide else 4
        number = as_signed(value) & (1 << 8 * size) - 1
        for reg in REGISTERS:
            yield asm.alu_ri(op, reg, value, wide), names[op], (NAMES[size][reg], number)
            disp = DISPS[(reg + value) % len(DISPS)]
            code = asm.alu_mi(op, reg, disp, value, wide)
            yield code, names[op], (memory(size, reg, None, disp), number)
    for reg, value, wide in product(REGISTERS, NUMBERS, (True, False)):
        size = 8 if wide else 4
        number = as_signed(value) & (1 << 8 * size) - 1
        code = asm.rr(b"\x69", reg, 15 - reg, wide) + asm.imm(value)
        yield code, "imul", (NAMES[size][reg], NAMES[size][15 - reg], number)
        code = asm.rm(b"\xc7", 0, reg, 8, None, wide) + asm.imm(value)
        yield code, "mov", (memory(size, reg, None, 8), number)
        code = asm.rm(b"\xc7", 0, reg, 8, 15 if reg == 4 else 14, wide) + asm.imm(value)
        yield code, "mov", (memory(size, reg, 15 if reg == 4 else 14, 8), number)
    for reg, value in product(REGISTERS, NUMBERS):
        code = asm.rm(b"\xc6", 0, reg, -8, None, False) + asm.imm(value, 1)
        yield code, "mov", (memory(1, reg, None, -8), value & 0xFF)
        code = asm.rm(b"\x66\xc7", 0, reg, 0, 8, False) + asm.imm(value, 2)
        yield code, "mov", (memory(2, reg, 8, 0), value & 0xFFFF)


def with_one_operand() -> Iterator[Case]:
    for reg in REGISTERS:
        yield asm.push(reg), "push", (NAMES[8][reg],)
        yield asm.pop(reg), "pop", (NAMES[8][reg],)
        for code, name in (
            (2, "b"), (3, "ae"), (4, "e"), (5, "ne"), (6, "be"), (7, "a"),
            (12, "l"), (13, "ge"), (14, "le"), (15, "g"),
        ):  # fmt: skip
            yield (
                asm.rr(bytes([0x0F, 0x90 | code]), 0, reg, False, True),
                f"set{name}",
                (NAMES[1][reg],),
            )
        for wide in (True, False):
            size = 8 if wide else 4
            for number, name in (
                (asm.NEG, "neg"), (asm.MUL, "mul"), (asm.IMUL1, "imul"), (asm.DIV, "div"),
                (asm.IDIV, "idiv"),
            ):  # fmt: skip
                yield asm.rr(b"\xf7", number, reg, wide), name, (NAMES[size][reg],)
                code = asm.rm(b"\xf7", number, reg, 0, None, wide)
                yield code, name, (memory(size, reg, None, 0),)
            for kind, name in ((asm.SHL, "shl"), (asm.SHR, "shr"), (asm.SAR, "sar")):
                yield asm.rr(b"\xd3", kind, reg, wide), name, (NAMES[size][reg], "cl")
                for count in (0, 2, 31, *((32, 63) if wide else ())):
                    yield asm.shift_ri(kind, reg, count, wide), name, (NAMES[size][reg], count)
        for index in (asm.RCX, asm.R12):
            code = asm.rm(b"\xff", 4, reg, 1 << 20, index, False)
            yield code, "jmp", (memory(8, reg, index, 1 << 20),)
    yield asm.RET, "ret", ()
    yield asm.CQO, "cqo", ()
    yield asm.RDTSC, "rdtsc", ()
    yield thunks._CALL_RAX, "call", ("rax",)
    yield thunks._JMP_RAX, "jmp", ("rax",)


@pytest.mark.parametrize("decoder", [by_capstone, by_iced])
@pytest.mark.parametrize(
    "cases",
    [two_registers, with_memory, with_constants, with_one_operand],
    ids=lambda f: f.__name__,
)
def test_what_was_meant(cases: Callable[[], Iterator[Case]], decoder) -> None:
    wanted = list(cases())
    found = decoder(b"".join(code for code, _, _ in wanted))
    read = 0
    for (code, name, operands), (size, mnemonic, others) in zip(wanted, found, strict=True):
        assert (size, mnemonic) == (len(code), name), f"{code.hex()}: {mnemonic} {others}"
        if name == "lea":
            others = others[0], (operands[1][0], *others[1][1:])  # it reads no memory
        if name in ("shl", "shr", "sar") and operands[1] != "cl":
            others = others[0], others[1] & 0xFF
        assert others == operands, f"{code.hex()}: {mnemonic} {others}, not {operands}"
        read += 1
    assert read == len(wanted) > 500


@pytest.mark.parametrize("decoder", [by_capstone, by_iced])
def test_constants_to_registers_are_short(decoder) -> None:
    """64 bits, in the shortest form; never ``xor``, which would change the flags."""
    numbers = sorted({
        value & (1 << 64) - 1
        for bit in (0, 7, 8, 31, 32, 33, 63, 64) for value in ((1 << bit) - 1, 1 << bit, -1 << bit)
    })  # fmt: skip
    for reg, value in product(REGISTERS, numbers):
        code = asm.mov_ri(reg, value)
        ((size, name, (register, number)),) = decoder(code)
        assert (size, name) == (len(code), "mov")
        if value < 1 << 32:
            assert (register, number) == (NAMES[4][reg], value)
            assert size == 5 + (reg > 7)
        else:
            assert register == NAMES[8][reg]
            assert number == value
            assert size == (7 if value >= (1 << 64) - (1 << 31) else 10)


def test_fits32() -> None:
    for value in (0, 1, (1 << 31) - 1, (1 << 64) - 1, (1 << 64) - (1 << 31)):
        assert asm.fits32(value)
    for value in (1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - (1 << 31) - 1):
        assert not asm.fits32(value)


def test_padding() -> None:
    for size, code in enumerate(asm.NOPS):
        assert len(code) == size
        assert [name for _, name, _ in by_capstone(code)] == (["nop"] if size else [])


def test_conditions_exchange_their_operands() -> None:
    """a < b is b > a; and both tables name the same six."""
    assert set(asm.CC) == set(asm.CC_SWAPPED)
    inverse = {"ltu": "geu", "geu": "ltu", "eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt"}
    for cond, other in inverse.items():
        assert asm.CC[cond] == asm.CC[other] ^ 1
        assert asm.CC_SWAPPED[cond] == asm.CC_SWAPPED[other] ^ 1

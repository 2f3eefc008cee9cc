"""Guests that trap with nobody to handle it, sleep for ever, jump anywhere, write anywhere."""

from __future__ import annotations

import random
from typing import Any

import backends
import pytest

from tcglite import Machine, Mechanisms
from tcglite.machine import StopReason
from tcglite.target.asm import assemble

pytestmark = pytest.mark.usefixtures("backend")

RAM, SIZE = 0x8000_0000, 1 << 16
SECONDS = 20  #: a run that takes so long has failed
CHECKS = ("tb-start", "tb-end", "every-insn", "quantum", "acyclic", "unlink", "never")
OPTIONS: list[dict[str, Any]] = [
    *({"mechanisms": Mechanisms(irq_check=check)} for check in CHECKS),
    {"mechanisms": Mechanisms(cache=False)},
    {"mechanisms": Mechanisms(chain=False, goto_ptr=False, max_block_insns=1)},
    {"mechanisms": Mechanisms(restore="eager")},
    {"icount": 3},
    {"count": False},
    {"trace": "blocks"},
]


def machine(source: str, **options: Any) -> Machine:
    program = assemble("        .option norvc\n_start: " + source)
    return Machine(program, memory=SIZE, backend=backends.chosen, **options)


UNMASK = "li t0, 8\n csrw mstatus, t0\n li t0, 0x80\n csrw mie, t0\n j .\n"
UNHANDLED = {
    "ecall": ["ecall from M mode at 0x80000000", "mtvec is 0x0"],
    "ebreak": ["breakpoint at 0x80000000"],
    ".word 0": ["illegal instruction at 0x80000000"],
    "nop\n .word 0xffffffff": ["illegal instruction at 0x80000004 (mtval 0xffffffff)"],
    "csrr a0, 0x5c0": ["illegal instruction"],
    "csrw mvendorid, a0": ["illegal instruction"],
    "li a0, 5\n lw a1, 0(a0)": ["load access fault at 0x80000004 (mtval 0x5)"],
    "li a0, 5\n sw a1, 0(a0)": ["store/AMO access fault at 0x80000004 (mtval 0x5)"],
    "amoadd.w a0, a1, (zero)": ["store/AMO access fault"],
    "li a0, -1\n sd a0, 0(a0)": ["(mtval 0xffffffffffffffff)"],
    "jr zero": ["instruction access fault at 0x0", "the trap handler itself"],
    "li a0, 3\n jr a0": ["instruction access fault at 0x2"],
    "li a0, 0x80010000\n jr a0": ["instruction access fault at 0x80010000"],
    "li a0, -1\n jr a0": ["instruction access fault at 0xfffffffffffffffe"],
    "li a0, 0x10000000\n jr a0": ["at 0x10000000"],
    "li a0, 0x2000000\n jr a0": ["at 0x2000000"],
    "li t0, 0x80000000\n srli t0, t0, 1\n csrw mtvec, t0\n ecall": ["mtvec is 0x40000000"],
    "li t0, 0x30000001\n csrw mtvec, t0\n ecall": ["ecall", "mtvec is 0x30000001"],
    "la t0, h\n csrw mtvec, t0\n ecall\n .balign 4\nh: ecall": ["there: ecall from M mode"],
    "la t0, h\n csrw mtvec, t0\n ecall\n .balign 4\nh: lw a0, 0(zero)": ["there: load access"],
    "csrw mepc, zero\n mret": ["instruction access fault at 0x0"],
    "la t0, u\n csrw mepc, t0\n mret\nu: csrr t0, mepc": ["illegal instruction"],
    "la t0, u\n csrw mepc, t0\n mret\nu: ecall": ["ecall from U mode"],
    UNMASK: ["machine timer interrupt", "mtvec is 0x0"],
    "li t0, 1\n csrw mtvec, t0\n " + UNMASK: ["instruction access fault at 0x1c"],
}


@pytest.mark.parametrize("source", UNHANDLED, ids=lambda s: " ".join(s.split()))
def test_a_trap_with_no_handler_stops(source: str) -> None:
    """And the machine says which trap it was; the next run says the same."""
    insns = set()
    for options in OPTIONS:
        with machine(source, **options) as m:
            for _ in range(2):
                result = m.run(timeout=SECONDS)
                assert result.reason is StopReason.UNHANDLED_TRAP
                assert "\n" not in result.detail
                assert len(result.detail) < 300
                for words in UNHANDLED[source]:
                    assert words in result.detail
                assert result.pc == m.cpu.pc == m.cpu.csr["mtvec"] & ~3
                insns.add(m.insns)
    assert len(insns - {None}) == 1 or UNMASK in source


@pytest.mark.parametrize("options", [{}, {"icount": 0}, {"count": False}], ids=str)
@pytest.mark.parametrize(
    "source",
    [
        "wfi",
        "li t0, 8\n csrw mie, t0\n wfi",
        "li t0, 0x80\n csrw mie, t0\n li t0, 0x2004000\n li t1, -1\n sd t1, 0(t0)\n wfi",
        "1: wfi\n j 1b",
    ],
    ids=lambda s: " ".join(s.split()),
)
def test_a_sleep_that_nothing_can_end_is_a_deadlock(source: str, options: dict[str, Any]) -> None:
    with machine(source + "\n j .", **options) as m:
        m.inputs_open = lambda: False
        result = m.run(timeout=SECONDS)
        assert result.reason is StopReason.DEADLOCK
        assert "wfi" in result.detail
        assert "\n" not in result.detail
        assert m.run(timeout=SECONDS).reason is StopReason.DEADLOCK


def test_with_all_interrupts_masked_not_even_a_key_ends_a_sleep() -> None:
    with machine("wfi\n j .") as m:
        assert m.run(timeout=SECONDS).reason is StopReason.DEADLOCK


def borders() -> list[int]:
    """Addresses around every place where something begins or ends."""
    places = [0, RAM, RAM + SIZE, 0x10_0000, 0x10_1000, 0x200_0000, 0x201_0000, 0xC00_0000]
    places += [0xC60_0000, 0x1000_0000, 0x1000_0100, 1 << 31, 1 << 32, 1 << 47, 1 << 63, 1 << 64]
    places += [RAM + 0x8000]
    return sorted({p + d & (1 << 64) - 1 for p in places for d in range(-9, 10)})


ACCESSES = """
        la      t0, handler
        csrw    mtvec, t0
        j       .
        .balign 16
stores: sb      a1, 0(a0)
        sh      a1, 0(a0)
        sw      a1, 0(a0)
        sd      a1, 0(a0)
        .balign 16
loads:  lbu     a2, 0(a0)
        lhu     a2, 0(a0)
        lwu     a2, 0(a0)
        ld      a2, 0(a0)
        .balign 64
handler: j      .
"""


@pytest.mark.parametrize("limit", [512, 1])
def test_accesses_anywhere_reach_ram_or_trap(limit: int) -> None:
    """Bytes in RAM change as they should, or, where one of them is outside, none does."""
    rng = random.Random(1)
    with machine(ACCESSES, mechanisms=Mechanisms(max_block_insns=limit)) as m:
        m.run(max_insns=3, timeout=SECONDS)
        stores, loads = (m.symbols[name] for name in ("stores", "loads"))
        start, end = RAM + 0x1000, RAM + SIZE
        m.memory[start:end] = rng.randbytes(end - start)
        shadow = bytearray(m.memory[RAM:end])
        for addr in [a for a in borders() if not RAM - 8 < a < start]:
            for k, size in enumerate((1, 2, 4, 8)):
                inside = addr >= start and addr + size <= end
                value = rng.getrandbits(64)
                m.cpu["a0"], m.cpu["a1"] = addr, value
                for base in (stores, loads):
                    m.cpu.csr["mcause"] = 0
                    m.cpu.pc = base + 4 * k
                    result = m.run(max_insns=1, timeout=SECONDS)
                    if result.reason is StopReason.EXIT:  # that was the finisher
                        assert addr == 0x10_0000
                        continue
                    assert result.reason is StopReason.MAX_INSNS
                    cause = m.cpu.csr["mcause"]
                    if inside:
                        assert cause == 0
                    elif not 0x10_0000 <= addr < RAM - 8:
                        assert cause == (7 if base == stores else 5)
                        assert m.cpu.csr["mepc"] == base + 4 * k
                        assert addr <= m.cpu.csr["mtval"] < addr + size
                if inside:
                    raw = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
                    shadow[addr - RAM : addr - RAM + size] = raw
                    assert m.cpu["a2"] == int.from_bytes(raw, "little")
            assert m.memory[RAM:end] == shadow


@pytest.mark.parametrize("options", [{}, {"icount": 0}, {"trace": "blocks"}], ids=str)
def test_jumps_anywhere_run_or_trap(options: dict[str, Any]) -> None:
    with machine(ACCESSES, **options) as m:
        m.run(max_insns=3, timeout=SECONDS)
        handler = m.symbols["handler"]
        for addr in borders():
            m.cpu.pc = addr
            m.cpu.csr["mepc"], m.cpu.csr["mtvec"] = 0, handler
            result = m.run(max_insns=1, timeout=SECONDS)
            assert result.reason is StopReason.MAX_INSNS
            if 0x1000_0000 <= addr & ~1 < 0x1000_0100:
                continue  # what stands in the UART's registers may be an instruction
            if not RAM <= addr & ~1 < RAM + SIZE:
                assert result.pc == handler
                assert m.cpu.csr["mepc"] == addr & ~1
                assert m.cpu.csr["mcause"] in (1, 2)
            else:
                assert result.insns == 1

"""Counting: minstret's rule on every path, and limits that are exact.

The rule is the specification's: an instruction that traps does not retire. QEMU counts ecall,
ebreak and instructions that are illegal when they are decoded, and over-counts wfi (qemu-facts,
section 13, rows 7 and 8: 9 where the specification says 8, 19 instead of 10).
"""

from __future__ import annotations

from typing import Any

import pytest
from engine import (
    END,
    assert_links_are_sound,
    finish,
    machine,
    only,
    registers,
    run,
)

from tcglite import Machine
from tcglite.errors import UsageError
from tcglite.tcg.cflags import CF_COUNT_MASK
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

HANDLER_INSNS = 7  #: whatever the cause

HANDLER = """
        .balign 4
handler: csrr   t0, mcause
        li      t1, 1
        beq     t0, t1, fetch
        csrr    t0, mepc
        addi    t0, t0, 4
back:   csrw    mepc, t0
        mret
fetch:  mv      t0, ra                  # a fetch fault: back to the caller
        j       back
"""

#: name: (instructions between the two reads, how many of them retire, traps)
PATHS: dict[str, tuple[str, int, int]] = {
    "nothing": ("", 0, 0),
    "straight": ("nop; nop; nop", 3, 0),
    "ecall": ("nop; ecall; nop; nop", 3, 1),
    "ebreak": ("nop; ebreak; nop; nop", 3, 1),
    "illegal when decoded": ("nop; .word 0x0000000b; nop; nop", 3, 1),
    "all zero": ("nop; .word 0; nop; nop", 3, 1),
    "load fault": ("nop; ld s2, 0(s11); nop; nop", 3, 1),
    "store fault": ("nop; sd s2, 0(s11); nop; nop", 3, 1),
    "amo fault": ("nop; amoadd.d s2, s3, (s11); nop; nop", 3, 1),
    "misaligned amo": ("nop; amoadd.d s2, s3, (s9); nop; nop", 3, 1),
    "lr, sc": ("nop; lr.d s2, (s10); sc.d s3, s2, (s10); nop", 4, 0),
    "sc fault": ("nop; sc.d s2, s3, (s11); nop; nop", 3, 1),
    "csr that is not there": ("nop; csrr s2, 0x7c0; nop; nop", 3, 1),
    "csr that is read-only": ("nop; csrw 0xf14, s2; nop; nop", 3, 1),
    "fp with fs off": ("nop; fmv.d.x fa0, s2; nop; nop", 3, 1),
    "fcsr with fs off": ("nop; csrr s2, fcsr; nop; nop", 3, 1),
    "fetch fault": ("nop; jalr ra, 0(s11); nop; nop", 4, 1),
    "wfi with a masked request": ("nop; wfi; nop; nop; nop; nop; nop; nop; nop; nop", 10, 0),
    "fence.i": ("nop; fence.i; nop; nop", 4, 0),
    "csr write": ("nop; csrw mscratch, s2; nop; nop", 4, 0),
    "device load in mid-block": ("nop; lw s2, 0(s8); nop; nop", 4, 0),
    "device store in mid-block": ("nop; sw x0, 0(s8); nop; nop; nop", 5, 0),
    "device fault in mid-block": ("nop; lb s2, 0(s8); nop; nop", 3, 1),
    "misaligned load": ("nop; ld s2, 1(s10); nop; nop", 4, 0),
    "self-modification": ("nop; lw s2, 0(s7); sw s2, 0(s7); nop", 4, 0),
}

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "one instruction a block": {"max_block_insns": 1},
    "three instructions a block": {"max_block_insns": 3},
    "every-insn": {"irq_check": "every-insn"},
    "tb-end": {"irq_check": "tb-end"},
    "quantum of 5": {"irq_check": "quantum", "quantum": 5},
    "icount": {"icount": 0},
    "icount without I/O recompilation": {"icount": 3, "icount_recompile": False},
    "io_last": {"io_last": True},
    "eager": {"restore": "eager"},
    "no cache": {"cache": False},
    "no chain": {"chain": False, "goto_ptr": False},
    "traced": {"trace": "blocks"},
}


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_minstret_counts_what_retires_on_every_path(options: dict[str, Any]) -> None:
    """All paths in one guest, twice: with new blocks and with known ones. Total and minstret."""
    body = "".join(
        f"        csrr s0, minstret\nhere{i}: {code}\n        csrr s1, minstret\n"
        f"        sub s1, s1, s0\n        sd s1, {8 * i}(s6)\n"
        for i, (code, _, _) in enumerate(PATHS.values())
    )
    m = finish(
        f"""
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x80
        csrw    mie, t0                 # MTIP is pending since reset: wfi does not sleep
        li      s11, 0x50000
        la      s10, room
        addi    s9, s10, 4
        li      s8, 0x2000000
        la      s7, once
        la      s6, results
        li      s5, 0
once:   nop
{body}
        addi    s5, s5, 1
        li      t0, 2
        bne     s5, t0, once
        {END}
        {HANDLER}
        .balign 4096
room:   .skip   16
results: .skip  {8 * len(PATHS)}
""",
        **options,
    )
    data = m.memory[m.symbols["results"] : m.symbols["results"] + 8 * len(PATHS)]
    assert isinstance(data, bytes)
    found = {
        name: int.from_bytes(data[8 * i : 8 * i + 8], "little") for i, name in enumerate(PATHS)
    }
    expected = {
        name: 1 + retired + traps * HANDLER_INSNS for name, (_, retired, traps) in PATHS.items()
    }
    assert found == expected
    assert m.stats.exceptions == 2 * sum(traps for _, _, traps in PATHS.values())


def test_minstret_is_what_the_machine_counts() -> None:
    m = machine("nop; csrr s0, minstret; li t0, 1000; csrw minstret, t0; csrr s1, minstret; j .")
    run(m, 20)
    assert (m.cpu["s0"], m.cpu["s1"]) == (1, 1000), "the write wins; the next insn reads it"
    assert m.insns == 20
    assert m.cpu.csr["minstret"] == 1000 + 16
    assert m.cpu.csr["mcycle"] == 20


def test_without_counting_there_are_no_numbers() -> None:
    """And the counters of the guest show time, as QEMU's do."""
    m = finish("csrr s0, minstret; nop; csrr s1, minstret" + END, count=False)
    assert m.insns is None
    assert m.cpu["s1"] > m.cpu["s0"]
    assert {event.insns for event in m.events} == {None}
    with pytest.raises(UsageError, match="needs counting"):
        m.run(max_insns=1)
    with pytest.raises(UsageError, match="needs counting"):
        m.raise_at(1, "msip")


# Limits.

MIXED = f"""
        la      t0, handler
        csrw    mtvec, t0
        li      s11, 0x50000
        li      s10, 0x2000000
        li      s9, 3
a:      addi    s0, s0, 1
        ld      t2, 0(s11)
        lw      s1, 0(s10)
        jal     ra, f
        sub     s2, s0, s9
        bnez    s2, a
        ecall
        .word   0x0000000b
        csrr    s3, minstret
        j       a
f:      addi    s4, s4, 1
        ret
        {HANDLER}
"""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"icount": 0},
        {"irq_check": "every-insn"},
        {"irq_check": "tb-end"},
        {"irq_check": "never"},
        {"irq_check": "acyclic"},
        {"irq_check": "quantum", "quantum": 7},
        {"io_last": True},
        {"cache": False},
        {"trace": "blocks"},
    ],
    ids=str,
)
def test_max_insns_is_exact_for_every_number(options: dict[str, Any]) -> None:
    """run(n) stops where n single steps stop, with the same state of the guest."""
    stepper = machine(MIXED, **options)
    for n in range(61):
        m = machine(MIXED, **options)
        result = run(m, n)
        assert (result.reason.value, result.insns, m.insns) == ("max-insns", n, n)
        assert registers(m) == registers(stepper)
        m.close()
        assert run(stepper, 1).insns == 1


def test_limited_runs_share_their_blocks_with_the_next_run() -> None:
    """The limit is not in the key: but for the cut at the end of each run, nothing is translated
    again."""
    whole = machine(MIXED)
    run(whole, 2000)
    m = machine(MIXED)
    for _ in range(200):
        run(m, 10)

    def full(m: Machine) -> set[tuple[int, int, int]]:
        return {(tb.pc, tb.flags, tb.cflags) for tb in m.tbs if not tb.cflags & CF_COUNT_MASK}

    assert full(whole) < full(m), "and those where a run began in mid-block"
    assert registers(m) == registers(whole)
    translated = m.stats.tb_translated
    for _ in range(50):
        run(m, 10)
    assert m.stats.tb_translated - translated <= 2
    assert_links_are_sound(m)


def test_a_limit_does_not_change_the_way_there() -> None:
    """Blocks that run up to the limit are the same as without one."""
    a, b = machine(MIXED, trace="blocks"), machine(MIXED, trace="blocks")
    run(a, 400)
    run(b, 300)
    runs_a = [(e.insns, e.pc, e.count) for e in only(a, ev.BlockRun)]
    runs_b = [(e.insns, e.pc, e.count) for e in only(b, ev.BlockRun)]
    assert runs_a[: len(runs_b) - 1] == runs_b[:-1]

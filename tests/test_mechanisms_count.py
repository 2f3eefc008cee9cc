"""Counting: minstret's rule on every path, exact limits, raise_at and the doorbell.

The rule is the specification's: an instruction that traps does not retire. QEMU counts ecall,
ebreak and instructions that are illegal when they are decoded, and over-counts wfi (qemu-facts,
section 13, rows 7 and 8: 9 where the specification says 8, 19 instead of 10).
"""

from __future__ import annotations

from typing import Any

import pytest
from engine import (
    ENABLE,
    END,
    ROUND,
    SETUP,
    STAY,
    THREE_BLOCKS,
    assert_links_are_sound,
    finish,
    machine,
    only,
    registers,
    run,
    taken,
)

from tcglite import Machine
from tcglite.errors import UsageError
from tcglite.tcg.cflags import CF_COUNT_MASK
from tcglite.trace import events as ev

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


# raise_at.

LOOP = ENABLE + THREE_BLOCKS + STAY
WARM = SETUP + 4 * ROUND
HEADS = {WARM + k * ROUND + d: name for k in range(4) for d, name in ((0, "a"), (3, "b"), (7, "c"))}


@pytest.mark.parametrize("n", range(WARM, WARM + ROUND + 2))
def test_raise_at_has_exact_events_and_cuts_no_block(n: int) -> None:
    """Raised and flagged right after n; the next head refuses; taken there. Nothing is translated
    for it, and every block that ran is one that runs without it too."""
    quiet = machine(LOOP, trace="blocks")
    run(quiet, WARM + 4 * ROUND)
    m = machine(LOOP, trace="blocks")
    m.raise_at(n, "msip")
    limit = run(m, WARM + 4 * ROUND)
    assert limit.reason.value == "max-insns"

    head = min(at for at in HEADS if at >= n)
    story = [
        (event.insns, type(event).__name__)
        for event in m.events
        if isinstance(
            event, ev.LineRaised | ev.FlagSet | ev.Refused | ev.FlagCleared | ev.InterruptTaken
        )
        and (event.insns or 0) >= WARM
    ][:5]
    assert story == [
        (n, "LineRaised"),
        (n, "FlagSet"),
        (head, "Refused"),
        (head, "FlagCleared"),
        (head, "InterruptTaken"),
    ]
    refused = only(m, ev.Refused)[-1]
    assert refused.cause == "flag"
    assert refused.pc == m.symbols[HEADS[head]]
    ran = [(e.insns, e.pc, e.count, e.executed) for e in only(m, ev.BlockRun)]
    wanted = [(e.insns, e.pc, e.count, e.executed) for e in only(quiet, ev.BlockRun)]
    before = [row for row in wanted if (row[0] or 0) < head]
    assert ran[: len(before)] == before
    assert ran[len(before)][1] == m.symbols["handler"]
    of_the_loop = range(m.symbols["a"], m.symbols["handler"])
    assert [(tb.pc, tb.icount) for tb in m.tbs if tb.pc in of_the_loop] == [
        (tb.pc, tb.icount) for tb in quiet.tbs if tb.pc in of_the_loop and not cut(tb)
    ]


def cut(tb: Any) -> bool:
    return bool(tb.cflags & CF_COUNT_MASK)


def test_raise_at_before_a_jump_that_is_not_patched_is_noticed_by_the_loop() -> None:
    """No refusal: the loop looks before it enters the next block."""
    m = machine(LOOP)
    m.raise_at(SETUP + 2, "msip")
    run(m, 60)
    assert taken(m) == [(SETUP + 3, m.symbols["b"])]
    assert only(m, ev.Refused) == []


@pytest.mark.parametrize("n", [WARM + 1, WARM + 5, WARM + 9])
@pytest.mark.parametrize("irq_check", ["tb-start", "tb-end", "every-insn", "unlink", "quantum"])
def test_a_limit_and_a_raise_in_the_same_block(irq_check: str, n: int) -> None:
    """The limit cuts, the raise does not; whichever comes first, both are exact, and the run ends.
    The interrupt may come earlier than without the limit, since a cut block ends there; never
    later."""
    longest = 5 if irq_check != "quantum" else 6 + 5
    for stop in range(WARM, WARM + ROUND + 1):
        m = machine(LOOP, irq_check=irq_check, quantum=6)
        m.raise_at(n, "msip")
        assert run(m, stop).insns == stop
        raised = [event.insns for event in only(m, ev.LineRaised) if event.line == "msip"]
        assert raised == ([n] if n <= stop else [])
        run(m, 2 * ROUND)
        ((at, _),) = taken(m)
        assert n <= (at or 0) <= n + longest, f"stop={stop}"
        done = m.cpu["s0"] + m.cpu["s1"] + m.cpu["s2"]
        assert 12 <= (at or 0) - SETUP - done <= 16, "3 jumps in each of 4 rounds, then some"
        m.close()


@pytest.mark.parametrize("irq_check", ["tb-start", "tb-end", "every-insn", "unlink"])
def test_raise_at_is_exact_where_the_block_leaves_sideways_before_it(irq_check: str) -> None:
    """The block that would have contained instruction n faults: n comes in the handler, where
    interrupts are off; they are taken when mret has switched them on."""
    source = f"""
        {ENABLE}
        li      s11, 0x50000
        li      s1, 40
a:      addi    s0, s0, 1
        ld      t2, 0(s11)
        addi    s2, s2, 1
        addi    s2, s2, 1
        addi    s2, s2, 1
        addi    s2, s2, 1
        addi    s2, s2, 1
        bne     s0, s1, a
        j       .
        .balign 4
handler: csrr   t0, mcause
        bltz    t0, irq
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
irq:    j       irq
"""
    start, per_round = SETUP + 2, 1 + 6 + 6
    for n in range(start + 2 * per_round, start + 4 * per_round):
        m = machine(source, irq_check=irq_check)
        m.raise_at(n, "msip")
        run(m, 120)
        offset = (n - start) % per_round
        if irq_check == "every-insn":
            wait = 7 - offset if 2 <= offset <= 7 else 0
        else:
            wait = -offset % per_round if offset in (0, *range(8, 13)) else 7 - offset
        assert [at for at, _ in taken(m)] == [n + wait], f"offset {offset}"
        m.close()


@pytest.mark.parametrize("irq_check", ["tb-start", "tb-end", "every-insn", "acyclic", "never"])
def test_the_line_is_up_at_its_instruction_also_after_leaving_sideways(irq_check: str) -> None:
    source = """
        la      t0, handler
        csrw    mtvec, t0
        addi    s0, s0, 1
        ld      t2, 0(x0)
        nop
        nop
        nop
        nop
        j       .
        .balign 4
handler: csrr   s1, mip
        csrr    s2, mip
        csrr    s3, mip
        csrr    s4, mip
        j       .
"""
    for n in range(3, 10):
        m = machine(source, irq_check=irq_check, watchdog=None)
        m.raise_at(n, "msip")
        run(m, 12)
        seen = [m.cpu[name] >> 3 & 1 for name in ("s1", "s2", "s3", "s4")]
        assert seen == [int(4 + k >= n) for k in range(4)], f"n={n}"
        m.close()


def test_several_raises_act_in_the_order_of_their_numbers() -> None:
    m = machine(LOOP)
    wanted = [(5, "plic:3"), (1, "msip"), (5, "meip"), (2, "mtip")]
    for n, line in wanted:
        m.raise_at(WARM + n, line)
    run(m, WARM + 2 * ROUND)
    raised = [(e.insns, e.line) for e in only(m, ev.LineRaised) if e.insns and e.insns >= WARM]
    assert raised == [
        (WARM + 1, "msip"),
        (WARM + 2, "mtip"),
        (WARM + 5, "plic:3"),
        (WARM + 5, "meip"),
    ]
    ((at, epc),) = taken(m)
    assert (at, epc) == (WARM + 3, m.symbols["b"])
    assert m.cpu.csr["mcause"] & 0xFF == 3, "at that moment: msip before mtip"


@pytest.mark.parametrize(
    "irq_check", ["tb-start", "tb-end", "every-insn", "quantum", "acyclic", "unlink", "never"]
)
@pytest.mark.parametrize(
    ("read", "mask"),
    [("lw s1, 0(s11)", 1), ("csrr s1, mip", 8)],
    ids=["device in mid-block", "mip at the end"],
)
def test_who_looks_at_the_line_inside_the_block_sees_it_from_its_instruction_on(
    irq_check: str, read: str, mask: int
) -> None:
    """Blocks of 6: four instructions, the read (a CSR read ends the block), a jump. The line must
    be seen by the first read that comes after instruction n, in whatever mode."""
    source = f"""
        li      s11, 0x2000000
        li      s10, 0
a:      addi    s0, s0, 1
        nop
        nop
        nop
        {read}
        andi    s1, s1, {mask}
        snez    s1, s1
        add     s10, s10, s1
        j       a
"""
    start, per_round = 2, 9
    for n in range(start + 2 * per_round, start + 3 * per_round + 1):
        m = machine(source, irq_check=irq_check, watchdog=None)
        m.raise_at(n, "msip")
        run(m, start + 6 * per_round)
        reads = [start + k * per_round + 4 for k in range(6)]
        assert m.cpu["s10"] == len([at for at in reads if at >= n]), f"n={n}"
        m.close()


def test_two_raises_around_a_device_access_in_one_block() -> None:
    """The first is due before the access and acts there; the second still acts at its place, seen
    by the CSR read that ends the block."""
    m = machine("""
        li      s11, 0x2000000
a:      addi    s0, s0, 1
        nop
        lw      s1, 0(s11)
        nop
        nop
        csrr    s2, mip
        j       a
""")
    base = 1 + 2 * 7
    m.raise_at(base + 1, "plic:3")
    m.raise_at(base + 4, "msip")
    run(m, base + 7)
    assert [(e.insns, e.line) for e in only(m, ev.LineRaised) if e.insns] == [
        (base + 1, "plic:3"),
        (base + 4, "msip"),
    ]
    assert m.cpu["s2"] & 8
    assert m.cpu["s1"] == 0


def test_raise_at_a_number_that_has_passed_acts_at_once() -> None:
    m = machine(LOOP)
    run(m, WARM)
    m.raise_at(5, "msip")
    run(m, ROUND)
    assert taken(m) == [(WARM, m.symbols["a"])]


# The doorbell.


@pytest.mark.parametrize("position", [0, 3, 8])
def test_the_doorbell_rings_in_mid_block_and_the_next_block_is_refused(position: int) -> None:
    """The guest stores to msip after so many instructions of the block: mepc is the next block,
    on every run, and that block was translated once (QEMU 7.2 does the same)."""
    fill = ["addi s0, s0, 1"] * 8
    fill.insert(position, "sw s1, 0(s11)")
    source = f"""
        {ENABLE}
        li      s11, 0x2000000
        li      s2, 6
a:      {"; ".join(fill)}
        j       b
b:      addi    s3, s3, 1
        sltu    s1, s4, s3              # 0 in the rounds that only warm up, then 1
        bne     s3, s2, a
        j       .
        {STAY}
"""
    found = set()
    for _ in range(3):
        m = machine(source, trace="blocks")
        m.cpu["s4"] = 2
        run(m, 200)
        ((at, epc),) = taken(m)
        assert epc == m.symbols["b"]
        assert (m.cpu["s0"], m.cpu["s3"]) == (8 * 4, 3), "the block ran to its end, the next not"
        (refused,) = [event for event in only(m, ev.Refused) if event.insns == at]
        assert (refused.pc, refused.cause) == (epc, "flag")
        (raised,) = [event.insns for event in only(m, ev.LineRaised) if event.line == "msip"]
        assert raised == (at or 0) - (10 - position), "stamped before the store itself"
        assert len([tb for tb in m.tbs if tb.pc == m.symbols["b"]]) == 1
        found.add(at)
    assert len(found) == 1

"""raise_at and the doorbell: deterministic interrupts without icount that cut no block."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from engine import (
    ENABLE,
    END,
    ROUND,
    SETUP,
    STAY,
    THREE_BLOCKS,
    machine,
    only,
    run,
    taken,
)

from tcglite.accel.mechanisms import IRQ_CHECKS
from tcglite.machine import StopReason
from tcglite.tcg.cflags import CF_COUNT_MASK
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

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


@pytest.mark.parametrize("offset", range(9))
def test_a_claim_in_the_same_block_takes_the_request_away(offset: int) -> None:
    """A polling guest claims source 5 in mid-block. Raised before that instruction: the claim gets
    it and MEIP falls; the next head refuses, for the flag is up, but there is nothing to take.
    Raised after it: the interrupt comes at the next head."""
    m = machine(f"""
        {ENABLE}
        li      s11, 0xc000000
        li      t0, 1
        sw      t0, 20(s11)             # priority of source 5
        li      s10, 0xc002000
        li      t0, 32
        sw      t0, 0(s10)              # enabled
        li      s10, 0xc200000
        fence.i
a:      addi    s0, s0, 1
        addi    s0, s0, 1
        lw      t1, 4(s10)              # claim
        add     s1, s1, t1
        addi    s0, s0, 1
        j       b
b:      addi    s2, s2, 1
        nop
        j       a
        {STAY}
""")
    start = SETUP + 8 + 3 * 9
    n = start + offset
    m.raise_at(n, "plic:5")
    run(m, start + 3 * 9)
    raised = [(e.insns, e.line) for e in only(m, ev.LineRaised) if e.line == "plic:5"]
    assert raised == [(n, "plic:5")]
    refused = [(e.insns, e.pc) for e in only(m, ev.Refused) if (e.insns or 0) >= start]
    if offset <= 2:
        assert taken(m) == [] if offset else taken(m) == [(start, m.symbols["a"])]
        assert m.cpu["s1"] == (5 if offset else 0)
        assert refused == [(start + 6 if offset else start, m.symbols["b" if offset else "a"])]
    else:
        at, head = (start + 6, "b") if offset <= 6 else (start + 9, "a")
        assert taken(m) == [(at, m.symbols[head])]
        assert refused == [(at, m.symbols[head])]
        assert m.cpu["s1"] == 0


def test_raise_at_the_number_where_the_machine_stands_acts_at_once() -> None:
    m = machine(LOOP)
    run(m, WARM)
    m.raise_at(WARM, "msip")
    run(m, ROUND)
    assert taken(m) == [(WARM, m.symbols["a"])]


def test_raise_at_wakes_a_hart_that_sleeps_already() -> None:
    """Stopped in wfi; the number has passed; the next run raises the line before it sleeps on."""
    m = machine(f"""
        {ENABLE}
        wfi
after:  j       after
        {STAY}
""")
    asleep = threading.Event()
    m.recorder.listen(lambda event: isinstance(event, ev.Halted) and asleep.set())
    m.start()
    assert asleep.wait(20)
    m.pause()
    assert m.cpu.halted
    m.raise_at(SETUP + 1, "msip")
    run(m, 5)
    assert taken(m) == [(SETUP + 1, m.symbols["after"])]


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


# Interrupts are transparent.

WORK = f"""
        {ENABLE}
        li      s11, 0x50000
        li      s10, 0x2000000
        la      s9, room
        li      s8, 6
        la      s7, patch
        lw      s6, patch
a:      addi    s0, s0, 1
1:      lr.d    t2, (s9)
        addi    t2, t2, 3
        sc.d    t3, t2, (s9)
        bnez    t3, 1b
        ld      t2, 0(s11)              # faults
        add     s1, s1, s0
        lw      t2, 4(s10)              # a device
        li      t2, 0x100000
        add     s6, s6, t2              # the next addi adds one more
        sw      s6, 0(s7)
        fence.i
patch:  addi    s2, s2, 0
        jal     ra, f
        amoadd.d s4, s2, (s9)
        bne     s0, s8, a
        ld      s5, 0(s9)
        {END}
f:      slli    s3, s3, 1
        add     s3, s3, s0
        ret
        .balign 64
handler: csrw   mscratch, t0
        csrr    t0, mcause
        bltz    t0, irq
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        csrr    t0, mscratch
        mret
irq:    li      t0, 0x2000000
        sw      x0, 0(t0)
        addi    gp, gp, 1
        csrr    t0, mscratch
        mret
        .balign 4096
room:   .dword  0
"""


@pytest.mark.parametrize(
    "options",
    [{}, {"irq_check": "tb-end"}, {"irq_check": "every-insn"}, {"irq_check": "acyclic"},
     {"irq_check": "unlink"}, {"irq_check": "quantum", "quantum": 9}, {"icount": 0},
     {"io_last": True}, {"cache": False}, {"max_block_insns": 3}],
    ids=str,
)  # fmt: skip
def test_wherever_it_comes_the_program_computes_the_same(options: dict[str, Any]) -> None:
    """Loops of LR and SC, faults, device accesses, changed code, calls: one interrupt anywhere in
    it, and then three, leave every result as it is."""
    names = ("s0", "s1", "s2", "s3", "s4", "s5", "s6")

    def results(*raises: int) -> list[int]:
        with machine(WORK, trace=None, **options) as m:
            for n in raises:
                m.raise_at(n, "msip")
            assert run(m, 5000).exit_code == 0
            assert m.cpu["gp"] == m.stats.interrupts_taken
            assert m.cpu["gp"] >= min(len(raises), 1)
            return [m.cpu[name] for name in names]

    quiet = results()
    assert quiet[:4] == [6, 21, 21, 120]
    for n in range(SETUP, 150, 7):
        assert results(n) == quiet, f"raised at {n}"
    for n in range(SETUP + 1, 150, 23):
        assert results(n, n + 5, n + 40) == quiet, f"raised at {n}, {n + 5}, {n + 40}"


@pytest.mark.parametrize("quantum", [1, 1000])
@pytest.mark.parametrize("check", IRQ_CHECKS)
def test_right_after_a_wfi(check: str, quantum: int) -> None:
    """The hart already sleeps, and the line wakes it."""
    source = "li t0, 8\n csrw mie, t0\n wfi\n li a0, 7\n" + END
    with machine(source, irq_check=check, quantum=quantum) as m:
        m.raise_at(3, "msip")
        assert run(m, 100).reason is StopReason.EXIT
        assert m.cpu["a0"] == 7
        (raised,) = [e for e in only(m, ev.LineRaised) if e.line == "msip" and e.level]
        assert raised.insns == 3

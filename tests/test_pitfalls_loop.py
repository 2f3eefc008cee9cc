"""Pitfalls 1 to 4 of a naive re-implementation: requests, the flag, unmasking, the stale pc.

Each test is named after the pitfall (qemu-facts, section 14). QEMU's source has no unit test for
most of them; the statements were read from it and, where that was possible, seen on QEMU 7.2.
"""

from __future__ import annotations

import pytest
from engine import (
    ENABLE,
    END,
    MSIP,
    MTIP,
    RAM,
    ROUND,
    SETUP,
    STAY,
    THREE_BLOCKS,
    block_at,
    finish,
    machine,
    only,
    run,
    taken,
)

from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

LOOP = ENABLE + THREE_BLOCKS + STAY
WARM = SETUP + 4 * ROUND  #: at the head of a, everything linked

# 1. Kick flag is not interrupt pending.


def test_pitfall_01_kick_is_not_interrupt_pending() -> None:
    """A flag without a request: a block is refused, nothing is taken, the block then runs."""
    m = machine(LOOP)
    links: list[ev.Event] = []

    def kick(event: ev.Event) -> None:
        if isinstance(event, ev.ChainPatched):
            links.append(event)
            if len(links) == 3:  # the loop is closed, and about to be entered
                m._cpu.kick("nobody asked")

    m.recorder.listen(kick)
    run(m, WARM)
    assert [event.cause for event in only(m, ev.Refused)] == ["flag"]
    assert m.stats.interrupts_taken == 0
    assert (m.cpu["s0"], m.cpu["s1"], m.cpu["s2"]) == (8, 12, 16)


def test_pitfall_01_the_flag_that_stopped_a_run_does_not_refuse_the_next_one() -> None:
    """(Unicorn's #1193: a left-over flag made the next run enter its first block twice.)"""
    m = machine(LOOP)
    for _ in range(5):
        run(m, ROUND)
    assert m._cpu.env.neg.icount_decr.high, "the stop has set it"
    assert only(m, ev.Refused) == []


def test_pitfall_01_a_masked_request_stays_and_is_taken_after_unmasking() -> None:
    """Clearing the flag must not clear the request; and the flag does not come back by itself, so
    a masked request costs one refusal and no more."""
    m = machine(f"""
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 8
        csrw    mie, t0
        li      s1, 50
a:      addi    s0, s0, 1
        bne     s0, s1, a
        csrsi   mstatus, 8
after:  nop
        j       .
        {STAY}
""")
    m.raise_at(40, "msip")
    run(m, 400)
    assert [event.cause for event in only(m, ev.Refused)] == ["flag"]
    assert taken(m) == [(107, m.symbols["after"])]
    looks = [event.insns for event in only(m, ev.InterruptLooked) if event.pending & MSIP]
    assert looks[:2] == [40, 106], "at the refusal; at a's other way out, which is not linked yet"
    assert m.cpu.csr["mip"] & MSIP, "lines are levels: only who drives one takes it back"
    assert m.cpu["s0"] == 50


@pytest.mark.parametrize(
    "moment", [ev.FlagCleared, ev.InterruptLooked], ids=["flag dropped", "requests read"]
)
def test_pitfall_01_a_raise_between_dropping_the_flag_and_looking_is_not_lost(
    moment: type[ev.Event],
) -> None:
    """Somebody raises exactly when the loop has dropped the flag, or has just read the requests:
    this look finds the request, or the flag is up again and the next head refuses."""
    m = machine(LOOP)
    run(m, WARM)
    m.cpu.csr["mie"] = MSIP
    done = []

    def raise_then(event: ev.Event) -> None:
        if isinstance(event, moment) and not done:
            done.append(event)
            m._cpu.update_mip(MSIP, 1)

    m.recorder.listen(raise_then)
    m._cpu.update_mip(MTIP, 1)  # a look that takes nothing: not enabled in mie
    run(m, 2 * ROUND)
    assert done
    assert taken(m) == [(WARM, m.symbols["a"])]


# 2. Unmasking instructions return to the loop.


@pytest.mark.parametrize(
    ("prepare", "unmask"),
    [
        ("li t0, 8; csrw mie, t0", "csrsi mstatus, 8"),
        ("li t0, 8; csrw mie, t0; li t2, 8", "csrw mstatus, t2"),
        ("csrsi mstatus, 8; li t2, 8", "csrrw t3, mie, t2"),
        ("csrsi mstatus, 8; li t2, 8", "csrs mie, t2"),
        (
            "li t0, 8; csrw mie, t0; li t0, 0x1880; csrw mstatus, t0; la t0, after; csrw mepc, t0",
            "mret",
        ),
    ],
)
def test_pitfall_02_unmasking_returns_to_the_loop(prepare: str, unmask: str) -> None:
    """The interrupt is taken at the very next instruction, in straight code, without a refused
    block: neither goto_tb nor goto_ptr would look. (sret waits for S mode.)"""
    m = machine(f"""
        la      t0, handler
        csrw    mtvec, t0
        {prepare}
        li      t0, 0x2000000
        li      t1, 1
        sw      t1, 0(t0)
        fence.i
        addi    s0, s0, 1
        {unmask}
after:  addi    s0, s0, 1
        addi    s0, s0, 1
        j       .
        {STAY}
""")
    run(m, 60)
    assert [epc for _, epc in taken(m)] == [m.symbols["after"]]
    assert m.cpu["s0"] == 1
    assert m.symbols["after"] not in [event.pc for event in only(m, ev.Refused)]


def test_pitfall_02_unmasking_is_noticed_in_a_warm_loop_too() -> None:
    """All blocks are known and linked where they may be; each round unmasks and masks again."""
    m = finish(f"""
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 8
        csrw    mie, t0
        li      t0, 0x2000000
        li      t1, 1
        li      s1, 20
a:      addi    s0, s0, 1
        sw      t1, 0(t0)
        nop
        csrsi   mstatus, 8
mark:   csrci   mstatus, 8
        bne     s0, s1, a
        {END}
        .balign 64
handler: addi   s2, s2, 1
        sw      x0, 0(t0)
        mret
""")
    assert m.cpu["s2"] == 20
    assert [epc for _, epc in taken(m)] == [m.symbols["mark"]] * 20


def test_pitfall_02_mret_is_noticed_in_a_warm_loop_too() -> None:
    """mret unmasks at a place whose block is known: goto_ptr would find it, and not look."""
    m = finish(f"""
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 8
        csrw    mie, t0
        li      t0, 0x2000000
        li      t1, 1
        li      s1, 20
        la      s3, mark
        li      s4, 0x1880
a:      addi    s0, s0, 1
        csrw    mstatus, s4             # MPP = M, MPIE, not MIE
        csrw    mepc, s3
        sw      t1, 0(t0)
        fence.i
        mret
mark:   sub     s5, s0, s2              # the handler has been here already
        add     s6, s6, s5
        bne     s0, s1, a
        {END}
        .balign 64
handler: addi   s2, s2, 1
        sw      x0, 0(t0)
        mret
""")
    assert [epc for _, epc in taken(m)] == [m.symbols["mark"]] * 20
    assert (m.cpu["s2"], m.cpu["s6"]) == (20, 0)


@pytest.mark.parametrize("read", ["csrr t0, minstret", "csrr t0, mip", "csrrs t0, time, x0"])
def test_pitfall_02_reads_of_csrs_end_the_block_too(read: str) -> None:
    """What they read is exact only in the last instruction, and may change while linked code
    runs."""
    m = machine(f"nop; {read}; nop; nop; j .")
    run(m, 10)
    tb = block_at(m, RAM)
    assert tb.icount == 2
    assert "exit_tb" in tb.ir
    assert "goto" not in tb.ir


# 3. A block that is refused has executed nothing.


@pytest.mark.parametrize("n", range(WARM + 1, WARM + 1 + 7))
def test_pitfall_03_a_refused_block_has_executed_nothing(n: int) -> None:
    """At each instruction of a and b in a linked loop: the block that is refused is not the one
    that the loop had entered; pc is its pc; its counter stands where it stood."""
    m = machine(LOOP)
    m.raise_at(n, "msip")
    run(m, WARM + 3 * ROUND)
    refused = only(m, ev.Refused)[-1]
    ((insns, epc),) = taken(m)
    assert refused.insns == insns
    assert refused.pc == epc == m.cpu.csr["mepc"]
    links = [event.dst for event in m.events[: m.events.index(refused)] if is_link(event)]
    assert links[-1] == block_at(m, m.symbols["a"]).number != refused.tb, "what the loop entered"
    if n > WARM + 3:
        expected, name = (2 * 5, 3 * 5, 4 * 4), "c"
    else:
        expected, name = (2 * 5, 3 * 4, 4 * 4), "b"
    assert epc == m.symbols[name]
    assert (m.cpu["s0"], m.cpu["s1"], m.cpu["s2"]) == expected


def is_link(event: ev.Event) -> bool:
    return isinstance(event, ev.ChainPatched)


# 4. Deferred pc.


@pytest.mark.parametrize("restore", [True, False, "eager"])
def test_pitfall_04_env_pc_is_stale_between_linked_blocks(restore: bool | str) -> None:
    """tcglite works as QEMU does without CF_PCREL: a linked jump stores no pc. (QEMU's RISC-V
    system mode is PCREL today, and stores it before goto_tb.) Whoever looks from the middle of
    linked code sees an old pc; only the unwinder, or a pc stored in advance, gets it right."""
    seen: list[int] = []
    m = machine(
        f"""
        la      t0, handler
        csrw    mtvec, t0
        li      t2, 0x10000000
        la      t5, 1f
        li      s3, 3
        fence.i
a:      addi    s0, s0, 1
        sub     t4, s3, s0
        snez    t4, t4
        neg     t4, t4
        and     t4, t4, t5              # 1f, but 0 in the third round
        j       b
b:      addi    s1, s1, 1
        j       c
c:      sb      s1, 0(t2)
        ld      t0, 0(t4)
        j       a
        .balign 8
1:      .dword  0
        {STAY}
""",
        restore=restore,
        on_output=lambda data: seen.append(m._cpu.env.pc),
    )
    run(m, 100)
    a, c = m.symbols["a"], m.symbols["c"]
    assert m.cpu.csr["mcause"] == 5
    if restore == "eager":
        assert seen == [c, c, c]
    else:
        assert seen == [c, a, a], "first entered by the loop, then by links: a's was stored last"
    assert m.cpu.csr["mepc"] == (a if restore is False else c + 4)

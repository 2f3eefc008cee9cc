"""Pitfalls 5 to 9: which blocks are linked, and what their key must hold."""

from __future__ import annotations

from typing import Any

import pytest
from engine import (
    ENABLE,
    END,
    RAM,
    STAY,
    assert_links_are_sound,
    block_at,
    finish,
    machine,
    only,
    run,
)

from tcglite import Machine
from tcglite.tcg.cflags import CF_COUNT_MASK
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

# 5. Forget last_tb. 6. Link the block that came back.


@pytest.mark.parametrize("n", [*range(11, 30), *range(40, 60)])
def test_pitfall_05_no_link_into_a_handler(n: int) -> None:
    """After a refusal, an interrupt and an unwinding, the loop must not link the last block to the
    next one: that edge does not exist in the guest's program."""
    m = finish_with_interrupt(n)
    assert m.stats.interrupts_taken == 1
    assert m.stats.exceptions == 20
    assert m.cpu["s1"] == 40
    assert_links_are_sound(m)
    handler = {tb.number for tb in m.tbs if tb.pc == m.symbols["handler"]}
    assert not handler & {event.dst for event in only(m, ev.ChainPatched)}


def finish_with_interrupt(n: int) -> Machine:
    """A loop with a fault in each round, and one interrupt at instruction n."""
    m = machine(f"""
        {ENABLE}
        li      s11, 0x2000000
        li      s10, 0x50000
        li      s9, 20
a:      addi    s0, s0, 1
        j       b
b:      addi    s1, s1, 1
        ld      t3, 0(s10)
        addi    s1, s1, 1
        bne     s0, s9, a
        {END}
        .balign 4
handler: csrr   t0, mcause
        bltz    t0, irq
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
irq:    sw      x0, 0(s11)
        mret
""")
    m.raise_at(n, "msip")
    assert run(m, 2000).exit_code == 0
    return m


def test_pitfall_06_the_block_that_came_back_is_linked_not_the_one_that_was_called() -> None:
    """Round 1 links a to b and b to a. The next way out is b's other slot: the loop called a."""
    m = machine("""
        li      s1, 5
        fence.i
a:      addi    s0, s0, 1
        j       b
b:      addi    s2, s2, 1
        bne     s0, s1, a
c:      j       c
""")
    run(m, 60)
    a, b, c = (block_at(m, m.symbols[name]) for name in "abc")
    assert [(e.src, e.slot, e.dst) for e in only(m, ev.ChainPatched)] == [
        (a.number, 0, b.number),
        (b.number, 0, a.number),  # taken: slot 0, as QEMU's front end has it
        (b.number, 1, c.number),
        (c.number, 0, c.number),
    ]
    assert_links_are_sound(m)


# 7. Where no link may lead. (Links into invalid blocks and self-loops: test_mechanisms_code.py.)


def test_pitfall_07_no_link_to_a_block_that_crosses_a_page_nor_across_pages() -> None:
    """near falls through to far, which begins on near's page and reaches into the next one: the
    jump is there, but may not be patched. far goes on on another page: no jump at all."""
    m = finish(f"""
        li      s1, 6
        la      t1, near
back:   addi    s0, s0, 1
        beq     s0, s1, done
        jr      t1
done:   {END}
        .balign 4096
        .skip   4096 - 10
near:   .option rvc
        nop
        nop
        nop
        nop
        .option norvc
far:    addi    s2, s2, 1
        la      t0, back
        jr      t0
""")
    assert m.cpu["s2"] == 5
    assert_links_are_sound(m)
    near, far = block_at(m, m.symbols["near"]), block_at(m, m.symbols["far"])
    assert far.pc & 0xFFF == 0xFFE
    assert (near.icount, far.icount) == (4, 1)
    assert "goto_tb" in near.ir
    assert near.slots == [None, None]
    assert far.incoming == []
    assert "goto_tb" not in far.ir
    assert "goto_ptr" in far.ir


# 8. The key has all that translation assumed, and no more.

USER = """
        la      t0, handler
        csrw    mtvec, t0
        jal     ra, f
        li      t0, 0x1800
        csrc    mstatus, t0
        la      t0, user
        csrw    mepc, t0
        mret
user:   jal     ra, f
        ecall
f:      addi    s0, s0, 1
        ret
"""


def blocks_of(m: Machine, name: str) -> list[Any]:
    """Its blocks, but for what a run limit has cut."""
    return [tb for tb in m.tbs if tb.pc == m.symbols[name] and not tb.cflags & CF_COUNT_MASK]


def test_pitfall_08_privilege_is_in_the_key() -> None:
    m = machine(USER + STAY)
    run(m, 40)
    assert m.cpu["s0"] == 2
    assert [tb.flags & 3 for tb in blocks_of(m, "f")] == [3, 0]


def test_pitfall_08_the_mode_of_loads_is_in_the_key() -> None:
    """mstatus.MPRV sets it apart from the privilege; with Sv39 it will choose the page table."""
    m = machine("""
        jal     ra, f
        li      t0, 0x1800
        csrc    mstatus, t0             # MPP = U
        li      t0, 0x20000
        csrs    mstatus, t0             # MPRV
        jal     ra, f
        j       .
f:      ld      t1, 0(ra)
        ret
""")
    run(m, 20)
    assert [(tb.flags & 3, tb.flags >> 4 & 3) for tb in blocks_of(m, "f")] == [(3, 3), (3, 0)]


def test_pitfall_08_fs_is_in_the_key() -> None:
    """With FS off an FP move is illegal, decided at translation; the same address with FS on is
    another block."""
    m = machine("""
        la      t0, handler
        csrw    mtvec, t0
        li      s1, 0x123
        jal     ra, f
        j       .
f:      fmv.d.x fa0, s1
        ret
        .balign 4
handler: li     t0, 0x6000
        csrs    mstatus, t0
        mret
""")
    run(m, 60)
    assert [tb.flags >> 2 & 3 for tb in blocks_of(m, "f")] == [0, 3]
    assert m.cpu["fa0"] == 0x123
    assert m.stats.exceptions == 1


def test_pitfall_08_cflags_with_the_count_are_in_the_key() -> None:
    m = machine("nop\n" * 8 + "j _start")
    run(m, 9 * 3 + 4)
    assert sorted(tb.icount for tb in m.tbs if tb.pc == RAM) == [4, 9]
    (cut,) = (tb for tb in m.tbs if tb.icount == 4)
    (full,) = (tb for tb in m.tbs if tb.icount == 9)
    assert cut.cflags ^ full.cflags == 4
    run(m, 5 + 9 * 3 + 4)
    assert len([tb for tb in m.tbs if tb.pc == RAM]) == 2, "both are found again"


def test_pitfall_08_interrupt_enables_are_not_in_the_key() -> None:
    """mstatus.MIE, mie and mip change all the time; they must not multiply the blocks."""
    m = machine("""
        li      s1, 8
        li      t0, 0x2000000
a:      jal     ra, f
        andi    t1, s0, 1
        slli    t2, t1, 3
        csrw    mstatus, t2
        csrw    mie, t1
        sw      t1, 0(t0)
        bne     s0, s1, a
        j       .
f:      addi    s0, s0, 1
        ret
""")
    run(m, 200)
    assert m.cpu["s0"] == 8
    assert len(blocks_of(m, "f")) == 1
    assert len(blocks_of(m, "a")) == 1


# 9. goto_tb only where the flags at the exit are static.


def test_pitfall_09_goto_tb_only_if_the_flags_at_the_exit_are_static() -> None:
    """FS = Initial in the key; the block's FP write makes it Dirty, on every way through: the link
    to the block for Dirty is stable. Whatever changes flags in another way goes through the loop,
    which makes the key anew."""
    m = machine("""
        li      t0, 0x2000
        li      s1, 4
round:  csrw    mstatus, t0             # FS = Initial
        j       a
a:      fmv.d.x fa0, s0
        addi    s0, s0, 1
        j       b
b:      fmv.x.d s2, fa0
        andi    t1, s0, 3
        bnez    t1, a
        j       round
""")
    run(m, 200)
    fs = {tb.number: tb.flags >> 2 & 3 for tb in m.tbs}
    assert sorted(fs[tb.number] for tb in blocks_of(m, "a")) == [1, 3]
    assert [fs[tb.number] for tb in blocks_of(m, "b")] == [3]
    for tb in blocks_of(m, "a"):
        assert [fs[number] for number in tb.slots if number] == [3]
    assert_links_are_sound(m)


@pytest.mark.parametrize("insn", ["csrw mstatus, t0", "csrsi mstatus, 8", "mret"])
def test_pitfall_09_what_changes_the_flags_leaves_through_the_loop(insn: str) -> None:
    m = machine(f"{insn}; nop; j .")
    run(m, 1)
    tb = block_at(m, RAM)
    assert tb.icount == 1
    assert "exit_tb" in tb.ir
    assert "goto" not in tb.ir

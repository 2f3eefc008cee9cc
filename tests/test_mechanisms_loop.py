"""The loop and the cache: where blocks end, that each is made once, what interrupts cost them."""

from __future__ import annotations

import gc

import pytest
from engine import (
    ENABLE,
    END,
    RAM,
    ROUND,
    SETUP,
    STAY,
    THREE_BLOCKS,
    block_at,
    machine,
    only,
    run,
    taken,
)

from tcglite.tcg.cflags import CF_COUNT_MASK
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

WARM = SETUP + 4 * ROUND

#: Instruction -> (does its block end with it?, how the block goes on)
ENDS = {
    "add t0, t0, t0": (False, ""),
    "ld t0, 0(sp)": (False, ""),
    "amoadd.w t0, t1, (sp)": (False, ""),
    "fence": (False, ""),
    "wfi": (False, ""),
    "beq t0, t1, .+8": (True, "goto_tb $0x1"),
    "j .+8": (True, "goto_tb $0x0"),
    "jal t0, .+8": (True, "goto_tb $0x0"),
    "jalr t0, 0(t1)": (True, "goto_ptr"),
    "ret": (True, "goto_ptr"),
    "csrr t0, mscratch": (True, "exit_tb $0"),
    "csrw mscratch, t0": (True, "exit_tb $0"),
    "csrsi mstatus, 8": (True, "exit_tb $0"),
    "mret": (True, "exit_tb $0"),
    "fence.i": (True, "exit_tb $0"),
    "ecall": (True, "call raise_exception"),
    "ebreak": (True, "call raise_exception"),
    ".word 0x0000000b": (True, "call raise_exception"),
    "fadd.d fa0, fa0, fa0": (True, "call raise_exception"),
    "sret": (True, "call raise_exception"),
}


@pytest.mark.parametrize("insn", ENDS)
def test_a_block_ends_where_qemu_ends_it(insn: str) -> None:
    ends, how = ENDS[insn]
    with machine(f"la sp, 1f\nnop\n{insn}\nnop\nnop\nj .\n.balign 8\n1: .dword 0\n") as m:
        m.cpu["t1"] = RAM
        run(m, 7)
        (tb,) = (tb for tb in m.tbs if tb.pc == RAM and not tb.cflags & CF_COUNT_MASK)
        assert tb.icount == (4 if ends else 7)
        assert how in tb.ir
        assert ("goto" in how) == ("goto" in tb.ir_opt) or not ends


def test_a_block_ends_at_the_page_and_the_next_is_not_linked_to_it() -> None:
    with machine("nop\n" * 1100 + "j .", max_block_insns=512) as m:
        run(m, 1200)
        assert [(tb.pc - RAM, tb.icount) for tb in m.tbs][:4] == [
            (0, 512),
            (2048, 512),
            (4096, 76 + 1),
            (4400, 1),
        ]
        first, second = block_at(m, RAM), block_at(m, RAM + 2048)
        assert first.slots[0] == second.number
        assert second.slots == [None, None]
        assert "goto_tb" not in second.ir


def test_each_block_is_translated_once_and_found_again() -> None:
    """In a loop of 200 rounds with an indirect call; whatever way leads to a block."""
    with machine("""
        li      s1, 200
        la      s2, f
a:      addi    s0, s0, 1
        jalr    s2
        andi    t0, s0, 1
        beqz    t0, b
        nop
b:      bne     s0, s1, a
        j       .
f:      addi    s3, s3, 1
        ret
""") as m:
        run(m, 5000)
        made = [(event.pc, event.count) for event in only(m, ev.BlockTranslated) if event.full]
        assert len(made) == len(set(made)) == 7
        assert m.cpu["s3"] == 200


def test_slots_are_patched_on_first_use_and_indirect_jumps_use_none() -> None:
    with machine("""
        la      s2, f
        li      s1, 3
a:      addi    s0, s0, 1
        bne     s0, s1, c
b:      j       .
c:      jalr    s2
        j       a
f:      ret
""") as m:
        run(m, 100)
        a, c, f = (block_at(m, m.symbols[name]) for name in "acf")
        assert a.slots == [c.number, block_at(m, m.symbols["b"]).number]
        assert c.slots == f.slots == [None, None]
        patched = [(event.src, event.slot) for event in only(m, ev.ChainPatched)]
        assert len(patched) == len(set(patched)), "each slot once"


def test_the_abandoned_block_is_found_again_after_mret() -> None:
    """Not translated again, at the same host address; and the second interrupt costs no translation
    at all."""
    source = (
        ENABLE
        + THREE_BLOCKS
        + """
        .balign 64
handler: li     t0, 0x2000000
        sw      x0, 0(t0)
        addi    s9, s9, 1
        mret
"""
    )
    with machine(source, trace="blocks") as m:
        for n in (WARM + 4, WARM + 5 * ROUND):
            m.raise_at(n, "msip")
        run(m, WARM + 12 * ROUND)
        assert m.cpu["s9"] == 2
        first, second = only(m, ev.InterruptTaken)
        refused = only(m, ev.Refused)[0]
        again = next(
            e for e in only(m, ev.BlockRun) if e.ring > refused.ring and e.tb == refused.tb
        )
        assert again.insns == (refused.insns or 0) + 4, "right after the handler"
        made = [(e.ring, e.pc) for e in only(m, ev.BlockTranslated) if e.full]
        handler = range(m.symbols["handler"], m.symbols["handler"] + 16)
        assert [pc in handler for ring, pc in made if ring >= first.ring] == [True]
        assert [pc for ring, pc in made if ring >= second.ring] == []


def test_returning_elsewhere_just_goes_on_elsewhere() -> None:
    """A handler that sets another mepc: nobody comes back to the refused block by himself."""
    with machine(
        ENABLE
        + THREE_BLOCKS
        + """
        .balign 64
handler: li     t0, 0x2000000
        sw      x0, 0(t0)
        la      t0, other
        csrw    mepc, t0
        mret
other:  addi    s8, s8, 1
        j       other
"""
    ) as m:
        m.raise_at(WARM + 1, "msip")
        run(m, WARM + 10 * ROUND)
        ((at, epc),) = taken(m)
        assert (at, epc) == (WARM + 3, m.symbols["b"])
        assert (m.cpu["s0"], m.cpu["s1"], m.cpu["s2"]) == (10, 12, 16), "b did not begin"
        assert m.cpu["s8"] > 40


@pytest.mark.parametrize("options", [{}, {"cache": False}, {"io_last": True}], ids=str)
def test_leaving_host_code_sideways_leaks_nothing(options: dict[str, bool]) -> None:
    """Hundreds of unwindings: no block, no frame, no object stays behind."""
    with machine(
        f"""
        la      t0, handler
        csrw    mtvec, t0
        li      s10, 0x2000000
a:      ld      t1, 0(x0)
        lw      t1, 4(s10)
        ecall
        j       a
        .balign 4
handler: csrr   t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
        {END}
""",
        trace=None,
        **options,
    ) as m:
        run(m, 200)
        gc.collect()
        objects, blocks = len(gc.get_objects()), len(m.tbs)
        run(m, 11 * (60 if options.get("cache") is False else 400))
        gc.collect()
        assert m.stats.exceptions > 100
        assert len(m.tbs) - blocks <= 2
        assert len(gc.get_objects()) - objects < 100
        assert m._cpu.one_shot is None


def test_counters_begin_at_zero_and_add_up() -> None:
    with machine(ENABLE + THREE_BLOCKS + STAY) as m:
        assert all(getattr(m.stats, name) == 0 for name in m.stats.__slots__)
        m.raise_at(WARM + 1, "msip")
        run(m, WARM + 2 * ROUND)
        stats = m.stats
        assert stats.tb_translated == len(only(m, ev.BlockTranslated))
        assert stats.chain_patched == len(only(m, ev.ChainPatched))
        assert stats.tb_refused == len(only(m, ev.Refused)) == 1
        assert stats.interrupts_taken == len(only(m, ev.InterruptTaken)) == 1
        assert stats.loop_returns == len(only(m, ev.LoopExit))
        assert {tb.cflags & CF_COUNT_MASK for tb in m.tbs} == {0}


def test_the_handler_runs_before_the_next_lookup_and_exceptions_before_interrupts() -> None:
    """Row 1, as the order of events: unwinding, trap entry, a look at interrupts, look-up."""
    with machine(
        f"""
        la      t0, handler
        csrw    mtvec, t0
        nop
        ld      t1, 0(x0)
        j       .
        {STAY}
"""
    ) as m:
        run(m, 10)
        kinds = [type(event).__name__ for event in m.events]
        at = kinds.index("ExceptionRaised")
        assert kinds[at - 2 : at] == ["StateRestored", "LoopExit"]
        assert kinds[at + 1 : at + 4] == ["EnableChanged", "InterruptLooked", "BlockTranslated"]

"""Code that changes: stores, DMA and fence.i against blocks, links, the TLB and the code buffer."""

from __future__ import annotations

from typing import Any

import pytest
from engine import (
    END,
    RAM,
    assert_links_are_sound,
    block_at,
    finish,
    machine,
    only,
    registers,
    run,
)

from tcglite import Machine, Mechanisms
from tcglite.tcg.env import TLB_NOTDIRTY, TLB_SIZE, TLB_WORDS
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

ADDI_S0 = 0x0004_0413  # addi s0, s0, 0; the immediate is bits 31:20


def addi(immediate: int) -> int:
    return ADDI_S0 | (immediate & 0xFFF) << 20


def write_tag(m: Machine, addr: int) -> int:
    return int(m._cpu.softmmu.tlb[((addr >> 12) % TLB_SIZE) * TLB_WORDS + 1])


# Another block is changed.

OTHER = f"""
        la      s1, victim
        la      s6, code
        li      s5, 4
a:      jal     ra, victim
        lw      t0, 0(s6)
        addi    s6, s6, 4
        sw      t0, 0(s1)
        addi    s4, s4, 1
        bne     s4, s5, a
        jal     ra, victim
        {END}
        .balign 4
victim: addi    s0, s0, 1
        addi    s2, s2, 1
        ret
        .balign 4
code:   .word   {addi(10)}, {addi(100)}, {addi(1000)}, {addi(-7)}
"""


@pytest.mark.parametrize(
    "options",
    [{}, {"chain": False}, {"cache": False}, {"icount": 0}, {"max_block_insns": 1},
     {"irq_check": "never"}, {"irq_check": "unlink"}, {"restore": "eager"}, {"count": False}],
    ids=str,
)  # fmt: skip
def test_a_store_to_code_is_seen_by_the_next_call(options: dict[str, Any]) -> None:
    m = finish(OTHER, **options)
    assert m.cpu["s0"] == 1 + 10 + 100 + 1000 - 7
    assert m.cpu["s2"] == 5
    if options.get("cache", True):
        assert m.stats.tb_invalidated >= 4
        assert_links_are_sound(m)


def test_with_invalidation_off_stale_code_runs() -> None:
    m = finish(OTHER, invalidate=False)
    assert m.cpu["s0"] == 5, "five times the first version"
    assert m.stats.tb_invalidated == 0
    assert m.memory[m.symbols["victim"] : m.symbols["victim"] + 4] == addi(-7).to_bytes(4, "little")
    m.mechanisms = Mechanisms()
    m.cpu.pc, m.cpu["ra"] = m.symbols["victim"], m.symbols["victim"] + 8
    m.cpu["s0"] = 0
    run(m, 1)
    assert m.cpu["s0"] == (1 << 64) - 7, "the switch flushed the old blocks"


@pytest.mark.parametrize(
    ("offset", "hit"), [(-1, False), (0, True), (3, True), (11, True), (12, False)]
)
def test_only_blocks_that_hold_the_byte_are_dropped(offset: int, hit: bool) -> None:
    """Not the whole page: the neighbours' code stays, and stays linked."""
    m = machine("""
        la      s1, victim
        jal     ra, victim
a:      sb      s3, 0(s2)
        j       .
        .balign 16
        nop
victim: addi    s0, s0, 1
        addi    s0, s0, 1
        ret
        nop
""")
    victim = m.symbols["victim"]
    m.cpu["s2"] = victim + offset
    m.cpu["s3"] = m.memory[victim + offset]
    run(m, 20)
    dropped = only(m, ev.BlockInvalidated)
    assert [event.addr for event in dropped] == ([victim + offset] if hit else [])
    kept = [tb.pc for tb in m.tbs if not tb.invalid]
    assert (victim in kept) is not hit
    assert RAM in kept


def test_invalidation_cuts_the_links_of_both_directions() -> None:
    """x → y → z in a loop; y is overwritten from outside: its incoming and its outgoing links go,
    the others stay; afterwards the new y is linked in."""
    m = machine("""
x:      addi    s0, s0, 1
        j       y
y:      addi    s1, s1, 1
        j       z
z:      addi    s2, s2, 1
        j       x
""")
    run(m, 60)
    x, y, z = (block_at(m, m.symbols[name]) for name in "xyz")
    assert (x.slots[0], y.slots[0], z.slots[0]) == (y.number, z.number, x.number)
    before = m.stats.tb_invalidated
    m.memory[m.symbols["y"] : m.symbols["y"] + 4] = (addi(0) ^ ADDI_S0 | 0x0024_8493).to_bytes(
        4, "little"
    )
    assert m.stats.tb_invalidated == before + 1
    assert y.invalid
    assert (x.slots[0], y.slots[0], z.slots[0]) == (None, None, x.number)
    assert (y.incoming, z.incoming) == ([], [])
    assert [(e.src, e.dst) for e in only(m, ev.ChainUnpatched)] == [
        (y.number, z.number),
        (x.number, y.number),
    ]
    s1 = m.cpu["s1"]
    run(m, 60)
    assert m.cpu["s1"] == s1 + 2 * 10, "addi s1, s1, 2"
    assert_links_are_sound(m)
    new = block_at(m, m.symbols["y"])
    assert new.number != y.number
    assert x.slots[0] == new.number


def test_a_block_that_jumps_to_itself_is_let_go_when_its_code_is_overwritten() -> None:
    """QEMU's tests/tcg/multiarch/tb-link.c: the self-loop's own jump must be reset too, or it would
    spin in the old code for ever. Here a block stores into itself."""
    m = finish(f"""
        la      s1, patch
        la      s6, dummy
        lw      s2, new
loop:   addi    s4, s4, 1
        sltiu   t1, s4, 40
        neg     t1, t1
        xor     t2, s1, s6
        and     t2, t2, t1
        xor     t2, t2, s1              # dummy, but patch from round 40 on
        sw      s2, 0(t2)
patch:  j       loop
        {END}
new:    nop
        .balign 4096
dummy:  .word   0
""")
    assert m.cpu["s4"] == 40 + 1, "the round that stores still jumps by its old code"
    loops = [tb for tb in m.tbs if tb.pc == m.symbols["loop"]]
    assert [tb.invalid for tb in loops] == [True, True], "the new one stores into itself as well"
    assert loops[0].slots == [None, None]
    links = [event for event in only(m, ev.ChainUnpatched) if event.src == event.dst]
    assert [event.src for event in links] == [loops[0].number]
    assert_links_are_sound(m)


def test_a_block_overwritten_behind_a_link_is_not_entered_by_the_running_chain() -> None:
    """a stores into b, which a is linked to: a's own jump is unpatched while a runs."""
    m = finish(f"""
        la      s1, b
        lw      s2, one
        lw      s3, two
        li      s5, 6
a:      xor     s2, s2, s3              # swap the two
        xor     s3, s2, s3
        xor     s2, s2, s3
        sw      s2, 0(s1)
        j       b
b:      addi    s0, s0, 0
        addi    s4, s4, 1
        bne     s4, s5, a
        {END}
        .balign 4
one:    .word   {addi(1)}
two:    .word   {addi(100)}
""")
    assert m.cpu["s0"] == 3 * 101
    assert_links_are_sound(m)


@pytest.mark.parametrize("first_half", [True, False])
def test_a_block_across_two_pages_hears_of_stores_to_both(first_half: bool) -> None:
    """Its one instruction begins on the first page and ends on the second."""
    m = machine("""
        la      t0, far
        jalr    t0
        sh      s2, 0(s1)
        la      t0, far
        jalr    t0
        j       .
        .balign 4096
        .skip   4096 - 4
        .option rvc
        nop
        .option norvc
far:    addi    s0, s0, 0x123
        ret
""")
    far = m.symbols["far"]
    assert far & 0xFFF == 0xFFE
    word = addi(0x123)
    if first_half:  # rd becomes s2: bits 11:7
        changed = (word & 0xFFFF) & ~(31 << 7) | 18 << 7
        m.cpu["s1"], m.cpu["s2"] = far, changed
    else:  # the immediate becomes 7
        m.cpu["s1"], m.cpu["s2"] = far + 2, 7 << 4 | word >> 16 & 15
    run(m, 30)
    assert m.stats.tb_invalidated == 1
    if first_half:
        assert (m.cpu["s0"], m.cpu["s2"]) == (0x123, 0x123 + 0x123)
    else:
        assert m.cpu["s0"] == 0x123 + 7


def test_a_misaligned_store_into_the_next_page_invalidates_there_too() -> None:
    m = machine("""
        jal     ra, f
        sd      s2, 0(s1)
        jal     ra, f
        j       .
        .balign 4096
f:      addi    s0, s0, 1
        ret
""")
    f = m.symbols["f"]
    code = m.memory[f : f + 8]
    assert isinstance(code, bytes)
    m.cpu["s1"] = f - 4
    m.cpu["s2"] = addi(50) << 32
    run(m, 20)
    assert m.cpu["s0"] == 51
    assert [tb.pc for tb in m.tbs if tb.invalid] == [f]


# DMA and the debugger.


def test_writes_from_outside_invalidate() -> None:
    m = machine("a: addi s0, s0, 1\nj a")
    run(m, 40)
    m.memory[RAM : RAM + 4] = addi(5).to_bytes(4, "little")
    assert block_at_or_none(m, RAM) is None
    run(m, 20)
    assert m.cpu["s0"] == 20 + 50
    m.memory[RAM + 3] = 0x02  # one byte: the immediate's top
    before = m.cpu["s0"]
    run(m, 2)
    assert m.cpu["s0"] - before == 0x20 | 5 & 15


def block_at_or_none(m: Machine, pc: int) -> Any:
    return next((tb for tb in m.tbs if tb.pc == pc and not tb.invalid), None)


def test_with_invalidation_off_writes_from_outside_are_not_seen_either() -> None:
    m = machine("a: addi s0, s0, 1\nj a", invalidate=False)
    run(m, 40)
    m.memory[RAM : RAM + 4] = addi(5).to_bytes(4, "little")
    run(m, 20)
    assert m.cpu["s0"] == 30


def test_reset_runs_the_program_as_it_was_loaded() -> None:
    m = finish(OTHER)
    m.reset()
    assert run(m, 1000).exit_code == 0
    assert m.cpu["s0"] == 1 + 10 + 100 + 1000 - 7


# fence.i


def test_fence_i_ends_the_block_and_the_new_code_follows_at_once() -> None:
    m = machine(f"""
        la      s1, patch
        lw      s2, new
        sw      s2, 0(s1)
        fence.i
patch:  addi    s0, s0, 1
        j       .
        .balign 4
new:    .word   {addi(33)}
""")
    run(m, 20)
    assert m.cpu["s0"] == 33


@pytest.mark.parametrize("trace", [None, "blocks", "times"])
def test_where_a_store_to_the_running_block_takes_effect(trace: str | None) -> None:
    """Old code to the end of the block: so where blocks end decides, as on QEMU."""
    source = f"""
        la      s1, patch
        lw      s2, new
        sw      s2, 0(s1)
        nop
patch:  addi    s0, s0, 1
        j       .
        .balign 4
new:    .word   {addi(33)}
"""
    for limit, expected in ((512, 1), (8, 1), (7, 1), (6, 33), (5, 33), (1, 33)):
        m = machine(source, max_block_insns=limit, trace=trace)
        run(m, 20)
        # la (2), lw with its address (2), sw, nop, patch: patch is the seventh instruction.
        assert m.cpu["s0"] == expected, f"blocks of {limit}"
        m.close()


# The TLB's not-dirty bit.


def test_pages_with_code_have_the_not_dirty_bit_and_lose_it_with_their_last_block() -> None:
    m = machine("""
        la      s1, data
        la      s2, f
        sw      x0, 0(s1)
        sw      x0, 8(s2)
        jal     ra, f
        sw      x0, 16(s2)              # no block there: the page keeps its bit
        sw      s3, 0(s2)
        j       .
        .balign 4096
f:      addi    s0, s0, 1
        ret
        .balign 4096
data:   .word   0
""")
    f, data = m.symbols["f"], m.symbols["data"]
    m.cpu["s3"] = addi(1)
    run(m, 6)
    assert (write_tag(m, f), write_tag(m, data)) == (f, data), "f has not been translated yet"
    run(m, 3)
    assert (write_tag(m, f), write_tag(m, data)) == (f | TLB_NOTDIRTY, data)
    run(m, 1)
    assert write_tag(m, f) == f | TLB_NOTDIRTY
    assert m.stats.tb_invalidated == 0
    run(m, 1)
    assert m.stats.tb_invalidated == 1
    assert write_tag(m, f) == f, "the last block is gone: stores are quick again"


def test_stores_beside_code_are_slow_but_invalidate_nothing() -> None:
    m = finish(f"""
        la      s1, room
        li      s3, 20
a:      sd      s0, 0(s1)
        ld      s0, 0(s1)
        addi    s0, s0, 1
        bne     s0, s3, a
        {END}
        .balign 8
room:   .dword  0
""")
    assert m.stats.tb_invalidated == 0
    assert m.cpu["s0"] == 20


# The code buffer.


@pytest.mark.parametrize("capacity", [1, 30, 60])
@pytest.mark.parametrize("options", [{}, {"icount": 0}, {"irq_check": "unlink"}], ids=str)
def test_a_full_code_buffer_is_flushed_and_everything_goes_on(
    capacity: int, options: dict[str, Any]
) -> None:
    """Blocks are made again; nothing is linked to what was thrown away."""
    source = OTHER.replace("li      s5, 4", "li      s5, 4\n        nop")
    plain, small = machine(source, **options), machine(source, **options)
    small._cpu.tbs.backend.capacity = capacity
    assert run(plain, 1000).exit_code == run(small, 1000).exit_code == 0
    assert registers(small) == registers(plain)
    flushes = [event for event in only(small, ev.BlocksFlushed) if event.why == "code buffer full"]
    assert len(flushes) >= 1
    assert small.stats.tb_translated >= plain.stats.tb_translated + (capacity < 60)
    assert_links_are_sound(small)
    alive = {tb.number for tb in small.tbs}
    last_flush = small.events.index(flushes[-1])
    made = {e.tb for e in small.events[last_flush:] if isinstance(e, ev.BlockTranslated)}
    assert alive <= made
    assert small.stats.state_restores == plain.stats.state_restores


def test_a_flush_while_the_last_block_wants_to_be_linked() -> None:
    """The block that just ran was thrown away to make room for its successor: no link from it."""
    m = machine("a: addi s0, s0, 1\nj b\nb: addi s0, s0, 1\nj c\nc: addi s0, s0, 1\nj a")
    m._cpu.tbs.backend.capacity = 1
    run(m, 60)
    assert m.cpu["s0"] == 30
    assert only(m, ev.ChainPatched) == []
    assert m.stats.tb_translated == 30


# The same in every configuration.


def test_self_modification_is_the_same_in_every_way_to_run_it() -> None:
    """With fence.i before changed code, block boundaries do not matter."""
    source = f"""
        la      s1, patch
        la      s6, table
        li      s5, 8
a:      andi    t0, s4, 3
        slli    t0, t0, 2
        add     t0, t0, s6
        lw      t1, 0(t0)
        sw      t1, 0(s1)
        fence.i
patch:  nop
        slli    s0, s0, 1
        addi    s4, s4, 1
        bne     s4, s5, a
        {END}
        .balign 4
table:  .word   {addi(1)}, {addi(2)}, {addi(-3)}, {addi(0x7F)}
"""
    results = set()
    for options in (
        {}, {"cache": False}, {"chain": False, "goto_ptr": False}, {"max_block_insns": 1},
        {"max_block_insns": 2}, {"icount": 0}, {"io_last": True}, {"irq_check": "every-insn"},
        {"irq_check": "acyclic"}, {"irq_check": "tb-end"}, {"restore": "eager"},
        {"trace": "blocks"},
    ):  # fmt: skip
        with machine(source, **options) as m:
            assert run(m, 1000).exit_code == 0
            results.add((m.cpu["s0"], m.cpu["s4"]))
    assert len(results) == 1

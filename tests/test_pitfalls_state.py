"""Pitfalls 10 to 16: registers and pc at a fault, the way back from a host PC, the budget."""

from __future__ import annotations

import random

import backends
import pytest
from engine import (
    ENABLE,
    END,
    HOLE,
    RAM,
    STAY,
    block_at,
    finish,
    machine,
    only,
    registers,
    run,
    taken,
)

from tcglite.accel.tb import TranslationBlock
from tcglite.accel.translate_all import encode_search, unwind
from tcglite.target import helper
from tcglite.tcg.ir import Helper
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

TRAP = """
        la      t0, handler
        csrw    mtvec, t0
"""

# 10. Guest registers are in their place at each op that may fault.


@pytest.mark.parametrize(
    "overwritten_by", ["li a0, 2", "mv a0, a1", "ld a0, 0(s1)", "add a0, a1, a1"]
)
def test_pitfall_10_a_write_before_a_fault_is_not_dropped(overwritten_by: str) -> None:
    """a0 is written again behind the load: without the load the first write would be dead."""
    m = machine(f"""
        {TRAP}
        la      s1, 1f
        j       2f
        .balign 8
1:      .dword  7
2:      li      a0, 1
        lw      t2, 0(x0)
        {overwritten_by}
        j       .
        {STAY}
""")
    run(m, 40)
    assert m.cpu["a0"] == 1
    assert m.stats.exceptions == 1


def test_pitfall_10_a_write_that_no_fault_can_see_is_dropped_and_facts_flow_across_one() -> None:
    m = machine(f"""
        {TRAP}
        li      a0, 0x77
        li      a0, 1
        lw      t2, 0(s1)
        addi    a1, a0, 2               # folded: a0 is still known to be 1
        j       .
        {STAY}
""")
    m.cpu["s1"] = RAM
    run(m, 20)
    assert m.cpu["a1"] == 3
    listing = block_at(m, RAM + 12).ir_opt
    assert "$0x77" not in listing
    assert "mov_i64 x11/a1,$0x3" in listing


def test_pitfall_10_random_straight_code_has_the_same_registers_at_the_fault() -> None:
    """Blocks of random arithmetic with loads in between, one of which faults: the handler sees the
    same registers as with one instruction a block, where there is nothing to get wrong."""
    rng = random.Random(10)
    ops = ["add", "sub", "xor", "and", "or", "mul", "sll", "sltu", "divu", "rem"]
    regs = ["a0", "a1", "a2", "a3", "a4", "a5"]
    for _ in range(25):
        lines = []
        for _ in range(rng.randrange(3, 14)):
            kind = rng.randrange(4)
            if kind == 0:
                lines.append(f"ld {rng.choice(regs)}, {8 * rng.randrange(4)}(s1)")
            elif kind == 1:
                lines.append(f"sd {rng.choice(regs)}, {8 * rng.randrange(4)}(s1)")
            elif kind == 2:
                lines.append(f"addi {rng.choice(regs)}, {rng.choice(regs)}, {rng.randrange(-9, 9)}")
            else:
                names = ", ".join(rng.choice(regs) for _ in range(3))
                lines.append(f"{rng.choice(ops)} {names}")
        lines.insert(rng.randrange(len(lines) + 1), f"lw {rng.choice(regs)}, 0(x0)")
        source = f"{TRAP}\nla s1, data\n{chr(10).join(lines)}\nj .\n{STAY}\ndata: .skip 64\n"
        states = []
        for options in ({}, {"max_block_insns": 1}, {"restore": "eager"}, {"icount": 0}):
            with machine(source, **options) as m:
                for i, name in enumerate(regs):
                    m.cpu[name] = 0x1234_5678_9ABC_DEF0 * (i + 1)
                run(m, 60)
                states.append(registers(m))
        assert all(state == states[0] for state in states[1:]), source


# 11. End offsets, and addresses that point behind the call.


def made_block(ends: list[int], start: int = 1000) -> TranslationBlock:
    """A block of 4-byte instructions whose host code ends at ``ends``."""
    pc = RAM + 0x40
    tb = TranslationBlock(1, pc, pc, 0, 0, len(ends), b"\0" * 4 * len(ends), False, True)
    tb.host = type("Code", (), {"start": start, "size": ends[-1], "insn_ends": ends})()
    tb.search = encode_search(pc, [[pc + 4 * i, 0x13 + i, i & 1] for i in range(len(ends))], ends)
    return tb


def test_pitfall_11_a_return_address_belongs_to_the_instruction_that_called() -> None:
    """A native return address may equal the first byte of the next instruction's code: the search
    is for "end > address - 2", not for the instruction that begins there. (The ``python`` backend
    gives the line of the call itself and subtracts nothing.)"""
    tb = made_block([10, 14, 30])
    found = {}
    for address in range(1000, 1034):
        row = unwind(tb, address, 2)
        found[address] = None if row is None else row.index
    assert [found[a] for a in (1000, 1001)] == [None, None], "in front of the block"
    assert {found[a] for a in range(1002, 1012)} == {0}, "10 is where instruction 1 begins"
    assert {found[a] for a in range(1012, 1016)} == {1}
    assert {found[a] for a in range(1016, 1032)} == {2}
    assert found[1032] is None, "behind the last: slow paths must hand in a main-line address"
    assert [row.words[0] - RAM for row in [unwind(tb, 1010, 2)] if row] == [0x40]


def test_pitfall_11_every_host_address_leads_back_to_its_own_instruction() -> None:
    m = machine("nop; ld t0, 0(s1); sd t0, 8(s1); mul t0, t0, t0; amoadd.d t1, t0, (s1); j .")
    m.cpu["s1"] = RAM + 0x100
    run(m, 10)
    tb = block_at(m, RAM)
    ends = tb.insn_ends
    assert [pc for pc, _ in ends] == [RAM + 4 * i for i in range(6)]
    previous, adjust = tb.host_start, m._cpu.tbs.backend.getpc_adj
    for i, (pc, end) in enumerate(ends):
        for address in range(previous, end):
            found = m._cpu.unwind(address + adjust)
            assert found is not None
            assert (found[0].number, found[1].index, found[1].words[0]) == (tb.number, i, pc)
        previous = end
    assert m._cpu.unwind(tb.host_start - 1 + adjust) is None
    assert m._cpu.unwind(tb.host_start + tb.host_size) is None
    given = backends.slow_paths(tb)
    assert [insn for _, insn in given] == [1, 2, 4, 4], "ld, sd, and amoadd's two"
    for address, insn in given:
        found = m._cpu.unwind(address)
        assert found is not None
        assert found[1].index == insn


# 12. The unwinder gives back what was charged; exactly once.


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("options", [{}, {"icount": 0}, {"io_last": True}], ids=str)
def test_pitfall_12_the_unwinder_gives_back_the_rest_once(
    options: dict[str, int], position: int
) -> None:
    """The faulting instruction and all behind it are not retired; what was charged at the head is
    given back once, whatever the way out: a fault, a device's refusal, wfi, an I/O rewind."""
    for insn, kept in (("lw t2, 0(x0)", 0), ("lb t2, 0(s10)", 0), ("wfi", 1), ("lw t2, 0(s10)", 1)):
        body = ["addi s0, s0, 1"] * 6
        body.insert(position, insn)
        m = machine(
            f"""
        {TRAP}
        li      s10, 0x2000000
        li      t0, 0x80
        csrw    mie, t0                 # MTIP is pending: wfi goes on
        {"; ".join(body)}
        j       .
        .balign 4
handler: csrr   s3, minstret
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
""",
            **options,
        )
        run(m, 40)
        before = 6 + position
        assert m.cpu["s0"] == 6
        if not kept:
            assert m.cpu["s3"] == before
            assert m.stats.exceptions == 1
        restored = [(event.insns, event.undone) for event in only(m, ev.StateRestored)]
        assert restored[:1] in ([], [(before, 8 - position)])
        rewound = bool(options) and "s10" in insn
        assert len(restored) == m.stats.state_restores == (not kept or insn == "wfi") + rewound
        assert m.stats.io_recompiles == rewound
        if rewound and not kept:  # run alone, refused by the device
            assert restored[1] == (before, 1)


# 13. Expected exceptions do not unwind.


@pytest.mark.parametrize(
    "insn", ["ecall", "ebreak", ".word 0", "fmv.d.x fa0, a0", "csrr a0, 0x7c0", "csrw time, a0"]
)
def test_pitfall_13_expected_exceptions_store_pc_inline_and_do_not_unwind(insn: str) -> None:
    """pc is stored, the helper does not return, the block ends there. (A CSR helper mostly returns;
    it stands last in its block, so nothing is undone either.)"""
    m = machine(f"{TRAP}\nnop\nnop\n{insn}\nnop\nj .\n{STAY}")
    run(m, 12)
    (raised,) = only(m, ev.ExceptionRaised)
    assert (raised.epc, raised.expected) == (RAM + 20, True)
    assert m.stats.state_restores == 0
    tb = block_at(m, RAM + 12)
    assert tb.icount == 3
    assert f"mov_i64 pc,${RAM + 20:#x}" in tb.ir_opt


def test_pitfall_13_wfi_in_mid_block_unwinds_and_counts_exactly() -> None:
    """QEMU leaves wfi without restoring, so that what follows it in the block is charged although
    it has not run, and charged again later (19 instead of 10). tcglite restores to wfi itself and
    retires that: the specification's count."""
    m = machine(f"""
        {TRAP}
        li      t0, 0x80
        csrw    mie, t0
        csrr    s0, minstret
        wfi
        {"nop; " * 8}
        csrr    s1, minstret
        j       .
        {STAY}
""")
    run(m, 40)
    assert m.cpu["s1"] - m.cpu["s0"] == 10
    assert m.stats.state_restores == 1
    assert m.stats.exceptions == 0
    tb = block_at(m, RAM + 24)
    assert tb.icount == 10, "wfi does not end the block, as in QEMU"
    assert len(only(m, ev.Halted)) == len(only(m, ev.Woken)) == 1


# 14. A helper that may raise gets the host PC.


@pytest.mark.parametrize("restore", [True, "eager"])
def test_pitfall_14_a_helper_that_raises_in_mid_block_gets_the_host_pc(restore: bool | str) -> None:
    """wfi in U mode with mstatus.TW, as third instruction of its block."""
    m = machine(
        f"""
        {TRAP}
        li      t0, 0x200000
        csrw    mstatus, t0
        la      t0, user
        csrw    mepc, t0
        mret
user:   addi    s0, s0, 1
        addi    s0, s0, 1
        wfi
        addi    s0, s0, 1
        j       .
        {STAY}
""",
        restore=restore,
    )
    run(m, 20)
    assert m.cpu.csr["mepc"] == m.symbols["user"] + 8
    assert m.cpu.csr["mcause"] == 2
    assert m.cpu.csr["mtval"] == 0x1050_0073
    assert m.cpu["s0"] == 2
    assert m.cpu.csr["mstatus"] >> 11 & 3 == 0
    assert m.insns == 20


def test_pitfall_14_pc_zero_means_that_the_state_is_right_already() -> None:
    """A fetch fault has no host PC: nothing is restored, pc is exact."""
    m = machine(f"{TRAP}\nli t0, {HOLE}\njr t0\n{STAY}")
    run(m, 12)
    assert (m.cpu.csr["mepc"], m.cpu.csr["mcause"]) == (HOLE, 1)
    assert m.stats.state_restores == 0
    assert m._cpu.restore_state(0) is False, "an address outside all code restores nothing"


def test_pitfall_14_no_helper_that_may_raise_is_marked_as_not_touching_registers() -> None:
    """pure_state (QEMU: TCG_CALL_NO_RWG) lets globals stay in host registers across the call."""
    helpers = [value for value in vars(helper).values() if isinstance(value, Helper)]
    assert len(helpers) >= 7
    assert [h.name for h in helpers if h.pure_state] == []


# 15. The budget: whole, or refused, or a block of exactly the right length. 16. Its store.


@pytest.mark.parametrize("ticks", range(1, 10))
def test_pitfall_15_a_deadline_makes_a_block_of_exactly_the_right_length(ticks: int) -> None:
    """A block of 9 is charged whole or refused whole; at a deadline after k more instructions its
    first k become a block of their own, found by the count in its key. One tick is 100
    instructions here, so nine deadlines meet nine places of the loop."""
    m = machine(
        f"""
        {TRAP}
        li      s11, 0x2004000
        li      s10, {ticks}
        li      t0, 0x80
        csrw    mie, t0
        sd      s10, 0(s11)
        csrsi   mstatus, 8
a:      {"addi s0, s0, 1; " * 8}
        j       a
        {STAY}
""",
        icount=0,
    )
    run(m, 1000)
    armed = next(event.insns or 0 for event in only(m, ev.DeviceAccess) if event.write)
    due = armed + 1 + 100 * ticks  # counted from behind the store
    offset = (due - (armed + 2)) % 9
    head = m.symbols["a"]
    assert taken(m) == [(due, head + 4 * offset)]
    whole = block_at(m, head, icount=9)
    cuts = [(e.insns, e.keep) for e in only(m, ev.DeadlineCut) if e.tb == whole.number]
    assert cuts == ([(due - offset, offset)] if offset else [])
    if offset:
        cut = block_at(m, head, icount=offset)
        assert cut.cflags ^ whole.cflags == offset, "only the count sets them apart"


def test_pitfall_15_no_block_runs_past_a_limit() -> None:
    for limit in range(30, 60):
        with machine("nop; nop; nop; nop; nop; nop; j _start", trace="blocks") as m:
            run(m, limit)
            last = only(m, ev.BlockRun)[-1]
            assert (last.insns or 0) + last.executed == limit
            assert last.executed == last.count


def test_pitfall_16_a_refused_block_leaves_the_budget_untouched() -> None:
    """The test comes before the store: a refusal costs nothing, and only the low half is written,
    or a flag that went up in mid-block would be wiped out by the next head. (x86-64 code keeps the
    budget in a register, charges it there, and takes the charge back where it refuses.)"""
    m = machine(f"""
        {ENABLE}
        li      s11, 0x2000000
        fence.i
a:      addi    s0, s0, 1
        sw      s3, 0(s11)              # rings in round 5
        j       b
b:      addi    s2, s2, 1
        sltiu   s3, s2, 4
        xori    s3, s3, 1
        j       a
        {STAY}
""")
    run(m, 80)
    ((at, epc),) = taken(m)
    assert epc == m.symbols["b"]
    assert (m.cpu["s0"], m.cpu["s2"]) == (5, 4)
    refused = [event for event in only(m, ev.Refused) if event.insns == at]
    assert [(event.pc, event.count) for event in refused] == [(epc, 4)]
    rows = block_at(m, epc).host
    if backends.chosen == "python":
        assert rows[1].text.strip().startswith("if (left := D["), "both halves are tested at once"
        assert rows[2].text.strip().startswith("I["), "32 bits are stored, after the branch"
    else:
        assert [row.text.split()[0] for row in rows[:3]] == ["add", "cmp", "jg"]
        assert [row.text.split()[0] for row in rows if "exit flag" in row.note] == ["cmp"]
        assert [row.text for row in rows if "-budget" in row.note][2:] == ["sub r14d, 4"]


def test_the_guests_of_these_tests_end() -> None:
    """The harness itself: END leaves with code 0, and a hang would be a failure."""
    assert finish("nop" + END).cpu["t5"] == 0x5555

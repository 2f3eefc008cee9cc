"""Pitfalls 17 to 25: device accesses in mid-block, one-shot blocks, changing code, fetch faults,
the order of traps, wfi, and switches that change what they show. And what waits for S mode."""

from __future__ import annotations

from typing import Any

import pytest
from engine import (
    ENABLE,
    END,
    MSIP,
    MTIP,
    RAM,
    STAY,
    assert_links_are_sound,
    finish,
    machine,
    only,
    run,
    taken,
)

from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

TRAP = """
        la      t0, handler
        csrw    mtvec, t0
"""

# 17. Device accesses and clock reads in mid-block.


@pytest.mark.parametrize("position", range(7))
def test_pitfall_17_a_clock_read_in_mid_block_sees_the_time_now(position: int) -> None:
    """mtime under icount, read as instruction 0 … 6 of a block of 8 (the block is charged whole at
    its head). The access is rewound and runs alone; the instructions before it are kept."""
    body = ["addi s0, s0, 1"] * 6
    body.insert(position, "ld s1, 0(s11)")
    source = f"""
        li      s11, 0x200bff8
        fence.i
        {"; ".join(body)}
        j       .
"""
    m = machine(source, icount=10)  # 1024 ns an instruction: more than ten ticks
    run(m, 12)
    before = m.symbols["_start"] and 3 + position  # lui, addi, fence.i and what is before the read
    assert m.cpu["s1"] == (before + 1) * 1024 // 100, "QEMU too counts the reading instruction"
    assert m.cpu["s0"] == 6
    assert m.stats.io_recompiles == 1
    naive = machine(source, icount=10, icount_recompile=False)
    run(naive, 12)
    assert naive.cpu["s1"] == (3 + 8) * 1024 // 100, "the end of the block, in the future"
    assert naive.stats.io_recompiles == 0


def test_pitfall_17_the_last_instruction_of_a_block_needs_no_rewind() -> None:
    m = machine("li s11, 0x200bff8\nfence.i\nld s1, 0(s11)\ncsrr s2, time\nj .", icount=0,
                max_block_insns=1)  # fmt: skip
    run(m, 12)
    assert m.stats.io_recompiles == 0


def test_pitfall_17_a_deadline_at_the_access_itself_does_not_hold_it_up() -> None:
    """The single instruction must run with interrupts held off, or an interrupt due just there
    would send it round for ever (QEMU had such livelocks: 200c1f904f, cf9b5790db). The timer is
    made due at every instruction of a loop with three device accesses."""
    for ticks in range(1, 12):
        m = machine(
            f"""
        {ENABLE}
        li      s11, 0x2000000
        li      s10, 0x2004000
        li      s9, {ticks}
        li      s8, 400
        sd      s9, 0(s10)
a:      addi    s0, s0, 1
        lw      s1, 0(s11)
        addi    s0, s0, 1
        lw      s1, 0(s11)
        lw      s1, 0(s11)
        nop
        blt     s0, s8, a
        {END}
        .balign 64
handler: li     t0, -1
        sd      t0, 0(s10)
        addi    s7, s7, 1
        mret
""",
            icount=0,
        )
        assert run(m, 10_000).exit_code == 0
        assert (m.cpu["s0"], m.cpu["s7"]) == (400, 1)


# 18. cflags_next_tb is used once.


def test_pitfall_18_the_one_shot_cflags_are_consumed_by_the_next_lookup() -> None:
    """After a rewind exactly one block of one instruction runs, then normal ones again."""
    m = machine(
        """
        li      s11, 0x2000000
        fence.i
a:      addi    s0, s0, 1
        lw      s1, 0(s11)
        addi    s0, s0, 1
        j       a
""",
        io_last=True,
        trace="blocks",
    )
    run(m, 2 + 4 * 20)
    a = m.symbols["a"]
    story = [(e.pc - a, e.count, e.executed) for e in only(m, ev.BlockRun)][1:]
    assert story == [(0, 4, 1), (4, 1, 1), (8, 2, 2)] * 20, "charged whole, one instruction kept"
    assert m.stats.io_recompiles == 20
    assert m._cpu.cflags_next_tb is None


def test_pitfall_18_while_interrupts_are_held_off_the_flag_survives() -> None:
    """The flag goes up in front of an access that must run alone: the access still runs first, the
    flag is not dropped by it, and the block behind it is refused or taken from."""
    source = f"""
        {ENABLE}
        li      s11, 0x2000000
        li      s1, 0
a:      addi    s0, s0, 1
        addi    s0, s0, 1
        lw      s1, 4(s11)
        addi    s0, s0, 1
        j       a
        {STAY}
"""
    start = 10 + 2
    for n in range(start + 10, start + 15):
        m = machine(source, io_last=True)
        m.raise_at(n, "msip")
        run(m, start + 30)
        ((at, _),) = taken(m)
        offset = n - (start + 10)
        assert (at or 0) - (start + 10) == {0: 0, 1: 3, 2: 3, 3: 3, 4: 5}[offset]
        accesses = [event.insns for event in only(m, ev.DeviceAccess) if event.device == "clint"]
        assert accesses[-1] == (start + 12 if offset else start + 7)
        if offset in (1, 2):
            story = [
                type(event).__name__
                for event in m.events
                if (event.insns or 0) >= n
                and isinstance(
                    event, ev.FlagSet | ev.FlagCleared | ev.IoRecompile | ev.DeviceAccess
                )
            ][:4]
            assert story == ["FlagSet", "IoRecompile", "DeviceAccess", "FlagCleared"]


# 19. Arming an earlier timer.


def test_pitfall_19_arming_an_earlier_timer_recomputes_the_budget() -> None:
    """The budget reaches to a far deadline; a store in the middle of it asks for a near one."""
    for ticks in (1, 2, 3):
        m = machine(
            f"""
        {ENABLE}
        li      s10, 0x2004000
        li      s9, 1000
        li      s8, {ticks}
        sd      s9, 0(s10)              # in 100,000 instructions
        nop
        nop
        sd      s8, 0(s10)
a:      addi    s0, s0, 1
        j       a
        {STAY}
""",
            icount=0,
        )
        run(m, 1000)
        armed = [event.insns or 0 for event in only(m, ev.DeviceAccess) if event.write][-1]
        ((at, _),) = taken(m)
        assert at == armed + 1 + 100 * ticks
        assert "budget" in [event.why for event in only(m, ev.FlagSet)]


# 20. Code that changes. (More in test_mechanisms_code.py.)


def test_pitfall_20_a_block_that_changes_itself_runs_its_old_code_to_the_end() -> None:
    """As on QEMU's RISC-V: the first pass executes the old instruction, the next one the new; with
    fence.i in between, the new at once. The running block is unlinked and kept, not freed."""
    for fence, first in (("nop", 1), ("fence.i", 100)):
        m = machine(f"""
        la      s1, patch
        lw      s2, new
        li      s3, 2
        fence.i
a:      sw      s2, 0(s1)
        {fence}
patch:  addi    s0, s0, 1
        addi    s4, s4, 1
        bne     s4, s3, a
        j       .
        .balign 4
new:    addi    s0, s0, 100
""")
        run(m, 60)
        assert m.cpu["s0"] == first + 100
        assert m.stats.tb_invalidated >= 1
        assert_links_are_sound(m)


# 21. Fetch faults.


def test_pitfall_21_a_fetch_fault_happens_while_nothing_of_the_block_exists() -> None:
    """Code runs to the end of RAM and over it: everything before has been executed, pc is exact,
    no block was made or kept at the faulting place."""
    m = machine(f"{TRAP}\nli t0, {RAM + 0x1_0000 - 8}\njr t0\n{STAY}")
    nop = (0x13).to_bytes(4, "little")
    m.memory[RAM + 0x1_0000 - 8 : RAM + 0x1_0000] = nop * 2
    run(m, 20)
    end = RAM + 0x1_0000
    assert (m.cpu.csr["mepc"], m.cpu.csr["mcause"], m.cpu.csr["mtval"]) == (end, 1, end)
    assert [tb.icount for tb in m.tbs if tb.pc == end - 8] == [2]
    assert [tb for tb in m.tbs if tb.pc == end] == []
    (raised,) = only(m, ev.ExceptionRaised)
    assert raised.insns == 9  # la, csrw, li (3), jr, nop, nop
    assert m.stats.state_restores == 0


def test_pitfall_21_an_instruction_across_the_end_faults_when_its_turn_comes() -> None:
    """Its first half is in RAM, its second is not. The block before it must end in front of it:
    only a block's first instruction may cross a page, or the fault would come too early."""
    m = machine(f"{TRAP}\nli t0, {RAM + 0x1_0000 - 6}\njr t0\n{STAY}")
    m.memory[RAM + 0x1_0000 - 6 : RAM + 0x1_0000] = bytes.fromhex("0504" + "0504" + "1300")
    run(m, 20)  # c.addi s0, 1 twice, then half an addi
    at = RAM + 0x1_0000 - 2
    assert m.cpu["s0"] == 2
    assert (m.cpu.csr["mepc"], m.cpu.csr["mcause"]) == (at, 1)
    assert m.cpu.csr["mtval"] == RAM + 0x1_0000, "the part that is not there (spec 3.1.16)"
    assert [tb.icount for tb in m.tbs if tb.pc == at - 4] == [2]
    assert [tb for tb in m.tbs if tb.pc == at] == []


def test_pitfall_21_the_search_for_a_page_crossing_reads_no_byte_too_many() -> None:
    """A two-byte instruction may stand at the very end of RAM and run."""
    m = machine(f"{TRAP}\nli t0, {RAM + 0x1_0000 - 4}\njr t0\n{STAY}")
    m.memory[RAM + 0x1_0000 - 4 : RAM + 0x1_0000] = bytes.fromhex("0504" + "8280")
    m.cpu["ra"] = RAM + 12  # c.jr ra
    run(m, 30)
    assert m.stats.exceptions == 0
    assert m.cpu["s0"] > 1


# 22. Code in devices.


class Rom:
    """A device with code in it that changes with each fetch: li a0, <number of fetches>; ret."""

    name = "rom"

    def __init__(self) -> None:
        self.fetches = 0

    def read(self, offset: int, size: int) -> int:
        if offset % 8 == 0:
            self.fetches += 1
            return 0x4501 | (self.fetches & 31) << 2  # c.li a0, n
        return 0x8082  # c.jr ra

    def write(self, offset: int, size: int, value: int) -> None:
        pass


@pytest.mark.parametrize("options", [{}, {"icount": 0}, {"trace": "blocks"}], ids=str)
def test_pitfall_22_one_shot_blocks_from_devices_are_not_kept(options: dict[str, Any]) -> None:
    """One instruction a block, translated each time it runs, found by no lookup, linked by
    nobody."""
    m = machine(
        """
        li      s1, 0x40000000
        li      s2, 5
a:      jalr    s1
        add     s0, s0, a0
        addi    s3, s3, 1
        bne     s3, s2, a
        j       .
""",
        **options,
    )
    m.memory.map(0x4000_0000, 0x1000, Rom())
    run(m, 100)
    assert m.cpu["s0"] == 1 + 2 + 3 + 4 + 5
    assert [tb for tb in m.tbs if tb.pc < RAM] == []
    made = [event for event in only(m, ev.BlockTranslated) if event.pc < RAM]
    assert [(event.pc, event.count) for event in made] == [(0x4000_0000, 1), (0x4000_0002, 1)] * 5
    numbers = {event.tb for event in made}
    for link in only(m, ev.ChainPatched):
        assert not {link.src, link.dst} & numbers


# 23. Exceptions first, then interrupts.


def test_pitfall_23_an_exception_comes_before_an_interrupt_that_is_due_at_the_same_place() -> None:
    """In U mode, M interrupts are always enabled. The ecall ends its block with the flag up: the
    exception is entered, then the loop looks, finds interrupts off in M mode, and the handler
    begins. (An M interrupt that preempts the entry of an S handler waits for S mode.)"""
    m = machine(f"""
        {TRAP}
        li      t0, 8
        csrw    mie, t0
        la      t0, user
        csrw    mepc, t0
        csrw    mstatus, x0
        mret
user:   addi    s0, s0, 1
        addi    s0, s0, 1
        ecall
after:  addi    s0, s0, 1
        j       after
        .balign 4
handler: csrr   t1, mcause
        bltz    t1, irq
        la      t0, after
        csrw    mepc, t0
        mret
irq:    j       irq
""")
    m.raise_at(11, "msip")  # inside the block that the ecall ends
    run(m, 60)
    story = [
        (type(event).__name__, event.insns)
        for event in m.events
        if isinstance(event, ev.ExceptionRaised | ev.InterruptTaken | ev.TrapReturn)
        or (isinstance(event, ev.InterruptLooked) and event.pending & MSIP)
    ]
    first = next(i for i, row in enumerate(story) if row[0] == "ExceptionRaised")
    assert story[first] == ("ExceptionRaised", 12)
    assert story[first + 1] == ("InterruptLooked", 12), "before the handler's first instruction"
    names = [name for name, _ in story[first:]]
    assert names.index("TrapReturn") < names.index("InterruptTaken")
    assert taken(m)[0][1] == m.symbols["after"]
    assert m.cpu["s0"] == 2


def test_pitfall_23_interrupt_then_exception_with_nothing_executed_between() -> None:
    """A vectored handler whose first instruction is illegal (QEMU's doubletrap.S)."""
    m = machine(f"""
        la      t0, table
        addi    t0, t0, 1
        csrw    mtvec, t0
        li      t0, 8
        csrw    mie, t0
        csrsi   mstatus, 8
        {"nop; " * 20}
        j       .
        .balign 64
table:  j       table
        nop
        nop
        .word   0x0000000b              # vector 3: software interrupts
""")
    m.raise_at(10, "msip")
    run(m, 100)
    ((at, _),) = taken(m)
    (raised,) = only(m, ev.ExceptionRaised)
    assert raised.insns == at
    assert raised.epc == m.symbols["table"] + 12
    assert m.cpu.csr["mepc"] == raised.epc, "the interrupted pc is lost, as on real hardware"


# 24. wfi.


@pytest.mark.parametrize("mie", [0, 8])
@pytest.mark.parametrize("compressed", [False, True])
def test_pitfall_24_wfi_wakes_whatever_mstatus_says_and_pc_is_past_it(
    mie: int, compressed: bool
) -> None:
    """mip & mie wakes; mstatus.MIE only decides whether the interrupt is then taken."""
    m = machine(
        f"""
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x2004000
        li      t1, 10
        sd      t1, 0(t0)
        li      t0, 0x80
        csrw    mie, t0
        csrsi   mstatus, {mie}
        addi    s0, s0, 1
        wfi
after:  addi    s0, s0, 1
        j       .
        {STAY}
""",
        compressed=compressed,
        icount=0,
    )
    run(m, 2000)
    (halted,) = only(m, ev.Halted)
    (woken,) = only(m, ev.Woken)
    assert halted.pc == m.symbols["after"]
    assert woken.pending & MTIP
    assert woken.insns == halted.insns, "sleeping takes no instructions"
    if mie:
        assert [epc for _, epc in taken(m)] == [m.symbols["after"]]
        assert m.cpu["s0"] == 1
    else:
        assert taken(m) == []
        assert m.cpu["s0"] == 2


def test_pitfall_24_wfi_with_a_request_pending_goes_on_at_once() -> None:
    m = finish(f"li t0, 0x80\ncsrw mie, t0\nwfi\nwfi\naddi s0, s0, 1\n{END}")
    assert m.cpu["s0"] == 1
    assert len(only(m, ev.Halted)) == 2


# 25. Tracing switches change behaviour.


def test_pitfall_25_one_instruction_a_block_moves_the_points_where_interrupts_are_noticed() -> None:
    """And device accesses need no rewind. nochain changes neither."""
    source = f"""
        {ENABLE}
        li      s11, 0x2000000
a:      addi    s0, s0, 1
        lw      s1, 0(s11)
        addi    s0, s0, 1
        addi    s0, s0, 1
        j       a
        {STAY}
"""
    found: dict[str, list[int | None]] = {}
    rewinds = {}
    for name, options in {
        "plain": {},
        "nochain": {"chain": False},
        "one": {"max_block_insns": 1},
    }.items():
        found[name] = []
        for n in range(30, 35):
            m = machine(source, io_last=True, **options)
            m.raise_at(n, "msip")
            run(m, 60)
            found[name].append(taken(m)[0][0])
            rewinds[name] = m.stats.io_recompiles
            m.close()
    assert found["plain"] == found["nochain"]
    assert found["one"] == [30, 31, 32, 33, 34] != found["plain"]
    assert rewinds["plain"] == rewinds["nochain"] > 0
    assert rewinds["one"] == 0


# What waits for S mode.

WAITS_FOR_S_MODE = {
    "02": "sret unmasks and must return to the loop",
    "08": "the MMU mode and SUM, MXR are in the key; the physical pc differs from the virtual one",
    "20": "sfence.vma and satp writes flush the jump cache, not the blocks",
    "21": "page faults on the second page of an instruction",
    "23": "an M interrupt preempts the entry of an S handler",
}


@pytest.mark.parametrize("pitfall", WAITS_FOR_S_MODE)
def test_parts_of_the_pitfalls_that_wait_for_s_mode(pitfall: str) -> None:
    """This fails when S mode comes, and then asks for the tests that are named here."""
    m = machine(f"{TRAP}\nsret\n{STAY}")
    run(m, 10)
    has_s_mode = m.cpu.csr["misa"] >> (ord("S") - ord("A")) & 1 or m.cpu.csr["mcause"] != 2
    assert not has_s_mode, (
        f"write the S-mode part of pitfall {pitfall}: {WAITS_FOR_S_MODE[pitfall]}"
    )


def test_every_pitfall_has_a_test() -> None:
    """25 statements; each has at least one test of its name."""
    import re
    from pathlib import Path

    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_pitfalls*.py"))
    numbers = {int(n) for n in re.findall(r"^def test_pitfall_(\d\d)_", text, re.M)}
    assert numbers == set(range(1, 26))

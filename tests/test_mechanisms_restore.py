"""Unexpected exceptions: search data, restoring at every instruction that may fault, misalignment.

Where nothing else is said, causes and addresses are those of the privileged specification, and as
seen on QEMU 7.2: a fault's address is that of the first byte which is not there.
"""

from __future__ import annotations

from typing import Any

import pytest
from engine import CLINT, HOLE, RAM, STAY, block_at, finish, machine, only, registers, run
from hypothesis import given, settings
from hypothesis import strategies as st

from tcglite.accel.tb import TranslationBlock
from tcglite.accel.translate_all import decode_search, encode_search
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

END_OF_RAM = RAM + 0x1_0000

TRAP = """
        la      t0, handler
        csrw    mtvec, t0
"""

# Search data.

rows = st.lists(
    st.tuples(
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 1),
        st.integers(0, 2**16),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(pc=st.integers(0, 2**64 - 1), rows=rows)
def test_search_data_round_trip(pc: int, rows: list[tuple[int, int, int, int]]) -> None:
    """Whatever the words: each row is the sum of the differences so far, and the raw bytes of all
    rows together are the data."""
    tb = TranslationBlock(1, pc, pc, 0, 0, len(rows), b"", False, True)
    tb.search = encode_search(pc, [list(row[:3]) for row in rows], [row[3] for row in rows])
    decoded = list(decode_search(tb))
    assert [(*row.words, row.end) for row in decoded] == rows
    assert b"".join(row.raw for row in decoded) == tb.search
    assert [row.index for row in decoded] == list(range(len(rows)))
    last = (pc, 0, 0, 0)
    for row in decoded:
        now = tuple(a + b for a, b in zip(last, row.deltas, strict=True))
        assert now == (*row.words, row.end)
        last = now


@pytest.mark.parametrize(
    ("delta", "coded"),
    [(0, "00"), (1, "01"), (63, "3f"), (64, "c000"), (-1, "7f"), (-64, "40"), (-65, "bf7f"),
     (128, "8001"), (8191, "ff3f"), (8192, "80c000")],
)  # fmt: skip
def test_differences_are_signed_leb128(delta: int, coded: str) -> None:
    """The examples of the DWARF standard's appendix C, and the edges."""
    assert encode_search(1000, [[1000 + delta, 0, 0]], [0]).hex() == coded + "000000"


def test_ordinary_code_takes_a_few_bytes_an_instruction() -> None:
    m = machine("addi s0, s0, 1\n" * 20 + "j .")
    run(m, 30)
    (tb,) = (tb for tb in m.tbs if tb.pc == RAM)
    # The pc moves by 4, the same instruction again is no difference, so is the exception word.
    assert all(len(row.raw) == 4 for row in tb.search[1:20])
    assert [row.deltas[:3] for row in tb.search[1:20]] == [(4, 0, 0)] * 19


# Faults at every place of a block.

#: instruction -> (cause, writes memory?)
FAULTS = {
    **{f"{op} t2, 0(s11)": 5 for op in ("lb", "lbu", "lh", "lhu", "lw", "lwu", "ld")},
    **{f"{op} t2, 0(s11)": 7 for op in ("sb", "sh", "sw", "sd")},
    "fld fa0, 0(s11)": 5,
    "flw fa0, 0(s11)": 5,
    "fsd fa0, 0(s11)": 7,
    "lr.w t2, (s11)": 5,
    "lr.d t2, (s11)": 5,
    "sc.w t2, t3, (s11)": 7,
    "sc.d t2, t3, (s11)": 7,
    "amoswap.w t2, t3, (s11)": 7,
    "amoadd.d t2, t3, (s11)": 7,
    "amomaxu.w t2, t3, (s11)": 7,
}


@pytest.mark.parametrize("restore", [True, "eager"])
@pytest.mark.parametrize("insn", FAULTS)
def test_the_state_is_restored_wherever_the_fault_is(insn: str, restore: bool | str) -> None:
    """First, third and last but one instruction of a block; chained from another block, so that pc
    is stale; the registers written before it are kept, those behind it untouched."""
    for position in (0, 2, 5):
        body = [f"addi s{2 + i}, s{2 + i}, 1" for i in range(6)]
        body.insert(position, insn)
        with machine(
            f"""
        {TRAP}
        li      t0, 0x2000
        csrw    mstatus, t0             # FS on
        la      s11, room
        li      s10, 3
        li      s9, {HOLE:#x}
a:      addi    s0, s0, 1
        bne     s0, s10, b
        mv      s11, s9
b:      {"; ".join(body)}
        j       a
        {STAY}
        .balign 8
room:   .dword  0
""",
            restore=restore,
        ) as m:
            run(m, 80)
            (raised,) = only(m, ev.ExceptionRaised)
            at = m.symbols["b"] + 4 * position
            assert (raised.cause, raised.epc, raised.tval) == (FAULTS[insn], at, HOLE)
            assert not raised.expected
            assert [m.cpu[f"s{2 + i}"] for i in range(6)] == [2 + (i < position) for i in range(6)]
            (restored,) = only(m, ev.StateRestored)
            assert (restored.guest_pc, restored.undone) == (at, 8 - position)


def test_without_restoring_the_handler_blames_the_wrong_instruction() -> None:
    """pc as it was last stored: the head of some earlier block. Nothing else is lost: the count is
    right, and with the switch on again so is mepc."""
    source = f"""
        {TRAP}
        fence.i
        nop
        nop
fault:  ld      t2, 0(x0)
        nop
        j       .
        .balign 4
handler: csrr   s0, mepc
        csrr    s1, minstret
        j       .
"""
    right, wrong = machine(source), machine(source, restore=False)
    run(right, 20)
    run(wrong, 20)
    assert right.cpu["s0"] == right.symbols["fault"]
    assert wrong.cpu["s0"] == right.symbols["fault"] - 8, "where the loop entered the block"
    assert wrong.cpu["s1"] == right.cpu["s1"]
    assert wrong.stats.state_restores == right.stats.state_restores == 1


@pytest.mark.parametrize("irq_check", ["tb-start", "every-insn"])
def test_eager_pc_costs_a_store_an_access_and_changes_nothing_else(irq_check: str) -> None:
    source = f"""
        {TRAP}
        la      s1, room
a:      ld      t1, 0(s1)
        sd      t1, 8(s1)
        amoadd.d t3, t1, (s1)
        ld      t2, 0(x0)
        amoadd.d t3, t1, (x0)
        lh      t4, -1(s1)
        j       a
        .balign 8
room:   .dword  1, 2
        .balign 4
handler: csrr   t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        csrr    t0, mcause
        slli    s2, s2, 3
        add     s2, s2, t0
        mret
"""
    plain, eager = (machine(source, restore=r, irq_check=irq_check) for r in (True, "eager"))
    run(plain, 500)
    run(eager, 500)
    assert registers(plain) == registers(eager)
    assert eager.cpu["s2"] & 0o77 in (0o57, 0o75), "load faults and store/AMO faults in turn"

    def stores_of_pc(m: Any) -> int:
        tb = block_at(m, m.symbols["a"], icount=7)
        return tb.ir.count("mov_i64 pc,")

    if irq_check == "tb-start":
        assert stores_of_pc(eager) == stores_of_pc(plain) + 6
    assert plain.stats == eager.stats


def test_an_amo_that_faulted_does_not_colour_the_next_load_fault() -> None:
    """The exception word belongs to one instruction."""
    for restore in (True, "eager"):
        m = machine(
            f"""
        {TRAP}
        amoadd.d t1, t2, (x0)
        ld      t1, 0(x0)
        lr.d    t1, (x0)
        j       .
        .balign 4
handler: csrr   t0, mcause
        slli    s0, s0, 4
        add     s0, s0, t0
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
""",
            restore=restore,
        )
        run(m, 60)
        assert m.cpu["s0"] == 0x755


# Misaligned accesses.


@pytest.mark.parametrize(
    ("load", "store", "size"), [("lhu", "sh", 2), ("lwu", "sw", 4), ("ld", "sd", 8)]
)
def test_misaligned_plain_accesses_work_also_across_pages(load: str, store: str, size: int) -> None:
    """At every offset around a page boundary; the neighbours keep their bytes."""
    m = machine(f"""
        {store} s1, 0(s0)
        {load}  s2, 0(s0)
        j       .
""")
    value = 0x8877_6655_4433_2211
    for addr in range(RAM + 0x2000 - size - 1, RAM + 0x2000 + 2):
        m.reset()
        m.memory[RAM + 0x1FE0 : RAM + 0x2020] = b"\xee" * 64
        m.cpu["s0"], m.cpu["s1"] = addr, value
        run(m, 3)
        assert m.cpu["s2"] == value & (1 << 8 * size) - 1
        expected = bytearray(b"\xee" * 64)
        expected[addr - RAM - 0x1FE0 :][:size] = b""
        expected[addr - RAM - 0x1FE0 : addr - RAM - 0x1FE0] = value.to_bytes(8, "little")[:size]
        assert m.memory[RAM + 0x1FE0 : RAM + 0x2020] == bytes(expected[:64])
    assert m.stats.exceptions == 0


@pytest.mark.parametrize(("insn", "size", "cause"), [
    ("lh s2, 0(s0)", 2, 5), ("lw s2, 0(s0)", 4, 5), ("ld s2, 0(s0)", 8, 5),
    ("sh s1, 0(s0)", 2, 7), ("sw s1, 0(s0)", 4, 7), ("sd s1, 0(s0)", 8, 7),
])  # fmt: skip
def test_at_the_end_of_ram_the_fault_is_at_the_first_byte_outside(
    insn: str, size: int, cause: int
) -> None:
    """And a store that faults has written nothing."""
    m = machine(f"{TRAP}\n{insn}\nj .\n{STAY}")
    for addr in range(END_OF_RAM - size, END_OF_RAM + 2):
        m.reset()
        m.memory[END_OF_RAM - 16 : END_OF_RAM] = b"\xee" * 16
        m.cpu["s0"], m.cpu["s1"] = addr, 0
        run(m, 6)
        if addr + size <= END_OF_RAM:
            assert m.cpu.csr["mcause"] == 0
            continue
        assert m.cpu.csr["mcause"] == cause
        assert m.cpu.csr["mtval"] == max(addr, END_OF_RAM)
        assert m.cpu.csr["mepc"] == RAM + 12
        assert m.memory[END_OF_RAM - 16 : END_OF_RAM] == b"\xee" * 16
        assert m.cpu["s2"] == 0


@pytest.mark.parametrize("addr", [RAM - 3, HOLE + 0xFFD, HOLE + 0x1FFC, 2**64 - 4, 0x1FF_FFFE])
def test_across_two_pages_that_are_not_there_the_first_byte_is_blamed(addr: int) -> None:
    """The last of them: a hole, then the CLINT."""
    m = machine(f"{TRAP}\nld s2, 0(s0)\nj .\n{STAY}")
    m.cpu["s0"] = addr
    run(m, 6)
    assert (m.cpu.csr["mcause"], m.cpu.csr["mtval"]) == (5, addr)


@pytest.mark.parametrize(
    ("insn", "cause", "step"),
    [("lr.w t1, (s0)", 4, 4), ("lr.d t1, (s0)", 4, 8), ("sc.w t1, t2, (s0)", 6, 4),
     ("sc.d t1, t2, (s0)", 6, 8), ("amoadd.w t1, t2, (s0)", 6, 4), ("amomin.d t1, t2, (s0)", 6, 8)],
)  # fmt: skip
def test_misaligned_atomics_fault(insn: str, cause: int, step: int) -> None:
    m = machine(f"{TRAP}\n{insn}\nj .\n{STAY}")
    for offset in range(1, step):
        m.reset()
        m.cpu["s0"] = RAM + 0x2000 + offset
        run(m, 6)
        assert (m.cpu.csr["mcause"], m.cpu.csr["mtval"]) == (cause, RAM + 0x2000 + offset)
        assert m.cpu.csr["mepc"] == RAM + 12


def test_a_misaligned_atomic_outside_ram_is_misaligned_first() -> None:
    """Alignment is looked at before the address is, as in QEMU."""
    m = machine(f"{TRAP}\namoadd.d t1, t2, (s0)\nj .\n{STAY}")
    m.cpu["s0"] = HOLE + 1
    run(m, 6)
    assert (m.cpu.csr["mcause"], m.cpu.csr["mtval"]) == (6, HOLE + 1)


def test_a_device_that_refuses_restores_too() -> None:
    m = machine(f"{TRAP}\nli s0, {CLINT:#x}\nnop\nlb t1, 0(s0)\nnop\nj .\n{STAY}")
    run(m, 12)
    assert (m.cpu.csr["mcause"], m.cpu.csr["mtval"]) == (5, CLINT)
    assert m.cpu.csr["mepc"] == RAM + 20
    assert m.stats.state_restores == 1


def test_a_fault_in_an_amo_changes_no_register() -> None:
    """The destination is written last: also where it is the address register."""
    m = finish("""
        la      t0, handler
        csrw    mtvec, t0
        li      s0, 0x100000
        amoswap.d s0, s0, (s0)          # the finisher takes no 8-byte access
        j       .
        .balign 4
handler: li     t1, 0x5555
        sw      t1, 0(s0)
        j       .
""")
    assert m.cpu["s0"] == 0x10_0000
    assert m.cpu.csr["mcause"] == 7


def test_a_trap_takes_the_reservation_away() -> None:
    """So that a context switch in the handler cannot lend one task's reservation to another."""
    m = machine("""
        la      t0, handler
        csrw    mtvec, t0
        la      s0, room
        lr.d    t1, (s0)
        ecall
        .balign 4
handler: sc.d   s1, s0, (s0)
        j       .
        .balign 8
room:   .dword  5
""")
    run(m, 12)
    assert m.cpu["s1"] == 1
    room = m.symbols["room"]
    assert m.memory[room : room + 8] == (5).to_bytes(8, "little")

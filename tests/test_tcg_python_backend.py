"""The python backend keeps the contract of ``tcg/backend.py``: jumps that can be patched, host
addresses that name the guest instruction, listings that show what is there now."""

from __future__ import annotations

import random
import re
import threading
import time
from itertools import pairwise

import pytest
from engine_programs import STRAIGHT, code_of, layout, random_items
from ir_programs import RAM_BASE, TOUCH, Stage

from tcglite import Machine, Mechanisms, guests
from tcglite.target.cpu import OFFSET_NEG, OFFSET_PC, PC, X
from tcglite.target.decode import decode
from tcglite.tcg.backend import TB_EXIT_REQUESTED, Runtime
from tcglite.tcg.env import KICK
from tcglite.tcg.ir import Builder, Op
from tcglite.tcg.ops import MO_64
from tcglite.tcg.optimize import optimize
from tcglite.tcg.python_backend import PythonBackend, PythonCode


@pytest.fixture
def stage() -> Stage:
    return Stage([0, 0, 0, 0], False, 1_000_000)


def backend_on(stage: Stage, lookup=None) -> PythonBackend:
    return PythonBackend(
        Runtime(
            env=stage.env, neg=OFFSET_NEG, pc=OFFSET_PC, ram=bytearray(4096), ram_base=RAM_BASE,
            ring=bytearray(64), cpu=stage, load=stage.load, store=stage.store,
            lookup=lookup or stage.lookup, clock=lambda: 0,
            flags=0, hot=(), count=True,
        )
    )  # fmt: skip


@pytest.fixture
def backend(stage) -> PythonBackend:
    return backend_on(stage)


def ops_of(number: int, *slots: int) -> list[Op]:
    """A block that adds 1 to a0 and leaves by ``slots[0]``, or, if a1 is not 0, ``slots[1]``."""
    b = Builder()
    b.emit("exit_check", 1, True, None)
    b.emit("insn_start", 0x1000 * number, 0, 0)
    b.emit("add", X[10], X[10], 1)
    if len(slots) == 2:
        other = b.label()
        b.emit("brcond", X[11], 0, "ne", other)
    for n, slot in enumerate(slots):
        if n:
            b.emit("set_label", other)
        b.emit("goto_tb", slot)
        b.emit("mov", PC, 0x1000 * number + 4 + slot)
        b.emit("exit_tb", slot)
    return optimize(b)


def block(backend, number: int, *slots: int) -> PythonCode:
    return backend.compile(ops_of(number, *slots), number)


# Jump slots.


def test_an_unpatched_slot_leaves_by_its_number(backend, stage):
    one = block(backend, 1, 0, 1)
    assert backend.enter(one) == (1, 0)
    assert stage.env.pc == 0x1004
    stage.env.x[11] = 1
    assert backend.enter(one) == (1, 1)
    assert stage.env.pc == 0x1005


def test_a_patched_slot_leads_on_and_an_unpatched_one_back(backend, stage):
    """The last of the chain is who leaves; pc is stored by that one only."""
    one, two, three = (block(backend, n, 0, 1) for n in (1, 2, 3))
    backend.set_jump(one, 0, two)
    backend.set_jump(two, 0, three)
    assert backend.enter(one) == (3, 0)
    assert (stage.env.x[10], stage.env.pc) == (3, 0x3004)
    backend.set_jump(two, 0, None)
    assert backend.enter(one) == (2, 0)
    backend.set_jump(one, 0, three)
    assert backend.enter(one) == (3, 0)
    stage.env.x[11] = 1
    assert backend.enter(one) == (1, 1), "slot 1 was never patched"


def test_the_listing_shows_the_jumps_as_they_are(backend):
    one, two = block(backend, 1, 0, 1), block(backend, 2, 0)

    def notes():
        return [row.note for row in backend.listing(one, ops_of(1, 0, 1)) if "jump" in row.text]

    assert notes() == ["jump0 = None", "jump1 = None"]
    backend.set_jump(one, 1, two)
    assert notes() == ["jump0 = None", "jump1 = <tb 2>"]
    backend.set_jump(one, 0, one)
    assert notes() == ["jump0 = <tb 1>", "jump1 = <tb 2>"]
    backend.set_jump(one, 1, None)
    assert notes() == ["jump0 = <tb 1>", "jump1 = None"]


def test_a_block_that_jumps_to_itself_stops_when_the_budget_ends(backend, stage):
    one = block(backend, 1, 0)
    backend.set_jump(one, 0, one)
    stage.env.neg.icount_decr.low = 1000
    assert backend.enter(one) == (1, TB_EXIT_REQUESTED)
    assert stage.env.x[10] == 1000
    assert stage.env.neg.icount_decr.low == 0


@pytest.mark.parametrize("how", ["unpatch", "flag"])
def test_another_thread_gets_it_out(backend, stage, how):
    """By resetting the slot, or by the flag, while the block runs in circles."""
    one = block(backend, 1, 0)
    backend.set_jump(one, 0, one)
    stage.env.neg.icount_decr.low = 0x7FFF_FFFF
    left = []
    runner = threading.Thread(target=lambda: left.append(backend.enter(one)), daemon=True)
    runner.start()
    while not stage.env.x[10]:
        time.sleep(0.001)
    if how == "unpatch":
        backend.set_jump(one, 0, None)
    else:
        stage.env.neg.icount_decr.high = KICK
    runner.join(10)
    assert left == [(1, 0 if how == "unpatch" else TB_EXIT_REQUESTED)]
    assert stage.env.x[10] > 1


def test_a_refused_block_has_done_nothing(backend, stage):
    """Neither a register nor the budget changes."""
    one, two = block(backend, 1, 0), block(backend, 2, 0)
    backend.set_jump(one, 0, two)
    stage.env.neg.icount_decr.low = 1
    stage.env.pc = 0x77
    assert backend.enter(one) == (2, TB_EXIT_REQUESTED)
    assert (stage.env.x[10], stage.env.pc, stage.env.neg.icount_decr.low) == (1, 0x77, 0)
    stage.env.neg.icount_decr.low = 5
    stage.env.neg.icount_decr.high = KICK
    assert backend.enter(one) == (1, TB_EXIT_REQUESTED)
    assert stage.env.neg.icount_decr.low == 5


def test_goto_ptr_goes_where_the_lookup_says(stage):
    """By the pc in memory; to nobody if nothing is found."""
    known = {}

    def lookup():
        stage.lookup()
        return known.get(stage.env.pc)

    backend = backend_on(stage, lookup)
    b = Builder()
    b.emit("mov", PC, 0x2000)
    b.emit("goto_ptr")
    one = backend.compile(optimize(b), 1)
    assert backend.enter(one) == (0, 0)
    assert stage.env.pc == 0x2000
    known[0x2000] = block(backend, 2, 0)
    assert backend.enter(one) == (2, 0)


# Host addresses.


def test_blocks_own_ranges_of_addresses_that_do_not_meet(backend):
    ranges = [(c.start, c.start + c.size) for c in (block(backend, n, 0, 1) for n in range(1, 9))]
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))
    assert backend.used == sum(end - start for start, end in ranges)
    backend.flush()
    assert backend.used == 0
    assert block(backend, 9, 0).start >= ranges[-1][1], "addresses are not used again"


def test_the_address_that_a_call_gets_is_its_own_line(backend, stage):
    """Load, store and helper, each with everything that may precede them on their line."""
    seen = []
    b = Builder()
    for n in range(3):
        b.emit("insn_start", 4 * n, 0, 0)
        b.emit("add", X[10], X[10], 1)
        b.emit("xor", X[11], X[10], X[11])
        if n == 0:
            b.emit("qemu_ld", X[12], X[10], MO_64, 3)
        elif n == 1:
            b.emit("qemu_st", X[12], X[10], MO_64, 3)
        else:
            b.call(TOUCH, X[10], out=X[12])
    b.emit("exit_tb", None)
    ops = optimize(b)
    code = backend.compile(ops, 1)
    text = {row.address: row.text for row in backend.listing(code, ops)}
    for addr, line in text.items():
        for ra in re.findall(r"(?:load|store)\(.*, (0x\w+)\)|h_touch\(cpu, (0x\w+)", line):
            seen.append(int("".join(ra), 16))
            assert seen[-1] == addr
    assert len(seen) == 3
    ends = [code.start + end for end in code.insn_ends]
    for n, addr in enumerate(seen):
        assert addr < ends[n]
        assert n == 0 or addr >= ends[n - 1]


CALLS = re.compile(r"(load|store)\(.*?, (0x[0-9a-f]+)\)$|h_(\w+)\(cpu, (0x[0-9a-f]+)")
OF_FAMILY = {
    "load": {"load", "lr", "amo", "sc", "fpload"},
    "store": {"store", "amo", "sc", "fpstore"},
    "sc_probe": {"sc"},
    "mret": {"mret"},
    "wfi": {"wfi"},
    "csrr": {"csr", "csri"},
    "csrw": {"csr", "csri"},
    "csrrw": {"csr", "csri"},
}


def check_addresses(m: Machine) -> int:
    """Every line of every block that may raise: its address means the right guest instruction."""
    checked = 0
    for tb in m.tbs:
        rows = tb.search
        ends = [row.end for row in rows]
        assert ends == sorted(ends)
        assert ends[-1] == tb.host_size
        assert [row.words[0] for row in rows] == [row[0] for row in tb.guest]
        for addr, _, line, *_ in tb.host:
            found = CALLS.search(line)
            if found is None:
                continue
            kind, ra = found[1] or found[3], int(found[2] or found[4], 16)
            assert ra == addr, line
            row = next(row for row in rows if tb.host_start + row.end > addr)
            insn = decode(row.words[1])
            if kind == "raise_exception":
                assert row.index == tb.icount - 1
            else:
                assert insn is not None
                assert insn.family in OF_FAMILY[kind], f"{line} in {insn}"
            checked += 1
    return checked


@pytest.mark.parametrize("name", ["fault", "illegal", "vmexit", "crc", "selfmod", "fpu_off"])
def test_every_address_in_a_guest(name):
    with Machine(guests.load(name), backend="python") as m:
        m.run(max_insns=20_000, timeout=20)
        assert check_addresses(m) > 10


@pytest.mark.parametrize(
    "mechanisms",
    [Mechanisms(), Mechanisms(irq_check="every-insn"), Mechanisms(restore="eager")],
    ids=["plain", "every-insn", "eager"],
)
@pytest.mark.parametrize("trace", [None, "blocks", "times"])
def test_every_address_in_generated_code(mechanisms, trace):
    code = code_of(layout(random_items(random.Random(7), 500, STRAIGHT)))
    with Machine(code + b"\x73\0\x10\0", backend="python", mechanisms=mechanisms, trace=trace) as m:
        for n in (2, 8, 9, 18):
            m.cpu[f"x{n}"] = 0x8000_8000
        m.run(timeout=20)
        assert check_addresses(m) > 100

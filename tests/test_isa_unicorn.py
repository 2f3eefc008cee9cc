"""Every RV64IMAC instruction against Unicorn: all registers and all of memory after each program.

Unicorn is QEMU 5.0's translator, so it shares no code with ours. Its hazards are kept away from:
each program gets an engine of its own (``until`` and hooks are baked into its blocks), no counting,
and the model without F and D.
"""

from __future__ import annotations

import random

import backends
import pytest
from engine_programs import (
    CODE,
    CORNERS,
    DATA,
    DATA_SIZE,
    EDGE,
    POINTERS,
    RAM_SIZE,
    RV64IMAC,
    STRAIGHT,
    Item,
    code_of,
    layout,
    load_immediate,
    random_items,
    registers,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcglite import Machine, Mechanisms
from tcglite.target.asm_encode import encode
from tcglite.target.decode import decode
from tcglite.target.disas import disassemble
from tcglite.target.insns import ROWS
from tcglite.target.names import REG_NAMES

unicorn = pytest.importorskip("unicorn")
from unicorn import riscv_const as uc_names  # noqa: E402

EBREAK = (0x00100073).to_bytes(4, "little")
REGISTERS = [getattr(uc_names, f"UC_RISCV_REG_X{n}") for n in range(1, 32)]
PATTERN = bytes(random.Random(1).randbytes(DATA_SIZE))

State = tuple[list[int], int, bytes]


def on_unicorn(code: bytes, regs: list[int]) -> State:
    uc = unicorn.Uc(
        unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64, uc_names.UC_CPU_RISCV64_SIFIVE_E51
    )
    uc.mem_map(CODE, RAM_SIZE)
    uc.mem_write(CODE, code + EBREAK)
    uc.mem_write(DATA, PATTERN)
    for name, value in zip(REGISTERS, regs[1:], strict=True):
        uc.reg_write(name, value)
    uc.emu_start(CODE, CODE + len(code), timeout=60_000_000)  # µs
    assert uc.reg_read(uc_names.UC_RISCV_REG_PC) == CODE + len(code)
    after = [0, *(uc.reg_read(name) for name in REGISTERS)]
    scratch = uc.reg_read(uc_names.UC_RISCV_REG_MSCRATCH)
    return after, scratch, bytes(uc.mem_read(CODE, RAM_SIZE))


def _machine(limit: int) -> Machine:
    return Machine(
        b"\0\0\0\0", backend=backends.chosen, memory=RAM_SIZE,
        mechanisms=Mechanisms(max_block_insns=limit),
    )  # fmt: skip


@pytest.fixture(scope="module")
def machines(backend):
    """One with whole blocks, one with a block for each instruction; blocks die with each reset."""
    with _machine(512) as whole, _machine(1) as single:
        yield whole, single


def on_tcglite(m: Machine, code: bytes, regs: list[int]) -> State:
    """The program ends at an ebreak whose handler, at 0, cannot be fetched."""
    m.reset()
    m.memory[CODE : CODE + len(code) + 4] = code + EBREAK
    m.memory[DATA : DATA + DATA_SIZE] = PATTERN
    for n, value in enumerate(regs):
        m.cpu[f"x{n}"] = value
    result = m.run(timeout=60)
    assert result.reason.value == "unhandled-trap", result
    assert (m.cpu.csr["mcause"], m.cpu.csr["mepc"]) == (3, CODE + len(code)), result.detail
    return m.cpu.registers, m.cpu.csr["mscratch"], m.memory[CODE : CODE + RAM_SIZE]


def difference(ours: State, theirs: State, program: list[int]) -> str:
    """What differs, with the program, or ""."""
    found = [
        f"{name}: {a:#x} here, {b:#x} in Unicorn"
        for name, a, b in zip(REG_NAMES, ours[0], theirs[0], strict=True)
        if a != b
    ]
    if ours[1] != theirs[1]:
        found.append(f"mscratch: {ours[1]:#x} here, {theirs[1]:#x} in Unicorn")
    for n, (a, b) in enumerate(zip(ours[2], theirs[2], strict=True)):
        if a != b:
            found.append(f"memory at {CODE + n:#x}: {a:#04x} here, {b:#04x} in Unicorn")
            break
    if not found:
        return ""
    listing, pc = [], CODE
    for bits in program[-40:]:
        listing.append(disassemble(bits, pc))
        pc += 4 if bits & 3 == 3 else 2
    return "\n".join(["", *found, *listing])


def check(machines, program: list[int], regs: list[int], both: bool = True) -> None:
    code = code_of(program)
    assert len(code) < DATA - CODE - 4, "the program would reach its data"
    theirs = on_unicorn(code, regs)
    for m in machines if both else machines[:1]:
        found = difference(on_tcglite(m, code, regs), theirs, program)
        assert not found, found


# Random programs.

ITEM = st.builds(Item, st.sampled_from(RV64IMAC), st.integers(0, (1 << 32) - 1))
VALUE = st.sampled_from(CORNERS) | st.integers(0, (1 << 64) - 1)


@settings(
    max_examples=60, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(items=st.lists(ITEM, min_size=1, max_size=40), values=st.lists(VALUE, min_size=8))
def test_small_programs(machines, items, values):
    """Small, so that a failure shrinks to the instruction that is wrong."""
    program = layout(items)
    check(machines, program, registers(lambda n: values[n % len(values)]))


@pytest.mark.parametrize("seed", range(12))
def test_long_programs(machines, seed):
    """A thousand instructions: blocks of every length, facts that flow far, jumps that chain."""
    rng = random.Random(seed)
    rows = RV64IMAC if seed % 2 else STRAIGHT
    program = layout(random_items(rng, 1000, rows))
    regs = registers(lambda n: rng.choice((rng.choice(CORNERS), rng.getrandbits(64))))
    check(machines, program, regs, both=seed < 4)


def test_random_programs_hold_every_row():
    seen = set()
    for seed in range(12):
        rng = random.Random(seed)
        rows = RV64IMAC if seed % 2 else STRAIGHT
        for bits in layout(random_items(rng, 1000, rows)):
            insn = decode(bits)
            assert insn is not None
            seen.add(insn.row.name)
    assert {row.name for row in RV64IMAC} <= seen


def test_c_addi16sp(machines):
    """The one row that random programs leave out: the stack pointer moves and comes back."""
    for imm in (-512, -16, 16, 496):
        move = [encode(ROWS["c.addi16sp"], {"imm": n}) for n in (imm, -imm, imm)]
        if imm == -512:
            move = move[:1]  # there is no +512
        check(machines, [*move, encode(ROWS["c.mv"], {"rd": 10, "rs2": 2})], registers(lambda n: n))


# Arithmetic: every pair of corner values, from registers and as constants that the optimiser folds.

ARITHMETIC = [r for r in STRAIGHT if r.family in ("arith", "arithw", "div", "divw")]
IMMEDIATE = [
    row
    for row in STRAIGHT
    if row.family in ("arithi", "arithwi", "lui", "auipc") and row.name != "c.nop"
]
M64 = (1 << 64) - 1
OPERANDS = dict(zip((*range(3, 8), *range(10, 18), *range(19, 31)), CORNERS, strict=False))
RESULT = 31
STORE = ROWS["sd"]


def corner_program(row, pairs, constants: dict[int, int]) -> list[int]:
    """For each pair of registers: the operation, and its result stored in a table. ``constants``:
    registers that the program itself loads, so that the optimiser knows them."""
    program = []
    for reg, value in constants.items():
        program += load_immediate(reg, value)
    for n, (a, b) in enumerate(pairs):
        fields = {"rd": RESULT, "rs1": a, "rs2": b}
        if row.length == 2:  # the destination is the first operand
            program.append(encode(ROWS["add"], {"rd": fields["rd"], "rs1": a, "rs2": 0}))
            regs = [f.name for f in row.fields]
            low = next(f for f in row.fields if f.name == "rd").bias == 8
            if low:
                program[-1] = encode(ROWS["add"], {"rd": 14, "rs1": a, "rs2": 0})
                program.append(encode(ROWS["add"], {"rd": 15, "rs1": b, "rs2": 0}))
                fields = {"rd": 14, "rs2": 15}
            fields = {k: v for k, v in fields.items() if k in regs}
        program.append(encode(row, fields))
        program.append(encode(STORE, {"rs1": 18, "rs2": fields["rd"], "imm": (n % 250) * 8 - 1000}))
    return program


@pytest.mark.parametrize("row", ARITHMETIC, ids=lambda r: r.name)
def test_corner_operands(machines, row):
    """From registers whose values the translator cannot know, then from constants."""
    spare = {14, 15} if row.length == 2 else set()
    regs = [r for r in OPERANDS if r not in spare]
    rng = random.Random(row.name)
    pairs = [(a, b) for a in regs for b in regs]
    rng.shuffle(pairs)
    start = registers(lambda n: OPERANDS.get(n, 0))
    start[18] = DATA + 1024  # the table's middle
    many = 240 if row.length == 4 else 120
    check(machines, corner_program(row, pairs[:many], {}), start, both=False)
    check(machines, corner_program(row, pairs[-100:], OPERANDS), start, both=False)


def test_division_corners(machines):
    """By zero, and the least number by -1: both widths, every sign, folded and not."""
    rows = [r for r in ARITHMETIC if r.family in ("div", "divw")]
    divisors = (0, M64, 0x1_0000_0000, 0xFFFF_FFFF)  # the last two are 0 and -1 as words
    dividends = (0, 1, M64, 1 << 63, M64 >> 1, 0x8000_0000, -(1 << 31) & M64, M64 >> 33)
    values = dict(zip((*range(3, 8), *range(10, 18)), (*divisors, *dividends), strict=False))
    start = registers(lambda n: values.get(n, 0))
    start[18] = DATA + 1024
    pairs = [(a, b) for b in list(values)[:4] for a in list(values)[4:]]
    for row in rows:
        for constants in (False, True):
            program = corner_program(row, pairs, values if constants else {})
            check(machines, program, start, both=False)


@pytest.mark.parametrize("row", IMMEDIATE, ids=lambda r: r.name)
def test_corner_immediates(machines, row):
    rng = random.Random(row.name)
    low, high, step = next(f for f in row.fields if f.name == "imm").limits()
    imms = {low, low + step, 0, step, high - step, high}
    imms |= {rng.randrange(low, high + 1, step) for _ in range(4)}
    imms = {i for i in imms if low <= i <= high}
    start = registers(lambda n: OPERANDS.get(n, 0))
    start[18] = DATA + 1024
    program = []
    for n, imm in enumerate(sorted(imms)):
        for source in rng.sample(sorted(OPERANDS), 12):
            rd = 14 if row.length == 2 else RESULT
            program.append(encode(ROWS["add"], {"rd": rd, "rs1": source, "rs2": 0}))
            values = {"rd": rd, "rs1": source, "imm": imm}
            bits = encode(row, {f.name: values[f.name] for f in row.fields})
            if decode(bits) is None or decode(bits).row is not row:
                continue
            program.append(bits)
            store = {"rs1": 18, "rs2": rd, "imm": (len(program) % 250) * 8 - 1000}
            program.append(encode(STORE, store))
        assert n < 12
    check(machines, program, start, both=False)


# Memory.

ACCESSES = [r for r in STRAIGHT if r.family in ("load", "store") and r.length == 4]


@pytest.mark.parametrize("row", ACCESSES, ids=lambda r: r.name)
def test_every_alignment_and_the_page_edge(machines, row):
    """Sixteen addresses around the edge, before and after the pages are in the TLB."""
    program = []
    for near in (0x100, 0x41, -0x40):  # fills the TLB's entries, one page after the other
        for n in range(16):
            fields = {"rs1": 9, "imm": n - 8 + (near if n % 4 == 0 else 0)}
            if row.family == "load":
                program.append(encode(row, fields | {"rd": 10}))
                program.append(encode(STORE, {"rs1": 2, "rs2": 10, "imm": n * 8 + near * 2 - 512}))
            else:
                program.append(encode(row, fields | {"rs2": 11 + n % 5}))
    rng = random.Random(row.name)
    assert POINTERS[9] == EDGE - 3
    check(machines, program, registers(lambda n: rng.getrandbits(64)))


@pytest.mark.parametrize("size", ["w", "d"])
def test_atomics_with_corner_values(machines, size):
    """Memory and register values from the corners; the old value, the new one, in each order."""
    rng = random.Random(size)
    names = ("swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu")
    program = []
    for name in names:
        row = ROWS[f"amo{name}.{size}"]
        for _ in range(24):
            a, b = rng.sample(sorted(OPERANDS), 2)
            rd = rng.choice((0, RESULT, b, RESULT))
            rd = RESULT if rd == b and b in POINTERS else rd
            order = {"aq": rng.getrandbits(1), "rl": rng.getrandbits(1)}
            program.append(encode(STORE, {"rs1": 8, "rs2": a, "imm": 0}))
            program.append(encode(row, {"rd": RESULT if rd else 0, "rs1": 8, "rs2": b, **order}))
            n = len(program) // 4 % 240
            program.append(encode(STORE, {"rs1": 2, "rs2": RESULT, "imm": n * 8 - 1000}))
            program.append(encode(ROWS["ld"], {"rd": RESULT, "rs1": 8, "imm": 0}))
    start = registers(lambda n: OPERANDS.get(n, 0))
    check(machines, program, start)


def test_load_reserved_store_conditional(machines):
    """Success; no reservation; another address; used up; changed by a store of our own; widths
    mixed. All as QEMU decides them: by address and by value."""
    lr, sc = ROWS["lr.w"], ROWS["sc.w"]
    lrd, scd = ROWS["lr.d"], ROWS["sc.d"]
    order = {"aq": 0, "rl": 0}

    def reserve(row, rs1, rd=10):
        return encode(row, {"rd": rd, "rs1": rs1, **order})

    def conditional(row, rs1, rd, rs2=11):
        return encode(row, {"rd": rd, "rs1": rs1, "rs2": rs2, **order})

    def store(name, rs1, rs2, imm=0):
        return encode(ROWS[name], {"rs1": rs1, "rs2": rs2, "imm": imm})

    cases = [
        [reserve(lr, 8), conditional(sc, 8, 20)],
        [conditional(sc, 8, 20)],
        [reserve(lr, 8), conditional(sc, 2, 20)],
        [reserve(lr, 8), conditional(sc, 8, 20), conditional(sc, 8, 21)],
        [reserve(lr, 8), conditional(sc, 2, 20), conditional(sc, 8, 21)],
        [reserve(lr, 8), store("sw", 8, 12), conditional(sc, 8, 20)],
        [reserve(lr, 8), store("sw", 8, 10), conditional(sc, 8, 20)],
        [reserve(lr, 8), store("sb", 8, 12, 3), conditional(sc, 8, 20)],
        [reserve(lr, 8), store("sw", 8, 12, 4), conditional(sc, 8, 20)],
        [reserve(lrd, 8), store("sw", 8, 12, 4), conditional(scd, 8, 20)],
        [reserve(lrd, 8), conditional(scd, 8, 20)],
        [reserve(lr, 8), conditional(scd, 8, 20)],
        [reserve(lr, 8), reserve(lr, 2), conditional(sc, 8, 20)],
        [reserve(lr, 8, rd=0), conditional(sc, 8, 0)],
        [reserve(lr, 8), conditional(sc, 8, 11, rs2=11)],
        [reserve(lrd, 8), conditional(scd, 8, 8 + 2, rs2=8)],
    ]
    for case in cases:
        check(machines, case, registers(lambda n: 0x1111_2222_8333_4444 * n & M64))


def test_sc_w_after_lr_d_fails_and_stores_nothing(machines):
    """The specification leaves it open; QEMU's stores if the low halves are equal and reports
    failure all the same, because it compares what it saw as 64 bits."""
    code = code_of([0x100432AF, 0x18B42A2F])  # lr.d t0, (s0); sc.w s4, a1, (s0)
    regs, _, ram = on_tcglite(machines[0], code, registers(lambda n: 77 * n))
    offset = POINTERS[8] - CODE
    assert regs[20] == 1
    assert ram[offset : offset + 8] == PATTERN[POINTERS[8] - DATA :][:8]


# Faults in the middle of a block: everything before is done, nothing of the rest.

BAD = 30  #: a register that points to nowhere
HOLE = 0x1800_0000
FAULTING = {
    "lb": 5, "lh": 5, "lw": 5, "ld": 5, "lbu": 5, "lhu": 5, "lwu": 5, "lr.w": 5, "lr.d": 5,
    "sb": 7, "sh": 7, "sw": 7, "sd": 7, "amoadd.w": 7, "amoswap.d": 7, "amominu.w": 7,
}  # fmt: skip


def fault_on_unicorn(code: bytes, regs: list[int]) -> tuple[int, list[int], bytes]:
    """(pc, registers, memory) where Unicorn's access fails."""
    uc = unicorn.Uc(
        unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64, uc_names.UC_CPU_RISCV64_SIFIVE_E51
    )
    uc.mem_map(CODE, RAM_SIZE)
    uc.mem_write(CODE, code + EBREAK)
    uc.mem_write(DATA, PATTERN)
    for name, value in zip(REGISTERS, regs[1:], strict=True):
        uc.reg_write(name, value)
    with pytest.raises(unicorn.UcError):
        uc.emu_start(CODE, CODE + len(code))
    after = [0, *(uc.reg_read(name) for name in REGISTERS)]
    return uc.reg_read(uc_names.UC_RISCV_REG_PC), after, bytes(uc.mem_read(CODE, RAM_SIZE))


@pytest.fixture(scope="module")
def faulting_machines(machines):
    """Also those that find the pc, or the time to look, in other ways."""
    ways = [
        {"mechanisms": Mechanisms(restore="eager")},
        {"mechanisms": Mechanisms(irq_check="every-insn")},
        {"icount": 0},
        {"count": False, "trace": "blocks"},
    ]
    others = [Machine(EBREAK, backend=backends.chosen, memory=RAM_SIZE, **way) for way in ways]
    yield *machines, *others
    for m in others:
        m.close()


@pytest.mark.parametrize("seed", range(24))
def test_a_fault_anywhere(faulting_machines, seed):
    """Random straight code with one access to nowhere: registers, memory, mepc, mcause, mtval and
    the number of retired instructions."""
    rng = random.Random(seed)
    name = rng.choice(sorted(FAULTING))
    row = ROWS[name]
    values = {f.name: f.extract(rng.getrandbits(32)) for f in row.fields}
    values["rs1"] = BAD
    if values.get("rd") in POINTERS:
        values["rd"] = 31
    tail = {"imm": rng.randrange(-2048, 2048, 8)} if "imm" in values else {}
    fault = encode(row, values | tail)
    before = layout(random_items(rng, rng.choice((0, 1, 7, 60)), STRAIGHT))
    before = [bits for bits in before if decode(bits).rd != BAD]
    program = [*before, fault, *layout(random_items(rng, 8, STRAIGHT))]
    code = code_of(program)
    regs = registers(lambda n: HOLE if n == BAD else rng.getrandbits(64))
    theirs = fault_on_unicorn(code, regs)
    assert theirs[0] == CODE + len(code_of(before))
    for m in faulting_machines:
        m.reset()
        m.memory[CODE : CODE + len(code) + 4] = code + EBREAK
        m.memory[DATA : DATA + DATA_SIZE] = PATTERN
        for n, value in enumerate(regs):
            m.cpu[f"x{n}"] = value
        result = m.run(timeout=60)
        assert result.reason.value == "unhandled-trap"
        state = m.cpu.csr["mepc"], m.cpu.registers, m.memory[CODE : CODE + RAM_SIZE]
        assert state == theirs
        where = HOLE + tail.get("imm", 0)
        assert (m.cpu.csr["mcause"], m.cpu.csr["mtval"]) == (FAULTING[name], where)
        assert result.insns in (len(before), None)


def test_a_wrong_instruction_is_noticed(machines, monkeypatch):
    """The comparison can fail: with sub turned into add, it does."""
    from tcglite.target import trans_int
    from tcglite.target.translate import FAMILIES

    right = trans_int._arith

    def wrong(ctx, op, out, a, b):
        right(ctx, "add" if op == "sub" else op, out, a, b)

    monkeypatch.setattr(trans_int, "_arith", wrong)
    assert FAMILIES["arith"] is trans_int.arith
    with pytest.raises(AssertionError, match="a0: 0x15 here, 0xffffffffffffffff in Unicorn"):
        check(machines, [0x40B50533], registers(lambda n: n))

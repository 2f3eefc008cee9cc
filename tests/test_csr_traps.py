"""CSRs and traps of M and U mode: against the specification, and against QEMU where it is."""

from __future__ import annotations

import backends
import pytest
import trap_table
import trap_table_memory
from engine_qemu import CPU_WITHOUT_PMP, needs_qemu, run_qemu, version
from trap_probe import BITS, FIELDS, Probe, bits_at, build, parse

from tcglite import Machine, Mechanisms
from tcglite.target.asm import assemble

pytestmark = pytest.mark.usefixtures("backend")

PROBES: list[Probe] = [
    *trap_table.REGISTERS, *trap_table.MTVEC, *trap_table.OPERATIONS, *trap_table.MISSING,
    *trap_table.ILLEGALS, *trap_table.TRAPS, *trap_table.USER, *trap_table_memory.ACCESSES,
    *trap_table_memory.RAM_EDGE, *trap_table_memory.FETCHES, *trap_table_memory.INTERRUPTS,
    *trap_table_memory.FLOATS, *trap_table.LAST,
]  # fmt: skip
NAMES = [f"{n}-{p.name}" for n, p in enumerate(PROBES)]
Line = dict[str, int]


@pytest.fixture(scope="module")
def assembly():
    return build(PROBES)


@pytest.fixture(scope="module")
def ours(assembly, backend) -> list[Line]:
    with Machine(assembly, backend=backends.chosen) as m:
        result = m.run(timeout=60)
        assert result.reason.value == "exit", (result, m.console)
        return parse(m.console)


def expected(n: int, assembly) -> tuple[Line, list[str]]:
    """What probe ``n`` should print, and the fields of that which matter."""
    p = PROBES[n]
    start, end = assembly.symbols[f"probe{n}"], assembly.symbols[f"resume{n}"]
    mtval = bits_at(assembly, start) if p.mtval == BITS else p.mtval
    line = {
        "traps": 1, "cause": p.cause, "mtval": mtval, "offset": p.offset,
        "status": p.status[1], "a0": p.a0, "vector": p.vector,
    }  # fmt: skip
    if p.cause is None:
        line |= {"traps": 0, "cause": 0, "mtval": 0, "offset": 0}
        if p.mode == "U":  # the ecall that leads back
            line |= {"traps": 1, "cause": 8, "offset": end - start - 4}
    return line, [f for f in FIELDS if line[f] is not None]


def test_every_probe_reported(ours):
    assert len(ours) == len(PROBES)


@pytest.mark.parametrize("n", range(len(PROBES)), ids=NAMES)
def test_as_specified(n, ours, assembly):
    want, fields = expected(n, assembly)
    got = ours[n] | {"status": ours[n]["status"] & PROBES[n].status[0]}
    assert {f: hex(got[f]) for f in fields} == {f: hex(want[f]) for f in fields}, PROBES[n]


@pytest.mark.parametrize(
    "options",
    [
        {"mechanisms": Mechanisms(max_block_insns=1)},
        {"mechanisms": Mechanisms(restore="eager")},
        {"mechanisms": Mechanisms(irq_check="every-insn")},
        {"mechanisms": Mechanisms(irq_check="tb-end", goto_ptr=False)},
        {"mechanisms": Mechanisms(io_last=True, chain=False)},
        {"icount": 0},
        {"count": False},
        {"trace": "blocks"},
    ],
    ids=str,
)
def test_no_switch_changes_what_the_guest_sees(ours, assembly, options):
    with Machine(assembly, backend=backends.chosen, **options) as m:
        assert m.run(timeout=60).reason.value == "exit"
        lines = parse(m.console)
    for probe, line, other in zip(PROBES, ours, lines, strict=True):
        if probe.name == "raised by a store of our own":
            continue  # it is taken at the next place where the engine looks
        skip = {"a0"} if probe.a0 is None else set()
        assert {k: line[k] for k in FIELDS if k not in skip} == {
            k: other[k] for k in FIELDS if k not in skip
        }, probe.name


@needs_qemu
def test_as_qemu(ours, tmp_path):
    """The same program on QEMU prints the same, but for the fields that the table declares."""
    probes = [p for p in PROBES if p.on_qemu]
    elf = tmp_path / "probes.elf"
    elf.write_bytes(build(probes).to_elf())
    run = run_qemu(elf, tmp_path, cpu=CPU_WITHOUT_PMP)
    assert run.status == 0
    theirs = parse(run.console)
    assert len(theirs) == len(probes)
    wrong = []
    mine_too = [line for line, p in zip(ours, PROBES, strict=True) if p.on_qemu]
    for probe, mine, other in zip(probes, mine_too, theirs, strict=True):
        if probe.qemu and version() >= (8, 0):
            continue  # the differences are those of 7.2
        want = mine | probe.qemu
        for name in FIELDS:
            if name == "status" and "status" not in probe.qemu:
                mask = probe.status[0]
                if mine[name] & mask != other[name] & mask:
                    wrong.append(f"{probe.name}: {name} {mine[name]:#x}, QEMU {other[name]:#x}")
            elif name == "a0" and probe.a0 is None:
                continue
            elif want[name] != other[name]:
                wrong.append(f"{probe.name}: {name} {want[name]:#x}, QEMU {other[name]:#x}")
    assert not wrong, "\n".join(wrong)


def test_every_difference_has_a_reason():
    assert all(bool(p.why) == bool(p.qemu or not p.on_qemu) for p in PROBES)


# Counters, which QEMU has only under icount: one instruction is one cycle.


def run(source: str, **options) -> Machine:
    """Run to an ebreak whose handler cannot run. The caller closes it."""
    m = Machine(assemble("_start:\n" + source + "\n    ebreak"), backend=backends.chosen, **options)
    result = m.run(timeout=20)
    assert result.reason.value == "unhandled-trap", result
    return m


def registers(source: str, *names: str, **options) -> list[int]:
    with run(source, **options) as m:
        return [m.cpu[name] for name in names]


LIMITS = pytest.mark.parametrize("limit", [1, 2, 512])


@LIMITS
@pytest.mark.parametrize("csr", ["minstret", "mcycle"])
def test_a_counter_reads_what_retired_before(csr, limit):
    source = f"""
    csrr a0, {csr}
    nop
    nop
    csrr a1, {csr}
    csrr a2, {csr}"""
    found = registers(source, "a0", "a1", "a2", mechanisms=Mechanisms(max_block_insns=limit))
    assert found == [0, 3, 4]


@LIMITS
@pytest.mark.parametrize("csr", ["minstret", "mcycle"])
def test_a_written_counter_is_read_by_the_next_instruction(csr, limit):
    """The write takes the place of the instruction's own count (3.1.10)."""
    source = f"""
    li t0, 1000
    nop
    csrw {csr}, t0
    csrr a0, {csr}
    csrr a1, {csr}
    csrrs a2, {csr}, t0
    csrr a3, {csr}
    csrwi {csr}, 0
    nop
    csrr a4, {csr}"""
    mechanisms = Mechanisms(max_block_insns=limit)
    found = registers(source, "a0", "a1", "a2", "a3", "a4", mechanisms=mechanisms)
    assert found == [1000, 1001, 1002, 1002 | 1000, 1]


def test_counters_are_written_apart():
    source = """
    li t0, 500
    csrw mcycle, t0
    csrr a0, minstret
    csrr a1, mcycle"""
    assert registers(source, "a0", "a1") == [2, 501]


def test_a_counter_wraps():
    source = """
    li t0, -1
    csrw minstret, t0
    csrr a0, minstret
    csrr a1, minstret"""
    assert registers(source, "a0", "a1") == [(1 << 64) - 1, 0]


@LIMITS
@pytest.mark.parametrize(
    ("insn", "retires"),
    [
        ("nop", 1), ("ecall", 0), ("ebreak", 0), (".4byte 0x0000400b", 0), ("csrr a5, 0x7c0", 0),
        ("csrw mhartid, t0", 0), ("ld a5, 0(t2)", 0), ("amoadd.w a5, a5, (t1)", 0),
        ("flw fa0, 0(sp)", 0),
    ],
)  # fmt: skip
def test_what_traps_does_not_retire(insn, retires, limit):
    """Specification 3.3.1; QEMU counts the ones that it knows of at translation time."""
    source = f"""
    .option norvc
    la t0, handler
    csrw mtvec, t0
    li t2, 0x18000000
    addi t1, sp, 1
    csrr a0, minstret
    nop
    {insn}
    nop
    csrr a1, minstret
    la t0, broken
    csrw mtvec, t0
    j broken
    .balign 4
handler:
    csrr t3, mepc
    addi t3, t3, 4
    csrw mepc, t3
    mret
    .balign 4
broken:"""
    a0, a1 = registers(source, "a0", "a1", mechanisms=Mechanisms(max_block_insns=limit))
    assert a1 - a0 == 3 + (1 if retires else 4)


def test_counters_from_outside():
    """What is written while the machine stands still is what is read, and what the guest sees."""
    with run("csrr a0, minstret\n csrr a1, mcycle") as m:
        assert m.cpu.csr["minstret"] == m.insns == 2
        m.cpu.csr["minstret"] = 700
        m.cpu.csr["mcycle"] = 900
        assert (m.cpu.csr["minstret"], m.cpu.csr["mcycle"]) == (700, 900)
        m.cpu.pc = 0x8000_0000
        m.run(timeout=20)
        assert (m.cpu["a0"], m.cpu["a1"]) == (700, 901)


def test_counters_tick_where_nobody_counts():
    source = "csrr a0, minstret\n csrr a1, mcycle\n csrr a2, mcycle"
    a0, a1, a2 = registers(source, "a0", "a1", "a2", count=False)
    assert 0 < a0 < a1 < a2


def test_fs_is_part_of_the_key():
    """One flw, run with FS off, on, off: the same address is two blocks, each found again."""
    source = """
    la t0, handler
    csrw mtvec, t0
    la t1, flag
    li s0, 4
again:
    li t0, 0x6000
    csrc mstatus, t0
    andi t2, s0, 1
    slli t2, t2, 13
    csrs mstatus, t2
try:
    flw fa0, 0(t1)
    addi s1, s1, 1
back:
    addi s0, s0, -1
    bnez s0, again
    j end
flag: .4byte 0
    .balign 4
handler:
    addi s2, s2, 1
    la t0, back
    csrw mepc, t0
    mret
end:
    csrw mtvec, zero"""
    with run(source, mechanisms=Mechanisms(max_block_insns=2)) as m:
        assert (m.cpu["s1"], m.cpu["s2"]) == (2, 2)
        keys = [tb.flags >> 2 & 3 for tb in m.tbs if tb.pc == m.symbols["try"]]
        assert sorted(keys) == [0, 1]


def test_dirty_fs_is_the_key_of_what_follows():
    """A block that dirties FS leaves by a chained jump into a block made for dirty FS."""
    source = """
    li t0, 0x2000
    csrs mstatus, t0
    li s0, 10
1:  fmv.d.x fa0, s0
    addi s0, s0, -1
    bnez s0, 1b
    fmv.x.d a0, fa0"""
    with run(source) as m:
        assert m.cpu["a0"] == 1
        assert m.cpu.csr["mstatus"] >> 13 & 3 == 3
        assert [tb.flags >> 2 & 3 for tb in m.tbs] == [0, 1, 3, 3]


def test_mprv_is_part_of_the_key():
    """Loads in M mode with MPRV use the mode in MPP: another block, as soon as it matters."""
    source = """
    la t1, _start
    li s0, 2
1:  lw a0, 0(t1)
    addi s0, s0, -1
    beqz s0, 2f
    li t0, 0x21800
    csrc mstatus, t0
    li t0, 0x20000
    csrs mstatus, t0
    j 1b
2:"""
    with run(source, mechanisms=Mechanisms(max_block_insns=3)) as m:
        loads = {tb.flags >> 4 & 3 for tb in m.tbs if "qemu_ld" in tb.ir}
        assert loads == {0, 3}
        assert ",3\n" in next(
            tb.ir for tb in m.tbs if tb.flags >> 4 & 3 == 3 and "qemu_ld" in tb.ir
        )


def test_pmp_registers_hold_what_is_written():
    """They check nothing, but firmware finds them: 54 bits of an address, no odd pmpcfg."""
    source = """
    li t0, -1
    csrw pmpaddr0, t0
    csrr a0, pmpaddr0
    csrw pmpaddr15, t0
    csrr a1, pmpaddr15
    li t0, 0x1f
    csrw pmpcfg0, t0
    csrr a2, pmpcfg0
    csrr a3, pmpcfg2"""
    ones = (1 << 54) - 1
    assert registers(source, "a0", "a1", "a2", "a3") == [ones, ones, 0x1F, 0]


def test_ways_to_fetch_from_nowhere_in_mid_block():
    """A jump whose target cannot be fetched retires; the trap says where it wanted to go."""
    for jump in ("jr t0", "jalr ra, 0(t0)", "lui t1, 0x18000\n jr t1"):
        with run(f"la t0, 1f\n csrw mtvec, t0\n li t0, 0x18000000\n nop\n {jump}\n"
                 ".balign 4\n1: csrr a0, mepc\n csrr a1, mtval\n csrr a2, minstret\n"
                 "csrw mtvec, zero") as m:  # fmt: skip
            assert (m.cpu["a0"], m.cpu["a1"]) == (0x1800_0000, 0x1800_0000)
            assert m.cpu["a2"] == 8 + ("lui" in jump), jump

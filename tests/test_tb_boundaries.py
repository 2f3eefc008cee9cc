"""Blocks begin and end where Unicorn's and QEMU's do.

Two rules of QEMU 7.2 that Unicorn (QEMU 5.0) has otherwise: a block never reaches the last two
bytes of a page, and its IR may grow longer. One rule of our own: signed divisions take fewer ops
than QEMU's, so more of them fit before the limit of 4,000 ops.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import backends
import pytest
from engine_programs import CODE, code_of
from engine_qemu import needs_qemu, run_qemu

from tcglite import Machine, Mechanisms, guests
from tcglite.crosscheck.qemu_log import Walk
from tcglite.target.asm import assemble
from tcglite.target.decode import decode, insn_length
from tcglite.target.insns import BASE_ROWS, COMPRESSED_ROWS, ENDS_TB, ROWS, Row
from tcglite.target.translate import Translation, translate
from tcglite.tcg.cflags import CF_COUNT

unicorn = pytest.importorskip("unicorn")
from unicorn import riscv_const as uc_names  # noqa: E402

RAM = 64 << 20
ILLEGAL = 0x0000_400B
FS_SHIFT = 13


def flags(priv: int, fs: int) -> int:
    """The hart's part of a block's key."""
    return priv | fs << 2 | priv << 4


def fetch_from(data: bytes, base: int) -> Callable[[int], int]:
    return lambda addr: int.from_bytes(data[addr - base : addr - base + 2], "little")


def twin(data: bytes, priv: int = 3, fs: int = 0):
    """A Unicorn that has ``data`` at the base of RAM and will only translate it."""
    uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    uc.mem_map(CODE, (len(data) + 0x1FFF) & ~0xFFF)
    uc.mem_write(CODE, data)
    uc.reg_write(uc_names.UC_RISCV_REG_MSTATUS, fs << FS_SHIFT)
    uc.reg_write(uc_names.UC_RISCV_REG_PRIV, priv)
    return uc


# Generated code: every row, each of them a possible end.


def rows_for(fs: int) -> list[Row]:
    """Without S mode, which the machine lacks, and arithmetic, which it lacks so far. Unicorn takes
    some FP instructions for legal while FS is off: all that it decodes with its old decoder."""
    rows = [r for r in (*BASE_ROWS, *COMPRESSED_ROWS) if r.family != "illegal_s"]
    if fs:
        return [r for r in rows if r.family != "fparith"]
    return [
        r
        for r in rows
        if not (r.family in ("fpload", "fpstore") and r.length == 2)
        and not (r.family == "fsgnj" and r.arg[1] == "d")
    ]


def generated(seed: int, fs: int, straight: bool) -> tuple[bytes, list[int]]:
    """Three pages of instructions, and where each of them starts."""
    rng = random.Random(seed)
    rows = [r for r in rows_for(fs) if not (straight and r.flags & ENDS_TB)]
    data, starts = bytearray(), []
    while len(data) < 3 * 4096:
        row = rng.choice(rows)
        bits = row.value | rng.getrandbits(8 * row.length) & ~row.mask
        insn = decode(bits)
        if insn is None or insn.row is not row:
            continue
        if rng.random() < 0.02 and not straight:
            bits = ILLEGAL
        starts.append(CODE + len(data))
        data += bits.to_bytes(insn_length(bits), "little")
    return bytes(data), starts


def ends_by_itself(block: Translation, fs: int) -> bool:
    """Is it the last instruction that ends the block?"""
    insn = decode(block.words[-1][1])
    if insn is None or insn.family == "fparith" or block.icount == 512:
        return True
    return bool(insn.flags & ENDS_TB) or (not fs and insn.family in ("fpload", "fpstore", "fmv"))


@pytest.mark.parametrize("fs", [0, 1, 3])
@pytest.mark.parametrize("straight", [False, True])
def test_generated_code_as_in_unicorn(fs, straight):
    data, starts = generated(fs, fs, straight)
    fetch = fetch_from(data, CODE)
    uc = twin(data, fs=fs)
    rng = random.Random(0)
    inside = [pc for pc in starts if pc < CODE + 2 * 4096]
    edges = [pc for pc in inside if pc & 0xFFF > 0xF80]
    at_edge = 0
    for pc in rng.sample(inside, 60 if straight else 400) + edges:
        block = translate(fetch, pc, flags(3, fs), CF_COUNT)
        ours = block.icount, len(block.code)
        end = pc + ours[1]
        if end & 0xFFF == 0xFFE and not ends_by_itself(block, fs):
            at_edge += 1  # there Unicorn goes on, even into the next page
            ours = ours[0] + 1, ours[1] + insn_length(fetch(end))
        _, icount, size = uc.ctl_request_cache(pc)
        if straight and ours[0] > icount > 400:
            continue  # Unicorn's ops ran out first
        assert ours == (icount, size), f"the block at {pc:#x} (seed {fs}, straight={straight})"
    assert at_edge or not straight


ONES = [r for r in BASE_ROWS if r.family != "fparith"]


@pytest.mark.parametrize("row", ONES, ids=lambda r: r.name)
def test_each_row_ends_its_block_or_does_not(row):
    """As its flag says: an instruction between two that end nothing."""
    nop = ROWS["addi"].value
    bits = row.value
    data = code_of([nop, bits, nop, ILLEGAL])
    block = translate(fetch_from(data, CODE), CODE, flags(3, 3), CF_COUNT)
    assert block.icount == (2 if row.flags & ENDS_TB or row.family == "illegal_s" else 4)


@pytest.mark.parametrize("length", [2, 4])
@pytest.mark.parametrize("offset", range(0xFF0, 0x1000, 2))
def test_the_end_of_a_page(offset, length):
    """Nothing but a block's first instruction touches the last two bytes of a page, and only that
    one may cross it."""
    nop = 0x0001 if length == 2 else ROWS["addi"].value
    data = bytes(offset) + code_of([nop] * 20)
    block = translate(fetch_from(data, CODE), CODE + offset, flags(3, 0), CF_COUNT)
    if offset == 0xFFE:
        assert block.icount == 1
    else:
        assert block.icount == -(-(0xFFE - offset) // length)
    end = offset + len(block.code)
    assert end <= 0x1000 or block.icount == 1


@pytest.mark.parametrize("limit", [1, 2, 3, 100, 511, 512])
def test_the_instruction_limit(limit, backend):
    source = "_start: .option norvc\n" + "nop\n" * 900 + "ebreak"
    with Machine(assemble(source), backend=backends.chosen,
                 mechanisms=Mechanisms(max_block_insns=limit)) as m:  # fmt: skip
        m.run(timeout=20)
        counts = [tb.icount for tb in m.tbs if tb.pc >= CODE]
    assert sum(counts) == 901
    assert set(counts[:-1]) == {limit}


# The bundled guests.


def blocks_here(name: str) -> list[tuple[int, int, int]]:
    """(pc, instructions, flags) of all blocks translated in a run."""
    with Machine(guests.load(name), backend=backends.chosen) as m:
        m.uart.type(guests.info(name).stdin)
        assert m.run(timeout=60).reason.value == "exit"
        return [(tb.pc, tb.icount, tb.flags) for tb in m.tbs]


@pytest.fixture(scope="module")
def guest_blocks(backend):
    cache: dict[str, list[tuple[int, int, int]]] = {}

    def get(name: str) -> list[tuple[int, int, int]]:
        if name not in cache:
            cache[name] = blocks_here(name)
        return cache[name]

    return get


NAMES = [name for name in guests.names() if name != "loop"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "selfmod"])
def test_guests_as_in_unicorn(name, guest_blocks):
    with Machine(guests.load(name), backend=backends.chosen, memory="1M") as m:
        image = m.memory[CODE : CODE + (1 << 20)]
    fetch = fetch_from(image, CODE)
    twins = {}
    for pc, icount, key in guest_blocks(name):
        priv, fs = key & 3, key >> 2 & 3
        if (priv, fs) not in twins:
            twins[priv, fs] = twin(image, priv, fs)
        _, theirs, size = twins[priv, fs].ctl_request_cache(pc)
        end = pc + size
        if end & 0xFFF in (0, 2) and (pc ^ end) & ~0xFFF:
            block = translate(fetch, pc, key, CF_COUNT)
            theirs -= (pc + len(block.code)) & 0xFFF == 0xFFE
        last = fetch(end - 4) | fetch(end - 2) << 16
        insn = decode(last)
        assert icount == theirs or (insn is not None and insn.family == "fparith"), hex(pc)


#: Interrupts from outside or from the clock, which come where they come.
TIMED = {"timer", "nested", "roundrobin", "echo", "wfi", "masked", "clockread"}


@needs_qemu
@pytest.mark.parametrize("name", [name for name in NAMES if name != "echo"])
def test_guests_as_in_qemu(name, guest_blocks, tmp_path):
    """The same blocks in the same order; where interrupts come from a clock, the same ends."""
    run = run_qemu(guests.load(name), tmp_path, log="in_asm")
    assert run.status == guests.info(name).exit_code
    theirs = Walk.of(run.log.splitlines()).blocks
    ours = [(pc, icount) for pc, icount, _ in guest_blocks(name)]
    assert len(theirs) > 2
    if name not in TIMED:
        assert ours == theirs
        return
    both = {pc for pc, _ in ours} & {pc for pc, _ in theirs}
    assert len(both) >= len(theirs) * 0.8
    assert {b for b in ours if b[0] in both} == {b for b in theirs if b[0] in both}


KINDS = {
    "divu": "divu a0, a1, a2", "remu": "remu a0, a1, a2", "amoadd": "amoadd.w a0, a1, (s0)",
    "amomax": "amomax.w a0, a1, (s0)", "amominu": "amominu.d a0, a1, (s0)", "lr": "lr.w a0, (s0)",
    "sc": "sc.w a0, a1, (s0)", "ld": "ld a0, 8(s0)", "sd": "sd a0, 8(s0)",
    "mulhsu": "mulhsu a0, a1, a2", "nop": "c.nop", "srlw": "srlw a0, a1, a2",
    "div": "div a0, a1, a2", "remw": "remw a0, a1, a2",
}  # fmt: skip


@needs_qemu
def test_long_runs_of_one_instruction_as_in_qemu(tmp_path, backend):
    """A page of each: the limits of instructions and of ops."""
    source = "_start: la s0, data\n li a1, 100\n li a2, 7\n j page0\n"
    for n, (name, text) in enumerate(KINDS.items()):
        source += f".option norvc\n.balign 4096\npage{n}:\n"
        source += ".option rvc\n" * (name == "nop") + (text + "\n") * 1000
    source += """.option norvc
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
    j .
    .balign 16
data: .8byte 1, 2"""
    assembly = assemble(source)
    elf = Path(tmp_path / "long.elf")
    elf.write_bytes(assembly.to_elf())
    run = run_qemu(elf, tmp_path, log="in_asm")
    assert run.status == 0
    with Machine(assembly, backend=backends.chosen) as m:
        assert m.run(timeout=60).exit_code == 0
        ours = [(tb.pc, tb.icount) for tb in m.tbs]
    theirs = Walk.of(run.log.splitlines()).blocks
    for n, name in enumerate(KINDS):
        first, last = (assembly.symbols.get(f"page{n + k}", 1 << 64) for k in (0, 1))
        mine, other = ([b for b in blocks if first <= b[0] < last] for blocks in (ours, theirs))
        if name in ("div", "remw"):
            assert mine[0][1] > other[0][1] > 300, name
        else:
            assert mine == other, name

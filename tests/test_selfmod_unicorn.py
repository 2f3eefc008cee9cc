"""Code that writes code, against Unicorn: random instructions stored, in pieces of every size, into
a subroutine that lies across the edge of a page, and called in between."""

from __future__ import annotations

import random

import backends
import pytest
from engine_programs import CODE, CORNERS, RAM_SIZE, bits_of, code_of, load_immediate, random_items

from tcglite import Machine, Mechanisms
from tcglite.target.asm_encode import encode
from tcglite.target.insns import ROWS

unicorn = pytest.importorskip("unicorn")
from unicorn import riscv_const as uc_names  # noqa: E402

pytestmark = pytest.mark.usefixtures("backend")

REGISTERS = [getattr(uc_names, f"UC_RISCV_REG_X{n}") for n in range(1, 32)]
EBREAK = (0x00100073).to_bytes(4, "little")
SLOTS = 24
AREA = CODE + 0x7000 - 2 - 4 * (SLOTS // 2)  #: one slot lies in both pages
RET, NOP, FENCE_I = 0x00008067, 0x00000013, 0x0000100F
HOLDS, POINTS, LINK = 30, 29, 1
HARMLESS = tuple(
    row
    for row in ROWS.values()
    if row.length == 4 and row.family in ("arith", "arithi", "arithw", "arithwi", "lui", "div")
)
STORES = (("sb", 1), ("sh", 2), ("sw", 4), ("sd", 8))


def harmless(rng: random.Random) -> int:
    """An instruction for the subroutine: arithmetic on a0 to a5."""
    while True:
        item = random_items(rng, 1, HARMLESS)[0]
        bits = bits_of(item)
        if bits is not None:
            return bits & ~0xF80 | rng.randrange(10, 16) << 7


def program(rng: random.Random) -> list[int]:
    """Stores of new slots, as one store or several, some fences, and calls."""
    code = []
    for _ in range(60):
        first = rng.randrange(SLOTS - 1)
        size = rng.choice((4, 4, 8))
        new = code_of(harmless(rng) for _ in range(size // 4))
        name, step = rng.choice([s for s in STORES if s[1] <= size])
        code += load_immediate(POINTS, AREA + 4 * first)
        for at in range(0, size, step):
            code += load_immediate(HOLDS, int.from_bytes(new[at : at + step], "little"))
            code.append(encode(ROWS[name], {"rs1": POINTS, "rs2": HOLDS, "imm": at}))
        if rng.random() < 0.5:
            code.append(FENCE_I)
        if rng.random() < 0.7:
            where = AREA + 4 * rng.choice((0, 0, 0, rng.randrange(SLOTS)))
            code += load_immediate(POINTS, where)
            code.append(encode(ROWS["jalr"], {"rd": LINK, "rs1": POINTS, "imm": 0}))
    return code


def image(code: bytes) -> bytes:
    whole = bytearray(RAM_SIZE)
    whole[: len(code)] = code
    area = code_of([NOP] * SLOTS + [RET])
    whole[AREA - CODE : AREA - CODE + len(area)] = area
    return bytes(whole)


def on_unicorn(code: bytes, regs: list[int]) -> list[int]:
    uc = unicorn.Uc(
        unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64, uc_names.UC_CPU_RISCV64_SIFIVE_E51
    )
    uc.mem_map(CODE, RAM_SIZE)
    uc.mem_write(CODE, image(code + EBREAK))
    for name, value in zip(REGISTERS, regs[1:], strict=True):
        uc.reg_write(name, value)
    uc.emu_start(CODE, CODE + len(code))
    return [0, *(uc.reg_read(name) for name in REGISTERS)]


@pytest.mark.parametrize(
    "mechanisms",
    [
        Mechanisms(), Mechanisms(max_block_insns=1), Mechanisms(max_block_insns=5),
        Mechanisms(chain=False), Mechanisms(goto_ptr=False, irq_check="tb-end"),
    ],
    ids=["plain", "single", "five", "nochain", "tb-end"],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(4))
def test_new_code_is_what_runs(seed, mechanisms):
    rng = random.Random(seed)
    code = code_of(program(rng))
    assert len(code) < AREA - CODE
    regs = [0] + [rng.choice((rng.choice(CORNERS), rng.getrandbits(64))) for _ in range(31)]
    with Machine(image(code + EBREAK), backend=backends.chosen, memory=RAM_SIZE,
                 mechanisms=mechanisms) as m:  # fmt: skip
        for n, value in enumerate(regs):
            m.cpu[f"x{n}"] = value
        assert m.run(timeout=60).reason.value == "unhandled-trap"
        assert m.cpu.csr["mepc"] == CODE + len(code)
        assert m.cpu.registers == on_unicorn(code, regs)
        assert m.stats.tb_invalidated > 10


def test_without_invalidation_old_code_runs():
    """So the comparison would notice."""
    rng = random.Random(0)
    code = code_of(program(rng))
    regs = [0] + [rng.getrandbits(64) for _ in range(31)]
    with Machine(image(code + EBREAK), backend=backends.chosen, memory=RAM_SIZE,
                 mechanisms=Mechanisms(invalidate=False)) as m:  # fmt: skip
        for n, value in enumerate(regs):
            m.cpu[f"x{n}"] = value
        m.run(timeout=60)
        assert m.cpu.registers != on_unicorn(code, regs)

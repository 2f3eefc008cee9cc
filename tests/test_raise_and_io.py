"""raise_at around device accesses that are cut out of their block, at every point of a program."""

from __future__ import annotations

from typing import Any

import backends
import pytest

from tcglite import Machine, Mechanisms
from tcglite.machine import StopReason
from tcglite.target.asm import assemble

pytestmark = pytest.mark.usefixtures("backend")

SECONDS = 20
PROGRAM = assemble("""
        .option norvc
_start: la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x2004000
        li      t1, -1
        li      s1, 0x10000000
        li      a0, 'x'
        sd      t1, 0(t0)               # the timer is not due, a device access in mid-block
        li      t0, 8
        csrw    mie, t0
        csrsi   mstatus, 8
        li      s0, 3
again:  addi    s2, s2, 1
        sb      a0, 0(s1)
        addi    s2, s2, 1
        lbu     a1, 5(s1)
        sb      a0, 7(s1)
        addi    s0, s0, -1
        bnez    s0, again
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .
handler: li     t2, 0x2000000
        addi    s5, s5, 1
        csrr    s6, mepc
        sw      zero, 0(t2)
        mret
""")
MODES: list[dict[str, Any]] = [
    {"mechanisms": Mechanisms(irq_check=check, io_last=io_last, max_block_insns=limit, quantum=3)}
    for check in ("tb-start", "tb-end", "every-insn", "quantum", "acyclic", "unlink")
    for io_last in (False, True)
    for limit in (512, 3)
]


def _name(mode: dict[str, Any]) -> str:
    if "icount" in mode:
        return f"icount={mode['icount']}"
    m = mode["mechanisms"]
    return f"{m.irq_check}-{'last' if m.io_last else 'any'}-{m.max_block_insns}"


@pytest.mark.parametrize("mode", [*MODES, {"icount": 0}, {"icount": 5}], ids=_name)
def test_a_line_raised_anywhere_is_taken_once_and_the_program_ends(mode: dict[str, Any]) -> None:
    with Machine(PROGRAM, memory="64K", backend=backends.chosen, **mode) as m:
        alone = m.run(timeout=SECONDS)
        assert alone.reason is StopReason.EXIT
        assert alone.insns is not None
        enabled, handler, end = 11, 5, alone.insns - 20
        for n in range(end):
            m.reset()
            m.raise_at(n, "msip")
            result = m.run(timeout=SECONDS)
            assert result.reason is StopReason.EXIT, n
            assert m.console == "xxx"
            assert m.cpu["s2"] == 6
            assert m.cpu["s5"] == 1, f"raised after instruction {n}"
            assert result.insns == alone.insns + handler
            assert m.cpu["s6"] >= m.symbols["_start"] + 4 * enabled

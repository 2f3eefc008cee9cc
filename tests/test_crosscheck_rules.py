"""The rules that need no oracle: broken mechanisms that nobody else would notice."""

from __future__ import annotations

from typing import Any

import backends
import pytest

from tcglite.accel import icount
from tcglite.crosscheck.follow import check_guest
from tcglite.crosscheck.report import Report
from tcglite.hw import clint, clock
from tcglite.target import csr, trap
from tcglite.target.asm import assemble

pytestmark = pytest.mark.usefixtures("backend")

SETUP = """
        .option norvc
_start: la   t0, handler
        csrw mtvec, t0
        li   s1, 0x2000000              # msip
        li   t1, 0x2004000              # no timer yet
        li   t2, -1
        sd   t2, 0(t1)
        {code}
        .balign 4
handler:
        li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
        j    .
"""
IN_U_MODE = """
        csrwi mie, 8
        la   t0, 1f
        csrw mepc, t0
        csrw mstatus, zero
        mret
1:      addi a0, a0, 1                  # where M-level interrupts are enabled, whatever MIE says
        j    1b
"""
TIMER = """
        li   t0, 0x80
        csrw mie, t0
        csrsi mstatus, 8
        li   t3, 0x200bff8
        ld   t4, 0(t3)
        addi t4, t4, {ticks}
        sd   t4, 0(t1)
1:      addi a0, a0, 1
        {inside}
        j    1b
"""
READS = """
        li   a0, 1
        csrw mie, zero
        sw   a0, 0(s1)
        csrr a1, mip
        csrr a2, minstret
        csrr a3, mcycle
        j    handler
"""


def found(code: str, *against: str, **options: Any) -> str:
    """What diverges, in a word; with no oracle unless some are named."""
    guest = assemble(SETUP.format(code=code))
    reports: list[Report] = check_guest(
        guest, against, backend=backends.chosen, memory="64K", max_insns=2000, **options
    )
    return next((r.divergence.what for r in reports if r.divergence is not None), "")


def test_an_interrupt_in_u_mode_is_due_whatever_mie_says(monkeypatch) -> None:
    assert found(IN_U_MODE, irq=[(40, "msip")]) == ""
    monkeypatch.setattr(trap, "interrupts_enabled", lambda env: bool(env.mstatus & 8))
    assert found(IN_U_MODE, irq=[(40, "msip")]) == "an enabled interrupt"


def test_the_most_urgent_goes_first(monkeypatch) -> None:
    code = "li t0, 0x88\ncsrw mie, t0\n1: addi a0, a0, 1\nslti t3, a0, 30\nbnez t3, 1b\n" \
           "csrsi mstatus, 8\nj .\n"  # fmt: skip
    irq = [(30, "mtip"), (31, "msip")]
    assert found(code, irq=irq) == ""
    monkeypatch.setattr(trap, "_PRIORITY", trap._PRIORITY[::-1])
    assert found(code, irq=irq) == "the interrupt taken"


@pytest.mark.parametrize("shift", [0, 3, 10])
@pytest.mark.parametrize("inside", ["nop", "wfi"])
def test_the_timer_fires_when_it_is_time(monkeypatch, shift: int, inside: str) -> None:
    code = TIMER.format(inside=inside, ticks=200 if inside == "wfi" or shift > 3 else 3)
    assert found(code, icount=shift) == ""
    if inside == "nop":
        real = icount.Budget._cuts
        monkeypatch.setattr(icount.Budget, "_cuts", lambda self: [n + 7 for n in real(self)])
        assert found(code, icount=shift).startswith("the timer")
    else:
        warp = clock.ICountClock.warp
        monkeypatch.setattr(clock.ICountClock, "warp", lambda self, ns: warp(self, ns + 300))
        assert found(code, icount=shift).startswith("the timer")


def test_mtime_is_the_number_of_instructions(monkeypatch) -> None:
    monkeypatch.setattr(clint.Clint, "mtime", property(lambda self: self._clock.now() // 100 + 1))
    assert found(TIMER.format(inside="nop", ticks=3), icount=3) == "mtime"


@pytest.mark.parametrize(("name", "csr_number"), [("mip", 0x344), ("minstret", 0xB02),
                                                  ("mcycle", 0xB00)])  # fmt: skip
def test_what_an_oracle_must_be_told_follows_from_the_state(monkeypatch, name, csr_number) -> None:
    assert found(READS, "unicorn") == ""
    row = csr.TABLE[csr_number]

    def read(cpu: Any, current: int) -> int:
        return row.read(cpu, current) ^ 0x80

    monkeypatch.setitem(csr.TABLE, csr_number, csr.CSR(read, row.write))
    assert found(READS, "unicorn") == f"CSR {csr_number:#x} as read"

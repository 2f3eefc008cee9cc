"""The door: what the API promises beyond what the other files test."""

from __future__ import annotations

import threading

import backends
import pytest

from tcglite import Machine, StopReason, guests
from tcglite.errors import UsageError
from tcglite.target.asm import assemble

pytestmark = pytest.mark.usefixtures("backend")

# Counts until the doorbell rings; then ends through the finisher.
BELL = """
    la t0, handler
    csrw mtvec, t0
    csrwi mie, 8
    csrsi mstatus, 8
    li t1, 0x10000000
    li t2, '.'
    sb t2, 0(t1)
count:
    addi s0, s0, 1
    j count
    .align 2
handler:
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b
"""


def test_raise_at_in_the_past_is_refused():
    with Machine(guests.load("loop"), backend=backends.chosen) as m:
        m.run(max_insns=1000)
        with pytest.raises(UsageError, match="stands at instruction 1000"):
            m.raise_at(999, "msip")
        m.raise_at(1000, "msip")


def test_raise_at_while_it_runs():
    started = threading.Event()
    options = {"backend": backends.chosen, "on_output": lambda data: started.set()}
    with Machine(assemble(BELL), **options) as m:
        m.start()
        assert started.wait(30)
        m.raise_at((m.insns or 0) + 2_000_000, "msip")
        result = m.wait(60)
        assert result.reason is StopReason.EXIT
        assert result.insns is not None
        assert result.insns > 2_000_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"load": 3}, {"load": [3]}, {"load": "abc"}, {"load": [("a",)]}, {"on_output": 3},
        {"icount": True}, {"memory": True},
    ],
)  # fmt: skip
def test_arguments_of_the_wrong_kind(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        Machine(guests.load("hello"), **arguments)


def test_a_line_has_two_levels():
    with Machine(guests.load("hello")) as m, pytest.raises(UsageError, match="level"):
        m.set_irq("mtip", 2)

"""What the tests of threads share: guests that answer or never end, and waiting for things.

No test measures time: a limit in seconds is only there so that a hang fails.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import backends
import pytest

from tcglite import Machine, Mechanisms
from tcglite.target.asm import assemble

SECONDS = 60  #: a wait that takes so long has failed
HEARD = ("tb-start", "tb-end", "every-insn", "quantum", "acyclic", "unlink")
ALL = (*HEARD, "never")

#: A chained loop of three blocks. msip: lowered, "m" printed. UART: the byte printed.
SERVER = """
        .option norvc
        .equ    UART, 0x10000000
        .equ    CLINT, 0x2000000
_start: la      t0, handler
        csrw    mtvec, t0
        li      s1, UART
        li      s2, CLINT
        li      t1, -1
        li      t0, CLINT + 0x4000
        sd      t1, 0(t0)               # the timer is not due
        li      t0, 0xc000000
        li      t1, 1
        sw      t1, 40(t0)              # source 10 has priority 1
        li      t0, 0xc002000
        li      t1, 0x400
        sw      t1, 0(t0)               # and is let through
        li      s3, 0xc200000
        li      t1, 1
        sb      t1, 1(s1)               # the UART asks when a byte has come
        li      t0, 0x808
        csrw    mie, t0
        csrsi   mstatus, 8
loop:   addi    a0, a0, 1
        andi    a1, a0, 1
        bnez    a1, tail
        addi    a2, a2, 1
tail:   addi    a3, a3, 1
        j       loop
        .balign 4
handler:
        csrr    t0, mcause
        andi    t0, t0, 8
        bnez    t0, external
        sw      zero, 0(s2)
        addi    s6, s6, 1
        li      t1, 'm'
        sb      t1, 0(s1)
        mret
external:
        lw      t2, 4(s3)               # claim
        lbu     t1, 0(s1)
        sb      t1, 0(s1)
        sw      t2, 4(s3)               # complete
        mret
"""
#: The same, asleep between interrupts.
SLEEPER = SERVER.replace("loop:   addi", "loop:   wfi\n        addi")
SPIN = "_start: addi s0, s0, 1\n addi s1, s1, 3\n j _start\n"
ASLEEP = "_start: li t0, 0x808\n csrw mie, t0\n1: wfi\n j 1b\n"


def machine(source: str, check: str = "tb-start", **options: Any) -> Machine:
    """64 KiB, source text, and where to look for interrupts."""
    options = {
        "memory": "64K", "backend": backends.chosen, "mechanisms": Mechanisms(irq_check=check)
    } | options  # fmt: skip
    return Machine(assemble(source), **options)


_before: set[threading.Thread] = set()  # what other tests of this process left behind


def ours() -> list[str]:
    """Threads of machines that this test has made and that are there now."""
    threads = [t for t in threading.enumerate() if t not in _before]
    return [t.name for t in threads if t.name.startswith("tcglite")]


def until(happens: Callable[[], object], what: str) -> None:
    """Wait for it, without keeping the interpreter from anybody."""
    nothing = threading.Event()
    for _ in range(SECONDS * 100):
        if happens():
            return
        nothing.wait(0.01)
    pytest.fail(f"{what}: not in {SECONDS} s")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    interval = sys.getswitchinterval()
    _before.clear()
    _before.update(threading.enumerate())
    yield
    until(lambda: not ours() or (gc.collect() and not ours()), "threads end")
    assert sys.getswitchinterval() == interval


class Acks:
    """Counts the guest's output bytes; ``wait`` blocks until there is one more."""

    def __init__(self) -> None:
        self.seen: dict[bytes, threading.Semaphore] = {}

    def expect(self, byte: bytes) -> threading.Semaphore:
        return self.seen.setdefault(byte, threading.Semaphore(0))

    def __call__(self, data: bytes) -> None:
        self.expect(data).release()


def ask(act: Callable[[], object], answer: threading.Semaphore, times: int) -> None:
    for n in range(times):
        act()
        assert answer.acquire(timeout=SECONDS), f"request {n} was lost"

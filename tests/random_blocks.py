"""Random bytes as blocks, many in one machine, between guard pages: host code never strays.

Run as a program, ``random_blocks.py FIRST COUNT [BACKEND]`` runs batches FIRST, FIRST + 1, … of
BLOCKS blocks each. Every block is random bytes, or random valid instructions, at a random place of
RAM; it runs for a few instructions with random registers. Whatever it does, the host survives, the
run ends at its limit, and what is not the guest's stays as it was. It ends with status 0 and prints
one JSON object; else it names the batch and the block, which the batch's number reproduces.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import random
import sys
import time
from collections import Counter

from random_code import RAM, check, instruction, setting

from tcglite import Machine
from tcglite.accel.vcpu import Run
from tcglite.hw.clock import HostClock
from tcglite.target.cpu import MSTATUS_MPP, NO_RESERVATION, CPURISCVState, update_tb_flags
from tcglite.tcg.env import PAGE_MASK, TLB_EMPTY, TLB_SIZE
from tcglite.tcg.hostmem import rounded

BLOCKS, SIZE = 1000, 1 << 16
SECONDS = 300.0  #: a batch that takes so long has hung
M = (1 << 64) - 1
EDGES = [RAM + page for page in range(0, SIZE + 1, 0x1000)]
DEVICES = (0x10_0000, 0x200_0000, 0x200_4000, 0x200_BFF8, 0xC00_0000, 0x1000_0000)


def register(rng: random.Random) -> int:
    """Mostly an address that is in RAM, or near what is not, or looks like one that is."""
    kind = rng.randrange(10)
    if kind < 4:
        return RAM + rng.randrange(SIZE)
    if kind < 6:
        return rng.choice(EDGES) + rng.randrange(-2100, 2100)
    if kind == 6:  # the same entry of the TLB
        return RAM + rng.randrange(SIZE) + (rng.randrange(-8, 1 << 39) << 24) & M
    if kind == 7:
        return rng.choice(DEVICES) + rng.randrange(16)
    if kind == 8:
        return rng.randrange(-4096, 4096) & M
    return rng.getrandbits(64)


def code(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return rng.randbytes(48)
    return b"".join(instruction(rng) for _ in range(10))


class Batch:
    """One machine and what must stay as it is around it."""

    def __init__(self, number: int, backend: str) -> None:
        self.rng = rng = random.Random(number)
        s = setting(rng)
        s.options.pop("count", None)
        self.m = m = Machine(
            b"\x13\0\0\0", memory=SIZE, backend=backend, guard=True, mechanisms=s.mechanisms,
            **s.options,
        )  # fmt: skip
        m._vcpu.may_wake = lambda: False
        m._vcpu._watch = lambda ended: None
        self.thunks = self.fixed()
        self.pool = b"".join(instruction(rng) for _ in range(2000))
        self.fill()

    def fill(self) -> None:
        """Random instructions all over RAM, with noise between them: traps lead there."""
        rng, data = self.rng, b""
        while len(data) < SIZE:
            start = rng.randrange(len(self.pool)) & ~1
            data += self.pool[start : start + rng.randrange(2, 200, 2)] + rng.randbytes(4)
        self.m.memory[RAM : RAM + SIZE] = data[:SIZE]

    def fixed(self) -> bytes:
        """Host code that nobody may change."""
        backend = self.m._cpu.tbs.backend
        return backend.buffer.read(0, backend._first) if self.m.backend == "x86_64" else b""

    def block(self, seen: Counter[str]) -> None:
        """Write, set, run one."""
        m, rng, env = self.m, self.rng, self.m._cpu.env
        data = code(rng)
        at = min(RAM + (rng.randrange(SIZE) & ~1), RAM + SIZE - len(data))
        m.memory[at : at + len(data)] = data
        env.x[:] = [0, *(register(rng) for _ in range(31))]
        env.mtvec = rng.choice((0, RAM + (rng.randrange(SIZE) & ~3)))
        env.mstatus = env.mstatus & ~MSTATUS_MPP | rng.choice((0, MSTATUS_MPP))
        env.priv = rng.choice((0, 3, 3, 3))
        env.load_res = rng.choice((NO_RESERVATION, register(rng)))
        update_tb_flags(env)
        m._cpu.halted = False
        m.cpu.pc = at
        run = self.run(rng.randrange(1, 24))
        if run.error is not None:
            raise run.error
        check(env.x[0] == 0, "x0 was written")
        check(env.priv in (0, 3) and not env.pc & 1, f"privilege {env.priv}, pc {env.pc:#x}")
        seen[run.reason] += 1
        seen["insns"] += run.insns or 0

    def run(self, insns: int) -> Run:
        """As ``Machine.run`` does, but in this thread: a million hand-overs take their time."""
        vcpu, cpu = self.m._vcpu, self.m._cpu
        cpu.stop_reason, cpu.stop_detail, cpu.error = None, "", None
        cpu.budget.stop_at = cpu.budget.now() + insns
        vcpu.last = run = Run()
        vcpu._run(run)
        run.ended = True
        return run

    def look(self) -> None:
        """Is everything else as it was?"""
        check(self.fixed() == self.thunks, "the thunks have changed")
        env = self.m._cpu.env
        end, size = ctypes.addressof(env) + ctypes.sizeof(env), rounded(ctypes.sizeof(env))
        slack = ctypes.string_at(end, size - ctypes.sizeof(env))
        check(not any(slack) and not any(env.neg._pad), "something wrote behind the state")
        tlb = memoryview(env.neg.tlb).cast("B").cast("Q")
        for index in range(TLB_SIZE):
            for tag in tlb[4 * index : 4 * index + 3]:
                known = tag == TLB_EMPTY or RAM <= tag < RAM + SIZE
                check(known and (tag == TLB_EMPTY or tag >> 12 & TLB_SIZE - 1 == index), "TLB")
                check(tag == TLB_EMPTY or not tag & ~PAGE_MASK & 0xFF, f"tag {tag:#x}")


def batch(number: int, backend: str, seen: Counter[str], blocks: int = BLOCKS) -> None:
    """All blocks of a batch."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)  # host code that hangs holds up nobody
    b = Batch(number, backend)
    for n in range(blocks):
        try:
            b.block(seen)
            if n % 250 == 249:
                b.look()
                b.m.reset()
                b.fill()
        except BaseException:
            print(f"batch {number}, block {n}:", file=sys.stderr)
            raise
    for what in ("exceptions", "interrupts_taken", "tb_translated", "tb_invalidated"):
        seen[what] += getattr(b.m.stats, what)
    b.m.close()
    faulthandler.cancel_dump_traceback_later()


def main() -> int:
    """Run the batches that the command line asks for."""
    first, count = int(sys.argv[1]), int(sys.argv[2])
    backend = sys.argv[3] if len(sys.argv) > 3 else "x86_64"
    HostClock.start = lambda self: None  # type: ignore[method-assign]  # time stands still
    seen: Counter[str] = Counter()
    began = time.monotonic()
    for number in range(first, first + count):
        batch(number, backend, seen)
    seen["blocks"] = count * BLOCKS
    seen["seconds"] = round(time.monotonic() - began)
    print(json.dumps(seen))
    return 0


assert ctypes.sizeof(CPURISCVState) % 8 == 0

if __name__ == "__main__":
    sys.exit(main())

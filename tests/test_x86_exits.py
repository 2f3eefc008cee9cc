"""Ways out of x86-64 host code: exit words, goto_ptr, exceptions of callbacks."""

from __future__ import annotations

import sys

import pytest
from ir_programs import NEVER, RAM_BASE, TOUCH, Stage, runtime

from tcglite.target.cpu import OFFSET_NEG, OFFSET_PC, OFFSET_TB_FLAGS, PC, X
from tcglite.tcg.backend import TB_EXIT_REQUESTED
from tcglite.tcg.env import CPUNeg
from tcglite.tcg.ir import Builder
from tcglite.tcg.optimize import optimize
from tcglite.tcg.x86_64.backend import X86Backend
from tcglite.tcg.x86_64.buffer import CodeBuffer, unsupported

native = pytest.mark.skipif(bool(unsupported()), reason=unsupported())


@pytest.fixture
def stage() -> Stage:
    stage = Stage([0, 0, 0, 0], False, 1000)
    stage.fill_tlb(0)
    return stage


def block(backend: X86Backend, number: int, *then) -> object:
    """A block that adds 1 to a0 and does ``then``."""
    b = Builder()
    b.emit("exit_check", 1, True, None)
    b.emit("insn_start", 0x1000 * number, 0, 0)
    b.emit("add", X[10], X[10], 1)
    for what in then:
        what(b)
    return backend.compile(optimize(b), number)


def leave(slot: int | None):
    return lambda b: b.emit("exit_tb", slot)


def goto(slot: int):
    def emit(b: Builder) -> None:
        b.emit("goto_tb", slot)
        b.emit("mov", PC, 0x77)
        b.emit("exit_tb", slot)

    return emit


@native
def test_exit_words(stage):
    backend = X86Backend(runtime(stage))
    for number in (1, 2, 0x1234, (1 << 29) - 1, 1 << 29, 1 << 31, (1 << 40) + 5):
        for slot in (0, 1):
            assert backend.enter(block(backend, number, leave(slot))) == (number, slot)
        assert backend.enter(block(backend, number, leave(None))) == (0, 0)
        stage.env.neg.icount_decr.low = 0
        refused = backend.enter(block(backend, number, leave(0)))
        assert refused == (number, TB_EXIT_REQUESTED)
        assert stage.env.neg.icount_decr.low == 0
        stage.env.neg.icount_decr.low = 1000


@native
def test_goto_ptr_finds_blocks_by_itself(stage):
    """In the jump cache, by pc and flags; else it asks."""
    asked = []

    def lookup():
        asked.append(stage.env.pc)
        return known.get(stage.env.pc)

    known = {}
    backend = X86Backend(runtime(stage, lookup=lookup))
    pcs = (0x2000, 0x2002, 0x8000_0FFE, (1 << 64) - 2)
    for pc in pcs:
        one = block(
            backend, 1, lambda b, pc=pc: b.emit("mov", PC, pc), lambda b: b.emit("goto_ptr")
        )
        known.clear()
        asked.clear()
        assert backend.enter(one) == (0, 0)
        known[pc] = block(backend, 2, leave(1))
        assert backend.enter(one) == (2, 1)
        assert asked == [pc, pc]
        words = memoryview(stage.env).cast("B").cast("Q")
        at = (OFFSET_NEG + CPUNeg.jmp_cache.offset) // 8 + 4 * (pc >> 1 & 4095)
        words[at : at + 3] = memoryview(
            b"".join(n.to_bytes(8, "little") for n in (pc, 5, known[pc].start))
        ).cast("Q")
        assert backend.enter(one) == (2, 1)
        assert asked == [pc, pc, pc], "other flags: not that block"
        words[OFFSET_TB_FLAGS // 8] = 5
        assert backend.enter(one) == (2, 1)
        assert asked == [pc, pc, pc]
        words[OFFSET_TB_FLAGS // 8] = 0


@native
def test_goto_ptr_takes_no_constant_for_the_pc(stage):
    """Nor a register that holds one, even if that is where the pc lies in env."""
    backend = X86Backend(runtime(stage, hot=(), lookup=lambda: None))
    other = block(backend, 2, leave(1))
    words = memoryview(stage.env).cast("B").cast("Q")
    at = (OFFSET_NEG + CPUNeg.jmp_cache.offset) // 8 + 4 * (OFFSET_PC >> 1 & 4095)
    words[at : at + 3] = memoryview(
        b"".join(n.to_bytes(8, "little") for n in (OFFSET_PC, 0, other.start))
    ).cast("Q")
    one = block(
        backend, 1,
        lambda b: b.emit("mov", PC, 0x2000),
        lambda b: b.emit("mulsh", X[15], X[12], X[13]),  # leaves rax free
        lambda b: b.emit("movcond", X[11], X[12], 0, OFFSET_PC, X[14], "eq"),
        lambda b: b.emit("goto_ptr"),
    )  # fmt: skip
    assert backend.enter(one) == (0, 0)
    assert stage.env.x[11] == OFFSET_PC


@native
@pytest.mark.parametrize("what", ["load", "store", "touch", "never", "lookup"])
@pytest.mark.parametrize("depth", [0, 1, 50])
def test_exceptions_leave_at_once(stage, what, depth):
    """From any depth of a chain, all registers in memory; the next entry is as good as new."""
    stage.leave_at = 0

    def raises(b: Builder) -> None:
        if what == "load":
            b.emit("qemu_ld", X[11], X[12], 3, 3)
        elif what == "store":
            b.emit("qemu_st", X[11], X[12], 3, 3)
        elif what == "lookup":
            b.emit("goto_ptr")
            return
        else:
            b.call(
                TOUCH if what == "touch" else NEVER, X[10], out=X[11] if what == "touch" else None
            )
        b.emit("mov", X[10], 0x999)

    backend = X86Backend(runtime(stage))
    last = block(backend, 100, raises, leave(0))
    first = last
    for number in range(depth):
        before = block(backend, number + 1, goto(0))
        backend.set_jump(before, 0, first)
        first = before
    for turn in (1, 2):
        stage.story.clear()
        with pytest.raises(InterruptedError):
            backend.enter(first)
        assert len(stage.story) == 1
        assert stage.env.x[10] == turn * (depth + 1)
        assert stage.env.neg.icount_decr.low == 1000 - turn * (depth + 1)
        assert stage.env.neg.unwinding == 0
    assert backend.enter(block(backend, 200, leave(1))) == (200, 1)


@native
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_whatever_a_callback_raises_comes_out(stage, error):
    def load(addr: int, memop: int, ra: int) -> int:
        raise error

    backend = X86Backend(runtime(stage, load=load))
    one = block(backend, 1, lambda b: b.emit("qemu_ld", X[11], RAM_BASE, 3, 3), leave(0))
    with pytest.raises(error):
        backend.enter(one)


def test_a_plain_buffer_is_never_executable(stage):
    """It is for looking."""
    backend = X86Backend(runtime(stage), CodeBuffer(1 << 20, "plain"))
    code = block(backend, 1, leave(0))
    assert "plain" in backend.note
    if sys.platform == "linux":
        with open("/proc/self/maps") as maps:
            for line in maps:
                first, end = (int(n, 16) for n in line.split()[0].split("-"))
                if first <= code.start < end:
                    assert "x" not in line.split()[1]

"""Random IR, and a stage on which the backends run it.

Whatever runs a block leaves a *story*: the guest's registers, as memory has them, at each op that
may raise and at the exit, and what that op was asked to do. Equal stories are equal runs.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tcglite.target.cpu import (
    HOT,
    LOAD_RES,
    OFFSET_BINS,
    OFFSET_NEG,
    OFFSET_PC,
    PC,
    CPURISCVState,
    X,
)
from tcglite.tcg.backend import Backend, Runtime
from tcglite.tcg.env import (
    JMP_CACHE_EMPTY,
    KICK,
    PAGE_SIZE,
    TLB_EMPTY,
    TLB_NOTDIRTY,
    CPUNeg,
)
from tcglite.tcg.ir import GLOBAL, Builder, Helper, Op, Temp
from tcglite.tcg.ops import FOLD_COND, M
from tcglite.tcg.optimize import optimize
from tcglite.tcg.python_backend import PythonBackend
from tcglite.tcg.x86_64.backend import X86Backend

GLOBALS = [X[10], X[11], LOAD_RES, PC]  #: few, so that ops meet
FIELDS = ("x", "pc", "load_res", "bins", "excp_uw2")
RAM_BASE, RAM_SIZE = 0x8000_0000, 2 * PAGE_SIZE
CORNERS = (
    0, 1, 2, 31, 32, 63, 64, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF, 1 << 63, (1 << 63) + 1, M - 1, M, 0x0123_4567_89AB_CDEF,
)  # fmt: skip
ADDRESSES = (
    RAM_BASE, RAM_BASE + 8, RAM_BASE + 0x123, RAM_BASE + PAGE_SIZE - 8, RAM_BASE + PAGE_SIZE - 3,
    RAM_BASE + PAGE_SIZE, 0x1000, M - 7,
)  # fmt: skip
TEMPS = 2
PATTERN = bytes(range(256)) * (RAM_SIZE // 256)
READ, WRITE, READ2, WRITE2 = (
    1,
    2,
    4,
    8,
)  #: what the TLB serves of the first page of RAM, and the second

Story = list[tuple[Any, ...]]


def mix(*values: int) -> int:
    """A value that depends on all of ``values``: what loads and helpers give."""
    result = 0x9E37_79B9_7F4A_7C15
    for value in values:
        result = (result ^ value) * 0xBF58_476D_1CE4_E5B9 & M
        result ^= result >> 29
    return result


def extend(value: int, memop: int) -> int:
    """``value`` as a load of ``memop`` would give it."""
    bits = 8 << (memop & 3)
    value &= (1 << bits) - 1
    return value | M & -1 << bits if memop & 4 and value >> bits - 1 else value


class Stage:
    """What a block's ops act on, and the story of it. ``leave_at``: raise at that event."""

    def __init__(self, registers: Sequence[int], kick: bool, budget: int, leave_at: int = -1):
        self.env = CPURISCVState()
        self.ram = bytearray(PATTERN)
        self.in_tlb = 0
        for temp, value in zip(GLOBALS, registers, strict=True):
            self.set(temp, value)
        self.env.neg.icount_decr.low = budget
        self.env.neg.icount_decr.high = KICK if kick else 0
        self.story: Story = []
        self.leave_at = leave_at
        self.insn_of: Callable[[int], int] = lambda ra: ra  # host PC -> number of the instruction

    def get(self, temp: Temp) -> int:
        return int(memoryview(self.env).cast("B").cast("Q")[temp.value // 8])

    def set(self, temp: Temp, value: int) -> None:
        memoryview(self.env).cast("B").cast("Q")[temp.value // 8] = value

    def event(self, ra: int | None, *what: Any) -> None:
        env, insn = self.env, None if ra is None else self.insn_of(ra)
        self.story.append((*what, insn, tuple(env.x), env.pc, env.load_res, env.bins, env.excp_uw2))
        if len(self.story) - 1 == self.leave_at:
            raise InterruptedError

    def fill_tlb(self, in_tlb: int) -> None:
        """Have the TLB and the jump cache hold nothing but what ``in_tlb`` says."""
        self.in_tlb = in_tlb
        neg = self.env.neg
        tlb = memoryview(neg.tlb).cast("B").cast("Q")
        tlb[:] = _full(TLB_EMPTY, len(tlb))
        cache = memoryview(neg.jmp_cache).cast("B").cast("Q")
        cache[:] = _full(JMP_CACHE_EMPTY, len(cache))
        for page in (0, 1):
            entry = (RAM_BASE // PAGE_SIZE + page) % 4096 * 4
            tag = RAM_BASE + page * PAGE_SIZE
            if in_tlb & READ << 2 * page:
                tlb[entry] = tag
            tlb[entry + 1] = tag | (0 if in_tlb & WRITE << 2 * page else TLB_NOTDIRTY)

    def inline(self, addr: int, memop: int, write: bool) -> slice | None:
        """Where in RAM an access goes that the TLB serves."""
        size, offset = 1 << (memop & 3), addr - RAM_BASE
        page = offset // PAGE_SIZE
        if page not in (0, 1) or (offset + size - 1) // PAGE_SIZE != page:
            return None
        if (memop & 8 and addr % size) or not self.in_tlb >> 2 * page & (WRITE if write else READ):
            return None
        return slice(offset, offset + size)

    # What generated code calls.

    def load(self, addr: int, memop: int, ra: int) -> int:
        place = self.inline(addr, memop, write=False)
        if place is not None:  # a backend need not serve all that the TLB would allow
            return extend(int.from_bytes(self.ram[place], "little"), memop)
        self.event(ra, "load", addr, memop)
        return extend(mix(addr, memop), memop)

    def store(self, addr: int, value: int, memop: int, ra: int) -> None:
        place = self.inline(addr, memop, write=True)
        if place is not None:
            self.ram[place] = value.to_bytes(8, "little")[: place.stop - place.start]
            return
        self.event(ra, "store", addr, value & (1 << (8 << (memop & 3))) - 1, memop)

    def lookup(self) -> None:
        self.event(None, "lookup")


@cache
def _full(word: int, count: int) -> memoryview:
    return memoryview(word.to_bytes(8, "little") * count).cast("Q")


def _touch(stage: Stage, ra: int, value: int) -> int:
    """A helper that reads and writes guest registers."""
    stage.event(ra, "touch", value)
    stage.env.x[10] = mix(value, stage.env.x[11])
    return mix(value)


def _pure(stage: Stage, ra: int, a: int, b: int) -> int:
    return mix(a, b)


def _never(stage: Stage, ra: int, value: int) -> None:
    stage.event(ra, "never", value)
    raise InterruptedError


TOUCH = Helper("touch", _touch, returns=True)
PURE = Helper("pure", _pure, returns=True, pure_state=True)
NEVER = Helper("never", _never, noreturn=True)


# Random blocks, as trees: easy to make smaller.

Tree = tuple[Any, ...]
_MEMOPS = (0, 1, 2, 3, 4, 5, 6, 8 | 2, 8 | 3)
PLAIN = ("add", "sub", "mul", "mulsh", "muluh", "and", "or", "xor")
SHIFTS = ("shl", "shr", "sar")
DIVISIONS = ("div", "divu", "rem", "remu")
UNARY = ("mov", "ext32s", "ext32u")
_EXITS = ("fall", "exit", "goto_tb", "goto_ptr", "never")

#: Shapes of statements: v a variable, o an operand, a an address, c a condition, m a memop,
#: n a number, d an offset, w an op of which the low half is kept. Those that come more often stand
#: more often.
_SHAPES = [
    *[(name, "vo") for name in (*UNARY, "mov", "mov", "mov")],
    *[(name, "voo") for name in (*PLAIN, *SHIFTS, *DIVISIONS, "pure", "add", "sub")],
    *[("setcond", "vooc"), ("movcond", "vooooc"), ("movcond", "vooooc")],
    *[("qemu_ld", "vam"), ("qemu_ld", "vam"), ("qemu_st", "oam"), ("touch", "vo")],
    *[("st", "o"), ("ld", "v"), ("insn_start", ""), ("insn_start", ""), ("check", "n")],
    *[("load_at", "vadm"), ("store_at", "oadm"), ("load_walk", "vadm")],
    *[("word", "voow"), ("word", "voow"), ("half", "voow")],
]
_OFFSETS = (0, 1, 8, -8, 127, -2048, PAGE_SIZE, 0x3FFF_FFFF, -0x4000_0000, 0x7FFF_FFFF, -1 << 31)


def random_tree(rng: random.Random, size: int = 12, depth: int = 0, temps: int = TEMPS) -> Tree:
    """(statements, exit): about ``size`` statements, some of them in conditional regions."""
    variables = [("g", n) for n in range(len(GLOBALS))] + [("t", n) for n in range(temps)]

    def constant() -> tuple[str, int]:
        return "c", rng.choice((0, 0, 1, M, rng.choice(CORNERS)))

    def argument(kind: str) -> Any:
        if kind == "v":
            return rng.choice(variables)
        if kind == "o":
            return rng.choice(variables) if rng.random() < 0.7 else constant()
        if kind == "a":
            return rng.choice(variables) if rng.random() < 0.5 else ("c", rng.choice(ADDRESSES))
        if kind == "c":
            return rng.choice(sorted(FOLD_COND))
        if kind == "d":
            return rng.choice(_OFFSETS)
        if kind == "w":
            return rng.choice((*PLAIN, *SHIFTS))
        return rng.choice(_MEMOPS) if kind == "m" else rng.randrange(3)

    statements: list[Tree] = []
    for _ in range(rng.randrange(size + 1)):
        if depth < 3 and rng.random() < 0.15:
            inner = random_tree(rng, size // 2, depth + 1, temps)
            statements.append(("if", argument("o"), argument("o"), argument("c"), *inner))
        else:
            name, shape = rng.choice(_SHAPES)
            statements.append((name, *map(argument, shape)))
    return statements, rng.choice(_EXITS if depth == 0 or rng.random() < 0.3 else ("fall",))


def random_registers(rng: random.Random) -> list[int]:
    return [rng.choice(CORNERS + ADDRESSES) for _ in GLOBALS]


def smaller(tree: Tree) -> Iterator[Tree]:
    """The same tree with one statement less, or with one region opened or made smaller."""
    statements, leave = tree
    for n, statement in enumerate(statements):
        yield statements[:n] + statements[n + 1 :], leave
        if statement[0] == "if":
            yield statements[:n] + statement[4] + statements[n + 1 :], leave
            for inner, inner_leave in smaller(statement[4:]):
                changed = (*statement[:4], inner, inner_leave)
                yield [*statements[:n], changed, *statements[n + 1 :]], leave


class _Writer:
    """Emits a tree into a Builder."""

    def __init__(self, temps: int, count: bool) -> None:
        self.b = Builder()
        self.count = count
        self.b.emit("exit_check", 3 if count else 0, True, None)
        self.temps = [self.b.temp() for _ in range(temps)]
        self.insns = self.jumps = 0
        self.insn_start()
        for n, temp in enumerate(self.temps):
            self.b.emit("mov", temp, GLOBALS[n % len(GLOBALS)])

    def insn_start(self) -> None:
        self.b.emit("insn_start", 0x1000 + 4 * self.insns, 0, 0)
        self.insns += 1

    def operand(self, what: tuple[str, int]) -> Temp | int:
        kind, n = what
        if kind == "g":
            return GLOBALS[n]
        return self.temps[n] if kind == "t" else n

    def write(self, tree: Tree) -> None:
        b, name = self.b, tree[0]
        args = [self.operand(a) if isinstance(a, tuple) else a for a in tree[1:]]
        if name in SHIFTS:
            b.emit(name, args[0], args[1], b.new("and", args[2], 63))
        elif name in DIVISIONS:
            divisor = b.new("and", args[2], ~2)  # neither 0 nor -1: host code need not bear them
            b.emit(name, args[0], args[1], b.new("or", divisor, 1))
        elif name in ("qemu_ld", "qemu_st"):
            b.emit(name, *args, 3)
        elif name in ("load_at", "store_at", "load_walk"):
            addr = b.new("add", args[1], args[2])
            b.emit("qemu_st" if name == "store_at" else "qemu_ld", args[0], addr, args[3], 3)
            if name == "load_walk":
                b.emit("xor", GLOBALS[0], addr, args[0])
        elif name in ("word", "half"):
            by = b.new("and", args[2], 63) if args[3] in SHIFTS else args[2]
            extend = "ext32s" if name == "word" else "ext32u"
            b.emit(extend, args[0], b.new(args[3], args[1], by))
        elif name == "touch":
            b.call(TOUCH, args[1], out=args[0])
        elif name == "pure":
            b.call(PURE, args[1], args[2], out=args[0])
        elif name == "st":
            b.emit("st", args[0], OFFSET_BINS)
        elif name == "ld":
            b.emit("ld", args[0], OFFSET_BINS)
        elif name == "insn_start":
            self.insn_start()
        elif name == "check":
            b.emit("exit_check", args[0] * self.count, True, 0x1000 + 4 * self.insns)
        elif name == "if":
            label = b.label()
            b.emit("brcond", args[0], args[1], args[2], label)
            for inner in tree[4]:
                self.write(inner)
            self.exit(tree[5])
            b.emit("set_label", label)
        else:
            b.emit(name, *args)

    def exit(self, how: str) -> None:
        if how == "goto_tb":
            slot = min(self.jumps, 1)
            self.jumps += 1
            self.b.emit("goto_tb", slot)
            self.b.emit("mov", PC, 0x4000 + slot)
            self.b.emit("exit_tb", slot)
        elif how == "exit":
            self.b.emit("exit_tb", None)
        elif how == "goto_ptr":
            self.b.emit("goto_ptr")
        elif how == "never":
            self.b.call(NEVER, 7)


def build(tree: Tree, temps: int = TEMPS, count: bool = True) -> Builder:
    """The block of a tree. ``count``: it charges a budget."""
    writer = _Writer(temps, count)
    for inner in tree[0]:
        writer.write(inner)
    writer.exit("exit" if tree[1] == "fall" else tree[1])
    return writer.b


# Running.


def runtime(stage: Stage, hot: Sequence[Temp] = HOT, count: bool = True, **changed: Any) -> Runtime:
    """What a backend needs, from ``stage``."""
    rt = Runtime(
        env=stage.env, neg=OFFSET_NEG, pc=OFFSET_PC, ram=stage.ram, ram_base=RAM_BASE,
        ring=bytearray(64), cpu=stage, load=stage.load, store=stage.store,
        lookup=stage.lookup, clock=lambda: 0,
        flags=CPURISCVState.tb_flags.offset, hot=hot, count=count, capacity=1 << 16,
    )  # fmt: skip
    return replace(rt, **changed)


def _next() -> list[Op]:
    """A block that a jump may lead to."""
    b = Builder()
    b.emit("exit_check", 0, True, None)
    b.emit("insn_start", 0x5000, 0, 0)
    b.call(TOUCH, X[10], out=X[11])
    b.emit("exit_tb", None)
    return optimize(b)


def _on(
    backend: Backend, ops: Sequence[Op], stage: Stage, in_tlb: int, chained: bool
) -> tuple[int, int] | None:
    stage.fill_tlb(in_tlb)
    code = backend.compile(ops, 7)
    if chained:
        target = backend.compile(_next(), 8)
        for slot in {op.args[0] for op in ops if op.name == "goto_tb"}:
            backend.set_jump(code, slot, target)

    def insn_of(ra: int) -> int:
        offset = ra - backend.getpc_adj - code.start
        return bisect_right(code.insn_ends, offset) if 0 <= offset < code.size else -1

    stage.insn_of = insn_of
    try:
        return backend.enter(code)
    except InterruptedError:
        return None
    finally:
        stage.story.append(("ram", bytes(stage.ram)))


def on_python(
    ops: Sequence[Op], stage: Stage, in_tlb: int = 0, chained: bool = False
) -> tuple[int, int] | None:
    """Run by the python backend: (block, exit) or None when it raised. ``in_tlb``: what of RAM is
    served inline. ``chained``: jump slots lead to another block."""
    return _on(PythonBackend(runtime(stage)), ops, stage, in_tlb, chained)


def on_x86(
    ops: Sequence[Op],
    stage: Stage,
    in_tlb: int = 0,
    chained: bool = False,
    hot: Sequence[Temp] = HOT,
    count: bool = True,
) -> tuple[int, int] | None:
    """The same by the x86_64 backend, with ``hot`` in fixed registers."""
    return _on(X86Backend(runtime(stage, hot, count)), ops, stage, in_tlb, chained)


def final(stage: Stage) -> tuple[Any, ...]:
    """The state at the end."""
    env = stage.env
    state = (tuple(env.x), env.pc, env.load_res, env.bins)
    return (*state, env.neg.icount_decr.low, env.neg.icount_decr.high)


assert CPUNeg.icount_decr.offset == 0
assert all(t.kind == GLOBAL for t in GLOBALS)

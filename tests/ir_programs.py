"""Random IR, an interpreter for it, and a stage on which the python backend runs it.

Whatever runs a block leaves a *story*: the guest's registers, as memory has them, at each op that
may raise and at the exit, and what that op was asked to do. Equal stories are equal runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
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
from tcglite.tcg.backend import TB_EXIT_REQUESTED, Runtime
from tcglite.tcg.env import KICK, PAGE_SIZE, TLB_EMPTY, CPUNeg
from tcglite.tcg.ir import CONST, GLOBAL, Builder, Helper, Op, Temp
from tcglite.tcg.ops import FOLD_COND, M
from tcglite.tcg.python_backend import PythonBackend

GLOBALS = [X[10], X[11], LOAD_RES, PC]  #: few, so that ops meet
FIELDS = ("x", "pc", "load_res", "bins", "excp_uw2")
RAM_BASE, RAM_SIZE = 0x8000_0000, 2 * PAGE_SIZE
CORNERS = (
    0, 1, 2, 31, 32, 63, 64, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF, 1 << 63, (1 << 63) + 1, M - 1, M, 0x0123_4567_89AB_CDEF,
)  # fmt: skip
ADDRESSES = (RAM_BASE, RAM_BASE + 8, RAM_BASE + 0x123, RAM_BASE + PAGE_SIZE, 0x1000, M - 7)
TEMPS = 2

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
        for temp, value in zip(GLOBALS, registers, strict=True):
            self.set(temp, value)
        self.env.neg.icount_decr.low = budget
        self.env.neg.icount_decr.high = KICK if kick else 0
        self.story: Story = []
        self.leave_at = leave_at

    def get(self, temp: Temp) -> int:
        return int.from_bytes(bytes(self.env)[temp.value : temp.value + 8], "little")

    def set(self, temp: Temp, value: int) -> None:
        memoryview(self.env).cast("B").cast("Q")[temp.value // 8] = value

    def event(self, *what: Any) -> None:
        env = self.env
        self.story.append((*what, tuple(env.x), env.pc, env.load_res, env.bins, env.excp_uw2))
        if len(self.story) - 1 == self.leave_at:
            raise InterruptedError

    # What generated code calls.

    def load(self, addr: int, memop: int, ra: int) -> int:
        self.event("load", addr, memop)
        return extend(mix(addr, memop), memop)

    def store(self, addr: int, value: int, memop: int, ra: int) -> None:
        self.event("store", addr, value & (1 << (8 << (memop & 3))) - 1, memop)

    def lookup(self) -> None:
        self.event("lookup")


def _touch(stage: Stage, ra: int, value: int) -> int:
    """A helper that reads and writes guest registers."""
    stage.event("touch", value)
    stage.env.x[10] = mix(value, stage.env.x[11])
    return mix(value)


def _pure(stage: Stage, ra: int, a: int, b: int) -> int:
    return mix(a, b)


def _never(stage: Stage, ra: int, value: int) -> None:
    stage.event("never", value)
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
#: n a number. Those that come more often stand more often.
_SHAPES = [
    *[(name, "vo") for name in (*UNARY, "mov", "mov", "mov")],
    *[(name, "voo") for name in (*PLAIN, *SHIFTS, *DIVISIONS, "pure", "add", "sub")],
    *[("setcond", "vooc"), ("movcond", "vooooc"), ("movcond", "vooooc")],
    *[("qemu_ld", "vam"), ("qemu_ld", "vam"), ("qemu_st", "oam"), ("touch", "vo")],
    *[("st", "o"), ("ld", "v"), ("insn_start", ""), ("insn_start", ""), ("check", "n")],
]
_VARIABLES = [("g", n) for n in range(len(GLOBALS))] + [("t", n) for n in range(TEMPS)]


def random_tree(rng: random.Random, size: int = 12, depth: int = 0) -> Tree:
    """(statements, exit): about ``size`` statements, some of them in conditional regions."""

    def constant() -> tuple[str, int]:
        return "c", rng.choice((0, 0, 1, M, rng.choice(CORNERS)))

    def argument(kind: str) -> Any:
        if kind == "v":
            return rng.choice(_VARIABLES)
        if kind == "o":
            return rng.choice(_VARIABLES) if rng.random() < 0.7 else constant()
        if kind == "a":
            return rng.choice(_VARIABLES) if rng.random() < 0.5 else ("c", rng.choice(ADDRESSES))
        if kind == "c":
            return rng.choice(sorted(FOLD_COND))
        return rng.choice(_MEMOPS) if kind == "m" else rng.randrange(3)

    statements: list[Tree] = []
    for _ in range(rng.randrange(size + 1)):
        if depth < 3 and rng.random() < 0.15:
            inner = random_tree(rng, size // 2, depth + 1)
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

    def __init__(self) -> None:
        self.b = Builder()
        self.b.emit("exit_check", 3, True, None)
        self.temps = [self.b.temp() for _ in range(TEMPS)]
        self.insns = 0
        self.insn_start()
        for temp, source in zip(self.temps, GLOBALS, strict=False):
            self.b.emit("mov", temp, source)

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
            b.emit(name, args[0], args[1], b.new("or", args[2], 1))
        elif name in ("qemu_ld", "qemu_st"):
            b.emit(name, *args, 3)
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
            b.emit("exit_check", args[0], True, 0x1000 + 4 * self.insns)
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
            self.b.emit("goto_tb", 0)
            self.b.emit("mov", PC, 0x4000)
            self.b.emit("exit_tb", 0)
        elif how == "exit":
            self.b.emit("exit_tb", None)
        elif how == "goto_ptr":
            self.b.emit("goto_ptr")
        elif how == "never":
            self.b.call(NEVER, 7)


def build(tree: Tree) -> Builder:
    """The block of a tree."""
    writer = _Writer()
    for inner in tree[0]:
        writer.write(inner)
    writer.exit("exit" if tree[1] == "fall" else tree[1])
    return writer.b


# Running.


def on_python(ops: Sequence[Op], stage: Stage, in_tlb: bool = False) -> tuple[int, int] | None:
    """Run by the python backend: (block, exit) or None when it raised. ``in_tlb``: the first page
    of RAM is served inline."""
    ram = bytearray(bytes(range(256)) * (RAM_SIZE // 256))
    tlb = stage.env.neg.tlb
    for n in range(len(tlb)):
        tlb[n] = TLB_EMPTY
    if in_tlb:
        first = (RAM_BASE // PAGE_SIZE % 4096) * 4
        tlb[first] = tlb[first + 1] = RAM_BASE
    backend = PythonBackend(
        Runtime(
            env=stage.env, neg=OFFSET_NEG, pc=OFFSET_PC, ram=ram, ram_base=RAM_BASE,
            ring=bytearray(64), cpu=stage, load=stage.load, store=stage.store,
            lookup=stage.lookup, clock=lambda: 0,
            flags=CPURISCVState.tb_flags.offset, hot=HOT, count=True,
        )
    )  # fmt: skip
    try:
        return backend.enter(backend.compile(ops, 7))
    except InterruptedError:
        return None
    finally:
        stage.story.append(("ram", bytes(ram)))


class Interpreter:
    """Runs ops one by one. ``forget``: values that are dead, as ``op.dead`` says, are put away: a
    guest register's into memory, from where labels and calls bring it back, a temp's for good."""

    def __init__(self, stage: Stage, forget: bool) -> None:
        self.stage = stage
        self.forget = forget
        self.values: dict[Temp, int] = {}
        self.reload()

    def reload(self) -> None:
        self.values |= {temp: self.stage.get(temp) for temp in GLOBALS}

    def read(self, temp: Temp) -> int:
        return temp.value if temp.kind == CONST else self.values[temp]

    def sync(self) -> None:
        for temp in GLOBALS:
            if temp in self.values:
                self.stage.set(temp, self.values[temp])

    def put_away(self, temp: Temp) -> None:
        value = self.values.pop(temp, None)
        if value is not None and temp.kind == GLOBAL:
            self.stage.set(temp, value)

    def run(self, ops: Sequence[Op]) -> tuple[int, int] | None:
        labels = {op.args[0]: n for n, op in enumerate(ops) if op.name == "set_label"}
        at = 0
        while True:
            op = ops[at]
            at += 1
            values = [self.read(t) for t in op.args[op.outs : op.outs + op.ins]]
            rest = op.args[op.outs + op.ins :]
            result = None
            dead = op.dead if self.forget else ()
            for i in dead:
                if i >= op.outs:
                    self.put_away(op.args[i])
            if op.name == "brcond":
                self.sync()
                if FOLD_COND[rest[0]](*values):
                    at = labels[rest[1]]
            elif op.name == "set_label":
                self.sync()
                self.reload()
            else:
                result = self.step(op, values, rest)
            if isinstance(result, tuple):
                return result
            if op.outs:
                assert isinstance(result, int)
                self.values[op.args[0]] = result
                if 0 in dead:
                    self.put_away(op.args[0])

    def step(self, op: Op, values: list[int], rest: list[Any]) -> int | tuple[int, int] | None:
        """One op: its result, or how it left the block."""
        stage, name, env = self.stage, op.name, self.stage.env
        if op.opdef.fold is not None:
            return op.opdef.fold(*values)
        if name == "setcond":
            return int(FOLD_COND[rest[0]](*values))
        if name == "movcond":
            return values[2] if FOLD_COND[rest[0]](*values[:2]) else values[3]
        if name == "insn_start":
            return None
        if name == "ld":
            return int(env.bins)
        if name == "st":
            env.bins = values[0]
            return None
        if name == "call" and rest[0].pure_state:
            return rest[0].fn(stage, 0, *values)
        self.sync()
        if name == "qemu_ld":
            return stage.load(values[0], rest[0], 0)
        if name == "qemu_st":
            stage.store(values[1], values[0], rest[0], 0)
            return None
        if name == "call":
            result = rest[0].fn(stage, 0, *values)
            self.reload()
            return result
        if name == "exit_check":
            charge, _, pc = rest
            left = env.neg.icount_decr.low - charge
            if env.neg.icount_decr.high or left < 0:
                if pc is None:
                    return 7, TB_EXIT_REQUESTED
                env.pc = pc
                return 0, 0
            env.neg.icount_decr.low = left
            return None
        if name == "goto_ptr":
            stage.lookup()
            return 0, 0
        if name == "exit_tb":
            return (7, rest[0]) if rest[0] is not None else (0, 0)
        assert name == "goto_tb", name
        return None


def interpret(ops: Sequence[Op], stage: Stage, forget: bool = False) -> tuple[int, int] | None:
    """Run by the interpreter: (block, exit) or None when it raised."""
    try:
        return Interpreter(stage, forget).run(ops)
    except InterruptedError:
        return None


def final(stage: Stage) -> tuple[Any, ...]:
    """The state at the end."""
    env = stage.env
    state = (tuple(env.x), env.pc, env.load_res, env.bins)
    return (*state, env.neg.icount_decr.low, env.neg.icount_decr.high)


assert CPUNeg.icount_decr.offset == 0
assert all(t.kind == GLOBAL for t in GLOBALS)

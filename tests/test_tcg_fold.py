"""What the optimiser works out at translation time is what the host code works out at run time:
every op, every condition, all pairs of corner values, every mixture of known and unknown."""

from __future__ import annotations

import random
from itertools import product

import pytest
from ir_programs import CORNERS, GLOBALS, M, Stage, on_python

from tcglite.target.cpu import LOAD_RES, PC, X
from tcglite.tcg import optimize as optimizer
from tcglite.tcg.ir import CONST, Builder
from tcglite.tcg.ops import FOLD_COND, INVERTED, OPS
from tcglite.tcg.optimize import optimize

A, B, OUT = X[10], X[11], LOAD_RES
assert GLOBALS == [A, B, OUT, PC]
VALUES = (*CORNERS, 0x8000_0000_0000_0002, 3, 0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_7FFF_FFFF)
PURE = sorted(name for name, row in OPS.items() if row.fold is not None)
DIVISIONS = ("div", "divu", "rem", "remu")


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def truncated(a: int, b: int) -> int:
    """a / b towards zero."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


#: What each op means, in plain arithmetic: a second opinion on ``tcg/ops.py``.
MEANING = {
    "mov": lambda a, b: a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "mulsh": lambda a, b: signed(a) * signed(b) >> 64,
    "muluh": lambda a, b: a * b >> 64,
    "div": lambda a, b: truncated(signed(a), signed(b)),
    "divu": lambda a, b: a // b,
    "rem": lambda a, b: signed(a) - truncated(signed(a), signed(b)) * signed(b),
    "remu": lambda a, b: a % b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b,
    "shr": lambda a, b: a >> b,
    "sar": lambda a, b: signed(a) >> b,
    "ext32s": lambda a, b: (a & 0xFFFF_FFFF) - ((a & 0x8000_0000) << 1),
    "ext32u": lambda a, b: a & 0xFFFF_FFFF,
}
COMPARE = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: signed(a) < signed(b),
    "ge": lambda a, b: signed(a) >= signed(b),
    "ltu": lambda a, b: a < b,
    "geu": lambda a, b: a >= b,
}


def operands(name: str) -> list[tuple[int, int]]:
    """The pairs that the op is defined for."""
    if OPS[name].ins == 1:
        return [(a, 0) for a in VALUES]
    if name in ("shl", "shr", "sar"):
        return list(product(VALUES, (0, 1, 31, 32, 63)))
    return [(a, b) for a, b in product(VALUES, VALUES) if b or name not in DIVISIONS]


def run(builder: Builder, a: int, b: int) -> int:
    """OUT, after the optimised block ran with these registers."""
    stage = Stage([a, b, 0, 0], False, 10)
    assert on_python(optimize(builder), stage) == (0, 0)
    return stage.get(OUT)


def folded(builder: Builder) -> int | None:
    """The constant that OUT is set to, if the optimiser knows it."""
    move = next(op for op in optimize(builder) if op.outs and op.args[0] is OUT)
    return move.args[1].value if move.name == "mov" and move.args[1].kind == CONST else None


def block(emit) -> Builder:
    b = Builder()
    emit(b)
    b.emit("exit_tb", None)
    return b


def test_every_pure_op_has_a_meaning_here():
    assert set(MEANING) == set(PURE)
    assert set(COMPARE) == set(FOLD_COND)


@pytest.mark.parametrize("name", PURE)
def test_folding(name):
    """With constants for both operands."""
    for a, b in operands(name):
        args = (a, b)[: OPS[name].ins]
        found = folded(block(lambda builder, args=args: builder.emit(name, OUT, *args)))
        assert found == MEANING[name](a, b) & M, f"{name} {a:#x}, {b:#x}"


def table(name: str, pairs, emit) -> None:
    """One block with many results, each stored: the host code's answers against MEANING."""
    for start in range(0, len(pairs), 60):
        some = pairs[start : start + 60]
        stage = Stage([0, 0, 0, 0], False, 10)
        builder = Builder()
        for a, b in some:
            emit(builder, a, b)
            builder.emit("qemu_st", OUT, A, 3, 3)
        builder.emit("exit_tb", None)
        on_python(optimize(builder), stage)
        answers = [event[2] for event in stage.story if event[0] == "store"]
        want = [MEANING[name](a, b) & M for a, b in some]
        assert answers == want, [
            f"{name} {a:#x}, {b:#x}: {x:#x}, expected {y:#x}"
            for (a, b), x, y in zip(some, answers, want, strict=True)
            if x != y
        ]


def unknown(builder: Builder, register, value: int):
    """A register that holds ``value``, which the optimiser cannot know."""
    builder.emit("st", value, register.value)
    return builder.new("ld", register.value)


@pytest.mark.parametrize("name", PURE)
@pytest.mark.parametrize("known", ["", "a", "b"])
def test_host_code(name, known):
    """With operands that are known only at run time, and with one constant: the identities."""
    if known == "b" and OPS[name].ins == 1:
        return

    def emit(builder, a, b):
        x = a if known == "a" else unknown(builder, X[12], a)
        y = b if known == "b" else unknown(builder, X[13], b)
        builder.emit(name, OUT, *(x, y)[: OPS[name].ins])

    pairs = operands(name)
    random.Random(name).shuffle(pairs)
    table(name, pairs[:240], emit)


@pytest.mark.parametrize("name", [n for n in PURE if OPS[n].ins == 2])
def test_an_operand_twice(name):
    """x op x, which some identities know."""

    def emit(builder, a, b):
        x = unknown(builder, X[12], a)
        builder.emit(name, OUT, x, x)

    values = (1, 2, 31, 63) if name in ("shl", "shr", "sar") else VALUES
    table(name, [(v, v) for v in values if v or name not in DIVISIONS], emit)


@pytest.mark.parametrize("cond", sorted(FOLD_COND))
def test_conditions(cond):
    """setcond, movcond and brcond: folded, and by the host code, with one operand known or none."""
    pairs = list(product(VALUES, VALUES))
    random.Random(cond).shuffle(pairs)
    for a, b in pairs[:150]:
        want = COMPARE[cond](a, b)
        assert FOLD_COND[cond](a, b) == want
        assert FOLD_COND[INVERTED[cond]](a, b) != want
        assert folded(block(lambda x, a=a, b=b: x.emit("setcond", OUT, a, b, cond))) == want
        moved = folded(block(lambda x, a=a, b=b: x.emit("movcond", OUT, a, b, 5, 6, cond)))
        assert moved == (5 if want else 6)
    for a, b in pairs[150:200]:
        want = COMPARE[cond](a, b)
        for x, y in ((A, B), (a, B), (A, b)):
            built = block(lambda w, x=x, y=y: w.emit("setcond", OUT, x, y, cond))
            assert run(built, a, b) == want
            built = block(lambda w, x=x, y=y: w.emit("movcond", OUT, x, y, x, y, cond))
            assert run(built, a, b) == (a if want else b)

            def branch(w, x=x, y=y):
                label = w.label()
                w.emit("mov", OUT, 1)
                w.emit("brcond", x, y, cond, label)
                w.emit("mov", OUT, 0)
                w.emit("set_label", label)

            assert run(block(branch), a, b) == want


def test_division_by_zero_is_not_folded():
    """Undefined in TCG; whoever emits it must not let it run."""
    for name in DIVISIONS:
        assert folded(block(lambda b, name=name: b.emit(name, OUT, 7, 0))) is None


@pytest.mark.parametrize(
    ("name", "a", "b", "wrong"),
    [("mul", 5, 0, 5), ("sar", 1 << 63, 1, 1 << 62), ("sub", 9, 0, 0)],
)
def test_a_wrong_fold_is_noticed(monkeypatch, name, a, b, wrong):
    right = optimizer._result

    def broken(op, builder):
        if op.name == name and [t.value for t in op.args[1:]] == [a, b]:
            return builder.const(wrong)
        return right(op, builder)

    monkeypatch.setattr(optimizer, "_result", broken)
    monkeypatch.setattr("test_tcg_fold.VALUES", (*VALUES, a))
    with pytest.raises(AssertionError):
        test_folding(name)

"""The optimiser changes nothing that anybody can see: random blocks, with and without it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from ir_interpreter import interpret
from ir_programs import (
    NEVER,
    TOUCH,
    Stage,
    build,
    final,
    on_python,
    random_registers,
    random_tree,
    smaller,
)

from tcglite.target.cpu import OFFSET_BINS, PC, X
from tcglite.tcg import optimize as optimizer
from tcglite.tcg.ir import Builder
from tcglite.tcg.ops import CONDS, M
from tcglite.tcg.optimize import optimize
from tcglite.tcg.printer import format_ops


def outcome(runner, ops, registers, kick=False, budget=100, **options):
    """How it left, the story, the state at the end."""
    stage = Stage(registers, kick, budget)
    try:
        left = runner(ops, stage, **options)
    except (KeyError, UnboundLocalError) as error:
        left = repr(error)
    return left, stage.story, final(stage)


def same_story(tree, registers, kick, budget) -> bool:
    """At each op that may raise, all guest registers in memory are those of the unoptimised run."""
    builder = build(tree)
    plain, optimised = builder.ops, optimizer.optimize(builder)
    want = outcome(on_python, plain, registers, kick, budget)
    if outcome(on_python, optimised, registers, kick, budget) != want:
        return False
    inline = outcome(on_python, plain, registers, kick, budget, in_tlb=3)
    return outcome(on_python, optimised, registers, kick, budget, in_tlb=3) == inline


def as_interpreted(tree, registers, kick, budget) -> bool:
    """The python backend against an interpreter without locals, TLB and an order of its own."""
    builder = build(tree)
    return all(
        outcome(on_python, builder.ops, registers, kick, budget, in_tlb=tlb)
        == outcome(interpret, builder.ops, registers, kick, budget, in_tlb=tlb)
        for tlb in (0, 3)
    )


def dead_is_dead(tree, registers, kick, budget) -> bool:
    """What liveness calls dead may be put away: temps for good, guest registers into memory."""
    builder = build(tree)
    ops = optimizer.optimize(builder)
    want = outcome(interpret, builder.ops, registers, kick, budget)
    return outcome(interpret, ops, registers, kick, budget, forget=True) == want


def first_failure(check, seed: int, count: int):
    """The first of ``count`` random blocks for which ``check`` does not hold, made small."""
    rng = random.Random(seed)
    for _ in range(count):
        tree, registers = random_tree(rng), random_registers(rng)
        rest = registers, rng.random() < 0.1, rng.choice((0, 3, 4, 100, 100))
        if not check(tree, *rest):
            while True:
                for candidate in smaller(tree):
                    if not check(candidate, *rest):
                        tree = candidate
                        break
                else:
                    return format_ops(build(tree).ops), tree, *rest
    return None


@pytest.mark.parametrize("check", [same_story, as_interpreted, dead_is_dead])
def test_random_blocks(check):
    failure = first_failure(check, 0, 400)
    assert failure is None, f"{check.__doc__}\n{failure[0]}\n{failure[1:]}"


def test_structure_survives():
    """Every insn_start stays, in order; labels that are jumped to are set; regions nest; the
    builder's own ops are left alone."""

    def starts(some):
        return [op.args for op in some if op.name == "insn_start"]

    rng = random.Random(1)
    for _ in range(400):
        builder = build(random_tree(rng))
        before = [(op.name, list(op.args)) for op in builder.ops]
        ops = optimizer.optimize(builder)
        assert [(op.name, op.args) for op in builder.ops] == before
        assert starts(ops) == starts(builder.ops)
        assert len(ops) <= len(builder.ops)
        open_labels = []
        for op in ops:
            if op.name == "brcond":
                open_labels.append(op.args[3])
            elif op.name == "set_label":
                assert open_labels.pop() is op.args[0]
        assert not open_labels


def test_optimising_twice_finds_nothing_new():
    """A fixed point, but for what the first pass made known to the second."""
    rng = random.Random(2)
    for _ in range(200):
        builder = build(random_tree(rng))
        once = optimizer.optimize(builder)
        again = optimizer.liveness(once)
        assert [(op.name, op.args) for op in again] == [(op.name, op.args) for op in once]


# Chosen cases.


def ops_of(emit) -> list[str]:
    b = Builder()
    emit(b)
    b.emit("exit_tb", None)
    return [op.name for op in optimize(b)]


def test_a_write_that_nobody_can_see_goes():
    def emit(b):
        b.emit("mov", X[10], 1)
        b.emit("mov", X[10], 2)

    assert ops_of(emit) == ["mov", "exit_tb"]


@pytest.mark.parametrize(
    "between",
    [
        lambda b: b.emit("qemu_ld", X[11], X[12], 3, 3),
        lambda b: b.emit("qemu_st", X[11], X[12], 3, 3),
        lambda b: b.call(TOUCH, 1, out=X[11]),
        lambda b: b.emit("exit_check", 1, True, 0x1000),
        lambda b: b.emit("goto_tb", 0),
    ],
    ids=["load", "store", "call", "check", "goto_tb"],
)
def test_a_write_before_an_op_that_may_leave_stays(between):
    def emit(b):
        b.emit("mov", X[10], 1)
        between(b)
        b.emit("mov", X[10], 2)

    names = ops_of(emit)
    assert names.count("mov") == 2
    assert names[0] == names[2] == "mov"


def test_a_load_whose_result_is_not_used_stays():
    """It may fault, or a device may notice it."""

    def emit(b):
        b.new("qemu_ld", X[12], 3, 3)

    assert ops_of(emit) == ["qemu_ld", "exit_tb"]


def test_a_load_into_a_register_keeps_its_old_value():
    """Until the load has not raised, the register's value before it is what the guest has."""

    def emit(b):
        b.emit("mov", X[10], 5)
        b.emit("qemu_ld", X[10], X[12], 3, 3)

    assert ops_of(emit) == ["mov", "qemu_ld", "exit_tb"]


def test_facts_flow_across_a_load():
    """Values known before it are known after it; only the write itself must have been made."""
    b = Builder()
    b.emit("mov", X[10], 40)
    b.emit("qemu_ld", X[11], X[12], 3, 3)
    b.emit("add", X[13], X[10], 2)
    b.emit("exit_tb", None)
    last = optimize(b)[2]
    assert (last.name, last.args[1].value) == ("mov", 42)


def test_a_register_stands_for_the_temporary_that_it_was_copied_from():
    """As in QEMU (find_better_copy): the temporary can die. Else a block with enough loads into
    registers, as of 25 atomic instructions, would have too many of them alive at once."""
    b = Builder()
    loaded = b.new("qemu_ld", X[12], 3, 3)
    b.emit("mov", X[10], loaded)
    b.emit("qemu_st", X[10], X[12], 3, 3)
    b.emit("add", X[13], loaded, X[10])
    b.emit("exit_tb", None)
    _, move, store, add, _ = optimize(b)
    assert 1 in move.dead
    assert store.args[0] is X[10]
    assert add.args[1:] == [X[10], X[10]]


def test_facts_about_registers_do_not_flow_across_a_helper():
    b = Builder()
    b.emit("mov", X[10], 40)
    b.call(TOUCH, 1, out=X[11])
    b.emit("add", X[13], X[10], 2)
    b.emit("exit_tb", None)
    assert [op.name for op in optimize(b)] == ["mov", "call", "add", "exit_tb"]


def test_nothing_follows_what_does_not_return():
    def emit(b):
        b.call(NEVER, 7)
        b.emit("insn_start", 4, 0, 0)
        b.emit("mov", X[10], 1)

    assert ops_of(emit) == ["call", "insn_start"]


@pytest.mark.parametrize("cond", sorted(CONDS))
@pytest.mark.parametrize("a", [0, 1, M, 1 << 63])
@pytest.mark.parametrize("b", [0, 1, M])
def test_a_branch_on_constants_leaves_one_way(cond, a, b):
    """As in QEMU: ``li; li; loop`` folds the branch away, and one slot is left."""

    def emit(builder):
        label = builder.label()
        builder.emit("brcond", a, b, cond, label)
        builder.emit("goto_tb", 1)
        builder.emit("mov", PC, 4)
        builder.emit("exit_tb", 1)
        builder.emit("set_label", label)
        builder.emit("goto_tb", 0)
        builder.emit("mov", PC, 8)
        builder.emit("exit_tb", 0)

    assert ops_of(emit) == ["goto_tb", "mov", "exit_tb"]


def test_env_words_are_not_mistaken_for_registers():
    """A store to env and a load from it keep their order and their place."""

    def emit(b):
        b.emit("st", X[10], OFFSET_BINS)
        b.emit("mov", X[10], 0)
        b.emit("ld", X[11], OFFSET_BINS)

    assert ops_of(emit) == ["st", "mov", "ld", "exit_tb"]


# Planted bugs: each must be caught by the properties above.


def _broken(monkeypatch, source: str, wrong: str) -> None:
    """Put ``wrong`` in the place of ``source`` in the optimiser's own text."""
    text = Path(optimizer.__file__).read_text(encoding="utf-8")
    assert source in text
    names = dict(vars(optimizer))
    exec(compile(text.replace(source, wrong), "<planted>", "exec"), names)
    for name in ("fold", "liveness"):
        monkeypatch.setattr(optimizer, name, names[name])


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("BB_EXIT | BB_END | COND_EXIT | MAY_RAISE", "BB_EXIT | BB_END | COND_EXIT"),
        ("BB_EXIT | BB_END | COND_EXIT | MAY_RAISE", "BB_EXIT | BB_END | MAY_RAISE"),
        ("known.clear()", "pass"),
        ("known = {t: s for t, s in known.items() if s is not dest}", "pass"),
        ("always, reached = args[3], False", "pass"),
        ("live = live | live_at[args[3]]", "pass"),
        ("if not args[-1].pure_state:\n                known", "if False:\n                known"),
    ],
)
def test_a_planted_bug_is_noticed(monkeypatch, source, wrong):
    _broken(monkeypatch, source, wrong)
    assert any(first_failure(check, 3, 500) for check in (same_story, dead_is_dead))

"""An interpreter for IR: no registers, no order of its own, the TLB only as its stage says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from ir_programs import GLOBALS, Stage

from tcglite.tcg.backend import TB_EXIT_REQUESTED
from tcglite.tcg.ir import CONST, GLOBAL, Op, Temp
from tcglite.tcg.ops import FOLD_COND


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
        insns = list(accumulate((op.name == "insn_start" for op in ops), initial=-1))
        at = 0
        while True:
            op = ops[at]
            at += 1
            self.insn = insns[at]
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
            return stage.load(values[0], rest[0], self.insn)
        if name == "qemu_st":
            stage.store(values[1], values[0], rest[0], self.insn)
            return None
        if name == "call":
            result = rest[0].fn(stage, self.insn, *values)
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


def interpret(
    ops: Sequence[Op], stage: Stage, forget: bool = False, in_tlb: int = 0
) -> tuple[int, int] | None:
    """Run by the interpreter: (block, exit) or None when it raised."""
    stage.in_tlb = in_tlb
    try:
        return Interpreter(stage, forget).run(ops)
    except InterruptedError:
        return None
    finally:
        stage.story.append(("ram", bytes(stage.ram)))

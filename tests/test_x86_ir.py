"""Random IR on the x86_64 backend: equal stories in the interpreter and the python backend.

A story holds the guest's registers, as memory has them, at each op that may raise. The hot set
varies from nothing to every global, so that operands are homes, copies in scratch registers, slots
of the frame and memory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from x86_cases import HOTS, Case, first_failure

from tcglite.tcg.x86_64.buffer import unsupported

pytestmark = pytest.mark.skipif(bool(unsupported()), reason=unsupported())


@pytest.mark.parametrize("first", range(0, 6000, 1500))
def test_random_blocks(first):
    failed = first_failure(range(first, first + 1500))
    assert failed is None, f"seed {failed}\n{Case(failed).reduced()}"


def test_a_value_written_on_one_of_two_ways():
    """A temporary that lives across a region is in one place, whichever way was taken; also when
    it dies, or is written, on the other (found by the blocks above: the slot had been given up)."""
    for body in (
        [("and", ("t", 1), ("g", 2), ("t", 2))],
        [("mov", ("t", 0), ("c", 1)), ("mov", ("t", 1), ("c", 2)), ("touch", ("g", 0), ("t", 0))],
    ):
        for leave in ("exit", "fall", "never"):
            for taken in ("eq", "ne"):
                tree = (
                    [
                        ("touch", ("t", 0), ("g", 1)),
                        ("if", ("g", 0), ("c", 0), taken, body, leave),
                        *[("st", ("t", n)) for n in range(4)],
                    ],
                    "fall",
                )  # fmt: skip
                case = Case(0)
                case.temps, case.tlb, case.kick, case.budget, case.count = 8, 0, False, 100, True
                case.leave_at, case.chained, case.registers = -1, False, [0, 5, 6, 0x77]
                for case.hot in HOTS:
                    assert case.holds(tree)


# Planted bugs. Each runs in a process of its own: host code that is wrong may do anything.

PLANTED = [
    # regs
    ("regs", "if disp is not None and temp not in self.pinned:", "if disp is not None:"),
    ("regs", "self.pinned.get(temp) or self.free.pop()", "self.free.pop()"),
    ("regs", "            self.save(temp, r)\n\n    def save", "            pass\n\n    def save"),
    ("regs", "        self.forget(out)\n        if out.kind", "        if out.kind"),
    (
        "regs",
        "if out.kind == GLOBAL:\n            self.code += rm(STORE",
        "if False:\n            rm(STORE",
    ),
    ("regs", "if home != r:\n                self.code +=", "if home != r:\n                b'' +"),
    # values
    ("values", 'op.opdef.name != "ext32s" or', 'op.opdef.name not in ("ext32s", "ext32u") or'),
    ("values", "or out in self.op.args[1:3]", ""),
    ("values", '            if name == "sub":\n', "            if False:\n"),
    ("values", "or 1 not in op.dead\n            or op.args[0]", "or op.args[0]"),
    ("values", "not (kind == SHL and b.value < 32 and", "not (kind == SHL and"),
    ("values", "not (kind == SHL and b.value < 32 and", "not (b.value < 32 and"),
    ("values", 'self.code += rr(b"\\xd3", kind, r)', 'self.code += rr(b"\\xd3", kind, r, False)'),
    (
        "values",
        "r = self.grab(RCX)\n            self.load(r, a)",
        "r = self.grab()\n            self.load(r, a)",
    ),
    ("values", "CQO if number == IDIV else", "CQO if number else"),
    ("values", "a, b, codes = b, a, CC_SWAPPED", "a, b = b, a"),
    ("values", "yes, no, code = no, yes, code ^ 1", "yes, no = no, yes"),
    (
        "values",
        "        self.code += rr(MOVZX8, r, r, False, True)\n        self.finish(r)",
        "        self.finish(r)",
    ),
    # access
    ("access", "self.lea(RDX, base, disp + size - 1)", "self.lea(RDX, base, disp)"),
    ("access", "PAGE_MASK | size - 1", "PAGE_MASK"),
    ("access", "_READ, _WRITE = 0, 8", "_READ, _WRITE = 0, 0"),
    ("access", "path.fetch = bytes(self.code[start:])", "path.fetch = b''"),
    ("access", "if path.out != RAX:", "if False:"),
    ("access", "1 | MO_SIGN: (MOVSX16, True)", "1 | MO_SIGN: (MOVSX16, False)"),
    (
        "access",
        "path.out = r = self.homes.get(out, RAX)",
        "r = self.homes.get(out, RAX); path.out = RAX",
    ),
    # emit
    (
        "emit",
        "                self.code += alu_ri(SUB, BUDGET, charge, False)",
        "                pass",
    ),
    ("emit", "        self.sync()\n        self.outer", "        self.outer"),
    ("emit", "self.pinned = self.pinned | self.frame", "pass"),
    ("emit", "        self.bury()\n        self.vacate_all()\n", "        self.bury()\n"),
    ("emit", "opcode = CC_G", "opcode = 13"),
    ("emit", "if pc >= 0:", "if False:"),
    (
        "emit",
        "pc = self.ops[at].args[0], self.ops[at + 1].args[1].value",
        "pc = self.ops[at].args[0], self.ops[at + 1].args[1].value + 4",
    ),
    # thunks, layout
    (
        "thunks",
        "for temp, home in layout.homes.items()\n    )",
        "for temp, home in [*layout.homes.items()][1:]\n    )",
    ),
    ("thunks", "map(pop, reversed(_SAVED))", "map(pop, _SAVED)"),
    (
        "access",
        "path.back - len(code) - 4)\n            code += mov_ri",
        "path.back - len(code) + 60)\n            code += mov_ri",
    ),
    ("thunks", "rm(LOAD, r, RSP, 8 * k) for k,", "rm(LOAD, r, RSP, 8 * k + 8) for k,"),
    ("thunks", "code += load_map(layout) + _JMP_RAX", "code += _JMP_RAX"),
    ("thunks", "code.extend(load_map(layout) + RET)", "code.extend(RET)"),
    (
        "thunks",
        "code.extend(alu_ri(ADD, RSP, 8) + unwinding)",
        "code.extend(unwinding + alu_ri(ADD, RSP, 8))",
    ),
    ("layout", "FRAME = 8 * (ARGS + SLOTS) + 8", "FRAME = 8 * (ARGS + SLOTS)"),
    ("layout", "ARGS = 4", "ARGS = 1"),
]


@pytest.mark.parametrize(("module", "source", "wrong"), PLANTED)
def test_a_planted_bug_is_noticed(module, source, wrong):
    child = Path(__file__).with_name("planted.py")
    done = subprocess.run(
        [sys.executable, str(child), f"tcglite.tcg.x86_64.{module}", source, wrong],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "not there" not in done.stderr, done.stderr
    assert done.returncode != 0, done.stdout

"""Random programs: always the same, all kinds of things in them, and every one ends."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tcglite.accel.mechanisms import IRQ_CHECKS, Mechanisms
from tcglite.crosscheck.fuzz.check import start
from tcglite.crosscheck.fuzz.generate import generate
from tcglite.crosscheck.fuzz.kinds import KINDS
from tcglite.crosscheck.fuzz.operands import ABSENT, READ_ONLY, WRITABLE
from tcglite.crosscheck.fuzz.program import MEMORY, Program, ProgramError
from tcglite.target.decode import decode
from tcglite.target.disas import listing
from tcglite.target.insns import ROWS
from tcglite.trace import events as ev

COUNT = 200
CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.S"))


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    return [generate(seed) for seed in range(COUNT)]


def test_the_same_seed_gives_the_same_program(programs):
    assert [generate(seed).to_text() for seed in (0, 7, 111)] == [
        programs[seed].to_text() for seed in (0, 7, 111)
    ]
    assert len({p.source for p in programs}) == COUNT


def test_what_is_written_is_what_is_read(programs):
    for program in programs:
        assert Program.from_text(program.to_text()) == program


def test_every_kind_is_there(programs):
    text = Counter(re.findall(r"^## (\w+)", "\n".join(p.source for p in programs), re.M))
    assert min(text[kind] for kind in KINDS) > COUNT // 10, text
    assert {p.mechanisms.irq_check for p in programs} == set(IRQ_CHECKS) - {"never"}
    assert {p.icount for p in programs} == {None, 0, 1, 2, 3}
    assert {p.mechanisms.restore for p in programs} == {True, "eager"}
    for switch in ("chain", "goto_ptr", "io_last"):
        assert {getattr(p.mechanisms, switch) for p in programs} == {True, False}
    assert len({p.mechanisms.max_block_insns for p in programs}) > 10
    assert sum("over_high" in p.source for p in programs) > COUNT // 10
    for name in {*ABSENT, *READ_ONLY, *WRITABLE}:
        assert any(name in p.source for p in programs), name


def test_every_instruction_is_there(programs):
    """All rows, in both lengths. (fparith is illegal in this hart, and reached now and then.)"""
    seen = set()
    for program in programs:
        guest = program.assemble()
        for section in guest.sections:
            for _, bits, _, _ in listing(section.data, section.address):
                insn = decode(bits)
                if insn is not None:
                    seen.add(insn.row.name)
    missing = {name for name, row in ROWS.items() if row.family != "fparith"} - seen
    assert not missing
    assert sum(ROWS[name].family == "fparith" for name in seen) > 20


def test_every_program_ends_and_much_happens(programs):
    ends: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for program in programs:
        with start(program, program.assemble(), "auto", trace="events") as m:
            result = m.run(max_insns=program.max_insns, timeout=30)
            ends[result.reason.value] += 1
            seen["insns"] += m.insns or 0
            kinds = {type(event) for event in m.events}
            seen.update(kind.__name__ for kind in kinds)
            seen.update(f"cause {e.cause}" for e in m.events if type(e) is ev.ExceptionRaised)
            seen.update(f"interrupt {e.cause}" for e in m.events if type(e) is ev.InterruptTaken)
            seen["user"] += any(type(e) is ev.TrapReturn and e.priv == 0 for e in m.events)
    assert set(ends) == {"exit", "max-insns", "deadlock"}, ends
    assert ends["exit"] > COUNT // 2
    assert seen["insns"] > 500 * COUNT
    common = ("ChainPatched", "ChainUnpatched", "BlockInvalidated", "Refused", "InterruptTaken",
              "InterruptLooked", "StateRestored", "DeviceAccess", "TrapReturn", "user",
              "interrupt 3", "cause 2")  # fmt: skip
    rare = ("Halted", "Woken", "IoRecompile", "DeadlineCut", "interrupt 7", "interrupt 11",
            *(f"cause {n}" for n in (1, 3, 4, 5, 6, 7, 8, 11)))  # fmt: skip
    assert min(seen[what] for what in common) > COUNT // 6, seen
    assert min(seen[what] for what in rare) > COUNT // 100, seen


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: expected # tcglite fuzz program NAME"),
        ("nop\n", "line 1: expected"),
        ("# tcglite fuzz program \n", "line 1: expected"),
        ("# tcglite fuzz program x\n# irq: msip\n", "line 2: 'msip'; expected LINE@INSN"),
        ("# tcglite fuzz program x\n# irq: msip@soon\n", "line 2: 'soon' is not a number"),
        ("# tcglite fuzz program x\n# at: Tea:1:msip\n", "line 2: 'Tea:1:msip'; expected EVENT"),
        ("# tcglite fuzz program x\n# at: FlagCleared:1\n", "line 2: 'FlagCleared:1'; expected"),
        ("# tcglite fuzz program x\n# mechanisms: speed=9\n", "line 2: 'speed=9'; expected some"),
        ("# tcglite fuzz program x\n# mechanisms: chain=1\n", "line 2: chain='1'; expected True"),
        ("# tcglite fuzz program x\n# mechanisms: irq_check=x\n", "line 2: irq_check='x' is unk"),
        ("# tcglite fuzz program x\n# icount: 1 2\n", "line 2: icount is one number"),
        ("# tcglite fuzz program x\n# icount: 1\n# icount: 2\n", "line 3: icount for the second"),
        ("# tcglite fuzz program x\n# colour: red\n", "line 2: colour is no setting"),
    ],
)
def test_malformed_files_are_refused_with_the_line(text, complaint):
    with pytest.raises(ProgramError, match=re.escape(complaint)) as caught:
        Program.from_text(text, "a.S")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("a.S: ")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ProgramError, match="No such file"):
        Program.load(tmp_path / "none.S")
    (tmp_path / "raw.S").write_bytes(b"\xff\xfe")
    with pytest.raises(ProgramError, match="UTF-8"):
        Program.load(tmp_path / "raw.S")


def test_only_what_differs_from_the_default_is_written():
    assert Program("x", "nop").to_text() == "# tcglite fuzz program x\nnop\n"
    program = Program("x", "nop", ((3, "msip"),), (("FlagCleared", 1, "mtip"),),
                      Mechanisms(chain=False, restore="eager", quantum=7), 2, 50)  # fmt: skip
    assert program.settings() == [
        "# irq: msip@3", "# at: FlagCleared:1:mtip",
        "# mechanisms: chain=False quantum=7 restore=eager", "# icount: 2", "# max-insns: 50",
    ]  # fmt: skip
    assert Program.from_text(program.to_text()) == program


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus_is_well_formed(path):
    """Title and file name agree, and each ends by itself."""
    program = Program.load(path)
    assert program.name == path.stem
    with start(program, program.assemble(), "auto") as m:
        assert m.memory.ram_size == MEMORY
        ended = m.run(max_insns=program.max_insns, timeout=30).reason.value
        assert ended in ("exit", "unhandled-trap")


def test_the_corpus_is_there():
    assert len(CORPUS) >= 8

"""Guests beside Unicorn: they agree at every grain, and a difference is found and named."""

from __future__ import annotations

import sys
from typing import Any

import backends
import pytest

from tcglite import Machine, Mechanisms, guests, lab
from tcglite.crosscheck import follow
from tcglite.crosscheck.command import DELIVER, crosscheck
from tcglite.crosscheck.follow import Follower, check_guest
from tcglite.crosscheck.report import Report
from tcglite.errors import TcgliteError, UsageError
from tcglite.target.asm import assemble

pytest.importorskip("unicorn")

from tcglite.crosscheck import unicorn as unicorn_room

pytestmark = pytest.mark.usefixtures("backend")

SMALL = [name for name in guests.names() if (guests.info(name).instructions or 0) < 10_000]
LONG = [name for name in guests.names() if name not in SMALL]
HARNESS = """
        .option norvc
_start: la      t0, handler
        csrw    mtvec, t0
        li      t1, 0x2004000           # the timer is not due for long
        li      t2, -1
        sd      t2, 0(t1)
{code}
        li      t0, 0x100000            # the end
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .
        .balign 4
handler:
        csrr    t5, mepc
        lhu     t4, 0(t5)
        andi    t4, t4, 3
        addi    t4, t4, -3
        snez    t4, t4
        slli    t4, t4, 1
        addi    t5, t5, 4
        sub     t5, t5, t4
        csrw    mepc, t5
        mret
"""


def check(guest: Any, **options: Any) -> list[Report]:
    """The reports; by default of this test's backend."""
    return check_guest(guest, backend=backends.chosen, **options)


def program(code: str) -> Any:
    return assemble(HARNESS.format(code=code))


def agree(reports: list[Report]) -> Report:
    """All of them are fine; the last one."""
    for report in reports:
        assert report.divergence is None, report.text()
    assert reports[-1].ok
    return reports[-1]


# They agree.


@pytest.mark.parametrize("grain", follow.GRAINS)
@pytest.mark.parametrize("name", guests.names())
def test_bundled_guests(name: str, grain: str) -> None:
    limit = 20_000 if name in LONG or name == "loop" else None
    if grain != "piece" and guests.info(name).instructions is None:
        limit = 20_000
    report = agree(check(name, grain=grain, max_insns=limit))
    assert report.insns > 50
    if grain != "piece":
        assert report.counts["edges"] > 10 or report.counts["pieces"] == report.insns


@pytest.mark.parametrize("where", DELIVER)
@pytest.mark.parametrize("name", ["masked", "nested", "doorbell", "echo", "selfmod", "fault"])
def test_wherever_the_engine_looks_for_interrupts(name: str, where: str) -> None:
    report = agree(check(name, mechanisms=Mechanisms(irq_check=where)))
    assert where == "tb-start" or f"irq_check={where}" in report.title
    if name in ("masked", "nested", "doorbell", "echo"):
        assert report.counts["interrupts"] > 1


@pytest.mark.parametrize("name", ["timer", "clockread", "wfi", "roundrobin", "echo", "selfmod"])
def test_under_icount(name: str) -> None:
    rules, _ = reports = check(name, icount=10 if name in ("timer", "roundrobin") else 0)
    agree(reports)
    assert rules.counts["clock reads"] or name in ("echo", "selfmod")


@pytest.mark.parametrize("code", [
    "lw a0, 0(zero)", "sd a0, -8(zero)", "jr zero", "ecall", "ebreak", ".option rvc\nc.ebreak",
    ".word 0xb", ".half 0", "csrw cycle, a0", "csrr a0, 0x123", "li a0, 0x80000001\nlr.w a1, (a0)",
    "li a0, 0x80000001\namoadd.d a1, a1, (a0)", "li a0, 0x80000004\nsc.d a1, a1, (a0)",
    "li a0, 0x80ffffff\nld a1, 0(a0)", "mret", "sret", "sfence.vma", "fadd.s fa0, fa0, fa0",
    "li t0, 1 << 13\ncsrs mstatus, t0\nfadd.s fa0, fa0, fa0", "csrr a0, misa", "csrr a0, mip",
    "csrr a0, time", "csrr a0, minstret\ncsrw minstret, a0\ncsrr a1, minstret",
    "li a0, -1\ncsrw mstatus, a0\ncsrr a1, mstatus", "li a0, -1\ncsrw mepc, a0\ncsrr a1, mepc",
    "li a0, -1\ncsrw mie, a0\ncsrr a1, mie\ncsrw mie, zero", "csrw pmpaddr0, a0\ncsrr a1, pmpcfg0",
    "li a0, 0x80001000\nlr.w a1, (a0)\nsc.w a2, a1, (a0)",
    "li a0, 0x80001000\nlr.w a1, (a0)\necall\nsc.w a2, a1, (a0)",
    "li t0, 3 << 13\ncsrs mstatus, t0\nli a0, 0x80001000\nflw fa0, 0(a0)\nfmv.x.w a1, fa0",
    "la t0, 1f\ncsrw mepc, t0\ncsrw mstatus, zero\nmret\n1: csrr a0, mscratch\necall",
    "li a0, 0x2000000\nlw a1, 0(a0)\nld a2, 0(a0)\nlbu a3, 1(a0)",
])  # fmt: skip
def test_one_thing_at_a_time(code: str) -> None:
    for grain in ("piece", "insn"):
        agree(check(program(code), memory="64K", grain=grain, max_insns=400))


def test_interrupts_at_chosen_places_and_inside_the_loop() -> None:
    guest = program("li t0, 8\ncsrw mie, t0\ncsrsi mstatus, 8\nli a0, 50\n1: addi a0, a0, -1\n"
                    "bnez a0, 1b")  # fmt: skip
    for options in ({"irq": [(60, "msip")]}, {"at": [("LoopExit", 5, "msip")]}):
        report = agree(check(guest, memory="64K", max_insns=400, **options))
        assert report.counts["interrupts"] >= 1


def test_a_part_of_a_run() -> None:
    report = agree(check("crc", start=100_000, max_insns=1000))
    assert report.insns == 1000
    with pytest.raises(UsageError, match="start=1000000: hello ends before that"):
        check("hello", start=10**6)


# They differ, and it shows.


def changed(monkeypatch: pytest.MonkeyPatch, at: int, change: Any) -> None:
    """Have ``change(env)`` spoil tcglite's registers at the first piece after instruction
    ``at``, as a bug would."""
    follower_piece = Follower._piece
    done = []

    def piece(self: Follower, insns: int, trap: Any) -> None:
        if insns >= at and not done:
            done.append(insns)
            change(self.cpu.env, self.cpu.memory)
        follower_piece(self, insns, trap)

    monkeypatch.setattr(Follower, "_piece", piece)


def _set(name: str, index: int | None = None) -> Any:
    def change(env: Any, memory: Any) -> None:
        if index is None:
            setattr(env, name, getattr(env, name) ^ 8)
        else:
            getattr(env, name)[index] ^= 1 << 40

    return change


@pytest.mark.parametrize(("what", "change"), [
    ("a7", _set("x", 17)), ("pc", _set("pc")), ("mscratch", _set("mscratch")),
    ("mstatus", _set("mstatus")), ("mie", _set("mie")), ("mtval", _set("mtval")),
])  # fmt: skip
def test_a_wrong_register_is_found_and_named(monkeypatch, what, change) -> None:
    changed(monkeypatch, 100, change)
    report = check("masked")[-1]
    assert not report.ok
    assert report.divergence.what == what
    assert 100 <= report.divergence.until < 200
    assert report.line().startswith("✗ masked")
    assert report.as_json()["divergence"]["what"] == what


def test_wrong_memory_is_found_and_named(monkeypatch) -> None:
    def change(env: Any, memory: Any) -> None:
        memory.ram[0x3210] ^= 1

    changed(monkeypatch, 100, change)
    assert check("masked", memory="64K")[-1].divergence.what == "memory at 0x80003210"


def test_a_wrong_privilege_and_a_wrong_float_are_found(monkeypatch) -> None:
    with monkeypatch.context() as patch:
        changed(patch, 200, lambda env, memory: setattr(env, "priv", 0))
        assert check("masked")[-1].divergence.what == "privilege"
    changed(monkeypatch, 200, lambda env, memory: env.f.__setitem__(8, 7))
    assert check("masked")[-1].divergence.what == "fs0"


def test_a_wrong_boundary_is_found(monkeypatch) -> None:
    real = unicorn_room.UnicornOracle.translated

    def translated(self, tb, piece):
        tb.icount += 1
        try:
            real(self, tb, piece)
        finally:
            tb.icount -= 1

    monkeypatch.setattr(unicorn_room.UnicornOracle, "translated", translated)
    divergence = check("hello")[-1].divergence
    assert divergence.what == "the block at 0x80000000"


def test_a_wrong_device_value_is_found(monkeypatch) -> None:
    real = unicorn_room.UnicornOracle.follow

    def follow_(self, piece):
        piece.accesses = [
            type(a)(a.insns, a.addr, a.size, a.value ^ 1, a.write) for a in piece.accesses
        ]
        real(self, piece)

    monkeypatch.setattr(unicorn_room.UnicornOracle, "follow", follow_)
    assert check("hello")[-1].divergence.what == "device access"


def test_a_guest_that_does_not_end_as_it_should(monkeypatch) -> None:
    real = Machine.run

    def run(m: Machine, *rest: Any, **options: Any) -> Any:
        result = real(m, *rest, **options)
        m.board.console._output[:1] = b"J"
        return result

    monkeypatch.setattr(Machine, "run", run)
    assert check("hello")[0].divergence.what == "the console"


def test_one_that_takes_too_long_is_no_bug_and_no_success() -> None:
    result = crosscheck(["timer"], backend=backends.chosen, timeout=0.05)
    assert result.status == 0
    assert "1 not over in time" in result.summary()
    assert "not over after" in result.reports[-1].line()


# The command, and the notebook's door.


def test_the_command_line(capsys) -> None:
    from tcglite.cli import main

    assert main(["crosscheck", "hello", "masked", "--backend", backends.chosen]) == 0
    out = capsys.readouterr().out
    assert out.count("✓") == 2
    assert out.endswith("2 comparisons, 1,344 instructions: no divergence\n")
    assert main(["crosscheck", "--json", "hello", "--grain", "insn"]) == 0
    assert '"ok": true' in capsys.readouterr().out
    for wrong, text in (
        (["hello", "--against", "simics"], "expected some of unicorn,spike,qemu"),
        ([], "name a guest, or --all"),
        (["nobody"], "unknown guest 'nobody'"),
        (["hello", "--irq", "mtip"], "expected LINE@INSN"),
    ):
        try:
            status = main(["crosscheck", *wrong])
        except SystemExit as end:
            status = end.code
        assert status == 125
        assert text in capsys.readouterr().err


def test_a_divergence_is_status_1(monkeypatch, capsys) -> None:
    from tcglite.cli import main

    changed(monkeypatch, 100, _set("x", 17))
    assert main(["crosscheck", "masked"]) == 1
    out = capsys.readouterr().out
    assert "✗ masked" in out
    assert "1 diverged" in out


def test_all_settings_in_one_command() -> None:
    result = crosscheck(["masked"], backend="all", irq_check="all")
    assert len(result.reports) == 2 * 2 * len(DELIVER)
    assert result.status == 0


def test_the_picture_in_a_notebook() -> None:
    picture = lab.crosscheck("echo")
    assert repr(picture).count("✓ echo") == 2
    assert "Not checked here" in picture.html
    assert "✓ loop" in repr(lab.crosscheck("loop"))


def test_without_unicorn_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(unicorn_room, "unicorn", None)
    with pytest.raises(TcgliteError, match=r"pip install 'tcglite\[crosscheck\]'"):
        check("hello")


def test_bad_arguments() -> None:
    for options, text in (
        ({"grain": "page"}, "expected one of piece, block, insn"),
        ({"against": ["bochs"]}, "expected unicorn or spike"),
        ({"at": [("NoEvent", 1, "msip")]}, "no event of that name"),
        ({"at": [("LoopExit", 0, "msip")]}, "expected a whole number"),
    ):
        with pytest.raises(UsageError, match=text):
            check("hello", **options)
    assert "unicorn" in sys.modules

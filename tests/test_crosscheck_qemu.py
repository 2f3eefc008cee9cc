"""The bundled guests on QEMU and on tcglite: the same traps, console, ends and blocks; and against
the recordings of QEMU, which need none."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_qemu import needs_qemu, needs_qemu_7_2, run_qemu, version_text

from tcglite import Machine, Mechanisms, guests
from tcglite.crosscheck import qemu, qemu_clock, qemu_run, traces
from tcglite.crosscheck.behaviour import Behaviour, TrapSeen, compare, watch
from tcglite.crosscheck.qemu_log import Walk
from tcglite.crosscheck.report import Report
from tcglite.errors import GuestError, TcgliteError, UnknownName, UsageError
from tcglite.target.asm import assemble

ROOT = Path(__file__).resolve().parent.parent
NAMES = guests.names()
_on_qemu = qemu.watch_qemu
_seen: dict[Any, Behaviour] = {}


def _watch_qemu(guest: Any, **options: Any) -> Behaviour:
    elf = guest.to_elf() if hasattr(guest, "to_elf") else guest
    key = elf, options["icount"], options.get("stdin", b"")
    if key not in _seen:
        _seen[key] = _on_qemu(guest, **options)
    return _seen[key]


@pytest.fixture(autouse=True)
def qemu_once(monkeypatch):
    """QEMU does the same whatever backend it is compared with."""
    monkeypatch.setattr(qemu, "watch_qemu", _watch_qemu)


# All guests agree.


@needs_qemu_7_2
@pytest.mark.parametrize("name", NAMES)
def test_guests_as_on_qemu(name, backend):
    said = []
    reports = qemu.check_qemu(name, backend=backend, say=said.append)
    assert said == [report.line() for report in reports]
    assert len(reports) == (1 if name == "loop" else 2)
    for report in reports:
        assert report.ok, report.text()
        assert (report.oracle, report.version) == ("QEMU", version_text())
        assert report.backend == backend
        assert set(report.notes) <= {"host-time", "one-only-block", "cut-block", "rewound-fault"}
        if name != "loop":
            assert report.counts["console bytes"] == len(guests.info(name).console) or (
                name == "doorbell" and report.settings
            )
            assert report.counts["exit code"] == 1
            assert report.counts["blocks"] >= 3
    exact = reports[-1]
    if name not in ("echo", "loop"):  # under icount nothing is left to chance
        assert set(exact.notes) <= {"rewound-fault"}
        assert exact.counts["traps"] == exact.counts["traps at their instruction"]
        assert exact.counts["cut blocks"] >= 2


@pytest.mark.parametrize("name", NAMES)
def test_guests_as_recorded(name, backend):
    report = traces.check_recorded(name, backend=backend)
    assert report.ok, report.text()
    assert report.oracle == "QEMU recording"
    assert report.counts["Unicorn's blocks"] >= 2
    recorded = traces.load(name).behaviour
    assert report.counts["traps"] == len(recorded.traps)
    assert recorded.exit_code == guests.info(name).exit_code


def test_the_recordings_hold_something():
    assert traces.names() == NAMES
    with_traps = {name for name in NAMES if traces.load(name).behaviour.traps}
    assert with_traps >= {"timer", "echo", "masked", "nested", "fault", "roundrobin", "vmexit"}
    timed = [n for n in NAMES if any(t.insn for t in traces.load(n).behaviour.traps)]
    assert set(timed) == with_traps - {"echo"}
    assert sum(path.stat().st_size for path in traces.directory().iterdir()) < 300_000


# What QEMU counts as time, and tcglite does not.

TICKS = """
_start: la      t0, handler
        csrw    mtvec, t0
        li      s2, 0x2004000           # mtimecmp
        li      s3, 0x200bff8           # mtime
        ld      t0, 0(s3)
        addi    t0, t0, 20
        sd      t0, 0(s2)
        li      t0, 0x80
        csrw    mie, t0
        csrsi   mstatus, 8
1:      addi    a0, a0, 1
        addi    a1, a1, 1
        {}
        addi    a2, a2, 1
        addi    a3, a3, 1
        j       1b
        .balign 4
handler:
        csrr    t0, mcause
        bltz    t0, tick
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        mret
tick:   addi    s4, s4, 1
        li      t0, 12
        beq     s4, t0, end
        ld      t0, 0(s2)
        addi    t0, t0, 17
        sd      t0, 0(s2)
        mret
end:    li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .
"""
CASES = {
    "nothing": "nop",
    "ecall": "ecall",
    "ebreak": ".option norvc\n ebreak",
    "illegal": ".word 0x0000400b",
    "sret": "sret",
    "flw": "flw f0, 0(sp)",
    "csr": "csrr t0, 0x7c0",
    "read-only": "csrw mhartid, zero",
    "fault": "lw t0, 0(zero)",
    "lr": "lr.w t0, (zero)",
    "time": "csrr a5, mcycle\n csrr a6, time",
    "sleep": "wfi",
    "no-sleep": """csrci mstatus, 8
2:      csrr    t0, mip
        andi    t0, t0, 0x80
        beqz    t0, 2b
        wfi
        nop
        nop
        nop
        csrsi   mstatus, 8""",
}


@needs_qemu_7_2
@pytest.mark.parametrize("case", CASES)
def test_timers_fire_at_qemus_instruction(case, backend):
    """Whatever traps in between, with QEMU's rule of counting."""
    (report,) = qemu.check_qemu(assemble(TICKS.format(CASES[case])), backend=backend, icount=0)
    assert report.ok, report.text()
    assert report.counts["traps at their instruction"] >= 12
    assert set(report.notes) == ({"rewound-fault"} if case in ("fault", "lr") else set())


@needs_qemu_7_2
@pytest.mark.parametrize("case", ["ecall", "no-sleep"])
def test_without_the_rule_they_do_not(case, monkeypatch):
    monkeypatch.setattr(qemu_clock.QemuClock, "_event", lambda self, event: None)
    (report,) = qemu.check_qemu(assemble(TICKS.format(CASES[case])), icount=0)
    assert report.divergence is not None


#: A trap when the clock of 100 ns has moved on: the loop takes two instructions.
FIRST_TICK = """
_start: la      t0, end
        csrw    mtvec, t0
1:      csrr    t0, time
        beqz    t0, 1b
        ecall
        .balign 4
end:    li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .
"""


@needs_qemu_7_2
@pytest.mark.parametrize("insns", [4, 6, 8])
def test_the_boot_rom_takes_six_instructions(insns, monkeypatch):
    monkeypatch.setattr(qemu_clock, "BOOT_INSNS", insns)
    (report,) = qemu.check_qemu(assemble(FIRST_TICK), icount=0)
    assert report.ok == (insns == 6)
    if insns != 6:
        assert report.divergence is not None
        assert report.divergence.what == "instruction number of trap 1"


#: The UART's transmitter is ready and the timer due (since reset) when mie lets both through.
TWO_AT_ONCE = """
_start: la      t0, handler
        csrw    mtvec, t0
        li      t0, 0xc000000
        li      t1, 1
        sw      t1, 40(t0)              # source 10 has priority 1
        li      t0, 0xc002000
        li      t1, 0x400
        sw      t1, 0(t0)               # and is let through
        li      t0, 0x10000000
        li      t1, 2
        sb      t1, 1(t0)
        li      t0, 0x880
        csrw    mie, t0
        csrsi   mstatus, 8
1:      j       1b
        .balign 4
handler:
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .
"""


@needs_qemu_7_2
def test_qemu_takes_the_lowest_number_first(backend):
    """The one place where what both do to a program differs; the report says who is right."""
    (report,) = qemu.check_qemu(assemble(TWO_AT_ONCE), backend=backend, icount=0)
    assert report.divergence is not None
    found = report.divergence
    assert (found.what, found.ours, found.theirs) == ("cause of trap 1", "11", "7")
    assert "lowest-number-first" in found.context[-1]


# Errors that are planted are found, and named.


def traps_with(name: str, n: int, **changes) -> list[TrapSeen]:
    """QEMU's traps of a guest under icount, the one with index ``n`` changed."""
    found = list(traces.load(name).behaviour.traps)
    found[n] = replace(found[n], **changes)
    return found


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"epc": 0x8000_0000}, "mepc of trap 2"),
        ({"cause": 9}, "cause of trap 2"),
        ({"tval": 4}, "mtval of trap 2"),
        ({"interrupt": True}, "kind of trap 2"),
        ({"insn": 1}, "instruction number of trap 2"),
    ],
)
def test_a_wrong_trap_is_named(changes, what):
    report, divergence = differ("fault", traps=traps_with("fault", 1, **changes))
    assert divergence.what == what
    assert report.counts["traps"] == 1
    trap = traces.load("fault").behaviour.traps[1]
    assert (divergence.since, divergence.pc) == (trap.insn, trap.epc)
    assert any(line.startswith("trap 1: ") for line in divergence.context)
    assert "✗ fault" in report.line()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"traps": []}, "number of traps"),
        ({"console": b"hello?"}, "console from byte 0"),
        ({"exit_code": 1}, "exit code"),
        ({"ended": "timeout", "exit_code": None}, "end"),
        ({"blocks": [(0x8000_0000, 2)]}, "length of the block at 0x80000000"),
        ({"cut": []}, "length of the block at "),
    ],
)
def test_a_wrong_end_or_block_is_named(changes, what):
    report, divergence = differ("timer", **changes)
    assert divergence.what.startswith(what)
    assert divergence.oracle == report.oracle == "QEMU recording"


def differ(name: str, **changes):
    """Compare a guest with its recording, changed: the report and its divergence."""
    recording = traces.load(name)
    report = Report(name, traces.ORACLE, "auto")
    compare(report, watch(guests.load(name), icount=recording.icount),
            replace(recording.behaviour, **changes))  # fmt: skip
    assert not report.ok
    assert report.divergence is not None
    return report, report.divergence


def test_a_wrong_block_of_unicorn_is_named(monkeypatch):
    wrong = replace(traces.load("hello"), unicorn_blocks=[(0x8000_0000, 1)])
    monkeypatch.setattr(traces, "load", lambda name: wrong)
    divergence = traces.check_recorded("hello").divergence
    assert divergence is not None
    assert divergence.what == "length of the block at 0x80000000"


@needs_qemu_7_2
@pytest.mark.parametrize(
    ("changes", "what"),
    [({"exit_code": 3}, "exit code"), ({"console": b""}, "console from byte 0")],
)
def test_what_qemu_seems_to_do_is_compared(monkeypatch, changes, what):
    def wrong(guest, **options) -> Behaviour:
        return replace(_watch_qemu(guest, **options), **changes)

    monkeypatch.setattr(qemu, "watch_qemu", wrong)
    for report in qemu.check_qemu("hello"):
        assert report.divergence is not None
        assert report.divergence.what == what


@needs_qemu_7_2
def test_a_wrong_engine_is_found():
    """Without precise restoring, mepc is the block's."""
    mechanisms = Mechanisms(restore=False)
    reports = qemu.check_qemu("fault", mechanisms=mechanisms, max_insns=20_000)
    reports.append(traces.check_recorded("fault", mechanisms=mechanisms, seconds=1))
    for report in reports:
        assert report.divergence is not None
        assert report.divergence.what == "mepc of trap 1"


def test_switches_that_change_nothing_agree(backend):
    for mechanisms in (Mechanisms(chain=False), Mechanisms(restore="eager")):
        assert traces.check_recorded("fault", backend=backend, mechanisms=mechanisms).ok
    one = Mechanisms(max_block_insns=1)
    short = traces.check_recorded("timer", backend=backend, mechanisms=one)
    assert short.ok
    assert short.notes == {"limited-blocks": 1}
    assert "blocks" not in short.counts


# The log reader, by our own logs, which have QEMU's layout.


@pytest.mark.parametrize("name", ["timer", "fault", "syscalls", "nested", "wfi", "vmexit"])
def test_counting_by_the_log(name, backend):
    """Adding up the blocks of a log gives the numbers that the engine counted."""
    icount = qemu.default_icount(name)
    out = io.StringIO()
    with Machine(guests.load(name), backend=backend, icount=icount) as m:
        qemu_clock.QemuClock(m)
        m.set_log(["in_asm", "exec", "int", "nochain"], out)
        m.run(timeout=60)
    walk = Walk.of(out.getvalue().splitlines())
    ours = watch(guests.load(name), backend=backend, icount=icount)
    assert [TrapSeen.of(trap, n) for trap, n in walk.traps] == ours.traps
    assert sorted(set(walk.blocks)) == ours.blocks
    assert sorted(set(walk.cut)) == ours.cut


# Recording anew.


def recorder():
    spec = importlib.util.spec_from_file_location(
        "record_traces", ROOT / "tools" / "record_traces.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_qemu_7_2
@pytest.mark.parametrize("name", NAMES)
def test_recording_anew_gives_the_same(name):
    pytest.importorskip("unicorn")
    made, kept = recorder().record(name), traces.load(name)
    if kept.behaviour.host_time:
        report = Report(name, traces.ORACLE, "")
        compare(report, kept.behaviour, made.behaviour)
        assert report.ok, report.text()
        made = replace(made, behaviour=kept.behaviour)
    assert replace(made, version=kept.version, unicorn=kept.unicorn) == kept


def test_the_format_can_be_read_back():
    for name in NAMES:
        kept = traces.load(name)
        assert traces.from_json(traces.to_json(kept)) == kept


# Misuse.


def test_without_qemu(monkeypatch):
    monkeypatch.setattr(qemu_run, "QEMU", None)
    qemu_run.version_text.cache_clear()
    with pytest.raises(TcgliteError, match="apt install qemu-system-misc; macOS: brew install"):
        qemu.check_qemu("hello")
    assert traces.check_recorded("hello").ok


@needs_qemu
def test_what_cannot_be_checked_is_said():
    (report,) = qemu.check_qemu("hello", icount="off", irq=[(100, "msip")])
    assert not report.ok
    assert "cannot be given interrupts" in report.line()
    with pytest.raises(UsageError, match="icount=11; expected a whole number, 0 to 10"):
        qemu.check_qemu("hello", icount=11)
    with pytest.raises(UnknownName, match="unknown guest 'helo'; did you mean"):
        qemu.check_qemu("helo")
    with pytest.raises(UsageError, match="QEMU needs a bundled guest, an ELF file"):
        qemu.check_qemu(b"\x13\0\0\0")


@needs_qemu
def test_a_log_that_grows_is_cut_and_said_to_be(tmp_path):
    run = run_qemu(guests.load("loop"), tmp_path, log="exec,nochain", limit=1 << 20)
    assert run.truncated
    assert run.status < 0
    assert 1 << 19 < len(run.log) <= 1 << 20


@needs_qemu_7_2
def test_what_both_did_before_a_limit_is_compared():
    """tcglite is stopped in mid-run: QEMU's later traps are left out."""
    (report,) = qemu.check_qemu("timer", icount=10, max_insns=150_000)
    assert report.ok, report.text()
    assert report.counts["traps at their instruction"] == 3
    assert report.ended == "limit in tcglite, exit in QEMU"


def test_unknown_and_foreign_recordings(monkeypatch, tmp_path):
    with pytest.raises(UnknownName, match="unknown guest 'helo'"):
        traces.load("helo")
    for path in traces.directory().iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "crc.json").unlink()
    monkeypatch.setattr(traces, "_PLACES", (tmp_path,))
    assert "crc" not in traces.names()
    with pytest.raises(UnknownName, match="no recording of 'crc'; there are: hello, "):
        traces.load("crc")
    monkeypatch.setattr(traces, "elf_hash", lambda name: "another")
    with pytest.raises(GuestError, match="the recording of hello is of another ELF file"):
        traces.load("hello")
    monkeypatch.setattr(traces, "_PLACES", (tmp_path / "nowhere",))
    with pytest.raises(GuestError, match="the recordings are missing"):
        traces.load("hello")


def test_where_host_time_decides_an_interrupt_more_of_the_same_kind_is_none() -> None:
    kept = traces.load("echo").behaviour.without_host_time()
    assert kept.traps[0].interrupt
    more = replace(kept, traps=[kept.traps[0], *kept.traps])
    report = Report("echo", "QEMU", "")
    compare(report, more, kept)
    assert report.divergence is None
    assert report.notes["host-time"] >= 1
    compare(report, replace(kept, traps=[replace(kept.traps[0], cause=3), *kept.traps]), kept)
    assert report.divergence is not None
    assert "trap" in report.divergence.what


@needs_qemu
@pytest.mark.parametrize("where", ["tb-end", "every-insn", "quantum", "acyclic", "unlink"])
def test_wherever_the_engine_looks_the_traps_are_qemus(where: str) -> None:
    for name in ("masked", "doorbell"):
        (report,) = qemu.check_qemu(name, mechanisms=Mechanisms(irq_check=where))
        assert report.divergence is None, report.text()
        assert report.ok or "QEMU looks elsewhere" in report.skipped
        assert f"irq_check={where}" in report.title

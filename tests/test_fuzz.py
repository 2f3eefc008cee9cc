"""Random programs beside oracles; making what they find small; campaigns on many processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import backends
import planted_fuzz
import pytest

from tcglite import cli
from tcglite.accel.mechanisms import Mechanisms
from tcglite.crosscheck.fuzz.campaign import Campaign, run_campaign
from tcglite.crosscheck.fuzz.check import Settings, check_program, check_seed, checked, finds
from tcglite.crosscheck.fuzz.command import Result, choose, fuzz
from tcglite.crosscheck.fuzz.generate import generate
from tcglite.crosscheck.fuzz.program import Program
from tcglite.crosscheck.fuzz.show import block_lines, sides
from tcglite.crosscheck.fuzz.shrink import shrink
from tcglite.errors import TcgliteError, UsageError
from tcglite.target import trap

CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.S"))
BATCHES, EACH = 6, 25
BOTH = not backends.MISSING["x86_64"]
needs_both = pytest.mark.skipif(not BOTH, reason=backends.MISSING["x86_64"] or "-")
ORACLES = ("unicorn", *(["python"] if BOTH else []))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_programs_agree_with_unicorn(backend, batch):
    pytest.importorskip("unicorn")
    for seed in range(batch * EACH, (batch + 1) * EACH):
        outcome = check_seed(seed, Settings(("unicorn",), backend))
        assert outcome.ok, outcome.error or outcome.divergence.text()


@needs_both
@pytest.mark.parametrize("batch", range(BATCHES))
def test_backends_agree(batch):
    for seed in range(1000 + batch * EACH, 1000 + (batch + 1) * EACH):
        outcome = check_seed(seed, Settings(("python",)))
        assert outcome.ok, outcome.error or outcome.divergence.text()
        (report,) = outcome.reports
        assert report.counts["states"] == 1
        assert report.counts["events"] > 10


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus_agrees(path, backend):
    pytest.importorskip("unicorn")
    reports = check_program(Program.load(path), backend, ("unicorn",))
    assert not [r.text() for r in reports if r.divergence is not None]
    assert any(r.ok for r in reports)


# -- shrinking --------------------------------------------------------------------------------


def test_shrinking_keeps_what_the_predicate_wants():
    program = generate(3)
    said: list[str] = []

    def fails(p: Program) -> bool:
        return "csrw mtvec" in p.source and "handler:" in p.source

    small = shrink(program, fails, said.append)
    assert fails(small)
    assert len(small.source.splitlines()) <= 2
    assert (small.irq, small.at, small.mechanisms, small.icount) == ((), (), Mechanisms(), None)
    assert small.assemble()
    assert said[-1].startswith("shrinking: ")
    assert shrink(program, fails) == small


def test_shrinking_keeps_the_settings_that_matter():
    program = replace(
        generate(4), irq=((60, "msip"), (70, "mtip")), icount=2,
        mechanisms=Mechanisms(chain=False, io_last=True), at=(("FlagCleared", 1, "msip"),),
    )  # fmt: skip
    small = shrink(program, lambda p: (70, "mtip") in p.irq and not p.mechanisms.chain)
    assert small.irq == ((70, "mtip"),)
    assert small.settings() == ["# irq: mtip@70", "# mechanisms: chain=False"]


def test_shrinking_is_bounded():
    tried = []
    shrink(generate(5), lambda p: tried.append(p) is None and False, limit=17)
    assert len(tried) == 17


def test_labels_go_with_what_names_them():
    program = Program("x", "_start: beqz a0, over\nnop\nj over\nover: ebreak\nmul a0, a1, a2")
    small = shrink(program, lambda p: "mul" in p.source)
    assert small.source == "mul a0, a1, a2"


def test_numbers_become_simple():
    program = Program("x", "li a0, 0x1234\nli a1, 77\n.dword 1, 2, 3, 4")
    small = shrink(program, lambda p: "a1, " in p.source and ".dword" in p.source)
    assert small.source == "li a1, 0\n.dword 0"


def test_lines_are_taken_apart_but_for_a_store_and_its_fence():
    program = Program("x", "_start: li a0, 1; sw a1, 0(a0); fence.i; mul a0, a1, a2; nop")
    small = shrink(program, lambda p: "mul" in p.source)
    assert small.source.strip() == "mul a0, a1, a2"
    small = shrink(program, lambda p: "fence.i" in p.source)
    assert small.source.strip() == "sw a1, 0(a0); fence.i"


def test_a_planted_bug_is_found_and_made_small():
    """Blocks whose code was overwritten stay: Unicorn does not agree."""
    pytest.importorskip("unicorn")
    settings = Settings(("unicorn",), "python", 5.0)
    for seed in range(50):
        program = generate(seed)
        program = replace(program, mechanisms=replace(program.mechanisms, invalidate=False))
        outcome = checked(program, settings)
        if outcome.divergence is not None:
            break
    small = shrink(program, finds(outcome, settings), limit=600)
    assert not small.mechanisms.invalidate
    assert len(small.source.splitlines()) < 20
    assert "fence.i" in small.source
    assert checked(replace(small, mechanisms=Mechanisms()), settings).ok


@needs_both
def test_backends_that_differ_are_noticed_where_they_do(monkeypatch):
    """The same trap, entered in another way whenever it is the x86_64 backend's turn."""
    from tcglite.crosscheck.fuzz import check

    begin = check.start

    def wrong(program, guest, backend, trace=None):
        m = begin(program, guest, backend, trace)
        if backend == "x86_64":
            m.raise_at(80, "msip")
        return m

    monkeypatch.setattr(check, "start", wrong)
    program = Program("x", "\n".join(["_start: li a0, 50", "1: addi a0, a0, -1", "bnez a0, 1b",
                                      "csrr a1, mip", "2: j 2b"]), max_insns=200)  # fmt: skip
    (report,) = check_program(program, "auto", ("python",))
    assert report.divergence is not None
    assert (report.divergence.since, report.divergence.until) == (79, 80)
    assert report.divergence.what == "mip"
    assert any(line.startswith("event: ") for line in report.divergence.context)


# -- campaigns --------------------------------------------------------------------------------

SETTINGS = Settings((), "python", timeout=5.0)


def test_all_seeds_are_checked():
    said: list[str] = []
    campaign = run_campaign(range(5, 45), SETTINGS, 2, work=planted_fuzz.plain, say=said.append)
    assert (campaign.done, campaign.found) == (40, None)


@needs_both
def test_real_programs_on_two_processes():
    campaign = run_campaign(range(12), Settings(("python",)), 2)
    assert campaign.done == 12
    assert campaign.found is None
    assert campaign.insns > 1000


def test_the_smallest_seed_that_finds_something_is_told():
    campaign = run_campaign(range(100), SETTINGS, 2, work=planted_fuzz.odd_ones)
    assert campaign.found is not None
    assert campaign.found.seed == 7
    assert campaign.done < 40


@pytest.mark.parametrize(
    ("work", "seed", "complaint"),
    [
        (planted_fuzz.dies, 5, "it ends its process"),
        (planted_fuzz.hangs, 3, "it ends its process"),
        (planted_fuzz.raises, 2, "RuntimeError('not foreseen')"),
    ],
)
def test_a_worker_that_does_not_come_back_is_a_finding(work, seed, complaint):
    settings = Settings((), "python", timeout=1.0)
    campaign = run_campaign(range(20), settings, 2, work=work, patience=1.0)
    assert campaign.found is not None
    assert campaign.found.seed == seed
    assert complaint in campaign.found.error


def test_processes_end_with_a_campaign_that_is_terminated(tmp_path):
    """By SIGTERM, and by SIGKILL, of which nobody hears."""
    script = tmp_path / "campaign.py"
    script.write_text(
        f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import planted_fuzz
from tcglite.crosscheck.fuzz.campaign import run_campaign
from tcglite.crosscheck.fuzz.check import Settings
if __name__ == "__main__":
    run_campaign(range(9), Settings((), "python", 100.0), 2, work=planted_fuzz.tells_and_hangs)
""", encoding="utf-8",
    )  # fmt: skip
    for number, status in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        parent.send_signal(number)
        assert parent.wait(20) == status
        parent.stdout.close()
        until = time.monotonic() + 20
        while any(_lives(worker) for worker in workers):
            assert time.monotonic() < until
            time.sleep(0.05)


def _lives(process: int) -> bool:
    """Is it there, and no zombie?"""
    try:
        os.kill(process, 0)
        stat = Path(f"/proc/{process}/stat")
        return not stat.exists() or stat.read_text(encoding="ascii").rpartition(")")[2][1] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_all_programs_raise_is_not_made_small(monkeypatch):

    def fails(*args, **named):
        raise RuntimeError("planted")

    monkeypatch.setattr("tcglite.crosscheck.fuzz.check.check_guest", fails)
    path = "tcglite.crosscheck.fuzz.command.run_campaign"
    found = check_seed(0, Settings(("unicorn",), "python"))
    assert (found.raised, found.where) == ("RuntimeError", "fails")
    monkeypatch.setattr(path, lambda *args, **named: Campaign(1, found=found))
    result = fuzz(against=("unicorn",), backend="python")
    assert result.found is not None
    assert result.found.common
    assert result.text().count("RuntimeError: planted") == 1
    assert "Other programs raise the same" in result.text()
    assert "_start" not in result.text()


def test_what_is_not_installed_is_no_finding():
    with pytest.raises(TcgliteError, match="against itself"):
        run_campaign(range(4), Settings(("python",), "python"), 2)


def test_a_cluster_does_the_same():
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        campaign = run_campaign(range(30), SETTINGS, dask=address, work=planted_fuzz.plain)
        assert (campaign.done, campaign.found) == (30, None)
        campaign = run_campaign(range(30), SETTINGS, dask=address, work=planted_fuzz.odd_ones)
        assert campaign.found is not None
        assert campaign.found.seed == 7
        campaign = run_campaign(range(6), SETTINGS, dask=address, work=planted_fuzz.raises)
        assert campaign.found is not None
        assert "not foreseen" in campaign.found.error
        if BOTH:
            campaign = run_campaign(range(6), Settings(("python",)), dask=address)
            assert (campaign.done, campaign.found) == (6, None)


def test_a_cluster_that_is_not_there(monkeypatch):
    pytest.importorskip("distributed", reason="distributed is not installed")
    monkeypatch.setattr("tcglite.crosscheck.fuzz.campaign._CONNECT", 1.0)
    with pytest.raises(UsageError, match="--dask"):
        run_campaign(range(2), SETTINGS, dask="tcp://127.0.0.1:1", work=planted_fuzz.plain)


# -- the command ------------------------------------------------------------------------------


@needs_both
def test_agreement(capsys):
    assert cli.main(["fuzz", "--count", "4", "--jobs", "1", "--against", "python"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("✓ 4 programs, ")
    assert out.endswith("no difference to python\n")
    assert err == ""


def test_a_finding_is_told_saved_and_found_again(capsys, tmp_path):
    """A saved program with a switch off that should be on."""
    pytest.importorskip("unicorn")
    program = Program(
        "stale",
        """_start: .option norvc
        li      s11, 4
1:      la      t0, 2f
        lbu     t1, 3(t0)
        xori    t1, t1, 0x15            # another immediate
2:      li      a0, 1
        sb      t1, 3(t0); fence.i
        addi    s11, s11, -1
        bnez    s11, 1b
3:      j       3b""",
        mechanisms=Mechanisms(invalidate=False), max_insns=100,
    )  # fmt: skip
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "stale.S"
    path.write_text(program.to_text(), encoding="utf-8")
    status = cli.main(["fuzz", "--against", "unicorn", "--save", str(tmp_path), str(path)])
    out, _ = capsys.readouterr()
    assert status == 1
    assert out.startswith("✗ stale ")
    assert "a0" in out.splitlines()[0]
    assert "# mechanisms: invalidate=False" in out
    assert "its IR:" in out
    assert "insn_start" in out or "---- 00000000800000" in out
    saved = tmp_path / "stale.S"
    assert f"tcglite fuzz --against unicorn {saved}" in out
    assert cli.main(["fuzz", "--against", "unicorn", "--json", str(saved)]) == 1
    found = json.loads(capsys.readouterr().out)["found"]
    assert found["seed"] is None
    assert found["report"]["divergence"]["what"] == "a0"
    assert found["small"] == saved.read_text(encoding="utf-8")


def test_a_finding_of_a_seed_can_be_seen_again(monkeypatch):
    """What traps store is wrong: a planted bug that Unicorn sees."""
    pytest.importorskip("unicorn")
    enter = trap._enter

    def wrong(env, mcause, epc, tval):
        vector = enter(env, mcause, epc, tval)
        env.mepc = epc + 2 if mcause == trap.BREAKPOINT else epc
        return vector

    monkeypatch.setattr(trap, "_enter", wrong)
    settings = Settings(("unicorn",), "python")
    outcome = next(o for o in (check_seed(seed, settings) for seed in range(60)) if not o.ok)
    program = generate(outcome.seed)
    small = shrink(program, finds(outcome, settings), limit=400)
    assert len(small.source.splitlines()) < 6
    assert "ebreak" in small.source
    divergence = checked(small, settings).divergence.divergence
    assert sides(divergence)[1].startswith("  - tcglite  ")
    assert sides(divergence)[2].startswith("  + unicorn  ")
    lines = block_lines(small, replace(divergence, what="trap"), "python")
    assert any("trap taken: breakpoint (cause 3), epc 0x" in line for line in lines), lines


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--count", "0"], "--count=0"),
        (["--jobs", "0"], "--jobs=0"),
        (["--against", "oracle-of-delphi"], "--against oracle-of-delphi"),
        (["--backend", "m68k"], "m68k"),
        (["--save", "/nowhere/at/all"], "no such directory"),
        (["no-such-file.S"], "no-such-file.S"),
        (["--against", "python", "--backend", "python", str(CORPUS[0])], "itself"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, complaint, capsys):
    assert cli.main(["fuzz", *arguments]) == 125
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1


def test_the_oracles_that_can_be_had():
    assert choose(None, "auto") == ORACLES
    assert choose(None, "python") == ("unicorn",)
    assert choose(["spike"], "auto") == ("spike",)


def test_files_count():
    if not BOTH:
        pytest.skip(backends.MISSING["x86_64"])
    result = fuzz([str(path) for path in CORPUS], against=("python",))
    assert (result.status, result.campaign.done) == (0, len(CORPUS))


def test_nothing_compared_is_no_agreement():
    result = Result(Campaign(done=3), ("unicorn", "spike"))
    assert result.status == 1
    assert result.text().splitlines() == [
        "– unicorn: nothing was compared", "– spike: nothing was compared",
    ]  # fmt: skip

"""``tcglite bench``: what it computes from times that are given, and its command line.

No test asserts a time. Most engines here are fakes that say how long they took.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tcglite import Machine, cli, guests
from tcglite.bench import engines
from tcglite.bench.compare import (
    RATIOS,
    Comparison,
    calibrate,
    choose_rounds,
    compare,
    instructions,
    measure,
    remarks,
)
from tcglite.bench.engines import Contender, Run
from tcglite.bench.measure import EngineError, Series, child, geomean, interleave, python
from tcglite.bench.report import as_json, as_text
from tcglite.bench.table import number
from tcglite.bench.workloads import NAMES, Workload
from tcglite.errors import TcgliteError, UnknownName, UsageError
from tcglite.target.asm import assemble

START, FIRST, EACH = 0.2, 1000, 500  #: fakes: CPU s of start-up; instructions of rounds

#: Speeds of fakes, instructions per CPU second.
SPEEDS = {"tcglite chained": 2000.0, "tcglite counting": 1600.0, "tcglite icount": 1000.0,
          "tcglite nochain": 10.0, "unicorn": 500.0, "qemu chained": 1000.0,
          "qemu icount": 800.0, "qemu nochain": 125.0}


def fake(name: str, speed: float, log: list[str]) -> Contender:
    def run(elf: Path) -> Run:
        log.append(name)
        insns = 0 if elf.stem == "hello" else FIRST + EACH * (int(elf.stem.split("-")[1]) - 1)
        counted = insns if name in ("tcglite counting", "tcglite icount") else None
        return Run(START + insns / speed, counted, 50.0 if name == "tcglite counting" else None)

    return Contender(name, run)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    log: list[str] = []
    contenders = [fake(name, speed, log) for name, speed in SPEEDS.items()]
    workloads = [Workload("crc"), Workload("fib")]
    start, figures = measure(workloads, contenders, 3, 100.0, lambda text: None)
    assert log[-len(SPEEDS) + 1:] == [*SPEEDS][:-1], "they take turns, but for the slowest"
    return Comparison("fake", 3, 100.0, list(SPEEDS), start, figures, {"qemu": "1.0"},
                      remarks(start, figures))


# -- arithmetic ---------------------------------------------------------------------------------


def test_medians_and_ratios_come_from_the_same_repetition():
    given = {"a": iter([1.0, 4.0, 9.0]), "b": iter([1.0, 2.0, 3.0])}
    series = interleave({name: values.__next__ for name, values in given.items()}, 3)
    assert (series.median("a"), series.median("b")) == (4.0, 2.0)
    assert series.ratio("a", "b") == 2.0  # the median of 1, 2, 3
    assert series.ratio("a", "nobody") is None


def test_the_geometric_mean_leaves_out_what_is_not_known():
    assert geomean([2, 8, None]) == pytest.approx(4)
    assert geomean([None]) is None


def test_calibration_finds_the_time_of_one_more_round():
    assert calibrate(lambda rounds: 5 + 0.01 * rounds, enough=1.0) == pytest.approx(0.01)


def test_rounds_suit_the_fastest_and_the_slow_run_fewer():
    times = {"fast": 0.001, "slower": 0.02, "far": 0.5, "farther": 1.0}
    assert choose_rounds(times, 2.0) == {"fast": 2000, "slower": 2000, "far": 4, "farther": 4}
    assert choose_rounds({"only": 9.0}, 2.0) == {"only": 1}


def test_instructions_are_counted_or_follow_from_two_counts():
    assert instructions({1: 1000, 4: 2500, 16: 8500}, 4) == 2500
    assert instructions({1: 1000, 4: 2500, 16: 8500}, 100) == 50500


def test_speeds_and_ratios_are_those_of_the_engines(compared: Comparison):
    crc = compared.guests[0]
    assert crc.translation_us == 50.0
    assert compared.start == pytest.approx(dict.fromkeys(SPEEDS, START))
    same = [name for name in SPEEDS if name != "tcglite nochain"]
    assert {crc.rounds[name] for name in same} == {400}  # 100 s at 2000 in rounds of 500
    assert crc.rounds["tcglite nochain"] < 400
    for name, speed in SPEEDS.items():
        seconds = START + crc.insns[name] / speed
        assert crc.seconds.median(name) == pytest.approx(seconds)
        assert crc.speed(name) == pytest.approx(crc.insns[name] / seconds / 1e6)
    for key, (one, other) in RATIOS.items():
        expected = SPEEDS[other] / SPEEDS[one]
        assert crc.ratio(key) == pytest.approx(expected, rel=0.02)
        assert compared.geomean(key) == pytest.approx(expected, rel=0.02)


def test_remarks_name_the_slow_and_the_short(compared: Comparison):
    assert len(compared.notes) == 3
    assert compared.notes[1].endswith("times per instruction: tcglite nochain")
    assert compared.notes[2].endswith("the fastest one's: qemu nochain")
    crc = compared.guests[0].seconds.values
    assert [v is None for v in crc["qemu nochain"]] == [False, True, True]
    assert None not in crc["qemu icount"]
    series = Series({"a": [1.0]})
    short = [type(compared.guests[0])("crc", {"a": 1}, {"a": 1}, series, None)]
    assert remarks({"a": 0.25}, short)[1].startswith("start-up takes up to 25% of a run (crc, a)")


def test_the_report_is_the_figures(compared: Comparison):
    data = json.loads(json.dumps(as_json(compared)))
    assert set(data) >= {"machine", "versions", "backend", "repeat", "guests", "geomeans",
                         "translation_us", "notes"}
    crc = data["guests"]["crc"]
    assert crc["insns"] == FIRST + 399 * EACH
    assert set(crc["tcglite"]) == {"chained", "counting", "icount", "nochain"}
    assert set(crc["qemu"]) == {"chained", "icount", "nochain"}
    assert crc["unicorn"] == compared.guests[0].speed("unicorn")
    assert crc["ratios"]["qemu"] == compared.guests[0].ratio("qemu")
    assert data["geomeans"] == {key: compared.geomean(key) for key in RATIOS}
    assert math.isclose(data["translation_us"], 50)
    text = as_text(compared)
    for words in ("QEMU chained", "Unicorn", "geomean", "2.00", "| tcglite nochain"):
        assert words in text
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) < 80


def test_numbers_keep_three_digits_or_so():
    assert [number(v, 2) for v in (None, 0.0123, 0, 1.234, 123.4, 12345)] == [
        "–", "0.012", "0.00", "1.23", "123", "12,345"]


# -- the workloads ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_does_its_work_so_often(name: str):
    workload = Workload(name)
    assert workload.elf(1).read_bytes() == guests.load(name).read_bytes()
    counts = []
    for rounds in (1, 2):
        with Machine(workload.elf(rounds), backend="python") as machine:
            result = machine.run(timeout=60)
            assert (result.exit_code, machine.console[-10:]) == (0, ", checked\n")
            assert result.insns is not None
            counts.append(result.insns)
    assert counts[1] - counts[0] > 500_000


def test_a_guest_without_repeat_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"hello cannot be benchmarked: .* expected some of crc"):
        Workload("hello")
    own = tmp_path / "own.elf"
    own.write_bytes(assemble(".data\n.globl repeat\nrepeat: .word 7\n.text\n_start: nop").to_elf())
    with pytest.raises(TcgliteError, match="is not the number 1"):
        Workload(str(own))


# -- real engines, as short as can be -----------------------------------------------------------


#: A round is 5000 instructions; then the machine is switched off.
SHORT = """
        .globl  repeat
        .data
repeat: .word   1
        .text
_start: lw      a0, repeat
round:  li      a1, 2498
loop:   addi    a1, a1, -1
        bnez    a1, loop
        addi    a0, a0, -1
        bnez    a0, round
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
stop:   j       stop
"""


@pytest.fixture
def short(tmp_path: Path) -> str:
    path = tmp_path / "short.elf"
    path.write_bytes(assemble(SHORT).to_elf())
    return str(path)


def test_all_engines_that_are_here(short: str):
    found = compare([short], backend="python", repeat=1, seconds=0.01)
    figures = as_json(found)["guests"]["short"]
    assert figures["insns"] > 5000
    assert all(figures["tcglite"].values())
    assert figures["translation_us"] > 0
    assert found.backend == "python"
    here = [name for name, path in (("qemu", shutil.which(engines.QEMU)),) if path]
    assert (figures["qemu"] is not None) == bool(here)
    assert bool(found.geomean("qemu")) == bool(here)


def test_an_engine_that_fails_or_hangs_is_an_error():
    with pytest.raises(EngineError, match="a child of the benchmark failed: ValueError: no"):
        python(["-c", "raise ValueError('no')"])
    with pytest.raises(EngineError, match="sleep did not end within"):
        child(["sleep", "60"], 0.2)


# -- the command --------------------------------------------------------------------------------

Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    def run(*args: str) -> str:
        try:
            status = cli.main(["bench", *args])
        except SystemExit as left:
            status = int(left.code or 0)
        out, err = capsys.readouterr()
        assert (status, out, err.count("\n")) == (125, "", 1), err
        return err

    return run


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["helo"], "unknown guest 'helo'; did you mean hello?"),
        (["timer"], "expected some of crc sieve matmul quicksort dhry fib"),
        (["crc", "--against", "spike"], "unknown engine 'spike'; expected unicorn or qemu"),
        (["crc", "--backend", "arm"], "unknown backend 'arm'"),
        (["crc", "--repeat", "0"], "repeat=0"),
        (["crc", "--repeat", "x"], "'x' is not a number"),
        (["crc", "--seconds", "0"], "seconds=0.0; expected CPU seconds"),
        (["crc", "--seconds", "6"], "at most 5"),
        (["crc", "--plot", "x.gif"], "expected a name that ends in .png or .svg"),
        (["crc", "--plot", "/no/dir/x.png"], "there is no directory /no/dir"),
    ],
)
def test_bad_usage_is_one_line_and_125(fails: Fails, args: list[str], expected: str):
    assert expected in fails(*args)


def test_a_plot_without_matplotlib_is_refused_at_once(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = fails("crc", "--plot", "x.png")
    assert "--plot needs matplotlib: pip install 'tcglite[lab]'" in error


def test_json_and_a_plot_without_qemu(short: str, tmp_path: Path):
    """QEMU is not on the PATH: it is left out, and a line says how to get it."""
    sh = shutil.which("sh")
    assert sh is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(sh)
    picture = tmp_path / "modes.png"
    command = [sys.executable, "-m", "tcglite", "bench", short, "--against", "qemu", "--repeat",
               "1", "--seconds", "0.01", "--backend", "python", "--json", "--plot", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False,
                          env=os.environ | {"PATH": str(tmp_path / "bin")})
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["guests"]["short"]["qemu"] is None
    assert data["geomeans"]["qemu"] is None
    assert data["backend"] == "python"
    assert done.stderr.startswith("tcglite: QEMU is left out")
    assert "apt install qemu-system-misc" in done.stderr
    assert done.stderr.count("\n") == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_unicorn_may_be_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert engines.unicorn() == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert engines.qemu() == []
    assert engines.qemu_version() is None


def test_the_picture_of_everything(compared: Comparison, tmp_path: Path):
    pytest.importorskip("matplotlib")
    from tcglite.bench.plot import save_plot

    for name in ("all.png", "all.svg"):
        save_plot(compared, tmp_path / name)
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "all.svg").read_text(encoding="utf-8")


def test_an_unknown_engine_is_an_error_of_our_own():
    with pytest.raises(UnknownName):
        compare(["fib"], against=["bochs"], backend="python")

"""The small parts of the lab: worker, registry, latencies, cards, doctor, launcher, pictures."""

from __future__ import annotations

import contextvars
import json
import threading

import pytest

from tcglite import lab
from tcglite.errors import TcgliteError, UsageError
from tcglite.lab import cards, health, launch, registry
from tcglite.lab.latency import Latencies, Wait, histogram_svg
from tcglite.lab.picture import figure
from tcglite.lab.worker import Worker
from tcglite.trace.events import InterruptTaken, LineRaised


def idle() -> None:
    return None


def test_a_worker_runs_commands_in_order_on_one_thread_with_the_callers_context():
    place = contextvars.ContextVar("place", default="nowhere")
    place.set("cell 1")
    seen: list[tuple[int, str, int]] = []
    worker = Worker(idle, pytest.fail)
    for number in range(3):
        worker.submit(lambda n=number: seen.append((n, place.get(), threading.get_ident())))
    worker.call(lambda: None, 5)
    worker.close()
    assert [(n, where) for n, where, _ in seen] == [(n, "cell 1") for n in range(3)]
    assert len({thread for *_, thread in seen}) == 1
    assert threading.get_ident() not in {thread for *_, thread in seen}


def test_a_worker_shows_errors_and_goes_on():
    errors: list[str] = []
    worker = Worker(idle, errors.append)

    def ours() -> None:
        raise UsageError("line 'x': expected mtip or msip")

    worker.submit(ours)
    worker.submit(lambda: [][0])
    with pytest.raises(UsageError):
        worker.call(ours, 5)
    worker.close()
    assert errors == ["line 'x': expected mtip or msip", "IndexError: list index out of range"]
    assert "IndexError" in worker.traceback


def test_a_worker_ends_at_once_even_in_the_middle_of_a_turn():
    begun, ended = threading.Event(), threading.Event()

    def turn() -> float:
        begun.set()
        worker.serve(600)
        return 600

    ready = threading.Event()

    def first() -> float | None:
        ready.wait(5)
        return turn()

    worker = Worker(first, pytest.fail, at_end=ended.set)
    ready.set()
    assert begun.wait(5)
    worker.close()
    assert ended.is_set()
    assert not worker.alive
    with pytest.raises(TcgliteError, match="run its cell again"):
        worker.call(lambda: None, 5)


class Panel:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_running_a_cell_again_stops_its_old_panel_and_stop_all_stops_the_rest():
    lab.stop_all()
    first = registry.replace("cell", Panel)
    second = registry.replace("cell", Panel)
    other = registry.replace("other", Panel)
    assert (first.closed, second.closed) == (1, 0)
    assert lab.stop_all() == 2
    assert (second.closed, other.closed) == (1, 1)
    assert lab.stop_all() == 0


def raised(line: str, insns: int, ring: int, level: int = 1) -> LineRaised:
    return LineRaised(insns=insns, time=0.0, ring=ring, line=line, level=level)


def taken(cause: int, insns: int, ring: int) -> InterruptTaken:
    return InterruptTaken(insns=insns, time=0.0, ring=ring, cause=cause, epc=0, vector=0)


def test_latency_counts_from_the_first_raise_that_waits_for_the_cause():
    found = Latencies()
    found.feed([raised("mtip", 100, 10), raised("plic:10", 103, 11), raised("plic:3", 104, 11),
                taken(7, 107, 12), raised("mtip", 109, 12, level=0)])
    found.feed([taken(11, 110, 13)])
    assert list(found.waits) == [Wait(7, 7, 2), Wait(11, 7, 2)]


def test_a_line_that_drops_before_it_is_taken_is_forgotten():
    found = Latencies()
    found.feed([raised("msip", 5, 1), raised("msip", 6, 1, level=0), raised("msip", 50, 9),
                taken(3, 52, 10)])
    assert list(found.waits) == [Wait(3, 2, 1)]


def test_the_histogram_says_in_words_what_it_shows():
    svg = histogram_svg([Wait(7, 3, 1), Wait(7, 3, 1), Wait(7, 99, 9)])
    assert 'aria-label="2 waited 3; 1 waited 15 or more"' in svg
    assert "no interrupt yet" in histogram_svg([])


@pytest.mark.parametrize("card", [cards.words, cards.riscv, cards.mail])
def test_cards_are_markdown_for_front_ends_and_for_terminals(card):
    shown = card()._repr_mimebundle_()
    assert set(shown) == {"text/markdown", "text/plain"}
    assert shown["text/plain"].startswith("### ")
    for table in shown["text/plain"].split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.replace(r"\|", "").count("|") for row in rows}) <= 1, rows


def test_doctor_is_one_line_or_silent(capsys, monkeypatch):
    lab.doctor()
    assert len(capsys.readouterr().out.splitlines()) == 1
    lab.doctor(quiet=True)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(health, "in_worker", lambda work: LookupError("shell_parent"))
    lab.doctor(quiet=True)
    told = capsys.readouterr().out
    assert told.startswith("NOT READY: a worker cannot update a widget (LookupError")
    assert "pip install 'ipykernel>=7.1'" in told


def test_source_shows_the_real_thing_and_where_it_stands():
    shown = lab.source(Latencies.feed)
    assert shown.where.replace("\\", "/") == "tcglite/lab/latency.py"
    assert shown.text.startswith("def feed(")
    assert "```python" in shown._repr_mimebundle_()["text/markdown"]
    with pytest.raises(UsageError, match="expected a function"):
        lab.source(len)


def test_pictures_carry_their_alternative_text():
    shown = figure("<svg></svg>", "two blocks & a flag", "what happened")._repr_mimebundle_()
    assert 'aria-label="two blocks &amp; a flag"' in shown["text/html"]
    assert shown["text/plain"] == "[two blocks & a flag] what happened"


def test_a_matplotlib_figure_becomes_an_image_with_alternative_text():
    from matplotlib.figure import Figure
    drawn = Figure(figsize=(1, 1))
    drawn.subplots()
    shown = figure(drawn, "an empty plot").html
    assert '<img alt="an empty plot"' in shown
    assert "data:image/png;base64," in shown


def test_present_enlarges_and_goes_back():
    from tcglite.lab import theme
    lab.present()
    assert theme.font_scale() == 1.6
    lab.present(1)
    assert theme.font_scale() == 1
    with pytest.raises(UsageError):
        lab.present(100)


def test_the_lab_opens_the_checkouts_notebooks_with_its_own_defaults(tmp_path):
    folder = launch.notebooks()
    assert (folder / launch.FIRST).exists()
    line, environment = launch.command(tmp_path, ["--no-browser"])
    assert "--no-browser" in line
    assert f"--ServerApp.root_dir={tmp_path}" in line
    first = environment["JUPYTER_CONFIG_PATH"].split(launch.os.pathsep)[0]
    settings = launch.Path(first) / "labconfig" / "default_setting_overrides.json"
    assert json.loads(settings.read_text())["@jupyterlab/apputils-extension:notification"]


def test_an_installed_lab_copies_the_notebooks_once(tmp_path, monkeypatch):
    package = tmp_path / "site" / "tcglite"
    (package / "lab").mkdir(parents=True)
    installed = package / "_data" / "notebooks"
    monkeypatch.setattr(launch, "HERE", package / "lab")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no notebooks"):
        launch.notebooks()
    installed.mkdir(parents=True)
    (installed / launch.FIRST).write_text("new")
    mine = launch.notebooks()
    (mine / launch.FIRST).write_text("my answers")
    assert (launch.notebooks() / launch.FIRST).read_text() == "my answers"
    assert mine == tmp_path / "tcglite-notebooks"


def test_every_name_of_the_lab_exists_and_others_do_not():
    for name in dir(lab):
        assert callable(getattr(lab, name)), name
    with pytest.raises(AttributeError, match="it has Bet"):
        _ = lab.Sope

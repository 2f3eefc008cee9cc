"""The panels without a browser: driven from Python, and by clicks whose errors are looked for."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from pathlib import Path

import pytest

from tcglite import lab
from tcglite.errors import TcgliteError, UsageError
from tcglite.lab import session as sessions
from tcglite.lab.bet import deal
from tcglite.lab.player import Player
from tcglite.lab.programs import resolve
from tcglite.lab.session import LEAD_OUT
from tcglite.lab.snapshot import Snapshot
from tcglite.trace.events import FlagSet, LineRaised, Refused


@pytest.fixture
def console():
    """Make panels; all of them are stopped at the end and none of them may show an error."""
    made = []

    def make(*args, **options):
        panel = lab.InterruptConsole(*args, **options)
        made.append(panel)
        return panel

    yield make
    lab.stop_all()
    assert "".join(panel.session.worker.traceback for panel in made if panel.last_error) == ""
    assert not [t.name for t in threading.enumerate() if t.name == "tcglite-panel"]


def settled(shot: Snapshot) -> bool:
    """Is the guest in its loop?"""
    return shot.main.insns > 30_000


def test_a_key_is_typed_taken_echoed_and_drawn(console):
    panel = console("echo")
    panel.wait(settled)
    panel.inject("uart", "x")
    shot = panel.wait(lambda s: s.output.endswith("X") and s.recording.events)
    assert (shot.main.pressed, shot.main.taken) == (1, 1)
    assert "taken, mepc=" in panel._strip.text
    assert "<svg" in panel._picture.value
    assert len(shot.main.waits) == 1


def test_keys_come_in_the_order_in_which_they_were_typed(console):
    panel = console("echo")
    panel.wait(settled)
    for letter in "abcdefgh":
        panel.inject("uart", letter)
    panel.wait(lambda s: s.output.endswith("ABCDEFGH"))


def test_buttons_do_what_they_say(console):
    panel = console("echo")
    panel.wait(settled)
    panel._ring.click()
    shot = panel.wait(lambda s: s.output.endswith("I") and s.recording.events)
    assert panel._freeze.description == "Freeze"
    panel._freeze.click()
    panel.wait("frozen")
    where = panel._strip.position
    panel._previous.click()
    panel.step(1)       # a command that waits: what was clicked before it is done
    assert panel._strip.position != where
    for button in (panel._next, panel._closer, panel._wider):
        button.click()
    panel._freeze.click()
    panel.wait("running")
    panel._reset.click()
    shot = panel.wait(lambda s: s.main.insns < 1000 or s.main.pressed == 0)
    assert shot.main.pressed == 0
    panel._stop.click()
    panel.wait("stopped")
    assert panel._stop.disabled
    assert panel._ring.disabled


def test_typing_and_lines_from_the_folded_part(console):
    panel = console("echo")
    panel.wait(settled)
    panel._key.value = "hi"
    panel._type.click()
    panel.wait(lambda s: s.output.endswith("HI"))
    panel._line.value = "plic:3"
    for button in (panel._raise, panel._timer, panel._doorbell):
        button.click()
    panel.wait(lambda s: s.main.pressed == 4)


def test_random_arrivals_fill_the_histogram(console):
    panel = console("bell")
    panel._rate.value = 20
    shot = panel.wait(lambda s: len(s.main.waits) >= 5)
    assert {w.cause for w in shot.main.waits} == {3}
    assert all(w.insns <= 4 for w in shot.main.waits), "no block of the loop is longer than 5"
    assert "waited at most" in panel._waits.value


def test_full_speed_runs_more(console):
    panel = console("bell")
    panel._full.value = True
    panel.wait(lambda s: s.full_speed)
    assert "full speed" in panel._status.value
    panel.inject("doorbell")
    panel.wait(lambda s: s.taken == 1 and s.recording.events)


def test_steps_are_exact_and_freeze_the_machine(console):
    panel = console("bell", run=False)
    assert panel.step(500).main.insns == 500
    panel.inject("doorbell")
    shot = panel.step(100)
    assert (shot.main.insns, shot.taken, shot.state) == (600, 1, "frozen")


def test_the_deaf_twin_hears_nothing_until_its_chain_is_broken(console):
    panel = console("echo", twin=True)
    panel.wait(lambda s: settled(s) and s.twin.insns > 100_000)
    panel.inject("uart", "x")
    shot = panel.wait(lambda s: s.output.endswith("X"))
    assert (shot.twin.pressed, shot.twin.taken) == (1, 0)
    assert "deaf twin" in panel._counters.value
    panel.freeze()
    panel.wait("frozen")
    panel.go()
    panel.wait(lambda s: s.twin.taken == 1)


def test_a_guest_that_ends_says_so_and_can_begin_again(console):
    panel = console("hello")
    shot = panel.wait("ended")
    assert "code 0" in shot.note
    assert "not live any more" in panel._picture.value
    panel.reset()
    panel.wait(lambda s: s.state == "ended" and s.main.insns == shot.main.insns)


def test_mistakes_are_shown_not_swallowed(console):
    panel = console("bell", run=False)
    with pytest.raises(UsageError, match="expected key, timer, doorbell"):
        panel.inject("telephone")
    panel._key.value = ""
    panel._type.click()     # "uart" without a character pulls the line, which is allowed
    panel.session.report(UsageError("a key press needs the character"))
    panel.wait(lambda s: s.error)
    assert "a key press needs" in panel._error.value
    panel.reset()
    panel.wait(lambda s: not s.error)
    with pytest.raises(UsageError, match="expected a function, taken"):
        panel.wait("Godot")
    with pytest.raises(TimeoutError, match="nothing of that kind"):
        panel.wait("taken", timeout=0.01)
    with pytest.raises(TcgliteError, match="no-such-guest"):
        lab.InterruptConsole("no-such-guest")


def test_an_error_on_the_worker_is_shown_and_the_panel_goes_on(console):
    panel = console("bell", run=False)
    panel.session.draw(lambda: [][0])
    panel.wait(lambda s: "IndexError" in s.error)
    panel.reset()
    panel.wait(lambda s: not s.error)


def test_running_the_cell_again_stops_the_old_panel(console):
    old = console("bell")
    old.wait("running")
    new = console("bell")
    assert old.snapshot.state == "stopped"
    with pytest.raises(TcgliteError, match="run its cell again"):
        old.step(1)
    new.wait("running")


def test_only_one_panel_runs_at_a_time(console):
    first, second = console("bell"), console("echo")
    first.wait(lambda s: s.state == "frozen" and "another panel runs" in s.note)
    second.wait("running")


def test_a_panel_nobody_touches_freezes_by_itself(console, monkeypatch):
    monkeypatch.setattr(sessions, "PATIENCE", 0.2)
    panel = console("bell")
    panel.wait(lambda s: s.state == "frozen" and "press Go" in s.note)
    panel.go()
    panel.wait("running")


def test_stop_all_stops_machines_in_the_background_too():
    from tcglite import Machine
    with Machine(lab.bell()) as machine:
        machine.start()
        assert lab.stop_all() == 1
        assert machine.wait(5).reason.value == "paused"


def test_a_closed_widget_ends_its_worker(console):
    panel = console("bell")
    panel.close()
    assert panel.snapshot.state == "stopped"


def test_where_no_kernel_runs_there_is_a_picture_and_a_text(console):
    panel = console("echo")
    panel.wait(settled)
    panel.inject("uart", "x")
    panel.wait(lambda s: s.output.endswith("X") and s.recording.events)
    panel.freeze()
    panel.wait("frozen")
    shown = panel._repr_mimebundle_()
    assert shown["text/plain"].startswith("echo: frozen")
    assert "line uart raised" in shown["text/plain"]
    assert "<svg" in shown["text/html"]
    assert 'role="img" aria-label="echo: frozen' in shown["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in shown


def test_an_exported_page_shows_the_still_picture(console):
    exporters = pytest.importorskip("nbconvert.exporters")
    from nbformat import v4
    from traitlets.config import PyFileConfigLoader
    output = v4.new_output("display_data", dict(console("echo", run=False)._repr_mimebundle_()))
    assert "application/vnd.jupyter.widget-view+json" in output.data
    notebook = v4.new_notebook(cells=[v4.new_code_cell("console", outputs=[output])])
    tools = Path(__file__).resolve().parent.parent / "tools"
    config = PyFileConfigLoader("nbconvert_config.py", path=str(tools)).load_config()
    page, _ = exporters.HTMLExporter(config=config).from_notebook_node(notebook)
    assert "A still picture of a live panel" in page


def test_snapshots_come_at_most_twenty_times_a_second(console):
    times: list[float] = []
    panel = console("bell")
    publish = panel.session._publish_to
    panel.session._publish_to = lambda shot: (times.append(time.monotonic()), publish(shot))
    panel.wait(lambda s: len(times) >= 8)
    between = sorted(b - a for a, b in itertools.pairwise(times))
    assert between[len(between) // 2] > 0.045


# -- the model -------------------------------------------------------------------------------

def test_looking_leaves_no_trace_in_pictures_and_counters():
    player = Player("bell")
    for _ in range(5):
        player.start()
        time.sleep(0.005)
        player.pause()
    player.inject("doorbell")
    player.start()
    time.sleep(0.01)
    player.pause()
    player.step(LEAD_OUT)
    player.collect()
    view = player.view()
    events = player.recording().events
    player.close()
    assert view.refused == 0
    assert view.taken == 1
    assert not [e for e in events if isinstance(e, FlagSet) and e.why == "stop"]
    assert not [e for e in events if isinstance(e, Refused)]
    assert [e for e in events if isinstance(e, LineRaised) and e.line == "msip" and e.level]


def test_guests_are_found_by_name_or_taken_as_they_are():
    assert resolve("bell")[0] == "bell"
    assert resolve("timer")[1].name == "timer.elf"
    program = lab.bell()
    assert resolve(program) == ("bell", program)
    assert "mret" in repr(program)


# -- Timeline and Bet ------------------------------------------------------------------------

@pytest.fixture(scope="module")
def rung():
    from tcglite import Machine
    with Machine(lab.bell(), trace="blocks") as machine:
        machine.raise_at(116, "msip")
        machine.run(max_insns=180, timeout=20)
        yield machine


def test_the_timeline_walks_from_mark_to_mark(rung, tmp_path):
    timeline = lab.Timeline(rung)
    assert "i=116 line msip raised in D 2/4" in timeline.text
    marks = len(timeline.drawn.marks)
    timeline.move(1)
    timeline.children[1].children[1].click()
    assert f"mark 2 of {marks}" in timeline._where.value
    timeline.move(-9)
    assert f"mark 1 of {marks}" in timeline._where.value
    timeline.zoom(-1)
    timeline.everything()
    assert timeline._where.value.endswith(f"{marks} marks</span>")
    shown = timeline._repr_mimebundle_()
    assert shown["text/plain"].startswith("Timeline of guest instructions")
    timeline.save(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    assert lab.Timeline(rung, mark=-1).drawn.marks[-1].shown


def test_a_timeline_wants_events():
    for wrong in (3, "events", [1]):
        with pytest.raises(UsageError, match="expected"):
            lab.Timeline(wrong)
    assert lab.Timeline([]).drawn.mode == "empty"


def test_a_timeline_of_nothing_says_what_to_do(rung):
    from tcglite import Machine
    with Machine(lab.bell()) as machine, pytest.raises(UsageError, match="trace='blocks'"):
        lab.Timeline(machine)
    for window in ((180, 190), (5000, 6000), (-9, 0)):
        with pytest.raises(UsageError, match="has instructions 0 to 180"):
            lab.Timeline(rung, window=window)
    assert lab.Timeline(rung, window=(170, 999)).drawn.mode != "empty"


@pytest.mark.parametrize("window", ["x", (1,), (1, 2, 3), ("a", "b"), 1.5, [1, 2]])
def test_a_window_is_a_mark_or_a_pair(rung, window):
    with pytest.raises(UsageError, match="expected None, the number of a mark, or a pair"):
        lab.Timeline(rung, window=window)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("guest", ["nope", 3])
def test_a_bad_guest_is_one_error_and_nothing_after_it(guest):
    with pytest.raises(TcgliteError) as caught:
        lab.InterruptConsole(guest)
    assert guest != "nope" or "known: hello" in str(caught.value)
    del caught
    gc.collect()


def test_foreign_values_are_usage_errors(console):
    panel = console("echo", run=False)
    for what, value in ((None, ""), ("uart", 3)):
        with pytest.raises(UsageError, match="expected texts"):
            panel.inject(what, value)
    with pytest.raises(UsageError, match="font scale 'x'"):
        lab.present("x")


def test_a_bet_is_the_same_for_everybody_and_has_a_right_answer():
    first = deal("bell", "msip", 7, 3)
    assert deal("bell", "msip", 7, 3) == first
    assert {deal("bell", "msip", 7, n).answer for n in range(8)} <= {"D", "E", "F"}
    assert len({deal("bell", "msip", 7, n).after for n in range(8)}) > 4


def test_bets_are_placed_revealed_and_counted():
    bet = lab.Bet(seed=3)
    right = bet.round.answer
    wrong = next(letter for letter in bet.round.options if letter != right)
    assert bet.place(right).startswith("Right.")
    assert bet.score == "1 of 1"
    assert bet.place(wrong).startswith("Right."), "a bet counts once"
    bet.another()
    assert bet.place(next(x for x in bet.round.options if x != bet.round.answer)).startswith("No:")
    assert bet.score == "1 of 2"
    with pytest.raises(UsageError, match="expected one of"):
        bet.place("Z")
    bet._place.click()
    assert "mepc" in bet._repr_mimebundle_()["text/plain"]
    bet.close()


def test_a_bet_by_clicks():
    bet = lab.Bet(seed=3)
    bet._place.click()          # nothing chosen yet
    bet._worker.call(lambda: None, 10)
    assert "expected one of" in (bet.last_error or "")
    bet._choice.value = bet.round.answer
    bet._place.click()
    bet._another.click()
    bet._worker.call(lambda: None, 60)
    assert (bet.last_error, bet.score, bet.number) == (None, "1 of 1", 1)
    bet.close()


def test_a_bet_ends_with_all_other_panels():
    bet = lab.Bet(seed=3)
    lab.stop_all()
    with pytest.raises(TcgliteError, match="run its cell again"):
        bet.place(bet.round.answer)


def test_a_bet_needs_a_line_that_the_guest_listens_to():
    with pytest.raises(TcgliteError, match="nothing was taken"):
        deal("bell", "mtip", 1, 0)

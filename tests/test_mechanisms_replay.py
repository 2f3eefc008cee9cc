"""Record and replay: what came from outside comes again at the same instructions."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import backends
import pytest
from engine import ENABLE, END, SECONDS, STAY, THREE_BLOCKS, machine, registers, run

from tcglite import Machine, guests
from tcglite.errors import GuestError, TcgliteError, UsageError
from tcglite.machine import StopReason
from tcglite.trace import events as ev

pytestmark = pytest.mark.usefixtures("backend")

#: What the guest can notice. Where blocks were cut, and why the loop came by, may differ between
#: the recording, which was disturbed from outside, and its replay.
ARCHITECTURE = (
    ev.LineRaised,
    ev.InterruptTaken,
    ev.ExceptionRaised,
    ev.TrapReturn,
    ev.EnableChanged,
    ev.DeviceAccess,
    ev.Halted,
    ev.Woken,
)


def rows(m: Machine, *kinds: type[ev.Event]) -> list[tuple[Any, ...]]:
    """Events of these kinds (or all) without host time, ring positions and host addresses."""
    return [
        backends.without_addresses(event)
        for event in m.events
        if not kinds or isinstance(event, kinds)
    ]


def echo(**options: Any) -> Machine:
    """The bundled guest that swaps the case of what is typed until q comes."""
    return Machine(
        guests.load("echo"), backend=backends.chosen, icount=0, trace="blocks", memory="1M",
        **options,
    )  # fmt: skip


def recorded_echo(path: Path) -> Machine:
    """Typed while it runs: each key when the answer to the last one has been printed."""
    answered = threading.Semaphore(0)
    m = echo(on_output=lambda data: answered.release())
    m.record()
    m.start()
    for _ in "Type; q ends.\n":
        assert answered.acquire(timeout=SECONDS)
    for key, answer in (("H", "h"), ("i", "I"), ("7", "[7]"), ("é", "[.][.]")):
        m.uart.type(key)
        for _ in answer:
            assert answered.acquire(timeout=SECONDS)
    m.uart.type("aq")
    assert m.wait(SECONDS).reason is StopReason.EXIT
    m.save_recording(path)
    return m


def replayed_echo(path: Path) -> Machine:
    m = echo()
    m.replay(path)
    assert m.run(timeout=SECONDS).reason is StopReason.EXIT
    return m


def test_what_was_typed_at_any_time_comes_again_at_the_same_instruction(tmp_path: Path) -> None:
    path = tmp_path / "echo.json"
    first = recorded_echo(path)
    again = replayed_echo(path)
    assert again.console == first.console
    assert again.insns == first.insns
    assert registers(again) == registers(first)
    assert rows(again, *ARCHITECTURE) == rows(first, *ARCHITECTURE)
    assert again.stats.interrupts_taken == first.stats.interrupts_taken >= 5
    third = replayed_echo(path)
    assert rows(third) == rows(again), "two replays are the same in everything"


def test_the_recording_holds_instruction_numbers_and_inputs(tmp_path: Path) -> None:
    path = tmp_path / "echo.json"
    recorded_echo(path)
    data = json.loads(path.read_text(encoding="utf-8"))
    inputs = data["inputs"]
    assert "".join(text for _, _, text in inputs) == "Hi7" + "é".encode().decode("latin-1") + "aq"
    numbers = [n for n, _, _ in inputs]
    assert numbers == sorted(numbers)
    assert numbers[0] > 0
    assert (data["icount"], data["memory"]) == (0, 1 << 20)


LINES = (
    ENABLE
    + THREE_BLOCKS
    + f"""
        .balign 64
handler: csrr   t0, mcause
        slli    s8, s8, 4
        add     s8, s8, t0
        li      t0, 0x2000000
        sw      x0, 0(t0)
        addi    s9, s9, 1
        li      t0, 3
        beq     s9, t0, done
        mret
done:   {END}
"""
)


def test_lines_are_recorded_and_replayed(tmp_path: Path) -> None:
    """Raised while the machine is paused, at odd places; the replay runs without any pause."""
    path = tmp_path / "lines.json"
    first = machine(LINES, icount=2)
    first.record()
    for pause in (17, 31, 100):
        run(first, pause)
        first.raise_irq("msip")
    assert run(first, 1000).exit_code == 0
    first.save_recording(path)
    assert [row[:3] for row in json.loads(path.read_text())["inputs"]] == [
        [17, "line", "msip"],
        [48, "line", "msip"],
        [148, "line", "msip"],
    ]
    again = machine(LINES, icount=2)
    again.replay(path)
    assert run(again, 10_000).exit_code == 0
    assert registers(again) == registers(first)
    assert rows(again, *ARCHITECTURE) == rows(first, *ARCHITECTURE)
    assert [row[1] for row in rows(again, ev.InterruptTaken)] == [17, 48, 148]


def test_an_input_at_instruction_0_and_one_during_sleep(tmp_path: Path) -> None:
    path = tmp_path / "sleep.json"
    source = f"""
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 8
        csrw    mie, t0
        csrr    s1, mip
        csrsi   mstatus, 8
        wfi
        j       .
        .balign 64
handler: li     t0, 0x2000000
        sw      x0, 0(t0)
        addi    s9, s9, 1
        li      t0, 2
        beq     s9, t0, done
        mret
done:   {END}
"""
    first = machine(source, icount=0)
    asleep = threading.Event()
    first.recorder.listen(lambda event: isinstance(event, ev.Halted) and asleep.set())
    first.record()
    first.raise_irq("msip")
    first.start()
    assert asleep.wait(SECONDS)
    first.raise_irq("msip")
    assert first.wait(SECONDS).exit_code == 0
    first.save_recording(path)
    again = machine(source, icount=0)
    again.replay(path)
    assert run(again, 1000).exit_code == 0
    assert again.cpu["s1"] & 8
    assert again.insns == first.insns
    assert rows(again, *ARCHITECTURE) == rows(first, *ARCHITECTURE)


def test_a_replay_takes_no_other_input(tmp_path: Path) -> None:
    path = tmp_path / "echo.json"
    recorded_echo(path)
    m = echo()
    m.replay(path)
    with pytest.raises(UsageError, match="replays a recording"):
        m.uart.type("x")
    with pytest.raises(UsageError, match="replays a recording"):
        m.raise_irq("msip")


def test_recording_needs_icount(tmp_path: Path) -> None:
    m = machine(ENABLE + THREE_BLOCKS + STAY)
    with pytest.raises(UsageError, match="recording needs icount"):
        m.record()
    with pytest.raises(UsageError, match="replaying needs icount"):
        m.replay(tmp_path / "none.json")


GOOD = {"format": "tcglite-recording-1", "icount": 0, "memory": 0x1_0000, "inputs": []}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read"),
        ("", "cannot read"),
        ("[]", "is not a recording"),
        ('{"format": "something else"}', "is not a recording"),
        (json.dumps(GOOD | {"icount": 3}), "icount=3, not 0"),
        (json.dumps(GOOD | {"memory": 1}), "memory=1, not 65536"),
        (json.dumps(GOOD | {"inputs": 5}), "inputs"),
        (json.dumps(GOOD | {"inputs": [[0, "type"]]}), "inputs"),
        (json.dumps(GOOD | {"inputs": [[0, "type", 7]]}), "inputs"),
        (json.dumps(GOOD | {"inputs": [["0", "type", "x"]]}), "inputs"),
        (json.dumps(GOOD | {"inputs": [[5, "type", "x"], [4, "type", "y"]]}), "inputs"),
        (json.dumps(GOOD | {"inputs": [[0, "poke", "x"]]}), "inputs"),
        (json.dumps(GOOD | {"inputs": [[0, "line", "msip", 2]]}), "inputs"),
    ],
)
def test_bad_recordings_are_refused(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)
    m = machine(ENABLE + THREE_BLOCKS + STAY, icount=0)
    with pytest.raises(GuestError, match=says) as caught:
        m.replay(path)
    assert "\n" not in str(caught.value)
    assert run(m, 100).insns == 100, "and the machine is as it was"


def test_a_recording_of_a_line_that_this_board_lacks_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "line.json"
    path.write_text(json.dumps(GOOD | {"inputs": [[20, "line", "bell", 1]]}))
    m = machine(ENABLE + THREE_BLOCKS + STAY, icount=0)
    m.replay(path)
    with pytest.raises(TcgliteError, match="bell"):
        run(m, 100)

"""What needs a process of its own: Ctrl-C, the end of a process, spawned and forked children.

Times are bounded generously, so that only a hang fails.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import backends
import pytest

pytestmark = pytest.mark.usefixtures("backend")

SECONDS = 60  #: a process that takes so long hangs
BEFORE = """
import functools, os, sys, threading
from tcglite import Machine, Mechanisms, guests
from tcglite.target.asm import assemble
Machine = functools.partial(Machine, backend="BACKEND")
SPIN = assemble("_start: addi s0, s0, 1\\n addi s1, s1, 3\\n xor s2, s2, s1\\n j _start\\n")
PRINT = assemble("_start: li t0, 0x10000000\\n1: sb t0, 0(t0)\\n addi s0, s0, 1\\n j 1b\\n")
SLEEP = assemble("_start: li t0, 0x808\\n csrw mie, t0\\n1: wfi\\n j 1b\\n")
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and forks")


def start(tmp_path: Path, script: str) -> subprocess.Popen[str]:
    path = tmp_path / "script.py"
    before = BEFORE.replace("BACKEND", backends.chosen)
    path.write_text(before + textwrap.dedent(script), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(path)], text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(tmp_path: Path, script: str, status: int = 0) -> str:
    """What it prints; it must end with ``status`` and print no error."""
    with start(tmp_path, script) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert err == ""
    assert process.returncode == status
    return out


@posix
def test_ctrl_c_ends_a_run_and_the_machine_goes_on(tmp_path: Path) -> None:
    """In every way to look for interrupts, counting or not, asleep or not."""
    script = """
        import time
        for check in ("tb-start", "tb-end", "every-insn", "quantum", "acyclic", "unlink", "never"):
            for source in (SPIN, SLEEP):
                for options in ({}, {"count": False}, {"icount": 0}, {"trace": "blocks"}):
                    if "icount" in options and check != "tb-start":
                        continue
                    if check == "quantum" and "count" in options:
                        continue
                    mechanisms = Mechanisms(irq_check=check)
                    m = Machine(source, memory="64K", mechanisms=mechanisms, **options)
                    def announce():
                        while not m.running:
                            time.sleep(0.001)
                        time.sleep(0.01)
                        print("running", flush=True)
                    threading.Thread(target=announce).start()
                    try:
                        m.run()
                    except KeyboardInterrupt:
                        assert not m.running
                    else:
                        raise SystemExit("no KeyboardInterrupt")
                    if source is SPIN:
                        done, s0 = m.insns, m.cpu["s0"]
                        assert s0 - m.cpu["s1"] // 3 in (0, 1)
                        if "count" not in options:
                            assert done // 4 <= s0 <= done // 4 + 1
                            assert m.run(max_insns=400, timeout=60).insns == 400
                            assert m.insns == done + 400
                            assert m.cpu["s0"] == s0 + 100
                        else:
                            m.run(timeout=0.05)
                            assert m.cpu["s0"] > s0
                    m.close()
                    print("intact", flush=True)
    """
    with start(tmp_path, script) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            assert line == "running\n"
            then = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "intact\n"
            assert time.monotonic() - then < 20
        assert process.stderr.read() == ""
    assert process.returncode == 0


@posix
@pytest.mark.parametrize(
    ("check", "guest"),
    [("tb-start", "SPIN"), ("unlink", "SPIN"), ("never", "SPIN"), ("tb-start", "PRINT")],
)
def test_ctrl_c_at_any_moment(tmp_path: Path, check: str, guest: str) -> None:
    """Hundreds of them, each at its own moment of starting, running, waiting, stopping, printing:
    nothing but KeyboardInterrupt comes out, nothing runs on, nothing is locked for ever."""
    script = """
        import random, signal, time

        def interrupt(*_):
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        rng = random.Random(1)
        printed = []
        m = Machine(GUEST, memory="64K", mechanisms=Mechanisms(irq_check="CHECK"),
                    on_output=printed.append)
        end = time.monotonic() + 2
        interrupts = 0
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.random() * 0.004 + 1e-6)
                m.run(timeout=0.002)
            except KeyboardInterrupt:
                interrupts += 1
            while True:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    break
                except KeyboardInterrupt:
                    pass
            assert not m.running
        assert interrupts > 20, interrupts
        assert m.run(max_insns=100, timeout=60).insns == 100
        assert len(printed) == len(m.console)
        assert len(printed) - m.cpu["s0"] in (0, 1) or GUEST is SPIN
        m.close()
    """
    run(tmp_path, script.replace("CHECK", check).replace("GUEST", guest))


ENDS = {
    "spins": "m = Machine(SPIN); m.start(); wait()",
    "spins, traced": "m = Machine(SPIN, trace='times'); m.start(); wait()",
    "never": "m = Machine(SPIN, mechanisms=Mechanisms(irq_check='never')); m.start(); wait()",
    "unlink": "m = Machine(SPIN, mechanisms=Mechanisms(irq_check='unlink')); m.start(); wait()",
    "acyclic": "m = Machine(SPIN, mechanisms=Mechanisms(irq_check='acyclic')); m.start(); wait()",
    "uncounted": "m = Machine(SPIN, count=False); m.start(); time.sleep(0.05)",
    "sleeps": "m = Machine(SLEEP); m.start(); wait()",
    "icount": "m = Machine(SPIN, icount=0); m.start(); wait()",
    "a timer": "m = Machine(guests.load('timer')); m.start(); wait()",
    "just started": "m = Machine(SPIN); m.start()",
    "paused": "m = Machine(SPIN); m.start(); wait(); m.pause()",
    "closed": "m = Machine(SPIN); m.start(); wait(); m.close()",
    "dropped": "m = Machine(SPIN); m.start(); wait(); del m",
    "several": "ms = [Machine(SPIN) for _ in range(5)]; [m.start() for m in ms]; m = ms[0]; wait()",
    "started from a thread": """
def work():
    m.run()
m = Machine(SPIN)
threading.Thread(target=work, daemon=True).start()
wait()
""",
    "a callback that never returns": """
inside = threading.Event()
def output(data):
    inside.set()
    threading.Event().wait()
m = Machine(guests.load("hello"), on_output=output)
m.start()
inside.wait()
""",
    "a callback that prints": """
m = Machine(guests.load("hello"), on_output=lambda data: None)
m.start()
m.wait(timeout=60)
""",
}
WAIT = """
import time
def wait():
    while m.insns < 3:
        time.sleep(0.001)
"""


@pytest.mark.parametrize("how", ENDS)
def test_a_process_ends_cleanly_whatever_its_machines_do(tmp_path: Path, how: str) -> None:
    assert run(tmp_path, WAIT + ENDS[how].strip() + "\nprint('end')\n") == "end\n"


def test_a_process_keeps_its_exit_status(tmp_path: Path) -> None:
    run(tmp_path, WAIT + "m = Machine(SPIN); m.start(); wait(); sys.exit(3)", status=3)


@posix
def test_ctrl_c_outside_of_run_ends_the_process(tmp_path: Path) -> None:
    script = WAIT + "m = Machine(SPIN); m.start(); wait()\nprint('go', flush=True)\ntime.sleep(60)"
    with start(tmp_path, script) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "go\n"
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS)
        assert process.stderr.read().endswith("KeyboardInterrupt\n")


def test_spawned_processes_have_machines_of_their_own(tmp_path: Path) -> None:
    script = """
        import multiprocessing

        def work(name):
            with Machine(guests.load(name)) as m:
                return m.run(timeout=60).reason.value, m.console

        if __name__ == "__main__":
            m = Machine(SPIN)
            m.start()
            names = ["hello", "fault", "syscalls"]
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                results = pool.map(work, names)
            assert results == [("exit", guests.info(name).console) for name in names], results
            assert m.running
            print("end")
    """
    assert run(tmp_path, script) == "end\n"


@posix
def test_in_a_forked_child_the_parents_machines_are_closed(tmp_path: Path) -> None:
    """No thread is there to run them: a clear error, not a wait for ever. New ones work, and what
    the child writes to memory is its own."""
    script = """
        import time, warnings
        from tcglite.errors import StateError
        warnings.simplefilter("ignore")
        idle, busy = Machine(SPIN, memory="64K"), Machine(SPIN, memory="64K")
        idle.run(max_insns=40, timeout=60)
        busy.start()
        child = os.fork()
        if not child:
            assert not idle.running and not busy.running
            for m in (idle, busy):
                for act in (m.start, m.run):
                    try:
                        act()
                    except StateError as error:
                        assert "closed" in str(error)
                    else:
                        raise SystemExit("it ran")
            assert idle.cpu["s0"] == 10
            idle.memory[0x80001000] = 0x55
            with Machine(guests.load("hello")) as m:
                assert m.run(timeout=60).reason.value == "exit"
            idle.close()
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert idle.memory[0x80001000] == 0
        assert idle.run(max_insns=40, timeout=60).insns == 40
        assert busy.running
        busy.close()
        print("end")
    """
    assert run(tmp_path, script) == "end\n"

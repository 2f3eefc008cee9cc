"""The command line: exit statuses, JSON, logs, the terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tcglite import cli
from tcglite.target.asm import assemble
from tcglite.tcg.backends import BACKENDS

TCGLITE = [sys.executable, "-m", "tcglite"]
FAILS_WITH_300 = """
    li t0, 0x100000
    li t1, 300 << 16 | 0x3333
    sw t1, 0(t0)
stop: j stop
"""


def tcglite(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TCGLITE, *args], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def report(*args: str, stdin: str = "") -> dict:
    done = tcglite("run", *args, "--json", stdin=stdin)
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done
    return json.loads(lines[0]) | {"status": done.returncode}


@pytest.fixture
def program(tmp_path: Path):
    def build(source: str) -> str:
        path = tmp_path / "guest.elf"
        path.write_bytes(assemble(source).to_elf())
        return str(path)

    return build


def test_run_prints_the_console_and_nothing_else():
    done = tcglite("run", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello, world!\n", "")


def test_json_has_the_promised_fields():
    got = report("hello")
    assert got["reason"] == "exit"
    assert got["exit_code"] == 0
    assert got["console"] == "Hello, world!\n"
    assert got["backend"] in BACKENDS
    assert got["insns"] == 65
    assert got["seconds"] > 0
    assert isinstance(got["pc"], int)
    assert set(got["stats"]) == {
        "tb_translated", "tb_invalidated", "loop_returns", "chain_patched", "tb_refused",
        "interrupts_taken", "exceptions", "state_restores", "io_recompiles",
    }  # fmt: skip


def test_numbers_are_null_without_counting():
    got = report("hello", "--no-count")
    assert got["insns"] is None
    assert got["reason"] == "exit"


def test_console_bytes_that_are_not_utf8_are_escaped(program):
    got = report(program("li t0, 0x10000000\n li t1, 0xff\n sb t1, 0(t0)\n" + FAILS_WITH_300))
    assert got["console"] == "\\xff"


@pytest.mark.parametrize(
    ("args", "reason", "status"),
    [
        (["loop", "--max-insns", "1001"], "max-insns", 124),
        (["loop", "--timeout", "0.2"], "timeout", 124),
        (["hello"], "exit", 0),
    ],
)
def test_exit_status_says_how_it_ended(args: list[str], reason: str, status: int):
    got = report(*args)
    assert (got["reason"], got["status"]) == (reason, status)


@pytest.mark.parametrize(
    ("source", "reason", "status"),
    [
        ("ecall", "unhandled-trap", 123),
        ("csrw mie, zero\n wfi", "deadlock", 123),
        ("li t0, 0x100000\n li t1, 0x7777\n sw t1, 0(t0)\n1: j 1b", "reset", 123),
        (FAILS_WITH_300, "exit", 300 % 256),
        (FAILS_WITH_300.replace("300", "256"), "exit", 1),
    ],
)
def test_exit_status_of_programs(program, source: str, reason: str, status: int):
    got = report(program(source))
    assert (got["reason"], got["status"]) == (reason, status)


def test_max_insns_is_exact():
    assert report("loop", "--max-insns", "12345")["insns"] == 12345


def test_a_stop_that_is_not_the_guests_is_explained_in_one_line(program):
    done = tcglite("run", program("ecall"))
    assert done.returncode == 123
    assert done.stderr.startswith("tcglite: unhandled-trap after 0 instructions at pc 0x0: ecall")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["run", "helo"], "unknown guest 'helo'"),
        (["run", "./no/such.elf"], "No such file"),
        (["run", "hello", "--backend", "arm"], "unknown backend 'arm'"),
        (["run", "hello", "--backend", "arm"], "auto, x86_64, python"),
        (["run", "hello", "--record", "/no/dir/f", "--icount", "1"], "there is no directory"),
        (["run", "hello", "--irq", "mtip"], "expected LINE@INSN"),
        (["run", "hello", "--irq", "nmi@5"], "'nmi'"),
        (["run", "hello", "--max-insns", "many"], "'many' is not a number"),
        (["run", "hello", "--memory", "64X"], "memory='64X'"),
        (["run", "hello", "--icount", "99"], "icount=99"),
        (["run", "hello", "-d", "everything"], "'everything'"),
        (["run", "hello", "--record", "f.json"], "recording needs icount"),
        (["run", "hello", "--drive", "x.img"], "virtio-blk"),
        (["run", "hello", "--append", "quiet"], "device tree"),
        (["run", "hello", "--no-count", "--max-insns", "5"], "count=False"),
        (["run", "hello", "--no-count", "--irq-check", "quantum"], "needs count=True"),
        (["run", "hello", "--timeline", "x.gif"], "expected a name that ends in .png or .svg"),
        (["run", "hello", "-d", "int", "-D", "/no/such/dir/log"], "No such file or directory"),
        (["run"], "GUEST"),
        (["fly"], "invalid choice"),
        ([], "COMMAND"),
    ],
)
def test_bad_usage_is_one_line_and_125(args: list[str], expected: str):
    done = tcglite(*args)
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "error: " in done.stderr
    assert expected in done.stderr


def test_a_damaged_elf_is_one_line_and_125(tmp_path: Path):
    bad = tmp_path / "bad.elf"
    bad.write_bytes(b"\x7fELF" + bytes(100))
    done = tcglite("run", str(bad))
    assert (done.returncode, done.stderr.count("\n")) == (125, 1)


def test_stdin_text_is_typed():
    got = report("echo", "--stdin", "abq")
    assert "2 keys" in got["console"]


def test_standard_input_is_streamed():
    assert "2 keys" in report("echo", "--stdin", "-", stdin="abq")["console"]
    assert "2 keys" in report("echo", stdin="abq")["console"]


def test_irq_is_raised_right_after_the_instruction(tmp_path: Path):
    done = tcglite("run", "timer", "--irq", "mtip@450", "--max-insns", "480", "-d", "int,exec")
    assert done.stderr.count("async:1, cause:0000000000000007") == 1
    assert "Stopped execution of TB chain before" in done.stderr
    again = tcglite("run", "timer", "--irq", "mtip@450", "--max-insns", "480", "-d", "int,exec")
    host = re.compile(r"0x7\w{11} |(?<=-> )0x7\w{11}")  # where the system has put the buffer
    assert host.sub("", again.stderr) == host.sub("", done.stderr)  # deterministic without icount


def test_log_goes_to_its_file(tmp_path: Path):
    log = tmp_path / "log"
    done = tcglite("run", "hello", "-d", "in_asm,op,op_opt,out_asm,exec,int", "-D", str(log))
    assert (done.stdout, done.stderr) == ("Hello, world!\n", "")
    text = log.read_text()
    for part in ("IN: _start", "OP:", "OP after optimization", "OUT: [size=", "Linking TBs"):
        assert part in text
    assert re.search(r"^Trace 0: 0x[0-9a-f]+ \[0{16}/0000000080000000/", text, re.MULTILINE)


def test_nochain_logs_every_block():
    done = tcglite("run", "hello", "-d", "exec,nochain")
    assert "Linking" not in done.stderr
    assert done.stderr.count(" print_next") == len("Hello, world!\n") - 1


def test_record_and_replay(tmp_path: Path):
    file = str(tmp_path / "keys.json")
    first = report("echo", "--icount", "0", "--stdin", "hello q", "--record", file)
    second = report("echo", "--icount", "0", "--replay", file)
    for key in ("console", "insns", "pc", "stats"):
        assert first[key] == second[key]
    assert tcglite("run", "echo", "--icount", "1", "--replay", file).returncode == 125


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_timeline(tmp_path: Path, suffix: str):
    picture = tmp_path / f"t{suffix}"
    done = tcglite("run", "timer", "--irq", "mtip@450", "--max-insns", "480",
                   "--timeline", str(picture))  # fmt: skip
    assert done.returncode == 124
    assert picture.stat().st_size > 5000


def test_guests_and_disas():
    listed = tcglite("guests").stdout
    assert re.search(r"^timer +asm +\S", listed, re.MULTILINE)
    listing = tcglite("disas", "hello").stdout
    assert "<print_next>:" in listing
    assert re.search(r"80000010:  00530023  sb +t0, 0\(t1\)", listing)


def test_load_and_bios_places(tmp_path: Path):
    firmware = assemble("li t0, 0x80200000\n jr t0").to_elf()
    (tmp_path / "fw.elf").write_bytes(firmware)
    kernel = assemble(
        "li t0, 0x81000000\n lbu t1, 0(t0)\n li t0, 0x10000000\n sb t1, 0(t0)\n" + FAILS_WITH_300,
        origin=0x80200000,
    )
    (tmp_path / "kernel.elf").write_bytes(kernel.to_elf())
    (tmp_path / "data.bin").write_bytes(b"Z")
    got = report(
        str(tmp_path / "kernel.elf"), "--bios", str(tmp_path / "fw.elf"),
        "--load", f"{tmp_path / 'data.bin'}@0x81000000",
    )  # fmt: skip
    assert (got["console"], got["exit_code"]) == ("Z", 300)


def test_main_is_callable_in_process(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["guests"]) == 0
    assert "hello" in capsys.readouterr().out


def _in_terminal(args: list[str], steps: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Run in a pseudo-terminal; each step waits for a text, then types. (status, all output)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*TCGLITE, *args])
    output = b""
    end = time.monotonic() + 60
    for wanted, keys in steps:
        while wanted not in output:
            assert time.monotonic() < end, output
            output += os.read(fd, 4096)
        os.write(fd, keys)
    try:
        while data := os.read(fd, 4096):
            output += data
    except OSError:  # the other end is closed
        pass
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), output


def test_keys_reach_the_guest_one_by_one():
    status, output = _in_terminal(
        ["run", "echo"], [(b"q ends", b"a"), (b"A", b"b"), (b"AB", b"q")]
    )
    assert status == 0
    assert b"2 keys" in output


def test_ctrl_a_x_leaves():
    assert _in_terminal(["run", "echo"], [(b"q ends", b"a"), (b"A", b"\x01x")])[0] == 0


def test_ctrl_c_interrupts():
    assert _in_terminal(["run", "echo"], [(b"q ends", b"\x03")])[0] == 130


def test_ctrl_c_without_a_terminal():
    process = subprocess.Popen([*TCGLITE, "run", "echo"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert b"q ends" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.startswith(b"tcglite: interrupted after ")


def test_ctrl_c_loses_nothing(tmp_path: Path):
    """For an endless guest it is the normal end: JSON, recording and picture are still made."""
    keys, picture = tmp_path / "keys.json", tmp_path / "t.svg"
    process = subprocess.Popen(
        [*TCGLITE, "run", "echo", "--icount", "0", "--json", "--record", str(keys),
         "--timeline", str(picture)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(3)  # there is no sign of life: --json prints nothing before the end
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
    assert json.loads(output)["reason"] == "interrupted"
    assert json.loads(keys.read_text())["inputs"] == []
    assert picture.stat().st_size > 1000

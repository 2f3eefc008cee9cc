"""Running a guest on the QEMU that is installed, within limits: its log can fill a disk, and its
disassembler can spin so hard that only SIGKILL ends it."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

QEMU = shutil.which("qemu-system-riscv64")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="needs qemu-system-riscv64")

#: As near to our hart as QEMU 7.2 comes; F and D stay, as their registers do here.
CPU = "rv64,h=off,s=off,mmu=off,zba=off,zbb=off,zbc=off,zbs=off,sstc=off"
CPU_WITHOUT_PMP = CPU + ",pmp=off"
LOG_LIMIT = 50 << 20


def version() -> tuple[int, int]:
    """Of the QEMU installed here."""
    assert QEMU is not None
    text = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", text)
    assert found, text
    return int(found[1]), int(found[2])


@dataclass(frozen=True)
class QemuRun:
    """Exit status (-9 when it had to be killed), console, and the log."""

    status: int
    console: str
    log: str


def run_qemu(
    elf: Path,
    directory: Path,
    *options: str,
    cpu: str = CPU,
    log: str = "",
    limit: int = LOG_LIMIT,
    seconds: int = 30,
) -> QemuRun:
    """Run ``elf`` as ``-kernel`` with 64 MB; ``log``: items of ``-d``, at most ``limit`` bytes of
    it, after which the system kills QEMU."""
    assert QEMU is not None
    command = [
        "timeout", "-s", "KILL", str(seconds), QEMU, "-M", "virt", "-bios", "none", "-m", "64M",
        "-cpu", cpu, "-display", "none", "-monitor", "none", "-kernel", str(elf),
    ]  # fmt: skip
    console, log_file = directory / "console", directory / "qemu.log"
    command += ["-serial", f"file:{console}"]
    if log:
        command += ["-d", log, "-D", str(log_file)]
    result = subprocess.run(
        [*command, *options],
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert b"qemu" not in result.stderr, result.stderr.decode()
    text = log_file.read_text(encoding="utf-8", errors="replace") if log else ""
    return QemuRun(result.returncode, console.read_text(errors="backslashreplace"), text)

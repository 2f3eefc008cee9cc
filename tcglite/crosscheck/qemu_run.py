"""Running a guest on the QEMU that is installed, within limits: its log can fill a disk, and the
disassembler of 7.2 can spin so hard that only SIGKILL ends it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import TcgliteError

QEMU = shutil.which("qemu-system-riscv64")

#: As near to our hart as QEMU 7.2 comes; F and D stay, as their registers do here.
CPU = "rv64,h=off,s=off,mmu=off,zba=off,zbb=off,zbc=off,zbs=off,sstc=off"
CPU_WITHOUT_PMP = CPU + ",pmp=off"
LOG_LIMIT = 50 << 20  #: bytes that QEMU may write to one file

# The limit is set by a shell, as Python code between fork and exec may hang beside threads;
# POSIX gives ulimit -f in units of 512 bytes.
_LIMITED = 'ulimit -c 0; ulimit -f "$1"; shift; exec "$@"'
_ULIMIT_UNIT = 512


def executable() -> str:
    """Where QEMU is. Raises TcgliteError that says how to install it."""
    if QEMU is None:
        raise TcgliteError(
            "qemu-system-riscv64 is not installed; Debian, Ubuntu: apt install qemu-system-misc; "
            "macOS: brew install qemu"
        )
    return QEMU


@cache
def version_text() -> str:
    """Version of the QEMU installed here, like "7.2.22"."""
    text = subprocess.run(
        [executable(), "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    found = re.search(r"version (\d+\.\d+[.\d]*)", text)
    if found is None:
        raise TcgliteError(f"no version in what qemu-system-riscv64 says: {text[:60]!r}")
    return found[1]


def version() -> tuple[int, int]:
    """Major and minor version of the QEMU installed here."""
    major, minor = version_text().split(".")[:2]
    return int(major), int(minor)


@dataclass(frozen=True)
class QemuRun:
    """``status``: exit status (-9 when it had to be killed); ``output``: the console's bytes;
    ``log``: of ``-d``, complete unless ``truncated`` at the limit."""

    status: int
    output: bytes
    log: str
    truncated: bool = False

    @property
    def console(self) -> str:
        """The output as text; bytes that are not UTF-8 are backslash-escaped."""
        return self.output.decode("utf-8", "backslashreplace")


def run_qemu(
    elf: Path,
    directory: Path,
    *options: str,
    cpu: str = CPU,
    log: str = "",
    limit: int = LOG_LIMIT,
    seconds: float = 30,
    stdin: bytes = b"",
) -> QemuRun:
    """Run ``elf`` as ``-kernel`` with 64 MB, in ``directory``. ``log``: items of ``-d``;
    ``limit``: bytes of the log and of the console; ``stdin``: typed at the start. After
    ``seconds`` it is killed."""
    log_file = directory / "qemu.log"
    command = [
        "/bin/sh", "-c", _LIMITED, "sh", str(limit // _ULIMIT_UNIT),
        executable(), "-M", "virt", "-bios", "none", "-m", "64M", "-cpu", cpu,
        "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", str(elf),
    ]  # fmt: skip
    if log:
        command += ["-d", log, "-D", str(log_file)]
    status, output, errors = _run([*command, *options], directory, stdin, seconds)
    if "qemu" in errors:
        raise TcgliteError(f"QEMU does not run {elf}: {errors.strip()}")
    text = log_file.read_text(encoding="utf-8", errors="replace") if log else ""
    truncated = bool(log) and log_file.stat().st_size >= limit - _ULIMIT_UNIT
    return QemuRun(status, output, text, truncated)


def _run(
    command: list[str], directory: Path, stdin: bytes, seconds: float
) -> tuple[int, bytes, str]:
    """Status, stdout and stderr of ``command``, through files, so that the limit holds for them."""
    with (
        tempfile.TemporaryFile(dir=directory) as out,
        tempfile.TemporaryFile(dir=directory) as err,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err) as process,
    ):
        try:
            process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        except BrokenPipeError:
            process.wait()
        out.seek(0)
        err.seek(0)
        return process.returncode, out.read(), err.read().decode(errors="replace")

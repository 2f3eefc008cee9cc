"""The same guest on the QEMU that is installed: traps, console, exit code, block boundaries.

Nothing is stepped: both run by themselves, and what they did is compared afterwards, QEMU's by its
``-d`` log. Without icount that is the engine as people use it; host time decides there when a
timer fires, so of such guests only the kinds of interrupts are compared. Under icount time is
instructions, and each trap must come after the same number of them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import guests
from ..accel.mechanisms import Mechanisms
from ..errors import UsageError, whole
from ..tcg.backends import check_backend
from .behaviour import Behaviour, TrapSeen, compare, watch
from .qemu_log import Walk
from .qemu_run import run_qemu, version, version_text
from .report import AT_BLOCKS, Report, describe

ORACLE = "QEMU"
SECONDS = 60.0  #: for each of the two, unless said otherwise
#: A guest that never ends is stopped here after so many instructions, there after so many seconds.
ENDLESS_INSNS, ENDLESS_SECONDS = 100_000, 1.0

#: Guests that wait for most of their time, busily: at shift 0 they take 10**8 instructions.
_LONG = ("timer", "roundrobin")
_LONG_SHIFT = 10
#: From here on device accesses end a block in QEMU also without icount.
IO_LAST_SINCE = (8, 2)


def default_icount(guest: str) -> int:
    """The icount shift under which a guest is compared: 0 unless it waits for long."""
    return _LONG_SHIFT if guest in _LONG else 0


def check_qemu(
    guest: Any,
    *,
    backend: str = "auto",
    mechanisms: Mechanisms | None = None,
    icount: int | str | None = None,
    stdin: str | None = None,
    irq: Iterable[Any] = (),
    max_insns: int | None = None,
    seconds: float = SECONDS,
    say: Callable[[str], object] | None = None,
) -> list[Report]:
    """Run ``guest`` (a bundled one by name, or an ELF file) here and on QEMU, and compare.

    ``icount``: None: once without and, if the guest has an end, once with it; "off": only without;
    a shift: only with that. Programs that are not bundled should be compared under icount if what
    they do depends on a clock. ``stdin``: what to type at the start (None: what the bundled guest
    wants). ``irq``: not possible with QEMU, which takes interrupts from its devices only: the
    report says so. ``max_insns``: stop tcglite there, and compare as far as that. ``seconds``: for
    each run. ``say``: called with each report's line. Raises TcgliteError without QEMU.
    """
    mechanisms = Mechanisms() if mechanisms is None else mechanisms
    check_backend(backend)
    irq = list(irq)
    reports = []
    for shift in _shifts(guest, icount, mechanisms):
        report = _report(guest, backend, mechanisms, shift)
        if irq:
            report.skipped = "QEMU cannot be given interrupts at an instruction from outside"
        elif mechanisms.irq_check not in AT_BLOCKS and _tells_places(guest):
            report.skipped = "it prints where interrupts are taken, and QEMU looks elsewhere"
        else:
            _check(report, guest, mechanisms, shift, _typed(guest, stdin), max_insns, seconds)
        reports.append(report)
        if say is not None:
            say(report.line())
    return reports


def _shifts(guest: Any, icount: int | str | None, mechanisms: Mechanisms) -> list[int | None]:
    if icount == "off" or (icount is None and mechanisms.irq_check != "tb-start"):
        return [None]
    if icount is not None:
        return [whole("icount", icount, 0, 10)]
    return [None] if endless(guest) else [None, default_icount(str(guest))]


def _tells_places(guest: Any) -> bool:
    """Does a bundled guest print where its blocks were interrupted?"""
    return guest in guests.names() and guests.info(guest).console_io_last is not None


def _report(guest: Any, backend: str, mechanisms: Mechanisms, shift: int | None) -> Report:
    settings = describe(mechanisms, shift)
    name = str(guest) if isinstance(guest, str | Path) else "program"
    return Report(name, ORACLE, backend, version_text(), settings)


def _check(
    report: Report, guest: Any, mechanisms: Mechanisms, shift: int | None, stdin: bytes,
    max_insns: int | None, seconds: float,
) -> None:  # fmt: skip
    began = time.perf_counter()
    theirs = watch_qemu(guest, icount=shift, stdin=stdin, seconds=seconds)
    if endless(guest):
        max_insns = max_insns or ENDLESS_INSNS
    if shift is None and version() >= IO_LAST_SINCE:
        mechanisms = replace(mechanisms, io_last=True)
    ours = watch(
        guests.find(guest) if isinstance(guest, str) else guest, backend=report.backend,
        mechanisms=mechanisms, icount=shift, stdin=stdin, max_insns=max_insns, seconds=seconds,
    )  # fmt: skip
    if theirs.host_time or mechanisms.irq_check not in AT_BLOCKS:
        theirs = theirs.without_host_time()
        ours = ours.without_host_time()
    report.backend = ours.backend
    compare(report, ours, theirs)
    report.seconds = time.perf_counter() - began


def endless(guest: Any) -> bool:
    """A bundled guest that never ends."""
    return guest in guests.names() and guests.info(guest).exit_code is None


def host_time_decides(guest: Any, icount: int | None, stdin: bytes) -> bool:
    """Does it depend on the host's speed where interrupts are taken? What is typed arrives when it
    arrives, also under icount. Of a guest that is not ours, nobody knows."""
    if stdin:
        return True
    if icount is not None:
        return False
    return guest not in guests.names() or guests.info(guest).instructions is None


def _typed(guest: Any, stdin: str | None) -> bytes:
    if stdin is None:
        stdin = guests.info(guest).stdin if guest in guests.names() else ""
    return stdin.encode("latin-1")


def qemu_options(icount: int | None) -> tuple[str, ...]:
    """The items of ``-d``, and the other options with which QEMU is run."""
    if icount is None:
        return "in_asm,int", "-no-reboot"
    return "in_asm,exec,int,nochain", "-no-reboot", "-icount", f"shift={icount},sleep=off"


def watch_qemu(
    guest: Any, *, icount: int | None = None, stdin: bytes = b"", seconds: float = SECONDS
) -> Behaviour:
    """Run ``guest`` on QEMU; what it showed, as far as the host's speed does not decide it.
    Instructions are counted under icount only, as the log has a line for each block then."""
    if endless(guest):
        seconds = ENDLESS_SECONDS
    items, *options = qemu_options(icount)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = run_qemu(_elf(guest, folder), folder, *options, log=items, stdin=stdin,
                       seconds=seconds)  # fmt: skip
    walk = Walk.of(run.log.splitlines())
    traps = [TrapSeen.of(trap, None if icount is None else n) for trap, n in walk.traps]
    seen = Behaviour(traps, run.output, blocks=sorted(set(walk.blocks)),
                     cut=sorted(set(walk.cut)))  # fmt: skip
    # Without lines of blocks that run, nobody can tell which of them a device access has cut.
    seen.limited_blocks = icount is None and version() >= IO_LAST_SINCE
    if run.truncated:
        seen.ended = "limit"
    elif run.status < 0:
        seen.ended = "limit" if endless(guest) else "timeout"
    else:
        seen.exit_code = run.status
    return seen.without_host_time() if host_time_decides(guest, icount, stdin) else seen


def _elf(guest: Any, folder: Path) -> Path:
    """The guest as a file that QEMU can load."""
    if isinstance(guest, str):
        return Path(guests.find(guest))
    if isinstance(guest, Path):
        return guest
    if hasattr(guest, "to_elf"):
        path = folder / "guest.elf"
        path.write_bytes(guest.to_elf())
        return path
    raise UsageError("QEMU needs a bundled guest, an ELF file or an assembled program")

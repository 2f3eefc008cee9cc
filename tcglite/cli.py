"""The command ``tcglite``: run, disas, crosscheck, fuzz, bench, guests, lab.

Exit status of ``run``: the guest's own code; 124 limit, timeout or watchdog; 123 unhandled trap,
deadlock or reset; 125 usage or bad input; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from . import __version__, guests
from .accel.mechanisms import IRQ_CHECKS, Mechanisms
from .errors import TcgliteError, UsageError, whole
from .hw.loader import read_image
from .machine import Machine, RunResult, StopReason
from .target.disas import listing
from .tcg.backends import BACKENDS
from .terminal import Terminal
from .trace.log import ITEMS

EXIT_LIMIT, EXIT_TRAP, EXIT_USAGE, EXIT_INTERRUPTED = 124, 123, 125, 130
_STATUS = {
    StopReason.MAX_INSNS: EXIT_LIMIT,
    StopReason.TIMEOUT: EXIT_LIMIT,
    StopReason.WATCHDOG: EXIT_LIMIT,
    StopReason.UNHANDLED_TRAP: EXIT_TRAP,
    StopReason.DEADLOCK: EXIT_TRAP,
    StopReason.RESET: EXIT_TRAP,
    StopReason.INTERRUPTED: EXIT_INTERRUPTED,
    StopReason.PAUSED: 0,
}
_STATS = (
    "tb_translated", "tb_invalidated", "loop_returns", "chain_patched", "tb_refused",
    "interrupts_taken", "exceptions", "state_restores", "io_recompiles",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """argparse with our exit status, and one line instead of a usage block."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number like 1000 or 0x3e8") from None


def _irq(text: str) -> tuple[str, int]:
    line, at, number = text.rpartition("@")
    if not (line and at and number):
        raise argparse.ArgumentTypeError(f"{text!r}; expected LINE@INSN, like mtip@1650")
    return line, _number(number)


def _load(text: str) -> tuple[str, int]:
    path, at, address = text.rpartition("@")
    if not (path and at and address):
        raise argparse.ArgumentTypeError(f"{text!r}; expected FILE@ADDR, like disk.bin@0x84000000")
    return path, _number(address)


def _icount(text: str) -> int | None:
    return None if text == "off" else _number(text)


def _items(text: str) -> list[str]:
    items = text.split(",")
    for item in items:
        if item not in ITEMS:
            raise argparse.ArgumentTypeError(f"{item!r}; expected some of {','.join(ITEMS)}")
    return items


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="tcglite", description="A RISC-V machine on a small dynamic translator.")
    top.add_argument("--version", action="version", version=f"tcglite {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="run a guest", description="Run a guest. Its console is this terminal; "
        "Ctrl-A x leaves, Ctrl-C interrupts.", epilog="Exit status: the guest's own; 124 limit, "
        "timeout, watchdog; 123 unhandled trap, deadlock, reset; 125 bad input; 130 Ctrl-C.",
    )  # fmt: skip
    add = run.add_argument
    add("guest", metavar="GUEST", help="an ELF file, a raw image, or a bundled guest's name")
    add("--backend", default="auto", metavar="NAME",
        help="x86_64, python, or auto (default): the first that works here")
    add("--max-insns", type=_number, metavar="N", help="stop after exactly N instructions")
    add("--timeout", type=float, metavar="S", help="stop after S seconds")
    add("--icount", type=_icount, metavar="SHIFT|off", help="virtual time: 2**SHIFT ns each insn")
    add("--no-count", action="store_true", help="count nothing: faster, numbers are null")
    add("--memory", default="64M", metavar="SIZE", help="size of RAM (default: 64M)")
    lines = "mtip, msip, meip, uart, plic:N"
    add("--irq", type=_irq, action="append", default=[], metavar="LINE@INSN",
        help=f"raise LINE ({lines}) right after instruction INSN")  # fmt: skip
    add("--irq-check", default="tb-start", choices=list(IRQ_CHECKS), metavar="WHERE",
        help=f"where the engine looks for interrupts: {', '.join(IRQ_CHECKS)}")  # fmt: skip
    add("--stdin", metavar="TEXT|-", help="type TEXT; -: what comes from standard input")
    add("--bios", metavar="FILE", help="firmware at the base of RAM; GUEST goes to 0x80200000")
    add("--dtb", metavar="FILE", help="device tree blob, handed to the guest in a1")
    add("--initrd", metavar="FILE", help="(needs a generated device tree: not there yet)")
    add("--append", metavar="TEXT", help="(needs a generated device tree: not there yet)")
    add("--drive", metavar="FILE", help="(virtio-blk: not there yet)")
    add("--load", type=_load, action="append", default=[], metavar="FILE@ADDR",
        help="also load FILE (ELF or raw) at ADDR")  # fmt: skip
    group = run.add_mutually_exclusive_group()
    group.add_argument("--record", metavar="FILE", help="write inputs down (needs --icount)")
    group.add_argument("--replay", metavar="FILE", help="replay them (needs --icount)")
    add("-d", dest="log", type=_items, metavar="ITEMS", help=f"log: {','.join(ITEMS)}")
    add("-D", dest="log_file", metavar="FILE", help="write the log there (default: stderr)")
    add("--timeline", metavar="FILE", help="draw the run as a .png or .svg (needs matplotlib)")
    add("--json", action="store_true", help="print one object about the run, and nothing else")
    disas = commands.add_parser("disas", help="disassemble a guest's code")
    disas.add_argument("guest", metavar="GUEST", help="as for run")
    bench = commands.add_parser(
        "bench", help="measure speed and modes, beside QEMU and Unicorn", description="Run the "
        "same ELF files on several engines in turn; print medians of CPU time and ratios.",
    )  # fmt: skip
    add = bench.add_argument
    add("guests", nargs="*", metavar="GUEST",
        help="workloads (default: crc sieve matmul quicksort dhry fib)")  # fmt: skip
    add("--against", type=lambda text: text.split(","), metavar="ENGINES",
        help="unicorn, qemu (default: both, if installed)")  # fmt: skip
    add("--repeat", type=_number, default=3, metavar="N", help="runs of each (default: 3)")
    add("--seconds", type=float, metavar="S",
        help="CPU seconds that the fastest engine runs at least (default: 2.5)")  # fmt: skip
    add("--backend", default="auto", metavar="NAME", help="as for run")
    add("--plot", metavar="FILE", help="draw it as a .png or .svg (needs matplotlib)")
    add("--json", action="store_true", help="print one object, and nothing else")
    check = commands.add_parser(
        "crosscheck", help="check a guest against other implementations", description="Run guests "
        "beside other implementations and compare registers, CSRs, memory, traps and blocks.",
        epilog="Exit status: 0 they agree; 1 they do not, or nothing could be compared; 125 bad "
        "input, or something is not installed.",
    )  # fmt: skip
    add = check.add_argument
    add("guests", nargs="*", metavar="GUEST", help="as for run")
    add("--all", action="store_true", help="all bundled guests")
    add("--against", type=lambda text: text.split(","), default=["unicorn"], metavar="ORACLES",
        help="unicorn (default), spike, qemu, or several")  # fmt: skip
    add("--grain", default="piece", choices=["piece", "block", "insn"],
        help="compare when the loop is reached (default), after each block, or instruction; "
        "QEMU: at traps and the end")  # fmt: skip
    add("--backend", default="auto", metavar="NAME", help="as for run; all: each of them")
    add("--irq-check", default="tb-start", choices=[*IRQ_CHECKS, "all"], metavar="WHERE",
        help="as for run; all: each that delivers every interrupt")  # fmt: skip
    add("--irq", type=_irq, action="append", default=[], metavar="LINE@INSN", help="as for run")
    add("--icount", type=_icount, metavar="SHIFT|off", help="as for run")
    add("--stdin", metavar="TEXT", help="type TEXT (default: what a bundled guest waits for)")
    add("--memory", default="8M", metavar="SIZE", help="size of RAM (default: 8M)")
    add("--max-insns", type=_number, metavar="N", help="compare N instructions")
    add("--timeout", type=float, default=60.0, metavar="S", help="of each run (default: 60)")
    add("--json", action="store_true", help="print one object, and nothing else")
    fuzz = commands.add_parser(
        "fuzz", help="check random programs against other implementations", description="Make "
        "random programs and run each beside other implementations. What differs is made small "
        "and shown.", epilog="Exit status: 0 they agree, 1 they do not, 125 bad input.",
    )  # fmt: skip
    add = fuzz.add_argument
    add("files", nargs="*", metavar="FILE", help="saved programs to check instead of new ones")
    add("--seed", type=_number, default=0, metavar="N", help="number of the first program")
    add("--count", type=_number, default=200, metavar="N", help="how many (default: 200)")
    add("--jobs", type=_number, metavar="N", help="processes (default: one for each processor)")
    add("--against", type=lambda text: text.split(","), metavar="ORACLES",
        help="unicorn, spike, python: the other backend (default: unicorn,python)")  # fmt: skip
    add("--backend", default="auto", metavar="NAME", help="as for run")
    add("--dask", metavar="ADDRESS", help="use the workers of this Dask scheduler")
    add("--save", metavar="DIR", help="write the small program there")
    add("--json", action="store_true", help="print one object, and nothing else")
    commands.add_parser("guests", help="list the bundled guests")
    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab")
    lab.add_argument("arguments", nargs=argparse.REMAINDER, help="handed to JupyterLab as they are")
    return top


def run(args: argparse.Namespace) -> int:
    """``tcglite run``."""
    for option in ("initrd", "append"):
        if getattr(args, option) is not None:
            raise UsageError(f"--{option} needs a generated device tree, which is not there yet")
    _check_output("timeline", args.timeline, (".png", ".svg"))
    _check_output("record", args.record)
    console = sys.stdout.buffer
    show = None if args.json else lambda data: (console.write(data), console.flush())
    machine = Machine(
        guests.find(args.guest),
        backend=args.backend,
        mechanisms=Mechanisms(irq_check=args.irq_check),
        icount=args.icount,
        count=not args.no_count,
        trace="blocks" if args.timeline else None,
        memory=args.memory,
        bios=args.bios,
        drive=args.drive,
        dtb=args.dtb,
        load=args.load,
        on_output=show,
    )
    with machine as m:
        if args.backend == "auto" and m.backend != BACKENDS[0] and sys.stderr.isatty():
            print(f"tcglite: host code is {m.backend_note}", file=sys.stderr)
        with _log_stream(args.log_file) as log:
            if args.log:
                m.set_log(args.log, log)
            result = _run(m, args)
        if args.timeline:
            from .lab.timeline import save_timeline

            save_timeline(m.events, args.timeline, title=Path(args.guest).name)
        if args.json:
            print(json.dumps(report(m, result)))
        elif result.reason is not StopReason.EXIT:
            unfinished = m.console and not m.console.endswith("\n") and sys.stderr.isatty()
            print("\n" * bool(unfinished) + _summary(result), file=sys.stderr)
        return status(result)


def _check_output(option: str, path: str | None, kinds: tuple[str, ...] = ()) -> None:
    """Refuse a file that cannot be written: rather now than after a long run."""
    if path and kinds and Path(path).suffix not in kinds:
        raise UsageError(f"--{option} {path}: expected a name that ends in {' or '.join(kinds)}")
    if path and not Path(path).parent.is_dir():
        raise UsageError(f"--{option} {path}: there is no directory {Path(path).parent}")


def _log_stream(path: str | None) -> contextlib.AbstractContextManager[TextIO]:
    """Where ``-d`` writes: the file, or stderr, which stays open."""
    return open(path, "w", encoding="utf-8") if path else contextlib.nullcontext(sys.stderr)


def _run(m: Machine, args: argparse.Namespace) -> RunResult:
    """Run with the terminal (or what stands for it) as the guest's console."""
    for line, insn in args.irq:
        m.raise_at(insn, line)
    if args.record:
        m.record()
    if args.replay:
        m.replay(args.replay)
    with Terminal(m, args.stdin, echo=not args.json, silent=bool(args.replay)):
        try:
            result = m.run(max_insns=args.max_insns, timeout=args.timeout)
        except KeyboardInterrupt:  # the normal end of an endless guest: report it as any other
            result = m.wait()
    if args.record:
        m.save_recording(args.record)
    return result


def status(result: RunResult) -> int:
    """The exit status that tells how a run ended."""
    if result.reason is StopReason.EXIT:
        code = result.exit_code or 0
        return code % 256 or (1 if code else 0)
    return _STATUS[result.reason]


def report(m: Machine, result: RunResult) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {
        "reason": result.reason.value,
        "detail": result.detail,
        "exit_code": result.exit_code,
        "pc": result.pc,
        "insns": result.insns,
        "seconds": result.seconds,
        "console": m.console,
        "backend": m.backend,
        "backend_note": m.backend_note,
        "stats": {k: v for k, v in dataclasses.asdict(m.stats).items() if k in _STATS},
    }


def _summary(result: RunResult) -> str:
    count = "" if result.insns is None else f" after {result.insns} instructions"
    detail = f": {result.detail}" if result.detail else ""
    return f"tcglite: {result.reason.value}{count} at pc {result.pc:#x}{detail}"


def disas(args: argparse.Namespace) -> int:
    """``tcglite disas``."""
    image = read_image(guests.find(args.guest), 0x8000_0000)
    names: dict[int, list[str]] = {}
    for name, address in image.symbols.items():
        names.setdefault(address, []).append(name)
    for start, code in image.code:
        for address, bits, length, text in listing(code, start):
            for name in names.get(address, ()):
                print(f"\n{address:016x} <{name}>:")
            print(f"{address:12x}:  {bits:0{2 * length}x}{'' if length == 4 else '    '}  {text}")
    return 0


def bench(args: argparse.Namespace) -> int:
    """``tcglite bench``."""
    from .bench.compare import ENGINES, SECONDS, compare
    from .bench.report import as_json, as_text
    from .bench.workloads import NAMES

    _check_output("plot", args.plot, (".png", ".svg"))
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install 'tcglite[lab]'")
    line, say = _progress()

    def warn(text: str) -> None:
        print(f"{line}tcglite: {text}", file=sys.stderr)

    try:
        found = compare(
            args.guests or NAMES,
            against=args.against or ENGINES,
            backend=args.backend,
            repeat=args.repeat,
            seconds=SECONDS if args.seconds is None else args.seconds,
            say=say,
            warn=warn,
        )
    finally:
        print(end=line, file=sys.stderr, flush=True)
    if args.plot:
        from .bench.plot import save_plot

        save_plot(found, args.plot)
    print(json.dumps(as_json(found)) if args.json else as_text(found))
    return 0


def crosscheck(args: argparse.Namespace) -> int:
    """``tcglite crosscheck``."""
    from .crosscheck.command import crosscheck as check
    from .crosscheck.report import Report

    line, say = _progress()

    def show(report: Report) -> None:
        if not args.json and (report.oracle != "rules" or report.divergence):
            print(end=line, file=sys.stderr, flush=True)
            print(report.text(), flush=True)

    if args.all and args.guests:
        raise UsageError("--all and a guest by name; expected one or the other")
    if args.max_insns is not None:
        whole("max_insns", args.max_insns, 1)
    try:
        result = check(
            guests.names() if args.all else args.guests, against=args.against,
            backend=args.backend, irq_check=args.irq_check, grain=args.grain, icount=args.icount,
            irq=args.irq, stdin=args.stdin, memory=args.memory, max_insns=args.max_insns,
            timeout=args.timeout, say=say, show=show,
        )  # fmt: skip
    finally:
        print(end=line, file=sys.stderr, flush=True)
    print(json.dumps(result.as_json()) if args.json else result.summary())
    return result.status


def _progress() -> tuple[str, Callable[[str], None]]:
    """What clears the line of a terminal, and a function that shows progress on it; without a
    terminal, nothing."""
    line = "\r\x1b[K" if sys.stderr.isatty() else ""

    def say(text: str) -> None:
        if line:
            print(f"{line}{text} ", end="", file=sys.stderr, flush=True)

    return line, say


def fuzz(args: argparse.Namespace) -> int:
    """``tcglite fuzz``."""
    from .crosscheck.fuzz.command import fuzz as run_fuzz

    line, say = _progress()
    try:
        result = run_fuzz(
            args.files, seed=args.seed, count=args.count, jobs=args.jobs, against=args.against,
            backend=args.backend, dask=args.dask, save=args.save, say=say,
        )  # fmt: skip
    finally:
        print(end=line, file=sys.stderr, flush=True)
    print(json.dumps(result.as_json()) if args.json else result.text())
    return result.status


def list_guests(args: argparse.Namespace) -> int:
    """``tcglite guests``."""
    for name in guests.names():
        info = guests.info(name)
        print(f"{name:<12} {info.kind:<4} {info.title}")
    return 0


def lab(args: argparse.Namespace) -> int:
    """``tcglite lab``."""
    try:
        from .lab.launch import open_lab
    except ImportError as error:
        raise UsageError(f"the lab needs {error.name}: pip install 'tcglite[lab]'") from None
    return open_lab(args.arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parser().parse_args(argv)
    command = {
        "run": run, "disas": disas, "crosscheck": crosscheck, "fuzz": fuzz, "bench": bench,
        "guests": list_guests, "lab": lab,
    }[args.command]  # fmt: skip
    try:
        return command(args)
    except TcgliteError as error:
        print(f"tcglite: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: nothing more to say
        sys.stderr.close()
        return 141
    except OSError as error:
        print(f"tcglite: error: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return EXIT_USAGE

"""Machine: the one door to everything below (QEMU: hw/riscv/virt.c and the ``-accel tcg`` options).

The board is QEMU's ``virt`` with one hart, so the same ELF runs under
``qemu-system-riscv64 -M virt -bios none -kernel``.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

from .accel.cpu import CPUState, Stats
from .accel.mechanisms import Mechanisms
from .accel.memory import RAM_BASE, AddressSpace
from .accel.replay import Inputs
from .accel.vcpu import VCPU, Run
from .errors import StateError, UnknownName, UsageError, seconds, shown, whole
from .hw.board import VirtBoard
from .hw.clock import HostClock, ICountClock
from .hw.loader import Image, check_overlaps, read_file, read_image
from .target.cpu import reset as reset_hart
from .tcg.backends import check_backend, make_backend
from .trace import events as ev
from .trace.log import ITEMS, LogWriter
from .trace.recorder import MODES, Recorder
from .views import CPUView, TBView, Uart, attach_log, symbol_finder

KERNEL_BASE_WITH_BIOS = 0x8020_0000
DEFAULT_WATCHDOG = 5.0  #: seconds
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class StopReason(Enum):
    """Why a run ended."""

    EXIT = "exit"
    RESET = "reset"
    MAX_INSNS = "max-insns"
    TIMEOUT = "timeout"
    WATCHDOG = "watchdog"
    UNHANDLED_TRAP = "unhandled-trap"
    DEADLOCK = "deadlock"
    INTERRUPTED = "interrupted"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class RunResult:
    """``insns``: instructions of this run (None with count=False); ``exit_code``: the guest's own,
    after "exit"; ``pc``: where the hart stands; ``detail``: one line, for a person."""

    reason: StopReason
    insns: int | None
    exit_code: int | None
    pc: int
    seconds: float
    detail: str = ""


def parse_size(text: str | int) -> int:
    """Bytes from 67108864 or "64M" (K, M, G)."""
    if isinstance(text, int):
        return whole("memory", text, 1)
    match = re.fullmatch("([0-9]{1,15})([KMG]?)", str(text).strip().upper())
    if match is None:
        raise UsageError(f"memory={shown(text)}; expected a number with K, M or G, like 64M")
    return int(match[1]) * _UNITS[match[2]]


def _capacity(tb_size: str | int | None) -> int:
    """Bytes of host code to keep; 0: as much as the backend likes."""
    return 0 if tb_size is None else whole("tb_size", parse_size(tb_size), 1 << 12, 1 << 30)


class Machine:
    """A RISC-V computer.

    guest: path of an ELF or raw image, bytes, or an assembled program. backend: "x86_64" (host
    code), "python" (everywhere), or "auto": the first of them that works here (``backend_note``).
    mechanisms: the switches. icount: None, or the shift (one instruction takes 2**shift ns of
    virtual time). count: count instructions. trace: None, "events", "blocks", "times". memory:
    bytes, or text like "64M". bios: firmware at the base of RAM (the guest then goes to
    0x80200000). dtb: device tree blob, its address in a1. load: more (path, address) pairs.
    watchdog: seconds that chained code may be deaf with irq_check="never", or None. tb_size: how
    much host code to keep, like "32M"; when it is full, all of it goes (QEMU: -accel
    tcg,tb-size=). on_output:
    called with the bytes that the guest prints, in the machine's thread; what it raises ends the
    run and comes out of ``run``, ``pause`` or ``wait``. It must not wait for the machine, nor for a
    thread that does. guard: put guard pages around all that host code writes to, to look for bugs.

    Everything but ``cpu``, ``tbs`` and writing to ``memory`` may be used while it runs, from any
    thread. Without ``close`` a machine ends when nobody holds it, or with the process.
    """

    def __init__(
        self,
        guest: Any,
        *,
        backend: str = "auto",
        mechanisms: Mechanisms | None = None,
        icount: int | None = None,
        count: bool = True,
        trace: str | None = None,
        memory: str | int = "64M",
        bios: Any = None,
        drive: Any = None,
        dtb: str | Path | None = None,
        seed: int = 0,
        load: Iterable[tuple[str | Path, int]] = (),
        watchdog: float | None = DEFAULT_WATCHDOG,
        tb_size: str | int | None = None,
        on_output: Callable[[bytes], object] | None = None,
        guard: bool = False,
    ) -> None:
        if trace not in MODES:
            names = ", ".join(repr(mode) for mode in MODES)
            raise UsageError(f"trace={shown(trace)} is unknown; expected one of {names}")
        if icount is not None:
            icount = whole("icount", icount, 0, 10)
        if on_output is not None and not callable(on_output):
            raise UsageError(f"on_output={shown(on_output)}; expected a function that takes bytes")
        if drive is not None:
            raise UsageError("drive: this machine has no virtio-blk device yet")
        mechanisms = Mechanisms() if mechanisms is None else mechanisms
        _check_mechanisms(mechanisms)
        mechanisms.check(count=count, icount=icount is not None)
        watchdog = seconds("watchdog", watchdog)
        check_backend(backend)
        self.seed = seed
        self._images = _images(guest, bios, load)
        self._dtb = read_file("device tree", dtb) if dtb is not None else b""
        self.name = self._images[0].name
        self._lock = threading.RLock()
        self.memory = AddressSpace(parse_size(memory), guard=guard)
        self.recorder = Recorder(trace)
        self._cpu = cpu = CPUState(
            self.memory, lambda runtime: make_backend(backend, runtime), mechanisms, self.recorder,
            count=count, icount=icount, lock=self._lock, capacity=_capacity(tb_size),
        )  # fmt: skip
        self.clock: HostClock | ICountClock
        if icount is None:
            self.clock = host = HostClock(self._lock)
            start, stop, warp = host.start, host.stop, None
        else:
            self.clock = virtual = ICountClock(cpu.budget.now, icount)
            start, stop, warp = _nothing, _nothing, virtual.warp
            cpu.budget.deadline = lambda: _deadline_insns(virtual)
            virtual.on_rearm = lambda: _deadline_moved(cpu)
        symbols = self._images[0].symbols
        self.board = VirtBoard(
            self.memory, self.clock, self._lock, cpu.update_mip,
            lambda reason, code: _on_exit(cpu, reason, code),
            lambda line, level: cpu.emit(ev.LineRaised, line=line, level=level),
            _guarded(cpu, on_output), symbols.get("tohost"), symbols.get("fromhost"),
        )  # fmt: skip
        board = self.board
        clint = board.clint
        cpu.rdtime = lambda: clint.mtime
        self._inputs = Inputs(cpu, lambda kind, *args: _act(board, kind, *args))
        self._vcpu = VCPU(
            cpu, self.clock, self._inputs,
            clock_start=start, clock_stop=stop, warp=warp, watchdog=watchdog,
        )  # fmt: skip
        self.inputs_open: Callable[[], bool] = lambda: True
        self._vcpu.may_wake = _may_wake(cpu, self.clock, weakref.ref(self))
        self._check_stopped = self._vcpu.check_stopped
        self.memory.check_writable = self._check_stopped
        self.cpu = CPUView(cpu, self._check_stopped)
        self.cpus = [self.cpu]
        self.uart = Uart(self._inputs)
        self._finalizer = weakref.finalize(self, self._vcpu.release)
        self._finalizer.atexit = False
        self.reset()

    # Running.

    def run(self, max_insns: int | None = None, timeout: float | None = None) -> RunResult:
        """Run until something stops the machine, at most ``max_insns`` instructions (exactly) and
        ``timeout`` seconds. Ctrl-C ends it, with the machine intact."""
        timeout = seconds("timeout", timeout)
        run = None
        try:
            run = self._start(max_insns)
            if not self._vcpu.wait(run, timeout):
                self._vcpu.stop("timeout", run)
            return self._result(run)
        except KeyboardInterrupt:
            run = run or self._vcpu.last
            self._vcpu.stop("interrupted", run)
            self._vcpu.wait(run)
            raise

    def start(self, max_insns: int | None = None) -> None:
        """Let it run in the background; ``pause`` stops it, ``wait`` waits for its end."""
        self._start(max_insns)

    def _start(self, max_insns: int | None) -> Run:
        if max_insns is not None:
            if not self._cpu.count:
                raise UsageError("max_insns needs counting; this machine has count=False")
            max_insns = whole("max_insns", max_insns, 0)
        return self._vcpu.start(max_insns)

    def pause(self) -> RunResult:
        """Stop it where it is; time stands still till the next start."""
        return self._result(self._vcpu.stop("paused"))

    def quit(self) -> None:
        """Ask a run to end, without waiting: for who may not wait, like a key press."""
        self._cpu.stop("paused")

    def poke(self) -> None:
        """Have a sleeping hart look again whether anything can wake it."""
        self._cpu.wake_up()

    def wait(self, timeout: float | None = None) -> RunResult:
        """Wait for the end of a background run; StateError if that takes longer."""
        run = self._vcpu.last
        if not self._vcpu.wait(run, seconds("timeout", timeout)):
            raise StateError(f"the machine is still running after {timeout:g} s")
        return self._result(run)

    def _result(self, run: Run) -> RunResult:
        """What came of a run, when it has ended; what a callback raised, comes out here once."""
        self._vcpu.wait(run)
        if run.error is not None:
            error, run.error = run.error, None
            raise error
        return RunResult(
            StopReason(run.reason), run.insns, run.exit_code, run.pc, run.seconds, run.detail
        )

    @property
    def running(self) -> bool:
        """Is a run under way?"""
        return self._vcpu.running

    def reset(self) -> None:
        """Power-on: programs loaded anew, hart and devices reset, time and counts 0."""
        self._check_stopped()
        cpu = self._cpu
        reset_hart(cpu.env)
        cpu.reset()
        if self._used:
            cpu.tbs.flush("reset")
            self.memory.clear()
        self._used = True
        for image in self._images:
            image.load(self.memory)
        if self._dtb:
            addr = self.memory.ram_base + self.memory.ram_size - (len(self._dtb) + 0xFFF & ~0xFFF)
            self.memory.write_bytes(addr, self._dtb)
            cpu.env.x[11] = addr
        self.board.reset()
        cpu.emit(ev.Reset, pc=cpu.env.pc)

    _used = False

    def close(self) -> None:
        """Stop, and end the threads. The machine cannot run again; what it did can be looked at
        as long as somebody holds it."""
        self._vcpu.close()
        if isinstance(self.clock, HostClock):
            self.clock.close()
        self._finalizer.detach()  # it holds the hart, and so all that listens to it

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Interrupts and input, from any thread.

    def set_irq(self, line: str, level: int) -> None:
        """Set a device line: "mtip", "msip", "meip", "uart", "plic:N"."""
        self.board.check_line(line)
        self._inputs.put("line", line, whole("level", level, 0, 1))

    def raise_irq(self, line: str) -> None:
        """Set a device line to 1."""
        self.set_irq(line, 1)

    def raise_at(self, n: int, line: str) -> None:
        """Have ``line`` raised right after instruction number ``n`` since reset, as if another
        thread did it just then: no block is cut, the next head refuses. Deterministic. While it
        runs, the hart comes by the loop once to hear of it."""
        if not self._cpu.count:
            raise UsageError("raise_at needs counting; this machine has count=False")
        n = whole("raise_at: instruction number", n, 0)
        self.board.check_line(line)
        now = self._cpu.budget.now()
        if n < now:
            raise UsageError(f"raise_at({n}) is past: the machine stands at instruction {now}")
        board = self.board
        self._cpu.budget.raise_at(n, lambda: board.set_irq(line, 1))
        if self.running:
            self._cpu.request_exit()

    # Recording.

    def record(self) -> None:
        """Write inputs down from now on (needs icount); ``save_recording`` stores them."""
        self._inputs.start_record()

    def save_recording(self, path: str | Path) -> None:
        """Store what was recorded."""
        self._inputs.save(Path(path), self._recording_info())

    def replay(self, path: str | Path) -> None:
        """Feed a recording's inputs at the same instruction numbers; other input is refused."""
        self._inputs.load(Path(path), self._recording_info())

    def _recording_info(self) -> dict[str, Any]:
        return {"icount": self._cpu.icount_shift, "memory": self.memory.ram_size}

    def set_log(self, items: Iterable[str], out: TextIO) -> None:
        """Write a log like QEMU's ``-d items`` to ``out`` from now on, instead of the one before;
        "nochain" switches chaining off for good."""
        chosen = list(items)
        for item in chosen:
            if item not in ITEMS:
                raise UnknownName(f"unknown log item {item!r}; expected {', '.join(ITEMS)}")
        self._check_stopped()
        log, self._log = self._log, LogWriter(chosen, out, symbol_finder(self.symbols))
        attach_log(self._cpu, self._log, log)

    _log: LogWriter | None = None

    # Looking.

    @property
    def mechanisms(self) -> Mechanisms:
        """The switches; assign others while it is stopped."""
        return self._cpu.mechanisms

    @mechanisms.setter
    def mechanisms(self, mechanisms: Mechanisms) -> None:
        self._check_stopped()
        _check_mechanisms(mechanisms)
        self._cpu.set_mechanisms(mechanisms)

    @property
    def backend(self) -> str:
        """Name of the host backend in use."""
        return self._cpu.tbs.backend.name

    @property
    def backend_note(self) -> str:
        """How that backend works here, and why it is not a faster one."""
        return self._cpu.tbs.backend.note

    @property
    def insns(self) -> int | None:
        """Instructions retired since reset; while it runs, rounded up to a block (and where
        blocks do not begin with a test of the flag, as of the last return to the loop)."""
        if self.running and not self._vcpu.inside:
            self._cpu.observer.look()
        return self._cpu.insns_now()

    @property
    def stats(self) -> Stats:
        """Counters since the machine was made."""
        return self._cpu.stats

    @property
    def events(self) -> list[ev.Event]:
        """What happened, in order; empty without ``trace``."""
        cpu = self._cpu
        return self.recorder.events(cpu.env.neg.ring_next, cpu.insns_now())

    @property
    def blocks_run(self) -> int:
        """Block runs recorded since the machine was made: ``ring`` of the next event."""
        return self._cpu.env.neg.ring_next

    def events_between(self, first: int, stop: int) -> list[ev.Event]:
        """Block runs number ``first`` to before ``stop`` and the events among them, as far as they
        are kept; quick, whatever else is."""
        cpu = self._cpu
        return self.recorder.events(cpu.env.neg.ring_next, cpu.insns_now(), (first, stop))

    @property
    def events_lost(self) -> int:
        """Block records and events that were overwritten because there were too many."""
        return self.recorder.lost(self._cpu.env.neg.ring_next) + self.recorder.lost_events

    @property
    def tbs(self) -> list[TBView]:
        """The blocks translated so far and not flushed."""
        self._check_stopped()
        return [TBView(self._cpu, tb) for tb in self._cpu.tbs.by_number.values()]

    @property
    def symbols(self) -> dict[str, int]:
        """The guest's symbols (of the ELF)."""
        return self._images[0].symbols

    @property
    def console(self) -> str:
        """What the guest has printed; bytes that are not UTF-8 are backslash-escaped."""
        return self.board.console.output.decode("utf-8", "backslashreplace")


def _images(guest: Any, bios: Any, load: Iterable[tuple[str | Path, int]]) -> list[Image]:
    kernel_base = RAM_BASE if bios is None else KERNEL_BASE_WITH_BIOS
    images = [read_image(guest, kernel_base)]
    if bios is not None:
        images.append(read_image(bios, RAM_BASE))
    try:
        pairs = [(path, addr) for path, addr in load]
    except (TypeError, ValueError):
        raise UsageError(f"load={shown(load)}; expected (path, address) pairs") from None
    for path, addr in pairs:
        images.append(read_image(path, whole("load: address", addr, 0)))
    check_overlaps(images)
    return images


def _check_mechanisms(mechanisms: Any) -> None:
    if not isinstance(mechanisms, Mechanisms):
        raise UsageError(f"mechanisms={shown(mechanisms)}; expected Mechanisms(…)")


def _act(board: VirtBoard, kind: str, *args: Any) -> None:
    """Make an input happen."""
    if kind == "type":
        board.uart.type(args[0].encode("latin-1"))
    elif kind == "line":
        board.set_irq(args[0], args[1])
    else:
        raise UnknownName(f"unknown kind of input {kind!r}; expected 'type' or 'line'")


def _guarded(
    cpu: CPUState, on_output: Callable[[bytes], object] | None
) -> Callable[[bytes], None] | None:
    """``on_output`` for the board, in which it must not raise: the guest is in mid-block."""
    if on_output is None:
        return None

    def output(data: bytes) -> None:
        try:
            on_output(data)
        except BaseException as error:
            cpu.fail(error)

    return output


def _on_exit(cpu: CPUState, reason: str, code: int) -> None:
    """The guest ends its run, the lock is held. It does so only once: this goes before a pause or
    a timeout that has been asked for in the meantime."""
    if cpu.stop_reason not in ("exit", "reset"):
        cpu.stop_reason, cpu.exit_code = None, code
        cpu.stop(reason)


def _may_wake(
    cpu: CPUState, clock: HostClock | ICountClock, machine: weakref.ref[Machine]
) -> Callable[[], bool]:
    """Can anything end a wfi: a timer that is armed, or input from outside?"""

    def may_wake() -> bool:
        mie = cpu.env.mie
        if mie and clock.deadline() is not None:
            return True
        m = machine()
        return bool(mie) and m is not None and m.inputs_open()

    return may_wake


def _deadline_insns(clock: ICountClock) -> int | None:
    """The instruction number at which the next timer is due."""
    deadline = clock.deadline()
    if deadline is None:
        return None
    return max(0, deadline - clock.bias + (1 << clock.shift) - 1 >> clock.shift)


def _deadline_moved(cpu: CPUState) -> None:
    """A guest store armed a timer: the budget must be made anew at once."""
    cpu.exit_request = True
    cpu.kick("budget")


def _nothing() -> None:
    """Virtual time needs no starting."""

"""What one run of a guest shows from outside: its traps, what it prints, how it ends, and where its
blocks begin and end; and the comparison of two runs. QEMU's log gives the same of QEMU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..accel.mechanisms import Mechanisms
from ..machine import Machine, StopReason
from ..target.trap import LOAD_ACCESS_FAULT, STORE_ACCESS_FAULT
from ..tcg.cflags import MAX_INSNS
from ..trace import events as ev
from .oracle import INTERRUPT, Diverged, Trap, is_whole
from .qemu_clock import QemuClock
from .report import Divergence, Report

Block = tuple[int, int]  #: pc, instructions
_ACCESS_FAULTS = (LOAD_ACCESS_FAULT, STORE_ACCESS_FAULT)
_LOWEST_FIRST = (
    "if both are pending this is lowest-number-first: QEMU 7.2 takes the lowest number, "
    "the specification (3.1.9) external before software before timer"
)
_CONTEXT = 3  # traps shown before one that differs


@dataclass(frozen=True, slots=True)
class TrapSeen:
    """A trap, and the instructions retired since reset before it. None: host time decides it, or
    nobody counted. An interrupt's mtval is 0."""

    interrupt: bool
    cause: int
    epc: int | None
    tval: int
    insn: int | None

    @classmethod
    def of(cls, trap: Trap, insn: int | None) -> TrapSeen:
        """From what was stored in the CSRs."""
        return cls(trap.interrupt, trap.mcause & ~INTERRUPT, trap.epc, trap.tval, insn)

    @property
    def kind(self) -> str:
        """Interrupt or exception, in words."""
        return "interrupt" if self.interrupt else "exception"

    def __str__(self) -> str:
        where = "" if self.epc is None else f" at {self.epc:#x}"
        when = "" if self.insn is None else f" after instruction {self.insn}"
        return f"{self.kind} {self.cause}{where}, mtval {self.tval:#x}{when}"


@dataclass(slots=True)
class Behaviour:
    """``ended``: "exit", "limit" (it was to do no more), else why it stopped, like "timeout".
    ``exit_code``: as a process has it (mod 256); None if the guest did not exit. ``blocks``: (pc,
    instructions) of each block that was translated as far as it goes, sorted; ``cut``: of those
    that cflags limited. ``insns``: retired in all, where that is known. ``host_time``: does the
    speed of the host decide what happened? ``limited_blocks``: are blocks shorter than QEMU 7.2's
    because they were asked to be? ``backend``: of tcglite."""

    traps: list[TrapSeen] = field(default_factory=list)
    console: bytes = b""
    ended: str = "exit"
    exit_code: int | None = None
    blocks: list[Block] = field(default_factory=list)
    cut: list[Block] = field(default_factory=list)
    insns: int = 0
    host_time: bool = False
    limited_blocks: bool = False
    backend: str = ""

    def without_host_time(self) -> Behaviour:
        """Without what depends on how fast the host is: where interrupts are taken."""
        traps = [replace(t, epc=None, insn=None) if t.interrupt else replace(t, insn=None)
                 for t in self.traps]  # fmt: skip
        return replace(self, traps=traps, host_time=True)


def watch(
    guest: Any,
    *,
    backend: str = "auto",
    mechanisms: Mechanisms | None = None,
    icount: int | None = None,
    stdin: bytes = b"",
    max_insns: int | None = None,
    seconds: float | None = None,
) -> Behaviour:
    """Run ``guest`` on tcglite, with QEMU's clock under ``icount``."""
    seen = Behaviour()
    with Machine(guest, backend=backend, mechanisms=mechanisms, icount=icount, trace="events") as m:
        seen.backend = m.backend
        m.recorder.listen(lambda event: _note_trap(seen.traps, event))
        if icount is not None:
            QemuClock(m)
        if stdin:
            m.uart.type(stdin.decode("latin-1"))
        result = m.run(max_insns=max_insns, timeout=seconds)
        if result.reason in (StopReason.EXIT, StopReason.RESET):  # QEMU: -no-reboot
            seen.exit_code = (result.exit_code or 0) & 0xFF
        else:
            limit_reached = result.reason is StopReason.MAX_INSNS
            seen.ended = "limit" if limit_reached else result.reason.value
        seen.console = bytes(m.board.console.output)
        limit = m.mechanisms.max_block_insns
        seen.limited_blocks = limit != MAX_INSNS or (m.mechanisms.io_last and icount is None)
        for tb in m.tbs:
            kind = seen.blocks if is_whole(tb.cflags, limit) else seen.cut
            kind.append((tb.pc, tb.icount))
        seen.blocks, seen.cut = sorted(set(seen.blocks)), sorted(set(seen.cut))
        seen.insns = m.insns or 0
    return seen


def _note_trap(traps: list[TrapSeen], event: ev.Event) -> None:
    if isinstance(event, ev.InterruptTaken):
        traps.append(TrapSeen(True, event.cause, event.epc, 0, event.insns))
    elif isinstance(event, ev.ExceptionRaised):
        traps.append(TrapSeen(False, event.cause, event.epc, event.tval, event.insns))


def compare(
    report: Report,
    ours: Behaviour,
    theirs: Behaviour,
    others: Mapping[str, list[Block]] | None = None,
) -> None:
    """Fill the report's counts, notes and divergence. ``others``: more tables of blocks, by the
    name under which to count them; compared where both have a block."""
    report.insns = ours.insns
    try:
        _compare_traps(report, ours, theirs)
        _compare_ends(report, ours, theirs)
        if ours.limited_blocks or theirs.limited_blocks:
            report.notes["limited-blocks"] += 1
            return
        exact = ours.ended == theirs.ended == "exit" and not ours.host_time
        _compare_blocks(report, "blocks", ours.blocks, theirs.blocks, exact)
        _compare_cut_blocks(report, ours, theirs, exact)
        for kind, blocks in (others or {}).items():
            _compare_blocks(report, kind, ours.blocks, blocks, exact=False)
    except Diverged as found:
        report.divergence = found.divergence


def _diverged(
    report: Report, what: str, ours: object, theirs: object, insn: int, pc: int,
    context: Iterable[str] = (),
) -> Diverged:  # fmt: skip
    a, b = (f"{v:#x}" if isinstance(v, int) else str(v) for v in (ours, theirs))
    return Diverged(Divergence(report.oracle, what, a, b, insn, insn, pc, tuple(context)))


def _squeezed(traps: list[TrapSeen]) -> list[TrapSeen]:
    """Interrupts of one kind in a row are one: a guest that waits on a busy computer may be
    interrupted again before it gets to look."""
    return [b for a, b in zip([None, *traps], traps, strict=False) if not (b.interrupt and a == b)]


def _compare_traps(report: Report, ours: Behaviour, theirs: Behaviour) -> None:
    if ours.host_time and len(ours.traps) != len(theirs.traps):
        report.notes["host-time"] += abs(len(ours.traps) - len(theirs.traps))
        ours = replace(ours, traps=_squeezed(ours.traps))
        theirs = replace(theirs, traps=_squeezed(theirs.traps))
    for n, (a, b) in enumerate(zip(ours.traps, theirs.traps, strict=False)):
        if what := _trap_difference(a, b):
            name, mine, other = what
            lines = [f"trap {k + 1}: {ours.traps[k]}" for k in range(max(0, n - _CONTEXT), n)]
            lines += [f"trap {n + 1} in tcglite: {a}", f"in {report.oracle}: {b}"]
            if name == "cause" and a.interrupt and b.cause < a.cause:
                lines.append(_LOWEST_FIRST)
            raise _diverged(
                report, f"{name} of trap {n + 1}", mine, other, a.insn or 0, a.epc or 0, lines
            )
        report.counts["traps"] += 1
        if None in (a.epc, b.epc):
            report.notes["host-time"] += 1
        if None not in (a.insn, b.insn):
            report.counts["traps at their instruction"] += 1
    if len(ours.traps) != len(theirs.traps) and ours.ended == theirs.ended == "exit":
        longer = max(ours.traps, theirs.traps, key=len)
        extra = longer[min(len(ours.traps), len(theirs.traps))]
        raise _diverged(
            report, "number of traps", str(len(ours.traps)), str(len(theirs.traps)),
            extra.insn or 0, extra.epc or 0, [f"only one has: {extra}"],
        )  # fmt: skip


def _trap_difference(a: TrapSeen, b: TrapSeen) -> tuple[str, object, object] | None:
    """The first field that differs: its name, ours and theirs. What either does not know cannot."""
    rows: tuple[tuple[str, object, object], ...] = (
        ("kind", a.kind, b.kind), ("cause", str(a.cause), str(b.cause)), ("mepc", a.epc, b.epc),
        ("mtval", a.tval, b.tval),
        ("instruction number", _decimal(a.insn), _decimal(b.insn)),
    )  # fmt: skip
    return next((row for row in rows if None not in row[1:] and row[1] != row[2]), None)


def _decimal(number: int | None) -> str | None:
    return None if number is None else str(number)


def _compare_ends(report: Report, ours: Behaviour, theirs: Behaviour) -> None:
    a, b = ours.console, theirs.console
    ends = {ours.ended, theirs.ended}
    if ends != {"exit"}:
        if "exit" in ends and "limit" not in ends:
            raise _diverged(report, "end", ours.ended, theirs.ended, ours.insns, 0)
        common = min(len(a), len(b))
        a, b = a[:common], b[:common]
        report.ended = f"{ours.ended} in tcglite, {theirs.ended} in {report.oracle}"
    if a != b:
        pairs = zip(a, b, strict=False)
        at = next((n for n, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
        raise _diverged(report, f"console from byte {at}", a[at : at + 40], b[at : at + 40],
                     ours.insns, 0)  # fmt: skip
    report.counts["console bytes"] += len(a)
    if ends == {"exit"}:
        if ours.exit_code != theirs.exit_code:
            raise _diverged(
                report, "exit code", str(ours.exit_code), str(theirs.exit_code), ours.insns, 0
            )
        report.counts["exit code"] += 1


def _compare_blocks(
    report: Report, kind: str, ours: list[Block], theirs: list[Block], exact: bool
) -> None:
    """A block that begins at the same place must be as long. One pc may have several: its code, or
    what FS was, has changed. ``exact``: neither may have a block that the other has not; else such
    blocks are only counted."""
    mine, other = (_lengths(blocks) for blocks in (ours, theirs))
    for pc in sorted(mine.keys() | other.keys()):
        if (pc not in mine or pc not in other) and not exact:
            if kind == "blocks":
                report.notes["one-only-block"] += 1
            continue
        a, b = (_said(lengths.get(pc, [])) for lengths in (mine, other))
        if a != b:
            raise _diverged(report, f"length of the block at {pc:#x}", a, b, 0, pc)
        report.counts[kind] += 1


def _compare_cut_blocks(report: Report, ours: Behaviour, theirs: Behaviour, exact: bool) -> None:
    """They end where a deadline or a device access wants it, so they are comparable only where
    both have the same time."""
    if not exact:
        if cut := len(ours.cut) + len(theirs.cut):
            report.notes["cut-block"] += cut
        return
    faults = {(t.epc, 1) for t in ours.traps if not t.interrupt and t.cause in _ACCESS_FAULTS}
    rewound = faults & set(theirs.cut) - set(ours.cut)
    if rewound:  # QEMU rewinds an access in mid-block before it knows that nothing is there
        report.notes["rewound-fault"] += len(rewound)
    others = [block for block in theirs.cut if block not in rewound]
    _compare_blocks(report, "cut blocks", ours.cut, others, exact)


def _lengths(blocks: Iterable[Block]) -> dict[int, list[int]]:
    """pc -> instructions of each block that begins there."""
    found: dict[int, list[int]] = {}
    for pc, insns in blocks:
        found.setdefault(pc, []).append(insns)
    return found


def _said(lengths: Iterable[int]) -> str:
    return " and ".join(map(str, lengths)) or "no block"

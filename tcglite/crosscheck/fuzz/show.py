"""What a person wants to see of a divergence in a small program: where exactly, and what ran."""

from __future__ import annotations

from collections.abc import Iterable

from ...machine import Machine
from ...target.trap import EXCEPTION_NAMES, INTERRUPT_NAMES
from ...trace import events as ev
from ...views import TBView
from ..report import Divergence, Report
from .check import Settings, check_program, start
from .program import Program

_TIMEOUT = 5.0
_Trap = ev.ExceptionRaised | ev.InterruptTaken


def narrowed(program: Program, settings: Settings, report: Report) -> Report:
    """The report of a run that compares after each instruction, if it shows the same in less."""
    found = report.divergence
    if found is None or found.oracle == "python" or found.until - found.since < 2:
        return report
    against = tuple(name for name in settings.against if name == found.oracle)
    try:
        reports = check_program(program, settings.backend, against, _TIMEOUT, grain="insn")
    except Exception:  # the finer run is an extra: what was found stands as it is
        return report
    for fine in reports:
        d = fine.divergence
        same = d and (d.oracle, d.what) == (found.oracle, found.what)
        if d and same and d.until - d.since < found.until - found.since:
            return fine
    return report


def sides(divergence: Divergence) -> list[str]:
    """Ours and theirs, one below the other."""
    theirs = "should be" if divergence.oracle == "rules" else divergence.oracle
    width = max(len("tcglite"), len(theirs))
    return [f"{divergence.what}:", f"  - {'tcglite':<{width}}  {divergence.ours}",
            f"  + {theirs:<{width}}  {divergence.theirs}"]  # fmt: skip


def block_lines(program: Program, divergence: Divergence, backend: str) -> list[str]:
    """The block in which it happened: guest instructions and IR; if a trap is what differs, or no
    block begins there, the block that ran last, and the trap that ended it."""
    with start(program, program.assemble(), backend, trace="blocks") as m:
        # One more: what raises an exception does not retire.
        m.run(max_insns=divergence.until + 1, timeout=_TIMEOUT)
        out = []
        if divergence.until - divergence.since <= 1:
            out.append(f"instruction {divergence.since}: {_text_at(m, divergence.pc)}")
        tb = _block_at(m, divergence.pc)
        if divergence.what == "trap" or tb is None or tb.pc != divergence.pc:
            last, trap = _last(m.events, divergence)
            tb = next((view for view in m.tbs if view.number == last), tb)
            out.append(f"trap taken: {_trap_text(m, trap)}" if trap else "no trap was taken")
        return [*out, *(_block_text(tb) if tb is not None else ()), ""]


def _last(events: Iterable[ev.Event], divergence: Divergence) -> tuple[int | None, _Trap | None]:
    """The last trap taken in the piece that differs, and the block that ran before it, or before
    the end of that piece."""
    ran, before, trap = None, None, None
    for event in events:
        insns = event.insns or 0
        if isinstance(event, ev.BlockRun) and insns <= divergence.until:
            ran = event.tb
        elif isinstance(event, _Trap) and divergence.since <= insns <= divergence.until:
            before, trap = ran, event
    return (before, trap) if trap else (ran, None)


def _trap_text(m: Machine, trap: _Trap) -> str:
    if isinstance(trap, ev.InterruptTaken):
        name = INTERRUPT_NAMES.get(trap.cause, "unknown")
        return f"{name} interrupt (cause {trap.cause}), epc {trap.epc:#x}"
    name = EXCEPTION_NAMES.get(trap.cause, "unknown")
    return (f"{name} (cause {trap.cause}), epc {trap.epc:#x}, tval {trap.tval:#x}, by "
            f"{_text_at(m, trap.epc)}")  # fmt: skip


def _text_at(m: Machine, pc: int) -> str:
    """The instruction there, if it was translated."""
    for tb in reversed(m.tbs):
        for addr, _, _, text in tb.guest:
            if addr == pc:
                return f"{text} at {pc:#x}"
    return f"what is at {pc:#x}"


def _block_text(tb: TBView) -> list[str]:
    lines = [f"block {tb.number} at {tb.pc:#x}:"]
    lines += [
        f"    {addr:x}:  {bits:0{2 * length}x}{'' if length == 4 else '    '}  {text}"
        for addr, bits, length, text in tb.guest
    ]
    return [*lines, "its IR:", *(f"    {line}" for line in tb.ir.splitlines())]


def _block_at(m: Machine, pc: int) -> TBView | None:
    """The last block that begins there, else that holds it."""
    held = [tb for tb in m.tbs if any(addr == pc for addr, *_ in tb.guest)]
    return next((tb for tb in reversed(held) if tb.pc == pc), held[-1] if held else None)

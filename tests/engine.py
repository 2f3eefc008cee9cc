"""What the tests of the engine share: small guests from source, and questions about a run.

Guests are written without compression (``.option norvc``), so that instruction k of a block stands
4 k bytes behind its head. The end of a run is always bounded: by an instruction number, or by the
guest itself with a generous timeout that no test reaches.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import backends

from tcglite import Machine, Mechanisms
from tcglite.machine import RunResult, StopReason
from tcglite.target.asm import assemble
from tcglite.target.decode import decode
from tcglite.trace import events as ev

RAM = 0x8000_0000
CLINT = 0x200_0000
HOLE = 0x5_0000  #: nothing is there: access faults
MSIP, MTIP = 1 << 3, 1 << 7
SECONDS = 20  #: a run that takes so long has failed

#: Leaves the machine with exit code 0. Uses t5 and t6.
END = """
        li      t6, 0x100000
        li      t5, 0x5555
        sw      t5, 0(t6)
        j       .
"""

#: Handler installed, the timer of the reset state silenced, all three interrupts enabled.
ENABLE = """
        la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x2004000
        li      t1, -1
        sd      t1, 0(t0)
        li      t0, 0x888
        csrw    mie, t0
        csrsi   mstatus, 8
"""

SETUP = 10  #: instructions of ENABLE

#: A loop of three blocks, of 3, 4 and 5 instructions.
THREE_BLOCKS = """
a:      addi    s0, s0, 1
        addi    s0, s0, 1
        j       b
b:      addi    s1, s1, 1
        addi    s1, s1, 1
        addi    s1, s1, 1
        j       c
c:      addi    s2, s2, 1
        addi    s2, s2, 1
        addi    s2, s2, 1
        addi    s2, s2, 1
        j       a
"""

ROUND = 12  #: instructions of THREE_BLOCKS

#: A handler that stays where it is, in blocks of its own.
STAY = """
        .balign 64
handler: j      handler
"""

_SWITCHES = {field.name for field in fields(Mechanisms)}
E = TypeVar("E", bound=ev.Event)


def machine(source: str, *, compressed: bool = False, **options: Any) -> Machine:
    """A machine with 64 KiB that will run ``source``. Names of switches are taken for switches;
    the rest goes to ``Machine``."""
    switches = {name: options.pop(name) for name in list(options) if name in _SWITCHES}
    options = {"memory": "64K", "backend": backends.chosen, "trace": "events"} | options
    head = "        .option rvc\n" if compressed else "        .option norvc\n"
    program = assemble(head + "        .text\n        .globl _start\n_start:\n" + source)
    return Machine(program, mechanisms=Mechanisms(**switches), **options)


def run(m: Machine, max_insns: int | None = None) -> RunResult:
    """Run to the end or the limit; hanging is a failure, also where nothing can stop the hart."""
    m.start(max_insns)
    return m.wait(SECONDS)  # raises if it is still running


def finish(source: str, **options: Any) -> Machine:
    """Run a guest to its own end; the stopped machine."""
    m = machine(source, **options)
    assert run(m, 100_000 if options.get("count", True) else None).reason is StopReason.EXIT
    return m


def only(m: Machine, kind: type[E]) -> list[E]:
    """The events of one kind, in order."""
    return [event for event in m.events if isinstance(event, kind)]


def taken(m: Machine) -> list[tuple[int | None, int]]:
    """(instruction number, mepc) of each interrupt taken."""
    return [(event.insns, event.epc) for event in only(m, ev.InterruptTaken)]


def registers(m: Machine) -> dict[str, int]:
    """Everything that the guest can see of itself but time: to compare two machines."""
    names = ["mstatus", "mie", "mip", "mtvec", "mepc", "mcause", "mtval", "mscratch", "minstret"]
    state = {f"x{i}": value for i, value in enumerate(m.cpu.registers)}
    return state | {"pc": m.cpu.pc, "priv": m.cpu.priv} | {n: m.cpu.csr[n] for n in names}


def block_at(m: Machine, pc: int, **wanted: Any) -> Any:
    """The one block at ``pc`` that is still good (and has the attributes ``wanted``)."""
    found = [
        tb
        for tb in m.tbs
        if tb.pc == pc and not tb.invalid and all(getattr(tb, k) == v for k, v in wanted.items())
    ]
    assert len(found) == 1, f"{len(found)} blocks at {pc:#x}"
    return found[0]


def successors(tb: Any) -> set[int]:
    """Where the block can go on by a direct jump or by falling through."""
    addr, bits, length, _ = tb.guest[-1]
    insn = decode(bits)
    assert insn is not None
    if insn.family == "jal":
        return {addr + insn.imm}
    if insn.family == "branch":
        return {addr + insn.imm, addr + length}
    return {addr + length}


def assert_links_are_sound(m: Machine) -> None:
    """Every link leads along an edge of the guest's program, inside one page, to a good block of
    the same kind that does not reach into a second page; both ends agree about it, and so does
    the host code."""
    by_number = {tb.number: tb for tb in m.tbs}
    for tb in by_number.values():
        for slot, number in enumerate(tb.slots):
            assert backends.jumps_to(m, tb.number, slot) == number, f"{tb}, slot {slot}"
            if number is None:
                continue
            dest = by_number[number]
            assert dest.pc in successors(tb), f"{tb} -> {dest}"
            assert (tb.pc ^ dest.pc) >> 12 == 0, f"{tb} -> {dest} leaves the page"
            last = dest.guest[-1]
            assert (dest.pc ^ (last[0] + last[2] - 1)) >> 12 == 0, f"{dest} crosses a page"
            assert not dest.invalid
            assert not tb.invalid
            assert (tb.number, slot) in dest.incoming

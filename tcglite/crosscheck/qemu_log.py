"""Reading QEMU's ``-d in_asm,exec,int`` logs, as 7.2 and ``trace/log.py`` write them.

``Walk`` counts instructions: with ``nochain`` every block that runs has its ``Trace`` line, so
adding up the blocks gives the number of instructions retired before each trap. That number is the
specification's (a trapping instruction does not retire, 3.1.10); QEMU's own count under icount is
larger, as it charges a block when it enters it and does not give back what an expected exception or
wfi leaves undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..accel.memory import RAM_BASE
from ..tcg.cflags import CF_COUNT_MASK
from .oracle import INTERRUPT, Trap

HEX16 = r"[0-9a-f]{16}"
HOST = r"0x[0-9a-f]+"

_INSN = re.compile(rf"0x({HEX16}):  ([0-9a-f]+) ")
_TRACE = re.compile(rf"Trace 0: ({HOST}) \[{HEX16}/({HEX16})/([0-9a-f]{{8}})/([0-9a-f]{{8}})\]")
_LINK = re.compile(rf"Linking TBs ({HOST}) index ([01]) -> ({HOST})")
_STOPPED = re.compile(rf"Stopped execution .* \[({HEX16})\]")
_TRAP = re.compile(
    r"riscv_cpu_do_interrupt: hart:0, async:([01]), cause:([0-9a-f]{16}), "
    r"epc:0x([0-9a-f]{16}), tval:0x([0-9a-f]{16}),"
)
_WFI = "10500073"


@dataclass(frozen=True, slots=True)
class Translated:
    """A block in ``in_asm``: (guest address, bits in hex) of each instruction."""

    insns: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Entered:
    """A block is about to run, from the loop or through a looked-up jump."""

    host: str
    pc: int
    flags: int
    cflags: int


@dataclass(frozen=True, slots=True)
class Linked:
    """``slot`` of the block at host address ``src`` jumps to ``dst`` from now on."""

    src: str
    slot: str
    dst: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The head check of the block that was about to run refused it."""

    pc: int


@dataclass(frozen=True, slots=True)
class Rewound:
    """A device access in mid-block is to run alone. 7.2 names the block's address, not its own."""


@dataclass(frozen=True, slots=True)
class Trapped:
    """A trap is entered; ``text`` is the whole line."""

    trap: Trap
    text: str


Item = Translated | Entered | Linked | Refused | Rewound | Trapped


def read_log(lines: Iterable[str]) -> Iterator[Item]:
    """What the log says, in order."""
    insns: list[tuple[int, str]] | None = None
    for line in lines:
        if insns is not None:
            if found := _INSN.match(line):
                insns.append((int(found[1], 16), found[2]))
                continue
            if not insns:  # "IN:" and 7.2's "Priv:" come first
                continue
            yield Translated(tuple(insns))
            insns = None
        if line.startswith("----------------"):
            insns = []
        elif found := _TRACE.match(line):
            yield Entered(found[1], int(found[2], 16), int(found[3], 16), int(found[4], 16))
        elif found := _LINK.match(line):
            yield Linked(*found.groups())
        elif found := _STOPPED.match(line):
            yield Refused(int(found[1], 16))
        elif line.startswith("cpu_io_recompile"):
            yield Rewound()
        elif found := _TRAP.match(line):
            cause = int(found[2], 16) | (INTERRUPT if found[1] == "1" else 0)
            yield Trapped(Trap(cause, int(found[3], 16), int(found[4], 16)), line.rstrip("\n"))
    if insns:
        yield Translated(tuple(insns))


@dataclass
class Walk:
    """A run by its log. ``traps``: each with the instructions retired before it, counted from RAM's
    base on; meaningful with ``exec,nochain`` only. ``blocks``: (pc, instructions) of each whole
    block, in order; ``cut``: of those that cflags limited (only ``exec`` tells them apart)."""

    traps: list[tuple[Trap, int]] = field(default_factory=list)
    blocks: list[tuple[int, int]] = field(default_factory=list)
    cut: list[tuple[int, int]] = field(default_factory=list)
    insns: int = 0
    _by_host: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    _new: tuple[tuple[int, str], ...] | None = None
    _running: tuple[tuple[int, str], ...] = ()
    _rewound: bool = False
    _begun: bool = False

    @classmethod
    def of(cls, lines: Iterable[str]) -> Walk:
        """Walk through a log."""
        walk = cls()
        for item in read_log(lines):
            walk._take(item)
        walk._know_new(0)
        return walk

    def _take(self, item: Item) -> None:
        match item:
            case Translated(insns):
                self._know_new(0)
                self._new = insns
            case Entered(host, pc, _, cflags):
                self._know_new(cflags, host)
                self._settle(pc)
                if pc == RAM_BASE and not self._begun:
                    self._begun, self.insns = True, 0  # the boot ROM is not the guest's
                self._running = self._by_host.get(host, ())
            case Refused():
                self._running = ()
            case Rewound():
                self._rewound = True
            case Trapped(trap):
                self._settle(trap.epc, excepted=not trap.interrupt)
                self.traps.append((trap, self.insns))

    def _know_new(self, cflags: int, host: str = "") -> None:
        """What was translated last is this block."""
        if self._new is None:
            return
        if host:
            self._by_host[host] = self._new
        pc = self._new[0][0]
        if pc >= RAM_BASE:
            kind = self.cut if cflags & CF_COUNT_MASK else self.blocks
            kind.append((pc, len(self._new)))
        self._new = None

    def _settle(self, pc: int, excepted: bool = False) -> None:
        """The running block is over, and ``pc`` is next (or has raised an exception): how much of
        it retired?"""
        block, self._running = self._running, ()
        rewound, self._rewound = self._rewound, False
        addresses = [address for address, _ in block]
        if (rewound or excepted) and pc in addresses:
            self.insns += addresses.index(pc)
            return
        for n, (_, bits) in enumerate(block, start=1):
            if bits == _WFI:  # it always leaves the block, whatever comes after it
                self.insns += n
                return
        self.insns += len(block)

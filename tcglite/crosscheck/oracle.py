"""What an implementation beside ours must be able to do, and what it is told.

An oracle follows one piece behind: whenever tcglite is in its loop, the oracle is given what has
happened since the last time (``Piece``), does the same, and compares. Between two visits to the
loop, chained blocks run as they always do: the check changes nothing in what it checks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from ..accel.cpu import CPUState
from ..accel.memory import AddressSpace
from ..accel.tb import TranslationBlock
from ..target.cpu import CPURISCVState
from ..target.names import CSR_NUMBERS, REG_NAMES
from ..tcg.cflags import cf_count
from ..trace.events import Event
from .report import Divergence

INTERRUPT = 1 << 63  #: top bit of mcause

_WORD = {
    name: (getattr(CPURISCVState, name).offset // 8)
    for name, *_ in CPURISCVState._fields_
}  # fmt: skip
#: Counters, and the field of the state that says how far ahead of the instructions they are.
_COUNTERS = {
    CSR_NUMBERS[name]: f"m{name.removeprefix('m')}_offset"
    for name in ("cycle", "mcycle", "instret", "minstret")
}
STATE_WORDS = _WORD["neg"]


class State:
    """All architectural registers at one moment, as 64-bit numbers."""

    __slots__ = ("words",)

    def __init__(self, words: memoryview) -> None:
        self.words = memoryview(bytearray(words)).cast("Q")

    @property
    def x(self) -> list[int]:
        """x0 to x31."""
        return self.words[:32].tolist()

    @property
    def f(self) -> list[int]:
        """f0 to f31."""
        return self.words[32:64].tolist()

    def __getitem__(self, name: str) -> int:
        """A field of the hart: "pc", "priv", "mstatus" …"""
        return int(self.words[_WORD[name]])


@dataclass(frozen=True, slots=True)
class Access:
    """A device register was read (or written): physical address, bytes, value; ``insns``:
    instructions retired before the one that did it."""

    insns: int
    addr: int
    size: int
    value: int
    write: bool

    def __str__(self) -> str:
        what = "write" if self.write else "read"
        return f"{what} of {self.size} bytes at {self.addr:#x}, value {self.value:#x}"


@dataclass(frozen=True, slots=True)
class Trap:
    """A trap that tcglite entered: mcause with its top bit, and what it stored."""

    mcause: int
    epc: int
    tval: int

    @property
    def interrupt(self) -> bool:
        """Interrupt or exception?"""
        return bool(self.mcause & INTERRUPT)

    def __str__(self) -> str:
        kind = "interrupt" if self.interrupt else "exception"
        number = self.mcause & ~INTERRUPT
        return f"{kind} {number} with mepc {self.epc:#x}, mtval {self.tval:#x}"


@dataclass(slots=True)
class Piece:
    """What tcglite did between two visits to its loop. ``since`` and ``until``: instructions
    retired before and after. ``trap``: entered at the end; then nothing else happened, and
    ``since`` equals ``until``. ``block``: the block that was entered, if the piece is known to
    consist of no other (``--grain block`` and ``insn``)."""

    since: int
    until: int
    before: State
    after: State
    accesses: list[Access] = field(default_factory=list)
    trap: Trap | None = None
    block: TranslationBlock | None = None

    @property
    def insns(self) -> int:
        """Instructions that retired in it."""
        return self.until - self.since


class Diverged(Exception):
    """The two do not agree."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(divergence.line())
        self.divergence = divergence


class Oracle(ABC):
    """One guest in another implementation. ``counts`` and ``notes`` go into the report."""

    name: ClassVar[str]
    version: str = ""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    @abstractmethod
    def begin(self, state: State, memory: AddressSpace) -> None:
        """Stand where tcglite stands: the same registers, the same RAM."""

    @abstractmethod
    def follow(self, piece: Piece) -> None:
        """Do what tcglite did, and compare all that can be compared; Diverged if it differs."""

    def translated(self, tb: TranslationBlock, piece: Piece) -> None:  # noqa: B027
        """tcglite has just translated ``tb``, and the oracle stands where tcglite stands. Compare
        its boundaries, if the oracle has blocks. ``piece``: the last one, for the report."""

    def entered(  # noqa: B027
        self, cpu: CPUState, tb: TranslationBlock, piece: Piece
    ) -> None:
        """The loop enters ``tb``. ``piece``: the last one."""

    def heard(self, cpu: CPUState, event: Event, piece: Piece) -> None:  # noqa: B027
        """Something has happened, in the hart's own thread. ``piece``: the last one."""

    @abstractmethod
    def finish(self, memory: AddressSpace, piece: Piece) -> None:
        """The run is over, and the oracle stands where tcglite stands: compare what is left,
        like memory. ``piece``: the last one."""

    def close(self) -> None:  # noqa: B027
        """Give back what it holds."""

    # For subclasses.

    def differ(self, piece: Piece, what: str, ours: object, theirs: object) -> None:
        """Say that they do not agree; numbers in hexadecimal."""
        a, b = (f"{v:#x}" if isinstance(v, int) else str(v) for v in (ours, theirs))
        raise Diverged(
            Divergence(self.name, what, a, b, piece.since, piece.until, piece.before["pc"])
        )

    def compare_registers(self, piece: Piece, pc: int, x: list[int]) -> None:
        """pc and x1 to x31 after the piece. ``x``: theirs, x0 to x31."""
        after = piece.after
        if after["pc"] != pc:
            self.differ(piece, "pc", after["pc"], pc)
        ours = after.x
        if ours[1:] != x[1:]:
            n = next(n for n in range(1, 32) if ours[n] != x[n])
            self.differ(piece, REG_NAMES[n], ours[n], x[n])

    def check_answer(self, piece: Piece, number: int, value: int) -> None:
        """A CSR was read, as the last instruction of the piece, that the oracle must be told: is
        ``value`` what follows from tcglite's own state (specification 3.1.9, 3.1.10)?"""
        if number == CSR_NUMBERS["mip"]:
            allowed = {piece.before["mip"], piece.after["mip"]}
        elif number in _COUNTERS:
            allowed = {piece.until - 1 + piece.before[_COUNTERS[number]] & (1 << 64) - 1}
        else:
            return
        if value not in allowed:
            self.differ(piece, f"CSR {number:#x} as read", value, min(allowed))

    def compare_csrs(self, piece: Piece, theirs: dict[str, tuple[int, int]]) -> None:
        """CSRs after the piece. ``theirs``: name -> (value, mask of the bits that both have)."""
        for name, (value, mask) in theirs.items():
            if (piece.after[name] ^ value) & mask:
                self.differ(piece, name, piece.after[name] & mask, value & mask)


def is_whole(cflags: int, limit: int) -> bool:
    """Was a block with these cflags translated as far as it goes? A cut one (for a limit, a
    deadline, a device access) ends where it was told to. ``limit``: max_block_insns."""
    return cf_count(cflags) == limit

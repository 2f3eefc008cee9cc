"""Spike with the state of a machine: the devices' answers, the code it runs, and comparing."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from ..accel.memory import AddressSpace
from ..accel.tb import TranslationBlock
from ..target.cpu import MSTATUS_FS, MSTATUS_SD
from ..target.decode import insn_length
from ..target.names import CSR_NUMBERS, FREG_NAMES
from .oracle import Access, Oracle, Piece, State, Trap
from .spike_hart import (
    MCAUSE,
    MCYCLE,
    MEPC,
    MINSTRET,
    MTVAL,
    borrow,
    give_back,
    layout,
    require,
    version,
)

ALL = (1 << 64) - 1
#: CSRs to compare, and the bits of them that both have. SD is made from FS when mstatus is read
#: (specification 3.1.6.6): tcglite does not store it. Of mcounteren, 3 bits have a counter.
COMPARED = {
    "mstatus": ALL & ~MSTATUS_SD, "mie": ALL, "mtvec": ALL, "mscratch": ALL, "mepc": ALL,
    "mcause": ALL, "mtval": ALL, "mcounteren": 7,
}  # fmt: skip
_NUMBERS = [(name, CSR_NUMBERS[name], mask) for name, mask in COMPARED.items()]
_FCSR = CSR_NUMBERS["fcsr"]
_COUNTERS = (MINSTRET, "minstret"), (MCYCLE, "mcycle")


class SpikeState(Oracle):
    """``begin`` may be called again and again: one Spike serves all programs that run on the same
    board."""

    name = "spike"

    def __init__(self) -> None:
        super().__init__()
        require()
        self.version = version()
        self._hart: Any = None
        self._queue: deque[Access] = deque()
        self._fetched: dict[int, int] = {}  # bytes of code that are not in RAM
        self._refused: tuple[str, str] | None = None  # an access: what tcglite did, what Spike does
        self._stale = False  # has tcglite read code anew since Spike did?
        self._held: tuple[int, int] | None = None  # what lr has read, if that is known
        self._counting = False  # do Spike's counters stand where tcglite's do?

    def begin(self, state: State, memory: AddressSpace) -> None:
        if self._hart is None or self._hart.layout != layout(memory):
            self.close()
            self._hart = borrow(memory, self._load, self._store)
        hart = self._hart
        self._memory = memory
        self._queue.clear()
        self._fetched.clear()
        self._refused = None
        self._stale = self._counting = False
        self._p, self._state, self._x = hart.p, hart.state, hart.x
        hart.reset()
        hart.copy(memory)
        hart.write_f(state.f)
        put = hart.p.put_csr
        put(CSR_NUMBERS["mstatus"], state["mstatus"] | MSTATUS_FS)  # else there is no fcsr
        put(_FCSR, state["fcsr"])
        for name, number, _ in _NUMBERS:
            put(number, state[name])
        for n in range(1, 32):
            hart.x.write(n, state.words[n])
        hart.state.pc = state["pc"]
        hart.set_privilege(state["priv"])
        held = state["load_res"]
        hart.reserve(held if memory.in_ram(held, 4) else None)
        self._held = held, state["load_val"]

    # Devices, in the order in which tcglite used them.

    def _load(self, addr: int, size: int) -> int:
        if not self._queue and addr in self._fetched:
            self.notes["device-fetch"] += 1
            return self._code(addr, size) or 0
        access = self._expect(addr, size, None)
        return access.value & (1 << 8 * size) - 1 if access else 0

    def _store(self, addr: int, size: int, value: int) -> None:
        self._expect(addr, size, value)

    def _expect(self, addr: int, size: int, value: int | None) -> Access | None:
        """The access of tcglite's that this one must be. A callback must not raise: what is
        wrong waits until Spike is back."""
        ours = self._queue.popleft() if self._queue else None
        theirs = Access(ours.insns if ours else 0, addr, size, value or 0, value is not None)
        if ours is not None and theirs == (ours if ours.write else replace(ours, value=0)):
            return ours
        if self._refused is None:
            self._refused = str(ours) if ours else "none", str(theirs)
        return None

    def translated(self, tb: TranslationBlock, piece: Piece) -> None:
        """New code may run in tcglite from here on, without a fence.i perhaps; so it must not be
        hidden by what Spike remembers (specification 3.1 of Zifencei leaves it open)."""
        self._stale = True
        if tb.code and not self._memory.in_ram(tb.pc, 1):
            self._fetched |= {tb.pc + n: byte for n, byte in enumerate(tb.code)}

    def _bits(self, pc: int) -> int | None:
        """The instruction there, None if it cannot be fetched."""
        low = self._code(pc, 2)
        return low if low is None or insn_length(low) == 2 else self._code(pc, 4)

    def _code(self, addr: int, size: int) -> int | None:
        """Bytes of code, from RAM or from a device that tcglite has fetched them from."""
        if self._memory.in_ram(addr, size):
            return self._hart.read(addr, size)
        found = [self._fetched[a] for a in range(addr, addr + size) if a in self._fetched]
        return int.from_bytes(found, "little") if len(found) == size else None

    def _entered(self) -> Trap:
        """The trap that Spike entered last."""
        return Trap(*(self._p.get_csr(number) for number in (MCAUSE, MEPC, MTVAL)))

    def _check_refused(self, piece: Piece) -> None:
        if self._refused is not None:
            self.differ(piece, "device access", *self._refused)

    # Comparing.

    def _compare(self, piece: Piece) -> None:
        """All registers, privilege and CSRs."""
        x, get, after = self._x, self._p.get_csr, piece.after
        self.compare_registers(piece, self._state.pc, [x[n] for n in range(32)])
        if self._state.prv != after["priv"]:
            self.differ(piece, "privilege", after["priv"], self._state.prv)
        self.compare_csrs(piece, {name: (get(number), mask) for name, number, mask in _NUMBERS})
        for number, name in _COUNTERS:
            ours = piece.until + after[f"{name}_offset"] & ALL
            if get(number) != ours:
                self.differ(piece, name, ours, get(number))
        if after.words[32:64] != piece.before.words[32:64] or after["fcsr"] != get(_FCSR):
            self._compare_fp(piece)
        self.counts["states"] += 1

    def _compare_fp(self, piece: Piece) -> None:
        theirs = self._hart.read_f()
        for n, (a, b) in enumerate(zip(piece.after.f, theirs, strict=True)):
            if a != b:
                self.differ(piece, FREG_NAMES[n], a, b)
        if piece.after["fcsr"] != self._p.get_csr(_FCSR):
            self.differ(piece, "fcsr", piece.after["fcsr"], self._p.get_csr(_FCSR))

    def finish(self, memory: AddressSpace, piece: Piece) -> None:
        """All of RAM, but not what lies under a device; and f0 to f31."""
        for base, ours, theirs in self._hart.unequal(memory):
            for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                if a != b and memory.find(base + n) is None:
                    self.differ(piece, f"memory at {base + n:#x}", a, b)
        self._compare_fp(piece)
        self.counts["memories"] += 1

    def close(self) -> None:
        if self._hart is not None:
            give_back(self._hart)
            self._hart = None

"""Spike beside tcglite: each instruction and each trap, done by the reference simulator itself.

Spike has interrupts and trap entry of its own. Its interrupt lines are low until tcglite takes an
interrupt; then they are set as the hart's mip is there, and Spike has to take the same one at its
next step. Devices are answered from what tcglite's answered, and each access is checked: address,
bytes, value. What Spike has otherwise is said by name (``docs/differences.md``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from ..target import csr, trap
from ..target.cpu import MPP_SHIFT, MSTATUS_MPP
from ..target.decode import Insn, decode, insn_length
from ..target.insns import ENDS_TB
from ..target.names import CSR_NUMBERS, REG_NAMES
from .oracle import Access, Piece, Trap
from .spike_hart import MCAUSE, MINSTRET, MTVAL
from .spike_state import ALL, SpikeState

_MPP_S, _MPP_2 = 1 << MPP_SHIFT, 2 << MPP_SHIFT
#: Name, a WARL field, its reserved and its legal values, the bits that depend on it, and the name
#: of the difference. A write to mtvec with a reserved mode changes the address in Spike only.
_WARL = {
    CSR_NUMBERS["mtvec"]: ("mtvec", 3, (2, 3), (0, 1), ALL, "mtvec-mode"),
    CSR_NUMBERS["mstatus"]: (
        "mstatus", MSTATUS_MPP, (_MPP_S, _MPP_2), (0, MSTATUS_MPP), MSTATUS_MPP, "mstatus-mpp"
    ),
}  # fmt: skip
#: Atomics that are not aligned: which of two exceptions it is, is free (specification 13.1).
_MISALIGNED = {
    trap.LOAD_MISALIGNED: trap.LOAD_ACCESS_FAULT, trap.STORE_MISALIGNED: trap.STORE_ACCESS_FAULT
}  # fmt: skip
_BOX = 0xFFFF_FFFF << 32  #: the upper half of a single in f0 to f31
_LONG = 0x1F  #: low bits of an instruction of 6 bytes or more, of which Spike fetches all
_ATOMIC = ("lr", "sc", "amo")
_FP = ("fpload", "fmv", "fsgnj")  #: families that may change f0 to f31


def _size(insn: Insn) -> int:
    """Bytes that a load, store or atomic uses."""
    arg = insn.arg[-1]  # the operand of the row: sb ub sw uw sl ul q; swap l …
    return {"b": 1, "w": 2, "l": 4, "q": 8}[arg[-1]]


@lru_cache(4096)
def _has_reservation(code: bytes) -> bool:
    """Is there an lr or sc in it, which need to be looked at?"""
    at = 0
    while at < len(code):
        length = insn_length(code[at])
        insn = decode(int.from_bytes(code[at : at + length], "little"))
        if insn is not None and insn.family in ("lr", "sc"):
            return True
        at += length
    return False


def _some(*names: str) -> set[int]:
    return {CSR_NUMBERS[name] for name in names}


#: CSRs whose instructions Spike does not execute; what they read is tcglite's. Their values come
#: from outside (time, mip), say who made the hart, or are WARL bits that one side lacks.
_ANSWERED = {
    "csr-time": _some("time"),
    "csr-mip": _some("mip"),
    "csr-identity": _some("misa", "marchid", "mvendorid", "mimpid", "mconfigptr"),
    "csr-warl": _some("menvcfg", "mcountinhibit"),
    "csr-hpm": {CSR_NUMBERS[f"{stem}{n}"] for stem in ("mhpmcounter", "mhpmevent")
                for n in range(3, 32)},
    "csr-pmp": {n for n in csr.TABLE if 0x3A0 <= n < 0x400},
}  # fmt: skip
_ANSWER = {number: note for note, numbers in _ANSWERED.items() for number in numbers}


class SpikeOracle(SpikeState):
    """A Spike that stands where tcglite stands."""

    name = "spike"

    def follow(self, piece: Piece) -> None:
        if self._stale:
            self._stale = False
            self._hart.flush()
        if not self._counting:
            self._counting = True
            before = piece.before
            self._hart.set_counters(
                piece.since + before["minstret_offset"] & ALL,
                piece.since + before["mcycle_offset"] & ALL,
            )
        ours = piece.trap
        if ours is not None:
            self._trap(piece, ours)
        elif piece.insns:
            self._run(piece)

    def _run(self, piece: Piece) -> None:
        """All instructions of the piece: in one go up to each that uses a device, and up to the
        last one; CSR instructions, mret and wfi are always the last of their piece."""
        at, until = piece.since, piece.until
        insn = None
        block = piece.block
        if until == at + 1 and not piece.accesses and (block is None or block.icount == 1):
            insn = self._one(piece)
        else:
            stops = {access.insns for access in piece.accesses} | {until - 1}
            if self._is_overwritten(piece) or (block is not None and _has_reservation(block.code)):
                stops = set(range(at, until))
            for n in sorted(stops):
                self._many(piece, n - at)
                self._queue.extend(access for access in piece.accesses if access.insns == n)
                with self._as_translated(piece):
                    insn = self._one(piece)
                if self._queue:
                    self.differ(piece, "device access", self._queue[0], "none")
                at = n + 1
        self.counts["instructions"] += piece.insns
        if piece.insns > 1 or insn is None or insn.flags & ENDS_TB:
            self._compare(piece)
            return
        if insn.family in _FP:
            self._compare(piece)
            return
        after = piece.after
        pc, rd = self._state.pc, insn.rd
        if pc != after["pc"]:
            self.differ(piece, "pc", after["pc"], pc)
        if rd and self._x[rd] != after.words[rd]:
            self.differ(piece, REG_NAMES[rd], after.words[rd], self._x[rd])

    def _many(self, piece: Piece, insns: int) -> None:
        """So many instructions, none of which traps or uses a device."""
        if insns <= 0:
            return
        if piece.block is None:
            self._held = None  # there may be an lr among them
        begun = self._p.get_csr(MINSTRET)
        self._p.step(insns)
        done = self._p.get_csr(MINSTRET) - begun & ALL
        self._check_refused(piece)
        if done != insns:
            self.differ(piece, f"trap after {done} instructions", "none", self._entered())

    def _is_overwritten(self, piece: Piece) -> bool:
        """Has the block's code been changed since it was translated, by itself perhaps? It goes on
        as it was, and may, until a fence.i (specification 3.1 of Zifencei)."""
        block, memory = piece.block, self._memory
        if block is None or (block.icount == 1 and piece.trap is None):
            return False
        size = len(block.code)
        return memory.in_ram(block.pc, size) and memory.read_bytes(block.pc, size) != block.code

    @contextmanager
    def _as_translated(self, piece: Piece) -> Iterator[None]:
        """Have Spike find the instruction that tcglite has in its block, if that is another."""
        block, pc, hart = piece.block, self._state.pc, self._hart
        old = b"" if block is None else block.code[max(0, pc - block.pc) :][:4]
        now = b""
        if block is not None and block.pc <= pc and self._is_overwritten(piece):
            now = bytes(hart.read(pc + n, 1) for n in range(len(old)))
        if now == old or not now:
            yield
            return
        self.notes["code-overwritten"] += 1
        for n, byte in enumerate(old):
            hart.write(pc + n, 1, byte)
        hart.flush()
        yield
        for n, byte in enumerate(now):
            if hart.read(pc + n, 1) == old[n]:
                hart.write(pc + n, 1, byte)
        hart.flush()

    def _insn(self, piece: Piece) -> Insn | None:
        """The instruction that Spike will execute next."""
        pc = self._state.pc
        block = piece.block
        if block is not None and block.icount == 1 and block.pc == pc:
            return decode(int.from_bytes(block.code, "little"))
        bits = self._bits(pc)
        return None if bits is None else decode(bits)

    def _one(self, piece: Piece) -> Insn | None:
        """One instruction, which tcglite has retired."""
        insn = self._insn(piece)
        if insn is None:
            self._step(piece)
        elif insn.family in ("csr", "csri"):
            self._csr(piece, insn)
        elif insn.family == "wfi":
            self._hart.skip(insn.length)  # Spike would sleep
        elif insn.family == "sc":
            self._sc(piece, insn)
        elif self._queue and self._by_hand(piece, insn):
            pass
        elif insn.family == "lr":
            self._lr(piece, insn)
        else:
            self._step(piece)
            if insn.family == "mret":
                self._unreserve()
        return insn

    def _step(self, piece: Piece) -> None:
        """One instruction; if it traps here and not in tcglite, the next pc says so."""
        self._p.step(1)
        self._check_refused(piece)

    def _csr(self, piece: Piece, insn: Insn) -> None:
        """One CSR instruction, the last of its piece: executed, or answered from tcglite."""
        ours = piece.after.words[insn.rd]
        note = _ANSWER.get(insn.csr)
        if note is not None:
            self.notes[note] += 1
            self._hart.skip(insn.length)
            if insn.rd:
                self.check_answer(piece, insn.csr, ours)
                self._x.write(insn.rd, ours)
            return
        pc, operand = self._state.pc, insn.rs1 if insn.family == "csri" else self._x[insn.rs1]
        old = self._p.get_csr(insn.csr)
        self._p.step(1)
        if self._state.pc != pc + insn.length:
            self.differ(piece, "trap", "none", self._entered())
        if insn.rd and self._x[insn.rd] != ours:
            self.differ(piece, f"CSR {insn.csr:#x} as read", ours, self._x[insn.rd])
        if insn.csr in _WARL:
            written = {"rw": operand, "rs": old | operand, "rc": old & ~operand}[insn.arg]
            self._legalize(piece, insn.csr, written)

    def _legalize(self, piece: Piece, number: int, written: int) -> None:
        """Where an illegal value was written to a WARL field, each keeps a legal one of its own
        choice (specification 2.3): Spike gets tcglite's."""
        name, field, reserved, legal, changes, note = _WARL[number]
        ours, theirs = piece.after[name], self._p.get_csr(number)
        if written & field in reserved and ours != theirs and ours & field in legal:
            self._p.put_csr(number, theirs & ~changes | ours & changes)
            self.notes[note] += 1

    def _lr(self, piece: Piece, insn: Insn) -> None:
        """A load reserved: what it reads is kept, as in tcglite."""
        addr = self._x[insn.rs1]
        self._step(piece)
        self._held = addr, self._word(addr, insn)

    def _sc(self, piece: Piece, insn: Insn) -> None:
        """A store conditional. tcglite, like QEMU, compares the value that lr has read, so that
        it fails after a store of the hart's own, where Spike succeeds; both may (specification
        13.2)."""
        addr = self._x[insn.rs1]
        if not self._memory.in_ram(addr, 1) and self._memory.find(addr) is not None:
            self._hart.skip(insn.length)  # a trap in Spike, where devices cannot be reserved
            if insn.rd:
                self._x.write(insn.rd, not any(access.write for access in self._queue))
            self._queue.clear()
            self.notes["device-lr"] += 1
            return
        if self._held is not None:
            reserved, value = self._held
            if reserved == addr and value != self._word(addr, insn):
                self._hart.reserve(None)
                self.notes["reservation"] += 1
        self._held = None
        self._step(piece)

    def _word(self, addr: int, insn: Insn) -> int:
        """What lr reads there, extended to 64 bits."""
        size = _size(insn)
        if not self._memory.in_ram(addr, size):
            return 0
        value = self._hart.read(addr, size)
        return value | (-1 << 32) * (size == 4 and value >> 31) & ALL

    def _unreserve(self) -> None:
        self._held = None
        self._hart.reserve(None)

    def _by_hand(self, piece: Piece, insn: Insn) -> bool:
        """An instruction that uses a device in a way that Spike cannot: True if it was done."""
        first = self._queue[0]
        if self._memory.in_ram(first.addr, first.size):
            self._overlay(piece, first)
            return True
        addr = self._x[insn.rs1] + insn.imm & ALL
        bits = 8 * first.size
        if insn.family == "lr":
            value, note = first.value, "device-lr"
            self._unreserve()
        elif insn.family in ("load", "fpload") and addr & first.size - 1:
            # Across two words of a device: two reads in tcglite, one for each byte in Spike.
            both = sum(access.value << bits * n for n, access in enumerate(self._queue))
            value, note = both >> 8 * (addr - first.addr) & (1 << bits) - 1, "misaligned-device"
        else:
            return False
        self._queue.clear()
        if insn.family == "fpload":
            self._hart.load_f(insn.rd, value if bits == 64 else value | _BOX)
        elif insn.rd:
            signed = insn.family == "lr" or insn.arg.startswith("s")
            self._x.write(insn.rd, value | (-1 << bits) * (signed and value >> bits - 1) & ALL)
        self._hart.skip(insn.length)
        self.notes[note] += 1
        return True

    def _overlay(self, piece: Piece, access: Access) -> None:
        """A device over RAM, which is RAM in Spike: hold there what the device answered."""
        self._queue.popleft()
        if not access.write:
            self._hart.write(access.addr, access.size, access.value)
        self._step(piece)
        theirs = self._hart.read(access.addr, access.size)
        if theirs != access.value:
            self.differ(piece, f"the device at {access.addr:#x}", access.value, theirs)
        self.notes["device-over-ram"] += 1

    # Traps.

    def _trap(self, piece: Piece, ours: Trap) -> None:
        if ours.interrupt:
            self._interrupt(piece, ours)
        else:
            with self._as_translated(piece):
                self._exception(piece, ours)
        self._unreserve()  # a trap ends a reservation in tcglite, as in QEMU
        self._compare(piece)

    def _interrupt(self, piece: Piece, ours: Trap) -> None:
        """Spike is shown the lines, and has to take the same interrupt by itself."""
        hart, p = self._hart, self._p
        hart.set_lines(piece.after["mip"])
        begun = p.get_csr(MINSTRET)
        p.step(1)
        if p.get_csr(MINSTRET) != begun or not (theirs := self._entered()).interrupt:
            self.differ(piece, "interrupt", ours, "not taken")
        if theirs != ours:
            self.differ(piece, "interrupt", ours, theirs)
        hart.set_lines(0)
        self.counts["interrupts"] += 1

    def _exception(self, piece: Piece, ours: Trap) -> None:
        insn, p = self._insn(piece), self._p
        known = self._known(ours, insn)
        if known is not None:
            note, tval = known
            self.notes[note] += 1
            self._hart.enter_trap(ours.mcause, tval)
        else:
            if insn is not None and insn.family in _ATOMIC:
                self._hart.flush()  # an address that Spike has translated is not tested again
            begun = p.get_csr(MINSTRET)
            kept = self._stored(insn)
            p.step(1)
            self._check_refused(piece)
            if p.get_csr(MINSTRET) != begun:
                self.differ(piece, "trap", ours, "none")
            self._choose(ours, self._entered(), insn)
            for addr, value in kept:
                if self._hart.read(addr, 1) != value:
                    self._hart.write(addr, 1, value)
                    self.notes["partial-store"] += 1
        if (theirs := self._entered()) != ours:
            self.differ(piece, "trap", ours, theirs)
        self.counts["exceptions"] += 1

    def _stored(self, insn: Insn | None) -> list[tuple[int, int]]:
        """The bytes of RAM under a store that is not aligned, as (address, value): where it faults
        at its end, Spike has stored its beginning, which is allowed (specification 2.6)."""
        if insn is None or insn.family not in ("store", "fpstore"):
            return []
        addr = self._x[insn.rs1] + insn.imm & ALL
        inside = (addr + n & ALL for n in range(8 if addr & 7 else 0))
        return [(a, self._hart.read(a, 1)) for a in inside if self._memory.in_ram(a, 1)]

    def _choose(self, ours: Trap, theirs: Trap, insn: Insn | None) -> None:
        """Where the specification leaves a choice, Spike gets tcglite's."""
        if ours.mcause == theirs.mcause == trap.BREAKPOINT:
            if theirs.tval == ours.epc and not ours.tval:  # either may be in mtval (3.1.16)
                self._p.put_csr(MTVAL, 0)
                self.notes["ebreak-mtval"] += 1
        elif insn is not None and insn.family in _ATOMIC:
            size = _size(insn)
            if _MISALIGNED.get(ours.mcause) == theirs.mcause and ours.tval & size - 1:
                self._p.put_csr(MCAUSE, ours.mcause)
                self.notes["misaligned-atomic"] += 1

    def _known(self, ours: Trap, insn: Insn | None) -> tuple[str, int] | None:
        """Of an instruction that traps in tcglite by a documented difference, and in Spike not:
        the name of the difference, and mtval."""
        pc = self._state.pc
        if ours.mcause == trap.INST_ACCESS_FAULT and self._memory.find(ours.tval) is not None:
            return "device-fetch", pc if ours.tval == pc else pc + 2 & ALL
        if insn is None:
            at_end = not self._memory.in_ram(pc, 6) and ours.tval & _LONG == _LONG
            return ("long-encoding", self._bits(pc) or 0) if at_end else None
        if ours.mcause == trap.ILLEGAL_INST:
            if insn.family == "fparith":
                return "fp-arithmetic", insn.bits
            elsewhere = insn.csr not in csr.TABLE and self._hart.has_csr(insn.csr)
            if insn.family in ("csr", "csri") and elsewhere:
                return "csr-missing", insn.bits
        elif ours.mcause in (trap.LOAD_ACCESS_FAULT, trap.STORE_ACCESS_FAULT):
            addr = self._x[insn.rs1] + insn.imm & ALL
            size = _size(insn)
            if self._memory.find(ours.tval) is None:
                return None
            if addr & size - 1 == 0:
                return "device-refuses", addr
            if addr & -size <= ours.tval < addr + size:
                return "misaligned-device", ours.tval
        return None

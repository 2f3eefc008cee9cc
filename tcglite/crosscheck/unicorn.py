"""Unicorn beside tcglite: registers, CSRs, memory, and the boundaries of blocks.

Unicorn is a fork of QEMU 5.0 without devices, interrupts and trap entry. It runs each piece at full
speed; reads of devices are answered from what tcglite's devices answered, and a trap is entered by
hand, from what Unicorn itself knows: which instruction, which address, which cause. What it does
not have, or has otherwise, is said by name (``docs/differences.md``).

Traps to avoid in Unicorn 2.1: ``count`` works only for blocks translated with a count, so every run
has one; M-mode CSRs can be read in M mode only; exceptions leave pc 4 past the instruction, even of
2 bytes; a hook added late misses blocks that exist.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..accel.memory import AddressSpace
from ..accel.tb import TranslationBlock
from ..errors import TcgliteError
from ..target import trap
from ..target.cpu import (
    MSTATUS_FS,
    MSTATUS_MIE,
    MSTATUS_MPP,
    MSTATUS_MPRV,
    PRV_M,
)
from ..target.decode import Insn, decode, insn_length
from ..target.names import CSR_NUMBERS, FREG_NAMES
from ..tcg.cflags import MAX_INSNS
from ..tcg.env import PAGE_BITS, PAGE_MASK, PAGE_SIZE
from .oracle import INTERRUPT, Access, Diverged, Oracle, Piece, State, Trap, is_whole
from .unicorn_differences import (
    OP_LIMIT,
    executed_there,
    may_be_unboxed,
    other_end,
    refused_here,
)
from .unicorn_registers import (
    CSR,
    MSTATUS_MASK,
    NATIVE,
    NATIVE_NUMBERS,
    NOWHERE,
    PC,
    PRIV,
    Batch,
    F,
    X,
    enter,
    forget_reservation,
    map_stub,
    put,
)

try:
    import unicorn
    from unicorn import riscv_const as names
except ImportError:
    unicorn = None

_CODE_BUFFER = 32 << 20  # bytes; the default is 1 GiB
_MEMORY_EVERY = 1024  # pieces between two comparisons of a RAM that is not small
_SMALL = 1 << 17
_NO_FETCH = -1, 14  # after a jump to a device, as ``_fault`` says it (UC_ERR_FETCH_PROT)

_CAUSES = {8: trap.U_ECALL, 2: trap.ILLEGAL_INST, 4: trap.LOAD_MISALIGNED}
_ACCESS_FAULTS = (trap.LOAD_ACCESS_FAULT, trap.STORE_ACCESS_FAULT)
_STORE_ALWAYS = {
    trap.LOAD_MISALIGNED: trap.STORE_MISALIGNED,
    trap.LOAD_ACCESS_FAULT: trap.STORE_ACCESS_FAULT,
}


def require() -> None:
    """TcgliteError if Unicorn is not here."""
    if unicorn is None:
        raise TcgliteError("the cross-check needs Unicorn: pip install 'tcglite[crosscheck]'")


class UnicornOracle(Oracle):
    """A Unicorn that stands where tcglite stands. ``limit``: max_block_insns there; ``edges``:
    each piece is one block, which can be compared with the blocks that Unicorn runs."""

    name = "unicorn"

    def __init__(self, limit: int, edges: bool = False) -> None:
        super().__init__()
        require()
        self.version = unicorn.__version__
        self._limit = limit
        self._edges = edges
        self._queue: deque[Access] = deque()
        self._piece: Piece
        self._refused: Diverged | None = None  # by a callback, which must not raise
        self._fault: tuple[int, int] | None = None  # cause, mtval
        self._starts: list[int] = []  # pc of each block run
        self._early: list[Access] = []  # of the next piece
        self._seen: dict[int, int] = {}  # what Unicorn has read from devices in this piece
        self._pieces = 0
        self._reserved = False  # does Unicorn remember a reservation that tcglite has given up?

    def begin(self, state: State, memory: AddressSpace) -> None:
        self._uc = uc = unicorn.Uc(
            unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64, names.UC_CPU_RISCV64_ANY
        )
        uc.ctl_set_tcg_buffer_size(_CODE_BUFFER)
        self._memory = memory
        self._copy = bytearray(memory.ram)
        self._pointer = (ctypes.c_char * memory.ram_size).from_buffer(self._copy)
        uc.mem_map_ptr(memory.ram_base, memory.ram_size, unicorn.UC_PROT_ALL, self._pointer)
        map_stub(uc)
        over_ram = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
        for base, size, _ in memory.windows:
            if memory.in_ram(base, size):  # RAM in Unicorn, which is told before each access
                uc.hook_add(over_ram, self._on_overlay, begin=base, end=base + size - 1)
            else:
                end = base + size + PAGE_SIZE - 1 & PAGE_MASK
                first = base & PAGE_MASK
                uc.mmio_map(first, end - first, self._read, first, self._write, first)
        uc.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, self._on_breakpoint)
        uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, self._on_fault)
        if self._edges:
            uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block)
        self._state = Batch(uc, [PC, PRIV, *X, *F])
        self._csrs = Batch(uc, list(CSR.values()))
        put(uc, state)

    # What Unicorn asks and tells.

    def _read(self, uc: Any, offset: int, size: int, base: int) -> int:
        access = self._next(base + offset, size, None)
        self._seen[base + offset] = value = access.value if access else 0
        return value

    def _write(self, uc: Any, offset: int, size: int, value: int, base: int) -> None:
        if self._gives_back(base + offset, value):
            self.notes["device-lr"] += 1
        else:
            self._next(base + offset, size, value)

    def _on_overlay(
        self, uc: Any, kind: int, addr: int, size: int, value: int, user: object
    ) -> None:
        """A device over RAM: Unicorn is about to read what is put there now."""
        if kind == unicorn.UC_MEM_WRITE:
            self._next(addr, size, value & (1 << 8 * size) - 1)
        elif access := self._next(addr, size, None):
            at = addr - self._memory.ram_base
            self._copy[at : at + size] = access.value.to_bytes(size, "little")

    def _gives_back(self, addr: int, value: int) -> bool:
        """Is this an sc that fails, as the device's value is not the one that lr has read? Then
        Unicorn stores what it has just read, where tcglite stores nothing."""
        ours = self._queue[0] if self._queue else None
        if ours is not None and ours.write and ours.addr <= addr < ours.addr + ours.size:
            return False
        insn = decode(self._bits(self._uc.reg_read(PC)))
        return insn is not None and insn.family == "sc" and self._seen.get(addr) == value

    def _next(self, addr: int, size: int, value: int | None) -> Access | None:
        """The access that tcglite did as well, here and now."""
        access = self._queue.popleft() if self._queue else None
        if access is not None and access.size == 8 and size == 4:  # Unicorn asks for it in halves
            low, high = access.value & 0xFFFF_FFFF, access.value >> 32
            self._queue.appendleft(replace(access, addr=access.addr + 4, size=4, value=high))
            access = replace(access, size=4, value=low)
        wanted = (addr, size, value is not None, value)
        if access is None or wanted != (
            access.addr, access.size, access.write, access.value if access.write else None
        ):  # fmt: skip
            theirs = Access(0, addr, size, value or 0, value is not None)
            try:
                self.differ(self._piece, "device access", access or "none", theirs)
            except Diverged as found:
                self._refused = self._refused or found
            self._uc.emu_stop()
            return None
        self.counts["device accesses"] += 1
        return access

    def _on_exception(self, uc: Any, number: int, user: object) -> None:
        """An exception; pc is 4 past its instruction by now."""
        priv = uc.reg_read(PRIV)
        cause = _CAUSES.get(number, number)
        self._fault = (cause + priv if cause == trap.U_ECALL else cause, 0)
        uc.emu_stop()

    def _on_breakpoint(self, uc: Any, user: object) -> bool:
        self._fault = (trap.BREAKPOINT, 0)
        return False

    def _on_fault(
        self, uc: Any, access: int, addr: int, size: int, value: int, user: object
    ) -> bool:
        cause = {
            unicorn.UC_MEM_FETCH_UNMAPPED: trap.INST_ACCESS_FAULT,
            unicorn.UC_MEM_WRITE_UNMAPPED: trap.STORE_ACCESS_FAULT,
        }.get(access, trap.LOAD_ACCESS_FAULT)
        self._fault = (cause, addr)
        return False

    def _on_block(self, uc: Any, addr: int, size: int, user: object) -> None:
        self._starts.append(addr)

    # Running.

    def _emulate(self, insns: int) -> None:
        """Run so many instructions, or up to the one that faults (``_fault``)."""
        try:
            self._uc.emu_start(self._uc.reg_read(PC), NOWHERE, 0, insns)
        except unicorn.UcError as error:
            if self._fault is None and self._refused is None:
                self._fault = (-1, error.errno)
        if self._refused is not None:
            raise self._refused

    def _bits(self, addr: int) -> int:
        """The instruction at ``addr``, 0 where there is no memory."""
        memory = self._memory
        bits = 0
        for half in (0, 2):
            if memory.in_ram(addr + half, 2):
                offset = addr + half - memory.ram_base
                bits |= int.from_bytes(self._copy[offset : offset + 2], "little") << 8 * half
            if insn_length(bits) == 2:
                break
        return bits

    def follow(self, piece: Piece) -> None:
        self._piece = piece
        self._queue += self._early
        # What an instruction accesses before it fails on its second half belongs to its trap.
        self._early = [a for a in piece.accesses if a.insns == piece.until and not piece.trap]
        self._queue += piece.accesses[: len(piece.accesses) - len(self._early)]
        self._fault = None
        self._starts.clear()
        self._seen.clear()
        if piece.trap is not None:
            done = self._trap(piece, piece.trap)
        else:
            done = not piece.insns or self._run(piece)
        if not done:
            self._take_over(piece)
            return
        if self._queue and (piece.insns or piece.trap):
            self.differ(piece, "device access", self._queue[0], "none")
        self._compare(piece)

    def _at_device(self) -> bool:
        """Is the next instruction in a device's window, where Unicorn cannot fetch it?"""
        pc = self._uc.reg_read(PC)
        return not self._memory.in_ram(pc, 1) and self._memory.find(pc) is not None

    def _take_over(self, piece: Piece) -> None:
        """Code in a device's window has run: go on from where tcglite stands."""
        self.notes["device-fetch"] += 1
        self._queue.clear()
        if bytes(self._memory.ram) != self._copy:
            self._copy[:] = self._memory.ram
            self._uc.ctl_flush_tb()  # it has not seen the code change
        put(self._uc, piece.after)

    def _run(self, piece: Piece) -> bool:
        """All instructions of the piece; CSR instructions and mret are always the last one. False:
        not those in a device's window."""
        if piece.insns > 1:
            self._emulate(piece.insns - 1)
            self._check_no_fault(piece)
        if self._at_device():
            return False
        if self._edges and piece.block is not None and self._starts:
            self._check_edge(piece, piece.block)
        pc = self._uc.reg_read(PC)
        bits = self._bits(pc)
        insn = decode(bits)
        if insn is not None and insn.family in ("csr", "csri"):
            self._csr(piece, insn, pc)
        else:
            self._emulate(1)
            self._check_no_fault(piece)
            if insn is not None and insn.family == "mret":
                forget_reservation(self._uc)
                self._drop_mprv(piece)
        self.counts["pieces"] += 1
        return True

    def _drop_mprv(self, piece: Piece) -> None:
        """mret to a less privileged mode clears mstatus.MPRV (specification 1.12, 3.1.6.3), but
        not yet in Unicorn, where it then makes no difference either."""
        if piece.before["mstatus"] & MSTATUS_MPRV and not piece.after["mstatus"] & MSTATUS_MPRV:
            uc = self._uc
            priv = uc.reg_read(PRIV)
            uc.reg_write(PRIV, PRV_M)
            status = uc.reg_read(CSR["mstatus"])
            uc.reg_write(CSR["mstatus"], status & ~MSTATUS_MPRV if priv < PRV_M else status)
            uc.reg_write(PRIV, priv)
            self.notes["mprv"] += 1

    def _check_no_fault(self, piece: Piece) -> None:
        pc = self._uc.reg_read(PC)
        nowhere = [(trap.INST_ACCESS_FAULT, pc)]
        if self._at_device():
            nowhere.append(_NO_FETCH)
        elif insn_length(self._bits(pc)) == 4 and not self._memory.in_ram(pc, 4):
            nowhere.append((trap.INST_ACCESS_FAULT, pc + 2))
        if self._fault in nowhere:
            self._fault = None  # of the next instruction: the jump to where nothing is has retired
        if self._fault is not None:
            cause = trap.EXCEPTION_NAMES.get(self._fault[0], f"error {self._fault[1]}")
            pc = self._uc.reg_read(PC)
            self.differ(piece, "an exception", "none", f"{cause} near {pc:#x}")

    def _check_edge(self, piece: Piece, tb: TranslationBlock) -> None:
        """The piece is one block here; it should be one, and begin at the same place, there."""
        if self._starts[0] != tb.pc:
            self.differ(piece, "the block entered", tb.pc, self._starts[0])
        if len(self._starts) > 1 and tb.icount < OP_LIMIT:
            self.differ(piece, "blocks run", 1, [hex(pc) for pc in self._starts])
        self.counts["edges"] += 1

    def _csr(self, piece: Piece, insn: Insn, pc: int) -> None:
        """One CSR instruction: executed where Unicorn has the register, else answered."""
        uc = self._uc
        mask = NATIVE_NUMBERS.get(insn.csr)
        rd = insn.rd
        ours = piece.after.x[rd]
        if mask is None:
            self.notes["csr-answered"] += 1
            if rd:
                self.check_answer(piece, insn.csr, ours)
            uc.reg_write(PC, pc + 4)
        else:
            self._emulate(1)
            self._check_no_fault(piece)
            theirs = uc.reg_read(X[rd])
            if rd and (ours ^ theirs) & mask:
                self.differ(piece, f"CSR {insn.csr:#x} as read", ours & mask, theirs & mask)
        if rd:
            uc.reg_write(X[rd], ours)
        if insn.csr == CSR_NUMBERS["mstatus"]:  # bits of S mode, and what MPP=2 becomes
            theirs = uc.reg_read(CSR["mstatus"])
            if (theirs ^ piece.after["mstatus"]) & MSTATUS_MASK & ~MSTATUS_MPP:
                self.differ(piece, "mstatus", piece.after["mstatus"], theirs & MSTATUS_MASK)
            uc.reg_write(CSR["mstatus"], piece.after["mstatus"])
        elif insn.csr == CSR_NUMBERS["mepc"]:  # bit 0, which the specification has read as 0
            uc.reg_write(CSR["mepc"], piece.after["mepc"])

    # Traps, which Unicorn does not enter by itself (specification 3.1.6.1, 3.1.14 to 3.1.16).

    def _trap(self, piece: Piece, ours: Trap) -> bool:
        uc = self._uc
        pc = uc.reg_read(PC)
        if ours.interrupt:
            self._check_enabled(piece, ours)
            enter(uc, ours.mcause, pc, 0)
            self.counts["interrupts"] += 1
            return True
        if self._at_device():
            return False
        bits = self._bits(pc)
        insn = decode(bits)
        known = executed_there(insn, bits, piece.before)
        if known and ours.mcause == trap.ILLEGAL_INST:
            self.notes[known] += 1
            self._fault = (trap.ILLEGAL_INST, 0)
        elif self._memory.find(ours.tval) and refused_here(insn, ours, piece.before):
            self.notes["device-refused"] += 1  # ask our own device, if anybody
            self._queue.clear()  # the first half of a misaligned access may have been done
            self._fault = ours.mcause, ours.tval
        else:
            self._emulate(1)
            uc.reg_write(PC, pc)
        if self._fault is None and insn is not None and insn.family == "sc":
            self.notes["sc-unreserved"] += 1  # Unicorn looks at the reservation before the address
            uc.reg_write(X[insn.rd], piece.before.x[insn.rd])
            self._fault = ours.mcause, ours.tval
        if self._fault is None:
            self.differ(piece, "trap", ours, "none")
            return True
        cause, tval = self._fault
        if cause == trap.ILLEGAL_INST:
            tval = bits
        elif cause == trap.LOAD_MISALIGNED and insn is not None:
            tval = uc.reg_read(X[insn.rs1])
        end = self._memory.ram_base + self._memory.ram_size
        if cause == trap.STORE_ACCESS_FAULT and ours.tval == end < tval < end + 7:
            self.notes["store-over-end"] += 1  # Unicorn says the store's last byte
            tval = end
        if insn is not None and insn.family in ("amo", "sc"):
            cause = _STORE_ALWAYS.get(cause, cause)
        enter(uc, cause, pc, tval)
        self.counts["exceptions"] += 1
        self._fault = None
        return True

    def _check_enabled(self, piece: Piece, ours: Trap) -> None:
        """Is the interrupt that tcglite takes enabled in Unicorn's registers?"""
        uc = self._uc
        priv = uc.reg_read(PRIV)
        uc.reg_write(PRIV, PRV_M)
        mie, status = uc.reg_read(CSR["mie"]), uc.reg_read(CSR["mstatus"])
        uc.reg_write(PRIV, priv)
        number = ours.mcause & ~INTERRUPT
        if not mie >> number & 1 or not (priv < PRV_M or status & MSTATUS_MIE):
            self.differ(piece, "an interrupt", str(ours), "not enabled")

    # Comparing.

    def _compare(self, piece: Piece) -> None:
        uc = self._uc
        pc, priv, *rest = self._state.read()
        self.compare_registers(piece, pc, rest[:32])
        if priv != piece.after["priv"]:
            self.differ(piece, "privilege", piece.after["priv"], priv)
        self._compare_fp(piece, rest[32:])
        if priv != PRV_M:
            uc.reg_write(PRIV, PRV_M)
        values = self._csrs.read()
        if priv != PRV_M:
            uc.reg_write(PRIV, priv)
        fp = bool(piece.after["mstatus"] & MSTATUS_FS)
        self.compare_csrs(piece, {
            name: (value, mask)
            for (name, mask), value in zip(NATIVE.items(), values, strict=True)
            if name != "fcsr" or fp  # it cannot be read while FS is off
        })  # fmt: skip
        self.counts["states"] += 1
        self._pieces += 1
        if self._memory.ram_size <= _SMALL or self._pieces % _MEMORY_EVERY == 0:
            self._compare_memory(piece)

    def _compare_fp(self, piece: Piece, theirs: Sequence[int]) -> None:
        """f0 to f31. Unicorn does not box singles, and takes the lower half of what is no boxed
        single for one; so of a boxed single here only the lower half counts."""
        ours = piece.after.f
        if ours == list(theirs):
            return
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a != b:
                if a >> 32 != 0xFFFF_FFFF or not may_be_unboxed(a & 0xFFFF_FFFF, b & 0xFFFF_FFFF):
                    self.differ(piece, FREG_NAMES[n], a, b)
                self.notes["nan-boxing"] += 1
                self._uc.reg_write(F[n], a)

    def _compare_memory(self, piece: Piece) -> None:
        ours = bytes(self._memory.ram)
        if ours == self._copy:
            self.counts["memories"] += 1
            return
        for page in range(0, len(ours), PAGE_SIZE):
            if ours[page : page + PAGE_SIZE] == self._copy[page : page + PAGE_SIZE]:
                continue
            for at in range(page, page + PAGE_SIZE):
                addr = self._memory.ram_base + at
                device = addr >> PAGE_BITS in self._memory.overlay_pages
                if ours[at] != self._copy[at] and not (device and self._memory.find(addr)):
                    self.differ(piece, f"memory at {addr:#x}", ours[at], self._copy[at])
        self.counts["memories"] += 1

    def translated(self, tb: TranslationBlock, piece: Piece) -> None:
        """Unicorn's own translator is asked where a block that begins there ends."""
        if not self._memory.in_ram(tb.pc, 2) or not tb.code:
            return
        if not is_whole(tb.cflags, self._limit) or self._limit < MAX_INSNS:
            self.notes["cut-block"] += 1
            return
        _, icount, size = self._uc.ctl_request_cache(tb.pc)
        ours = tb.icount, len(tb.code)
        if ours != (icount, size):
            why = other_end(tb, icount, size, insn_length(self._bits(tb.pc + ours[1])))
            if why is None:
                self.differ(
                    piece, f"the block at {tb.pc:#x}", "{} insns, {} bytes".format(*ours),
                    f"{icount} insns, {size} bytes",
                )  # fmt: skip
            else:
                self.notes[why] += 1
        self.counts["blocks"] += 1

    def finish(self, memory: AddressSpace, piece: Piece) -> None:
        self._compare_memory(piece)

    def close(self) -> None:
        self._uc = None  # it holds callbacks that hold us
        del self._state, self._csrs

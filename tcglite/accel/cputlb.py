"""Guest loads and stores beyond the inline look-up (QEMU: accel/tcg/cputlb.c).

Addresses are physical for now, but the software TLB is real: generated code compares tags, and
what is special about a page (it holds translated code, it is not RAM) is a flag bit in the tag
that makes the comparison fail, so that plain accesses never ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..target import trap
from ..tcg.cflags import CF_MEMI_ONLY, CF_NOIRQ, cf_with_count
from ..tcg.env import (
    PAGE_BITS,
    PAGE_MASK,
    PAGE_SIZE,
    TLB_EMPTY,
    TLB_MMIO,
    TLB_NOTDIRTY,
    TLB_SIZE,
    TLB_WORDS,
)
from ..tcg.ops import MO_ALIGN, MO_SIGN, MO_SIZE, M
from ..trace import events as ev
from .memory import Device, MemTxError

if TYPE_CHECKING:
    from .cpu import CPUState

READ, WRITE = 0, 1


class SoftMMU:
    """The slow paths of one hart. Every method that takes ``ra`` may raise a guest exception."""

    def __init__(self, cpu: CPUState) -> None:
        self.cpu = cpu
        self.tlb = memoryview(cpu.env.neg.tlb).cast("B").cast("Q")
        self.flush()

    # The TLB.

    def flush(self) -> None:
        """Forget all entries."""
        self.tlb[:] = memoryview(TLB_EMPTY.to_bytes(8, "little") * len(self.tlb)).cast("Q")

    def _fill(self, addr: int) -> None:
        """Make the entry for a RAM page (QEMU: tlb_set_page_full)."""
        page = addr >> PAGE_BITS
        write = base = page << PAGE_BITS
        if page in self.cpu.memory.overlay_pages:
            write |= TLB_MMIO
        if page in self.cpu.tbs.pages and self.cpu.mechanisms.invalidate:
            write |= TLB_NOTDIRTY
        read = base | (TLB_MMIO if page in self.cpu.memory.overlay_pages else 0)
        i = (page & TLB_SIZE - 1) * TLB_WORDS
        self.tlb[i], self.tlb[i + 1], self.tlb[i + 2] = read, write, base
        self.tlb[i + 3] = 0

    def set_code_page(self, page: int, has_code: bool) -> None:
        """A page got its first block or lost its last: stores must, or need not, notice
        (QEMU: tlb_protect_code, tlb_unprotect_code)."""
        i = (page & TLB_SIZE - 1) * TLB_WORDS + 1
        if self.tlb[i] & PAGE_MASK == page << PAGE_BITS and self.cpu.mechanisms.invalidate:
            self.tlb[i] = self.tlb[i] & ~TLB_NOTDIRTY | (TLB_NOTDIRTY if has_code else 0)

    def invalidate(self, addr: int, size: int) -> None:
        """Guest memory changed: drop the blocks made from it."""
        if self.cpu.mechanisms.invalidate:
            self.cpu.tbs.invalidate_range(addr, size)

    # Slow paths called by generated code.

    def load(self, addr: int, memop: int, ra: int) -> int:
        """A guest load that the inline look-up did not serve; the value, extended to 64 bits."""
        size = 1 << (memop & MO_SIZE)
        if memop & MO_ALIGN and addr & size - 1:
            self.cpu.raise_exception(trap.LOAD_MISALIGNED, addr, ra)
        value = self._read(addr, size, ra)
        if memop & MO_SIGN and value >> 8 * size - 1:
            value |= M & -1 << 8 * size
        return value

    def _read(self, addr: int, size: int, ra: int) -> int:
        memory = self.cpu.memory
        if memory.in_ram(addr, size):
            self._fill(addr)
            if (addr + size - 1 ^ addr) & PAGE_MASK:
                self._fill(addr + size - 1)
            device = self._overlay(addr, size)
            if device is None:
                offset = addr - memory.ram_base
                return int.from_bytes(memory.ram[offset : offset + size], "little")
            return self._io(device, addr, size, None, ra)
        self._check_pages(addr, size, READ, ra)
        if addr & size - 1:  # as QEMU 7.2: two aligned accesses, shifted together
            low = addr & -size
            both = self._read(low, size, ra) | self._read(low + size, size, ra) << 8 * size
            return both >> 8 * (addr - low) & (1 << 8 * size) - 1
        return self._io(self._device(addr, size), addr, size, None, ra)

    def store(self, addr: int, value: int, memop: int, ra: int) -> None:
        """A guest store that the inline look-up did not serve."""
        size = 1 << (memop & MO_SIZE)
        if memop & MO_ALIGN and addr & size - 1:
            self.cpu.raise_exception(trap.STORE_MISALIGNED, addr, ra)
        self._write(addr, size, value & (1 << 8 * size) - 1, ra)

    def _write(self, addr: int, size: int, value: int, ra: int) -> None:
        memory = self.cpu.memory
        if memory.in_ram(addr, size):
            device = self._overlay(addr, size)
            if device is not None:
                self._io(device, addr, size, value, ra)
                return
            self.invalidate(addr, size)
            self._fill(addr)
            if (addr + size - 1 ^ addr) & PAGE_MASK:
                self._fill(addr + size - 1)
            offset = addr - memory.ram_base
            memory.ram[offset : offset + size] = value.to_bytes(size, "little")
            return
        self._check_pages(addr, size, WRITE, ra)
        if addr & size - 1:  # as QEMU 7.2: byte by byte
            for i in range(size):
                self._write(addr + i & M, 1, value >> 8 * i & 0xFF, ra)
            return
        self._io(self._device(addr, size), addr, size, value, ra)

    def probe_store(self, addr: int, memop: int, ra: int) -> None:
        """Raise what a store would raise."""
        size = 1 << (memop & MO_SIZE)
        if memop & MO_ALIGN and addr & size - 1:
            self.cpu.raise_exception(trap.STORE_MISALIGNED, addr, ra)
        if not self.cpu.memory.in_ram(addr, size):
            self._check_pages(addr, size, WRITE, ra)

    def _check_pages(self, addr: int, size: int, access: int, ra: int) -> None:
        """Every byte must belong to RAM or a device before the first one is touched; the fault's
        address is the first byte that does not."""
        memory = self.cpu.memory
        for start in (addr, addr + size - 1 & PAGE_MASK) if _crosses(addr, size) else (addr,):
            if not memory.in_ram(start & M, 1) and memory.find(start & M) is None:
                self._fault(start & M, access, ra)

    def _fault(self, addr: int, access: int, ra: int) -> None:
        cause = trap.LOAD_ACCESS_FAULT if access == READ else trap.STORE_ACCESS_FAULT
        self.cpu.raise_exception(cause, addr, ra)

    # Devices.

    def _overlay(self, addr: int, size: int) -> tuple[Device, int] | None:
        """The device that lies over these bytes of RAM, if one does."""
        memory = self.cpu.memory
        if addr >> PAGE_BITS in memory.overlay_pages:
            return memory.find(addr, size)
        return None

    def _device(self, addr: int, size: int) -> tuple[Device, int] | None:
        return self.cpu.memory.find(addr)

    def _io(
        self, found: tuple[Device, int] | None, addr: int, size: int, value: int | None, ra: int
    ) -> int:
        """One device access; ``value`` None reads."""
        cpu = self.cpu
        access = READ if value is None else WRITE
        if found is None:
            self._fault(addr, access, ra)
            raise AssertionError
        self._io_prepare(ra)
        device, offset = found
        if cpu.recorder.enabled:
            cpu.stamp = cpu.insns_at(ra)  # what the device does happens here, in mid-block
        with cpu.lock:
            try:
                if value is None:
                    result = device.read(offset, size)
                else:
                    result = value
                    device.write(offset, size, value)
                cpu.emit(
                    ev.DeviceAccess,
                    device=device.name, offset=offset, size=size, value=result,
                    write=access == WRITE,
                )  # fmt: skip
                return result
            except MemTxError:
                pass
            except Exception as error:  # of a callback, or of a device that a user made
                cpu.fail(error)
                return value or 0
            finally:
                cpu.stamp = None
        self._fault(addr, access, ra)
        raise AssertionError

    def _io_prepare(self, ra: int) -> None:
        """Is this the instruction that may do I/O? Else run it alone (QEMU: io_prepare)."""
        cpu = self.cpu
        cpu.fire_due(ra)
        mechanisms = cpu.mechanisms
        icount = cpu.icount_shift is not None and mechanisms.icount_recompile
        wanted = icount or mechanisms.io_last
        if wanted and ra:
            found = cpu.unwind(ra)
            if found is not None and found[1].index != found[0].icount - 1:
                self._io_recompile(ra)

    def _io_recompile(self, ra: int) -> None:
        """Rewind to the access, whose predecessors in the block are kept, and have it translated
        as a block of one instruction, which no interrupt may come before (cpu_io_recompile)."""
        cpu = self.cpu
        found = cpu.unwind(ra)
        assert found is not None
        tb, row = found
        cpu.restore_state(ra)
        cpu.cflags_next_tb = cf_with_count(cpu.cflags, 1) | CF_MEMI_ONLY | CF_NOIRQ
        cpu.stats.io_recompiles += 1
        cpu.emit(ev.IoRecompile, tb=tb.number, guest_pc=row.words[0])
        if cpu.on_exec is not None:
            cpu.on_exec("rewound", row.words[0])
        cpu.loop_exit()

    # Code.

    def fetch(self, addr: int) -> int:
        """16 bits of guest code at ``addr``."""
        memory = self.cpu.memory
        if memory.in_ram(addr, 2):
            offset = addr - memory.ram_base
            return int.from_bytes(memory.ram[offset : offset + 2], "little")
        found = memory.find(addr)
        if found is not None:
            try:
                with self.cpu.lock:
                    return found[0].read(found[1], 2)
            except MemTxError:
                pass
        self.cpu.raise_exception(trap.INST_ACCESS_FAULT, addr)


def _crosses(addr: int, size: int) -> bool:
    return bool((addr + size - 1 ^ addr) & ~(PAGE_SIZE - 1))



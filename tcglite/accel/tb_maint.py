"""Finding, linking, unlinking and removing blocks (QEMU: accel/tcg/tb-maint.c, cpu-exec.c)."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from ..tcg.backend import Backend
from ..tcg.cflags import CF_INVALID
from ..tcg.env import PAGE_BITS, CPUNeg
from ..trace import events as ev
from .jmp_cache import JumpCache
from .tb import TranslationBlock

Link = tuple[int, int, int]  #: numbers: block, its slot, block


class TBContext:
    """All blocks of one machine, and the four ways to find one: by virtual pc (jump cache), by
    key (hash table), by guest page (for stores to code), by host PC (for restoring state)."""

    def __init__(self, backend: Backend, neg: CPUNeg, emit: Callable[..., None], stats: Any):
        self.backend = backend
        self.jmp_cache = JumpCache(neg)
        self.cflags = 0  # of the blocks that belong into the jump cache
        self.logged = False  # each look-up is written down: generated code must not do it itself
        self.emit = emit
        self.stats = stats
        self.lock = threading.Lock()  # linking against unlinking from another thread
        self.unchained = False  # all links are cut; no new ones until the loop has looked
        self.acyclic = False  # never close a loop of links
        self.htable: dict[tuple[int, int, int, int], TranslationBlock] = {}
        self.by_number: dict[int, TranslationBlock] = {}
        self.pages: dict[int, dict[TranslationBlock, None]] = {}  # the inner ones: ordered sets
        self.on_page: Callable[[int, bool], None] = lambda page, has_code: None
        self._starts: list[int] = []
        self._by_start: list[TranslationBlock] = []
        self.made = 0  # number of the newest block

    # Look-up.

    def lookup(self, pc: int, phys: int, flags: int, cflags: int) -> TranslationBlock | None:
        """The block for this key, through the jump cache (QEMU: tb_lookup)."""
        if cflags == self.cflags and (number := self.jmp_cache.find(pc, flags)):
            return self.by_number[number]
        tb = self.htable.get((phys, pc, flags, cflags))
        if tb is not None:
            self._cache_jump(tb)
        return tb

    def _cache_jump(self, tb: TranslationBlock) -> None:
        with self.lock:
            if tb.cflags == self.cflags and not (self.unchained or self.logged):
                self.jmp_cache.put(tb)

    def lookup_host(self, host_pc: int) -> TranslationBlock | None:
        """The block whose host code covers ``host_pc`` (QEMU: tcg_tb_lookup)."""
        i = bisect_right(self._starts, host_pc) - 1
        if i >= 0 and host_pc < self._starts[i] + self._by_start[i].host.size:
            return self._by_start[i]
        return None

    # Publishing.

    def register(self, tb: TranslationBlock) -> None:
        """Make it known by host PC; must come before anybody can run it."""
        if self._starts and self._starts[-1] > tb.host.start:
            i = bisect_right(self._starts, tb.host.start)
            self._starts.insert(i, tb.host.start)
            self._by_start.insert(i, tb)
        else:
            self._starts.append(tb.host.start)
            self._by_start.append(tb)
        self.by_number[tb.number] = tb

    def link_page(self, tb: TranslationBlock) -> None:
        """Make it known by key and by page (QEMU: tb_link_page)."""
        for page in _pages(tb):
            blocks = self.pages.setdefault(page, {})
            blocks[tb] = None
            if len(blocks) == 1:
                self.on_page(page, True)
        self.htable[tb.key] = tb
        self._cache_jump(tb)

    def drop(self, tb: TranslationBlock) -> None:
        """Forget a one-shot block, which nobody can find by key or reach by a link."""
        i = bisect_right(self._starts, tb.host.start) - 1
        del self._starts[i], self._by_start[i], self.by_number[tb.number]

    # Linking.

    def add_jump(self, tb: TranslationBlock, slot: int, dest: TranslationBlock) -> None:
        """Patch ``slot`` of ``tb`` to jump to ``dest``, if both are still good (tb_add_jump)."""
        with self.lock:
            if self.unchained or dest.invalid or tb.invalid or tb.jmp_dest[slot] is not None:
                return
            if self.acyclic and self._reaches(dest, tb):
                return
            tb.jmp_dest[slot] = dest
            dest.incoming.append((tb, slot))
            self.backend.set_jump(tb.host, slot, dest.host)
        self.stats.chain_patched += 1
        self.emit(ev.ChainPatched, src=tb.number, slot=slot, dst=dest.number)

    @staticmethod
    def _reaches(start: TranslationBlock, goal: TranslationBlock) -> bool:
        """Do links lead from ``start`` to ``goal``?"""
        seen, todo = {start}, [start]
        while todo:
            tb = todo.pop()
            if tb is goal:
                return True
            for nxt in tb.jmp_dest:
                if nxt is not None and nxt not in seen:
                    seen.add(nxt)
                    todo.append(nxt)
        return False

    def _reset_jumps(self, jumps: Iterable[tuple[TranslationBlock, int]]) -> list[Link]:
        """Unpatch slots, and take them off their destinations' lists; the lock is held. What was
        cut, for ``_tell`` when the lock is free: who listens may stop the hart, and so unlink."""
        cut = []
        for tb, slot in jumps:
            dest = tb.jmp_dest[slot]
            if dest is not None:
                self.backend.set_jump(tb.host, slot, None)
                tb.jmp_dest[slot] = None
                dest.incoming.remove((tb, slot))
                cut.append((tb.number, slot, dest.number))
        return cut

    def _tell(self, cut: list[Link]) -> None:
        for src, slot, dst in cut:
            self.emit(ev.ChainUnpatched, src=src, slot=slot, dst=dst)

    def unlink_all(self) -> None:
        """Cut every link, from any thread, so that chained code must come back: what QEMU did for
        each interrupt before blocks tested a flag, and what the watchdog still does."""
        with self.lock:
            self.unchained = True
            self.jmp_cache.clear()
            cut = self._reset_jumps((tb, n) for tb in list(self.by_number.values()) for n in (0, 1))
        self._tell(cut)

    # Removing.

    def invalidate(self, tb: TranslationBlock, addr: int) -> None:
        """Remove ``tb`` since guest code at ``addr`` changed (QEMU: do_tb_phys_invalidate).

        Its host code stays: it may be what runs right now, and then it runs to its end.
        """
        self.htable.pop(tb.key, None)
        with self.lock:
            tb.cflags |= CF_INVALID
            cut = self._reset_jumps([(tb, 0), (tb, 1), *tb.incoming])
        self._tell(cut)
        for page in _pages(tb):
            blocks = self.pages.get(page, {})
            if blocks.pop(tb, 0) is None and not blocks:
                del self.pages[page]
                self.on_page(page, False)
        self.jmp_cache.remove(tb)
        self.stats.tb_invalidated += 1
        self.emit(ev.BlockInvalidated, tb=tb.number, addr=addr)

    def invalidate_range(self, addr: int, size: int) -> None:
        """Remove the blocks made from any of ``size`` bytes at ``addr`` (physical)."""
        for page in range(addr >> PAGE_BITS, (addr + size - 1 >> PAGE_BITS) + 1):
            for tb in list(self.pages.get(page, ())):
                if tb.phys < addr + size and addr < tb.phys + len(tb.code):
                    self.invalidate(tb, addr)

    def flush(self, why: str) -> None:
        """Forget all blocks; none may be running (QEMU: tb_flush)."""
        with self.lock:
            for tb in self.by_number.values():
                tb.cflags |= CF_INVALID
                tb.jmp_dest = [None, None]
                tb.incoming = []
            self.htable.clear()
            self.jmp_cache.clear()
            self.by_number.clear()
            self._starts.clear()
            self._by_start.clear()
            pages, self.pages = self.pages, {}
            self.backend.flush()
        for page in pages:
            self.on_page(page, False)
        self.emit(ev.BlocksFlushed, why=why)


def _pages(tb: TranslationBlock) -> set[int]:
    return {tb.phys >> PAGE_BITS, tb.phys + len(tb.code) - 1 >> PAGE_BITS}

"""The jump cache, laid out for host code to read (QEMU: accel/tcg/tb-jmp-cache.h)."""

from __future__ import annotations

from ..tcg.env import JMP_CACHE_EMPTY, JMP_CACHE_MASK, JMP_CACHE_SIZE, JMP_CACHE_WORDS, CPUNeg
from .tb import TranslationBlock


class JumpCache:
    """Which block to run at a guest pc. Only blocks with the cflags of the moment are in it.
    Another thread may empty it while host code reads: so only an entry's pc is ever taken back."""

    _EMPTY = memoryview(JMP_CACHE_EMPTY.to_bytes(8, "little") * JMP_CACHE_SIZE).cast("Q")

    def __init__(self, neg: CPUNeg) -> None:
        self.words = memoryview(neg.jmp_cache).cast("B").cast("Q")
        self.clear()

    def find(self, pc: int, flags: int) -> int:
        """Number of the block, or 0."""
        words, i = self.words, (pc >> 1 & JMP_CACHE_MASK) * JMP_CACHE_WORDS
        return words[i + 3] if words[i] == pc and words[i + 1] == flags else 0

    def put(self, tb: TranslationBlock) -> None:
        """Enter ``tb``, in the hart's own thread."""
        words, i = self.words, (tb.pc >> 1 & JMP_CACHE_MASK) * JMP_CACHE_WORDS
        words[i + 1], words[i + 2], words[i + 3] = tb.flags, tb.host.start, tb.number
        words[i] = tb.pc

    def remove(self, tb: TranslationBlock) -> None:
        """Take ``tb`` out, if it is in."""
        i = (tb.pc >> 1 & JMP_CACHE_MASK) * JMP_CACHE_WORDS
        if self.words[i + 3] == tb.number:
            self.words[i] = JMP_CACHE_EMPTY

    def clear(self) -> None:
        """Take all out."""
        self.words[::JMP_CACHE_WORDS] = self._EMPTY

"""PLIC: which device interrupt comes first (QEMU: ``hw/intc/sifive_plic.c``).

Sources 1 to 95; one hart with two contexts, 0 = M mode and 1 = S mode, as on ``virt``. Priorities
and thresholds have three bits. Source 0 means "none".

How a request travels, which is QEMU's way and not in all points the specification's (measured on
``virt``, QEMU 7.2.22):

* Each raise of a source's line sets its *pending* bit, also a raise of a line that is high
  already; lowering the line does **not** clear it.
* A claim clears *pending* and sets *claimed*. A claimed source does not interrupt again until it
  is completed; a raise in between is remembered by *pending*.
* After completion, a line that is still high does **not** interrupt by itself: the device must
  raise it again (the specification's level gateway would forward it). The UART does on the next
  register access that updates its interrupt.
* A claim respects the threshold (the specification says that it should not).
* Ties go to the lowest source number. Priority 0 never interrupts.
* The outputs are computed anew on a raise, a claim, a completion, and a store to a priority or a
  threshold, but **not on a store to an enable register**: it takes effect at the next of those.
* A completion is accepted from any context, also one that has the source disabled; a number that
  is no source is ignored.

===========================  =====  ===========================================================
offset                       sizes  what
===========================  =====  ===========================================================
0x000000 + 4*n               4      priority of source n, bits 2:0 kept (8 stores 0, 9 stores 1)
0x001000 + 4*w               4      pending bits, word w = 0 to 2; stores ignored
0x002000 + 0x80*c + 4*w      4      enable bits of context c; bit 0 can be set and means nothing
0x200000 + 0x1000*c          4      threshold of context c, bits 2:0 kept
0x200004 + 0x1000*c          4      load: claim; store: complete
rest, up to 0x5fffff         4      loads 0, stores ignored
any                          1,2,8  access fault
===========================  =====  ===========================================================

QEMU 7.2 keeps a priority also for a source 96 that has no line; here, as in QEMU 8, it reads 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..accel.memory import MemTxError

SOURCES = 95
PRIORITY_MASK = 7
PENDING = 0x1000
ENABLE = 0x2000
ENABLE_STRIDE = 0x80
CONTEXT = 0x200000
CONTEXT_STRIDE = 0x1000
SIZE = 0x600000
_WORDS = SOURCES // 32 + 1


class Plic:
    """``outputs[c](level)`` is called whenever the output of context c has been computed.

    The bit sets ``pending``, ``claimed`` and ``enable[c]`` are integers with bit n = source n."""

    name = "plic"

    def __init__(self, outputs: Sequence[Callable[[int], None]]) -> None:
        self._outputs = tuple(outputs)
        self._clear()

    def _clear(self) -> None:
        contexts = len(self._outputs)
        self.priority = [0] * (SOURCES + 1)
        self.pending = 0
        self.claimed = 0
        self.enable = [0] * contexts
        self.threshold = [0] * contexts

    def reset(self) -> None:
        """All registers 0, outputs low. Lines that are high count again when raised again."""
        self._clear()
        self._update()

    def set_level(self, source: int, level: int) -> None:
        """The line of ``source`` (1 to 95) is driven high or low."""
        if level:
            self.pending |= 1 << source
            self._update()

    def best(self, context: int) -> int:
        """The source that a claim by ``context`` would return, or 0."""
        waiting = self.pending & ~self.claimed & self.enable[context]
        best, best_priority = 0, self.threshold[context]
        while waiting:
            source = (waiting & -waiting).bit_length() - 1      # lowest number first
            waiting &= waiting - 1
            if self.priority[source] > best_priority:
                best, best_priority = source, self.priority[source]
        return best

    def read(self, offset: int, size: int) -> int:
        _check(offset, size)
        if offset < PENDING:
            source = offset // 4
            return self.priority[source] if source <= SOURCES else 0
        if offset < ENABLE:
            return _word(self.pending, (offset - PENDING) // 4)
        if offset < CONTEXT:
            context, register = divmod(offset - ENABLE, ENABLE_STRIDE)
            return _word(self.enable[context], register // 4) if self._has(context) else 0
        context, register = divmod(offset - CONTEXT, CONTEXT_STRIDE)
        if self._has(context):
            if register == 0:
                return self.threshold[context]
            if register == 4:
                return self._claim(context)
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        _check(offset, size)
        if offset < PENDING:
            source = offset // 4
            if 1 <= source <= SOURCES:
                self.priority[source] = value & PRIORITY_MASK
                self._update()
        elif offset < ENABLE:
            return
        elif offset < CONTEXT:
            context, register = divmod(offset - ENABLE, ENABLE_STRIDE)
            word = register // 4
            if self._has(context) and word < _WORDS:
                cleared = self.enable[context] & ~(0xFFFF_FFFF << 32 * word)
                self.enable[context] = cleared | (value & 0xFFFF_FFFF) << 32 * word
        else:
            context, register = divmod(offset - CONTEXT, CONTEXT_STRIDE)
            if self._has(context) and register == 0:
                self.threshold[context] = value & PRIORITY_MASK
                self._update()
            elif self._has(context) and register == 4:
                self._complete(value & 0xFFFF_FFFF)

    def _has(self, context: int) -> bool:
        return context < len(self._outputs)

    def _claim(self, context: int) -> int:
        source = self.best(context)
        if source:
            self.pending &= ~(1 << source)
            self.claimed |= 1 << source
        self._update()
        return source

    def _complete(self, source: int) -> None:
        if source <= SOURCES:
            self.claimed &= ~(1 << source)
            self._update()

    def _update(self) -> None:
        for context, output in enumerate(self._outputs):
            output(1 if self.best(context) else 0)


def _word(bits: int, word: int) -> int:
    return bits >> 32 * word & 0xFFFF_FFFF if word < _WORDS else 0


def _check(offset: int, size: int) -> None:
    if size != 4 or offset % 4:
        raise MemTxError

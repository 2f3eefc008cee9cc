"""The PLIC against a model that is nothing but lists."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tcglite.accel.memory import MemTxError
from tcglite.hw.plic import SOURCES, Plic

ENABLE, CONTEXT = 0x2000, 0x200000

sources = st.sampled_from([1, 2, 3, 31, 32, 33, 63, 64, 94, 95])
contexts = st.integers(0, 1)


class PlicAgainstModel(RuleBasedStateMachine):
    """The model keeps a set per state of a request and sorts; the device has bits and loops."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = [0, 0]
        self.plic = Plic([lambda level, c=c: self.outputs.__setitem__(c, level) for c in (0, 1)])
        self.priority = dict.fromkeys(range(SOURCES + 1), 0)
        self.pending: set[int] = set()
        self.claimed: set[int] = set()
        self.enabled: list[set[int]] = [set(), set()]
        self.threshold = [0, 0]
        self.expected = [0, 0]

    def best(self, context: int) -> int:
        ready = [n for n in self.pending & self.enabled[context] - self.claimed
                 if self.priority[n] > self.threshold[context]]
        return min(ready, key=lambda n: (-self.priority[n], n), default=0)

    def look(self) -> None:
        self.expected = [int(self.best(c) != 0) for c in (0, 1)]

    @rule(source=sources)
    def raise_line(self, source: int) -> None:
        self.plic.set_level(source, 1)
        self.pending.add(source)
        self.look()

    @rule(source=sources)
    def lower_line(self, source: int) -> None:
        self.plic.set_level(source, 0)      # a request that was made stays

    @rule(source=sources, value=st.integers(0, 0xFFFFFFFF))
    def set_priority(self, source: int, value: int) -> None:
        self.plic.write(4 * source, 4, value)
        self.priority[source] = value % 8
        self.look()

    @rule(context=contexts, value=st.integers(0, 15))
    def set_threshold(self, context: int, value: int) -> None:
        self.plic.write(CONTEXT + 0x1000 * context, 4, value)
        self.threshold[context] = value % 8
        self.look()

    @rule(context=contexts, enabled=st.sets(sources))
    def enable(self, context: int, enabled: set[int]) -> None:
        for word in range(3):
            bits = sum(1 << n % 32 for n in enabled if n // 32 == word)
            self.plic.write(ENABLE + 0x80 * context + 4 * word, 4, bits)
            assert self.plic.read(ENABLE + 0x80 * context + 4 * word, 4) == bits
        self.enabled[context] = set(enabled)    # and no look

    @rule(context=contexts)
    def claim(self, context: int) -> None:
        source = self.best(context)
        assert self.plic.read(CONTEXT + 0x1000 * context + 4, 4) == source
        if source:
            self.pending.remove(source)
            self.claimed.add(source)
        self.look()

    @rule(context=contexts, source=sources | st.sampled_from([0, 96, 1 << 20]))
    def complete(self, context: int, source: int) -> None:
        self.plic.write(CONTEXT + 0x1000 * context + 4, 4, source)
        if source <= SOURCES:
            self.claimed.discard(source)
            self.look()

    @invariant()
    def outputs_and_pending_words_agree(self) -> None:
        assert self.outputs == self.expected
        shown = {32 * word + bit for word in range(3) for bit in range(32)
                 if self.plic.read(0x1000 + 4 * word, 4) >> bit & 1}
        assert shown == self.pending


PlicAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40,
                                              deadline=None)
TestPlicAgainstModel = PlicAgainstModel.TestCase


@given(st.integers(0, 0x5FFFFF), st.sampled_from([1, 2, 4, 8]), st.integers(0, (1 << 64) - 1))
def test_any_access_answers_or_is_refused(offset: int, size: int, value: int):
    plic = Plic([lambda level: None] * 2)
    allowed = size == 4 and offset % 4 == 0
    for access in (lambda: plic.read(offset, size), lambda: plic.write(offset, size, value)):
        if allowed:
            assert 0 <= (access() or 0) <= 0xFFFFFFFF
        else:
            with pytest.raises(MemTxError):
                access()


def test_reset_clears_all():
    outputs = []
    plic = Plic([outputs.append, outputs.append])
    plic.write(4, 4, 7)
    plic.write(ENABLE, 4, 2)
    plic.set_level(1, 1)
    assert outputs[-2:] == [1, 0]
    plic.reset()
    assert outputs[-2:] == [0, 0]
    assert plic.read(4, 4) == plic.read(ENABLE, 4) == plic.read(0x1000, 4) == 0

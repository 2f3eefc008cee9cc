"""Which block is A: letters by first translation, and the words for causes."""

from __future__ import annotations

from dataclasses import dataclass

from tcglite.lab.theme import letter
from tcglite.trace.events import BlockRun, BlockTranslated, DeviceAccess, Event, Refused

REGISTERS = {
    ("clint", 0): "msip",
    ("clint", 0x4000): "mtimecmp",
    ("clint", 0xBFF8): "mtime",
    ("uart", 0): "uart",
}
PRIMES = ("", "′", "″", "‴")

INTERRUPTS = {1: "S software", 3: "software", 5: "S timer", 7: "timer", 9: "S external"}
INTERRUPTS[11] = "external"
EXCEPTIONS = {
    0: "fetch misaligned",
    1: "fetch access fault",
    2: "illegal instruction",
    3: "ebreak",
    4: "load misaligned",
    5: "load access fault",
    6: "store misaligned",
    7: "store access fault",
    8: "ecall from U",
    9: "ecall from S",
    11: "ecall from M",
    12: "fetch page fault",
    13: "load page fault",
    15: "store page fault",
}


def interrupt_name(cause: int) -> str:
    """mcause without its top bit, as a word: 7 is "timer"."""
    return INTERRUPTS.get(cause, f"interrupt {cause}")


def exception_name(cause: int) -> str:
    """mcause of an exception as words: 8 is "ecall from U"."""
    return EXCEPTIONS.get(cause, f"exception {cause}")


def device_text(event: DeviceAccess) -> str:
    """``mtimecmp ← 0x3e8``, ``uart ← "x"``: the registers that the guests use have names."""
    name = REGISTERS.get((event.device, event.offset), f"{event.device}+{event.offset:#x}")
    value = str(event.value) if event.value < 10 else f"{event.value:#x}"
    if name == "uart" and 32 < event.value < 127:
        value = f'"{chr(event.value)}"'
    return f"{name} {'←' if event.write else '→'} {value}"


def line_cause(line: str) -> int:
    """The cause that a raised line leads to: every device behind the PLIC arrives as external."""
    return {"mtip": 7, "msip": 3}.get(line, 11)


@dataclass(slots=True)
class _Block:
    pc: int
    index: int
    generation: int
    count: int
    full: bool


class Letters:
    """The letters of one machine's blocks. Keep one and give it to every picture, so that A stays
    A when older events are gone.

    A guest address keeps its letter: a second translation of the same code is A′ (the block was
    thrown away and made anew), a block that cflags cut short is A[2/7].
    """

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._index_of_pc: dict[int, int] = {}
        self._full: dict[int, tuple[int, int]] = {}  # pc -> (times translated, instructions)

    def see(self, event: Event) -> None:
        """Learn from an event; the order matters, repeating one does not."""
        if isinstance(event, BlockTranslated):
            known = self._blocks.get(event.tb)
            if known is None or known.pc != event.pc:
                self._add(event.tb, event.pc, event.count, event.full)
        elif isinstance(event, BlockRun | Refused) and event.tb not in self._blocks:
            self._add(event.tb, event.pc, event.count, True)

    def _add(self, tb: int, pc: int, count: int, full: bool) -> None:
        index = self._index_of_pc.setdefault(pc, len(self._index_of_pc))
        times = self._full.get(pc, (0, 0))[0]
        if full:
            self._full[pc] = (times + 1, count)
        self._blocks[tb] = _Block(pc, index, times if full else max(times - 1, 0), count, full)

    def index(self, tb: int) -> int:
        """The number behind the letter (0 is A): what the colour goes by."""
        return self._blocks[tb].index if tb in self._blocks else 0

    def name(self, tb: int) -> str:
        """A, B′ or A[2/7]; ``tb 17`` for a block never seen."""
        block = self._blocks.get(tb)
        if block is None:
            return f"tb {tb}"
        mark = block.generation
        name = letter(block.index) + (PRIMES[mark] if mark < len(PRIMES) else f"#{mark + 1}")
        if not block.full:
            whole = self._full.get(block.pc, (0, 0))[1]
            name += f"[{block.count}/{whole}]" if whole > block.count else f"[{block.count}]"
        return name

    def at(self, pc: int) -> str:
        """The name of the code at ``pc``: a block's letter, or its address."""
        if pc in self._index_of_pc:
            return letter(self._index_of_pc[pc])
        return f"{pc:#x}"

"""The pieces that random programs are made of: each a paragraph of source that can stand alone.

A paragraph begins with ``## kind``. What only works together (a patch and its fence.i, a wfi and
what ends it) stands in one line, so that shrinking cannot take it apart.
"""

from __future__ import annotations

import random

from ...target.asm_encode import encode
from ...target.insns import ROWS, Row
from ...target.names import REG_NUMBERS
from .operands import (
    BRANCHES,
    FP,
    FP_STATE,
    FREE,
    MEMORY,
    SINGLES,
    STRAIGHT,
    csr_access,
    instruction,
)

SUBROUTINES = ("sub0", "sub1", "sub2", "leaf")
CAUSES = (
    "ecall", "ebreak", "c.ebreak", "illegal", "short", "absent", "load", "store", "amo", "nowhere",
)  # fmt: skip
_ILLEGAL = (
    "sret", "sfence.vma a0, a1", ".4byte 0xffffffff", ".4byte 0x0000000b", ".4byte 0x00001067",
    ".4byte 0x0a000033", ".4byte 0x0000202f", ".4byte 0x00003063", ".4byte 0x0000707b",
)  # fmt: skip
_SHORT_ILLEGAL = (".2byte 0", ".2byte 0x8002", ".2byte 0x4002", ".2byte 0x6101")
_DEVICES = (0x200_0000, 0x200_4000, 0x1000_0005, 0xC00_0014, 0xC00_2000)
_NOWHERE = (0x0, 0x4000_0000, 0x8001_0000, 0x7FFF_FFFE, 0xFFFF_FFFF_FFFF_FFF0)


class Pieces:
    """Makes pieces. ``icount``: the shift, if time is made of instructions; ``timer``: may MTIE be
    enabled? ``over``: is the subroutine across a page end wanted?"""

    def __init__(self, rng: random.Random, icount: int | None, timer: bool) -> None:
        self.rng, self.icount, self.timer = rng, icount, timer
        self.over = False
        self.length = 4
        self._labels = 0

    def label(self) -> str:
        """A new name."""
        self._labels += 1
        return f"L{self._labels}"

    def set_length(self, length: int) -> str:
        """From here on, instructions have 4 bytes, or 2 where they can."""
        self.length = length
        return f".option {'rvc' if length == 2 else 'norvc'}"

    def scratch(self, count: int = 1) -> list[str]:
        """Registers to spoil."""
        return self.rng.sample(FREE, count)

    def _rows(self, table: dict[int, tuple[Row, ...]]) -> tuple[Row, ...]:
        return table[2] if self.length == 2 and self.rng.random() < 0.7 else table[4]

    def straight(self, count: int | None = None) -> list[str]:
        """Arithmetic, and loads and stores of data."""
        rng, out = self.rng, []
        for _ in range(count or rng.randrange(2, 7)):
            table = MEMORY if rng.random() < 0.3 else STRAIGHT
            out.append(instruction(rng, rng.choice(self._rows(table))))
        return out

    def branch(self, target: str) -> str:
        """A conditional jump, either way."""
        return instruction(self.rng, self.rng.choice(self._rows(BRANCHES)), target)

    def ahead(self) -> list[str]:
        """A jump over something."""
        over, rng = self.label(), self.rng
        jump = self.branch(over)
        if rng.random() < 0.2:
            jump = rng.choice((f"j {over}", f"jal {rng.choice(FREE)}, {over}"))
            if self.length == 2 and rng.random() < 0.5:
                jump = f"c.j {over}"
        return [jump, *self.straight(rng.randrange(1, 4)), f"{over}:"]

    def raising(self) -> str:
        """A device raises its line in mid-block."""
        a = self.scratch()[0]
        return self.rng.choice((f"li {a}, 1; sw {a}, 0(tp)", "sw s10, 0(tp)", "sw s11, 0(tp)"))

    def body(self) -> list[str]:
        """What loops and subroutines consist of: one block, or several that chain."""
        rng, out = self.rng, []
        for _ in range(rng.randrange(1, 4)):
            out += rng.choice((self.straight, self.straight, self.ahead))()
            if rng.random() < 0.15:
                out.append(self.raising())
        return out

    # Paragraphs.

    def selfloop(self) -> list[str]:
        """A block that jumps to itself."""
        top, rng = self.label(), self.rng
        back = f"bnez s10, {top}" if rng.random() < 0.7 else f"bgtz s10, {top}"
        inner = self.straight(rng.randrange(1, 5))
        if rng.random() < 0.4:
            inner.insert(rng.randrange(len(inner) + 1), self.raising())
        count = rng.randrange(3, 30)
        return [f"li s10, {count}", f"{top}:", *inner, "addi s10, s10, -1", back]

    def loop(self) -> list[str]:
        """Counted, of several blocks; with another in it, or calls."""
        top, rng, out = self.label(), self.rng, self.body()
        for _ in range(rng.randrange(3)):
            out += rng.choice((self.body, self.call, self.patch_sub, self.csr, self.selfloop))()
        return [f"li s11, {rng.randrange(2, 9)}", f"{top}:", *out, "addi s11, s11, -1",
                f"bnez s11, {top}"]  # fmt: skip

    def call(self) -> list[str]:
        """To a subroutine, directly or through a register."""
        rng, (a,) = self.rng, self.scratch()
        name = rng.choice(SUBROUTINES)
        link = "s9" if name == "leaf" else "ra"
        ways = [f"jal {link}, {name}", f"la {a}, {name}; jalr {link}, 0({a})",
                f"la {a}, {name} + 5; jalr {link}, -4({a})"]  # fmt: skip
        if link == "ra":
            ways.append(f"call {name}")
            if self.length == 2:
                ways.append(f"la {a}, {name}; c.jalr {a}")
        if self.length == 2 and link == "ra" and rng.random() < 0.3:
            back = self.label()
            return [f"la ra, {back}; la {a}, {name}; c.jr {a}", f"{back}:"]
        return [rng.choice(ways)]

    def trap(self, causes: tuple[str, ...] = CAUSES) -> list[str]:
        """An exception of some kind, which the handler steps over."""
        rng, (a, b) = self.rng, self.scratch(2)
        cause = rng.choice(causes)
        if cause in ("ecall", "ebreak"):
            return [cause]
        if cause == "c.ebreak":
            return ["c.ebreak" if self.length == 2 else "ebreak"]
        if cause in ("illegal", "short"):
            return [rng.choice(_ILLEGAL if cause == "illegal" else _SHORT_ILLEGAL)]
        if cause == "absent":
            return [csr_access(rng, self.icount is not None)]
        if cause == "nowhere":
            return [f"li {a}, {rng.choice(_NOWHERE):#x}; jalr ra, 0({a})"]
        wide = {"load": ("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu"),
                "store": ("sb", "sh", "sw", "sd"),
                "amo": ("amoadd.w", "amoswap.d", "lr.w", "lr.d")}  # fmt: skip
        name = rng.choice(wide[cause])
        if cause == "amo":
            where = rng.choice((0x4000_0000, 0x8001_0000, 0x8000_5002, 0x8000_4FFD))
            operands = f"{b}, ({a})" if name[:2] == "lr" else f"{b}, {b}, ({a})"
        else:
            # Where a wide store that lies half in RAM faults, and what it stores, is open.
            edge = 0x8001_0000 - (0 if cause == "store" else rng.randrange(9))
            operands = f"{b}, {rng.randrange(4)}({a})"
            where = rng.choice((0x4000_0000, edge, edge, 0x10, 0x7FFF_FF00))
        return [f"li {a}, {where:#x}; {name} {operands}"]

    def user(self) -> list[str]:
        """A stay in U mode, which an ecall ends."""
        rng, (a,) = self.rng, self.scratch()
        there = self.label()
        out = [f"la {a}, {there}; csrw mepc, {a}; li {a}, 0x1800; csrc mstatus, {a}; mret",
               f"{there}:", *self.body()]  # fmt: skip
        if rng.random() < 0.6:
            out += self.trap(("absent", "absent", "illegal", "load", "store", "ebreak"))
        if rng.random() < 0.3:
            out.append(rng.choice((f"csrr {a}, instret", f"csrr {a}, mscratch", "mret")))
        return [*out, *self.straight(2), "ecall"]

    def vector(self) -> list[str]:
        """Another entry for traps."""
        (a,) = self.scratch()
        return [self.rng.choice((
            f"la {a}, handler; csrw mtvec, {a}", f"la {a}, vectors + 1; csrw mtvec, {a}",
            f"la {a}, vectors + 1; csrrw {a}, mtvec, {a}", f"la {a}, handler + 2; csrw mtvec, {a}",
        ))]  # fmt: skip

    def critical(self) -> list[str]:
        """Interrupts come late, because they are masked."""
        rng, (a,) = self.rng, self.scratch()
        off, on = rng.choice((("csrci mstatus, 8", "csrsi mstatus, 8"),
                              ("csrw mie, zero", self.enable(a)),
                              (f"csrrci {a}, mstatus, 8", "csrsi mstatus, 8"),
                              ("csrci mie, 8", "csrsi mie, 8")))  # fmt: skip
        return [off, *self.body(), self.raising(), *self.straight(2), on, *self.straight(2)]

    def enable(self, a: str) -> str:
        """Write mie."""
        values = (8, 0x88, 0x80, 0x888) if self.timer else (8, 0x808)
        return f"li {a}, {self.rng.choice(values):#x}; csrw mie, {a}"

    def raised(self) -> list[str]:
        """An interrupt raised by a store, or by a device that is asked for it in mid-block."""
        return [*self.straight(2), self.raising(), *self.straight(3)]

    def csr(self) -> list[str]:
        """Control and status registers."""
        count = self.rng.randrange(1, 4)
        return [csr_access(self.rng, self.icount is not None) for _ in range(count)]

    def status(self) -> list[str]:
        """Bits of mstatus that change how things behave, or nothing."""
        rng, (a,) = self.rng, self.scratch()
        bits = rng.choice((0x80, 0x2_0000, 0x20_0000, 0x1_8000, 0x4_0002, 0x6000))
        return [f"li {a}, {bits:#x}; {rng.choice(('csrs', 'csrc'))} mstatus, {a}",
                *self.straight(3)]  # fmt: skip

    def sleep(self) -> list[str]:
        """wfi with an interrupt that is pending already, or under icount one that time brings."""
        rng, (a, b) = self.rng, self.scratch(2)
        if self.icount is None or not self.timer or rng.random() < 0.5:
            return [f"csrci mstatus, 8; csrsi mie, 8; li {a}, 1; sw {a}, 0(tp); wfi; "
                    f"{rng.choice(('nop', 'sw zero, 0(tp)'))}; csrsi mstatus, 8"]  # fmt: skip
        return [f"csrci mstatus, 8; li {a}, 0x80; csrs mie, {a}; li {a}, 0x200bff8; "
                f"ld {b}, 0({a}); addi {b}, {b}, {rng.randrange(1, 40)}; li {a}, 0x2004000; "
                f"sd {b}, 0({a}); wfi; csrsi mstatus, 8"]  # fmt: skip

    def time(self) -> list[str]:
        """A device register read in mid-block: the clock, if time is made of instructions."""
        rng, (a, b) = self.rng, self.scratch(2)
        if self.icount is not None and rng.random() < 0.7:
            where, name = rng.choice(((0x200_BFF8, "ld"), (0x200_BFF8, "lw"), (0x200_BFFC, "lwu")))
        else:
            where = rng.choice(_DEVICES)
            name = "lbu" if where >> 24 == 16 else "ld" if where == 0x200_4000 else "lw"
        access = f"li {a}, {where:#x}; {name} {b}, 0({a})"
        return [*self.straight(2), access, *self.straight(2)]

    def deadline(self) -> list[str]:
        """Under icount: a timer that fires some instructions later."""
        rng, (a, b) = self.rng, self.scratch(2)
        if self.icount is None or not self.timer:
            return self.raised()
        return [f"li {a}, 0x200bff8; ld {b}, 0({a}); addi {b}, {b}, {rng.randrange(1, 9)}; "
                f"li {a}, 0x2004000; sd {b}, 0({a})", *self.loop()]  # fmt: skip

    def slot(self, name: str) -> list[str]:
        """An instruction of 4 bytes that others overwrite."""
        reg = self.rng.choice(FREE)
        return [f".option push; .option norvc; {name}: addi {reg}, {reg}, 1; .option pop"]

    def patch(self, name: str) -> str:
        """Change the instruction in a slot, by a store of 1, 2 or 4 bytes."""
        rng, (a, b, c) = self.rng, self.scratch(3)
        size = rng.choice((1, 2, 4))
        load, store = {1: ("lbu", "sb"), 2: ("lhu", "sh"), 4: ("lwu", "sw")}[size]
        flip = rng.choice((1, 2, 16, 32, 64)) << 8 * (size - 1)  # bits of its immediate
        return (f"la {a}, {name}; {load} {b}, {4 - size}({a}); li {c}, {flip:#x}; "
                f"xor {b}, {b}, {c}; {store} {b}, {4 - size}({a}); fence.i")  # fmt: skip

    def patch_ahead(self) -> list[str]:
        """An instruction further on in the same block is replaced."""
        rng, (a, b), name = self.rng, self.scratch(2), self.label()
        row = ROWS[rng.choice(("addi", "xori", "ori", "slti", "addiw"))]
        rd, rs = (REG_NUMBERS[rng.choice(FREE)] for _ in range(2))
        bits = encode(row, {"rd": rd, "rs1": rs, "imm": rng.randrange(-2048, 2048)})
        return [f"la {a}, {name}; li {b}, {bits:#x}; sw {b}, 0({a}); fence.i",
                *self.straight(rng.randrange(3)), *self.slot(name)]  # fmt: skip

    def patch_sub(self) -> list[str]:
        """A subroutine is changed, then called."""
        return [self.patch(f"{self.rng.choice(SUBROUTINES)}_slot"), *self.call()]

    def patch_loop(self) -> list[str]:
        """A loop whose own blocks, or an inner loop that jumps to itself, change each time."""
        rng, top, name, inner = self.rng, self.label(), self.label(), self.label()
        middle = [*self.slot(name), *self.straight(2)]
        if rng.random() < 0.6:
            middle = [f"li s10, {rng.randrange(2, 6)}", f"{inner}:", *middle, "addi s10, s10, -1",
                      f"bnez s10, {inner}"]  # fmt: skip
        return [f"li s11, {rng.randrange(2, 7)}", f"{top}:", *self.body(), *middle,
                self.patch(name), "addi s11, s11, -1", f"bnez s11, {top}"]  # fmt: skip

    def atomic(self) -> list[str]:
        """Load reserved and store conditional, with or without something between."""
        rng, size = self.rng, self.rng.choice("wd")
        out = [instruction(rng, ROWS[f"lr.{size}"])]
        case = rng.random()
        if case < 0.4:  # nothing that stores: whether sc then fails, is open
            quiet = [r for r in self._rows(STRAIGHT) if r.family not in ("load", "store", "amo")]
            out += [instruction(rng, rng.choice(quiet)) for _ in range(rng.randrange(1, 3))]
        elif case < 0.5:
            out += self.trap(("ecall", "illegal"))
        out.append(instruction(rng, ROWS[f"sc.{size}"]))
        return out if rng.random() < 0.8 else out[-1:]

    def fp(self) -> list[str]:
        """Floating point, switched on or off; arithmetic is illegal either way."""
        rng, (a,) = self.rng, self.scratch()
        rows = FP if rng.random() < 0.3 else FP_STATE
        switch = f"li {a}, 0x6000; {'csrs' if rng.random() < 0.8 else 'csrc'} mstatus, {a}"
        singles = "; ".join(f"fmv.w.x {name}, {rng.choice(FREE)}" for name in SINGLES)
        rest = [instruction(rng, rng.choice(self._rows(rows))) for _ in range(5)]
        return [f"{switch}; {singles}", *rest]

    def fence(self) -> list[str]:
        """Fences, and a frame on the stack: they change nothing."""
        if self.length == 2 and self.rng.random() < 0.5:
            step = self.rng.choice((-496, -64, -16, 16, 32, 208, 496))
            return [f"c.addi16sp sp, {step}", *self.straight(2), f"c.addi16sp sp, {-step}"]
        return [self.rng.choice(("fence.i", "fence", "fence rw, w", "fence.tso", "pause"))]

"""From guest code to IR, one block at a time (QEMU: translator_loop, riscv_tr_* in translate.c).

A block ends where QEMU's ends: after a branch, jump, trap, CSR instruction or fence.i, at the end
of the guest page, at the instruction limit of its cflags, and when the IR has grown to MAX_OPS.
Only its first instruction may cross into the next page. ``FAMILIES`` maps the family of a decoded
instruction to the function that translates it; those functions live in ``trans_*.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..tcg.cflags import (
    CF_COUNT,
    CF_EAGER_PC,
    CF_NO_GOTO_PTR,
    CF_NO_GOTO_TB,
    CF_NOIRQ,
    CHECK_END,
    CHECK_HEAD,
    CHECK_INSN,
    MAX_OPS,
    TRACE_OFF,
    cf_check,
    cf_count,
    cf_trace,
)
from ..tcg.env import PAGE_MASK, PAGE_SIZE
from ..tcg.ir import Builder, Op, Temp
from ..tcg.ops import OPS
from .cpu import FLAGS_FS_SHIFT, FLAGS_MMU_SHIFT, FLAGS_PRIV, OFFSET_BINS, PC, X
from .decode import Insn, decode, insn_length
from .helper import RAISE_EXCEPTION
from .trap import ILLEGAL_INST, UW2_ALWAYS_STORE_AMO

_INSN_START = OPS["insn_start"]
#: Ops without temps, by slot: the same in every block.
_GOTO_TB, _EXIT_TB = ([Op(OPS[n], [s], 0, 0) for s in (0, 1)] for n in ("goto_tb", "exit_tb"))

NEXT, NORETURN, TOO_MANY = range(3)  #: what comes after an instruction (QEMU: DISAS_*)

Family = Callable[["DisasContext", Insn], bool | None]
FAMILIES: dict[str, Family] = {}


def family(name: str) -> Callable[[Family], Family]:
    """Register the translation function of an instruction family; False means illegal here."""

    def register(fn: Family) -> Family:
        FAMILIES[name] = fn
        return fn

    return register


@dataclass(slots=True)
class Translation:
    """What ``translate`` found: ``icount`` instructions in ``code`` (guest bytes from pc on).

    ``indirect``: the block ends in goto_ptr. ``words``: what each ``insn_start`` recorded.
    """

    builder: Builder
    icount: int
    code: bytes
    indirect: bool
    words: list[list[int]]


class DisasContext:
    """The block being translated; what the families write into."""

    __slots__ = (
        "b",
        "cflags",
        "fs",
        "fs_dirty",
        "indirect",
        "mmu",
        "next",
        "pc",
        "pc_first",
        "priv",
        "state",
        "words",
    )  # fmt: skip

    def __init__(self, pc: int, flags: int, cflags: int) -> None:
        self.b = Builder()
        self.pc_first = pc
        self.pc = pc  # of the instruction being translated
        self.next = pc  # of the one after it
        self.state = NEXT
        self.cflags = cflags
        self.priv = flags & FLAGS_PRIV
        self.fs = flags >> FLAGS_FS_SHIFT & 3
        self.mmu = flags >> FLAGS_MMU_SHIFT & 3
        self.words: list[list[int]] = []
        self.fs_dirty = self.fs == 3
        self.indirect = False

    # Registers.

    def reg(self, number: int) -> Temp | int:
        """x<number> to read; x0 is the constant 0."""
        return X[number] if number else 0

    def dest(self, number: int) -> Temp:
        """x<number> to write; a write to x0 goes to a temporary that nobody reads."""
        return X[number] if number else self.b.temp()

    # Ways out of a block.

    def exit_to_loop(self) -> None:
        """Leave with pc stored; mandatory after whatever may unmask interrupts."""
        self.b.emit("exit_tb", None)
        self.state = NORETURN

    def goto_tb(self, slot: int, dest: int) -> None:
        """Leave for a constant address: by a patchable jump if it is on the block's own page."""
        b = self.b
        if self.cflags & CF_NO_GOTO_TB or (dest ^ self.pc_first) & PAGE_MASK:
            b.emit("mov", PC, dest)
            self.goto_ptr()
            return
        if cf_check(self.cflags) == CHECK_END:
            b.emit("exit_check", 0, True, dest)
        b.ops.append(_GOTO_TB[slot])
        b.emit("mov", PC, dest)
        b.ops.append(_EXIT_TB[slot])
        self.state = NORETURN

    def goto_ptr(self) -> None:
        """Leave for the address in pc, if a block for it is known (lookup_and_goto_ptr)."""
        if self.cflags & CF_NO_GOTO_PTR:
            self.exit_to_loop()
            return
        if cf_check(self.cflags) == CHECK_END:
            self.b.emit("exit_check", 0, True, -1)
        self.b.emit("goto_ptr")
        self.indirect = True
        self.state = NORETURN

    def exception(self, cause: int) -> None:
        """An expected exception: store pc, call the helper that does not return."""
        self.b.emit("mov", PC, self.pc)
        self.b.call(RAISE_EXCEPTION, cause)
        self.state = NORETURN

    def illegal(self) -> None:
        """Illegal instruction; its bits become mtval."""
        self.b.emit("st", self.words[-1][1], OFFSET_BINS)
        self.exception(ILLEGAL_INST)

    def before_helper(self) -> None:
        """Before a helper that ends the block and mostly returns: store pc and opcode, so that it
        can raise an illegal instruction as if that had been expected."""
        self.b.emit("st", self.words[-1][1], OFFSET_BINS)
        self.b.emit("mov", PC, self.pc)

    def always_store_amo(self) -> None:
        """Record that all faults of this instruction are store/AMO faults (QEMU: uw2)."""
        self.words[-1][2] = UW2_ALWAYS_STORE_AMO

    def before_access(self) -> None:
        """Before a guest load or store: with restore="eager", store pc as naive engines do."""
        if self.cflags & CF_EAGER_PC:
            self.b.emit("mov", PC, self.pc)


def translate(fetch: Callable[[int], int], pc: int, flags: int, cflags: int) -> Translation:
    """Translate the block at ``pc``. ``fetch(addr)`` gives 16 bits of guest code, or raises the
    guest's fetch fault, which is precise: nothing of the block exists yet."""
    ctx = DisasContext(pc, flags, cflags)
    b = ctx.b
    limit = cf_count(cflags)
    check = CHECK_INSN + 1 if cflags & CF_NOIRQ else cf_check(cflags)
    count = bool(cflags & CF_COUNT)
    head = b.emit("exit_check", 0, check in (CHECK_HEAD, CHECK_INSN), None)
    if cf_trace(cflags) != TRACE_OFF:
        b.emit("trace_tb", cf_trace(cflags))
    # As QEMU 7.2: nothing but a block's first instruction takes the last two bytes of a page,
    # whatever its length (later versions look).
    page_end = (pc & PAGE_MASK) + PAGE_SIZE - 2
    ops, rows = b.ops, ctx.words
    code = bytearray()
    while True:
        pc = ctx.pc = ctx.next
        bits = fetch(pc)
        length = insn_length(bits)
        if length == 4:
            bits |= fetch(pc + 2) << 16
        if check == CHECK_INSN and rows:
            b.emit("exit_check", int(count), True, pc)
        words = [pc, bits, 0]  # a family may change them, and thus the op's arguments
        rows.append(words)
        ops.append(Op(_INSN_START, words, 0, 0))
        ctx.next = pc + length
        code += bits.to_bytes(length, "little")
        insn = decode(bits)
        if insn is None or FAMILIES[insn.row.family](ctx, insn) is False:
            ctx.illegal()
        if ctx.state != NEXT:
            break
        if ctx.next >= page_end or len(rows) >= limit or len(ops) >= MAX_OPS:
            ctx.goto_tb(0, ctx.next)
            break
    icount = len(rows)
    head.args[0] = (1 if check == CHECK_INSN else icount) if count else 0
    return Translation(b, icount, bytes(code), ctx.indirect, rows)

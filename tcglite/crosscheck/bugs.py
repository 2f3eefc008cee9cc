"""Bugs to plant: one mechanism of the translator wrong at a time.

A check that cannot fail is no check. Each bug is a few words changed in one function, and a
symptom as a student would report it; the tests prove that the cross-checks catch every one, and
notebook 10 hands them out as puzzles. ::

    with planted("flag-not-tested"):
        check_guest("doorbell")

Nothing here runs by itself, and leaving the block restores every function. Machines made inside it
must not be used after it: the blocks that they hold were made by the wrong code.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType

from ..errors import StateError, TcgliteError, UnknownName

_ACCEL, _TARGET = "tcglite.accel.", "tcglite.target."


@dataclass(frozen=True, slots=True)
class Edit:
    """In ``function`` ("module:name"), ``wrong`` stands where ``right`` stands."""

    function: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Bug:
    """``symptom``: what somebody sees who does not know it; ``mechanism``: what is broken;
    ``guest``: a bundled guest that shows it, with ``icount`` if it takes virtual time, or else
    ``program``: a program in the fuzzer's format that does; neither where generated programs are
    needed."""

    name: str
    symptom: str
    mechanism: str
    edits: tuple[Edit, ...]
    guest: str = ""
    icount: int | None = None
    program: str = ""


def _bug(name: str, symptom: str, mechanism: str, *edits: tuple[str, str, str],
         guest: str = "", icount: int | None = None, program: str = "") -> Bug:  # fmt: skip
    edited = tuple(Edit(*edit) for edit in edits)
    return Bug(name, symptom, mechanism, edited, guest, icount, program)


_LOOP, _TBS = _ACCEL + "cpu_exec:", _ACCEL + "tb_maint:TBContext."
_TRANSLATE, _TRAP = _TARGET + "translate:", _TARGET + "trap:"

BUGS = {bug.name: bug for bug in (
    _bug(
        "flag-not-tested",
        "The timer is due, but a guest in a tight loop never notices.",
        "the test of the exit flag at the head of each block",
        (_TRANSLATE + "translate", "check in (CHECK_HEAD, CHECK_INSN), None", "False, None"),
        guest="doorbell",
    ),
    _bug(
        "request-cleared-by-loop",
        "An interrupt that comes while interrupts are masked is gone when they are unmasked.",
        "a request is a level: only the device takes it back, never the loop",
        (_LOOP + "cpu_handle_interrupt",
         "taken = trap.exec_interrupt(cpu)",
         "taken = trap.exec_interrupt(cpu); cpu.interrupt_request = 0"),
        guest="masked",
    ),
    _bug(
        "flag-cleared-last",
        "Once in a million interrupts, one comes much too late.",
        "the flag is dropped before the requests are read, never after",
        (_LOOP + "cpu_handle_interrupt",
         """        cpu._decr.high = 0
        if kicked:
            cpu.emit(ev.FlagCleared)
""", ""),
        (_LOOP + "cpu_handle_interrupt",
         """    if cpu.exit_request:
        return True, None
    return False, last_tb
""", """    if cpu._decr.high:
        cpu.emit(ev.FlagCleared)
        cpu._decr.high = 0
    if cpu.exit_request:
        return True, None
    return False, last_tb
"""),
        program="""# tcglite fuzz program flag-cleared-last
# irq: mtip@40
# at: FlagCleared:2:msip
# max-insns: 400
_start: la   t0, handler
        csrw mtvec, t0
        li   t0, 0x2004000              # no timer of the board's own
        li   t1, -1
        sd   t1, 0(t0)
        csrwi mie, 8                    # the bell, not the timer
        csrsi mstatus, 8
loop:   addi a0, a0, 1                  # the timer's flag goes up here, and nobody wants it; just
        j    loop                       # when the loop has seen that, somebody rings the bell
        .balign 4
handler:
        li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
        j    .
""",
    ),
    _bug(
        "last-block-kept",
        "Some time after an interrupt, the guest is in the handler without any interrupt.",
        "after an interrupt there is no block to link from: the handler is not its successor",
        (_LOOP + "cpu_handle_interrupt",
         "cpu.stats.interrupts_taken += 1\n            last_tb = None",
         "cpu.stats.interrupts_taken += 1"),
    ),
    _bug(
        "refused-pc-of-first-block",
        "After an interrupt, the guest repeats work that it had done.",
        "chained jumps store no pc: the block that refused says where the guest is",
        (_LOOP + "cpu_tb_exec", "cpu.env.pc = last.pc", "cpu.env.pc = tb.pc"),
        guest="doorbell",
    ),
    _bug(
        "chain-not-unlinked",
        "A patched subroutine still does what it did before.",
        "a block that goes away is unlinked from all that jump to it",
        (_TBS + "invalidate", "[(tb, 0), (tb, 1), *tb.incoming]", "[(tb, 0), (tb, 1)]"),
        guest="selfmod",
    ),
    _bug(
        "self-loop-not-unlinked",
        "A loop that changes itself goes on for ever as it was.",
        "a block may be linked to itself, and must be unlinked from itself too",
        (_TBS + "invalidate",
         "[(tb, 0), (tb, 1), *tb.incoming]",
         "[(s, n) for s, n in [(tb, 0), (tb, 1), *tb.incoming] if s.jmp_dest[n] is not tb "
         "or s is not tb]"),
        program="""# tcglite fuzz program self-loop-not-unlinked
        .option norvc
_start: la   a3, slot
        la   a4, spare
        sub  a3, a3, a4
        li   t4, 0x100000               # one more, as an immediate
        li   s0, 20
loop:   addi s0, s0, -1                 # a block that is linked to itself, and in later rounds
        sltiu t3, s0, 10                # adds one to what its own instruction adds
        neg  t3, t3
        and  t3, t3, a3
        add  t3, t3, a4
        lw   t0, 0(t3)
        add  t0, t0, t4
        sw   t0, 0(t3)
slot:   addi a2, a2, 0
        bnez s0, loop
        li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
        j    .
        .balign 4096
spare:  .word 0
""",
    ),
    _bug(
        "stale-jump-cache",
        "A patched function runs its new code when called in one way, its old when in another.",
        "the jump cache forgets a block that goes away",
        (_TBS + "invalidate", "self.jmp_cache.remove(tb)", "pass"),
        guest="selfmod",
    ),
    _bug(
        "second-page-forgotten",
        "New code at the beginning of a page is ignored, but only its first two bytes.",
        "a block whose last instruction reaches into the next page belongs to both pages",
        (_ACCEL + "tb_maint:_pages",
         "return {tb.phys >> PAGE_BITS, tb.phys + len(tb.code) - 1 >> PAGE_BITS}",
         "return {tb.phys >> PAGE_BITS}"),
    ),
    _bug(
        "fence-i-ignored",
        "Code written just ahead is not seen, although a fence.i stands between.",
        "fence.i ends its block, so that no code translated before it follows",
        (_TARGET + "trans_sys:fence_i",
         'ctx.b.emit("mov", PC, ctx.next)\n    ctx.exit_to_loop()', 'ctx.b.emit("mb")'),
        guest="selfmod",
    ),
    _bug(
        "pc-not-stored",
        "An illegal CSR access is reported at the beginning of its block.",
        "before a helper that may raise, generated code stores pc",
        (_TRANSLATE + "DisasContext.before_helper", 'self.b.emit("mov", PC, self.pc)', "pass"),
        guest="vmexit",
    ),
    _bug(
        "search-off-by-one",
        "A load faults, and mepc names a neighbour.",
        "search data: where each guest instruction's host code ends",
        (_ACCEL + "translate_all:encode_search", "zip(words, ends, strict=True)",
         "zip(words, [*ends[1:], ends[-1]], strict=True)"),
        guest="fault",
    ),
    _bug(
        "write-dropped",
        "After a fault, a register lacks what was computed before the load.",
        "an access that may fault sees all registers: no write before it is dead",
        ("tcglite.tcg.optimize:liveness", "if flags & _SEEN:",
         'if flags & _SEEN and opdef.name != "qemu_ld":'),
    ),
    _bug(
        "budget-returned-twice",
        "minstret runs slow after every fault.",
        "what a block was charged and did not do goes back to the budget exactly once",
        (_ACCEL + "cpu:CPUState.restore_state", "self.retire(-undone)", "self.retire(-2 * undone)"),
        guest="fault",
    ),
    _bug(
        "masked-forgotten",
        "A bell that rings while mie is 0 is not heard when mie is set.",
        "requests are kept whatever mie and mstatus say",
        (_ACCEL + "cpu:CPUState.update_mip",
         "if env.mip:", "if env.mip & env.mie:"),
        guest="masked",
    ),
    _bug(
        "epc-after-compressed",
        "Exceptions of 2-byte instructions return to two bytes too early.",
        "the pc of an instruction is where it begins, whatever its length",
        (_TRANSLATE + "DisasContext.exception",
         'self.b.emit("mov", PC, self.pc)', 'self.b.emit("mov", PC, self.next - 4)'),
    ),
    _bug(
        "io-not-last",
        "Under icount, a clock read in mid-block shows a time that has not come.",
        "a device access runs as the last instruction of its block, at the right time",
        (_ACCEL + "cputlb:SoftMMU._io_prepare", "found[1].index != found[0].icount - 1", "False"),
        guest="clockread", icount=0,
    ),
    _bug(
        "key-without-fs",
        "A guest switches the FPU off, and floating-point code goes on working.",
        "what translation assumed about the hart is part of a block's key",
        (_ACCEL + "tb:TranslationBlock.key", "self.flags,", "self.flags & ~12,"),
        (_LOOP + "tb_find", "lookup(pc, pc, flags, cflags)",
         "lookup(pc, pc, flags & ~12, cflags)"),
        guest="fpu_off",
    ),
    _bug(
        "mret-chains",
        "An interrupt that waited for the end of a handler comes much later.",
        "whatever may unmask interrupts returns to the loop",
        (_TARGET + "trans_sys:mret", "ctx.exit_to_loop()", "ctx.goto_ptr()"),
        guest="nested",
    ),
    _bug(
        "csr-chains",
        "Interrupts come later than the instruction that enabled them.",
        "every CSR instruction ends its block and returns to the loop",
        (_TARGET + "trans_sys:_csr", "ctx.exit_to_loop()", "ctx.goto_ptr()"),
    ),
    _bug(
        "wrong-vector",
        "With vectored interrupts, a timer interrupt lands in the wrong handler.",
        "mtvec: base + 4 x cause",
        (_TRAP + "_enter", "vector += 4 * (mcause & ~INT_FLAG)", "vector += mcause & ~INT_FLAG"),
    ),
    _bug(
        "mpie-lost",
        "After the first interrupt no other one comes.",
        "trap entry saves mstatus.MIE in MPIE, and mret brings it back",
        (_TRAP + "_enter", "status |= MSTATUS_MPIE", "pass"),
        guest="masked",
    ),
)}  # fmt: skip


def _find(name: str) -> FunctionType:
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        found = found.fget
    assert isinstance(found, FunctionType)
    return found


def _code(function: FunctionType, edits: list[Edit]) -> CodeType:
    """The function's code with the edits made in its source, without its decorators."""
    source = textwrap.dedent(inspect.getsource(function))
    source = source[source.index("def ") :]
    indent = " " * 4 * (function.__qualname__.count("."))
    for edit in edits:
        right = edit.right.replace("\n" + indent, "\n") if indent else edit.right
        wrong = edit.wrong.replace("\n" + indent, "\n") if indent else edit.wrong
        if source.count(right) != 1:
            raise TcgliteError(f"{edit.function} has changed: {right!r} is not in it exactly once")
        source = source.replace(right, wrong)
    names = dict(function.__globals__)
    flags = __future__.annotations.compiler_flag
    exec(compile(source, f"<{function.__qualname__}, with a bug>", "exec", flags), names)
    made = names[function.__name__]
    assert isinstance(made, FunctionType)
    return made.__code__


_planted: list[str] = []


@contextmanager
def planted(name: str) -> Iterator[Bug]:
    """Have the bug ``name`` in this process until the block ends; only one at a time."""
    if name not in BUGS:
        raise UnknownName(f"unknown bug {name!r}; expected one of {', '.join(BUGS)}")
    if _planted:
        raise StateError(f"the bug {_planted[0]!r} is planted already; one at a time")
    bug = BUGS[name]
    by_function: dict[str, list[Edit]] = {}
    for edit in bug.edits:
        by_function.setdefault(edit.function, []).append(edit)
    changed = [(_find(path), edits) for path, edits in by_function.items()]
    codes = [_code(function, edits) for function, edits in changed]  # all, before any is planted
    originals = [function.__code__ for function, _ in changed]
    _planted.append(name)
    try:
        for (function, _), code in zip(changed, codes, strict=True):
            function.__code__ = code
        yield bug
    finally:
        for (function, _), code in zip(changed, originals, strict=True):
            function.__code__ = code
        _planted.clear()

"""The backend that runs everywhere and reads best: host code is Python source text.

A block becomes one Python function without arguments. A jump is ``return other_block``: the loop in
``enter`` plays the processor and calls what it is given, so a patched slot is a name that is bound
to the next block's function, and an unpatched one is bound to None and leaves by the exit.
A "host PC" is ``start + line``: each block owns a range of numbers, one for each of its lines.

Guest registers live in ``R`` (the env block as 64-bit words). One that a block reads more than once
gets a local; what was changed is written back before anything that may leave or raise, for loads
and stores on their slow path, so that every register is in memory there (QEMU syncs globals at the
same ops). TLB look-ups stand inline.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import CodeType
from typing import Any

from .backend import TB_EXIT_REQUESTED, HostInsn, Runtime
from .cflags import TRACE_TIMES
from .env import PAGE_BITS, PAGE_MASK, TLB_SIZE, TLB_WORDS, CPUNeg
from .ir import CONST, GLOBAL, TB, Op, Temp
from .ops import CONDS, INVERTED, MO_SIGN, MO_SIZE, NAMES, S

_SHIFT = PAGE_BITS - (TLB_WORDS.bit_length() - 1)  # address -> index of a TLB entry's first word
_INDEX = (TLB_SIZE - 1) * TLB_WORDS
_VIEWS = {MO_SIGN | i: "bhi"[i] for i in range(3)} | {i: "BHIQ"[i] for i in range(4)}
_VIEWS[MO_SIGN | 3] = "Q"

DEFAULT_CAPACITY = 1 << 18  #: lines
LINE_BYTES = 128  #: what a line counts as, where bytes are asked for

JUMP = "if (to := jump{}) is not None: return to"  #: what goto_tb is by itself


class PythonCode:
    """Host code of one block: its function, its lines, and the names it refers to."""

    __slots__ = ("fn", "insn_ends", "lines", "names", "size", "start")

    def __init__(self, start: int, lines: list[str], insn_ends: list[int], names: dict[str, Any]):
        self.start = start
        self.size = len(lines)
        self.insn_ends = insn_ends
        self.lines = lines
        self.names = names
        self.fn = names["tb"]


class PythonBackend:
    """See the module's docstring; the methods are the contract of ``tcg/backend.py``."""

    name = "python"
    getpc_adj = 0  # a "return address" is the line of the call itself
    note = "Python functions"
    inside = False  # every count is in memory

    def __init__(self, rt: Runtime) -> None:
        self.capacity = rt.capacity // LINE_BYTES or DEFAULT_CAPACITY
        self.used = 0
        self._next = 1 << 16
        self._left = [0, 0]
        left, env, ram = self._left, memoryview(rt.env).cast("B"), memoryview(rt.ram).cast("B")

        words, pc_word = env.cast("Q"), rt.pc // 8

        def exit_tb(number: int, index: int, pc: int | None = None) -> None:
            left[0] = number
            left[1] = index
            if pc is not None:
                words[pc_word] = pc

        def lookup() -> Any:
            code = rt.lookup()
            return code and code.fn

        self._ram_base = rt.ram_base
        self._pc = pc_word
        self._decr = (rt.neg + CPUNeg.icount_decr.offset) // 8
        self._ring_next = (rt.neg + CPUNeg.ring_next.offset) // 8
        tlb = rt.neg + CPUNeg.tlb.offset
        tlb_end = tlb + CPUNeg.tlb.size
        ring = memoryview(rt.ring).cast("B").cast("Q")
        self._ring_mask = len(ring) - 1
        self._cpu = rt.cpu
        self._names: dict[str, Any] = NAMES | {
            "__builtins__": {},
            "R": words,  # guest state, 64-bit words
            "D": env.cast("q"),  # the same, signed: budget and exit flag in one test
            "I": env.cast("I"),  # the same, 32-bit halves
            "T": env[tlb:tlb_end].cast("Q"),  # the TLB, from the first read tag on
            "W": env[tlb + 8 : tlb_end].cast("Q"),  # the same, from the first write tag on
            "P": ring,
            "load": rt.load,
            "store": rt.store,
            "clock": rt.clock,
            "lookup": lookup,
            "exit_tb": exit_tb,
            "jump0": None,
            "jump1": None,
        } | {
            f"mem_{v}": ram.cast(v)  # type: ignore[call-overload]
            for v in _VIEWS.values()
            if v != "B"
        }
        self._names["mem_B"] = ram

    def compile(self, ops: Sequence[Op], number: int) -> PythonCode:
        """Emit Python source, compile it, and give it a range of host addresses."""
        start = self._next
        emitter = _Emitter(self, start, number)
        for op in ops:
            emitter.op(op)
        emitter.insn_ends.append(len(emitter.lines) + 1)
        lines = emitter.lines
        names = self._names | emitter.helpers
        source = "\n".join(["def tb():", *lines])
        code: CodeType = compile(source, f"<tb {number}>", "exec", dont_inherit=True)
        exec(code, names)
        self._next = start + len(lines) + 16 & ~15
        self.used += len(lines) + 1
        return PythonCode(start, ["def tb():", *lines], emitter.insn_ends, names)

    def set_jump(self, code: PythonCode, slot: int, target: PythonCode | None) -> None:
        """Bind ``jump0``/``jump1`` of one block; a single store, safe while the block runs."""
        code.names[f"jump{slot}"] = target and target.fn

    def enter(self, code: PythonCode) -> tuple[int, int]:
        """Call functions as long as they return one."""
        fn = code.fn
        while (fn := fn()) is not None:
            pass
        return self._left[0], self._left[1]

    def seconds(self, stamps: Sequence[int]) -> list[float]:
        """``clock`` counts nanoseconds of ``time.perf_counter``."""
        return [stamp / 1e9 for stamp in stamps]

    def listing(self, code: PythonCode, ops: Sequence[Op]) -> list[HostInsn]:
        """One row a line; what the jump names are bound to now stands beside them."""
        emitter = _Emitter(self, code.start, 0)
        origin = [0]  # of each line
        for number, op in enumerate(ops):
            emitter.op(op)
            del origin[len(emitter.lines) + 1 :]
            origin += [number] * (len(emitter.lines) + 1 - len(origin))
        rows = []
        for i, line in enumerate(code.lines):
            note = ""
            for slot in (0, 1):
                if f"jump{slot}" in line:
                    fn = code.names[f"jump{slot}"]
                    note = f"jump{slot} = {fn.__code__.co_filename if fn else None}"
            rows.append(HostInsn(code.start + i, "", line, note, origin[i]))
        return rows

    def flush(self) -> None:
        """Blocks go when nobody holds them; addresses are not used again."""
        self.used = 0


class _Emitter:
    """Turns the ops of one block into lines, front to back, in one pass."""

    def __init__(self, backend: PythonBackend, start: int, number: int) -> None:
        self.b = backend
        self.start = start
        self.number = number
        self.lines: list[str] = []
        self.insn_ends: list[int] = []
        self.helpers: dict[str, Any] = {}
        self.indent = " "
        self.local: dict[Temp, str] = {}
        self.dirty: dict[Temp, str] = {}  # globals that memory does not have yet
        self.dead: tuple[int, ...] = ()  # of the op in hand
        self.started = False

    # Reading and writing temps.

    def read(self, temp: Temp, dead: bool = False) -> str:
        """The text of a temp; a register that is ``dead`` after this one look gets no local."""
        if temp.kind == CONST:
            return str(temp.value) if temp.value < 1 << 16 else hex(temp.value)
        name = self.local.get(temp)
        if name is None:
            name = f"R[{temp.value >> 3}]"
            if not dead:
                self.assign(temp, name)
                name = self.local[temp]
        return name

    def assign(self, temp: Temp, text: str) -> None:
        name = self.local[temp] = temp.name.replace("/", "_")
        self.line(f"{name} = {text}")

    def place(self, out: Temp) -> str:
        """Where the output of the op in hand goes: to memory if nobody reads it here."""
        self.local.pop(out, None)
        self.dirty.pop(out, None)
        if out.kind == GLOBAL and 0 in self.dead:
            return f"R[{out.value >> 3}]"
        name = self.local[out] = out.name.replace("/", "_")
        if out.kind == GLOBAL:
            self.dirty[out] = name
        return name

    def write(self, out: Temp, text: str) -> None:
        self.line(f"{self.place(out)} = {text}")

    def stores(self) -> str:
        """Statements that write changed guest registers back."""
        return "; ".join(f"R[{t.value >> 3}] = {n}" for t, n in self.dirty.items())

    def sync(self) -> None:
        """Write changed guest registers back; their locals stay good."""
        if self.dirty:
            self.line(self.stores())
            self.dirty.clear()

    def line(self, text: str) -> None:
        self.lines.append(self.indent + text)

    @property
    def here(self) -> int:
        """Host PC of the line that will be written next."""
        return self.start + len(self.lines) + 1

    # Ops.

    def op(self, op: Op) -> None:
        name, expr, self.dead = op.opdef.name, op.opdef.expr, op.dead
        if expr is None:
            getattr(self, "op_" + name)(*op.args)
            return
        ins = [self.read(t, i in self.dead) for i, t in enumerate(op.args[1:], 1)]
        self.write(op.args[0], expr.format(**dict(zip("ab", ins, strict=False))))

    def cond(self, first: int, a: Temp, b: Temp, cond: str) -> str:
        """The comparison as Python; the sign bit of a constant is flipped here and now."""
        x, y = self.read(a, first in self.dead), self.read(b, first + 1 in self.dead)
        if cond in ("lt", "ge"):
            x = hex(a.value ^ S) if a.kind == CONST else f"{x} ^ S"
            y = hex(b.value ^ S) if b.kind == CONST else f"{y} ^ S"
            return f"({x}) {'<' if cond == 'lt' else '>='} ({y})"
        return CONDS[cond].format(a=x, b=y)

    def op_setcond(self, out: Temp, a: Temp, b: Temp, cond: str) -> None:
        self.write(out, f"+({self.cond(1, a, b, cond)})")

    def op_movcond(self, out: Temp, a: Temp, b: Temp, yes: Temp, no: Temp, cond: str) -> None:
        test, one, other = self.cond(1, a, b, cond), self.read(yes), self.read(no)
        self.write(out, f"{one} if {test} else {other}")

    def op_brcond(self, a: Temp, b: Temp, cond: str, label: Any) -> None:
        test = self.cond(0, a, b, INVERTED[cond])
        self.sync()
        self.line(f"if {test}:")
        self.indent += " "

    def op_set_label(self, label: Any) -> None:
        self.sync()
        if self.lines[-1].endswith(":"):
            self.line("pass")
        self.indent = self.indent[:-1]
        self.local = {t: n for t, n in self.local.items() if t.kind == TB}

    def op_ld(self, out: Temp, offset: int) -> None:
        self.write(out, f"R[{offset >> 3}]")

    def op_st(self, value: Temp, offset: int) -> None:
        self.line(f"R[{offset >> 3}] = {self.read(value, 0 in self.dead)}")

    def _address(self, addr: Temp, memop: int) -> tuple[str, str, str]:
        """(TLB index, tag to compare, index into memory) of an access, as text."""
        a, size = self.read(addr), memop & MO_SIZE
        mask = PAGE_MASK | (1 << size) - 1
        offset = f"{a} - {self.b._ram_base:#x}"
        return (
            f"{a} >> {_SHIFT} & {_INDEX}",
            f"{a} & {mask:#x}",
            f"{offset} >> {size}" if size else offset,
        )

    def _slow_path(self) -> str:
        """What a slow path, which may raise, does first. Few registers are written back only
        there; many at once beforehand, or all this text costs more than it saves."""
        if len(self.dirty) > 3:
            self.sync()
        return self.stores() + "; " * bool(self.dirty)

    def op_qemu_ld(self, out: Temp, addr: Temp, memop: int, mmu: int) -> None:
        index, tag, offset = self._address(addr, memop)
        slow = self._slow_path()
        view = _VIEWS[memop & (MO_SIZE | MO_SIGN)]
        wrap = " & M" if memop & MO_SIGN and view != "Q" else ""
        a, name = self.read(addr), self.place(out)
        self.line(f"if T[{index}] == {tag}: {name} = mem_{view}[{offset}]{wrap}")
        self.line(f"else: {slow}{name} = load({a}, {memop}, {self.here:#x})")

    def op_qemu_st(self, value: Temp, addr: Temp, memop: int, mmu: int) -> None:
        index, tag, offset = self._address(addr, memop)
        slow = self._slow_path()
        a, v, size = self.read(addr), self.read(value), memop & MO_SIZE
        low = v if size == 3 else f"{v} & {(1 << (8 << size)) - 1:#x}"
        if value.kind == CONST:
            low = hex(value.value & (1 << (8 << size)) - 1)
        self.line(f"if W[{index}] == {tag}: mem_{_VIEWS[size]}[{offset}] = {low}")
        self.line(f"else: {slow}store({a}, {v}, {memop}, {self.here:#x})")

    def op_call(self, *args: Any) -> None:
        helper = args[-1]
        self.helpers[f"h_{helper.name}"] = helper.fn
        self.helpers["cpu"] = self.b._cpu
        outs = int(helper.returns)
        ins = "".join(
            ", " + self.read(t, i in self.dead) for i, t in enumerate(args[outs:-1], outs)
        )
        if not helper.pure_state:
            self.sync()
            self.local = {t: n for t, n in self.local.items() if t.kind != GLOBAL}
        call = f"h_{helper.name}(cpu, {self.here:#x}{ins})"
        if outs:
            self.write(args[0], call)
        else:
            self.line(call)

    def op_mb(self) -> None:
        """One hart, in order: nothing to wait for."""

    def op_insn_start(self, *words: int) -> None:
        if self.started:
            self.insn_ends.append(len(self.lines) + 1)
        self.started = True

    def op_exit_check(self, charge: int, kick: bool, pc: int | None) -> None:
        """Leave: refused by name (None), with ``pc`` stored, or (-1) with the pc in memory."""
        word = self.b._decr
        leave = f"return exit_tb({self.number}, {TB_EXIT_REQUESTED})"
        if pc is not None:
            self.sync()
            leave = "return exit_tb(0, 0)"
            if pc >= 0:
                leave = f"R[{self.b._pc}] = {pc:#x}; {leave}"
        if charge:
            view = f"D[{word}]" if kick else f"I[{word * 2}]"
            self.line(f"if (left := {view} - {charge}) < 0: {leave}")
            self.line(f"I[{word * 2}] = left")
        elif kick:
            self.line(f"if I[{word * 2 + 1}]: {leave}")

    def op_trace_tb(self, mode: int) -> None:
        r, mask = self.b._ring_next, self.b._ring_mask
        value = str(self.number)
        if mode == TRACE_TIMES:
            self.line(f"at = R[{r}]; P[at * 2 & {mask}] = {value}")
            self.line(f"P[at * 2 + 1 & {mask}] = clock()")
        else:
            self.line(f"at = R[{r}]; P[at & {mask}] = {value}")
        self.line(f"R[{r}] = at + 1")

    def op_goto_tb(self, slot: int) -> None:
        self.sync()
        self.line(JUMP.format(slot))

    def op_exit_tb(self, slot: int | None) -> None:
        self.sync()
        leave = f"{self.number}, {slot}" if slot is not None else "0, 0"
        jump, store = self.indent + JUMP.format(slot), f"{self.indent}R[{self.b._pc}] = "
        if self.lines[-2:-1] == [jump] and self.lines[-1].startswith(store):
            # goto_tb, a pc, exit_tb: the usual end, and one line is quicker to compile
            pc = self.lines.pop().removeprefix(store)
            self.lines[-1] = f"{self.indent}return jump{slot} or exit_tb({leave}, {pc})"
        else:
            self.line(f"return exit_tb({leave})")

    def op_goto_ptr(self) -> None:
        self.sync()
        self.line("return lookup() or exit_tb(0, 0)")


"""Looking at a stopped machine: registers by name, blocks in all their forms."""

from __future__ import annotations

import dataclasses
import operator
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from .accel.cpu import CPUState
from .accel.replay import Inputs
from .accel.tb import TranslationBlock
from .accel.translate_all import SearchRow, decode_search, retranslate
from .errors import UnknownName, UsageError, shown
from .target import csr as csrs
from .target.disas import listing
from .target.names import CSR_NUMBERS, FREG_NUMBERS, REG_NUMBERS
from .tcg.backend import HostInsn
from .tcg.backends import listing_backend
from .tcg.ir import Op
from .tcg.optimize import optimize
from .tcg.printer import format_ops
from .trace.log import LogWriter

_M64 = (1 << 64) - 1


class CSRView:
    """``m.cpu.csr["mepc"]``: by name or number."""

    def __init__(self, cpu: CPUState, check: Callable[[], None]) -> None:
        self._cpu = cpu
        self._check = check

    def _number(self, name: str | int) -> int:
        number = CSR_NUMBERS.get(name) if isinstance(name, str) else name
        if not isinstance(number, int) or number not in csrs.TABLE:
            raise UnknownName(f"this hart has no CSR {shown(name)}; expected a name like 'mepc'")
        return number

    def __getitem__(self, name: str | int) -> int:
        self._check()
        return csrs.peek(self._cpu, self._number(name))

    def __setitem__(self, name: str | int, value: int) -> None:
        self._check()
        try:
            csrs.poke(self._cpu, self._number(name), _word(name, value))
        except KeyError:
            raise UnknownName(f"CSR {name!r} is read-only") from None


class CPUView:
    """``m.cpu``: pc, registers by name, CSRs; only while the machine is stopped."""

    def __init__(self, cpu: CPUState, check: Callable[[], None]) -> None:
        self._cpu = cpu
        self._check = check
        self.csr = CSRView(cpu, check)

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        self._check()
        return self._cpu.env.pc

    @pc.setter
    def pc(self, value: int) -> None:
        self._check()
        self._cpu.env.pc = _word("pc", value) & ~1

    @property
    def priv(self) -> int:
        """Privilege: 0 user, 3 machine."""
        self._check()
        return self._cpu.env.priv

    @property
    def halted(self) -> bool:
        """Does it sleep in wfi?"""
        return self._cpu.halted

    def _place(self, name: str) -> tuple[Any, int]:
        if isinstance(name, str):
            if name in REG_NUMBERS:
                return self._cpu.env.x, REG_NUMBERS[name]
            if name in FREG_NUMBERS:
                return self._cpu.env.f, FREG_NUMBERS[name]
        raise UnknownName(
            f"unknown register {shown(name)}; expected a name like 'a0', 'x10' or 'fa0'"
        )

    def __getitem__(self, name: str) -> int:
        self._check()
        file, number = self._place(name)
        return int(file[number])

    def __setitem__(self, name: str, value: int) -> None:
        self._check()
        file, number = self._place(name)
        if number or file is self._cpu.env.f:
            file[number] = _word(name, value)

    @property
    def registers(self) -> list[int]:
        """x0 … x31."""
        self._check()
        return list(self._cpu.env.x)


class TBView:
    """One block. Listings are made when they are asked for."""

    def __init__(self, cpu: CPUState, tb: TranslationBlock) -> None:
        self._cpu = cpu
        self._tb = tb

    @property
    def number(self) -> int:
        """1, 2, … by translation."""
        return self._tb.number

    @property
    def pc(self) -> int:
        """Guest address of the first instruction."""
        return self._tb.pc

    @property
    def icount(self) -> int:
        """Guest instructions."""
        return self._tb.icount

    @property
    def cflags(self) -> int:
        """How it was compiled (``tcg/cflags.py``)."""
        return self._tb.cflags

    @property
    def flags(self) -> int:
        """The hart's state that translation assumed (``target/cpu.py``)."""
        return self._tb.flags

    @property
    def host_start(self) -> int:
        """Address of the first host instruction."""
        return int(self._tb.host.start)

    @property
    def host_size(self) -> int:
        """Length of the host code, in host addresses."""
        return int(self._tb.host.size)

    @property
    def insn_ends(self) -> list[tuple[int, int]]:
        """(guest pc, host address where its code ends) of each guest instruction."""
        return [(row.words[0], self.host_start + row.end) for row in decode_search(self._tb)]

    @property
    def invalid(self) -> bool:
        """Was it removed because its guest code changed?"""
        return self._tb.invalid

    @property
    def guest(self) -> list[tuple[int, int, int, str]]:
        """(address, bits, length, text) of each guest instruction."""
        return list(listing(self._tb.code, self._tb.pc))

    @property
    def ir(self) -> str:
        """The IR as the front end emits it."""
        return format_ops(retranslate(self._tb).builder.ops, self._tb.number)

    @property
    def ir_opt(self) -> str:
        """The IR after optimisation and liveness analysis."""
        return format_ops(self._ops(), self._tb.number, liveness=True)

    @property
    def host(self) -> list[HostInsn]:
        """Each host instruction as it stands now, with the op and guest instruction behind it."""
        ops = self._ops()
        return _with_insns(self._cpu.tbs.backend.listing(self._tb.host, ops), ops)

    def host_on(self, backend: str) -> list[HostInsn]:
        """What ``backend`` makes of the block: on any computer, nothing runs."""
        other = listing_backend(backend, self._cpu.runtime)
        ops = self._ops()
        return _with_insns(other.listing(other.compile(ops, self._tb.number), ops), ops)

    def _ops(self) -> list[Op]:
        return optimize(retranslate(self._tb).builder)

    @property
    def slots(self) -> list[int | None]:
        """Number of the block that each jump slot leads to, or None."""
        return [None if dest is None else dest.number for dest in self._tb.jmp_dest]

    @property
    def incoming(self) -> list[tuple[int, int]]:
        """(block number, slot) of the jumps that lead here."""
        return [(tb.number, slot) for tb, slot in self._tb.incoming]

    @property
    def search(self) -> list[SearchRow]:
        """The search data, decoded row by row."""
        return list(decode_search(self._tb))

    @property
    def search_bytes(self) -> bytes:
        """The search data as it is stored."""
        return self._tb.search

    def __repr__(self) -> str:
        return repr(self._tb)


class Uart:
    """The keyboard: ``m.uart.type("x")``."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def type(self, data: str | bytes) -> None:
        """Type; the guest reads it at its own pace."""
        if not isinstance(data, str | bytes | bytearray):
            raise UsageError(f"cannot type {shown(data)}; expected str or bytes")
        try:
            raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        except UnicodeEncodeError:
            raise UsageError(f"cannot type {shown(data)}; expected valid Unicode") from None
        self._inputs.put("type", raw.decode("latin-1"))  # recordings hold text


def _word(name: str | int, value: Any) -> int:
    """What a 64-bit register holds of ``value``."""
    try:
        return operator.index(value) & _M64
    except TypeError:
        raise UsageError(f"{name} = {shown(value)}; expected a whole number") from None


def _with_insns(rows: list[HostInsn], ops: list[Op]) -> list[HostInsn]:
    """The rows, each with the number of its guest instruction."""
    insns, at = [], -1
    for op in ops:
        at += op.name == "insn_start"
        insns.append(None if at < 0 else at)
    return [row._replace(insn=insns[row.op]) for row in rows]


def symbol_finder(symbols: dict[str, int]) -> Callable[[int], str]:
    """A function that names a guest address: the nearest symbol at or below it, or ""."""
    table = sorted((addr, name) for name, addr in symbols.items())

    def symbol(addr: int) -> str:
        i = bisect_right(table, (addr, chr(0x10FFFF))) - 1
        return table[i][1] if i >= 0 else ""

    return symbol


def attach_log(cpu: CPUState, log: LogWriter, old: LogWriter | None) -> None:
    """Have ``log``, and no longer ``old``, hear of translations, entries, refusals and traps."""

    def on_exec(what: str, about: Any) -> None:
        if what == "trace":
            log.executing(TBView(cpu, about))
        elif what == "stopped":
            log.stopped(TBView(cpu, about))
        else:
            log.rewound(about)

    cpu.on_translate = lambda tb: log.translated(TBView(cpu, tb))
    cpu.on_exec = on_exec if "exec" in log.items else None
    cpu.tbs.logged = cpu.on_exec is not None
    cpu.tbs.jmp_cache.clear()
    if old is not None:
        cpu.recorder.listeners.remove(old.event)
    cpu.recorder.listen(log.event)
    if "nochain" in log.items:
        cpu.set_mechanisms(dataclasses.replace(cpu.mechanisms, chain=False))

"""Logs in the layout of QEMU's ``-d``, so that both can be read side by side.

Samples are of ``qemu-system-riscv64`` 7.2. This room knows no blocks: whoever writes the log hands
over what to print as plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TextIO

from . import events as ev

ITEMS = ("in_asm", "op", "op_opt", "out_asm", "exec", "int", "nochain")

EXCEPTIONS = {
    0: "misaligned_fetch",
    1: "fault_fetch",
    2: "illegal_instruction",
    3: "breakpoint",
    4: "misaligned_load",
    5: "fault_load",
    6: "misaligned_store",
    7: "fault_store",
    8: "user_ecall",
    9: "supervisor_ecall",
    11: "machine_ecall",
}
INTERRUPTS = {3: "m_software", 7: "m_timer", 11: "m_external"}


class HostLine(Protocol):
    """One host instruction, or line of Python."""

    @property
    def address(self) -> int: ...
    @property
    def raw(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def note(self) -> str: ...


class Block(Protocol):
    """What the log prints about a block; each listing is made when it is asked for.
    ``insn_ends``: (guest pc, host address where its code ends) of each instruction."""

    @property
    def number(self) -> int: ...
    @property
    def pc(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def cflags(self) -> int: ...
    @property
    def host_start(self) -> int: ...
    @property
    def host_size(self) -> int: ...
    @property
    def guest(self) -> Iterable[tuple[int, int, int, str]]: ...
    @property
    def ir(self) -> str: ...
    @property
    def ir_opt(self) -> str: ...
    @property
    def host(self) -> Iterable[HostLine]: ...
    @property
    def insn_ends(self) -> Iterable[tuple[int, int]]: ...


class LogWriter:
    """Writes the chosen ``items`` to ``out``. ``symbol(addr)`` names a guest address, or "" ."""

    def __init__(self, items: Iterable[str], out: TextIO, symbol: Callable[[int], str]) -> None:
        self.items = frozenset(items)
        self.out = out
        self.symbol = symbol
        self._hosts: dict[int, int] = {}

    def translated(self, block: Block) -> None:
        """A block was translated: its forms, in the order in which they came to be."""
        self._hosts[block.number] = block.host_start
        if "in_asm" in self.items:
            self._print("----------------")
            self._print(f"IN: {self.symbol(block.pc)}")
            for addr, bits, length, text in block.guest:
                name, _, operands = text.partition(" ")
                operands = operands.strip().replace(", ", ",")
                code = f"{bits:0{2 * length}x}"
                self._print(f"{addr:#018x}:  {code:<16}  {name:<23} {operands}".rstrip())
            self._print()
        if "op" in self.items:
            self._print(f"OP:\n{block.ir}\n")
        if "op_opt" in self.items:
            self._print(f"OP after optimization and liveness analysis:\n{block.ir_opt}\n")
        if "out_asm" in self.items:
            self._out_asm(block)

    def _out_asm(self, block: Block) -> None:
        self._print(f"OUT: [size={block.host_size}]")
        ends = list(block.insn_ends)
        if ends:
            self._print(f"  -- guest addr {ends[0][0]:#018x} + tb prologue")
        last = ends[-1][1] if ends else 0
        for line in block.host:
            while len(ends) > 1 and line.address >= ends[0][1]:
                ends.pop(0)
                self._print(f"  -- guest addr {ends[0][0]:#018x}")
            if ends and line.address >= last:
                ends.clear()
                self._print("  -- tb slow paths + alignment")
            raw = " ".join(line.raw[i : i + 2] for i in range(0, len(line.raw), 2))
            note = f"  # {line.note}" if line.note else ""
            self._print(f"{line.address:#010x}:  {raw + '  ' if raw else '':{26 * bool(raw)}}"
                        f"{line.text}{note}")
        self._print()

    def executing(self, block: Block) -> None:
        """Host code is about to be entered from the loop, or through goto_ptr."""
        if "exec" in self.items:
            where = f"[0000000000000000/{block.pc:016x}/{block.flags:08x}/{block.cflags:08x}]"
            self._print(f"Trace 0: {block.host_start:#x} {where} {self.symbol(block.pc)}")

    def stopped(self, block: Block) -> None:
        """The head check of ``block`` refused it."""
        if "exec" in self.items:
            where = f"{block.host_start:#x} [{block.pc:016x}] {self.symbol(block.pc)}"
            self._print(f"Stopped execution of TB chain before {where}")

    def rewound(self, pc: int) -> None:
        """A device access in mid-block is to run alone."""
        if "exec" in self.items:
            self._print(f"cpu_io_recompile: rewound execution of TB to {pc:016x}")

    def event(self, event: ev.Event) -> None:
        """What the log takes from the event stream."""
        if isinstance(event, ev.ChainPatched) and "exec" in self.items:
            src, dst = self._hosts.get(event.src, 0), self._hosts.get(event.dst, 0)
            self._print(f"Linking TBs {src:#x} index {event.slot} -> {dst:#x}")
        elif isinstance(event, ev.InterruptTaken) and "int" in self.items:
            name = INTERRUPTS.get(event.cause, "(unknown)")
            self._trap(event.hart, 1, event.cause, event.epc, 0, name)
        elif isinstance(event, ev.ExceptionRaised) and "int" in self.items:
            name = EXCEPTIONS.get(event.cause, "(unknown)")
            self._trap(event.hart, 0, event.cause, event.epc, event.tval, name)

    def _trap(self, hart: int, is_async: int, cause: int, epc: int, tval: int, name: str) -> None:
        self._print(
            f"riscv_cpu_do_interrupt: hart:{hart}, async:{is_async}, cause:{cause:016x}, "
            f"epc:{epc:#018x}, tval:{tval:#018x}, desc={name}"
        )

    def _print(self, text: str = "") -> None:
        self.out.write(text + "\n")

"""Programs of the lab: which guest is meant, and the smallest one that an interrupt needs."""

from __future__ import annotations

from functools import cache
from typing import Any

from tcglite import guests
from tcglite.target.asm import Assembly, assemble

BELL = """\
        .option norvc                   # 4 bytes per instruction
        .equ    MSIP, 0x2000000         # the doorbell: a word of the CLINT
        .equ    MTIMECMP, 0x2004000
_start: la      t0, handler
        csrw    mtvec, t0               # where the handler is
        li      s10, MSIP
        li      t0, MTIMECMP
        li      t1, -1
        sd      t1, 0(t0)               # no timer today
        li      t0, 8
        csrw    mie, t0                 # the doorbell may interrupt …
        csrsi   mstatus, 8              # … and interrupts are on

count:  addi    s0, s0, 1               # every round
        slli    s1, s0, 2
        andi    s2, s0, 3
        bnez    s2, every
fourth: addi    s3, s3, 1               # every fourth round
        xor     s4, s4, s0
every:  add     s5, s5, s1              # every round
        xori    s6, s5, 7
        j       count

handler:
        sw      zero, 0(s10)            # quiet: the line goes down
        addi    s11, s11, 1             # one more visitor
        mret
"""


class Program:
    """An assembled program that shows its source; ``Machine(program)`` takes it."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.assembly: Assembly = assemble(source)

    @property
    def symbols(self) -> dict[str, int]:
        """Its labels."""
        return self.assembly.symbols

    def to_elf(self) -> bytes:
        """The ELF file."""
        return self.assembly.to_elf()

    def __repr__(self) -> str:
        return self.source

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/markdown": f"```asm\n{self.source}```", "text/plain": self.source}


@cache
def bell() -> Program:
    """The smallest program with a loop and a handler: it counts until its doorbell rings."""
    return Program("bell", BELL)


def resolve(guest: Any) -> tuple[str, Any]:
    """(name to show, what ``Machine`` takes) of a bundled guest's name, "bell", a program, or
    whatever else ``Machine`` takes."""
    if isinstance(guest, str) and guest == "bell":
        return "bell", bell()
    if isinstance(guest, str):
        return guest, guests.find(guest)
    return str(getattr(guest, "name", guest)), guest

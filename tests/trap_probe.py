"""A guest that tries things and prints what came of each: one assembly program for all probes.

Each probe runs a few instructions in M or U mode, under a handler that notes the trap and comes
back. It prints: number of traps, mcause, mtval, mepc relative to the probe, mstatus in the handler,
a0, the vector taken. The same ELF runs here and on QEMU.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tcglite.target.asm import Assembly, assemble

A0 = 0x5A5A  #: before each probe
RAM_END = 0x8400_0000
HOLE = 0x1800_0000  #: nothing is there, here or on QEMU's board
BITS = -1  #: as an expected mtval: the bits of the instruction at the probe
INTERRUPT = 1 << 63

FIELDS = ("traps", "cause", "mtval", "offset", "status", "a0", "vector")


@dataclass(frozen=True)
class Probe:
    """``code`` runs in ``mode`` ("M" or "U"); ``before`` and ``after`` in M mode. In U mode the
    ecall that ends it is expected when ``cause`` is None. ``offset``: of mepc from the probe;
    ``base``: what to measure from instead. ``status``: bits of mstatus in the handler as (mask,
    value). ``a0``: expected afterwards, unchanged by default where there is a trap; None: whatever.
    ``qemu``: fields of QEMU's line that differ, deliberately; ``why`` they do; ``on_qemu``: False
    if QEMU cannot take it at all."""

    name: str
    code: str
    cause: int | None = None
    mtval: int = 0
    offset: int = 0
    a0: int | None = A0
    mode: str = "M"
    before: str = ""
    after: str = ""
    base: str = ""
    status: tuple[int, int] = (0, 0)
    vector: int = 0
    qemu: dict[str, int] = field(default_factory=dict)
    why: str = ""
    on_qemu: bool = True


_RUNTIME = """
.option norvc
.equ UART, 0x10000000
.equ CLINT, 0x2000000
.equ PLIC, 0xc000000
_start:
    la sp, stack
    la t0, handler
    csrw mtvec, t0
    li t0, CLINT + 0x4000
    li t1, -1
    sd t1, 0(t0)
    j first

# Notes the trap and returns to s11, in M mode with interrupts off. Changes t3 and s4 to s10.
.balign 64
handler:
    j enter
    .4byte 0, 0
    j vector3
    .4byte 0, 0, 0
    j vector7
    .4byte 0, 0, 0
    j vector11
vector3:
    li s4, 3
    j enter
vector7:
    li s4, 7
    j enter
vector11:
    li s4, 11
enter:
    csrr s8, mcause
    csrr s9, mtval
    csrr s10, mepc
    csrr s7, mstatus
    addi s6, s6, 1
    li t3, 0x80
    csrc mstatus, t3
    li t3, 0x1800
    csrs mstatus, t3
    csrw mepc, s11
    mret

# Prints the line of a probe and a new line.
report:
    mv s3, ra
    mv s2, a0
    sub s10, s10, s5
    mv a0, s6
    jal number
    mv a0, s8
    jal number
    mv a0, s9
    jal number
    mv a0, s10
    jal number
    mv a0, s7
    jal number
    mv a0, s2
    jal number
    mv a0, s4
    jal number
    li a0, 10
    jal putchar
    jr s3

# Prints a0 in hexadecimal without leading zeros, and a space.
number:
    mv s1, ra
    mv t0, a0
    li t1, 60
1:  srl a0, t0, t1
    bnez a0, 2f
    addi t1, t1, -4
    bgtz t1, 1b
2:  srl a0, t0, t1
    andi a0, a0, 15
    li t2, 10
    blt a0, t2, 3f
    addi a0, a0, 39
3:  addi a0, a0, 48
    jal putchar
    addi t1, t1, -4
    bgez t1, 2b
    li a0, 32
    mv ra, s1
putchar:
    li t3, UART
    sb a0, 0(t3)
    ret

.balign 4096
first:
"""

_END = """
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
    j .
.balign 16
data: .8byte 0x1122334455667788, 0x99aabbccddeeff00, 0, 0
scratch: .zero 64
.zero 512
stack:
"""


def _probe(n: int, p: Probe) -> str:
    enter = f"""
    la t0, probe{n}
    csrw mepc, t0
    li t0, 0x1800
    csrc mstatus, t0
    li a0, {A0}
    mret
"""
    return f"""
    csrw mstatus, zero
    li t0, 0x1800
    csrs mstatus, t0
    {p.before}
    la s11, resume{n}
    {p.base or f"la s5, probe{n}"}
    mv s10, s5
    li s4, 0
    li s6, 0
    li s7, 0
    li s8, 0
    li s9, 0
    {enter if p.mode == "U" else f"li a0, {A0}"}
probe{n}:
    {p.code}
    {"ecall" if p.mode == "U" else ""}
resume{n}:
    la s11, done{n}
    {p.after}
done{n}:
    jal report
"""


def build(probes: list[Probe]) -> Assembly:
    """The program, with a label ``probeN`` at each probe's first instruction."""
    body = "".join(_probe(n, p) for n, p in enumerate(probes))
    return assemble(_RUNTIME + body + _END)


def bits_at(assembly: Assembly, address: int) -> int:
    """The instruction at ``address``, 16 or 32 bits."""
    for base, data in assembly.segments:
        if base <= address < base + len(data):
            word = int.from_bytes(data[address - base :][:4], "little")
            return word if word & 3 == 3 else word & 0xFFFF
    raise AssertionError(f"{address:#x} is not in the program")


def parse(console: str) -> list[dict[str, int]]:
    """The lines of the console, as numbers by the names of ``FIELDS``."""
    lines = [line.split() for line in console.splitlines()]
    assert all(len(words) == len(FIELDS) for words in lines), console[-200:]
    return [dict(zip(FIELDS, (int(word, 16) for word in words), strict=True)) for words in lines]

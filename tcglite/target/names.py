"""Names of the guest's registers and CSRs, as assembly writes them.

Numbers from the RISC-V unprivileged and privileged specifications and the calling convention
(ABI names). Mirrors the name tables of QEMU's target/riscv/cpu.c and disas/riscv.c.
"""

from __future__ import annotations

REG_NAMES: tuple[str, ...] = (
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1",
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
    "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
    "t3", "t4", "t5", "t6",
)  # fmt: skip
"""ABI name of each integer register, by number."""

FREG_NAMES: tuple[str, ...] = tuple("f" + name for name in (
    "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "s0", "s1",
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
    "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
    "t8", "t9", "t10", "t11",
))  # fmt: skip
"""ABI name of each floating-point register, by number."""

REG_NUMBERS: dict[str, int] = {name: n for n, name in enumerate(REG_NAMES)}
REG_NUMBERS |= {f"x{n}": n for n in range(32)}
REG_NUMBERS["fp"] = 8
"""Every accepted name of an integer register (x0 to x31, ABI names, fp) to its number."""

FREG_NUMBERS: dict[str, int] = {name: n for n, name in enumerate(FREG_NAMES)}
FREG_NUMBERS |= {f"f{n}": n for n in range(32)}
"""Every accepted name of a floating-point register (f0 to f31, ABI names) to its number."""

ROUNDING_MODES: tuple[str, ...] = ("rne", "rtz", "rdn", "rup", "rmm", "", "", "dyn")
"""Name of each value of the `rm` field; 5 and 6 are reserved."""

_CSRS = """
001 fflags      002 frm         003 fcsr
c00 cycle       c01 time        c02 instret
100 sstatus     104 sie         105 stvec       106 scounteren  10a senvcfg
140 sscratch    141 sepc        142 scause      143 stval       144 sip
14d stimecmp    180 satp        5a8 scontext    da0 scountovf   db0 stopi
10c sstateen0   10d sstateen1   10e sstateen2   10f sstateen3
150 siselect    151 sireg       15c stopei
f11 mvendorid   f12 marchid     f13 mimpid      f14 mhartid     f15 mconfigptr
300 mstatus     301 misa        302 medeleg     303 mideleg     304 mie
305 mtvec       306 mcounteren  30a menvcfg     320 mcountinhibit
340 mscratch    341 mepc        342 mcause      343 mtval       344 mip
34a mtinst      34b mtval2      747 mseccfg     fb0 mtopi
30c mstateen0   30d mstateen1   30e mstateen2   30f mstateen3
350 miselect    351 mireg       35c mtopei      308 mvien       309 mvip
b00 mcycle      b02 minstret
7a0 tselect     7a1 tdata1      7a2 tdata2      7a3 tdata3      7a8 mcontext
7b0 dcsr        7b1 dpc         7b2 dscratch0   7b3 dscratch1
"""


def _csr_numbers() -> dict[str, int]:
    words = _CSRS.split()
    numbers = {name: int(number, 16) for number, name in zip(words[::2], words[1::2], strict=True)}
    for n in range(3, 32):
        numbers[f"hpmcounter{n}"] = 0xC00 + n
        numbers[f"mhpmcounter{n}"] = 0xB00 + n
        numbers[f"mhpmevent{n}"] = 0x320 + n
    for n in range(0, 16, 2):  # the odd ones exist on RV32 only
        numbers[f"pmpcfg{n}"] = 0x3A0 + n
    for n in range(64):
        numbers[f"pmpaddr{n}"] = 0x3B0 + n
    return numbers


CSR_NUMBERS: dict[str, int] = _csr_numbers()
"""CSR name to number (12 bits): M, S and U mode, counters, floating point, PMP, debug."""

CSR_NAMES: dict[int, str] = {number: name for name, number in CSR_NUMBERS.items()}
"""CSR number to name; a number without a name is printed in hexadecimal."""

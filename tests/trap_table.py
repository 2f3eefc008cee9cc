"""What CSRs and traps do, from the RISC-V privileged specification (20211203), as probes.

``qemu`` and ``why`` say where QEMU 7.2 answers otherwise, and why ours stays as it is.
"""

from __future__ import annotations

from typing import Any

from trap_probe import A0, BITS, INTERRUPT, Probe

MIE, MPIE, MPP, FS, FS_DIRTY = 8, 0x80, 0x1800, 0x6000, 0x6000
MPRV, TW, SD, UXL = 1 << 17, 1 << 21, 1 << 63, 2 << 32
FD = 1 << 5 | 1 << 3
MISA = 2 << 62 | 0x101105
ONES = (1 << 64) - 1

FETCH, ILLEGAL, BREAK, LOAD_AL, LOAD, STORE_AL, STORE, U_CALL, M_CALL = 1, 2, 3, 4, 5, 6, 7, 8, 11

FS_ON = "li t0, 0x2000\n    csrs mstatus, t0"
SOFT = "li t0, CLINT\n    li t1, 1\n    sw t1, 0(t0)"
NO_SOFT = "li t0, CLINT\n    sw zero, 0(t0)\n    csrw mie, zero"

NO_TRAP: dict[str, int] = {"traps": 0, "cause": 0, "mtval": 0, "offset": 0, "status": 0}


def legal(name: str, code: str, a0: int | None, **more: Any) -> Probe:
    """Runs without a trap and leaves ``a0``."""
    return Probe(name, code, a0=a0, **more)


def illegal(name: str, code: str, **more: Any) -> Probe:
    """Its first instruction is illegal; mtval holds its bits."""
    return Probe(name, code, cause=ILLEGAL, mtval=BITS, **more)


def write(csr: str, value: int, a0: int | None, name: str = "", **more: Any) -> Probe:
    """Write ``value`` and read back; afterwards 0 is written."""
    return Probe(
        name or f"{csr} = {value:#x}",
        f"csrw {csr}, t1\n    csrr a0, {csr}",
        a0=a0,
        before=more.pop("before", "") + f"\n    li t1, {value}",
        after=f"csrw {csr}, zero",
        **more,
    )


# Registers.

_MPP_M = "li t1, 0x1800\n    csrs mstatus, t1"
_S_BITS = "QEMU keeps bits of S mode and of the hypervisor without having them"
REGISTERS = [
    legal("mvendorid", "csrr a0, mvendorid", 0),
    legal("marchid", "csrr a0, marchid", 0, qemu={"a0": 0x70216}, why="QEMU's version"),
    legal("mimpid", "csrr a0, mimpid", 0, qemu={"a0": 0x70216}, why="QEMU's version"),
    legal("mhartid", "csrr a0, mhartid", 0),
    legal("mconfigptr", "csrr a0, mconfigptr", 0),
    write("misa", 0, MISA, qemu={"a0": MISA | FD}, why="F and D come with their arithmetic"),
    write("misa", ONES, MISA, qemu={"a0": MISA | FD}, why="the same"),
    write("mstatus", 0, UXL, qemu={"a0": 0xA_0000_0000}, why=_S_BITS),
    write("mstatus", 0x800, UXL | MPP, name="MPP cannot become S", before=_MPP_M,
          qemu={"a0": 0xA_0000_0800}, why="QEMU 7.2 keeps what is written"),
    write("mstatus", 0x1000, UXL | MPP, name="MPP cannot become 2", before=_MPP_M,
          qemu={"a0": 0xA_0000_1000}, why="the same"),
    write("mstatus", 0x2000, UXL | 0x2000, name="FS initial",
          qemu={"a0": 0xA_0000_2000}, why=_S_BITS),
    write("mstatus", 0x4000, UXL | 0x4000, name="FS clean",
          qemu={"a0": 0xA_0000_4000}, why=_S_BITS),
    write("mie", ONES, 0x888, qemu={"a0": 0x2EEE}, why=_S_BITS),
    write("mip", ONES, 0, qemu={"a0": 0x2666}, why=_S_BITS),
    write("mscratch", ONES, ONES),
    write("mepc", ONES, ONES - 1, name="mepc has no bit 0",
          qemu={"a0": ONES}, why="QEMU 7.2 keeps it; later versions do not"),
    write("mepc", 0x8000_0002, 0x8000_0002, name="mepc has bit 1, with C"),
    write("mcause", ONES, ONES),
    write("mtval", ONES, ONES),
    write("mcounteren", ONES, 7, qemu={"a0": ONES}, why="QEMU has hpmcounters"),
    write("mcountinhibit", 0, 0),
    write("menvcfg", ONES, 1, qemu={"a0": 0xC000_0000_0000_00F1}, why="QEMU has Zicbom, Sstc …"),
    write("mhpmcounter3", 0, 0),
    legal("mhpmcounter31", "csrr a0, mhpmcounter31", 0, why="7.2 has 16 of them; the "
          "specification wants all, read-only zero at least",
          qemu={"traps": 1, "cause": ILLEGAL, "mtval": 0xB1F0_2573, "a0": A0}),
    write("mhpmevent3", 0, 0),
    legal("cycle", "csrr a0, cycle\n    snez a0, a0", 1),
    legal("time", "csrr a0, time\n    snez a0, a0", 1),
    legal("instret", "csrr a0, instret\n    snez a0, a0", 1),
]  # fmt: skip

_VEC = "la t0, handler\n    csrw mtvec, t0"
MTVEC = [
    legal("mtvec direct", "csrr a0, mtvec\n    la t0, handler\n    sub a0, a0, t0", 0),
    legal("mtvec vectored", "csrw mtvec, t1\n    csrr a0, mtvec", 0x8000_1001,
          before="li t1, 0x80001001", after=_VEC),
    legal("mtvec mode 2 is reserved", "csrw mtvec, t1\n    csrr a0, mtvec", 0x8000_1000,
          before="li t1, 0x80001000\n    csrw mtvec, t1\n    li t1, 0x80002002", after=_VEC),
    legal("mtvec mode 3 is reserved", "csrw mtvec, t1\n    csrr a0, mtvec", 0x8000_1001,
          before="li t1, 0x80001001\n    csrw mtvec, t1\n    li t1, -1", after=_VEC),
]  # fmt: skip

#: Comes last: it leaves bits behind in QEMU that nothing clears.
LAST = [
    write("mstatus", ONES, SD | UXL | TW | MPRV | FS | MPP | MPIE | MIE,
          qemu={"a0": 0x8000_00CB_007E_7FAA}, why=_S_BITS),
]  # fmt: skip

# The six instructions.

_SET = "li t1, 0xf0\n    csrw mscratch, t1\n    li t1, 0xff"
OPERATIONS = [
    legal("csrrw gives the old value", "csrrw a0, mscratch, t1", 0xF0, before=_SET),
    legal("csrrw with one register", "mv a0, t1\n    csrrw a0, mscratch, a0", 0xF0, before=_SET),
    legal("csrrs", "csrrs a0, mscratch, t1\n    csrr t2, mscratch\n    add a0, a0, t2",
          0xF0 + 0xFF, before=_SET),
    legal("csrrc", "csrrc a0, mscratch, t1\n    csrr t2, mscratch\n    add a0, a0, t2",
          0xF0, before=_SET),
    legal("csrrs with one register", "mv a0, t1\n    csrrs a0, mscratch, a0", 0xF0, before=_SET),
    legal("csrrwi", "csrrwi a0, mscratch, 31\n    csrr t2, mscratch\n    add a0, a0, t2",
          0xF0 + 31, before=_SET),
    legal("csrrsi", "csrrsi a0, mscratch, 31\n    csrr t2, mscratch\n    add a0, a0, t2",
          0xF0 + 0xFF, before=_SET),
    legal("csrrci", "csrrci a0, mscratch, 31\n    csrr t2, mscratch\n    add a0, a0, t2",
          0xF0 + 0xE0, before=_SET),
    legal("csrw", "csrw mscratch, t1\n    csrr a0, mscratch", 0xFF, before=_SET),
    legal("csrrs with x0 only reads", "csrrs a0, mhartid, x0", 0),
    legal("csrrci with 0 only reads", "csrrci a0, mhartid, 0", 0),
    illegal("csrrs that writes nothing is a write", "csrrs a0, mhartid, t1", before="li t1, 0",
            qemu=NO_TRAP | {"a0": 0}, why="QEMU 7.2 goes by the value, not by the register"),
    illegal("csrrc that writes nothing is a write", "csrrc a0, mvendorid, t1", before="li t1, 0",
            qemu=NO_TRAP | {"a0": 0}, why="the same"),
    illegal("csrrsi of a read-only register", "csrrsi a0, mhartid, 1"),
    illegal("csrrw of a read-only register", "csrrw a0, mhartid, t1"),
    illegal("csrw of a read-only register", "csrw mvendorid, t1"),
    illegal("csrwi of a counter's shadow", "csrwi cycle, 0"),
    illegal("csrwi of time", "csrwi time, 0"),
]  # fmt: skip

_MISSING = {
    "ustatus": 0x000, "sstatus": 0x100, "sie": 0x104, "stvec": 0x105, "sscratch": 0x140,
    "satp": 0x180, "hstatus": 0x600, "mstatush": 0x310,
    "mtinst": 0x34A, "mtval2": 0x34B, "pmpcfg1": 0x3A1, "mseccfg": 0x747, "dcsr": 0x7B0,
    "custom M": 0x7C0, "custom U": 0x800, "mcycleh": 0xB80, "minstreth": 0xB82,
    "cycleh": 0xC80, "custom RO": 0xCC0, "hgeip": 0xE12, "after mconfigptr": 0xF16,
    "last": 0xFFF,
}  # fmt: skip
_QEMU_HAS = {"why": "QEMU has debug triggers and hardware counters"}
MISSING = [
    illegal(f"no CSR {name}", f"csrrs a0, {number:#x}, x0") for name, number in _MISSING.items()
] + [
    illegal("no CSR 0x000 to write", "csrrw x0, 0x000, t1"),
    illegal("no medeleg", "csrr a0, medeleg", qemu=NO_TRAP | {"a0": 0}, why=_S_BITS),
    illegal("no mideleg", "csrr a0, mideleg", qemu=NO_TRAP | {"a0": 0}, why=_S_BITS),
    illegal("tselect", "csrr a0, tselect", qemu=NO_TRAP | {"a0": 0}, **_QEMU_HAS),
    illegal("hpmcounter3", "csrr a0, hpmcounter3", qemu=NO_TRAP | {"a0": 0}, **_QEMU_HAS),
]

# Instructions that are illegal, and what mtval says of them.

ILLEGALS = [
    illegal("zero", ".2byte 0"),
    illegal("custom-0", ".4byte 0x0000400b"),
    illegal("sret", "sret"),
    illegal("sfence.vma", "sfence.vma", qemu=NO_TRAP, why=_S_BITS),
    illegal("uret", ".4byte 0x00200073"),
    illegal("dret", ".4byte 0x7b200073"),
    illegal("hlv.b", ".4byte 0x60004073 | 10 << 7"),
    illegal("c.addiw with rd 0", ".2byte 0x2001"),
    illegal("c.lui with imm 0", ".2byte 0x6501"),
    illegal("c.addi4spn with imm 0", ".2byte 0x0004"),
    illegal("c.lwsp with rd 0", ".2byte 0x4002"),
    illegal("compressed, quadrant 1, reserved", ".2byte 0x9c41"),
    illegal("slliw by 32", ".4byte 0x0205151b"),
    illegal("lr.w with rs2", ".4byte 0x1015252f"),
]

# Traps on purpose.

TRAPS = [
    Probe("ecall", "ecall", cause=M_CALL, status=(MPP | MPIE | MIE, MPP)),
    Probe("ecall with interrupts enabled", "ecall", cause=M_CALL, before="csrsi mstatus, 8",
          status=(MPP | MPIE | MIE, MPP | MPIE)),
    Probe("ebreak", "ebreak", cause=BREAK),
    Probe("c.ebreak", ".2byte 0x9002", cause=BREAK),
    Probe("ecall from U", "ecall", cause=U_CALL, mode="U", status=(MPP | MPIE | MIE, 0)),
    Probe("ebreak in U", "ebreak", cause=BREAK, mode="U"),
    Probe("interrupts enabled in U", "ecall", cause=U_CALL, mode="U", before="li t0, 0x80\n"
          "    csrs mstatus, t0", status=(MPP | MPIE | MIE, MPIE)),
    Probe("mret to U drops MPRV", "ecall", cause=U_CALL, mode="U",
          before="li t0, 0x20000\n    csrs mstatus, t0", status=(MPRV, 0),
          qemu={"status": 0xA_0002_0000}, why="QEMU 7.2 keeps MPRV; version 1.12 clears it"),
    legal("mret to M keeps MPRV", """la t0, 1f
    csrw mepc, t0
    li t0, 0x21800
    csrw mstatus, t0
    mret
    .4byte 0
1:  csrr a0, mstatus""", UXL | MPRV | MPIE,
          qemu={"a0": 0xA_0002_0080}, why=_S_BITS),
    legal("mret: MIE becomes MPIE, MPIE 1, MPP U", """la t0, 1f
    csrw mepc, t0
    li t0, 0x1880
    csrw mstatus, t0
    mret
    .4byte 0
1:  csrr a0, mstatus""", UXL | MPIE | MIE,
          qemu={"a0": 0xA_0000_0088}, why=_S_BITS),
]  # fmt: skip

USER = [
    illegal(f"{csr} in U", f"csrr a0, {csr}", mode="U", status=(MPP, 0))
    for csr in ("mstatus", "mscratch", "mhartid", "mcycle", "mip")
] + [
    illegal("mscratch written in U", "csrw mscratch, t1", mode="U"),
    illegal("mret in U", "mret", mode="U"),
    illegal("illegal in U", ".4byte 0x0000400b", mode="U", status=(MPP, 0)),
    illegal("wfi in U with TW", "wfi", mode="U", before="li t0, 0x200000\n    csrs mstatus, t0"),
    illegal("wfi in U with TW, in mid-block", "wfi\n    nop\n    nop", mode="U",
            before="li t0, 0x200000\n    csrs mstatus, t0"),
    Probe("wfi in U without TW", "wfi\n    nop", cause=INTERRUPT | 7, offset=4, mode="U",
          vector=0, status=(MPP, 0), before="""li t0, CLINT
    li t1, 0xbff8
    add t1, t1, t0
    ld t1, 0(t1)
    li t2, 2000000
    add t1, t1, t2
    li t2, 0x4000
    add t0, t0, t2
    sd t1, 0(t0)
    li t0, 0x80
    csrw mie, t0""", after="""li t0, CLINT + 0x4000
    li t1, -1
    sd t1, 0(t0)
    csrw mie, zero"""),
    legal("wfi in M wakes with interrupts off", "wfi\n    li a0, 3", 3,
          before=SOFT + "\n    csrwi mie, 8", after=NO_SOFT),
    *(
        illegal(f"{csr} in U without mcounteren", f"csrr a0, {csr}", mode="U",
                before=f"li t0, {~(1 << bit) & 7}\n    csrw mcounteren, t0",
                after="csrw mcounteren, zero")
        for bit, csr in enumerate(("cycle", "time", "instret"))
    ),
    *(
        legal(f"{csr} in U with mcounteren", f"csrr a0, {csr}", None, mode="U",
              before=f"li t0, {1 << bit}\n    csrw mcounteren, t0",
              after="csrw mcounteren, zero")
        for bit, csr in enumerate(("cycle", "time", "instret"))
    ),
    illegal("instret written in U", "csrw instret, t1", mode="U",
            before="li t0, 7\n    csrw mcounteren, t0", after="csrw mcounteren, zero"),
]  # fmt: skip

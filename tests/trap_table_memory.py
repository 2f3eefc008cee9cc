"""Memory, fetches, interrupts and floating-point registers, as probes; see ``trap_table``."""

from __future__ import annotations

from trap_probe import A0, HOLE, INTERRUPT, RAM_END, Probe
from trap_table import (
    FETCH,
    FS,
    FS_DIRTY,
    FS_ON,
    LOAD,
    LOAD_AL,
    MIE,
    MPIE,
    MPP,
    NO_SOFT,
    NO_TRAP,
    SOFT,
    STORE,
    STORE_AL,
    illegal,
    legal,
)

_HOLE = f"li t1, {HOLE:#x}"
_DATA = "la t1, data"
_SCRATCH = "la t1, scratch\n    li t2, 0x0102030405060708\n    sd t2, 0(t1)"


def fault(name: str, code: str, cause: int, mtval: int, **more: object) -> Probe:
    return Probe(name, code, cause=cause, mtval=mtval, **more)  # type: ignore[arg-type]


_AMO = {"why": "QEMU 7.2 reports the load of an AMO; later versions promote it as we do"}
_SC = {"why": "QEMU 7.2's SC without a reservation does not look at the address"}

ACCESSES = [
    *(fault(f"{op} from nowhere", f"{op} a0, 8(t1)", LOAD, HOLE + 8, before=_HOLE)
      for op in ("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu")),
    fault("misaligned ld from nowhere", "ld a0, 4(t1)", LOAD, HOLE + 4, before=_HOLE,
          qemu={"mtval": HOLE}, why="QEMU names the first of the two aligned accesses it makes"),
    *(fault(f"{op} to nowhere", f"{op} a0, -8(t1)", STORE, HOLE - 8, before=_HOLE)
      for op in ("sb", "sh", "sw", "sd")),
    fault("lr.d from nowhere", "lr.d a0, (t1)", LOAD, HOLE, before=_HOLE),
    fault("amoadd.w to nowhere", "amoadd.w a0, a0, (t1)", STORE, HOLE, before=_HOLE,
          qemu={"cause": LOAD}, **_AMO),
    fault("amoswap.d to nowhere", "amoswap.d a0, a0, (t1)", STORE, HOLE, before=_HOLE,
          qemu={"cause": LOAD}, **_AMO),
    fault("sc.w to nowhere", "sc.w a0, a0, (t1)", STORE, HOLE, before=_HOLE,
          qemu=NO_TRAP | {"a0": 1}, **_SC),
    fault("load from 0", "ld a0, 64(zero)", LOAD, 64),
    fault("load from the top", "ld a0, -8(zero)", LOAD, (1 << 64) - 8),
    fault("store over the end of all addresses", "sd a0, -4(zero)", STORE, (1 << 64) - 4),
    fault("second instruction faults", "addi t2, zero, 5\n    ld a0, 0(t1)\n    li a0, 9", LOAD,
          HOLE, before=_HOLE, offset=4),
    fault("fault in U", "ld a0, 0(t1)", LOAD, HOLE, before=_HOLE, mode="U", status=(MPP, 0)),
    legal("misaligned lw", "lw a0, 1(t1)", 0x44556677, before=_DATA),
    legal("misaligned ld", "ld a0, 5(t1)", 0xCCDD_EEFF_0011_2233,
          before=_DATA),
    legal("misaligned lh", "lh a0, 7(t1)", 0x11, before=_DATA),
    legal("misaligned sd", "sd t2, 3(t1)\n    ld a0, 0(t1)", 0x0405_0607_0806_0708,
          before=_SCRATCH),
    fault("misaligned lr.w", "lr.w a0, (t1)", LOAD_AL, 0x8000_0001,
          before="li t1, 0x80000001"),
    fault("lr.d at a word", "lr.d a0, (t1)", LOAD_AL, 0x8000_0004, before="li t1, 0x80000004"),
    fault("misaligned amoadd.w", "amoadd.w a0, a0, (t1)", STORE_AL, 0x8000_0002,
          before="li t1, 0x80000002", qemu={"cause": LOAD_AL}, **_AMO),
    fault("amomax.d at a word", "amomax.d a0, a0, (t1)", STORE_AL, 0x8000_0004,
          before="li t1, 0x80000004", qemu={"cause": LOAD_AL}, **_AMO),
    fault("misaligned sc.w", "sc.w a0, a0, (t1)", STORE_AL, 0x8000_0001,
          before="li t1, 0x80000001", qemu=NO_TRAP | {"a0": 1}, **_SC),
    fault("a trap ends the reservation", "lr.w a0, (t1)\n    ecall", 11, 0, offset=4,
          before=_SCRATCH, after="sc.w a0, a0, (t1)", a0=1),
]  # fmt: skip

_END = RAM_END - 2
RAM_EDGE = [
    fault("lw over the end of RAM", "lw a0, 0(t1)", LOAD, RAM_END, before=f"li t1, {_END:#x}"),
    fault("sw over the end of RAM", "sw a0, 0(t1)", STORE, RAM_END, before=f"li t1, {_END:#x}",
          after="lhu a0, 0(t1)", a0=0, qemu={"a0": A0}, why="QEMU 7.2 has stored the first half"),
    fault("first half of an instruction is RAM's last", f"li t0, {_END:#x}\n    jr t0", FETCH,
          RAM_END, base=f"li s5, {_END:#x}", before=f"li t0, {_END:#x}\n    li t1, 0x13\n"
          "    sh t1, 0(t0)", on_qemu=False, why="7.2 dies of an assertion in translator.c"),
    fault("running off the end of RAM", f"li t0, {_END:#x}\n    jr t0", FETCH, RAM_END, offset=2,
          base=f"li s5, {_END:#x}", before=f"li t0, {_END:#x}\n    li t1, 1\n    sh t1, 0(t0)"),
    fault("a block that runs off the end of RAM", f"li t0, {_END - 4:#x}\n    jr t0", FETCH,
          RAM_END, offset=6, a0=A0 + 2, base=f"li s5, {_END - 4:#x}",
          before=f"li t0, {_END - 4:#x}\n    li t1, 0x0505\n    sh t1, 0(t0)\n"
          "    sh t1, 2(t0)\n    li t1, 1\n    sh t1, 4(t0)"),
]  # fmt: skip

FETCHES = [
    fault("jump to nowhere", "jr t1", FETCH, HOLE, before=_HOLE, base=f"li s5, {HOLE:#x}"),
    fault("jump to nowhere, odd", "jr t1", FETCH, HOLE + 6, before=f"li t1, {HOLE + 7:#x}",
          base=f"li s5, {HOLE + 6:#x}"),
    legal("jalr drops bit 0", """la t0, 1f
    addi t0, t0, 1
    jr t0
    .4byte 0
1:  li a0, 7""", 7),
    legal("jalr drops bit 0 of the sum", """la t0, 1f
    jalr t1, 1(t0)
    .4byte 0
1:  li a0, 8""", 8),
    legal("jalr with rd = rs1", """la t0, 1f
    jalr t0, 0(t0)
2:  .4byte 0
1:  la a0, 2b
    sub a0, a0, t0""", 0),
    legal("a jump to the middle of a word", """j 1f + 2
1:  .4byte 0x45210000""", 8),
]  # fmt: skip

# Interrupts.

_BELL = 1 << 3
_TIMER_NOW = "li t0, CLINT + 0x4000\n    sd zero, 0(t0)"
_TIMER_OFF = "li t0, CLINT + 0x4000\n    li t1, -1\n    sd t1, 0(t0)"
_UART_ON = """li t0, PLIC
    li t1, 1
    sw t1, 40(t0)
    li t0, PLIC + 0x2000
    li t1, 1 << 10
    sw t1, 0(t0)
    li t0, PLIC + 0x200000
    sw zero, 0(t0)
    li t0, UART
    li t1, 2
    sb t1, 1(t0)"""
_UART_OFF = """li t0, UART
    sb zero, 1(t0)
    li t0, PLIC + 0x2000
    sw zero, 0(t0)
    li t0, PLIC + 0x200000
    lw t1, 4(t0)
    sw t1, 4(t0)"""
_ALL = "\n    ".join((SOFT, _TIMER_NOW, _UART_ON))
_ALL_OFF = "\n    ".join((NO_SOFT, _TIMER_OFF, _UART_OFF))
_VECTORED = "la t0, handler\n    addi t0, t0, 1\n    csrw mtvec, t0"
_DIRECT = "la t0, handler\n    csrw mtvec, t0"
_GO = "csrsi mstatus, 8\n    li a0, 7"


def enable(mie: int) -> str:
    return f"li t0, {mie:#x}\n    csrw mie, t0"


def interrupt(
    name: str, code: str, number: int, mie: int, offset: int = 4, **more: object
) -> Probe:
    """All three are pending; ``mie`` enables some."""
    vectored = bool(more.pop("vectored", False))
    return Probe(
        name, code, cause=INTERRUPT | number, offset=offset, vector=number if vectored else 0,
        before=f"{_ALL}\n    {_VECTORED if vectored else ''}\n    {enable(mie)}",
        after=f"{_ALL_OFF}\n    {_DIRECT}", **more,
    )  # type: ignore[arg-type]  # fmt: skip


_LOWEST = {"why": "QEMU 7.2 without AIA takes the lowest number first"}
INTERRUPTS = [
    legal("mip shows MSIP", "csrr a0, mip", _BELL, before=SOFT, after=NO_SOFT),
    legal("mip cannot be cleared", "csrw mip, zero\n    csrr a0, mip", _BELL, before=SOFT,
          after=NO_SOFT),
    legal("mip shows all three", "csrr a0, mip", 0x888, before=_ALL, after=_ALL_OFF),
    legal("masked by MIE", "nop\n    li a0, 7", 7, before=SOFT + "\n    csrwi mie, 8",
          after=NO_SOFT),
    legal("masked by mie", "csrsi mstatus, 8\n    li a0, 7", 7, before=SOFT, after=NO_SOFT),
    interrupt("external before software and timer", _GO, 11, 0x888,
              qemu={"cause": INTERRUPT | 3}, **_LOWEST),
    interrupt("software before timer", _GO, 3, 0x88),
    interrupt("timer alone", _GO, 7, 0x80),
    interrupt("external before timer", _GO, 11, 0x880, qemu={"cause": INTERRUPT | 7}, **_LOWEST),
    interrupt("external alone", _GO, 11, 0x800),
    interrupt("vectored: external", _GO, 11, 0x800, vectored=True),
    interrupt("vectored: software", _GO, 3, 0x88, vectored=True),
    interrupt("vectored: timer", _GO, 7, 0x80, vectored=True),
    Probe("vectored: exceptions go to the base", "ebreak", cause=3, before=_VECTORED,
          after=_DIRECT),
    interrupt("the handler sees MPIE, not MIE", _GO, 3, 8, status=(MPP | MPIE | MIE, MPP | MPIE)),
    interrupt("U cannot mask", "li a0, 7", 3, 8, offset=0, mode="U",
              status=(MPP | MPIE | MIE, 0)),
    interrupt("before an illegal instruction", ".4byte 0x0000400b", 3, 8, offset=0, mode="U"),
    Probe("unmasked by mie", "csrwi mie, 8\n    li a0, 7", cause=INTERRUPT | 3, offset=4,
          before=SOFT + "\n    csrsi mstatus, 8", after=NO_SOFT),
    Probe("unmasked by csrrs of mstatus", "csrrs t2, mstatus, t1\n    li a0, 7",
          cause=INTERRUPT | 3, offset=4, before=SOFT + "\n    csrwi mie, 8\n    li t1, 8",
          after=NO_SOFT),
    Probe("unmasked by mret", """la t0, 1f
    csrw mepc, t0
    li t0, 0x1880
    csrs mstatus, t0
    mret
    .4byte 0
1:  li a0, 7""", cause=INTERRUPT | 3, offset=32, before=SOFT + "\n    csrwi mie, 8",
          after=NO_SOFT),
    Probe("raised by a store of our own", "sw t1, 0(t0)\n    csrr t2, mip\n    li a0, 7",
          cause=INTERRUPT | 3, offset=8, after=NO_SOFT,
          before="csrwi mie, 8\n    csrsi mstatus, 8\n    li t0, CLINT\n    li t1, 1"),
]  # fmt: skip

# Floating-point registers.

_FP = FS_ON + "\n    la t1, data"
_NAN = 0xFFFF_FFFF_7FC0_0000
_REST = FS_ON + "\n    csrw fcsr, zero"
_ARITH = {"why": "arithmetic is not there yet"}


def fp(name: str, code: str, a0: int, **more: object) -> Probe:
    return legal(name, code, a0, before=_FP, **more)


def signs(name: str, x: int, y: int, a0: int) -> Probe:
    """``name`` of two registers with these bits."""
    load = f"li t1, {x:#x}\n    li t2, {y:#x}\n    fmv.d.x ft1, t1\n    fmv.d.x ft2, t2"
    code = f"{name} ft0, ft1, ft2\n    fmv.x.d a0, ft0"
    return legal(f"{name} {x:#x} {y:#x}", code, a0, before=f"{FS_ON}\n    {load}")


_BOX = 0xFFFF_FFFF_0000_0000
_TOP = 1 << 63
FLOATS = [
    *(illegal(f"{code} with FS off", code, before="la t1, data")
      for code in ("flw fa0, 0(t1)", "fld fa0, 0(t1)", "fsw fa0, 0(t1)", "fsd fa0, 0(t1)",
                   "fmv.x.w a0, fa0", "fmv.d.x fa0, a0", "fsgnj.s fa0, fa0, fa0",
                   "fadd.d fa0, fa0, fa0", ".2byte 0x2502 # c.fldsp",
                   ".2byte 0xa008 # c.fsd",
                   "csrr a0, fcsr", "csrr a0, frm", "csrw fflags, zero")),
    illegal("fld in U with FS off", "fld fa0, 0(t1)", mode="U", before="la t1, data"),
    fp("fld", "fld fa0, 0(t1)\n    fmv.x.d a0, fa0", 0x1122_3344_5566_7788),
    fp("fld marks FS dirty", f"fld fa0, 0(t1)\n    csrr a0, mstatus\n    li t2, {FS}\n"
       "    and a0, a0, t2", FS_DIRTY),
    fp("SD shows a dirty FS", "fld fa0, 0(t1)\n    csrr a0, mstatus\n    srli a0, a0, 63", 1),
    fp("fsd leaves FS as it was", f"fsd fa0, 16(t1)\n    csrr a0, mstatus\n    li t2, {FS}\n"
       "    and a0, a0, t2", 0x2000),
    fp("fmv.x.d leaves FS as it was", f"fmv.x.d t2, fa0\n    csrr a0, mstatus\n    li t2, {FS}\n"
       "    and a0, a0, t2", 0x2000),
    fp("writing fcsr marks FS dirty", f"csrwi fcsr, 3\n    csrr a0, mstatus\n    li t2, {FS}\n"
       "    and a0, a0, t2", FS_DIRTY),
    fp("reading fcsr does not", f"csrr t2, fcsr\n    csrr a0, mstatus\n    li t2, {FS}\n"
       "    and a0, a0, t2", 0x2000),
    fp("flw boxes", "flw fa0, 8(t1)\n    fmv.x.d a0, fa0", 0xFFFF_FFFF_DDEE_FF00),
    fp("fmv.w.x boxes", "li t2, -2\n    slli t2, t2, 40\n    fmv.w.x fa0, t2\n    fmv.x.d a0, fa0",
       _BOX),
    fp("fmv.x.w extends the sign", "flw fa0, 8(t1)\n    fmv.x.w a0, fa0", 0xFFFF_FFFF_DDEE_FF00),
    fp("fmv.x.w ignores the box", "fld fa0, 0(t1)\n    fmv.x.w a0, fa0", 0x5566_7788),
    fp("fsw stores the low half", "fld fa0, 0(t1)\n    fsw fa0, 20(t1)\n    lw a0, 20(t1)",
       0x5566_7788),
    fp("misaligned fld", "fld fa0, 1(t1)\n    fmv.x.d a0, fa0", 0x0011_2233_4455_6677),
    signs("fsgnj.d", 0x3FF0 << 48, _TOP, 0xBFF0 << 48),
    signs("fsgnjn.d", 0x3FF0 << 48, _TOP, 0x3FF0 << 48),
    signs("fsgnjx.d", 0xBFF0 << 48, _TOP, 0x3FF0 << 48),
    signs("fsgnj.d", 0x7FF0_0000_0000_0001, _TOP | 1, 0xFFF0_0000_0000_0001),
    signs("fsgnj.s", _BOX | 0x3F80_0000, _BOX | 0x8000_0000, _BOX | 0xBF80_0000),
    signs("fsgnjn.s", _BOX | 0x3F80_0000, _BOX, _BOX | 0xBF80_0000),
    signs("fsgnjx.s", _BOX | 0xBF80_0000, _BOX | 0x8000_0000, _BOX | 0x3F80_0000),
    signs("fsgnj.s", 0x3F80_0000, _BOX | 0x8000_0000, _BOX | 0xFFC0_0000),
    signs("fsgnj.s", _BOX | 0xBF80_0000, 0x8000_0000, _BOX | 0x3F80_0000),
    signs("fsgnjn.s", 0xFFFF_FFFE_3F80_0000, 0, _BOX | 0xFFC0_0000),
    signs("fsgnjx.s", _TOP, _TOP, _NAN),
    Probe("a faulting fld marks nothing", "fld fa0, 0(t1)", cause=LOAD, mtval=HOLE,
          before=FS_ON + f"\n    {_HOLE}", status=(FS, 0x2000)),
    legal("fcsr", "csrw fcsr, t1\n    csrr a0, fcsr", 0xFF, before=FS_ON + "\n    li t1, -1",
          after=_REST),
    legal("fcsr is frm and fflags", "csrwi fflags, 0x15\n    csrwi frm, 3\n    csrr a0, fcsr",
          0x75, before=FS_ON + "\n    csrw fcsr, zero", after=_REST),
    legal("frm is part of fcsr", "csrr a0, frm", 5, before=FS_ON + "\n    li t1, 0xbf\n"
          "    csrw fcsr, t1", after=_REST),
    legal("fcsr in U", "csrr a0, fflags", 0, mode="U", before=FS_ON),
    *(illegal(f"{code} with FS on", code, before=FS_ON, qemu=NO_TRAP | {"a0": a0},
              **_ARITH)
      for code, a0 in (("fadd.d fa0, fa0, fa0", A0), ("fmul.s fa0, fa0, fa0", A0),
                       ("fmadd.s fa0, fa0, fa0, fa0", A0), ("fmin.d fa0, fa0, fa0", A0),
                       ("fcvt.d.l fa0, zero", A0))),
]  # fmt: skip

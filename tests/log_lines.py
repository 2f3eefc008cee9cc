"""Lines of ``-d`` logs: their layout, as QEMU 7.2 prints them, and what remains of them when host
addresses, symbols and the flags of a block's key are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tcglite.crosscheck.qemu_log import (
    HEX16,
    HOST,
    Entered,
    Linked,
    Refused,
    Rewound,
    Trapped,
    read_log,
)

#: For each item the lines that it may print, as patterns of the whole line.
LAYOUT: dict[str, tuple[str, ...]] = {
    "in_asm": (
        r"-{16}",
        r"IN:(?: \S*)?",
        r"Priv: [0-3]; Virt: 0",  # 7.2 and older
        rf"0x{HEX16}:  (?:[0-9a-f]{{4}}    |[0-9a-f]{{8}})          \S+",
        rf"0x{HEX16}:  (?:[0-9a-f]{{4}}    |[0-9a-f]{{8}})          (?=.{{23}} )\S+ +\S.*",
        "",
    ),
    "op": (
        r"OP:",
        rf" ---- {HEX16}(?: {HEX16}){{1,2}}",
        r" [a-z_0-9]+(?: [a-zA-Z0-9_/$.,+:-]+)?(?: +\S.*)?",
        "",
    ),
    "op_opt": (
        r"OP after optimization and liveness analysis:",
        rf" ---- {HEX16}(?: {HEX16}){{1,2}}",
        r" [a-z_0-9]+(?: [a-zA-Z0-9_/$.,+:-]+)?"
        r"(?: +(?:sync: [\d ]+)?(?:dead: [\d ]+)?(?:pref=\S+)?)?",
        "",
    ),
    "out_asm": (
        r"(?:OUT|PROLOGUE): \[size=\d+\]",
        rf"  -- guest addr 0x{HEX16}(?: \+ tb prologue)?",
        r"  -- tb slow paths \+ alignment",
        r"  data: \[size=\d+\]",
        rf"{HOST}:  \S.*| *\.quad .*",
        rf"{HOST}:   .*",
        "",
    ),
    "exec": (
        rf"Trace 0: {HOST} \[{HEX16}/{HEX16}/[0-9a-f]{{8}}/[0-9a-f]{{8}}\](?: \S*)?",
        rf"Linking TBs {HOST} index [01] -> {HOST}",
        rf"Stopped execution of TB chain before {HOST} \[{HEX16}\](?: \S*)?",
        rf"cpu_io_recompile: rewound execution of TB to {HEX16}",
    ),
    "int": (
        rf"riscv_cpu_do_interrupt: hart:0, async:[01], cause:{HEX16}, epc:0x{HEX16}, "
        rf"tval:0x{HEX16}, desc=[a-z_()]+",
    ),
}

#: Lines that qemu-system-riscv64 7.2.22 has printed.
SAMPLES = {
    "in_asm": """\
----------------
IN: \n\
Priv: 3; Virt: 0
0x0000000080000000:  00001517          auipc                   a0,4096                 # 0x80001000
0x0000000080000010:  00530023          sb                      t0,0(t1)
0x0000000080000014:  00140413          addi                    s0,s0,1
0x0000000080000064:  00000073          ecall                   \n\
0x000000008000006a:  8082              ret                     """,
    "op": """\
OP:
 ld_i32 tmp1,env,$0xfffffffffffffff0
 brcond_i32 tmp1,$0x0,lt,$L0

 ---- 0000000080000010 0000000000000000
 mov_i64 tmp3,x6/t1
 qemu_st_i64 x5/t0,tmp3,al+ub,3
 add_i64 x10/a0,x10/a0,$0x1
 call raise_exception,$0x8,$0,env,$0x8
 goto_tb $0x1
 mov_i64 pc,$0x80000020
 exit_tb $0x7fc8bc0005c1
 set_label $L1""",
    "op_opt": """\
OP after optimization and liveness analysis:
 ld_i32 tmp1,env,$0xfffffffffffffff0      dead: 1  pref=0xffff
 brcond_i32 tmp1,$0x0,lt,$L0              dead: 0 1
 add_i64 x10/a0,x10/a0,$0x1               sync: 0  dead: 1 2  pref=0xff3f""",
    "out_asm": """\
OUT: [size=116]
  -- guest addr 0x0000000080000014 + tb prologue
0x7fc8bc000414:  48 c7 45 30 00 00 00 10  movq     $0x10000000, 0x30(%rbp)
  -- guest addr 0x0000000080000018
  -- tb slow paths + alignment
  data: [size=16]
0x7fc8bc000568:  .quad  0x00005557644e61e0""",
    "exec": """\
Trace 0: 0x7f5d50000680 [0000000000000000/0000000080000014/00209003/ff000000] sym
Trace 0: 0x7fc8bc000400 [0000000000000000/0000000080000000/00201003/ff000000] \n\
Linking TBs 0x7f7e10000680 index 1 -> 0x7f7e10000840
Stopped execution of TB chain before 0x7f7e100019c0 [0000000080000048] \n\
cpu_io_recompile: rewound execution of TB to 0000000080000044""",
    "int": (
        "riscv_cpu_do_interrupt: hart:0, async:1, cause:0000000000000007, "
        "epc:0x0000000080000030, tval:0x0000000000000000, desc=m_timer"
    ),
}


def item_of(line: str, items: tuple[str, ...]) -> str | None:
    """The first of ``items`` that prints such a line."""
    for item in items:
        if any(re.fullmatch(pattern, line) for pattern in LAYOUT[item]):
            return item
    return None


Line = tuple[str, ...]


def essence(log: str) -> list[Line]:
    """The run in a log of ``exec`` and ``int``, from the guest's first block on: ("run", pc),
    ("link", from, slot, to), ("refused", pc), ("rewound",) and the lines of traps."""
    pcs: dict[str, str] = {}
    lines: list[Line] = []
    for item in read_log(log.splitlines()):
        match item:
            case Entered(host, pc):
                pcs[host] = f"{pc:016x}"
                lines.append(("run", pcs[host]))
            case Linked(src, slot, dst):
                lines.append(("link", src, slot, dst))
            case Refused(pc):
                lines.append(("refused", f"{pc:016x}"))
            case Rewound():
                lines.append(("rewound",))
            case Trapped(_, text):
                lines.append((text,))
    start = lines.index(("run", "0000000080000000"))

    def named(line: Line) -> Line:
        if line[0] != "link":
            return line
        return "link", pcs.get(line[1], "?"), line[2], pcs.get(line[3], "?")

    return [named(line) for line in lines[start:]]


def without_vain_refusals(lines: list[Line]) -> Iterator[Line]:
    """Without the blocks that were refused and entered again at once."""
    skip = False
    for line, after in zip(lines, [*lines[1:], ("end",)], strict=True):
        if skip:
            skip = False
        elif line[0] == "refused" and after == ("run", line[1]):
            skip = True
        else:
            yield line


def guest_code(log: str) -> list[str]:
    """Of ``in_asm``: address and bytes of every instruction translated, from RAM's base on."""
    found = re.findall(rf"^(0x{HEX16}:  [0-9a-f]+) ", log, re.MULTILINE)
    return [line for line in found if int(line[:18], 16) >= 0x8000_0000]

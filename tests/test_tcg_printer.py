"""IR as text: one block in full, and the layout of QEMU 7.2's ``-d op`` line by line."""

from __future__ import annotations

import re

import pytest

from tcglite import Machine
from tcglite.target.asm import assemble
from tcglite.target.cpu import PC, X
from tcglite.target.helper import CSRRW
from tcglite.tcg.ir import Builder
from tcglite.tcg.ops import MO_32, MO_64, MO_ALIGN, MO_SIGN, OPS
from tcglite.tcg.printer import format_op, format_ops, memop_name

SOURCE = """
_start:
    .option norvc
    li      a0, 5
    slli    a1, a0, 2
    ld      a2, 8(sp)
    sltu    a3, a1, a2
    amoadd.w a4, a3, (sp)
    bne     a3, zero, _start
"""

OP = """\
 exit_check $0x6,flag,refuse

 ---- 0000000080000000 0000000000500513 0000000000000000
 add_i64 x10/a0,$0x0,$0x5

 ---- 0000000080000004 0000000000251593 0000000000000000
 shl_i64 x11/a1,x10/a0,$0x2

 ---- 0000000080000008 0000000000813603 0000000000000000
 add_i64 tmp1,x2/sp,$0x8
 qemu_ld_i64 x12/a2,tmp1,leq,3

 ---- 000000008000000c 0000000000c5b6b3 0000000000000000
 setcond_i64 x13/a3,x11/a1,x12/a2,ltu

 ---- 0000000080000010 0000000000d1272f 0000000000000001
 qemu_ld_i64 tmp2,x2/sp,al+lesl,3
 add_i64 tmp3,tmp2,x13/a3
 qemu_st_i64 tmp3,x2/sp,al+leul,3
 mov_i64 x14/a4,tmp2

 ---- 0000000080000014 00000000fe0696e3 0000000000000000
 brcond_i64 x13/a3,$0x0,ne,$L0
 goto_tb $0x1
 mov_i64 pc,$0x80000018
 exit_tb tb1:1
 set_label $L0
 goto_tb $0x0
 mov_i64 pc,$0x80000000
 exit_tb tb1:0"""


@pytest.fixture(scope="module")
def block():
    """The first block of SOURCE, translated and run once."""
    with Machine(assemble(SOURCE), backend="python") as m:
        m.cpu["sp"] = 0x8000_1000
        m.run(max_insns=6)
        yield next(tb for tb in m.tbs if tb.icount == 6)


def test_a_block_before_optimisation(block):
    assert block.ir == OP.replace("tb1", f"tb{block.number}")


def test_the_same_block_after(block):
    """Constants are known, the rest is as it was; what dies stands behind."""
    lines = block.ir_opt.splitlines()
    plain = [re.sub(r"  +dead: .*", "", line) for line in lines]
    want = OP.replace("tb1", f"tb{block.number}").splitlines()
    want[3] = " mov_i64 x10/a0,$0x5"
    want[6] = " mov_i64 x11/a1,$0x14"
    want[13] = " setcond_i64 x13/a3,$0x14,x12/a2,ltu"
    assert plain == want
    dead = {
        line.split()[0] + line.split()[1]: line.partition("dead: ")[2] for line in lines if line
    }
    assert "1" in dead["qemu_ld_i64x12/a2,tmp1,leq,3"].split(), "the address is used once"
    assert not dead["exit_check$0x6,flag,refuse"]


def test_dead_arguments_stand_in_one_column(block):
    columns = {line.index("dead:") for line in block.ir_opt.splitlines() if "dead:" in line}
    assert columns == {52}


@pytest.mark.parametrize(
    ("memop", "name"),
    [
        (0, "ub"), (MO_SIGN, "sb"), (1, "leuw"), (1 | MO_SIGN, "lesw"), (MO_32, "leul"),
        (MO_32 | MO_SIGN, "lesl"), (MO_64, "leq"), (MO_64 | MO_ALIGN, "al+leq"),
        (MO_32 | MO_SIGN | MO_ALIGN, "al+lesl"), (MO_ALIGN, "al+ub"),
    ],
)  # fmt: skip
def test_memory_operations_have_qemus_names(memop, name):
    assert memop_name(memop) == name


#: Each line that QEMU 7.2 prints (qemu-system-riscv64 -d op), as a pattern, and ops of ours for it.
LAYOUT = [
    (r" mov_i64 x10/a0,\$0x1000", lambda b: b.emit("mov", X[10], 0x1000)),
    (r" add_i64 x10/a0,x11/a1,\$0xfffffffffffffff0", lambda b: b.emit("add", X[10], X[11], -16)),
    (r" qemu_ld_i64 x14/a4,x15/a5,leq,3", lambda b: b.emit("qemu_ld", X[14], X[15], MO_64, 3)),
    (r" qemu_st_i64 x14/a4,x15/a5,leul,0", lambda b: b.emit("qemu_st", X[14], X[15], MO_32, 0)),
    (r" brcond_i64 x10/a0,\$0x0,lt,\$L0",
     lambda b: b.emit("brcond", X[10], 0, "lt", b.label())),
    (r" set_label \$L0", lambda b: b.emit("set_label", b.label())),
    (r" goto_tb \$0x1", lambda b: b.emit("goto_tb", 1)),
    (r" exit_tb \$0x0", lambda b: b.emit("exit_tb", None)),
    (r" goto_ptr", lambda b: b.emit("goto_ptr")),
    (r" mb", lambda b: b.emit("mb")),
    (r" st_i64 x10/a0,env,\$0x\w+", lambda b: b.emit("st", X[10], 0x210)),
    (r" ld_i64 tmp1,env,\$0x\w+", lambda b: b.new("ld", 0x210)),
    (r" movcond_i64 x10/a0,x11/a1,\$0x0,\$0x1,x12/a2,eq",
     lambda b: b.emit("movcond", X[10], X[11], 0, 1, X[12], "eq")),
    (r" call csrrw,\$0x1,x10/a0,\$0x300,x11/a1,\$0xffffffffffffffff",
     lambda b: b.call(CSRRW, 0x300, X[11], -1, out=X[10])),
    (r"\n ---- 0000000080000014 0000000000000073 0000000000000000",
     lambda b: b.emit("insn_start", 0x8000_0014, 0x73, 0)),
    (r" exit_check \$0x4,flag,refuse", lambda b: b.emit("exit_check", 4, True, None)),
    (r" exit_check \$0x0,flag,\$0x80000000", lambda b: b.emit("exit_check", 0, True, 0x8000_0000)),
    (r" trace_tb \$0x1", lambda b: b.emit("trace_tb", 1)),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "emit"), LAYOUT, ids=[p.strip()[:24] for p, _ in LAYOUT])
def test_layout(pattern, emit):
    builder = Builder()
    emit(builder)
    assert re.fullmatch(pattern, format_op(builder.ops[0]))


def test_every_kind_of_op_can_be_printed():
    shown = {re.sub(r"_i64$", "", p.split()[0].replace("\\n", "")) for p, _ in LAYOUT}
    shown |= {name for name, row in OPS.items() if row.expr} | {"setcond", "insn_start"}
    assert set(OPS) <= shown


def test_a_block_is_its_ops():
    builder = Builder()
    builder.emit("mov", PC, 4)
    builder.emit("exit_tb", 0)
    assert format_ops(builder.ops, 12) == " mov_i64 pc,$0x4\n exit_tb tb12:0"

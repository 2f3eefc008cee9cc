"""Other names of instructions: the pseudo-instructions that stand for one instruction.

A row reads

    alias | the instruction that it stands for | parse

with operands as in `insns`. The disassembler prints the first alias that fits, unless the row says
`parse`: then only the assembler knows it. The assembler tries rows of one name in order, so a row
may give an instruction's own mnemonic further operand forms. Pseudo-instructions that may
stand for several instructions (li, la, call …) are in `asm_pseudo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tcglite.target.insns import FIELD_OF_OPERAND, ROWS, Row, operand_names
from tcglite.target.names import CSR_NUMBERS

_TABLE = """
nop                       | addi x0, x0, 0
li rd, imm                | addi rd, x0, imm
mv rd, rs1                | addi rd, rs1, 0
not rd, rs1               | xori rd, rs1, -1
neg rd, rs2               | sub rd, x0, rs2
negw rd, rs2              | subw rd, x0, rs2
sext.w rd, rs1            | addiw rd, rs1, 0
zext.b rd, rs1            | andi rd, rs1, 255
seqz rd, rs1              | sltiu rd, rs1, 1
snez rd, rs2              | sltu rd, x0, rs2
sltz rd, rs1              | slt rd, rs1, x0
sgtz rd, rs2              | slt rd, x0, rs2
beqz rs1, addr            | beq rs1, x0, addr
bnez rs1, addr            | bne rs1, x0, addr
blez rs2, addr            | bge x0, rs2, addr
bgez rs1, addr            | bge rs1, x0, addr
bltz rs1, addr            | blt rs1, x0, addr
bgtz rs2, addr            | blt x0, rs2, addr
bgt rs2, rs1, addr        | blt rs1, rs2, addr     | parse
ble rs2, rs1, addr        | bge rs1, rs2, addr     | parse
bgtu rs2, rs1, addr       | bltu rs1, rs2, addr    | parse
bleu rs2, rs1, addr       | bgeu rs1, rs2, addr    | parse
j addr                    | jal x0, addr
jal addr                  | jal ra, addr
ret                       | jalr x0, 0(ra)
jr rs1                    | jalr x0, 0(rs1)
jr imm(rs1)               | jalr x0, imm(rs1)
jr rs1, imm               | jalr x0, imm(rs1)      | parse
jalr rs1                  | jalr ra, 0(rs1)
jalr imm(rs1)             | jalr ra, imm(rs1)      | parse
jalr rd, rs1              | jalr rd, 0(rs1)        | parse
jalr rs1, imm             | jalr ra, imm(rs1)      | parse
jalr rd, rs1, imm         | jalr rd, imm(rs1)      | parse
sgt rd, rs2, rs1          | slt rd, rs1, rs2       | parse
sgtu rd, rs2, rs1         | sltu rd, rs1, rs2      | parse
add rd, rs1, imm          | addi rd, rs1, imm      | parse
slt rd, rs1, imm          | slti rd, rs1, imm      | parse
sltu rd, rs1, imm         | sltiu rd, rs1, imm     | parse
xor rd, rs1, imm          | xori rd, rs1, imm      | parse
or rd, rs1, imm           | ori rd, rs1, imm       | parse
and rd, rs1, imm          | andi rd, rs1, imm      | parse
sll rd, rs1, shamt        | slli rd, rs1, shamt    | parse
srl rd, rs1, shamt        | srli rd, rs1, shamt    | parse
sra rd, rs1, shamt        | srai rd, rs1, shamt    | parse
addw rd, rs1, imm         | addiw rd, rs1, imm     | parse
sllw rd, rs1, shamt       | slliw rd, rs1, shamt   | parse
srlw rd, rs1, shamt       | srliw rd, rs1, shamt   | parse
sraw rd, rs1, shamt       | sraiw rd, rs1, shamt   | parse
fence                     | fence 255
pause                     | fence 16
unimp                     | csrrw x0, cycle, x0
rdcycle rd                | csrrs rd, cycle, x0
rdtime rd                 | csrrs rd, time, x0
rdinstret rd              | csrrs rd, instret, x0
frcsr rd                  | csrrs rd, fcsr, x0
frrm rd                   | csrrs rd, frm, x0
frflags rd                | csrrs rd, fflags, x0
fscsr rs1                 | csrrw x0, fcsr, rs1
fscsr rd, rs1             | csrrw rd, fcsr, rs1
fsrm rs1                  | csrrw x0, frm, rs1
fsrm rd, rs1              | csrrw rd, frm, rs1
fsflags rs1               | csrrw x0, fflags, rs1
fsflags rd, rs1           | csrrw rd, fflags, rs1
fsrmi zimm                | csrrwi x0, frm, zimm
fsrmi rd, zimm            | csrrwi rd, frm, zimm
fsflagsi zimm             | csrrwi x0, fflags, zimm
fsflagsi rd, zimm         | csrrwi rd, fflags, zimm
csrr rd, csr              | csrrs rd, csr, x0
csrw csr, rs1             | csrrw x0, csr, rs1
csrs csr, rs1             | csrrs x0, csr, rs1
csrc csr, rs1             | csrrc x0, csr, rs1
csrwi csr, zimm           | csrrwi x0, csr, zimm
csrsi csr, zimm           | csrrsi x0, csr, zimm
csrci csr, zimm           | csrrci x0, csr, zimm
csrw csr, zimm            | csrrwi x0, csr, zimm   | parse
csrs csr, zimm            | csrrsi x0, csr, zimm   | parse
csrc csr, zimm            | csrrci x0, csr, zimm   | parse
csrrw rd, csr, zimm       | csrrwi rd, csr, zimm   | parse
csrrs rd, csr, zimm       | csrrsi rd, csr, zimm   | parse
csrrc rd, csr, zimm       | csrrci rd, csr, zimm   | parse
sfence.vma                | sfence.vma x0, x0
sfence.vma rs1            | sfence.vma rs1, x0
c.nop imm                 | c.addi x0, imm
scall                     | ecall                  | parse
sbreak                    | ebreak                 | parse
fmv.s frd, frs1           | fsgnj.s frd, frs1, frs1
fabs.s frd, frs1          | fsgnjx.s frd, frs1, frs1
fneg.s frd, frs1          | fsgnjn.s frd, frs1, frs1
fmv.d frd, frs1           | fsgnj.d frd, frs1, frs1
fabs.d frd, frs1          | fsgnjx.d frd, frs1, frs1
fneg.d frd, frs1          | fsgnjn.d frd, frs1, frs1
fgt.s rd, frs2, frs1      | flt.s rd, frs1, frs2   | parse
fge.s rd, frs2, frs1      | fle.s rd, frs1, frs2   | parse
fgt.d rd, frs2, frs1      | flt.d rd, frs1, frs2   | parse
fge.d rd, frs2, frs1      | fle.d rd, frs1, frs2   | parse
fmv.x.s rd, frs1          | fmv.x.w rd, frs1       | parse
fmv.s.x frd, rs1          | fmv.w.x frd, rs1       | parse
"""


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name and operand syntax of a base row."""

    name: str
    operands: str
    base: Row
    expansion: tuple[tuple[str, str | int], ...]
    """(field of the base row, the field that the alias's operand gives, or a constant)."""
    printed: bool


def _expansion(base: Row, template: str) -> Iterator[tuple[str, str | int]]:
    constants = {"x0": 0, "ra": 1} | CSR_NUMBERS
    for name, source in zip(operand_names(base.operands), operand_names(template), strict=True):
        value: str | int
        if source in FIELD_OF_OPERAND:
            value = FIELD_OF_OPERAND[source]
        elif source in constants:
            value = constants[source]
        else:
            value = int(source)
        yield FIELD_OF_OPERAND[name], value


def _aliases() -> Iterator[Alias]:
    for line in _TABLE.strip().splitlines():
        alias, instruction, *parse = (cell.strip() for cell in line.split("|"))
        name, _, operands = alias.partition(" ")
        base_name, _, template = instruction.partition(" ")
        base = ROWS[base_name]
        yield Alias(name, operands, base, tuple(_expansion(base, template)), not parse)


ALIASES: tuple[Alias, ...] = tuple(_aliases())

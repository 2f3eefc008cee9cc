"""The rows of the compressed instructions (RV64C; with D, so FP loads and stores of doubles).

A row reads

    pattern | assembly | the base instruction that it stands for | immediate | conditions | hint if

with patterns, immediates and conditions as in `insns`. Reserved encodings match no row. Hints
match: their base instruction does nothing, and the assembler never makes one by itself when it
compresses. The counterpart in QEMU is
target/riscv/insn16.decode, which maps onto the 32-bit translation functions in the same way.
"""

COMPRESSED = """
# Quadrant 0
000 uuuuuuuu ddd 00    | c.addi4spn rd, sp, imm | addi rd, sp, imm  | 5:4 9:6 2 3 | imm!=0
001 uuu sss uu ddd 00  | c.fld frd, imm(rs1)    | fld rd, imm(rs1)  | 5:3 7:6
010 uuu sss uu ddd 00  | c.lw rd, imm(rs1)      | lw rd, imm(rs1)   | 5:3 2 6
011 uuu sss uu ddd 00  | c.ld rd, imm(rs1)      | ld rd, imm(rs1)   | 5:3 7:6
101 uuu sss uu ttt 00  | c.fsd frs2, imm(rs1)   | fsd rs2, imm(rs1) | 5:3 7:6
110 uuu sss uu ttt 00  | c.sw rs2, imm(rs1)     | sw rs2, imm(rs1)  | 5:3 2 6
111 uuu sss uu ttt 00  | c.sd rs2, imm(rs1)     | sd rs2, imm(rs1)  | 5:3 7:6

# Quadrant 1
000 0 00000 00000 01   | c.nop                  | addi x0, x0, 0
000 i ddddd iiiii 01   | c.addi rd, imm         | addi rd, rd, imm  | | | rd=0 imm=0
001 i ddddd iiiii 01   | c.addiw rd, imm        | addiw rd, rd, imm | | rd!=0
010 i ddddd iiiii 01   | c.li rd, imm           | addi rd, x0, imm  | | | rd=0
011 i 00010 iiiii 01   | c.addi16sp sp, imm     | addi sp, sp, imm  | 9 4 6 8:7 5 | imm!=0
011 i ddddd iiiii 01   | c.lui rd, hi20        | lui rd, imm       | 17 16:12 | imm!=0 rd!=2 | rd=0
100 u 00 ddd uuuuu 01  | c.srli rd, shamt       | srli rd, rd, imm  | | | imm=0
100 u 01 ddd uuuuu 01  | c.srai rd, shamt       | srai rd, rd, imm  | | | imm=0
100 i 10 ddd iiiii 01  | c.andi rd, imm         | andi rd, rd, imm
100 0 11 ddd 00 ttt 01 | c.sub rd, rs2          | sub rd, rd, rs2
100 0 11 ddd 01 ttt 01 | c.xor rd, rs2          | xor rd, rd, rs2
100 0 11 ddd 10 ttt 01 | c.or rd, rs2           | or rd, rd, rs2
100 0 11 ddd 11 ttt 01 | c.and rd, rs2          | and rd, rd, rs2
100 1 11 ddd 00 ttt 01 | c.subw rd, rs2         | subw rd, rd, rs2
100 1 11 ddd 01 ttt 01 | c.addw rd, rs2         | addw rd, rd, rs2
101 iiiiiiiiiii 01     | c.j addr               | jal x0, imm       | 11 4 9:8 10 6 7 3:1 5
110 iii sss iiiii 01   | c.beqz rs1, addr       | beq rs1, x0, imm  | 8 4:3 7:6 2:1 5
111 iii sss iiiii 01   | c.bnez rs1, addr       | bne rs1, x0, imm  | 8 4:3 7:6 2:1 5

# Quadrant 2
000 u ddddd uuuuu 10   | c.slli rd, shamt       | slli rd, rd, imm  | | | rd=0 imm=0
001 u ddddd uuuuu 10   | c.fldsp frd, imm(sp)   | fld rd, imm(sp)   | 5 4:3 8:6
010 u ddddd uuuuu 10   | c.lwsp rd, imm(sp)     | lw rd, imm(sp)    | 5 4:2 7:6   | rd!=0
011 u ddddd uuuuu 10   | c.ldsp rd, imm(sp)     | ld rd, imm(sp)    | 5 4:3 8:6   | rd!=0
100 0 sssss 00000 10   | c.jr rs1               | jalr x0, 0(rs1)   | | rs1!=0
100 0 ddddd ttttt 10   | c.mv rd, rs2           | add rd, x0, rs2   | | rs2!=0 | rd=0
100 1 00000 00000 10   | c.ebreak               | ebreak
100 1 sssss 00000 10   | c.jalr rs1             | jalr ra, 0(rs1)   | | rs1!=0
100 1 ddddd ttttt 10   | c.add rd, rs2          | add rd, rd, rs2   | | rs2!=0 | rd=0
101 uuuuuu ttttt 10    | c.fsdsp frs2, imm(sp)  | fsd rs2, imm(sp)  | 5:3 8:6
110 uuuuuu ttttt 10    | c.swsp rs2, imm(sp)    | sw rs2, imm(sp)   | 5:2 7:6
111 uuuuuu ttttt 10    | c.sdsp rs2, imm(sp)    | sd rs2, imm(sp)   | 5:3 8:6
"""

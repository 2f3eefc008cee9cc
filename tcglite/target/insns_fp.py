"""The rows of the floating-point instructions (RV64F and RV64D), in the form of `insns`.

An instruction with a rounding mode may trap at run time: the dynamic mode (`frm`) can be invalid.
"""

FLOATING_POINT = """
# RV64F
iiiiiiiiiiii sssss 010 ddddd 0000111   | flw frd, imm(rs1)                  | fpload l   | MAY_TRAP
iiiiiii ttttt sssss 010 iiiii 0100111  | fsw frs2, imm(rs1)                 | fpstore l  | MAY_TRAP
rrrrr 00 ttttt sssss mmm ddddd 1000011 | fmadd.s frd, frs1, frs2, frs3, rm  | fparith =  | MAY_TRAP
rrrrr 00 ttttt sssss mmm ddddd 1000111 | fmsub.s frd, frs1, frs2, frs3, rm  | fparith =  | MAY_TRAP
rrrrr 00 ttttt sssss mmm ddddd 1001011 | fnmsub.s frd, frs1, frs2, frs3, rm | fparith =  | MAY_TRAP
rrrrr 00 ttttt sssss mmm ddddd 1001111 | fnmadd.s frd, frs1, frs2, frs3, rm | fparith =  | MAY_TRAP
0000000 ttttt sssss mmm ddddd 1010011  | fadd.s frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0000100 ttttt sssss mmm ddddd 1010011  | fsub.s frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0001000 ttttt sssss mmm ddddd 1010011  | fmul.s frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0001100 ttttt sssss mmm ddddd 1010011  | fdiv.s frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0101100 00000 sssss mmm ddddd 1010011  | fsqrt.s frd, frs1, rm              | fparith =  | MAY_TRAP
0010000 ttttt sssss 000 ddddd 1010011  | fsgnj.s frd, frs1, frs2            | fsgnj . s
0010000 ttttt sssss 001 ddddd 1010011  | fsgnjn.s frd, frs1, frs2           | fsgnj n s
0010000 ttttt sssss 010 ddddd 1010011  | fsgnjx.s frd, frs1, frs2           | fsgnj x s
0010100 ttttt sssss 000 ddddd 1010011  | fmin.s frd, frs1, frs2             | fparith =
0010100 ttttt sssss 001 ddddd 1010011  | fmax.s frd, frs1, frs2             | fparith =
1010000 ttttt sssss 010 ddddd 1010011  | feq.s rd, frs1, frs2               | fparith =
1010000 ttttt sssss 001 ddddd 1010011  | flt.s rd, frs1, frs2               | fparith =
1010000 ttttt sssss 000 ddddd 1010011  | fle.s rd, frs1, frs2               | fparith =
1110000 00000 sssss 001 ddddd 1010011  | fclass.s rd, frs1                  | fparith =
1100000 00000 sssss mmm ddddd 1010011  | fcvt.w.s rd, frs1, rm              | fparith =  | MAY_TRAP
1100000 00001 sssss mmm ddddd 1010011  | fcvt.wu.s rd, frs1, rm             | fparith =  | MAY_TRAP
1100000 00010 sssss mmm ddddd 1010011  | fcvt.l.s rd, frs1, rm              | fparith =  | MAY_TRAP
1100000 00011 sssss mmm ddddd 1010011  | fcvt.lu.s rd, frs1, rm             | fparith =  | MAY_TRAP
1101000 00000 sssss mmm ddddd 1010011  | fcvt.s.w frd, rs1, rm              | fparith =  | MAY_TRAP
1101000 00001 sssss mmm ddddd 1010011  | fcvt.s.wu frd, rs1, rm             | fparith =  | MAY_TRAP
1101000 00010 sssss mmm ddddd 1010011  | fcvt.s.l frd, rs1, rm              | fparith =  | MAY_TRAP
1101000 00011 sssss mmm ddddd 1010011  | fcvt.s.lu frd, rs1, rm             | fparith =  | MAY_TRAP
1110000 00000 sssss 000 ddddd 1010011  | fmv.x.w rd, frs1                   | fmv x.w
1111000 00000 sssss 000 ddddd 1010011  | fmv.w.x frd, rs1                   | fmv w.x

# RV64D
iiiiiiiiiiii sssss 011 ddddd 0000111   | fld frd, imm(rs1)                  | fpload q   | MAY_TRAP
iiiiiii ttttt sssss 011 iiiii 0100111  | fsd frs2, imm(rs1)                 | fpstore q  | MAY_TRAP
rrrrr 01 ttttt sssss mmm ddddd 1000011 | fmadd.d frd, frs1, frs2, frs3, rm  | fparith =  | MAY_TRAP
rrrrr 01 ttttt sssss mmm ddddd 1000111 | fmsub.d frd, frs1, frs2, frs3, rm  | fparith =  | MAY_TRAP
rrrrr 01 ttttt sssss mmm ddddd 1001011 | fnmsub.d frd, frs1, frs2, frs3, rm | fparith =  | MAY_TRAP
rrrrr 01 ttttt sssss mmm ddddd 1001111 | fnmadd.d frd, frs1, frs2, frs3, rm | fparith =  | MAY_TRAP
0000001 ttttt sssss mmm ddddd 1010011  | fadd.d frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0000101 ttttt sssss mmm ddddd 1010011  | fsub.d frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0001001 ttttt sssss mmm ddddd 1010011  | fmul.d frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0001101 ttttt sssss mmm ddddd 1010011  | fdiv.d frd, frs1, frs2, rm         | fparith =  | MAY_TRAP
0101101 00000 sssss mmm ddddd 1010011  | fsqrt.d frd, frs1, rm              | fparith =  | MAY_TRAP
0010001 ttttt sssss 000 ddddd 1010011  | fsgnj.d frd, frs1, frs2            | fsgnj . d
0010001 ttttt sssss 001 ddddd 1010011  | fsgnjn.d frd, frs1, frs2           | fsgnj n d
0010001 ttttt sssss 010 ddddd 1010011  | fsgnjx.d frd, frs1, frs2           | fsgnj x d
0010101 ttttt sssss 000 ddddd 1010011  | fmin.d frd, frs1, frs2             | fparith =
0010101 ttttt sssss 001 ddddd 1010011  | fmax.d frd, frs1, frs2             | fparith =
1010001 ttttt sssss 010 ddddd 1010011  | feq.d rd, frs1, frs2               | fparith =
1010001 ttttt sssss 001 ddddd 1010011  | flt.d rd, frs1, frs2               | fparith =
1010001 ttttt sssss 000 ddddd 1010011  | fle.d rd, frs1, frs2               | fparith =
1110001 00000 sssss 001 ddddd 1010011  | fclass.d rd, frs1                  | fparith =
0100000 00001 sssss mmm ddddd 1010011  | fcvt.s.d frd, frs1, rm             | fparith =  | MAY_TRAP
0100001 00000 sssss mmm ddddd 1010011  | fcvt.d.s frd, frs1, rm=rne          | fparith =  | MAY_TRAP
1100001 00000 sssss mmm ddddd 1010011  | fcvt.w.d rd, frs1, rm              | fparith =  | MAY_TRAP
1100001 00001 sssss mmm ddddd 1010011  | fcvt.wu.d rd, frs1, rm             | fparith =  | MAY_TRAP
1100001 00010 sssss mmm ddddd 1010011  | fcvt.l.d rd, frs1, rm              | fparith =  | MAY_TRAP
1100001 00011 sssss mmm ddddd 1010011  | fcvt.lu.d rd, frs1, rm             | fparith =  | MAY_TRAP
1101001 00000 sssss mmm ddddd 1010011  | fcvt.d.w frd, rs1, rm=rne           | fparith =  | MAY_TRAP
1101001 00001 sssss mmm ddddd 1010011  | fcvt.d.wu frd, rs1, rm=rne          | fparith =  | MAY_TRAP
1101001 00010 sssss mmm ddddd 1010011  | fcvt.d.l frd, rs1, rm              | fparith =  | MAY_TRAP
1101001 00011 sssss mmm ddddd 1010011  | fcvt.d.lu frd, rs1, rm             | fparith =  | MAY_TRAP
1110001 00000 sssss 000 ddddd 1010011  | fmv.x.d rd, frs1                   | fmv x.d
1111001 00000 sssss 000 ddddd 1010011  | fmv.d.x frd, rs1                   | fmv d.x
"""

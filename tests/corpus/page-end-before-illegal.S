# tcglite fuzz program page-end-before-illegal
        j    body
        .org 0x1000 - 0x28
body:
li s5, 0x6000; csrs mstatus, s5; fmv.w.x ft0, t4; fmv.w.x ft1, t0; fmv.w.x ft10, s5; fmv.w.x ft11, a3
c.fsd fa3, 0(s1)
c.fsd fa2, 0(s0)
c.fsd fa0, 0(s0)
fmv.d.x fa0, s0
c.fldsp fa1, 0(sp)
fence

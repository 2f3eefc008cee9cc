# tcglite fuzz program patch-page-edge
# An instruction that lies in two pages is changed by stores into either.
_start: .option norvc
        la      s0, 4f
        li      s11, 6
2:      call    3f
        lbu     t0, 3(s0)               # in the second page
        xori    t0, t0, 0x15
        sb      t0, 3(s0)
        fence.i
        call    3f
        lbu     t0, 1(s0)               # in the first: another destination
        xori    t0, t0, 2
        sb      t0, 1(s0)
        fence.i
        addi    s11, s11, -1
        bnez    s11, 2b
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b
        .option rvc
        .org    0xffc
3:      c.nop
        .option norvc
4:      addi    a0, a0, 1
        add     a2, a2, a0
        ret

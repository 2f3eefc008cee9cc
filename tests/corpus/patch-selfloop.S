# tcglite fuzz program patch-selfloop
# irq: msip@70
# A block that jumps to itself is changed between its rounds, also while an interrupt comes.
_start: la      t0, handler
        csrw    mtvec, t0
        li      tp, 0x2000000           # msip
        li      t0, 8
        csrw    mie, t0
        csrsi   mstatus, 8
        .option norvc
        la      s0, 3f
        li      s11, 9
2:      li      s10, 6
3:      addi    a0, a0, 1
        addi    s10, s10, -1
        bnez    s10, 3b
        lbu     t0, 3(s0)
        xori    t0, t0, 0x15            # another immediate
        sb      t0, 3(s0)
        fence.i
        addi    s11, s11, -1
        bnez    s11, 2b
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b
        .balign 4
handler:
        csrr    t2, mepc
        add     s2, s2, t2              # where it was taken
        addi    s3, s3, 1
        sw      zero, 0(tp)
        mret

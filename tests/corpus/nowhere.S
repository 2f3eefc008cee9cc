# tcglite fuzz program nowhere
# irq: msip@30
# A jump to where nothing can be fetched: the fault has the address of the target, and an interrupt
# may come between the two. The handler goes back through ra.
_start: la      t0, vectors + 1
        csrw    mtvec, t0
        li      tp, 0x2000000           # msip
        li      t0, 8
        csrw    mie, t0
        csrsi   mstatus, 8
        li      s11, 20
2:      li      t0, 0x40000000
        jalr    t0
        addi    s11, s11, -1
        bnez    s11, 2b
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b
        .option norvc
        .balign 64
vectors:
        j       3f
        .4byte  0, 0
        sw      zero, 0(tp)             # cause 3: software
        addi    s3, s3, 1
        csrr    t2, mepc
        add     s2, s2, t2
        mret
3:      csrr    t2, mtval
        add     s2, s2, t2
        csrw    mepc, ra
        mret

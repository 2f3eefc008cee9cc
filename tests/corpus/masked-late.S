# tcglite fuzz program masked-late
# irq: msip@30
# Raised while masked, by another thread and by a store in the same block: nobody asks again until
# the guest enables it, by mstatus and by mie.
_start: la      t0, handler
        csrw    mtvec, t0
        li      tp, 0x2000000           # msip
        li      t0, 8
        csrw    mie, t0
        li      s11, 20
2:      addi    s4, s4, 3
        addi    s11, s11, -1
        bnez    s11, 2b
        csrsi   mstatus, 8
        nop
        csrw    mie, zero
        li      t0, 1
        sw      t0, 0(tp)
        addi    s4, s4, 1
        addi    s4, s4, 1
        li      t0, 8
        csrw    mie, t0
        addi    s4, s4, 1
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

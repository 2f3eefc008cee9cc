# tcglite fuzz program user
# irq: msip@60
# In U mode interrupts are taken whatever mstatus.MIE says; CSRs are out of reach; ecall comes back.
_start: la      t0, handler
        csrw    mtvec, t0
        li      tp, 0x2000000
        li      t0, 8
        csrw    mie, t0
        la      t0, 2f
        csrw    mepc, t0
        li      t0, 0x1800
        csrc    mstatus, t0
        mret
2:      li      s11, 30
3:      addi    s4, s4, 1
        addi    s11, s11, -1
        bnez    s11, 3b
        csrr    a0, mscratch
        ecall
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b
        .balign 4
handler:
        csrr    t2, mcause
        bltz    t2, 5f
        add     s2, s2, t2
        addi    t2, t2, -8
        bnez    t2, 4f
        li      t2, 0x1800
        csrs    mstatus, t2
4:      csrr    t2, mepc
        addi    t2, t2, 4
        csrw    mepc, t2
        mret
5:      sw      zero, 0(tp)
        addi    s3, s3, 1
        mret

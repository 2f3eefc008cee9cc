# tcglite fuzz program while-looking
# irq: msip@40
# at: FlagCleared:1:msip FlagCleared:3:msip InterruptTaken:2:msip
# The line goes up again while the loop is looking: between the look at the flag and that at the
# requests, and once more while an interrupt is being taken. None may be lost.
_start: la      t0, handler
        csrw    mtvec, t0
        li      tp, 0x2000000           # msip
        li      t0, 8
        csrw    mie, t0
        csrsi   mstatus, 8
        li      s11, 60
2:      addi    s4, s4, 3
        beqz    s4, 3f
        addi    s5, s5, 1
3:      addi    s11, s11, -1
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

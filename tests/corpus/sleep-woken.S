# tcglite fuzz program sleep-woken
# irq: msip@8
# A wfi that nothing has ended yet; the line goes up right after it (instruction 8), as if another
# thread had raised it while the hart fell asleep. The hart must wake, and take it when it may.
_start: la      t0, handler
        csrw    mtvec, t0
        li      tp, 0x2000000           # msip
        li      t0, 8
        csrw    mie, t0
        csrci   mstatus, 8
        wfi
        li      s4, 1
        csrsi   mstatus, 8
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

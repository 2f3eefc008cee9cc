# tcglite fuzz program mid-block
# mechanisms: restore=eager
# A store in mid-block raises the line in every round of a loop of chained blocks: the rest of the
# block still runs, the next one does not.
_start: la      t0, handler
        csrw    mtvec, t0
        li      tp, 0x2000000           # msip
        li      t0, 8
        csrw    mie, t0
        csrsi   mstatus, 8
        li      s11, 20
2:      addi    s4, s4, 3
        sw      s11, 0(tp)              # up when odd
        add     s5, s5, s4
        bltz    s5, 3f
        xor     s6, s6, s5
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

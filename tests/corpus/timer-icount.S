# tcglite fuzz program timer-icount
# icount: 1
# Time is instructions: the clock is read in mid-block, a timer ends a loop, and a wfi skips to the
# next one.
_start: la      t0, vectors + 1
        csrw    mtvec, t0
        li      s0, 0x2004000           # mtimecmp
        li      s1, 0x200bff8           # mtime
        li      t0, -1
        sd      t0, 0(s0)
        li      t0, 0x80
        csrw    mie, t0
        csrsi   mstatus, 8
        addi    s4, s4, 1
        ld      a0, 0(s1)
        addi    s4, s4, 1
        ld      a1, 0(s1)
        addi    t0, a1, 5
        sd      t0, 0(s0)
2:      addi    s5, s5, 1
        beqz    s3, 2b
        csrci   mstatus, 8
        ld      a2, 0(s1)
        addi    t0, a2, 1000
        sd      t0, 0(s0)
        wfi
        ld      a3, 0(s1)
        csrsi   mstatus, 8
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b
        .option norvc
        .balign 64
vectors:
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        j       vectors + 64
        li      t2, -1
        sd      t2, 0(s0)
        addi    s3, s3, 1
        mret

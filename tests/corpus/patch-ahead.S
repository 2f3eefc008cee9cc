# tcglite fuzz program patch-ahead
# An instruction further on in the block that is running is overwritten; fence.i comes before it.
_start: .option norvc
        la      t0, 2f
        li      t1, 0x12300513          # li a0, 0x123
        sw      t1, 0(t0)
        fence.i
        li      a1, 1
2:      li      a0, 1
        add     a2, a0, a1
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b

# clockread: reads the clock in the middle of a block
#
# Shows:  a device read in mid-block. Under icount the time must be that of this very instruction, so
#         the block is rewound and the access runs as the last instruction of a block of its own.
# Watch:  without icount: one block for each round. With icount: the rewinding, once, and three blocks
#         from then on. The clock is read as the device's mtime and as the CSR time.
# Prints: that it never went back, and that it moves.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    MTIME,    0x200bff8     # counts at 10 MHz
        .equ    ROUNDS,   50

        .text
        .globl  _start
_start:
        la      t0, panic
        csrw    mtvec, t0
        li      s10, MTIME
        li      s11, ROUNDS
        ld      s0, 0(s10)              # the latest time seen
        mv      s5, s0                  # the first one

read:
        addi    s1, s1, 1
        ld      s2, 0(s10)
        addi    s1, s1, 1
        ld      s3, 0(s10)
        addi    s1, s1, 1
        rdtime  s4
        bltu    s2, s0, went_back
        bltu    s3, s2, went_back
        bltu    s4, s3, went_back
        mv      s0, s4
        addi    s11, s11, -1
        bnez    s11, read

        addi    s5, s5, 200             # 20 microseconds after the start
moves:
        ld      s2, 0(s10)
        bltu    s2, s5, moves

        mv      a0, s1
        jal     putdec
        la      a0, text_good
        jal     puts
        li      a0, 0
        j       exit

went_back:
        la      a0, text_bad
        jal     puts
        li      a0, 2
        j       exit

        .data
        .balign 4096                    # data has its own page, apart from the code
text_good:
        .asciz  " reads: the clock never went back, and it moves\n"
text_bad:
        .asciz  "THE CLOCK WENT BACK\n"

# ---- console, exit and the last resort: the same lines in every guest ----

        .text

puts:                                   # print the text at a0, which ends with a zero byte
        lbu     t0, 0(a0)
        beqz    t0, puts_end
        li      t1, UART
puts_next:
        sb      t0, 0(t1)               # the board's UART takes a byte at once
        addi    a0, a0, 1
        lbu     t0, 0(a0)
        bnez    t0, puts_next
puts_end:
        ret

putdec:                                 # print the number in a0
        li      a1, 10
        j       putnum
puthex:                                 # print the number in a0 in base 16
        li      a1, 16
putnum:                                 # print the number in a0 in base a1
        li      t1, 1                   # the weight of the first digit
putnum_weigh:
        divu    t0, a0, t1
        bltu    t0, a1, putnum_digit
        mul     t1, t1, a1
        j       putnum_weigh
putnum_digit:
        divu    t0, a0, t1
        remu    a0, a0, t1
        li      t2, 10
        bltu    t0, t2, putnum_put
        addi    t0, t0, 39              # from '9' + 1 to 'a'
putnum_put:
        addi    t0, t0, '0'
        li      t2, UART
        sb      t0, 0(t2)
        divu    t1, t1, a1
        bnez    t1, putnum_digit
        ret

panic:                                  # a trap that nobody expected: say so, end with code 1
        la      a0, panic_cause
        jal     puts
        csrr    a0, mcause
        jal     puthex
        la      a0, panic_epc
        jal     puts
        csrr    a0, mepc
        jal     puthex
        la      a0, panic_tval
        jal     puts
        csrr    a0, mtval
        jal     puthex
        la      a0, newline
        jal     puts
        li      a0, 1
exit:                                   # end the machine; a0 is the exit code
        li      t0, FINISHER
        li      t1, 0x5555              # pass
        beqz    a0, exit_store
        slli    a0, a0, 16
        li      t1, 0x3333              # fail, with the code in the upper half
        or      t1, t1, a0
exit_store:
        sw      t1, 0(t0)
exit_wait:
        j       exit_wait

        .data
panic_cause:
        .asciz  "unexpected trap: cause 0x"
panic_epc:
        .asciz  " at 0x"
panic_tval:
        .asciz  " tval 0x"
newline:
        .asciz  "\n"

# timer: a timer interrupts a busy loop ten times
#
# Shows:  an asynchronous interrupt. The loop of three blocks (head, even, tail) is chained and never
#         asks about time; the timer raises its line from outside, every 50 ms.
# Watch:  raised, flag set, refused (the next block has not begun), taken with mepc = that block.
#         After the handler the loop goes on at that very block, which is not translated again.
# Prints: tick 1 ... tick 10, then that the counters of the loop agree: no block was left half done.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    MTIMECMP, 0x2004000
        .equ    MTIME,    0x200bff8
        .equ    PERIOD,   500000        # 50 ms: mtime counts at 10 MHz
        .equ    TICKS,    10
        .equ    MTIE,     0x80          # bit 7 of mie: timer interrupts
        .equ    MIE,      8             # bit 3 of mstatus: interrupts at all

# The loop uses s0..s5 only. The handler uses a and t registers and s9..s11, and saves nothing.

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      s10, MTIMECMP
        li      t0, -1
        sd      t0, 0(s10)              # at reset mtimecmp is 0, so a timer interrupt is pending
        li      t0, MTIME
        ld      s11, 0(t0)
        li      t0, PERIOD
        add     s11, s11, t0
        sd      s11, 0(s10)             # the first tick
        li      t0, MTIE
        csrw    mie, t0
        csrsi   mstatus, MIE

head:                                   # every round
        addi    s0, s0, 1
        slli    s3, s0, 3
        xor     s4, s4, s3
        andi    s5, s0, 1
        bnez    s5, tail
even:                                   # every second round
        addi    s1, s1, 1
        add     s4, s4, s1
tail:                                   # every round
        addi    s2, s2, 1
        j       head

handler:
        csrr    t0, mcause
        bgez    t0, panic               # not an interrupt
        li      t0, PERIOD
        add     s11, s11, t0
        sd      s11, 0(s10)             # the next tick; this drops the line
        addi    s9, s9, 1
        la      a0, tick
        jal     puts
        mv      a0, s9
        jal     putdec
        la      a0, newline
        jal     puts
        li      t0, TICKS
        beq     s9, t0, finish
        mret

finish:
        sub     t0, s0, s2              # head runs first, so it is at most one ahead of tail
        li      t1, 1
        bgtu    t0, t1, wrong
        sub     t0, s2, s1
        sub     t0, t0, s1              # tail runs twice for each even: 0 or 1 ahead, or 1 behind
        addi    t0, t0, 1
        li      t1, 2
        bgtu    t0, t1, wrong
        la      a0, agree
        jal     puts
        li      a0, 0
        j       exit
wrong:
        la      a0, differ
        jal     puts
        li      a0, 2
        j       exit

        .data
        .balign 4096                    # data has its own page, apart from the code
tick:
        .asciz  "tick "
agree:
        .asciz  "the counters agree\n"
differ:
        .asciz  "THE COUNTERS DIFFER\n"

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

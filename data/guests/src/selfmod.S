# selfmod: a program that changes its own code
#
# Shows:  translated blocks are copies. A store to a page that holds code throws the copies away, and
#         fence.i makes sure that the new instructions are fetched.
# Watch:  which blocks are invalidated and translated again, and the links to them that are undone.
#         In the loop the block that runs is the one that is being changed.
# Prints: what a function returns before and after it was changed, then the total of a loop that counts
#         in ones for five rounds and, having changed its own addi, in hundreds for five more: 505.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000

        .text
        .globl  _start
_start:
        la      t0, panic
        csrw    mtvec, t0

        la      a0, text_before
        jal     puts
        jal     function
        mv      s1, a0
        jal     putdec

        la      t0, function            # 1. change another block
        la      t1, function_new
        lw      t1, 0(t1)
        sw      t1, 0(t0)
        fence.i
        la      a0, text_after
        jal     puts
        jal     function
        add     s1, s1, a0              # 1 + 2
        jal     putdec

        li      s0, 0                   # 2. change the block that is running
        li      s2, 10                  # rounds to go
        la      s3, step
        la      s4, step_new
        lw      s4, 0(s4)
loop:
        li      t0, 5
        bne     s2, t0, step            # after five rounds, and only then:
        sw      s4, 0(s3)               # change the instruction at step, two ahead of this one
        fence.i
step:
        addi    s0, s0, 1               # will become addi s0, s0, 100
        addi    s2, s2, -1
        bnez    s2, loop

        la      a0, text_total
        jal     puts
        mv      a0, s0
        jal     putdec
        la      a0, newline
        jal     puts

        addi    a0, s1, -3
        addi    t0, s0, -505
        or      a0, a0, t0
        snez    a0, a0                  # 0 if both are right
        j       exit

function:
        li      a0, 1                   # will become li a0, 2
        ret

# Never executed here: only copied from.
function_new:
        li      a0, 2
step_new:
        addi    s0, s0, 100

        .data
        .balign 4096                    # data has its own page, apart from the code
text_before:
        .asciz  "function before: "
text_after:
        .asciz  "\nfunction after : "
text_total:
        .asciz  "\nloop total     : "

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

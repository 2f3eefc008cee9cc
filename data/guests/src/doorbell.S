# doorbell: the program interrupts itself in the middle of a block
#
# Shows:  an interrupt that is raised within a block is taken at the head of the next one. The store to
#         msip comes after 0, 3 and 8 instructions of a block; the rest of the block still runs.
# Watch:  raised in mid-block, the flag set, the next block refused 0/n, mepc = that block. Each block and
#         the way to the next one have been used three times before, so that they are translated and linked.
# Prints: where the interrupt was taken, counted in bytes from the head of the block that rang.
#
# Machines that let a device access only be the last instruction of a block (QEMU since 8.2, or any
# with icount) cut the block behind the store, and take the interrupt there: at +4, +16 and +36.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    MSIP,     0x2000000
        .equ    MSIE,     8             # bit 3 of mie: software interrupts
        .equ    MIE,      8             # bit 3 of mstatus: interrupts at all

# a1: where the block stores, the doorbell or plain memory. s0: counts instructions of the block.
# s3: head of the block   s4: head of the next   s5: mepc   s6: how often the handler ran
# s7: the handler's own   s9: its copy of s0   s10: msip   s11: 1

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      s10, MSIP
        li      s11, 1
        li      t0, MSIE
        csrw    mie, t0
        csrsi   mstatus, MIE

        la      a0, text_0
        la      s3, ring_0
        la      s4, next_0
        jal     try
        la      a0, text_3
        la      s3, ring_3
        la      s4, next_3
        jal     try
        la      a0, text_8
        la      s3, ring_8
        la      s4, next_8
        jal     try
        addi    a0, s6, -3              # three interrupts: pass
        j       exit

ring_0:                                 # rings with its first instruction
        sw      s11, 0(a1)
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        j       next_0
next_0:
        ret

ring_3:                                 # rings after three instructions
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        sw      s11, 0(a1)
        addi    s0, s0, 1
        addi    s0, s0, 1
        j       next_3
next_3:
        ret

ring_8:                                 # rings after eight instructions
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        addi    s0, s0, 1
        sw      s11, 0(a1)
        addi    s0, s0, 1
        j       next_8
next_8:
        ret

try:                                    # run the block at s3 three times for practice, then ring
        mv      s8, ra
        mv      s1, a0
        la      a1, plain_memory
        li      s2, 3
try_practice:
        jalr    s3
        addi    s2, s2, -1
        bnez    s2, try_practice
        mv      a1, s10
        li      s0, 0
        jalr    s3                      # this time it rings
        mv      a0, s1
        jal     puts
        sub     a0, s5, s3
        jal     putdec
        la      a0, text_next
        jal     puts
        sub     a0, s4, s3
        jal     putdec
        la      a0, text_count
        jal     puts
        mv      a0, s9
        jal     putdec
        la      a0, newline
        jal     puts
        jr      s8

handler:
        csrr    s7, mcause              # nothing but s registers of its own: it may come anywhere
        bgez    s7, panic               # not an interrupt
        csrr    s5, mepc
        mv      s9, s0
        sw      zero, 0(s10)            # drop the line
        addi    s6, s6, 1
        mret

        .data
        .balign 4096                    # data has its own page, apart from the code
plain_memory:
        .dword  0
text_0:
        .asciz  "rung after 0: taken at +"
text_3:
        .asciz  "rung after 3: taken at +"
text_8:
        .asciz  "rung after 8: taken at +"
text_next:
        .asciz  ", next block at +"
text_count:
        .asciz  ", additions done: "

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

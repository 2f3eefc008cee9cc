# fault: loads and stores that fail in the middle of a block
#
# Shows:  "unexpected" exceptions. The address 0x18000000 is a hole in the board's map, but the translator
#         cannot know that the register will hold it. The exact pc is found afterwards, from the host pc.
# Watch:  pc in the CPU's state is stale at that moment. What the block did before the fault is kept, what
#         comes after it has not been done; after mret a new block starts behind the fault.
# Prints: cause, mepc from the head of the block, mtval, and the registers a1 (set before the fault)
#         and a2 (set after it) as the handler found them.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    HOLE,     0x18000000

# s0: head of the block. s2..s6: cause, mepc, mtval, a1 and a2, as the handler found them. s9 counts.

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      a0, HOLE
        li      a2, 0

        la      s0, load_block
        j       load_block
load_block:
        li      a1, 11
        addi    a1, a1, 1
        ld      a3, 8(a0)               # cause 5
        li      a2, 99
        la      a0, text_load
        jal     report

        la      s0, store_block
        j       store_block
store_block:
        li      a1, 21
        addi    a1, a1, 1
        addi    a1, a1, 1
        sw      a1, 16(a0)              # cause 7
        li      a2, 99
        la      a0, text_store
        jal     report

        mv      s0, a0                  # a block that would begin in the hole
        j       fetch_block
fetch_block:
        li      a1, 41
        la      s1, fetch_back
        jr      a0                      # cause 1, with mepc = mtval = the hole
fetch_back:
        li      a2, 99
        la      a0, text_fetch
        jal     report

        addi    a0, s9, -3              # three faults: pass
        j       exit

handler:
        csrr    s2, mcause
        bltz    s2, panic               # an interrupt
        csrr    s3, mepc
        csrr    s4, mtval
        mv      s5, a1
        mv      s6, a2
        addi    s9, s9, 1
        li      t0, 1
        beq     s2, t0, handler_fetch
        addi    t0, s3, 4               # go on behind the load or store
        csrw    mepc, t0
        mret
handler_fetch:
        csrw    mepc, s1                # there is nothing behind it: go back
        mret

report:                                 # print the text at a0 and what the handler found
        mv      s8, ra
        jal     puts
        mv      a0, s2
        jal     putdec
        la      a0, text_epc
        jal     puts
        sub     a0, s3, s0
        jal     putdec
        la      a0, text_tval
        jal     puts
        mv      a0, s4
        jal     puthex
        la      a0, text_before
        jal     puts
        mv      a0, s5
        jal     putdec
        la      a0, text_after
        jal     puts
        mv      a0, s6
        jal     putdec
        la      a0, newline
        jal     puts
        li      a0, HOLE
        li      a2, 0
        jr      s8

        .data
        .balign 4096                    # data has its own page, apart from the code
text_load:
        .asciz  "load : cause "
text_store:
        .asciz  "store: cause "
text_fetch:
        .asciz  "fetch: cause "
text_epc:
        .asciz  " at +"
text_tval:
        .asciz  " tval 0x"
text_before:
        .asciz  ", before "
text_after:
        .asciz  ", after "

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

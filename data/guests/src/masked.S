# masked: interrupts held off during a critical section
#
# Shows:  a transfer between two accounts (s2 and s3) takes two steps. The handler adds them up. When
#         it comes between the steps it sees 10 too little, unless interrupts are masked meanwhile.
# Watch:  masked, the line stays high and the request stays pending, but the blocks run as if nothing
#         had happened (looked once, not enabled). After csrsi it is taken at the very next instruction.
#         No block is refused then: an instruction that may unmask always goes back to the loop.
# Prints: the sum that the handler saw, and where it came.
#
# The interrupt is the doorbell: the program itself stores 1 to msip.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    MSIP,     0x2000000
        .equ    MSIE,     8             # bit 3 of mie: software interrupts
        .equ    MIE,      8             # bit 3 of mstatus: interrupts at all

# s2, s3: the accounts. s4: the sum the handler saw. s5: mepc. s6: how often it ran. s9: the handler's own.
# s10: msip. s11: 1.

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      s10, MSIP
        li      s11, 1
        li      s2, 60
        li      s3, 40
        li      t0, MSIE
        csrw    mie, t0
        csrsi   mstatus, MIE

open_take:                              # 1. nothing masked
        addi    s2, s2, -10
        sw      s11, 0(s10)             # ring
        j       open_give
open_give:
        addi    s3, s3, 10
        la      a0, open_text
        jal     report

        csrci   mstatus, MIE
closed_take:                            # 2. masked
        addi    s2, s2, -10
        sw      s11, 0(s10)             # ring: pending from here on
        j       closed_give
closed_give:
        addi    s3, s3, 10
        csrsi   mstatus, MIE
closed_after:
        la      a0, closed_text
        jal     report
        la      s7, closed_after
        jal     where

        csrw    mie, zero
twice_take:                             # 3. masked with mie instead, two rings
        addi    s2, s2, -10
        sw      s11, 0(s10)
        j       twice_give
twice_give:
        addi    s3, s3, 10
        sw      s11, 0(s10)
        li      t0, MSIE
        csrw    mie, t0
twice_after:
        la      a0, twice_text
        jal     report
        la      s7, twice_after
        jal     where

        la      a0, count_text
        jal     puts
        mv      a0, s6
        jal     putdec
        la      a0, newline
        jal     puts
        addi    a0, s6, -3              # three interrupts: pass
        j       exit

handler:
        csrr    s9, mcause              # nothing but s registers of its own: it may come anywhere
        bgez    s9, panic               # not an interrupt
        sw      zero, 0(s10)            # drop the line
        add     s4, s2, s3
        csrr    s5, mepc
        addi    s6, s6, 1
        mret

report:                                 # print the text at a0 and what the handler saw
        mv      s8, ra
        jal     puts
        mv      a0, s4
        jal     putdec
        la      a0, newline
        jal     puts
        jr      s8

where:                                  # print how far behind s7 the handler came
        mv      s8, ra
        la      a0, where_text
        jal     puts
        sub     a0, s5, s7
        jal     putdec
        la      a0, bytes_text
        jal     puts
        jr      s8

        .data
        .balign 4096                    # data has its own page, apart from the code
open_text:
        .asciz  "not masked      : the handler saw "
closed_text:
        .asciz  "mstatus.MIE = 0 : the handler saw "
twice_text:
        .asciz  "mie = 0, 2 rings: the handler saw "
where_text:
        .asciz  "                  "
bytes_text:
        .asciz  " bytes after the unmasking instruction\n"
count_text:
        .asciz  "interrupts taken: "

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

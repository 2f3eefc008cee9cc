# echo: the UART interrupts once for each key
#
# Shows:  the whole way of an external interrupt: UART -> PLIC (source 10) -> MEIP -> flag -> the next
#         block's head -> handler -> claim, read the byte, complete -> back into the loop.
# Watch:  the line uart stays high until the handler has read the byte, not until it is taken.
# Type:   letters come back with their case swapped, other keys as [k]; q ends.
# Prints: for the keys "Hello 1q":   hELLO[ ][1]   and then "7 keys".

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000    # +0 data, +1 interrupt enable, +5 line status
        .equ    FINISHER, 0x100000
        .equ    PLIC,     0xc000000     # priorities of the sources, 4 bytes each
        .equ    PLIC_ENABLE, 0xc002000  # one bit for each source
        .equ    PLIC_HART,   0xc200000  # +0 threshold, +4 claim and complete
        .equ    MEIE,     0x800         # bit 11 of mie: external interrupts
        .equ    MIE,      8             # bit 3 of mstatus: interrupts at all

# The loop uses s0..s3 only. The handler uses a and t registers and s8..s11, and saves nothing.

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        la      a0, welcome
        jal     puts
        li      t0, PLIC
        li      t1, 1
        sw      t1, 40(t0)              # source 10 has priority 1
        li      t0, PLIC_ENABLE
        li      t1, 0x400
        sw      t1, 0(t0)               # source 10 is let through
        li      s10, PLIC_HART
        sw      zero, 0(s10)            # threshold 0: every priority from 1 up
        li      s11, UART
        li      t1, 1
        sb      t1, 1(s11)              # interrupt when a byte has come
        li      t0, MEIE
        csrw    mie, t0
        csrsi   mstatus, MIE

head:                                   # every round
        addi    s0, s0, 1
        andi    s3, s0, 1
        bnez    s3, tail
even:                                   # every second round
        addi    s1, s1, 1
tail:                                   # every round
        addi    s2, s2, 1
        j       head

handler:
        csrr    t0, mcause
        bgez    t0, panic               # not an interrupt
        lw      s8, 4(s10)              # claim: the number of the source
        lbu     t0, 5(s11)
        andi    t0, t0, 1
        beqz    t0, complete            # no byte there: somebody else pulled the line
        lbu     a2, 0(s11)              # take the byte; this drops the line
        li      t0, 'q'
        beq     a2, t0, finish
        addi    s9, s9, 1
        ori     t0, a2, 0x20            # lower case
        addi    t0, t0, -97             # 'a' becomes 0
        li      t1, 26
        bltu    t0, t1, letter
other:
        li      t0, '['
        sb      t0, 0(s11)
        sb      a2, 0(s11)
        li      t0, ']'
        sb      t0, 0(s11)
        j       complete
letter:
        xori    a2, a2, 0x20            # swap the case
        sb      a2, 0(s11)
complete:
        sw      s8, 4(s10)              # the PLIC may send source 10 again
        mret

finish:
        la      a0, newline
        jal     puts
        mv      a0, s9
        jal     putdec
        la      a0, keys
        jal     puts
        li      a0, 0
        j       exit

        .data
        .balign 4096                    # data has its own page, apart from the code
welcome:
        .asciz  "Type; q ends.\n"
keys:
        .asciz  " keys\n"

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

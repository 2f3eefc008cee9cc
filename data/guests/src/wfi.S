# wfi: sleeping until something happens
#
# Shows:  wfi halts the hart until an interrupt is pending that mie lets through. It wakes with mstatus.MIE
#         off, too; then there is no trap, and the program goes on behind wfi.
# Watch:  no instruction runs while the hart sleeps. With MIE on mepc is the instruction behind wfi.
# Prints: three naps with interrupts on, two with interrupts off.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    MTIMECMP, 0x2004000
        .equ    MTIME,    0x200bff8
        .equ    NAP,      300000        # 30 ms: mtime counts at 10 MHz
        .equ    MTIE,     0x80          # bit 7 of mie and of mip: timer interrupts
        .equ    MIE,      8             # bit 3 of mstatus: interrupts at all

# s7: mtimecmp   s8: mtime   s9: how often the handler ran   s10: mepc, as the handler found it

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      s7, MTIMECMP
        li      s8, MTIME
        li      t0, MTIE
        csrw    mie, t0

        li      s0, 3
        la      s1, woken_on
nap_on:
        jal     set_alarm               # the first time, too: at reset mtimecmp is 0
        li      s10, 0
        csrsi   mstatus, MIE
sleep_on:
        wfi
woken_on:
        bne     s10, s1, sleep_on       # had the alarm come before wfi, there would be no nap
        csrci   mstatus, MIE
        la      a0, text_on
        jal     puts
        addi    s0, s0, -1
        bnez    s0, nap_on

        mv      s2, s9
        li      s0, 2
nap_off:
        jal     set_alarm
sleep_off:
        wfi
woken_off:
        csrr    t0, mip
        andi    t0, t0, MTIE
        beqz    t0, sleep_off           # wfi may end early: look before believing
        la      a0, text_off
        jal     puts
        addi    s0, s0, -1
        bnez    s0, nap_off

        sub     a0, s9, s2              # 0: the handler did not run meanwhile
        j       exit

set_alarm:                              # NAP from now; this drops the line
        ld      t0, 0(s8)
        li      t1, NAP
        add     t0, t0, t1
        sd      t0, 0(s7)
        ret

handler:                                # may use t0, t1 and ra: around wfi nobody else does
        csrr    t0, mcause
        bgez    t0, panic               # not an interrupt
        csrr    s10, mepc
        addi    s9, s9, 1
        jal     set_alarm
        mret

        .data
        .balign 4096                    # data has its own page, apart from the code
text_on:
        .asciz  "interrupts on : a trap, from the instruction behind wfi\n"
text_off:
        .asciz  "interrupts off: woken without a trap\n"

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

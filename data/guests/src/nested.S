# nested: interrupts that interrupt handlers
#
# Shows:  each handler lets through only what is above itself, by way of mie, and then unmasks:
#         external (E) is above software (S), software is above timer (T). And the PLIC's threshold.
# Watch:  mepc, mstatus and mie are saved before the unmasking; forget one and the way back is lost.
#         Handlers are bands inside bands.
# Prints: <T<S<E>>> means that S came while T was being handled, and E while S was.
#
# All three are raised by the program itself: msip, mtimecmp = 0, and the UART's "transmitter empty".

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000    # +0 data, +1 interrupt enable
        .equ    FINISHER, 0x100000
        .equ    MSIP,     0x2000000
        .equ    MTIMECMP, 0x2004000
        .equ    PLIC,     0xc000000     # priorities of the sources, 4 bytes each
        .equ    PLIC_ENABLE, 0xc002000  # one bit for each source
        .equ    PLIC_HART,   0xc200000  # +0 threshold, +4 claim and complete
        .equ    S,        0x8           # the bits of mie: software,
        .equ    T,        0x80          #     timer,
        .equ    E,        0x800         #     external
        .equ    ALL,      0x888
        .equ    MIE,      8             # bit 3 of mstatus: interrupts at all

# s1: 1 = each handler raises the next higher interrupt, 2 = E raises the lower two, 0 = none is raised
# s7: msip   s8: mtimecmp   s9: PLIC_HART   s10: UART   s11: -1, a time that never comes

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        la      sp, stack_top
        li      s7, MSIP
        li      s8, MTIMECMP
        li      s9, PLIC_HART
        li      s10, UART
        li      s11, -1
        sd      s11, 0(s8)              # at reset mtimecmp is 0, so a timer interrupt is pending
        li      t0, PLIC
        li      t1, 1
        sw      t1, 40(t0)              # source 10, the UART, has priority 1
        li      t0, PLIC_ENABLE
        li      t1, 0x400
        sw      t1, 0(t0)               # source 10 is let through
        sw      zero, 0(s9)             # threshold 0

upwards:
        la      a0, text_up
        jal     puts
        li      s1, 1
        jal     raise_timer
        jal     take

downwards:
        la      a0, text_down
        jal     puts
        li      s1, 2
        jal     raise_external
        jal     take

threshold:
        la      a0, text_held
        jal     puts
        li      s1, 0
        li      t0, 1
        sw      t0, 0(s9)               # only priorities above 1 from here on
        jal     raise_external
        jal     take                    # nothing there to take
        la      a0, text_let
        jal     puts
        sw      zero, 0(s9)             # the source has been waiting all the time
        jal     take
        li      a0, 0
        j       exit

take:                                   # let everything through that is pending
        li      t0, ALL
        csrw    mie, t0
        csrsi   mstatus, MIE
        csrci   mstatus, MIE            # all handlers have run by now
        la      a0, newline
        j       puts

raise_timer:
        sd      zero, 0(s8)             # mtime >= 0: now
        ret
raise_software:
        li      t0, 1
        sw      t0, 0(s7)
        ret
raise_external:
        li      t0, 2
        sb      t0, 1(s10)              # interrupt when the transmitter is empty: it is
        ret

handler:
        addi    sp, sp, -80
        sd      ra, 0(sp)
        sd      a0, 8(sp)
        sd      a1, 16(sp)
        sd      t0, 24(sp)
        sd      t1, 32(sp)
        sd      t2, 40(sp)
        csrr    t0, mepc                # a nested interrupt will overwrite these three
        sd      t0, 48(sp)
        csrr    t0, mstatus
        sd      t0, 56(sp)
        csrr    t0, mie
        sd      t0, 64(sp)
        csrr    t0, mcause
        bgez    t0, panic               # not an interrupt
        andi    t0, t0, 15
        li      t1, 3
        beq     t0, t1, software
        li      t1, 7
        beq     t0, t1, timer

external:
        sb      zero, 1(s10)            # drop the line
        lw      t0, 4(s9)               # claim
        sw      t0, 4(s9)               # complete
        la      a0, text_e
        jal     puts
        csrw    mie, zero               # nothing is above E
        csrsi   mstatus, MIE
        addi    t0, s1, -2
        bnez    t0, leave
        jal     raise_software          # these two wait until E is done
        jal     raise_timer
        j       leave

software:
        sw      zero, 0(s7)             # drop the line
        la      a0, text_s
        jal     puts
        li      t0, E                   # only E is above S
        csrw    mie, t0
        csrsi   mstatus, MIE
        addi    t0, s1, -1
        bnez    t0, leave
        jal     raise_external
software_wait:
        lbu     t0, 1(s10)              # E's handler clears it
        bnez    t0, software_wait
        j       leave

timer:
        sd      s11, 0(s8)              # drop the line
        la      a0, text_t
        jal     puts
        li      t0, S + E               # S and E are above T
        csrw    mie, t0
        csrsi   mstatus, MIE
        addi    t0, s1, -1
        bnez    t0, leave
        jal     raise_software
timer_wait:
        lw      t0, 0(s7)               # S's handler clears it
        bnez    t0, timer_wait

leave:
        csrci   mstatus, MIE            # from here to mret nobody may come in between
        la      a0, text_leave
        jal     puts
        ld      t0, 64(sp)
        csrw    mie, t0
        ld      t0, 56(sp)
        csrw    mstatus, t0
        ld      t0, 48(sp)
        csrw    mepc, t0
        ld      t2, 40(sp)
        ld      t1, 32(sp)
        ld      t0, 24(sp)
        ld      a1, 16(sp)
        ld      a0, 8(sp)
        ld      ra, 0(sp)
        addi    sp, sp, 80
        mret

        .data
        .balign 4096                    # data has its own page, apart from the code
        .zero   1024
stack_top:
text_up:
        .asciz  "each one higher : "
text_down:
        .asciz  "lower ones wait : "
text_held:
        .asciz  "threshold 1     : held back"
text_let:
        .asciz  "threshold 0     : "
text_e:
        .asciz  "<E"
text_s:
        .asciz  "<S"
text_t:
        .asciz  "<T"
text_leave:
        .asciz  ">"

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

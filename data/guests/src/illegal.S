# illegal: the handler does what the machine cannot
#
# Shows:  an instruction that no RISC-V machine has (here: "count the ones of rs1 into rd", in the
#         opcode space custom-0) traps; M mode decodes it from mtval, does its work and returns behind it.
# Watch:  the illegal instruction is found by the translator, so it ends its block and the trap is an
#         expected one. mtval holds the instruction's bits.
# Prints: three counts, and how many instructions were emulated.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    CUSTOM_0, 0x0b          # the opcode, bits 6 to 0

# mscratch points to the frame, in which register xN is kept at 8 * N.

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        la      t0, frame
        csrw    mscratch, t0

        li      a1, 0xff
count_ff:
        .word   0x0005850b              # count a0, a1
        jal     report
        li      s1, -1
count_all:
        .word   0x0004850b              # count a0, s1
        jal     report
        li      t5, 0x12345678
count_mixed:
        .word   0x000f0f8b              # count t6, t5
        mv      a0, t6
        jal     report

        la      a0, text_traps
        jal     puts
        mv      a0, s9
        jal     putdec
        la      a0, newline
        jal     puts
        li      a0, 0
        j       exit

report:                                 # print the count in a0
        mv      s0, a0
        mv      s8, ra
        la      a0, text_ones
        jal     puts
        mv      a0, s0
        jal     putdec
        la      a0, newline
        jal     puts
        jr      s8

handler:
        csrrw   sp, mscratch, sp        # sp = frame
        sd      zero, 0(sp)
        sd      x1, 8(sp)
        sd      x3, 24(sp)
        sd      x4, 32(sp)
        sd      x5, 40(sp)
        sd      x6, 48(sp)
        sd      x7, 56(sp)
        sd      x8, 64(sp)
        sd      x9, 72(sp)
        sd      x10, 80(sp)
        sd      x11, 88(sp)
        sd      x12, 96(sp)
        sd      x13, 104(sp)
        sd      x14, 112(sp)
        sd      x15, 120(sp)
        sd      x16, 128(sp)
        sd      x17, 136(sp)
        sd      x18, 144(sp)
        sd      x19, 152(sp)
        sd      x20, 160(sp)
        sd      x21, 168(sp)
        sd      x22, 176(sp)
        sd      x23, 184(sp)
        sd      x24, 192(sp)
        sd      x25, 200(sp)
        sd      x26, 208(sp)
        sd      x27, 216(sp)
        sd      x28, 224(sp)
        sd      x29, 232(sp)
        sd      x30, 240(sp)
        sd      x31, 248(sp)
        csrr    t0, mscratch
        sd      t0, 16(sp)              # x2, the program's sp

        csrr    t0, mcause
        li      t1, 2
        bne     t0, t1, panic           # not an illegal instruction
        csrr    t0, mtval               # its bits
        andi    t1, t0, 0x7f
        li      t2, CUSTOM_0
        bne     t1, t2, panic           # not ours
        srli    t1, t0, 15
        andi    t1, t1, 31              # the number of rs1
        slli    t1, t1, 3
        add     t1, t1, sp
        ld      t1, 0(t1)               # its value
        li      t2, 0
count_bit:
        beqz    t1, counted
        addi    t3, t1, -1
        and     t1, t1, t3              # clears the lowest one
        addi    t2, t2, 1
        j       count_bit
counted:
        srli    t1, t0, 7
        andi    t1, t1, 31              # the number of rd
        slli    t1, t1, 3
        add     t1, t1, sp
        sd      t2, 0(t1)
        ld      t0, 200(sp)             # s9 counts
        addi    t0, t0, 1
        sd      t0, 200(sp)
        csrr    t0, mepc
        addi    t0, t0, 4               # go on behind the instruction
        csrw    mepc, t0

        ld      t0, 16(sp)
        csrw    mscratch, t0
        ld      x1, 8(sp)
        ld      x3, 24(sp)
        ld      x4, 32(sp)
        ld      x5, 40(sp)
        ld      x6, 48(sp)
        ld      x7, 56(sp)
        ld      x8, 64(sp)
        ld      x9, 72(sp)
        ld      x10, 80(sp)
        ld      x11, 88(sp)
        ld      x12, 96(sp)
        ld      x13, 104(sp)
        ld      x14, 112(sp)
        ld      x15, 120(sp)
        ld      x16, 128(sp)
        ld      x17, 136(sp)
        ld      x18, 144(sp)
        ld      x19, 152(sp)
        ld      x20, 160(sp)
        ld      x21, 168(sp)
        ld      x22, 176(sp)
        ld      x23, 184(sp)
        ld      x24, 192(sp)
        ld      x25, 200(sp)
        ld      x26, 208(sp)
        ld      x27, 216(sp)
        ld      x28, 224(sp)
        ld      x29, 232(sp)
        ld      x30, 240(sp)
        ld      x31, 248(sp)
        csrrw   sp, mscratch, sp        # mscratch = frame again
        mret

        .data
        .balign 4096                    # data has its own page, apart from the code
frame:
        .zero   256
text_ones:
        .asciz  "ones: "
text_traps:
        .asciz  "emulated instructions: "

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

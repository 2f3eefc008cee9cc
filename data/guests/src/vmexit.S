# vmexit: a small monitor in M mode runs a guest that must not touch the machine
#
# Shows:  trap and emulate, the oldest kind of virtual machine. In U mode wfi (mstatus.TW = 1) and the
#         CSRs of M mode trap; the monitor does what they would do, on the guest's own copies.
# Watch:  every exit is an expected exception: found by the translator or raised by a helper that has the
#         exact pc. The guest believes that it runs on hart 7.
# Prints: one line for each exit, with its offset in the guest, and the number that the guest hands over.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    MTIMECMP, 0x2004000
        .equ    MTIME,    0x200bff8
        .equ    WFI,      0x10500073
        .equ    SYSTEM,   0x73          # the opcode of CSR instructions, bits 6 to 0
        .equ    MSCRATCH, 0x340
        .equ    MHARTID,  0xf14
        .equ    MPP_TW,   0x201800      # bits 11, 12 and 21 of mstatus
        .equ    TW,       0x200000      # bit 21: wfi below M mode traps
        .equ    MTIE,     0x80          # bit 7 of mie and of mip: timer interrupts

# The frame: register xN of the guest at 8 * N, then its own copies of two CSRs:
        .equ    V_MHARTID,  256
        .equ    V_MSCRATCH, 264

        .text
        .globl  _start
_start:
        la      t0, no_pmp
        csrw    mtvec, t0
        li      t0, -1                  # U mode may touch nothing until the physical memory
        csrw    pmpaddr0, t0            # protection says so. A machine without it traps here,
        li      t0, 0x1f                # and goes on below.
        csrw    pmpcfg0, t0
no_pmp:
        la      t0, monitor
        csrw    mtvec, t0
        la      t0, frame
        csrw    mscratch, t0
        li      t1, 7
        sd      t1, V_MHARTID(t0)
        li      t0, MPP_TW
        csrc    mstatus, t0             # MPP = 0: U mode
        li      t0, TW
        csrs    mstatus, t0
        la      t0, guest
        csrw    mepc, t0
        mret

# ---- the guest, in U mode ----

guest:
        csrr    a0, mhartid             # exit: 7
        mul     a0, a0, a0
        csrw    mscratch, a0            # exit: 49
        li      a0, 0
        wfi                             # exit: sleeps
        csrr    a0, mscratch            # exit: 49
        ecall                           # exit: ends with the number in a0

# ---- the monitor, in M mode ----

monitor:
        csrrw   sp, mscratch, sp        # sp = frame
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
        sd      t0, 16(sp)              # x2, the guest's sp

        la      a0, text_exit
        jal     puts
        csrr    a0, mepc
        la      t0, guest
        sub     a0, a0, t0
        jal     putdec
        csrr    t0, mcause
        li      t1, 8
        beq     t0, t1, exit_ecall
        li      t1, 2
        bne     t0, t1, panic           # not an illegal instruction
        csrr    s0, mtval               # its bits
        li      t1, WFI
        beq     s0, t1, exit_wfi
        andi    t0, s0, 0x7f
        li      t1, SYSTEM
        bne     t0, t1, panic

exit_csr:
        srli    t0, s0, 20              # the number of the CSR
        addi    s1, sp, V_MHARTID
        li      t1, MHARTID
        beq     t0, t1, csr_known
        addi    s1, sp, V_MSCRATCH
        li      t1, MSCRATCH
        bne     t0, t1, panic           # not one that this monitor knows
csr_known:                              # s1 = the guest's copy
        srli    t0, s0, 12
        andi    t0, t0, 7
        li      t1, 1
        beq     t0, t1, csr_write
        li      t1, 2
        bne     t0, t1, panic           # this monitor knows csrw and csrr only
csr_read:
        la      a0, text_read
        jal     puts
        srli    t0, s0, 7
        andi    t0, t0, 31              # the number of rd
        slli    t0, t0, 3
        add     t0, t0, sp
        ld      t1, 0(s1)
        sd      t1, 0(t0)
        j       csr_done
csr_write:
        la      a0, text_write
        jal     puts
        srli    t0, s0, 15
        andi    t0, t0, 31              # the number of rs1
        slli    t0, t0, 3
        add     t0, t0, sp
        ld      t1, 0(t0)
        sd      t1, 0(s1)
csr_done:
        srli    a0, s0, 20
        jal     puthex
        la      a0, text_value
        jal     puts
        ld      a0, 0(s1)
        jal     putdec
        j       resume

exit_wfi:                               # a big monitor would run another guest now; this one
        la      a0, text_wfi            # waits 5 ms itself
        jal     puts
        li      t0, MTIME
        ld      t0, 0(t0)
        li      t1, 50000
        add     t0, t0, t1
        li      t1, MTIMECMP
        sd      t0, 0(t1)
        li      t0, MTIE
        csrw    mie, t0
monitor_waits:
        wfi
        csrr    t0, mip
        andi    t0, t0, MTIE
        beqz    t0, monitor_waits
        csrw    mie, zero

resume:                                 # back to the guest, behind the instruction
        la      a0, newline
        jal     puts
        csrr    t0, mepc
        addi    t0, t0, 4
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

exit_ecall:
        la      a0, text_ecall
        jal     puts
        ld      a0, 80(sp)              # the guest's a0
        jal     putdec
        la      a0, newline
        jal     puts
        ld      a0, 80(sp)
        addi    a0, a0, -49
        snez    a0, a0                  # 7 * 7: pass
        j       exit

        .data
        .balign 4096                    # data has its own page, apart from the code
frame:
        .zero   272
text_exit:
        .asciz  "exit at guest+"
text_read:
        .asciz  ": reads CSR 0x"
text_write:
        .asciz  ": writes CSR 0x"
text_value:
        .asciz  ", value "
text_wfi:
        .asciz  ": wfi"
text_ecall:
        .asciz  ": ends with "

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

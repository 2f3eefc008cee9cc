# fpu_off: the floating point unit is switched on when it is first needed
#
# Shows:  with mstatus.FS = 0 every FP instruction is illegal. The handler switches FS on and returns to
#         the same instruction: systems do so to save FP registers only for tasks that use them.
# Watch:  FS is part of a block's key: the block at load_value is translated twice, once for FS = 0 (a
#         trap) and once for FS = 1. After the first write to an FP register FS is 3, "dirty".
# Prints: the bits of -1.5, made by sign injection, and how often the handler ran.
#
# Only FP loads, stores, moves and sign injection are used: no arithmetic.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    FS,       0x6000        # bits 13 and 14 of mstatus
        .equ    FS_INITIAL, 0x2000

# s9 counts traps. The handler uses t4..t6 only.

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      t0, FS
        csrc    mstatus, t0             # off

        la      s0, value
load_value:
        fld     fa0, 0(s0)              # traps, then runs
        fsgnjn.d fa1, fa0, fa0          # -1.5
        fmv.x.d s1, fa1
        fsd     fa1, 8(s0)
        la      a0, text_bits
        jal     puts
        mv      a0, s1
        jal     puthex
        la      a0, text_stored
        jal     puts
        ld      a0, 8(s0)
        jal     puthex
        la      a0, newline
        jal     puts
        jal     report

        li      t0, FS
        csrc    mstatus, t0             # off again, as for a switch to another task
move_value:
        fsgnjx.d fa2, fa1, fa1          # traps, then runs: 1.5
        fmv.x.d s2, fa2
        jal     report

        ld      t0, 0(s0)
        sub     t0, s2, t0              # fa1 kept its value while the unit was off
        snez    a0, t0
        j       exit

report:                                 # print FS and the number of traps
        mv      s8, ra
        csrr    s3, mstatus
        la      a0, text_fs
        jal     puts
        srli    a0, s3, 13
        andi    a0, a0, 3
        jal     putdec
        la      a0, text_traps
        jal     puts
        mv      a0, s9
        jal     putdec
        la      a0, newline
        jal     puts
        jr      s8

handler:
        csrr    t4, mcause
        li      t5, 2
        bne     t4, t5, panic           # not an illegal instruction
        csrr    t4, mstatus
        li      t5, FS
        and     t4, t4, t5
        bnez    t4, panic               # the unit was on: illegal for another reason
        addi    s9, s9, 1
        li      t5, FS_INITIAL
        csrs    mstatus, t5
        csrr    t4, mstatus
        and     t4, t4, t5
        beqz    t4, panic               # it stays off: this machine has no such unit
        mret                            # to the same instruction

        .data
        .balign 4096                    # data has its own page, apart from the code
value:
        .dword  0x3ff8000000000000      # 1.5
        .dword  0
text_bits:
        .asciz  "-1.5 is 0x"
text_stored:
        .asciz  ", stored as 0x"
text_fs:
        .asciz  "FS "
text_traps:
        .asciz  ", traps "

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

# roundrobin: three tasks take turns, switched by the timer
#
# Shows:  preemption. The tasks know nothing of each other; every 20 ms the timer's handler saves all
#         registers and mepc of one task and loads those of the next. mret then goes to another task
#         than the one that was interrupted.
# Watch:  the block that was refused when the timer came does not run next: it runs three turns later,
#         when its own task comes back. Nothing in the machine "remembers" it; only mepc in the frame does.
# Prints: a letter for each turn, then what each task found. Every task checks its own sums in every
#         round: a register lost in a switch would show.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    MTIMECMP, 0x2004000
        .equ    MTIME,    0x200bff8
        .equ    TURN,     200000        # 20 ms: mtime counts at 10 MHz
        .equ    TURNS,    12
        .equ    MTIE,     0x80          # bit 7 of mie: timer interrupts
        .equ    TO_M,     0x1880        # mstatus: MPP = M mode, MPIE = 1: what mret makes of it

# A frame: register xN at 8 * N, then these:
        .equ    F_PC,     256
        .equ    F_NEXT,   264           # the frame of the next task
        .equ    F_LETTER, 272
        .equ    F_SIZE,   280

        .text
        .globl  _start
_start:
        la      t0, handler
        csrw    mtvec, t0
        li      t0, MTIMECMP
        li      t1, -1
        sd      t1, 0(t0)               # at reset mtimecmp is 0, so a timer interrupt is pending
        la      s0, frame_a             # three frames in a ring
        la      s1, frame_b
        la      s2, frame_c
        sd      s1, F_NEXT(s0)
        sd      s2, F_NEXT(s1)
        sd      s0, F_NEXT(s2)
        la      t0, task_a
        sd      t0, F_PC(s0)
        la      t0, task_b
        sd      t0, F_PC(s1)
        la      t0, task_c
        sd      t0, F_PC(s2)
        li      t0, 'A'
        sd      t0, F_LETTER(s0)
        li      t0, 'B'
        sd      t0, F_LETTER(s1)
        li      t0, 'C'
        sd      t0, F_LETTER(s2)
        li      t0, MTIE
        csrw    mie, t0
        li      t0, TO_M
        csrs    mstatus, t0
        mv      sp, s0
        j       switch_to               # begin with task A

# ---- the tasks: s0 counts rounds, s1 is a sum, s3 counts errors; all start at 0 ----

task_a:                                 # 1 + 2 + ... + n = n * (n + 1) / 2
        addi    s0, s0, 1
        add     s1, s1, s0
        addi    t0, s0, 1
        mul     t0, t0, s0
        srli    t0, t0, 1
        beq     t0, s1, task_a
        addi    s3, s3, 1
        j       task_a

task_b:                                 # 1 + 3 + 5 + ... = n * n
        slli    t0, s0, 1
        addi    t0, t0, 1
        add     s1, s1, t0
        addi    s0, s0, 1
task_b_check:
        mul     t0, s0, s0
        beq     t0, s1, task_b
        addi    s3, s3, 1
        j       task_b

task_c:                                 # 3 + 3 + 3 + ... = 2 * n + n
        addi    s0, s0, 1
        addi    s1, s1, 3
        slli    t0, s0, 1
        add     t0, t0, s0
        beq     t0, s1, task_c
        addi    s3, s3, 1
        j       task_c

# ---- the switch ----

handler:
        csrrw   sp, mscratch, sp        # sp = frame of the task that was running
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
        sd      t0, 16(sp)              # x2, the task's sp
        csrr    t0, mepc
        sd      t0, F_PC(sp)
        csrr    t0, mcause
        bgez    t0, panic               # not an interrupt
        ld      sp, F_NEXT(sp)
switch_to:                              # go on with the task whose frame is at sp
        la      t0, turns
        ld      t1, 0(t0)
        li      t2, TURNS
        beq     t1, t2, finish
        addi    t1, t1, 1
        sd      t1, 0(t0)
        ld      t0, F_LETTER(sp)
        li      t1, UART
        sb      t0, 0(t1)
        li      t0, MTIME
        ld      t0, 0(t0)
        li      t1, TURN
        add     t0, t0, t1
        li      t1, MTIMECMP
        sd      t0, 0(t1)               # a whole turn from now on; this drops the line
        ld      t0, F_PC(sp)
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
        csrrw   sp, mscratch, sp        # mscratch = frame, for the next interrupt
        mret

finish:                                 # sp is at frame A again
        la      a0, newline
        jal     puts
        li      s5, 3
        li      s6, 0                   # the exit code
finish_next:
        ld      a0, F_LETTER(sp)
        li      t0, UART
        sb      a0, 0(t0)
        ld      t0, 64(sp)              # its s0: did it run at all?
        beqz    t0, finish_bad
        ld      t0, 152(sp)             # its s3: did it ever miscount?
        bnez    t0, finish_bad
        la      a0, text_good
        j       finish_text
finish_bad:
        li      s6, 2
        la      a0, text_bad
finish_text:
        jal     puts
        ld      sp, F_NEXT(sp)
        addi    s5, s5, -1
        bnez    s5, finish_next
        mv      a0, s6
        j       exit

        .data
        .balign 4096                    # data has its own page, apart from the code
frame_a:
        .zero   F_SIZE
frame_b:
        .zero   F_SIZE
frame_c:
        .zero   F_SIZE
turns:
        .dword  0
text_good:
        .asciz  ": every sum was right\n"
text_bad:
        .asciz  ": WRONG SUMS\n"

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

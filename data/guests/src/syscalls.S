# syscalls: a program in U mode asks the kernel in M mode
#
# Shows:  ecall, an "expected" exception: the translator knows where it will happen, so the exact pc
#         is stored by the block itself and nothing has to be restored. System call numbers as in Linux.
# Watch:  no line, no flag, no refused block: ecall ends its block and the handler follows at once.
#         mepc is the ecall itself; the kernel adds 4. The privileged instruction traps the same way.
# Prints: what the user program writes, and what the kernel notices.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000
        .equ    SYS_WRITE, 64           # a0: file, a1: text, a2: length; returns the length or -errno
        .equ    SYS_EXIT,  93           # a0: code
        .equ    EBADF,    9             # Linux's numbers for "no such file"
        .equ    ENOSYS,   38            # and "no such system call"
        .equ    HELLO_SIZE, 24
        .equ    MPP,      0x1800        # bits 11 and 12 of mstatus: the mode that mret goes to

# s9 counts system calls; the kernel keeps s8..s11 for itself.

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
        la      t0, kernel
        csrw    mtvec, t0
        la      t0, kernel_stack
        csrw    mscratch, t0
        li      t0, MPP
        csrc    mstatus, t0             # MPP = 0: U mode
        la      t0, user
        csrw    mepc, t0
        mret

# ---- U mode ----

user:
        li      a7, SYS_WRITE
        li      a0, 1
        la      a1, hello
        li      a2, HELLO_SIZE
        ecall
        addi    t3, a0, -HELLO_SIZE     # 0: all of it was written
        li      a0, 7                   # no such file
        ecall
        addi    t4, a0, EBADF           # 0: the kernel said so
        li      a7, 1000                # no such call
        ecall
        addi    t5, a0, ENOSYS
        csrr    t6, mstatus             # not for U mode
        or      t3, t3, t4
        or      t3, t3, t5
        snez    a0, t3                  # 0 if every answer was right
        li      a7, SYS_EXIT
        ecall

# ---- M mode: the kernel ----

kernel:
        csrrw   sp, mscratch, sp        # the kernel's stack; the user's sp waits in mscratch
        addi    sp, sp, -48
        sd      ra, 0(sp)
        sd      t0, 8(sp)
        sd      t1, 16(sp)
        sd      t2, 24(sp)
        sd      a1, 32(sp)
        csrr    t0, mcause
        li      t1, 8                   # ecall from U mode
        beq     t0, t1, system_call
        li      t1, 2                   # illegal instruction
        beq     t0, t1, illegal
        j       panic
system_call:
        addi    s9, s9, 1
        li      t0, SYS_WRITE
        beq     a7, t0, sys_write
        li      t0, SYS_EXIT
        beq     a7, t0, sys_exit
        li      a0, -ENOSYS
        j       return
sys_write:
        addi    t0, a0, -1
        li      a0, -EBADF
        bnez    t0, return              # only file 1 is open
        mv      a0, a2
        beqz    a2, return
        li      t1, UART
        add     t2, a1, a2              # the end of the text
write_next:
        lbu     t0, 0(a1)
        sb      t0, 0(t1)
        addi    a1, a1, 1
        bltu    a1, t2, write_next
        j       return
illegal:
        mv      s8, a0
        la      a0, illegal_text
        jal     puts
        csrr    a0, mepc
        la      t0, user
        sub     a0, a0, t0
        jal     putdec
        la      a0, newline
        jal     puts
        mv      a0, s8
return:                                 # go on after the instruction that trapped
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        ld      a1, 32(sp)
        ld      t2, 24(sp)
        ld      t1, 16(sp)
        ld      t0, 8(sp)
        ld      ra, 0(sp)
        addi    sp, sp, 48
        csrrw   sp, mscratch, sp
        mret
sys_exit:
        mv      s8, a0
        la      a0, exit_text
        jal     puts
        mv      a0, s8
        jal     putdec
        la      a0, calls_text
        jal     puts
        mv      a0, s9
        jal     putdec
        la      a0, newline
        jal     puts
        mv      a0, s8
        j       exit

        .data
        .balign 4096                    # data has its own page, apart from the code
        .zero   256
kernel_stack:
hello:
        .asciz  "user: hello from U mode\n"
illegal_text:
        .asciz  "kernel: privileged instruction at user+"
exit_text:
        .asciz  "kernel: the program ended with code "
calls_text:
        .asciz  ", system calls: "

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

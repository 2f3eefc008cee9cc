# hello: the smallest guest
#
# Shows:  a program, a device (each store to the UART prints one byte), and the end of a machine.
# Watch:  the block print_next jumps to itself: translated once, chained to itself, run 14 times.
# Prints: Hello, world!

        .option norvc                   # 4 bytes per instruction: offsets are easy to count
        .equ    UART,     0x10000000
        .equ    FINISHER, 0x100000

        .text
        .globl  _start
_start:
        la      a0, text
        li      t1, UART
        lbu     t0, 0(a0)
print_next:
        sb      t0, 0(t1)
        addi    a0, a0, 1
        lbu     t0, 0(a0)
        bnez    t0, print_next
pass:
        li      t0, FINISHER
        li      t1, 0x5555
        sw      t1, 0(t0)
wait:
        j       wait

        .data
        .balign 4096                    # data has its own page, apart from the code
text:
        .asciz  "Hello, world!\n"

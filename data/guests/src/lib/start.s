# The first instructions of every C guest: a stack, a trap handler for accidents, then main().
# RAM is zero at reset, so .bss needs no clearing.

        .section .text.start, "ax"
        .globl  _start
_start:
        la      sp, stack_top
        la      t0, trap
        csrw    mtvec, t0
        call    main
        call    finish                  # with main's result as the exit code

        .balign 4
trap:
        csrr    a0, mcause
        csrr    a1, mepc
        csrr    a2, mtval
        la      sp, stack_top
        call    unexpected_trap

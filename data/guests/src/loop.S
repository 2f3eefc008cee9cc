# loop: four instructions for ever
#
# Shows:  chaining at its purest. No device, no trap, no end: once the block has been linked to
#         itself, only the test at its head can get the machine out.
# Watch:  trips to the execution loop while it runs: none. An interrupt line that goes up changes
#         nothing in the guest, since mie and mstatus.MIE are zero: refused, but never taken.
# Prints: nothing. s0 counts rounds, s1 is always 3 * s0, s2 gathers both.
# Ends:   never by itself.

        .option norvc                   # 4 bytes per instruction: offsets are easy to count

        .text
        .globl  _start
_start:
        li      s0, 0
        li      s1, 0
        li      s2, 0
loop:
        addi    s0, s0, 1
        addi    s1, s1, 3
        xor     s2, s2, s1
        j       loop

"""The board: clock, CLINT, PLIC, UART, test finisher, HTIF (QEMU: ``hw/``, machine ``virt``).

Devices know nothing of blocks, CPUs or threads of guest code. They answer ``read`` and ``write``,
move lines (``lines.Line``) and set timers (``clock.Timer``); ``board.VirtBoard`` wires them as
``hw/riscv/virt.c`` does. Every device method is called with the machine's one lock held (QEMU's
"big lock"); inputs from outside, ``Uart.type`` and ``VirtBoard.set_irq``, take it themselves.
"""

"""Blocks, their cache and chaining, the loop, interrupts, restoration, icount (QEMU: accel/tcg/).

Read in this order: ``cpu_exec`` (the loop), ``tb_maint`` (look-up, linking, unlinking),
``translate_all`` (making a block, finding the way back from a host PC), ``cputlb`` (loads and
stores), ``icount`` (the budget), ``cpu`` (raising interrupts, leaving host code), ``vcpu`` (the
thread).
"""

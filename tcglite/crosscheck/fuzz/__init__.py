"""Random guests: made, run beside oracles, and made small when one finds something.

Like QEMU's own tests/fp and risu, but for the whole machine: a program here interrupts itself,
changes its own code, and traps.
"""

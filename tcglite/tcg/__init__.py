"""The intermediate representation, its optimiser, and the host backends (QEMU: ``tcg/``).

Knows no guest: a guest is a list of named globals inside one block of memory. Small against QEMU's:
one integer type (i64), no vectors, labels that only jump forward.
"""

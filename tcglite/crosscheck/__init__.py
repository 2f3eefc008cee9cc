"""Checks of the whole machine against implementations that nobody here wrote.

A check that cannot fail is no check: the tests plant errors and see them reported. QEMU has no
such room; its nearest relatives are its TCG tests.
"""

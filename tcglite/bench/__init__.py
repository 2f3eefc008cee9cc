"""``tcglite bench``: how fast this engine is beside QEMU and Unicorn, and what its modes cost.

All engines run the same ELF files in turn (``compare``); what can be quoted are the ratios, for
both sides of one come from the same minutes of the same run. Nothing here mirrors QEMU, and no
test asserts a time. (No imports here: the measured processes, ``worker``, should start quickly.)
"""

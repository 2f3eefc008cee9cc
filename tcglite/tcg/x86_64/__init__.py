"""The x86_64 backend (QEMU: tcg/i386/tcg-target.c.inc).

Read in this order: ``asm`` (how instructions are encoded), ``layout`` (which register holds what),
``thunks`` (the way into host code, out of it, and to Python), ``emit`` with ``regs`` and ``access``
(ops to instructions), ``buffer`` (memory that may be executed), ``backend`` (the contract of
``tcg/backend.py``) and ``listing``. Emitting and listing work on every computer; only entering
needs an x86-64 one with Linux or macOS.
"""

"""The QEMU that is installed, for tests: ``tcglite.crosscheck.qemu_run`` and when to skip."""

from __future__ import annotations

import pytest

from tcglite.crosscheck.qemu_run import (
    CPU,
    CPU_WITHOUT_PMP,
    QEMU,
    QemuRun,
    run_qemu,
    version,
    version_text,
)

__all__ = [
    "CPU", "CPU_WITHOUT_PMP", "QEMU", "QemuRun", "needs_qemu", "needs_qemu_7_2", "run_qemu",
    "version", "version_text",
]  # fmt: skip

needs_qemu = pytest.mark.skipif(QEMU is None, reason="needs qemu-system-riscv64")
needs_qemu_7_2 = pytest.mark.skipif(
    QEMU is None or version() != (7, 2), reason="needs qemu-system-riscv64 7.2"
)

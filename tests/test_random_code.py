"""Random bytes as guest code, each run with a limit in a child process: the host survives all.

What is run and what must hold afterwards stands in ``random_code.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS, BATCHES = 2000, 8


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_host_survives(batch: int) -> None:
    each = PROGRAMS // BATCHES
    child = Path(__file__).with_name("random_code.py")
    done = subprocess.run(
        [sys.executable, str(child), str(batch * each), str(each)],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    # The programs are worth running: they get far, trap, are interrupted, end in every way.
    assert seen["insns"] > 20 * each
    assert min(seen[what] for what in ("max-insns", "unhandled-trap", "compared")) > each // 20
    assert min(seen[what] for what in ("interrupts", "exceptions")) > each // 4
    assert seen["invalidated"]

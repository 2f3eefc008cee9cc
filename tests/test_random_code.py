"""Random bytes as guest code, each run with a limit in a child process: the host survives all.

What is run and what must hold afterwards stands in ``random_code.py``; on both backends, all that
a run leaves behind and every event must be the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tcglite.tcg.x86_64.buffer import unsupported

PROGRAMS, BATCHES = 2000, 8
ON_BOTH = 300

FIRST = [(n * PROGRAMS // BATCHES, PROGRAMS // BATCHES, "python") for n in range(BATCHES)]
if not unsupported():
    FIRST += [(n, ON_BOTH // 2, "both") for n in (0, ON_BOTH // 2)]


@pytest.mark.parametrize(("first", "each", "backend"), FIRST)
def test_the_host_survives(first: int, each: int, backend: str) -> None:
    child = Path(__file__).with_name("random_code.py")
    done = subprocess.run(
        [sys.executable, str(child), str(first), str(each), backend],
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

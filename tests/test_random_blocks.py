"""Random bytes as blocks between guard pages: a few thousand here, a million by hand.

What is run and what must hold stands in ``random_blocks.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tcglite.tcg.x86_64.buffer import unsupported

pytestmark = pytest.mark.skipif(bool(unsupported()), reason=unsupported())


@pytest.mark.parametrize("first", [0, 2])
def test_host_code_never_strays(first: int) -> None:
    child = Path(__file__).with_name("random_blocks.py")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(child), str(first), "2"],
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["insns"] > 2 * seen["blocks"]
    assert seen["exceptions"] > seen["blocks"]
    assert min(seen["max-insns"], seen["tb_invalidated"]) > seen["blocks"] // 20

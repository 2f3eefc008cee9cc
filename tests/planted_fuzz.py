"""What workers of a campaign do in the tests: top-level functions, as other processes want them."""

from __future__ import annotations

import os
import time

from tcglite.crosscheck.fuzz.check import Outcome, Settings


def plain(seed: int, settings: Settings) -> Outcome:
    """Nothing found, and nothing run."""
    return Outcome(seed)


def odd_ones(seed: int, settings: Settings) -> Outcome:
    """Something is found from seed 7 on; smaller seeds take longer."""
    time.sleep(0.3 if seed < 10 else 0)
    return Outcome(seed, error="found" if seed >= 7 else "")


def dies(seed: int, settings: Settings) -> Outcome:
    """Seed 5 takes its process with it."""
    if seed == 5:
        os._exit(3)
    return Outcome(seed)


def hangs(seed: int, settings: Settings) -> Outcome:
    """Seed 3 never comes back."""
    if seed == 3:
        time.sleep(600)
    return Outcome(seed)


def raises(seed: int, settings: Settings) -> Outcome:
    """Seed 2 fails in a way that nobody foresaw."""
    if seed == 2:
        raise RuntimeError("not foreseen")
    return Outcome(seed)


def tells_and_hangs(seed: int, settings: Settings) -> Outcome:
    """Every seed says in which process it is, and stays there."""
    os.write(1, f"{os.getpid()}\n".encode())  # at once: another process writes there too
    time.sleep(600)
    return Outcome(seed)

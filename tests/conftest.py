"""What all tests have: the host backends to choose from."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import backends
import pytest

# A shell's background job ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and (
    threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", params=sorted(backends.MISSING))
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend in turn, as what ``backends.chosen`` says."""
    if reason := backends.MISSING[request.param]:
        pytest.skip(reason)
    before, backends.chosen = backends.chosen, request.param
    yield request.param
    backends.chosen = before

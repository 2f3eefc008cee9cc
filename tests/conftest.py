"""What all tests have: the host backends to choose from."""

from __future__ import annotations

from collections.abc import Iterator

import backends
import pytest


@pytest.fixture(scope="module", params=sorted(backends.MISSING))
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend in turn, as what ``backends.chosen`` says."""
    if reason := backends.MISSING[request.param]:
        pytest.skip(reason)
    before, backends.chosen = backends.chosen, request.param
    yield request.param
    backends.chosen = before

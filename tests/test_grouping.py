"""What starts processes stays with one worker of the tests; nothing else would say that it does not."""

from __future__ import annotations

import pytest


@pytest.mark.process
def test_what_starts_processes_stays_with_one_worker(request: pytest.FixtureRequest) -> None:
    """The id of a test is where xdist keeps its group."""
    is_grouped = request.node.nodeid.endswith("@process")

    assert is_grouped is bool(request.config.getoption("loadgroup", False))

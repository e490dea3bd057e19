"""Fill an empty database with the pub, for `qerko_certify --fixture example_project.pub.fixture.four_tables`."""

from __future__ import annotations

from django_qerko.keys import ApiKey
from example_project.pub.opening import EXAMPLE_KEY, open_pub


def four_tables() -> None:
    """One in each area, and one more."""
    open_pub(tables=4, api_key=ApiKey(EXAMPLE_KEY))

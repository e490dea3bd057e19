"""The test kit as fixtures of pytest: ``pytest_plugins = ["django_qerko.testing.plugin"]`` in the topmost conftest.

It needs pytest-django, whose ``db`` the fixtures ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from django_qerko.models import Restaurant
from django_qerko.testing.certification import RULE_NAMES, Certification
from django_qerko.testing.client import SignedClient
from django_qerko.testing.deadlines import frozen_deadline
from django_qerko.testing.isolating import isolated
from django_qerko.testing.recording import RecordingQerko
from django_qerko.testing.rows import make_restaurant


@pytest.fixture
def qerko_restaurant(db: None) -> Iterator[Restaurant]:
    """A restaurant with a key; override it where a project makes its restaurants in its own way."""
    with isolated():
        yield make_restaurant()


@pytest.fixture
def qerko_client(qerko_restaurant: Restaurant) -> Iterator[SignedClient]:
    """Delivers any event to ``qerko_restaurant``."""
    with isolated():
        yield SignedClient(qerko_restaurant)


@pytest.fixture
def qerko(qerko_restaurant: Restaurant) -> Iterator[RecordingQerko]:
    """A Qerko that listens, and takes what leaves while the test runs."""
    with isolated(), RecordingQerko(qerko_restaurant) as qerko:
        yield qerko


@pytest.fixture
def qerko_frozen_deadline(db: None) -> Iterator[None]:
    """No deadline passes by itself; ``pass_deadline`` passes it."""
    with frozen_deadline():
        yield


def certification(fixture: str | Callable[[], object] | None = None) -> Callable[[str], None]:
    """One test for each rule that `qerko_certify` tries, in one line: ``test_certified = certification(fill)``.

    ``fixture`` fills an empty database with tables and bills: a function of a module, or its dotted path. All rules are
    tried once, when the first of these tests runs, on a test database of their own. One that was not tried because
    another is broken is skipped, so that the broken one is seen.
    """
    certified = Certification(fixture)

    @pytest.mark.parametrize("rule", RULE_NAMES)
    def test_certified(rule: str) -> None:
        if excuse := certified.excuse(rule):
            pytest.skip(excuse)
        if complaint := certified.complaint(rule):
            pytest.fail(complaint, pytrace=False)

    return test_certified

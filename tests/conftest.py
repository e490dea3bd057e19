"""What every test shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from django.conf import settings
from django.dispatch import Signal
from hypothesis import settings as hypothesis_settings

from django_qerko import queueing
from django_qerko.models import Restaurant
from django_qerko.receiving import rejections
from django_qerko.receiving.keyring import keyring
from tests import celery_app
from tests.deliveries import KEY

# A slow machine is no reason to fail, and CI tries the same examples every time.
_EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "100"))
hypothesis_settings.register_profile("here", deadline=None, max_examples=_EXAMPLES)
hypothesis_settings.register_profile("ci", deadline=None, max_examples=_EXAMPLES, derandomize=True, print_blob=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "here")

#: With one of these a test uses the database.
_DATABASES: Final = {"db", "transactional_db"}


def pytest_configure() -> None:
    """A run in the background was told to ignore interruptions, and what it starts would ignore them, too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under `--dist loadgroup` one worker takes what starts processes on a database: they never starve each other.

    What is slow for another reason may name a group of its own. What asks for no database has nothing to do with one.
    """
    for item in items:
        if not item.get_closest_marker("process"):
            if not (item.get_closest_marker("django_db") or _DATABASES & {*getattr(item, "fixturenames", ())}):
                item.add_marker(pytest.mark.once)
        elif not item.get_closest_marker("xdist_group"):
            # Two groups where two workers may share them: those of the database, and the others.
            item.add_marker(pytest.mark.xdist_group("once" if item.get_closest_marker("once") else "process"))


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Where the project has several databases, every test that uses one may use them all."""
    marker = item.get_closest_marker("django_db")
    if len(settings.DATABASES) > 1:
        transaction = "transactional_db" in getattr(item, "fixturenames", ()) or (marker and marker.kwargs)
        item.add_marker(pytest.mark.django_db(databases="__all__", transaction=bool(transaction)), append=False)


@pytest.fixture(autouse=True)
def memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> rejections.Counter:
    """No test remembers another's restaurants; what is turned away is written when the test says so.

    A broker is waited for as long as the machine takes: what comes of less is a matter for a few tests.
    """
    monkeypatch.setattr(queueing, "LIMIT", 20.0)
    keyring.forget()
    celery_app.set_current()
    counter = rejections.Counter(every=None)
    monkeypatch.setattr(rejections, "counter", counter)
    return counter


@pytest.fixture
def restaurant(db: None) -> Restaurant:
    """A restaurant whose key is ``KEY``."""
    restaurant = Restaurant.objects.create(name="U Zlatého tygra")
    restaurant.add_key(KEY)
    return restaurant


@pytest.fixture
def answering() -> Iterator[Callable[[Signal, Any], None]]:
    """Connects receivers for one test: a function, or the value that one returns."""
    connected: list[tuple[Signal, Any]] = []

    def connect(signal: Signal, answer: Any) -> None:
        def receiver(**_: Any) -> Any:
            return answer

        chosen = answer if callable(answer) else receiver
        signal.connect(chosen)
        connected.append((signal, chosen))

    yield connect
    for connection, receiver in connected:
        connection.disconnect(receiver)


@pytest.fixture
def transactional_restaurant(transactional_db: None) -> Restaurant:
    """A restaurant that another process sees."""
    restaurant = Restaurant.objects.create(name="U Zlatého tygra")
    restaurant.add_key(KEY)
    return restaurant

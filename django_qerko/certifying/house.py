"""Have a project's own handlers certified in this process: its WSGI application, on a database of its own.

Nothing here reaches what the project works with: the database is a test database, Celery is eager, mails stay in
memory, and Qerko is the one that certifies.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.servers.basehttp import (
    ThreadedWSGIServer,
    WSGIRequestHandler,
    get_internal_wsgi_application,
)
from django.db import connections
from django.test.runner import DiscoverRunner
from django.test.utils import override_settings

from django_qerko import queueing
from django_qerko.conf import given
from django_qerko.events import Event
from django_qerko.exceptions import NobodyAnswered
from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant
from django_qerko.receiving import rejections
from django_qerko.sandbox.conversation import PointOfSale
from django_qerko.signals import event_failed

_HOST: Final = "127.0.0.1"
#: Seconds between looks whether the server is to stop.
_STOPS_WITHIN: Final = 0.05
#: For a project that has no restaurant yet; an example out of Qerko's documentation (protocol section 1, D).
_NAME: Final = "Certification"
_EXAMPLE_KEY: Final = "eeeu-g786-zp54-3v1c-db02-e4e1"


class _Connection(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """The verdicts are what is read."""


@contextmanager
def an_own_database() -> Iterator[None]:
    """Work on test databases, migrated and empty, which are gone afterwards; on SQLite they are temporary files."""
    with tempfile.TemporaryDirectory(prefix="qerko-certify-") as folder:
        before = {alias: connections[alias].settings_dict["TEST"]["NAME"] for alias in connections}
        for number, alias in enumerate(connections):
            # A name that nobody else's test database has, because that would be destroyed.
            name = f"qerko_certify_{os.getpid()}_{number}"
            is_file = connections[alias].vendor == "sqlite"
            connections[alias].settings_dict["TEST"]["NAME"] = str(Path(folder, name)) if is_file else name
        runner = DiscoverRunner(verbosity=0, interactive=False)
        runner.setup_test_environment()
        try:
            kept = runner.setup_databases(serialized_aliases=())
            try:
                yield
            finally:
                runner.teardown_databases(kept)
        finally:
            runner.teardown_test_environment()
            for alias, name in before.items():
                connections[alias].settings_dict["TEST"]["NAME"] = name


def the_restaurant(fill: Callable[[], object] | None) -> Restaurant:
    """The restaurant that ``fill`` leaves; one of ours, where there is no other. The tasks that it rings for run here.

    Raises ValueError where there is none whose key can be read.
    """
    if fill is not None:
        with queueing.eagerly():
            fill()
    if not Restaurant.objects.exists():
        return Restaurant.objects.add(name=_NAME, api_key=ApiKey(_EXAMPLE_KEY))
    for restaurant in Restaurant.objects.all():
        if restaurant.current_key is not None:
            return restaurant
    raise ValueError("No restaurant has a key: Restaurant.objects.add(name=…, api_key=…) adds one with its key.")


@contextmanager
def serving(restaurant: Restaurant, api_url: str) -> Iterator[PointOfSale]:
    """Serve the project on this machine, on the database that is in use, with ``api_url`` as its Qerko."""
    server = ThreadedWSGIServer((_HOST, 0), _Connection)
    origin = f"http://{_HOST}:{server.server_port}"
    with (
        override_settings(
            QERKO={**given(), "BASE_URL": api_url, "PUBLIC_URL": origin},
            ALLOWED_HOSTS=[*settings.ALLOWED_HOSTS, _HOST],
            SECURE_SSL_REDIRECT=False,
        ),
        queueing.eagerly(),
        _counting_in_memory(),
        server,
    ):
        server.set_app(get_internal_wsgi_application())
        thread = threading.Thread(target=server.serve_forever, args=[_STOPS_WITHIN], name="qerko-certify", daemon=True)
        thread.start()
        try:
            yield PointOfSale(
                url=f"{origin}{restaurant.webhook_path}", api_key=restaurant.api_key, name=restaurant.name
            )
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def overhearing() -> Iterator[Mapping[str, str]]:
    """Have what handlers break with, by the ids of the events: the exception's type, and its first line."""
    failures: dict[str, str] = {}

    def note(*, event: Event, error: BaseException, **_: object) -> None:
        # That nobody answered is said by its code.
        if not isinstance(error, NobodyAnswered):
            failures[event.id] = f"{type(error).__name__}: {error}".partition("\n")[0]

    event_failed.connect(note)
    try:
        yield failures
    finally:
        event_failed.disconnect(note)


@contextmanager
def _counting_in_memory() -> Iterator[None]:
    """Forget who was turned away: a thread that still writes it would do so on the project's own database at last."""
    module: Any = rejections
    counter = module.counter
    module.counter = rejections.Counter(every=None)
    try:
        yield
    finally:
        module.counter = counter

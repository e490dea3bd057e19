"""A key is never seen: in no repr, no log, no page of the admin, and not in Django's error page with DEBUG on."""

from __future__ import annotations

import logging
import pprint
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.dispatch import Signal
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views.debug import technical_500_response
from pytest_django import Settings

from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant, RestaurantKey
from django_qerko.receiving.keyring import keyring
from django_qerko.signals import bill_requested, event_failed
from tests.deliveries import KEY, OTHER_KEY, address, deliver, document, sign
from tests.records import enter

#: Any two groups of the key that stand together say enough; the last may be shown.
TELLING = re.compile("|".join(f"{one}-{other}" for one, other in pairwise(KEY.reveal().split("-")[:-1])))

ENCRYPTION_KEY = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYzI="


def error_page(error: BaseException) -> str:
    """What Django shows of an error to whoever asked, with DEBUG on: local variables, settings and all."""
    request = RequestFactory().get("/")
    return technical_500_response(request, type(error), error, error.__traceback__).content.decode()


def raised(act: Callable[[], object]) -> BaseException:
    with pytest.raises((ValueError, TypeError, ValidationError)) as caught:
        act()
    return caught.value


@pytest.fixture(autouse=True)
def debug(settings: Settings) -> None:
    settings.DEBUG = True


@pytest.mark.parametrize("show", [repr, str, pprint.pformat, "{!r}".format, lambda value: f"{vars(value)}"])
def test_no_repr_tells_a_key(restaurant: Restaurant, show: Callable[[object], str]) -> None:
    row = restaurant.keys.get()
    shown: list[Any] = [[KEY], {"key": KEY}, restaurant, row, RestaurantKey.objects.all(), KEY.mac]
    shown += [keyring.door(restaurant.webhook_token), keyring, row.api_key]

    for value in shown:
        try:
            text = show(value)
        except TypeError:  # it has no vars
            continue
        assert not TELLING.search(text)


def test_the_error_page_of_a_handler_that_broke_tells_no_key(
    restaurant: Restaurant, answering: Callable[[Signal, Any], None]
) -> None:
    errors: list[Exception] = []
    answering(event_failed, lambda error, **_: errors.append(error))

    def broken(event: Any, restaurant: Restaurant, **_: Any) -> None:
        current = restaurant.current_key
        assert current is not None
        known = {"key": current.api_key, "row": current}
        raise LookupError(f"{len(known)} things are known of {event.bill_id}")

    answering(bill_requested, broken)

    assert deliver(restaurant, "getBill").status_code == 500

    page = error_page(errors[0])
    assert "2 things are known of 42" in page
    assert "ApiKey …e4e1" in page
    assert not TELLING.search(page)


def test_the_error_page_of_a_forged_delivery_tells_no_key(restaurant: Restaurant, settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.urls_outspoken"
    forged = sign(document("getBill"), url=address(restaurant), key=OTHER_KEY)

    response = forged.send(Client(raise_request_exception=False))

    page = response.content.decode()
    assert response.status_code == 500
    assert "Forged at /qerko/webhook/" in page
    assert "ApiKey …e4e1" in page
    assert not TELLING.search(page)


@pytest.mark.parametrize(
    "act",
    [
        lambda _: ApiKey(f" {KEY.reveal()}"),
        lambda _: ApiKey(KEY.reveal() * 5),
        lambda _: KEY.__reduce__(),
        lambda _: Restaurant.objects.create(name="U Fleků").add_key(KEY),
        lambda restaurant: Restaurant.objects.add(name="U Fleků", api_key=KEY),
        lambda restaurant: Restaurant.objects.add(name="", api_key=KEY),
    ],
    ids=["a slip", "too long", "pickled", "given to another", "another's", "without a name"],
)
def test_the_error_page_of_what_cannot_be_done_with_a_key_tells_none(
    restaurant: Restaurant, act: Callable[[Restaurant], object]
) -> None:
    assert not TELLING.search(error_page(raised(lambda: act(restaurant))))


@pytest.mark.parametrize("act", [lambda _: KEY.encrypt(), lambda row: row.api_key], ids=["encrypted", "decrypted"])
def test_the_error_page_of_a_wrong_encryption_key_tells_neither_of_them(
    restaurant: Restaurant, settings: Settings, act: Callable[[RestaurantKey], object]
) -> None:
    row = restaurant.keys.get()
    settings.QERKO = {"ENCRYPTION_KEYS": [ENCRYPTION_KEY, "none"]}

    page = error_page(raised(lambda: act(row)))

    assert "no Fernet key" in page
    assert ENCRYPTION_KEY not in page
    assert not TELLING.search(page)


def test_the_error_page_of_a_key_whose_secret_is_gone_tells_neither(restaurant: Restaurant, settings: Settings) -> None:
    row = restaurant.keys.get()
    settings.QERKO = {"ENCRYPTION_KEYS": [ENCRYPTION_KEY]}

    page = error_page(raised(lambda: row.api_key))

    assert "cannot be read" in page
    assert ENCRYPTION_KEY not in page


def test_no_page_of_the_admin_tells_a_key_or_what_is_stored_of_it(restaurant: Restaurant) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("staff"))
    row, record = restaurant.keys.get(), enter(restaurant)

    pages = [reverse("admin:index"), reverse("admin:app_list", args=["django_qerko"])]
    for one in (restaurant, row, record):
        name = f"admin:django_qerko_{one._meta.model_name}"
        pages += [reverse(f"{name}_{page}", args=[one.pk]) for page in ("change", "history")]
        pages += [reverse(f"{name}_changelist"), f"{reverse(f'{name}_changelist')}?q=eeeu"]
    shown = "".join(client.get(page).content.decode() for page in pages)

    assert "…e4e1" in shown
    assert row.secret not in shown
    assert not TELLING.search(shown)


@pytest.mark.usefixtures("memory_of_its_own")
def test_no_log_tells_a_key(
    restaurant: Restaurant, caplog: pytest.LogCaptureFixture, answering: Callable[[Signal, Any], None]
) -> None:
    caplog.set_level(logging.DEBUG)

    def broken(**_: Any) -> None:
        raise LookupError

    deliver(restaurant, "getBill")
    answering(bill_requested, broken)
    deliver(restaurant, "getBill")
    deliver(restaurant, "getBill", key=OTHER_KEY)
    RestaurantKey.objects.update(secret="nonsense")
    keyring.forget()
    deliver(restaurant, "getBill")

    assert "is left out" in caplog.text
    assert "Turned away with 401" in caplog.text
    assert not TELLING.search(caplog.text)

"""How many statements each way along the road takes (the budgets of the house)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from django_qerko import answers
from django_qerko.models import Restaurant
from django_qerko.receiving.keyring import LOOKED_AGAIN_AFTER, keyring
from django_qerko.signals import bill_requested, table_contents_requested, table_list_requested
from tests.deliveries import OTHER_KEY, deliver

Answering = Callable[[Signal, Any], None]

pytestmark = pytest.mark.django_db(transaction=True)

_FRAME = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK", "START TRANSACTION")


@contextmanager
def statements(number: int) -> Iterator[None]:
    """Exactly so many statements, those that open and close transactions apart."""
    with CaptureQueriesContext(connection) as captured:
        yield
    said = [query["sql"] for query in captured.captured_queries if not query["sql"].startswith(_FRAME)]
    assert len(said) == number, "\n".join(said)


@pytest.fixture
def known(transactional_restaurant: Restaurant, answering: Answering) -> Restaurant:
    """A restaurant that was read, and its key's use noted, before anything is counted."""
    answering(table_list_requested, [])
    names = iter(["first", "first", "second"])
    answering(bill_requested, lambda **_: answers.Bill(id="42", currency="CZK", items=[], name=next(names)))
    deliver(transactional_restaurant, "getTableList")
    return transactional_restaurant


def test_a_question_that_touches_no_bill_takes_two(known: Restaurant) -> None:
    with statements(2):
        assert deliver(known, "getTableList").status_code == 200


def test_a_bill_takes_four_and_three_where_it_did_not_change(known: Restaurant) -> None:
    for number in (4, 3, 4):
        with statements(number):
            assert deliver(known, "getBill").status_code == 200


def test_a_list_of_bills_takes_four_however_many(known: Restaurant, answering: Answering) -> None:
    bills = [answers.Bill(id=str(number), currency="CZK", items=[]) for number in range(20)]
    answering(table_contents_requested, bills)

    for number in (4, 3):
        with statements(number):
            assert deliver(known, "getTableContents").status_code == 200


def test_a_redelivery_takes_two(known: Restaurant) -> None:
    deliver(known, "getTableList", event_id="once")

    with statements(2):
        assert deliver(known, "getTableList", event_id="once").status_code == 200


def test_a_forged_delivery_takes_one_and_none_within_a_second(
    known: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with statements(0):
        assert deliver(known, "getTableList", key=OTHER_KEY).status_code == 401

    read_at = keyring.door(known.webhook_token).read_at
    monkeypatch.setattr(keyring, "_clock", lambda: read_at + LOOKED_AGAIN_AFTER)
    with statements(1):
        assert deliver(known, "getTableList", key=OTHER_KEY).status_code == 401
    with statements(0):
        assert deliver(known, "getTableList", key=OTHER_KEY).status_code == 401

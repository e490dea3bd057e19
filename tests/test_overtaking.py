"""A payment's end that is told while its beginning is being handled leaves nothing locked, whoever comes first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.dispatch import Signal

from django_qerko import tasks
from django_qerko.answers import LATER
from django_qerko.exceptions import DomainError
from django_qerko.models import Bill, Payment, Restaurant, WebhookEvent
from django_qerko.replying import reply_later
from django_qerko.signals import payment_closed, payment_started
from tests.deliveries import deliver
from tests.records import told

Answering = Callable[[Signal, Any], None]

pytestmark = pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer: nobody overtakes")

CANCELLED = {"paymentId": "p-1", "state": "CANCELLED"}


def beginning(restaurant: Restaurant) -> int:
    return int(deliver(restaurant, "paymentStart", {"payment": told("p-1")}).status_code)


def end(restaurant: Restaurant) -> int:
    return int(deliver(restaurant, "paymentClosed", CANCELLED).status_code)


@contextmanager
def meanwhile(work: Callable[[Restaurant], int], restaurant: Restaurant) -> Iterator[list[int]]:
    """Somebody else does it, on a connection of their own; what they are told is there in the end."""
    heard: list[int] = []

    def run() -> None:
        try:
            heard.append(work(restaurant))
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield heard
    thread.join(20)
    assert heard


def nothing_is_locked() -> bool:
    return Payment.objects.get().is_cancelled and not Bill.objects.get().locked


def test_an_end_waits_for_a_beginning_that_is_not_committed(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    answering(payment_started, None)
    answering(payment_closed, None)
    others: list[Any] = []

    def at_the_last_moment(execute: Any, sql: str, *rest: Any) -> Any:
        if not others and sql.startswith("UPDATE") and "webhookevent" in sql:
            others.append(meanwhile(end, transactional_restaurant))
            others.append(others[0].__enter__())
            threading.Event().wait(0.5)
        return execute(sql, *rest)

    with connection.execute_wrapper(at_the_last_moment):
        assert beginning(transactional_restaurant) == 200
    others[0].__exit__(None, None, None)

    assert others[1] == [200]
    assert nothing_is_locked()


def test_a_beginning_heeds_an_end_that_is_not_committed(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    heard: list[int] = []

    def is_closed(**_: Any) -> None:
        with meanwhile(beginning, transactional_restaurant) as told:
            pass
        heard.extend(told)

    answering(payment_started, None)
    answering(payment_closed, is_closed)

    assert end(transactional_restaurant) == 200
    assert heard == [422]
    assert nothing_is_locked()


def test_a_refusal_from_elsewhere_waits_for_a_beginning_that_is_not_committed(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    """Its handler has just said LATER: the refusal, which looked before that was committed, cancels the payment."""
    answering(payment_started, LATER)
    others: list[Any] = []

    def refuse(_: Restaurant) -> int:
        return reply_later(WebhookEvent.objects.get(), DomainError("ACCESS_DENIED", "no")).pk

    def after_the_look_for_replies(execute: Any, sql: str, *rest: Any) -> Any:
        found = execute(sql, *rest)
        if not others and sql.startswith("SELECT") and "django_qerko_reply" in sql:
            others.append(meanwhile(refuse, transactional_restaurant))
            others.append(others[0].__enter__())
            threading.Event().wait(0.5)
        return found

    with connection.execute_wrapper(after_the_look_for_replies):
        assert beginning(transactional_restaurant) == 202
    others[0].__exit__(None, None, None)

    assert WebhookEvent.objects.get().status == 422
    assert nothing_is_locked()


@pytest.mark.parametrize("event", ["paymentStart", "paymentClosed"])
def test_who_was_told_202_is_told_so_again_while_the_handler_works(
    transactional_restaurant: Restaurant, answering: Answering, settings: Any, event: str
) -> None:
    """A step of the payment is written by then, and must not lock the row of its event (InnoDB would)."""
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": []}
    if event == "paymentClosed":
        assert beginning(transactional_restaurant) == 200
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": [event]}
    heard: list[Any] = []

    def again() -> int:
        data = CANCELLED if event == "paymentClosed" else {"payment": told("p-1")}
        return int(deliver(transactional_restaurant, event, data, event_id="e").status_code)

    def work(**_: Any) -> None:
        before = time.monotonic()
        with meanwhile(lambda _: again(), transactional_restaurant) as answers:
            pass
        heard.append((answers, time.monotonic() - before < 2))

    answering(payment_started if event == "paymentStart" else payment_closed, work)
    assert again() == 202

    tasks.handle_event(WebhookEvent.objects.get(event_id="e").pk)

    assert heard == [([202], True)]
    assert WebhookEvent.objects.get(event_id="e").state == "handled"

"""Observers get the event, its class as the sender, and our rows, and break nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.dispatch import Signal
from django.utils import timezone

from django_qerko import events, tasks
from django_qerko.models import Reply, Restaurant, WebhookEvent
from django_qerko.replying import sending, telling
from django_qerko.signals import (
    bill_requested,
    event_failed,
    event_handled,
    payment_processed,
    reply_delivered,
    reply_stale,
)
from tests.deliveries import deliver
from tests.qerkos import StrangeQerko, response, saying
from tests.records import RECEIPT, begin, enter, offer, store

Answering = Callable[[Signal, Any], None]
Heard = list[dict[str, Any]]


@pytest.fixture
def heard(answering: Answering) -> Callable[[Signal], Heard]:
    """What is told to those who observe."""

    def listen(signal: Signal) -> Heard:
        told: Heard = []

        def note(**got: Any) -> None:
            told.append(got)

        answering(signal, note)
        return told

    return listen


def test_of_a_handling_they_get_the_rows_as_they_are_afterwards(
    restaurant: Restaurant, answering: Answering, heard: Callable[[Signal], Heard]
) -> None:
    told = heard(event_handled)
    answering(bill_requested, offer())

    deliver(restaurant, "getBill")

    (got,) = told
    assert (got["sender"], got["event"].bill_id, got["restaurant"]) == (events.BillRequested, "42", restaurant)
    assert got["bill"].snapshot["id"] == "42", "the first snapshot of a bill makes its row"
    assert got["payment"] is None


def test_of_a_handling_that_broke_they_get_the_rows_that_stand(
    restaurant: Restaurant, answering: Answering, heard: Callable[[Signal], Heard], settings: Any
) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": []}
    told = heard(event_failed)
    payment = begin(restaurant, payment_id="p1")
    answering(payment_processed, lambda **_: 1 / 0)

    deliver(restaurant, "paymentProcessed", {"paymentId": "p1"})

    (got,) = told
    assert (got["bill"], got["payment"]) == (payment.bill, payment)
    assert isinstance(got["error"], ZeroDivisionError)


def test_of_a_reply_they_get_its_event_and_our_rows(
    restaurant: Restaurant, answering: Answering, heard: Callable[[Signal], Heard], settings: Any
) -> None:
    server = StrangeQerko(saying(response()))
    settings.QERKO = settings.QERKO | {"BASE_URL": server.url, "ANSWER_LATER": ["paymentProcessed"]}
    told = heard(reply_delivered)
    answering(payment_processed, RECEIPT)
    payment = begin(restaurant, payment_id="p1")
    assert deliver(restaurant, "paymentProcessed", {"paymentId": "p1"}).status_code == 202

    tasks.handle_event(WebhookEvent.objects.get().pk)
    tasks.send_reply(Reply.objects.get().pk)
    server.close()

    (got,) = told
    assert (got["sender"], got["event"].payment_id) == (events.PaymentProcessed, "p1")
    assert got["event"].record == got["reply"].event_id
    assert (got["restaurant"], got["bill"], got["payment"]) == (restaurant, payment.bill, payment)
    assert got["reply"].state == "delivered"


@pytest.mark.parametrize(("name", "sender"), [("getBill", events.BillRequested), ("orderPrepare", events.OtherEvent)])
def test_of_what_cannot_be_read_any_more_there_is_no_event(
    restaurant: Restaurant, heard: Callable[[Signal], Heard], name: str, sender: type[events.Event]
) -> None:
    told = heard(reply_stale)
    past = timezone.now() - timedelta(seconds=1)
    reply = store(enter(restaurant, name=name, payload=b"{", deadline_at=past), deadline_at=past)

    assert sending.expire(reply)

    (got,) = told
    assert (got["sender"], got["reply"], got["restaurant"]) == (sender, reply, restaurant)
    assert (got["event"], got["bill"], got["payment"]) == (None, None, None)


def test_rows_that_cannot_be_read_keep_no_observer_from_hearing(
    restaurant: Restaurant,
    answering: Answering,
    heard: Callable[[Signal], Heard],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def gone(*_: Any) -> Any:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(telling, "rows_of", gone)
    told = heard(event_handled)
    answering(bill_requested, offer())

    assert deliver(restaurant, "getBill").status_code == 200

    (got,) = told
    assert (got["event"].bill_id, got["bill"], got["payment"]) == ("42", None, None)
    assert "Our rows of getBill could not be read for those who observe it" in caplog.text

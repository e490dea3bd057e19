"""Whatever is repeated, reordered or late has one outcome, which the docs show as the tests run it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from django_qerko.answers import NOTHING
from django_qerko.models import Bill, Payment, Restaurant, WebhookEvent
from django_qerko.signals import (
    bill_requested,
    payment_closed,
    payment_processed,
    payment_started,
    postponed_receipt_requested,
)
from tests import outcomes
from tests.deliveries import deliver
from tests.outcomes import Outcome
from tests.records import RECEIPT, offer, told

Answering = Callable[[Signal, Any], None]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "payments.md"
POSTPONED = RECEIPT.model_copy(update={"receipt_delivery_type": "POSTPONED"})
#: A receipt that differs from the one of before.
LATER = RECEIPT.model_copy(update={"receipt_delivery_type": "EMAIL"})

START = ("paymentStart", {"payment": told()})
PROCESS = ("paymentProcessed", {"paymentId": "p1"})
PAID = ("paymentClosed", {"paymentId": "p1", "state": "PAID"})
EXPIRED = ("paymentClosed", {"paymentId": "p1", "state": "EXPIRED"})
TOO_MUCH = ("paymentStart", {"payment": told(items=[{"id": "1", "quantity": "3"}])})

#: What was delivered before, and the receipt that the handler gave then.
BEFORE: dict[str, tuple[list[tuple[str, Any]], Any]] = {
    outcomes.NEVER: ([], RECEIPT),
    outcomes.END_TOLD: ([EXPIRED], RECEIPT),
    outcomes.STARTED: ([START], RECEIPT),
    outcomes.PROCESSED: ([START, PROCESS], RECEIPT),
    outcomes.POSTPONED: ([START, PROCESS], POSTPONED),
    outcomes.PAID: ([START, PROCESS, PAID], RECEIPT),
    outcomes.PAID_EARLY: ([START, PAID], RECEIPT),
    outcomes.REFUSED: ([TOO_MUCH], RECEIPT),
    outcomes.EXPIRED: ([START, EXPIRED], RECEIPT),
    outcomes.TAKEN_BACK: ([START], RECEIPT),
}
EVENTS: dict[str, tuple[str, Any]] = {
    outcomes.START: START,
    outcomes.START_OTHER: ("paymentStart", {"payment": told(currency="EUR")}),
    outcomes.START_SECOND: ("paymentStart", {"payment": told("p2")}),
    outcomes.PROCESS: PROCESS,
    outcomes.CLOSE_PAID: PAID,
    outcomes.CLOSE_ELSE: ("paymentClosed", {"paymentId": "p1", "state": "DECLINED"}),
    outcomes.ASK_RECEIPT: ("getPostponedReceipt", {"paymentId": "p1"}),
}
#: Everything that the table has something to say about: of what never began there is no other content.
ALL = [
    (event, state)
    for event in EVENTS
    for state in BEFORE
    if event != outcomes.START_OTHER or state not in (outcomes.NEVER, outcomes.END_TOLD)
]


class Till:
    """A point of sale that counts how often it is asked."""

    def __init__(self, answering: Answering) -> None:
        self.asked = 0
        self.receipt: Any = RECEIPT
        for signal in (payment_started, payment_closed):
            answering(signal, self.accept)
        for signal in (payment_processed, postponed_receipt_requested):
            answering(signal, self.give_receipt)

    def accept(self, **_: Any) -> Any:
        self.asked += 1
        return NOTHING

    def give_receipt(self, **_: Any) -> Any:
        self.asked += 1
        return self.receipt


@pytest.fixture
def till(answering: Answering) -> Till:
    answering(bill_requested, offer())
    return Till(answering)


def come_into(state: str, restaurant: Restaurant, till: Till) -> None:
    deliveries, till.receipt = BEFORE[state]
    deliver(restaurant, "getBill")
    for name, data in deliveries:
        deliver(restaurant, name, data)
    if state == outcomes.TAKEN_BACK:
        payment = Payment.objects.get()
        with transaction.atomic():
            payment.cancel(at=timezone.now(), reason="A waiter took it back.")
    till.asked, till.receipt = 0, LATER


def data_of(event: str, state: str) -> tuple[str, Any]:
    """What is delivered; the same content of a payment that was refused is the one that was refused."""
    return TOO_MUCH if (event, state) == (outcomes.START, outcomes.REFUSED) else EVENTS[event]


def state_of(payment_id: str) -> str:
    """In the words of the table; of what is unknown nothing."""
    states = Payment.objects.filter(payment_id=payment_id).values_list("state", flat=True)
    return "".join(f"`{state}`" for state in states)


def locked() -> str:
    bill = Bill.objects.get()
    payment = Payment.objects.in_progress().first()
    assert bill.locked_quantities == (payment.quantities if payment else {})
    return {None: "nothing", "p1": "its items", "p2": "the other's items"}[payment.payment_id if payment else None]


def said(response: Any, receipt: Any) -> str:
    body = response.json()
    if response.status_code == 422:
        return f"`{body['code']}`"
    if body is None:
        return "`null`"
    return {
        receipt.receipt_delivery_type: "the receipt of before",
        LATER.receipt_delivery_type: "the handler's receipt",
    }[body["receiptDeliveryType"]]


def is_asked_about() -> bool:
    """Whether Qerko is to be asked about p1, be it one of ours or not."""
    newest = WebhookEvent.objects.latest("pk")
    return newest.next_handling_at is not None or Payment.objects.exclude(newer_start_at=None).exists()


def test_the_table_has_a_word_for_every_event_in_every_state() -> None:
    assert sorted((event, state) for event, state, _ in outcomes.cases()) == sorted(ALL)


@pytest.mark.parametrize(("event", "state", "outcome"), list(outcomes.cases()))
def test_the_table_is_right(
    restaurant: Restaurant, till: Till, caplog: pytest.LogCaptureFixture, event: str, state: str, outcome: Outcome
) -> None:
    come_into(state, restaurant, till)
    before = state_of("p1")
    caplog.clear()

    response = deliver(restaurant, *data_of(event, state))

    assert (
        Outcome(
            status=response.status_code,
            said=said(response, BEFORE[state][1]),
            state="" if state_of("p1") == before else state_of("p1"),
            locked=locked(),
            asked=till.asked == 1,
            alarm=any(line.levelno >= logging.ERROR for line in caplog.records),
            inquiry=is_asked_about(),
        )
        == outcome
    )
    assert till.asked in (0, 1)


@pytest.mark.parametrize(("event", "state"), ALL)
def test_whatever_is_said_twice_is_answered_without_a_failure(
    restaurant: Restaurant, till: Till, event: str, state: str
) -> None:
    come_into(state, restaurant, till)
    first = deliver(restaurant, *data_of(event, state))
    after = state_of("p1"), state_of("p2"), locked(), Bill.objects.get().paid

    second = deliver(restaurant, *data_of(event, state))

    assert (first.status_code, second.status_code) in {(200, 200), (422, 422)}
    assert (state_of("p1"), state_of("p2"), locked(), Bill.objects.get().paid) == after


def test_the_docs_show_the_table_that_the_tests_run() -> None:
    (shown,) = re.findall("<!-- outcomes -->\n(.*)\n<!-- end of outcomes -->", PAGE.read_text(), re.DOTALL)

    assert shown == outcomes.render(), (
        "Put between the two markers of docs/payments.md what this prints: "
        "python -c 'from tests.outcomes import render; print(render())'"
    )

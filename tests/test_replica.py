"""A replica may lag behind, so the road of payments reads where it writes, whatever a router says of reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import models, router
from django.dispatch import Signal
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist

from django_qerko import models as ours
from django_qerko import tasks
from django_qerko.answers import LATER, NOTHING
from django_qerko.exceptions import DomainError
from django_qerko.models import Bill, Payment, Reply, Restaurant, RestaurantKey, WebhookEvent
from django_qerko.receiving.keyring import Door, Keyring
from django_qerko.replying import reply_later
from django_qerko.signals import (
    bill_requested,
    bills_searched,
    payment_closed,
    payment_processed,
    payment_started,
    postponed_receipt_requested,
    table_contents_requested,
)
from django_qerko.tending import take_back
from django_qerko.tending.reconciling import Outcome, ask_due, reconcile
from tests.deliveries import deliver
from tests.qerkos import StrangeQerko, knowing
from tests.records import RECEIPT, begin, offer, open_bill, told

Answering = Callable[[Signal, Any], None]

REPLICA = "replica"
#: What changes within a second, and is read again within the next.
COPIED = (
    *(ours.Bill, ours.Payment, ours.PaymentItem, ours.PaymentPart, ours.PaymentStep),
    *(ours.WebhookEvent, ours.Reply, ours.Attempt),
)
POSTPONED = RECEIPT.model_copy(update={"receipt_delivery_type": "POSTPONED"})
MINUTE = timedelta(minutes=1)


class Router:
    """Sends reads to a database that is not there: whoever asks it falls over."""

    def db_for_read(self, model: type[models.Model], **_: Any) -> str | None:
        return REPLICA if model in COPIED else None

    def allow_relation(self, *_: models.Model, **__: Any) -> bool:
        return True


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """While this lasts, the project reads from a replica."""
    before = router.routers

    @contextmanager
    def reading() -> Iterator[None]:
        with monkeypatch.context() as patched:
            patched.setattr(router, "routers", [Router(), *before])
            yield

    return reading


@pytest.fixture(params=[[], ["paymentStart", "paymentProcessed", "paymentClosed"]], ids=["now", "later"])
def when(request: pytest.FixtureRequest, settings: Any) -> None:
    """Payment events are answered now, or later."""
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": request.param}


@pytest.fixture
def qerko(settings: Any) -> Iterator[dict[str, Any]]:
    """What Qerko knows of payments; what it is asked to cancel is cancelled."""
    known: dict[str, Any] = {}

    def cancel(payment_id: str) -> int:
        known[payment_id] = told(payment_id, state="CANCELLED")
        return 200

    house = StrangeQerko(knowing(known, cancelling=cancel))
    settings.QERKO = settings.QERKO | {"BASE_URL": house.url}
    yield known
    house.close()


def said(restaurant: Restaurant, event: str, data: Any = ...) -> tuple[int, Any]:
    """What Qerko hears, now or later."""
    response = deliver(restaurant, event, data)
    if response.status_code != 202:
        return response.status_code, response.json()
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent))
    record = book.latest("pk")
    tasks.handle_event(record.pk)
    reply = Reply.objects.using(book.db).get(event=record)
    return 422 if reply.is_error else 200, json.loads(bytes(reply.answer))


def as_a_replica_has_it(payment: Payment) -> Payment:
    """A row that somebody read before all this, in a database where nobody writes."""
    payment._state.db = REPLICA
    return payment


def test_a_replica_is_not_there(restaurant: Restaurant, elsewhere: Callable[[], Any]) -> None:
    with elsewhere(), pytest.raises(ConnectionDoesNotExist):
        Payment.objects.first()


@pytest.mark.parametrize("has_address", [True, False])
def test_a_key_that_was_taken_away_is_not_read_from_a_replica(
    restaurant: Restaurant, elsewhere: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, has_address: bool
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "COPIED", (Restaurant, RestaurantKey))
    token = restaurant.webhook_token if has_address else None

    with elsewhere():
        assert len(Keyring().door(token).keys) == 1
        RestaurantKey.objects.using("default").all().delete()
        assert Keyring().door(token) == Door(token=token, restaurant=restaurant, read_at=0)


@pytest.mark.usefixtures("when")
@pytest.mark.parametrize("style", ["unpaid", "ordered"])
def test_a_guest_pays(
    restaurant: Restaurant, answering: Answering, settings: Any, elsewhere: Callable[[], Any], style: str
) -> None:
    settings.QERKO = settings.QERKO | {"BILL_ITEMS": style}
    bill = offer(item_1=2, item_2=1)
    answering(bill_requested, bill)
    for signal in (table_contents_requested, bills_searched):
        answering(signal, [bill])
    got: list[Any] = []

    def receive(event: Any, payment: Payment, **_: Any) -> Any:
        got.append((payment.quantities, payment.bill.locked, payment.has_receipt))
        return RECEIPT if event.name == "paymentProcessed" else None

    for signal in (payment_started, payment_processed, payment_closed):
        answering(signal, receive)

    with elsewhere():
        for question in ("getTableContents", "searchBills", "getBill"):
            assert said(restaurant, question)[0] == 200
        assert said(restaurant, "paymentStart") == (200, None)
        assert said(restaurant, "paymentStart") == (200, None)
        assert said(restaurant, "paymentStart", {"payment": told(currency="EUR")})[0] == 422
        assert said(restaurant, "paymentStart", {"payment": told("p2")})[0] == 422
        assert said(restaurant, "paymentProcessed") == (200, RECEIPT.as_json())
        assert said(restaurant, "paymentProcessed") == (200, RECEIPT.as_json())
        assert said(restaurant, "getPostponedReceipt") == (200, RECEIPT.as_json())
        assert said(restaurant, "paymentClosed") == (200, None)
        assert said(restaurant, "paymentClosed") == (200, None)
        assert said(restaurant, "paymentStart") == (200, None)
        for question in ("getTableContents", "searchBills", "getBill"):
            assert said(restaurant, question)[0] == 200

    one = {"1": Decimal(1)}
    assert got == [(one, {"1": "1"}, False), (one, {"1": "1"}, False), (one, {}, True)]
    assert (Bill.objects.get().paid, bool(Bill.objects.get().offered_again)) == ({"1": "1"}, style == "unpaid")
    assert [str(step) for step in Payment.objects.get(payment_id="p1").steps.all()] == [
        "new → started",
        "started → processed",
        "processed → paid",
    ]


@pytest.mark.usefixtures("when")
def test_a_payment_comes_to_nothing_and_is_paid_after_all(restaurant: Restaurant, elsewhere: Callable[[], Any]) -> None:
    open_bill(restaurant, "42")
    declined = {"paymentId": "p1", "state": "DECLINED"}

    with elsewhere():
        assert said(restaurant, "paymentClosed", {"paymentId": "p0", "state": "DECLINED"}) == (200, None)
        assert said(restaurant, "paymentClosed", {"paymentId": "p0", "state": "PAID"})[0] == 422
        assert said(restaurant, "paymentStart", {"payment": told("p0")})[0] == 422
        assert said(restaurant, "paymentStart") == (200, None)
        assert said(restaurant, "paymentClosed", declined) == (200, None)
        assert said(restaurant, "paymentProcessed")[0] == 422
        assert said(restaurant, "paymentStart")[0] == 422
        assert said(restaurant, "getPostponedReceipt")[0] == 422
        assert said(restaurant, "paymentClosed") == (200, None)
        assert said(restaurant, "paymentClosed", declined) == (200, None)

    assert (Payment.objects.get(payment_id="p1").state, Bill.objects.get().locked) == ("paid", {})


def test_an_answer_is_given_later(restaurant: Restaurant, answering: Answering, elsewhere: Callable[[], Any]) -> None:
    for signal in (payment_started, payment_processed, postponed_receipt_requested, bill_requested):
        answering(signal, LATER)
    answers: dict[str, Any] = {
        "getBill": offer(),
        "paymentStart": NOTHING,
        "paymentProcessed": POSTPONED,
        "getPostponedReceipt": RECEIPT,
    }
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent))

    with elsewhere():
        for name, answer in answers.items():
            assert deliver(restaurant, name).status_code == 202
            assert not reply_later(book.latest("pk"), answer).is_error
        assert deliver(restaurant, "paymentStart", {"payment": told("p2", "43")}).status_code == 202
        reply_later(book.latest("pk"), DomainError("ACCESS_DENIED", "not today"))

    payment = Payment.objects.get(payment_id="p1")
    assert (payment.state, payment.receipt) == ("processed", RECEIPT.as_json())
    assert Payment.objects.get(payment_id="p2").reason == "ACCESS_DENIED: not today"


def test_a_handler_that_replies_and_says_later_has_replied(
    restaurant: Restaurant, answering: Answering, elsewhere: Callable[[], Any]
) -> None:
    def reply(event: Any, **_: Any) -> Any:
        reply_later(event, NOTHING)
        return LATER

    answering(payment_started, reply)

    with elsewhere():
        deliver(restaurant, "paymentStart")

    assert WebhookEvent.objects.get().state == "handled"


def test_a_handler_breaks_and_hears_it_again(
    restaurant: Restaurant, answering: Answering, settings: Any, elsewhere: Callable[[], Any]
) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": ["paymentClosed", "paymentStart"]}
    broken = [True, True]

    def break_once(**_: Any) -> None:
        if broken.pop():
            raise RuntimeError("the till is broken")

    answering(payment_closed, break_once)

    with elsewhere():
        assert said(restaurant, "paymentStart") == (200, None)
        assert said(restaurant, "paymentClosed") == (422, {"code": None, "message": "The event could not be handled."})
        book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent))
        broken.insert(0, False)
        for _ in range(2):
            book.filter(state="failed").update(next_handling_at=timezone.now())
            tasks.handle_event(book.latest("pk").pk)

    assert Payment.objects.get().state == "paid"


def test_a_handler_hands_in_a_receipt(
    restaurant: Restaurant, answering: Answering, elsewhere: Callable[[], Any]
) -> None:
    begin(restaurant, payment_id="p1")
    answering(payment_closed, lambda payment, **_: payment.provide_receipt(RECEIPT))

    with elsewhere():
        assert deliver(restaurant, "paymentClosed").status_code == 200

    assert Payment.objects.get().receipt == RECEIPT.as_json()


def test_a_receipt_is_handed_in(restaurant: Restaurant, elsewhere: Callable[[], Any]) -> None:
    payment = as_a_replica_has_it(begin(restaurant, payment_id="p1", receipt=POSTPONED.as_json()))

    with elsewhere():
        payment.provide_receipt(RECEIPT)

    assert payment.receipt == Payment.objects.get().receipt == RECEIPT.as_json()


@pytest.mark.parametrize("state", ["PAID", "DECLINED", 404])
def test_qerko_is_asked(
    restaurant: Restaurant, qerko: dict[str, Any], elsewhere: Callable[[], Any], state: str | int
) -> None:
    open_bill(restaurant, "42")
    deliver(restaurant, "paymentStart")
    assert deliver(restaurant, "paymentClosed", {"paymentId": "p2", "state": "PAID"}).status_code == 422
    deliver(restaurant, "paymentStart", {"payment": told("p3")})
    ago = timezone.now() - 10 * MINUTE
    Payment.objects.in_progress().update(created_at=ago, next_question_at=ago)
    qerko |= {"p1": told("p1", state=state) if isinstance(state, str) else state, "p2": told("p2", state="PAID")}

    with elsewhere():
        assert ask_due() == 2

    ended = dict(Payment.objects.values_list("payment_id", "state"))
    assert ended == {"p1": "paid" if state == "PAID" else "cancelled", "p2": "paid", "p3": "cancelled"}


def test_qerko_is_asked_by_hand(restaurant: Restaurant, qerko: dict[str, Any], elsewhere: Callable[[], Any]) -> None:
    payment = as_a_replica_has_it(begin(restaurant, payment_id="p1"))
    qerko["p1"] = told(state="PAID")

    with elsewhere():
        assert reconcile(payment, by_hand=True).outcome is Outcome.SETTLED

    assert Payment.objects.get().state == "paid"


@pytest.mark.parametrize("state", ["started", "processed"])
def test_a_waiter_takes_a_payment_back(
    restaurant: Restaurant, qerko: dict[str, Any], elsewhere: Callable[[], Any], state: str
) -> None:
    payment = as_a_replica_has_it(begin(restaurant, payment_id="p1", state=state))
    qerko["p1"] = told(state="PROCESSED")

    with elsewhere():
        assert take_back(payment).is_cancelled

    assert Payment.objects.get().state == "cancelled"

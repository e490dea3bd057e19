"""The signed client and the recording Qerko: what they say is what Qerko would, and nothing goes elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import override_settings

from django_qerko import queueing, signals
from django_qerko.answers import LATER, NOTHING, Bill, BillItem
from django_qerko.client import QerkoClient
from django_qerko.conf import DEFAULTS, conf, given
from django_qerko.exceptions import BillNotFound, DomainError, Refused
from django_qerko.models import Attempt, Payment, Rejection, Reply, Restaurant, WebhookEvent
from django_qerko.receiving import rejections
from django_qerko.replying import reply_later
from django_qerko.sandbox.signing import TAMPERINGS
from django_qerko.tending import take_back
from django_qerko.testing import (
    isolated,
    make_bill,
    make_delivery,
    make_payment,
    make_receipt,
    make_restaurant,
    work,
)
from django_qerko.testing.client import SignedClient
from django_qerko.testing.recording import RecordingQerko, post, recording_qerko
from tests.deliveries import OTHER_KEY

Answering = Callable[[Signal, Any], None]

pytestmark = pytest.mark.django_db

PAYMENT_EVENTS = ["paymentStart", "paymentProcessed", "paymentClosed"]
BEER = BillItem(id="1", name="Pivo", quantity=2, price="55.00")


def show_bill(event: Any, **_: Any) -> Bill:
    if event.bill_id == "none":
        raise BillNotFound
    return Bill(id=event.bill_id, currency="CZK", items=[BEER])


def print_receipt(payment: Any, **_: Any) -> Any:
    return make_receipt(payment)


@pytest.fixture
def client(restaurant: Restaurant, answering: Answering) -> SignedClient:
    answering(signals.bill_requested, show_bill)
    answering(signals.payment_processed, print_receipt)
    return SignedClient(restaurant)


@pytest.fixture(params=["at once", "later"])
def when(request: pytest.FixtureRequest) -> Iterator[str]:
    """Payments are answered in the response, or through ``/reply``."""
    later = PAYMENT_EVENTS if request.param == "later" else []
    with override_settings(QERKO={**given(), "ANSWER_LATER": later}):
        yield request.param


@pytest.fixture
def later() -> Iterator[None]:
    """All that is asked here is answered later."""
    with override_settings(QERKO={**given(), "ANSWER_LATER": [*PAYMENT_EVENTS, "getBill"]}):
        yield


@pytest.fixture
def qerko(restaurant: Restaurant) -> Iterator[RecordingQerko]:
    with recording_qerko(restaurant) as qerko:
        yield qerko


# -- The signed client -----------------------------------------------------------------------------


def test_an_answer_is_given_with_its_record(client: SignedClient, restaurant: Restaurant) -> None:
    delivered = client.deliver("getBill", bill_id="7", event_id="e1")

    assert (delivered.status, delivered.error_code, delivered.rejection) == (200, None, None)
    assert delivered.answer["items"][0]["price"] == "55.00"
    assert delivered.is_answered
    assert not delivered.findings
    assert delivered.record == WebhookEvent.objects.get(restaurant=restaurant, event_id="e1", bill_id="7")


def test_a_refusal_is_given_with_its_code(client: SignedClient) -> None:
    delivered = client.deliver("getBill", bill_id="none")

    assert (delivered.status, delivered.error_code, delivered.is_answered) == (422, "BILL_NOT_FOUND", False)
    assert delivered.record is not None


def test_data_may_be_given_whole_and_the_envelope_may_hold_news(client: SignedClient) -> None:
    delivered = client.deliver("getBill", {"idBill": "7", "news": [1]}, extra={"more": 1}, url_per_event=True)

    assert delivered.record is not None
    assert delivered.exchange.request_url.endswith("/getBill/")
    assert json.loads(bytes(delivered.record.payload))["more"] == 1
    assert delivered.record.bill_id == "7"


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_forgery_is_turned_away_and_the_reason_is_told(client: SignedClient, tamper: str) -> None:
    delivered = client.deliver("getBill", tamper=tamper)

    assert (delivered.status, delivered.record, delivered.is_answered) == (401, None, False)
    assert delivered.rejection is not None
    assert delivered.rejection.reason
    assert client.deliver("getBill").rejection is None


@pytest.mark.parametrize(("age", "status"), [(0, 200), (20, 410), (100, 410), (-60, 410)])
def test_an_event_of_every_age_gets_its_status(client: SignedClient, age: float, status: int) -> None:
    delivered = client.deliver("getBill", age=age)

    assert delivered.status == status
    assert not delivered.findings


@pytest.mark.parametrize("scheme", ["rfc9421", "hmac-sha256"])
def test_a_delivery_is_signed_as_a_test_wants(client: SignedClient, scheme: str) -> None:
    delivered = client.deliver("getBill", schemes=[scheme])

    assert delivered.status == 200
    assert ("Signature-Input" in delivered.exchange.request_headers) is (scheme == "rfc9421")


@pytest.mark.parametrize("public_url", [None, "https://pub.example"])
@pytest.mark.parametrize("redirects", [False, True])
def test_a_project_behind_a_proxy_and_https_is_reached(
    client: SignedClient, public_url: str | None, redirects: bool
) -> None:
    with override_settings(QERKO={**given(), "PUBLIC_URL": public_url}, SECURE_SSL_REDIRECT=redirects):
        assert client.deliver("getBill").status == 200


def test_the_same_event_again_is_the_same_record(client: SignedClient) -> None:
    first, second = (client.deliver("getBill", event_id="e1") for _ in range(2))

    assert first.record == second.record
    assert first.answer == second.answer


def test_an_answer_that_comes_later_is_there_as_well(client: SignedClient, later: None) -> None:
    delivered = client.deliver("getBill", bill_id="7")

    assert delivered.status == 202
    assert delivered.answer["id"] == "7"
    assert delivered.is_answered
    assert delivered.error_code is None
    assert Reply.objects.get().is_waiting


def test_a_refusal_that_comes_later_is_there_as_well(client: SignedClient, later: None) -> None:
    delivered = client.deliver("getBill", bill_id="none")

    assert (delivered.status, delivered.error_code, delivered.is_answered) == (202, "BILL_NOT_FOUND", False)


def test_what_a_worker_has_not_done_waits_for_it(client: SignedClient, later: None) -> None:
    delivered = client.deliver("getBill", works=False)

    assert delivered.record is not None
    assert (delivered.status, delivered.answer, delivered.record.state) == (202, None, "received")
    work()
    delivered.record.look_again()
    assert delivered.record.state == "handled"
    assert delivered.answer["id"] == "42"


def test_nothing_reaches_a_broker_and_no_thread_writes(client: SignedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(queueing, "ring", lambda task, key, **_: rung.append(task))
    counter = rejections.counter

    with isolated() as turned_away:
        assert queueing.ring(queueing.SWEEP, 1)
        client.deliver("getBill", tamper="body")
        post(make_delivery(client.restaurant, "getBill", tamper="body"))

    assert rung == []
    assert [rejection.status for rejection in turned_away] == [401]
    assert rejections.counter is counter
    counter.write()
    assert not Rejection.objects.exists()


# -- Deliveries for other clients --------------------------------------------------------------------


def test_a_delivery_can_be_sent_by_any_client(client: SignedClient) -> None:
    delivery = make_delivery(client.restaurant, "getBill", bill_id="7")
    per_event = make_delivery(client.restaurant, "getBill", {"billId": "8"}, url_per_event=True, event_id="e1")

    assert post(delivery).json()["id"] == "7"
    assert post(per_event).json()["id"] == "8"
    assert WebhookEvent.objects.first().event_id == "e1"  # type: ignore[union-attr]  # it was just made


def test_a_delivery_is_signed_for_the_address_that_is_called(client: SignedClient) -> None:
    delivery = make_delivery(client.restaurant, "getBill", origin="http://pub.example/")

    assert delivery.url == f"http://pub.example{client.restaurant.webhook_path}"
    assert post(delivery).status_code == 401


# -- The recording Qerko -----------------------------------------------------------------------------


def test_a_reply_is_recorded(client: SignedClient, qerko: RecordingQerko, later: None) -> None:
    delivered = client.deliver("getBill", bill_id="7")

    (reply,) = qerko.replies
    assert (reply.event, reply.event_id, reply.is_error) == ("getBill", delivered.exchange.event_id, False)
    assert (reply.status, reply.answer["id"], reply.findings) == (200, "7", ())
    assert Reply.objects.get().state == Reply.State.DELIVERED


def test_a_busy_qerko_is_knocked_at_again(client: SignedClient, qerko: RecordingQerko, later: None) -> None:
    qerko.be_busy(2)

    client.deliver("getBill")

    assert [reply.status for reply in qerko.replies] == [503, 503, 200]
    assert list(Attempt.objects.values_list("number", "status")) == [(1, 503), (2, 503), (3, 200)]


def test_a_qerko_that_is_busy_for_ever_is_given_up(client: SignedClient, qerko: RecordingQerko, later: None) -> None:
    qerko.be_busy(1_000)

    client.deliver("getBill")

    assert Reply.objects.get().is_waiting
    assert len(qerko.replies) == 20


def test_an_answer_by_hand_leaves_when_the_worker_works(
    restaurant: Restaurant, qerko: RecordingQerko, answering: Answering
) -> None:
    answering(signals.bill_requested, LATER)

    delivered = SignedClient(restaurant).deliver("getBill", bill_id="7")

    assert delivered.record is not None
    assert (delivered.status, delivered.answer, qerko.replies) == (202, None, ())
    reply_later(delivered.record, Bill(id="7", currency="CZK", items=[]))
    work()
    assert [(reply.event_id, reply.answer["id"]) for reply in qerko.replies] == [(delivered.record.event_id, "7")]


def test_what_another_client_delivered_is_replied_to(client: SignedClient, qerko: RecordingQerko, later: None) -> None:
    with isolated():
        assert post(make_delivery(client.restaurant, "getBill", event_id="e1")).status_code == 202

    work()

    assert [(reply.event_id, reply.status, reply.findings) for reply in qerko.replies] == [("e1", 200, ())]


def test_qerko_asks_as_well_as_it_listens(client: SignedClient, qerko: RecordingQerko, when: str) -> None:
    story = client.pay("42", items={"1": 1}, tip="5.00", customer_id="guest", payment_id="p1")

    assert story.is_paid
    assert story.receipt is not None
    assert not story.findings
    assert len(qerko.replies) == (3 if when == "later" else 0)
    payment = Payment.objects.get(payment_id="p1")
    assert (payment.state, payment.customer_id, payment.bill.owed) == ("paid", "guest", Decimal(55))


def test_a_guest_pays_where_no_qerko_was_opened(client: SignedClient, when: str) -> None:
    assert client.pay("42").is_paid
    with pytest.raises(ValueError, match="no bill"):
        client.pay("none")


def test_a_payment_that_is_refused_is_cancelled(client: SignedClient, answering: Answering, when: str) -> None:
    def refuse(**_: Any) -> None:
        raise DomainError("BAD_PARAMETER", "The kitchen is closed.")

    answering(signals.payment_started, refuse)

    story = client.pay("42")

    assert story.state == "CANCELLED"
    assert [turn.error_code for turn in story.turns] == ["BAD_PARAMETER", None]


def test_the_settings_come_back(restaurant: Restaurant) -> None:
    before = conf.BASE_URL
    with override_settings(QERKO={"REPLY_DEADLINE": DEFAULTS["REPLY_DEADLINE"]}), recording_qerko() as qerko:
        assert qerko.url == conf.BASE_URL
        assert conf.POS_ID
    assert before == conf.BASE_URL
    assert qerko.url.startswith("http://127.0.0.1:")


def test_a_restaurant_is_known_once_it_is_met(restaurant: Restaurant, qerko: RecordingQerko) -> None:
    stranger = make_restaurant()
    with pytest.raises(Refused):
        QerkoClient(stranger.api_key).who_am_i()

    qerko.meet(stranger)
    qerko.meet(stranger)

    assert [known.name for known in QerkoClient(stranger.api_key).who_am_i()] == [stranger.name]
    assert [known.name for known in QerkoClient(restaurant.api_key).who_am_i()] == [restaurant.name]


def test_a_new_key_is_known_with_the_next_delivery(client: SignedClient, qerko: RecordingQerko, later: None) -> None:
    client.restaurant.add_key(OTHER_KEY)

    client.deliver("getBill")

    assert Reply.objects.get().state == Reply.State.DELIVERED


# -- What Qerko knows of payments ----------------------------------------------------------------------


def test_a_payment_that_nobody_told_of_is_not_known(restaurant: Restaurant, qerko: RecordingQerko) -> None:
    with pytest.raises(Refused) as refused:
        QerkoClient(restaurant.api_key).get_payment("p1")

    assert refused.value.status == 404


def test_a_payment_is_known_in_the_state_that_was_told_last(restaurant: Restaurant, qerko: RecordingQerko) -> None:
    qerko.knows("p1", "CANCELLED")
    qerko.knows("p1")

    payment = QerkoClient(restaurant.api_key).get_payment("p1")

    assert (payment.id, payment.state, payment.bill_id) == ("p1", "PAID", "42")


@pytest.mark.parametrize("by_id", [False, True])
def test_a_payment_of_ours_is_known_as_it_was_told(restaurant: Restaurant, qerko: RecordingQerko, by_id: bool) -> None:
    row = make_payment(make_bill(restaurant, "7", currency="EUR"), payment_id="p1", tip="3.00")

    qerko.knows("p1" if by_id else row, "REFUNDED", restaurant=restaurant)

    payment = QerkoClient(restaurant.api_key).get_payment("p1")
    assert (payment.state, payment.bill_id, payment.currency) == ("REFUNDED", "7", "EUR")
    assert payment.quantities == row.quantities


def test_of_several_restaurants_one_must_be_named(restaurant: Restaurant) -> None:
    with recording_qerko(restaurant, make_restaurant()) as qerko:
        with pytest.raises(ValueError, match="knows 2 restaurants"):
            qerko.knows("p1")
        qerko.knows("p1", restaurant=restaurant)
        assert QerkoClient(restaurant.api_key).get_payment("p1").state == "PAID"


def test_a_payment_is_taken_back(restaurant: Restaurant, qerko: RecordingQerko) -> None:
    payment = make_payment(make_bill(restaurant))
    qerko.knows(payment, "STARTED")

    assert take_back(payment).is_cancelled
    assert QerkoClient(restaurant.api_key).get_payment(payment.payment_id).state == "CANCELLED"


def test_payments_that_are_due_are_asked_about(restaurant: Restaurant, qerko: RecordingQerko) -> None:
    payment = make_payment(make_bill(restaurant), age=2 * conf.RECONCILE_AFTER)
    qerko.knows(payment, "PAID")

    work()

    payment.refresh_from_db()
    assert payment.is_paid


def test_a_tell_is_answered_with_nothing(client: SignedClient, answering: Answering, when: str) -> None:
    answering(signals.payment_closed, NOTHING)

    delivered = client.deliver("paymentClosed", state="CANCELLED")

    assert delivered.is_answered
    assert delivered.answer is None

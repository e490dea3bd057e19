"""A guest pays at a stranger's till: step by step, now or later, refused, in silence, and asked about afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, repeat
from typing import Any

import pytest

from django_qerko import events
from django_qerko.answers import Bill
from django_qerko.sandbox import payments
from django_qerko.sandbox.payments import Payment, Payments
from django_qerko.sandbox.qerko import Pauses, PaymentStory, PointOfSale, Qerko
from tests.deliveries import KEY, OTHER_KEY
from tests.points_of_sale import Later, Till, an_evening, later, later_error

NOW = 1_800_000_000.5
BILL = {
    "id": "42",
    "currency": "CZK",
    "items": [
        {"id": "1", "name": "Pivo", "quantity": "2", "price": "55.00", "additionalData": {"plu": 7}},
        {"id": "2", "name": "Sýr", "quantity": "0.5", "price": "333.33"},
    ],
    "additionalData": {"waiter": "Jan"},
    "news": 1,
}
RECEIPT = {
    "receiptInfo": {"headerLines": ["U Kocoura"]},
    "items": [{"name": "Pivo", "price": "55.00", "taxName": "A", "quantity": "2"}],
    "taxInfo": [{"rate": "21", "base": "90.91", "tax": "19.09"}],
}
NOTED = (202, None)
REFUSED = (422, {"code": "BAD_PARAMETER", "message": "No."})


@pytest.fixture
def qerko() -> Iterator[Qerko]:
    with Qerko(clock=lambda: NOW, deadline=20) as qerko:
        yield qerko


@pytest.fixture
def till(qerko: Qerko) -> Iterator[Till]:
    with an_evening(qerko, paymentProcessed=RECEIPT) as till:
        yield till


def heard(till: Till) -> list[tuple[str, Any]]:
    """The events that the till received, and with which state a payment was closed."""
    return [(said["event"], said["data"].get("state")) for said in (received.document for received in till.received)]


PAID = [("paymentStart", None), ("paymentProcessed", None), ("paymentClosed", "PAID")]


# -- The whole way --------------------------------------------------------------------------------


def test_a_bill_is_paid_with_answers_at_once(qerko: Qerko, till: Till) -> None:
    story = qerko.pay(till.pos(), BILL)

    assert heard(till) == PAID
    assert story.is_paid
    assert story.state == "PAID"
    assert story.payment.history == ("STARTED", "PROCESSED", "PAID")
    assert story.receipt
    assert story.receipt.items[0].price == Decimal("55.00")
    assert [exchange.event for exchange in story.exchanges] == [event for event, _ in PAID]
    assert (story.replies, story.findings) == ((), ())
    assert story.exchanges == qerko.conversation


def test_a_bill_is_paid_with_replies(qerko: Qerko, till: Till) -> None:
    till.answers |= {"paymentStart": later(), "paymentProcessed": later(RECEIPT), "paymentClosed": later()}
    story = qerko.pay(till.pos(), BILL)

    assert heard(till) == PAID
    assert story.is_paid
    assert story.receipt
    assert [reply.exchange for reply in story.replies] == [exchange.number for exchange in story.exchanges]
    assert not story.findings


def test_what_is_paid_is_told(qerko: Qerko, till: Till) -> None:
    story = qerko.pay(till.pos(), BILL, items={"2": "0.25", "1": 1}, tip="5.5", customer_id="c-1", payment_id="p-1")

    (told,) = till.received[0].document["data"].values()
    assert told == {
        "id": "p-1",
        "idBill": "42",
        "idCustomer": "c-1",
        "currency": "CZK",
        "state": "STARTED",
        "items": [
            {"id": "2", "name": "Sýr", "quantity": "0.25", "price": "333.33"},
            {"id": "1", "name": "Pivo", "quantity": "1", "price": "55.00", "additionalData": {"plu": 7}},
        ],
        "discount": None,
        "parts": [{"total": "143.83", "provider": {"id": "1", "name": "Card", "type": "CARD"}}],
        "tipBrutto": "5.50",
        "tipNetto": "5.50",
        "timestamp": "2027-01-15T08:00:00+00:00",
        "additionalData": {"waiter": "Jan"},
    }
    assert story.payment.total == Decimal("143.8325")
    assert [received.document["data"].get("paymentId", "p-1") for received in till.received] == ["p-1"] * 3


def test_our_own_app_reads_such_a_payment(qerko: Qerko, till: Till) -> None:
    payment = events.Payment.model_validate(qerko.pay(till.pos(), BILL).payment.as_json())

    assert (payment.bill_id, payment.state, payment.parts[0].total) == ("42", "PAID", Decimal("276.66"))


def test_a_bill_may_be_ours_and_events_may_be_sent_in_any_way(qerko: Qerko, till: Till) -> None:
    bill = Bill.model_validate({key: value for key, value in BILL.items() if key != "news"})
    till.answers[""] = RECEIPT
    story = qerko.pay(till.pos(), bill, url_per_event=True, schemes=["hmac-sha256"])

    assert story.is_paid
    assert [received.path for received in till.received] == [f"/hook/{event}/" for event, _ in PAID]
    assert "Signature" not in till.received[2].headers


# -- Refused, or not answered ---------------------------------------------------------------------

TROUBLE: list[Any] = [
    REFUSED,
    (500, "It broke."),
    later_error("BAD_PARAMETER"),
    later_error(None),
    Later(letters=[{"error": None}]),
]


@pytest.mark.parametrize("said", TROUBLE)
def test_an_error_to_the_start_cancels(qerko: Qerko, till: Till, said: Any) -> None:
    till.answers["paymentStart"] = said
    story = qerko.pay(till.pos(), BILL)

    assert heard(till) == [("paymentStart", None), ("paymentClosed", "CANCELLED")]
    assert story.payment.history == ("STARTED", "CANCELLED")
    assert not story.is_paid
    assert story.receipt is None


@pytest.mark.parametrize("said", [*TROUBLE, None, later(), later({"items": 1}), {"receiptInfo": {}}])
def test_no_receipt_cancels(qerko: Qerko, till: Till, said: Any) -> None:
    till.answers["paymentProcessed"] = said
    story = qerko.pay(till.pos(), BILL)

    assert heard(till) == [*PAID[:2], ("paymentClosed", "CANCELLED")]
    assert story.payment.history == ("STARTED", "PROCESSED", "CANCELLED")
    assert story.receipt is None


@pytest.mark.parametrize("event", ["paymentStart", "paymentProcessed"])
def test_silence_cancels(event: str) -> None:
    with Qerko(deadline=0.05) as qerko, an_evening(qerko, paymentProcessed=RECEIPT) as till:
        till.answers[event] = NOTED
        story = qerko.pay(till.pos(), BILL)

    assert story.state == "CANCELLED"
    assert heard(till)[-1] == ("paymentClosed", "CANCELLED")
    assert [str(finding) for finding in story.findings] == [
        "a 202 was said, and no reply came in time (protocol section 3)"
    ]


def test_nobody_listens(qerko: Qerko, till: Till) -> None:
    story = qerko.pay(till.pos(url="http://127.0.0.1:1/"), BILL)

    assert [exchange.event for exchange in story.exchanges] == ["paymentStart", "paymentClosed"]
    assert story.state == "CANCELLED"


def test_nothing_but_silence_follows_the_close(qerko: Qerko, till: Till) -> None:
    till.answers["paymentClosed"] = (500, {"code": None, "message": ""})

    assert qerko.pay(till.pos(), BILL).is_paid


# -- Step by step ---------------------------------------------------------------------------------


def test_a_guest_may_walk_away(qerko: Qerko, till: Till) -> None:
    story = qerko.close_payment(qerko.start_payment(till.pos(), BILL))

    assert heard(till) == [("paymentStart", None), ("paymentClosed", "CANCELLED")]
    assert story.state == "CANCELLED"


def test_a_step_can_be_taken_again(qerko: Qerko, till: Till) -> None:
    story = qerko.process_payment(qerko.start_payment(till.pos(), BILL))
    story = qerko.process_payment(story)
    story = qerko.close_payment(qerko.close_payment(story))

    assert heard(till) == [PAID[0], PAID[1], PAID[1], PAID[2], PAID[2]]
    assert story.payment.history == ("STARTED", "PROCESSED", "PAID")


def test_news_may_be_lost(qerko: Qerko, till: Till) -> None:
    story = qerko.process_payment(qerko.start_payment(till.pos(), BILL))
    story = qerko.close_payment(story, is_lost=True)

    assert heard(till) == PAID[:2]
    assert story.is_paid
    assert len(story.turns) == 2


def test_a_bill_has_one_payment_at_a_time(qerko: Qerko, till: Till) -> None:
    story = qerko.start_payment(till.pos(), BILL)
    with pytest.raises(ValueError, match=r"Bill 42 is being paid, and Qerko never has two payments on one\."):
        qerko.pay(till.pos(), BILL)
    qerko.start_payment(till.pos(), BILL | {"id": "43"})
    qerko.start_payment(till.pos(api_key=OTHER_KEY), BILL)
    qerko.close_payment(story)

    assert qerko.pay(till.pos(), BILL).is_paid


@pytest.mark.parametrize(
    ("bill", "how", "complaint"),
    [
        (BILL, {"items": {"1": 1, "9": 1, "8": 1}}, r"Not on bill 42: 8, 9\."),
        (BILL, {"items": {"1": "1e3"}}, "not a decimal"),
        (BILL, {"tip": "much"}, "not a decimal"),
        ({"id": "42"}, {}, r"That is no bill: currency: Field required; items: Field required\."),
    ],
)
def test_what_qerko_would_not_do(
    qerko: Qerko, till: Till, bill: dict[str, Any], how: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        qerko.pay(till.pos(), bill, **how)

    assert not till.received


def test_an_id_is_used_once(qerko: Qerko, till: Till) -> None:
    qerko.pay(till.pos(), BILL, payment_id="p-1")

    with pytest.raises(ValueError, match=r"There is a payment p-1 already\."):
        qerko.pay(till.pos(), BILL, payment_id="p-1")


def test_more_than_the_bill_has_may_be_asked(qerko: Qerko, till: Till) -> None:
    qerko.pay(till.pos(), BILL, items={"1": 99})

    assert till.received[0].document["data"]["payment"]["items"][0]["quantity"] == "99"


def test_two_payments_on_a_bill_are_begun_where_a_test_wants_to_see_it(qerko: Qerko, till: Till) -> None:
    first = qerko.start_payment(till.pos(), BILL)
    till.answers["paymentStart"] = REFUSED
    second = qerko.start_payment(till.pos(), BILL, beside_another=True)

    assert (first.state, second.state) == ("STARTED", "CANCELLED")
    with pytest.raises(ValueError, match="There is a payment"):
        qerko.start_payment(till.pos(), BILL, beside_another=True, payment_id=first.payment.id)


# -- The restaurant's discount --------------------------------------------------------------------

OFFER = {"name": "Štamgasti", "percent": "10", "additionalData": {"since": 1999}}


def test_a_guest_takes_the_discount_that_is_offered(qerko: Qerko, till: Till) -> None:
    story = qerko.pay(till.pos(), BILL | {"discountOffer": OFFER}, items={"2": "0.25"}, tip="5", discount=True)

    told = till.received[0].document["data"]["payment"]
    # A tenth of 83.3325, and the tip is none of its business.
    assert told["discount"] == {
        "source": "RESTAURANT",
        "name": "Štamgasti",
        "value": "8.33",
        "provider": None,
        "additionalData": {"since": 1999},
    }
    assert [part["total"] for part in told["parts"]] == ["80.00"]
    assert story.is_paid
    discount = events.Payment.model_validate(told).discount
    assert discount
    assert (discount.name, discount.value, discount.additional_data) == ("Štamgasti", Decimal("8.33"), {"since": 1999})


@pytest.mark.parametrize(("price", "value"), [("0.05", "0.01"), ("0.04", "0.00"), ("0.15", "0.02")])
def test_a_discount_is_rounded_half_up(qerko: Qerko, till: Till, price: str, value: str) -> None:
    items = [{"id": "1", "name": "Sůl", "quantity": "1", "price": price}]
    qerko.pay(till.pos(), BILL | {"discountOffer": OFFER, "items": items}, discount=True)

    assert till.received[0].document["data"]["payment"]["discount"]["value"] == value


def test_an_offer_need_not_be_taken(qerko: Qerko, till: Till) -> None:
    qerko.pay(till.pos(), BILL | {"discountOffer": OFFER})

    assert till.received[0].document["data"]["payment"]["discount"] is None


@pytest.mark.parametrize("members", [{}, {"discountOffer": OFFER, "denyDiscounts": True}])
def test_a_discount_that_is_not_offered_is_not_taken(qerko: Qerko, till: Till, members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Bill 42 offers no discount\."):
        qerko.pay(till.pos(), BILL | members, discount=True)

    assert not till.received


# -- A receipt that is postponed ------------------------------------------------------------------

POSTPONED = {"receiptInfo": {}, "items": [], "taxInfo": [], "receiptDeliveryType": "POSTPONED"}


def test_a_receipt_that_is_postponed_is_asked_for(qerko: Qerko, till: Till) -> None:
    till.answers |= {"paymentProcessed": POSTPONED, "getPostponedReceipt": POSTPONED}
    paid = qerko.pay(till.pos(), BILL)
    early = qerko.ask_receipt(paid)
    till.answers["getPostponedReceipt"] = later(RECEIPT)
    late = qerko.ask_receipt(early)

    assert [(story.is_paid, story.has_receipt) for story in (paid, early, late)] == [
        (True, False),
        (True, False),
        (True, True),
    ]
    assert heard(till) == [*PAID, ("getPostponedReceipt", None), ("getPostponedReceipt", None)]
    assert till.received[-1].document["data"] == {"paymentId": paid.payment.id}
    assert late.receipt
    assert late.receipt.items[0].name == "Pivo"
    assert not late.findings


@pytest.mark.parametrize("said", [REFUSED, later_error("NOT_FOUND"), {"receiptInfo": 1}, None])
def test_a_story_keeps_its_receipt_where_none_is_answered(qerko: Qerko, till: Till, said: Any) -> None:
    till.answers["getPostponedReceipt"] = said
    story = qerko.pay(till.pos(), BILL)

    again = qerko.ask_receipt(story)

    assert (again.receipt, again.state, len(again.turns)) == (story.receipt, "PAID", 4)


# -- In the background ----------------------------------------------------------------------------

AT_ONCE = Pauses(first=0.01, longest=0.02)


def test_an_end_is_told_again_until_it_is_answered() -> None:
    with Qerko(closing_pauses=AT_ONCE) as qerko, an_evening(qerko, paymentProcessed=RECEIPT) as till:
        refusals = [(500, None), (422, {"code": "NOT_FOUND", "message": ""}), (503, None)]
        till.answers["paymentClosed"] = chain([*refusals, later_error("NOT_FOUND")], repeat(later(None)))
        story = qerko.process_payment(qerko.start_payment(till.pos(), BILL))
        story = qerko.close_payment(story)
        assert qerko.await_errands(20)
        ends = till.received[2:]

    assert story.is_paid
    # Where one reply is there already, nobody waits for the next one.
    assert len(ends) >= 5
    assert {(end.document["id"], end.document["data"]["state"], end.hmac_holds) for end in ends} == {
        (story.exchanges[-1].event_id, "PAID", True)
    }


def test_an_end_is_told_again_where_no_reply_comes_to_its_202() -> None:
    with Qerko(deadline=2, closing_pauses=AT_ONCE) as qerko, an_evening(qerko, paymentProcessed=RECEIPT) as till:
        till.answers["paymentClosed"] = iter([(202, None), later(None)])
        qerko.close_payment(qerko.process_payment(qerko.start_payment(till.pos(), BILL)))
        assert qerko.await_errands(20)

    assert heard(till) == [*PAID, PAID[-1]]


def test_a_receipt_that_is_postponed_is_asked_for_until_it_is_there() -> None:
    with Qerko(receipt_pauses=AT_ONCE) as qerko, an_evening(qerko, paymentProcessed=POSTPONED) as till:
        till.answers["getPostponedReceipt"] = later(POSTPONED)
        story = qerko.close_payment(qerko.pay(till.pos(), BILL))
        while heard(till).count(("getPostponedReceipt", None)) < 3:
            assert not qerko.await_errands(0.02)
        till.answers["getPostponedReceipt"] = RECEIPT
        assert qerko.await_errands(20)
        asked = len(till.received)
        again = qerko.ask_receipt(story)

    assert again.has_receipt
    assert asked == len(till.received) - 1


def test_a_receipt_that_somebody_asked_for_is_not_asked_for_again() -> None:
    with Qerko(receipt_pauses=Pauses(first=0.2, longest=1)) as qerko, an_evening(qerko) as till:
        till.answers |= {"paymentProcessed": POSTPONED, "getPostponedReceipt": RECEIPT}
        assert qerko.ask_receipt(qerko.pay(till.pos(), BILL)).has_receipt
        assert qerko.await_errands(20)

        assert heard(till) == [*PAID, ("getPostponedReceipt", None)]


@pytest.mark.parametrize("asks", [True, False])
def test_nobody_asks_where_somebody_else_does_or_the_pauses_are_over(asks: bool) -> None:
    with Qerko(receipt_pauses=()) as qerko, an_evening(qerko, paymentProcessed=POSTPONED) as till:
        story = qerko.process_payment(qerko.start_payment(till.pos(), BILL))
        qerko.close_payment(story, asks_for_receipt=asks)

        assert qerko.await_errands(20)
        assert heard(till) == PAID


# -- Delivered again ------------------------------------------------------------------------------


def test_an_event_is_delivered_again_on_request(qerko: Qerko, till: Till) -> None:
    story = qerko.pay(till.pos(), BILL, url_per_event=True, schemes=["hmac-sha256"])
    again = qerko.redeliver(story.exchanges[0])

    first, second = till.received[0], till.received[-1]
    assert (second.path, second.document) == (first.path, first.document)
    assert second.hmac_holds
    assert "Signature" not in second.headers
    assert (again.event_id, again.number) == (story.exchanges[0].event_id, len(qerko.conversation))


def test_what_is_delivered_again_is_created_now_and_genuine(qerko: Qerko, till: Till) -> None:
    old = qerko.ask(till.pos(), "getTableList", age=600, tamper="key")
    again = qerko.redeliver(old)

    assert (old.expected, again.expected) == (401, 200)
    assert till.received[1].window == (int(NOW), int(NOW) + 60)


def test_nobody_else_is_called_when_it_is_delivered_again(qerko: Qerko, till: Till) -> None:
    exchange = qerko.ask(till.pos(), "getTableList")
    assert exchange.question
    elsewhere = replace(exchange.question, pos=till.pos(url="http://example.com/"))
    with pytest.raises(ValueError, match=r"example\.com is not this machine"):
        qerko.redeliver(replace(exchange, question=elsewhere))
    with pytest.raises(ValueError, match="Nobody knows what was asked"):
        qerko.redeliver(replace(exchange, question=None))

    assert len(till.received) == 1


# -- What the point of sale asks ------------------------------------------------------------------


def test_a_payment_is_shown_in_its_state(qerko: Qerko, till: Till) -> None:
    seen: list[str] = []
    story = qerko.start_payment(till.pos(), BILL)
    for step in (qerko.process_payment, qerko.close_payment):
        seen.append(till.post("get-payment", {"paymentId": story.payment.id}).json()["state"])
        story = step(story)
    response = till.post("get-payment", {"paymentId": story.payment.id, "news": 1})

    assert seen == ["STARTED", "PROCESSED"]
    assert response.json() == story.payment.as_json()
    assert response.json()["state"] == "PAID"


@pytest.mark.parametrize("path", ["get-payment", "cancel-payment"])
def test_a_payment_that_is_not_there(qerko: Qerko, till: Till, path: str) -> None:
    other = qerko.start_payment(till.pos(api_key=OTHER_KEY), BILL)
    responses = [till.post(path, {"paymentId": id_}) for id_ in ("unknown", other.payment.id)]

    assert [(response.status_code, response.json()["code"]) for response in responses] == [(404, "NOT_FOUND")] * 2
    assert other.payment == qerko.find_payment(other.payment.pos, other.payment.id)


@pytest.mark.parametrize("path", ["get-payment", "cancel-payment"])
@pytest.mark.parametrize("body", [b"", b"[]", {}, {"paymentId": 1}], ids=str)
def test_a_question_that_is_none(till: Till, path: str, body: Any) -> None:
    response = till.post(path, body)

    assert (response.status_code, response.json()["code"]) == (400, "BAD_PAYLOAD")


def test_a_payment_in_progress_is_cancelled(qerko: Qerko, till: Till) -> None:
    story = qerko.start_payment(till.pos(), BILL)
    responses = [till.post("cancel-payment", {"paymentId": story.payment.id}) for _ in range(2)]
    story = qerko.close_payment(qerko.process_payment(story))

    assert [(response.status_code, response.json()) for response in responses] == [(200, None)] * 2
    assert heard(till) == [("paymentStart", None), ("paymentClosed", "CANCELLED")]
    assert story.payment.history == ("STARTED", "CANCELLED")


def test_a_payment_is_cancelled_while_its_receipt_is_asked(qerko: Qerko) -> None:
    with an_evening(qerko) as till:
        story = qerko.start_payment(till.pos(), BILL)

        def cancel(wire: Any) -> None:
            till.misbehave = None
            till.post("cancel-payment", {"paymentId": story.payment.id})
            wire.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull")

        till.misbehave = cancel
        processed = qerko.process_payment(story)

    assert processed.payment.history == ("STARTED", "PROCESSED", "CANCELLED")


def test_a_paid_one_is_not(qerko: Qerko, till: Till) -> None:
    story = qerko.pay(till.pos(), BILL)
    response = till.post("cancel-payment", {"paymentId": story.payment.id})

    assert response.status_code == 409
    assert qerko.find_payment(till.pos(), story.payment.id) == story.payment


# -- What is remembered ---------------------------------------------------------------------------


def test_old_payments_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payments, "REMEMBERED", 3)
    book, pos = Payments(), PointOfSale(url="http://127.0.0.1/", api_key=KEY)
    opened = [a_payment(pos, f"p-{number}", f"b-{number}") for number in range(5)]
    for payment in opened:
        book.open(payment)

    assert [book.find(pos, payment.id) for payment in opened] == [None, None, *opened[2:]]
    assert list(book.all()) == opened[2:]
    assert book.end(opened[0]).history == ("STARTED", "CANCELLED")


@pytest.mark.parametrize(
    ("steps", "history"),
    [
        (["PAID"], ["STARTED"]),
        (["PROCESSED", "STARTED", "PAID", "CANCELLED"], ["STARTED", "PROCESSED", "PAID"]),
        (["CANCELLED", "PROCESSED", "PAID"], ["STARTED", "CANCELLED"]),
    ],
    ids=" ".join,
)
def test_a_state_is_reached_by_its_steps_alone(steps: list[str], history: list[str]) -> None:
    book, payment = Payments(), a_payment(PointOfSale(url="http://127.0.0.1/", api_key=KEY), "p", "b")
    for state in steps:
        payment = book.move(payment, state)

    assert list(payment.history) == history


def a_payment(pos: PointOfSale, payment_id: str, bill_id: str) -> Payment:
    bill = Bill(id=bill_id, currency="CZK", items=[])
    return Payment(
        id=payment_id, pos=pos, bill=bill, items=(), tip=Decimal(), begun_at=datetime(2026, 11, 24, tzinfo=UTC)
    )


def test_a_story_is_short_before_it_begins() -> None:
    story = PaymentStory(payment=a_payment(PointOfSale(url="http://127.0.0.1/", api_key=KEY), "p", "b"))

    assert (story.state, story.exchanges, story.is_paid, story.has_receipt) == ("STARTED", (), False, False)

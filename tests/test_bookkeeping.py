"""The bills that Qerko was told of, and the payments that it tells of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.dispatch import Signal

from django_qerko import answers
from django_qerko.exceptions import DomainError
from django_qerko.models import Bill, Payment, Restaurant, WebhookEvent
from django_qerko.signals import (
    bill_requested,
    bills_searched,
    payment_closed,
    payment_processed,
    payment_started,
    table_contents_requested,
)
from tests.deliveries import address, deliver, document, sign
from tests.records import RECEIPT, offer

Answering = Callable[[Signal, Any], None]


def bill(identity: str = "42", **members: Any) -> answers.Bill:
    return answers.Bill(id=identity, currency="CZK", items=[], **members)


def test_the_last_snapshot_is_kept(restaurant: Restaurant, answering: Answering) -> None:
    names = iter(["Stůl 1", "Stůl 2"])
    answering(bill_requested, lambda **_: bill(name=next(names)))

    deliver(restaurant, "getBill")
    first = Bill.objects.get()
    deliver(restaurant, "getBill")
    second = Bill.objects.get()

    assert (first.snapshot or {})["name"] == "Stůl 1"
    assert (second.snapshot or {})["name"] == "Stůl 2"
    assert first.snapshot_at is not None
    assert second.snapshot_at is not None
    assert second.snapshot_at > first.snapshot_at
    assert first == second
    assert second.created_at == first.created_at
    assert str(second) == "42"


def test_a_handler_gets_our_row_of_the_bill(restaurant: Restaurant, answering: Answering) -> None:
    got: list[Any] = []

    def show(bill: Bill | None, payment: None, **_: Any) -> answers.Bill:
        got.append((bill, payment))
        return answers.Bill(id="42", currency="CZK", items=[])

    answering(bill_requested, show)
    deliver(restaurant, "getBill")
    deliver(restaurant, "getBill")

    assert got == [(None, None), (Bill.objects.get(), None)]


@pytest.mark.parametrize(
    ("event", "signal"), [("getTableContents", table_contents_requested), ("searchBills", bills_searched)]
)
def test_every_bill_of_a_list_is_kept(restaurant: Restaurant, answering: Answering, event: str, signal: Signal) -> None:
    answering(signal, lambda **_: [bill("2"), bill("1"), bill("a"), bill("A"), bill("a ")])

    deliver(restaurant, event)
    deliver(restaurant, event)

    assert sorted(Bill.objects.values_list("bill_id", flat=True)) == ["1", "2", "A", "a", "a "]


def test_a_bill_by_another_id_than_asked_is_kept_under_its_own(restaurant: Restaurant, answering: Answering) -> None:
    answering(bill_requested, lambda **_: bill("43"))

    deliver(restaurant, "getBill")

    assert Bill.objects.get().bill_id == "43"


def test_two_bills_of_one_id_are_no_answer(restaurant: Restaurant, answering: Answering) -> None:
    answering(table_contents_requested, lambda **_: [bill(), bill()])

    assert deliver(restaurant, "getTableContents").status_code == 500
    assert "two bills of the same id" in WebhookEvent.objects.get().error
    assert not Bill.objects.exists()


def test_a_project_may_keep_its_own_books(restaurant: Restaurant, answering: Answering, settings: Any) -> None:
    settings.QERKO = settings.QERKO | {"BOOKKEEPING": []}
    answering(bill_requested, lambda **_: bill())

    assert deliver(restaurant, "getBill").status_code == 200
    assert not Bill.objects.exists()


def test_handlers_get_the_rows_of_events_that_are_not_booked(
    restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    settings.QERKO = settings.QERKO | {"BOOKKEEPING": ["getBill", "paymentStart"], "ANSWER_LATER": []}
    got: list[Any] = []
    answering(bill_requested, offer())

    def give_receipt(bill: Any, payment: Any, **_: Any) -> answers.Receipt:
        got.append((bill, payment))
        return RECEIPT

    answering(payment_processed, give_receipt)
    answering(payment_closed, lambda bill, payment, **_: got.append((bill, payment)))

    for event in ("getBill", "paymentStart", "paymentProcessed"):
        assert deliver(restaurant, event).status_code == 200
    deliver(restaurant, "paymentClosed", {"paymentId": "of nobody", "state": "DECLINED"})

    payment = Payment.objects.get()
    assert got == [(payment.bill, payment), (None, None)]
    assert payment.state == "started", "its books are the project's"


# -- Payments ------------------------------------------------------------------------------------


def test_a_payment_is_followed_to_its_end(restaurant: Restaurant, answering: Answering) -> None:
    got: list[Any] = []
    answering(bill_requested, offer())
    answering(payment_processed, RECEIPT)
    answering(payment_started, lambda bill, payment, **_: got.append((bill.locked, payment.state)))

    deliver(restaurant, "getBill")
    deliver(restaurant, "paymentStart")
    assert got == [({"1": "1"}, "started")]
    deliver(restaurant, "paymentProcessed")
    assert Payment.objects.get().state == "processed"
    deliver(restaurant, "paymentClosed")

    payment = Payment.objects.get()
    assert (payment.state, payment.final_state, payment.receipt) == ("paid", "PAID", RECEIPT.as_json())
    assert payment.payload["items"][0]["quantity"] == "1"
    history = [(str(step), step.event and step.event.name) for step in payment.steps.all()]
    assert history == [
        ("new → started", "paymentStart"),
        ("started → processed", "paymentProcessed"),
        ("processed → paid", "paymentClosed"),
    ]
    assert (payment.bill.paid, payment.bill.locked) == ({"1": "1"}, {})


@pytest.mark.parametrize(("said", "state"), [("PAID", "paid"), ("DECLINED", "cancelled")])
def test_a_refused_end_is_an_end(restaurant: Restaurant, answering: Answering, said: str, state: str) -> None:
    def refuse(**_: Any) -> None:
        raise DomainError("ACCESS_DENIED", "not today")

    deliver(restaurant, "paymentStart")
    answering(payment_closed, refuse)

    assert deliver(restaurant, "paymentClosed", {"paymentId": "p1", "state": said}).status_code == 200
    payment = Payment.objects.get()
    assert (payment.state, payment.final_state) == (state, said)


def test_a_state_that_nobody_knows_is_kept_as_it_came_and_is_not_paid(restaurant: Restaurant) -> None:
    deliver(restaurant, "paymentStart")

    deliver(restaurant, "paymentClosed", {"paymentId": "p1", "state": "paid 🍺"})

    payment = Payment.objects.get()
    assert (payment.state, payment.final_state, payment.reason) == ("cancelled", "paid 🍺", "Qerko said paid 🍺.")


# -- Amounts ---------------------------------------------------------------------------------------


def test_a_state_that_is_too_long_to_keep_is_kept_whole_in_its_event(
    restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": []}
    state = "GIVEN_UP_" * 100
    deliver(restaurant, "paymentStart")
    payment = Payment.objects.get()

    for number in (1, 2):
        data = {"paymentId": payment.payment_id, "state": state}
        assert deliver(restaurant, "paymentClosed", data, event_id=f"e{number}").status_code == 200

    payment.refresh_from_db()
    assert (payment.state, payment.final_state) == ("cancelled", state[:255])
    assert payment.reason == f"Qerko said {state[:255]}."
    assert state.encode() in bytes(WebhookEvent.objects.get(event_id="e1").payload)


def test_amounts_come_through_as_they_were(restaurant: Restaurant, answering: Answering) -> None:
    items = [
        answers.BillItem(id="1", name="Pivo", quantity="0.333", price="0.10"),
        answers.BillItem(id="2", name="Zámek", quantity=1, price="12345678901.99"),
    ]
    answering(bill_requested, answers.Bill(id="42", currency="CZK", items=items))
    told = {
        "id": "p1",
        "idBill": "42",
        "currency": "CZK",
        "items": [
            {"id": "1", "quantity": Decimal("0.333"), "price": "0.10"},
            {"id": "2", "quantity": "1", "price": Decimal("12345678901.99")},
        ],
        "parts": [{"total": Decimal("12345678902.023456")}],
        "tipBrutto": Decimal("12345678901.234567"),
    }
    body = json.dumps(document("paymentStart", {"payment": told}), default=lambda number: f"<{number}>")
    bare = re.sub('"<([0-9.]+)>"', r"\1", body)

    shown = deliver(restaurant, "getBill").json()
    assert sign(bare.encode(), url=address(restaurant)).send().status_code == 200

    assert [(item["quantity"], item["price"]) for item in shown["items"]] == [
        ("0.333", "0.10"),
        ("1", "12345678901.99"),
    ]
    payment, bill = Payment.objects.get(), Bill.objects.get()
    assert bill.snapshot == shown
    assert (payment.payload["tipBrutto"], payment.payload["items"][0]["price"]) == ("12345678901.234567", "0.10")
    assert (payment.tip_brutto, payment.parts.get().total) == (told["tipBrutto"], Decimal("12345678902.023456"))
    assert [(item.quantity, item.price) for item in payment.items.all()] == [
        (Decimal("0.333"), Decimal("0.10")),
        (Decimal(1), Decimal("12345678901.99")),
    ]
    assert bill.locked == {"1": "0.333", "2": "1"}
    assert bill.owed == Decimal("12345678902.0233")


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1e999", '"1e2"', '"NaN"', "-1", '"-0.5"', "1e-9"])
@pytest.mark.parametrize("later", [False, True])
def test_what_is_no_amount_is_turned_away(restaurant: Restaurant, settings: Any, amount: str, later: bool) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": ["paymentStart"] if later else []}
    body = json.dumps(document("paymentStart")).replace('"quantity": "1"', f'"quantity": {amount}')

    assert sign(body.encode(), url=address(restaurant)).send().status_code == 400
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e999", "-1", "-0.001", Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_amount_is_refused_when_an_answer_is_built(amount: Any) -> None:
    with pytest.raises(ValueError, match="quantity"):
        answers.BillItem(id="1", name="Pivo", quantity=amount, price="55.00")

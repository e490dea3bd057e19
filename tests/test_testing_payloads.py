"""What the test kit writes is what Qerko would write."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from django_qerko import events
from django_qerko.answers import Bill, BillDiscountOffer, BillItem
from django_qerko.events import CLASSES
from django_qerko.exceptions import Malformed
from django_qerko.sandbox.samples import EVENTS
from django_qerko.testing import make_event, make_payload, make_payment_data

BEER = BillItem(id="beer", name="Pivo", quantity=3, price="55.00")


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_comes_with_sensible_data(name: str) -> None:
    event = make_event(name)

    assert type(event) is CLASSES.get(name, events.OtherEvent)
    assert event.name == name
    assert event.record is None
    assert event.id != make_event(name).id


@pytest.mark.parametrize("member", ["bill_id", "billId", "idBill"])
def test_a_member_may_be_spelled_in_every_way(member: str) -> None:
    assert make_payload("getBill", **{member: "7"}) == {"billId": "7", "customerId": None}


@pytest.mark.parametrize("member", ["payment_id", "paymentId", "id"])
def test_a_payment_is_named_in_every_way(member: str) -> None:
    payment = make_payload("paymentStart", **{member: "p7", "bill_id": "7", "tip_brutto": "1.00"})["payment"]

    assert (payment["id"], payment["idBill"], payment["tipBrutto"], payment["currency"]) == ("p7", "7", "1.00", "CZK")


def test_a_payment_may_be_given_whole() -> None:
    assert make_payload("paymentStart", payment={"id": "p7"}) == {"payment": {"id": "p7"}}
    with pytest.raises(TypeError, match="whole, or by its members"):
        make_payload("paymentStart", payment={"id": "p7"}, bill_id="7")


def test_the_items_of_a_payment_may_be_those_of_a_bill() -> None:
    event = make_event("paymentStart", items=[BEER, {"id": "2", "quantity": "0.5"}])

    assert isinstance(event, events.PaymentStarted)
    assert event.payment.quantities == {"beer": Decimal(3), "2": Decimal("0.5")}


@pytest.mark.parametrize("name", ["getBill", "paymentStart", "getTableList"])
def test_a_member_that_nobody_has_is_a_mistake_of_the_test(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} has no member bil_id"):
        make_payload(name, bil_id="7")


def test_an_event_without_a_model_may_have_any_member() -> None:
    assert make_payload("orderStart", colour="red")["colour"] == "red"
    assert make_payload("spillBeer", colour="red") == {"colour": "red"}


def test_a_handler_that_answers_later_finds_the_row() -> None:
    assert make_event("getBill", event_id="e1", record=7, bill_id="7") == events.BillRequested.model_validate(
        {
            "id": "e1",
            "name": "getBill",
            "record": 7,
            "billId": "7",
            "customerId": None,
            "data": {"billId": "7", "customerId": None},
        }
    )


def test_what_the_webhook_would_turn_away_is_no_event() -> None:
    with pytest.raises(Malformed):
        make_event("paymentStart", currency="crowns")


def test_a_part_of_a_bill_is_paid() -> None:
    bill = Bill(id="7", currency="EUR", items=[BEER], discount_offer=BillDiscountOffer(name="Happy hour", percent=10))

    payment = make_payment_data(
        bill, payment_id="p7", items={"beer": "2"}, tip="5.50", customer_id="guest", discount=True
    )["payment"]

    assert (payment["id"], payment["idBill"], payment["idCustomer"]) == ("p7", "7", "guest")
    assert (payment["currency"], payment["tipNetto"]) == ("EUR", "5.50")
    assert payment["items"] == [{"id": "beer", "name": "Pivo", "quantity": "2", "price": "55.00"}]
    assert payment["discount"]["value"] == "11.00"
    assert payment["parts"][0]["total"] == "104.50"


def test_all_of_a_bill_is_paid_that_came_as_json() -> None:
    bill: dict[str, Any] = json.loads(json.dumps(Bill(id="7", currency="EUR", items=[BEER]).as_json()))

    first, second = (make_payment_data(bill)["payment"] for _ in range(2))

    assert first["items"] == bill["items"]
    assert first["id"] != second["id"]
    with pytest.raises(ValueError, match="no bill"):
        make_payment_data({"id": "7"})

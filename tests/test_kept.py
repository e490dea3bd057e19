"""What a stranger sent is kept whole, on every database, and stands in one line of the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.dispatch import Signal

from django_qerko import answers
from django_qerko.models import Bill, Payment, Restaurant
from django_qerko.models.kept import plain, printable
from django_qerko.signals import (
    bill_requested,
    payment_closed,
    payment_contradicts_bill,
    payment_processed,
    payment_started,
)
from tests.deliveries import SAMPLES, address, deliver, document, sign
from tests.records import RECEIPT, offer, told

Answering = Callable[[Signal, Any], None]

#: MariaDB's own JSON has 32 levels.
DEEP: Any = "the end"
for _ in range(50):
    DEEP = {"in": [DEEP]}


# -- JSON, however it is nested ----------------------------------------------------------------------


def test_what_is_nested_deeply_is_kept_and_answered(restaurant: Restaurant, answering: Answering) -> None:
    bill = offer().model_copy(update={"additional_data": DEEP})
    receipt = answers.Receipt(**dict(RECEIPT) | {"fiscal_info": DEEP})
    answering(bill_requested, bill)
    answering(payment_processed, receipt)
    discount = {"value": "1.00", "provider": DEEP, "additionalData": DEEP}
    item = SAMPLES["paymentStart"]["payment"]["items"][0] | {"additionalData": DEEP}
    payment = told(additionalData=DEEP, items=[item], discount=discount, news=DEEP)

    assert deliver(restaurant, "getBill").json()["additionalData"] == DEEP
    assert [deliver(restaurant, "paymentStart", {"payment": payment}).status_code for _ in range(2)] == [200, 200]
    for question in ("paymentProcessed", "paymentProcessed", "getPostponedReceipt"):
        assert deliver(restaurant, question).json()["fiscalInfo"] == DEEP

    kept = Payment.objects.get()
    assert (Bill.objects.get().snapshot or {})["additionalData"] == DEEP
    assert (kept.additional_data, kept.items.get().additional_data, kept.payload["news"]) == (DEEP, DEEP, DEEP)
    assert kept.discount == {
        "source": None,
        "name": None,
        "value": "1.00",
        "provider": DEEP,
        "additional_data": DEEP,
    }
    assert kept.given_receipt is not None
    assert kept.given_receipt.as_json() == receipt.as_json()


# -- Numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("5", 5),
        ("-0", 0),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("1234567890123456789012345678901", "1234567890123456789012345678901"),
        ("5.0", "5.0"),
        ("0.10", "0.10"),
        ("12345678901234567.89", "12345678901234567.89"),
        ("1E+999", "1E+999"),
        ("1e2", "1E+2"),
        ("1E+99999999999999999999", "Infinity"),
        ('"5"', "5"),
        ("null", None),
        ("true", True),
    ],
)
def test_whole_numbers_are_kept_as_numbers_and_every_other_digit_for_digit(
    restaurant: Restaurant, written: str, kept: Any
) -> None:
    start = json.dumps(document("paymentStart", {"payment": told(additionalData=["here"])}))

    assert (
        sign(start.replace('"here"', written).encode(), url=address(restaurant), schemes=["rfc9421"]).send().json()
        is None
    )

    payment = Payment.objects.get()
    assert payment.additional_data == payment.payload["additionalData"] == [kept]
    assert type((payment.additional_data or [])[0]) is type(kept)


def test_a_seat_is_the_same_number_in_every_event(restaurant: Restaurant, answering: Answering) -> None:
    seats: list[Any] = []

    def receive(event: Any, payment: Payment, **_: Any) -> Any:
        told_now = event.payment.additional_data if event.name == "paymentStart" else payment.additional_data
        seats.extend([told_now["seat"], payment.additional_data["seat"], payment.payload["additionalData"]["seat"]])
        return RECEIPT if event.name == "paymentProcessed" else None

    for signal in (payment_started, payment_processed, payment_closed):
        answering(signal, receive)

    deliver(restaurant, "paymentStart", {"payment": told(additionalData={"seat": 5})})
    deliver(restaurant, "paymentProcessed")
    deliver(restaurant, "paymentClosed")

    assert seats == [5] * 9


def test_plain_json_has_no_decimals_and_no_tuples() -> None:
    assert plain({"a": (Decimal(1), [Decimal("1.5")]), "b": None, "c": 0.5}) == {"a": [1, ["1.5"]], "b": None, "c": 0.5}


# -- One line of a log -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p1", "p1"),
        ("Žižkov 7", "Žižkov 7"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\u202etxt\u2028\x85", "\\u202etxt\\u2028\\x85"),
    ],
)
def test_what_a_terminal_would_obey_is_written_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert shown.isprintable()


BILL, FIRST, SECOND, UNKNOWN, ITEM = (f"{name}\n\x1b[2Jowned" for name in ("bill", "p1", "p2", "p3", "beer"))
STATE = "LOST\nERROR all is paid\x1b[0m"


def test_what_qerko_names_stands_in_one_line_of_the_log(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    item = answers.BillItem(id=ITEM, name="Pivo", quantity=2, price="55.00")
    answering(bill_requested, answers.Bill(id=BILL, currency="CZK", items=[item]))
    answering(payment_contradicts_bill, None)
    items = [{"id": ITEM, "quantity": "2", "price": "1.00"}]

    def start(payment_id: str, **members: Any) -> None:
        deliver(restaurant, "paymentStart", {"payment": told(payment_id, BILL, items=items, **members)})

    def close(payment_id: str, state: str) -> None:
        deliver(restaurant, "paymentClosed", {"paymentId": payment_id, "state": state}, event_id=f"{payment_id}{state}")

    deliver(restaurant, "getBill", {"billId": BILL})
    start(FIRST)
    start(FIRST, currency="EUR")
    start(SECOND)
    close(FIRST, STATE)
    deliver(restaurant, "paymentProcessed", {"paymentId": FIRST})
    close(SECOND, "PAID")
    close(FIRST, "PAID")
    close(FIRST, "ELSE\n")
    close(UNKNOWN, "PAID")
    deliver(restaurant, "paymentClosed", {"paymentId": UNKNOWN, "state": "ELSE"}, event_id=f"{UNKNOWN}PAID")
    deliver(restaurant, "getBill", {"billId": BILL})

    lines = [line.getMessage() for line in caplog.records]
    for said in (
        "does not fit bill",
        "and was another",
        "Qerko is asked about p1",
        "was cancelled here",
        "are paid, and 2 stood on the bill",
        "is paid, and Qerko says",
        "it never started here",
        "delivered again with other data",
        "offers what was paid again",
    ):
        assert any(said in line for line in lines), said
    assert [line for line in lines if not line.isprintable()] == []

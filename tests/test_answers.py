"""What a handler may say, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_qerko import amounts, answers, events
from django_qerko.answers import (
    NOTHING,
    Bill,
    BillDiscountOffer,
    BillItem,
    Json,
    Receipt,
    ReceiptInfo,
    ReceiptItem,
    Table,
    TaxInfo,
)


def item(**members: Any) -> BillItem:
    return BillItem(**{"id": "1", "name": "Pivo", "quantity": 2, "price": "55.00"} | members)


def bill(**members: Any) -> Bill:
    return Bill(**{"id": "42", "currency": "CZK", "items": [item()]} | members)


def receipt(**members: Any) -> Receipt:
    whole = {
        "receipt_info": ReceiptInfo(bill_name="Stůl 1", timestamp="2026-11-24T19:00:00+01:00"),
        "items": [ReceiptItem(name="Pivo", price=55, tax_name="21 %", quantity="0.5")],
        "tax_info": [TaxInfo(rate=21, base="45.45", tax="9.55")],
    }
    return Receipt(**whole | members)


def test_a_bill_is_written_under_qerkos_names() -> None:
    whole = bill(
        items=[item(min_quantity="0.5", tags=["beer"], additional_data={"row": 7, "note": None})],
        additional_data=["opaque", Decimal("1.50"), 1.5, True],
        allow_partial_payment=False,
        created=datetime(2026, 11, 24, 18, 0, tzinfo=UTC),
        discount_offer=BillDiscountOffer(name="Štamgast", percent=10),
        name="Stůl 1",
        upcharges=[{"any": "thing"}],
    )

    assert json.loads(answers.write(whole)) == {
        "id": "42",
        "currency": "CZK",
        "items": [
            {
                "id": "1",
                "name": "Pivo",
                "quantity": "2",
                "price": "55.00",
                "minQuantity": "0.5",
                "tags": ["beer"],
                "additionalData": {"row": 7, "note": None},
            }
        ],
        "additionalData": ["opaque", "1.50", 1.5, True],
        "allowPartialPayment": False,
        "allowTip": True,
        "created": "2026-11-24T18:00:00+00:00",
        "denyDiscounts": False,
        "denyMenus": False,
        "discountOffer": {"name": "Štamgast", "percent": "10"},
        "name": "Stůl 1",
        "upcharges": [{"any": "thing"}],
    }


def test_a_receipt_is_written_under_qerkos_names() -> None:
    assert json.loads(answers.write(receipt(final_price="50.00", fiscal_info={"bkp": "x"}))) == {
        "receiptInfo": {
            "billName": "Stůl 1",
            "headerLines": [],
            "footerLines": [],
            "timestamp": "2026-11-24T19:00:00+01:00",
        },
        "items": [{"name": "Pivo", "price": "55", "taxName": "21 %", "quantity": "0.5"}],
        "taxInfo": [{"rate": "21", "base": "45.45", "tax": "9.55"}],
        "fiscalInfo": {"bkp": "x"},
        "receiptDeliveryType": "QERKO_GENERATED",
        "finalPrice": "50.00",
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (NOTHING, b"null"),
        ([], b"[]"),
        ((Table(id="T1", name="Stůl", area="Zahrada"),), '[{"id":"T1","name":"Stůl","area":"Zahrada"}]'.encode()),
        (Json(None), b"null"),
        (Json({"a": [1, Decimal("2.50"), None, (True,)]}), b'{"a":[1,"2.50",null,[true]]}'),
    ],
)
def test_other_answers_are_written(answer: Any, expected: bytes) -> None:
    assert answers.write(answer) == expected


@pytest.mark.parametrize("value", [None, {}, "text", 1, [None], object()])
def test_what_is_no_answer_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match="is no answer"):
        answers.write(value)


def test_an_error_is_written_with_both_members() -> None:
    assert answers.write_error(None, "špatně \ud800") == '{"code":null,"message":"špatně ?"}'.encode()


def endless() -> list[Any]:
    """A list that holds itself."""
    itself: list[Any] = []
    itself.append(itself)
    return itself


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: bill(currency="czk"), "currency"),
    (lambda: bill(currency="CZK\n"), "currency"),
    (lambda: bill(id=""), "id"),
    (lambda: bill(id="x" * 129), "id"),
    (lambda: bill(id=42), "id"),
    (lambda: bill(name="a\0"), "NUL"),
    (lambda: bill(name="\ud800"), "surrogate"),
    (lambda: bill(items=[item(), item()]), "same id"),
    (lambda: bill(colour="red"), "colour"),
    (lambda: Bill(id="42", currency="CZK"), "items"),
    (lambda: bill(created="2026-11-24T19:00:00"), "offset"),
    (lambda: bill(created="yesterday"), "created"),
    (lambda: bill(created=7), "created"),
    (lambda: bill(additional_data=float("nan")), "no JSON"),
    (lambda: bill(additional_data={"a": {1: 2}}), "keys are strings"),
    (lambda: bill(additional_data={"a\0": 1}), "NUL"),
    (lambda: bill(additional_data=object()), "no JSON"),
    (lambda: bill(additional_data=endless()), "deeper than 128 levels"),
    (lambda: bill(additional_data=Decimal("NaN")), "finite"),
    (lambda: item(price=55.0), "float"),
    (lambda: item(price=True), "bool"),
    (lambda: item(price=Decimal("NaN")), "finite"),
    (lambda: item(price=Decimal("Infinity")), "finite"),
    (lambda: item(price="1e999"), "decimal"),
    (lambda: item(price=Decimal("1e999")), "12 digits"),
    (lambda: item(quantity="-1"), "negative"),
    (lambda: item(min_quantity=0), "more than nothing"),
    (lambda: receipt(receipt_delivery_type="PIGEON"), "QERKO_GENERATED"),
    (lambda: receipt(final_price="-1"), "negative"),
    (lambda: TaxInfo(rate=21, base=1), "tax"),
    (lambda: Json({"a": {1, 2}}), "no JSON"),
]


@pytest.mark.parametrize(("build", "complaint"), WRONG, ids=range(len(WRONG)))
def test_a_malformed_answer_is_refused_when_it_is_built(build: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build()


def test_answers_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(bill(), "name", "other")  # noqa: B010  # mypy would refuse it, too


def test_nothing_is_readable_in_a_log() -> None:
    assert repr(NOTHING) == "NOTHING"


@given(st.decimals(min_value=-(10**12) + 1, max_value=10**12 - 1, places=6))
def test_amounts_survive_a_round_trip(amount: Decimal) -> None:
    written = json.loads(answers.write(bill(items=[item(price=amount)])))["items"][0]["price"]

    assert amounts.read(written) == amount


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("5", "5"),
        ("-0", "0"),
        ("5.0", "5.0"),
        ("0.1234567", "0.1234567"),
        ("1e-7", "1e-07"),
        ("12345678901234567890", "12345678901234567890"),
        ("1e20", "100000000000000000000"),
        ("12345678901234567.89", '"12345678901234567.89"'),
        ("1e99999", '"1E+99999"'),
    ],
)
def test_a_number_of_an_event_goes_out_as_it_came(number: str, written: str) -> None:
    data = events.read_document(b'{"data": [%s]}' % number.encode())["data"]

    assert answers.write(Json(data)) == f"[{written}]".encode()


def test_what_is_reckoned_with_a_number_of_an_event_is_money() -> None:
    data = events.read_document(b'{"price": 25, "many": 2}')

    assert answers.write(Json(data["price"] * data["many"])) == b'"50"'


def test_a_number_that_nobody_holds_is_no_answer() -> None:
    data = events.read_document(b'{"n": 1e9999999999999999999}')

    with pytest.raises(ValueError, match="finite"):
        Json(data["n"])

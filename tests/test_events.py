"""What Qerko's JSON becomes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from django_qerko import events
from django_qerko.exceptions import Malformed
from tests.deliveries import SAMPLES, document


def read(event: str, data: Any = ..., **extra: Any) -> Any:
    body = json.dumps(document(event, data, **extra)).encode()
    return events.read_event(events.read_document(body))


@pytest.mark.parametrize(
    ("name", "cls", "members"),
    [
        ("getTableList", events.TableListRequested, {}),
        ("getTableContents", events.TableContentsRequested, {"table_id": "T1", "customer_id": None}),
        ("getBill", events.BillRequested, {"bill_id": "42", "customer_id": None}),
        ("searchBills", events.BillsSearched, {"qr_identifier": "table 1", "customer_id": None}),
        ("paymentStart", events.PaymentStarted, {"payment_id": "p1", "bill_id": "42", "customer_id": None}),
        ("paymentProcessed", events.PaymentProcessed, {"payment_id": "p1"}),
        ("paymentClosed", events.PaymentClosed, {"payment_id": "p1", "state": "PAID"}),
        ("getPostponedReceipt", events.PostponedReceiptRequested, {"payment_id": "p1"}),
        ("orderStart", events.OtherEvent, {}),
    ],
)
def test_every_event_has_a_class_and_its_members(name: str, cls: type[events.Event], members: dict[str, Any]) -> None:
    event = read(name, event_id="e")

    assert type(event) is cls
    assert (event.id, event.name, event.record) == ("e", name, None)
    assert {member: getattr(event, member) for member in members} == members
    assert event.is_question is (name != "paymentClosed")


def test_both_spellings_of_identifiers_are_understood() -> None:
    assert read("getBill", {"idBill": "1", "idCustomer": "c"}).customer_id == "c"
    assert read("getTableContents", {"idTable": "1"}).table_id == "1"
    assert read("paymentProcessed", {"idPayment": "1"}).payment_id == "1"
    assert read("getPostponedReceipt", {"idPayment": "1"}).payment_id == "1"
    assert read("paymentClosed", {"idPayment": "1", "state": "X"}).state == "X"
    newer = {"payment": {"id": "p", "billId": "1", "customerId": "c", "currency": "CZK", "items": []}}
    assert (read("paymentStart", newer).bill_id, read("paymentStart", newer).customer_id) == ("1", "c")


def test_a_payment_is_read_whole() -> None:
    payment = read("paymentStart").payment

    assert payment.items[0].quantity == Decimal(1)
    assert payment.items[0].price == Decimal("55.00")
    assert payment.parts[0].total == Decimal("55.00")
    assert payment.parts[0].provider.name == "Card"
    assert (payment.tip_brutto, payment.tip_netto, payment.state) == (Decimal("5.00"), Decimal("5.00"), "STARTED")


def test_numbers_are_exact_decimals_from_the_bytes() -> None:
    numbers = b'{"a":12345678901234567.89,"b":3,"c":1e2,"d":1E999999999999999999999}'
    body = b'{"id":"1","event":"orderStart","data":' + numbers + b"}"

    data = events.read_event(events.read_document(body)).data

    assert data["a"] == Decimal("12345678901234567.89")
    assert all(isinstance(number, Decimal) for number in data.values())
    assert (data["b"], data["c"], data["d"]) == (3, 100, Decimal("Infinity"))
    assert events.read_document(b'{"a":-1E999999999999999999999}')["a"] == Decimal("-Infinity")


def test_a_number_of_ten_thousand_digits_is_read() -> None:
    assert events.read_document(b'{"a":' + b"9" * 10_000 + b"}")["a"] > 0


NO_AMOUNTS = [
    "1e2",
    "NaN",
    "Infinity",
    " 1",
    "1_0",
    "+1",
    "1.",
    ".5",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "1" * 13,
    "1.1234567",
    "",
]


@pytest.mark.parametrize("amount", NO_AMOUNTS)
def test_a_malformed_amount_is_400(amount: str) -> None:
    payment = SAMPLES["paymentStart"]["payment"] | {"items": [{"id": "1", "quantity": amount}]}

    with pytest.raises(Malformed, match="items"):
        read("paymentStart", {"payment": payment})


@pytest.mark.parametrize("number", [b"1e999", b"1234567890123", b"0.1234567", b"1E999999999999999999999"])
def test_a_json_number_out_of_range_is_400(number: bytes) -> None:
    body = json.dumps(document("paymentStart")).encode().replace(b'"tipNetto": "5.00"', b'"tipNetto": ' + number)

    with pytest.raises(Malformed, match="tipNetto"):
        events.read_event(events.read_document(body))


@pytest.mark.parametrize(
    "change",
    [
        {"items": [{"id": "1", "quantity": "-1"}]},
        {"tipBrutto": "-0.01"},
        {"tipNetto": "-1"},
        {"parts": [{"total": "-1"}]},
        {"currency": "Kč"},
        {"currency": "CZKK"},
        {"items": None},
        {"id": ""},
        {"id": "x" * 129},
        {"idBill": 42},
    ],
    ids=str,
)
def test_a_payment_that_is_none_is_400(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read("paymentStart", {"payment": SAMPLES["paymentStart"]["payment"] | change})


def test_prices_and_discounts_may_be_negative_and_texts_may_be_numbers() -> None:
    change = {
        "items": [{"id": "1", "quantity": "1", "price": "-5", "name": 7}],
        "discount": {"value": "-3.00", "name": "Happy hour", "source": 1},
        "parts": [{"total": 1}],
        "state": 3,
    }
    payment = read("paymentStart", {"payment": SAMPLES["paymentStart"]["payment"] | change}).payment

    assert (payment.items[0].price, payment.items[0].name, payment.state) == (Decimal(-5), "7", "3")
    assert (payment.discount.value, payment.discount.source) == (Decimal(-3), "1")
    assert payment.parts[0].provider is None


STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
UNKNOWN = st.dictionaries(st.text(STORABLE).map("x-{}".format), st.none() | st.integers() | st.booleans())


@pytest.mark.parametrize("name", [*SAMPLES, "orderStart"])
@given(unknown=UNKNOWN)
def test_unknown_members_are_never_an_error(name: str, unknown: dict[str, Any]) -> None:
    def salted(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: salted(member) for key, member in value.items()} | unknown
        return [salted(member) for member in value] if isinstance(value, list) else value

    plain = document(name)
    event = events.read_event(events.read_document(json.dumps(salted(plain)).encode()))

    assert event.model_dump(exclude={"data"}) == read(name, event_id=plain["id"]).model_dump(exclude={"data"})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b'{"a": -Infinity}', "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"1", "not_an_object"),
        (b"null", "not_an_object"),
        ('{"a": "ž"}'.encode("iso8859-2"), "not_utf8"),
        ('{"a": 1}'.encode("utf-16"), "not_utf8"),
        (b'{"a": "\\u0000"}', "unstorable_text"),
        (b'{"\\ud800": 1}', "unstorable_text"),
        (b'{"a": [{"b": "\\udc00x"}]}', "unstorable_text"),
        (b'{"a": ' + b"[" * 128 + b"]" * 128 + b"}", "too_deep"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else value,
)
def test_a_body_that_is_no_document_is_400(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        events.read_document(body)

    assert refused.value.reason == reason


def test_a_surrogate_pair_and_deep_nesting_in_bounds_are_text_and_json() -> None:
    document = events.read_document(b'{"a": "\\ud83c\\udf7a", "b": ' + b"[" * 127 + b"]" * 127 + b"}")

    assert document["a"] == "🍺"


@pytest.mark.parametrize(
    ("document", "named", "reason"),
    [
        ({"event": "getBill"}, None, "malformed_event"),
        ({"id": 1, "event": "getBill"}, None, "malformed_event"),
        ({"id": "", "event": "getBill"}, None, "malformed_event"),
        ({"id": "x" * 129, "event": "getBill"}, None, "malformed_event"),
        ({"id": "1"}, None, "malformed_event"),
        ({"id": "1", "event": "x" * 129}, None, "malformed_event"),
        ({"id": "1"}, "x" * 129, "malformed_event"),
        ({"id": "1", "event": "getBill", "data": []}, None, "malformed_event"),
        ({"id": "1", "event": "getTableList", "data": [1]}, None, "malformed_event"),
        ({"id": "1", "event": "getBill", "data": {"billId": "1"}}, "getTableList", "event_mismatch"),
        ({"id": "1"}, "a\0b", "unstorable_text"),
    ],
    ids=str,
)
def test_a_frame_that_is_none_is_400(document: dict[str, Any], named: str | None, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        events.read_event(document, named=named)

    assert refused.value.reason == reason


@pytest.mark.parametrize("body", [{"id": "1"}, {"id": "1", "event": None}, {"id": "1", "event": "getTableList"}])
def test_the_url_may_name_the_event(body: dict[str, Any]) -> None:
    assert events.read_event(body, named="getTableList").name == "getTableList"


def test_a_member_cannot_pose_as_the_frame() -> None:
    event = read("getBill", {"billId": "1", "id": "evil", "name": "evil", "record": 7, "data": 1}, event_id="e")

    assert (event.id, event.name, event.record) == ("e", "getBill", None)


def test_events_are_frozen_and_know_their_row_when_told() -> None:
    event = read("getBill")

    with pytest.raises(ValidationError):
        event.bill_id = "43"
    assert event.recorded_as(7).record == 7
    assert event.record is None


def test_a_finding_names_the_member_and_never_its_value() -> None:
    with pytest.raises(Malformed) as refused:
        read("getBill", {"billId": ["secret"]})

    assert "billId" in refused.value.finding
    assert "secret" not in refused.value.finding


def test_an_object_without_members_may_be_a_list_as_php_writes_it() -> None:
    assert isinstance(events.read_event({"id": "1", "event": "getTableList", "data": []}), events.TableListRequested)


def test_a_payment_without_parts_may_say_so() -> None:
    payment = SAMPLES["paymentStart"]["payment"] | {"parts": None}
    event = events.read_event({"id": "1", "event": "paymentStart", "data": {"payment": payment}})

    assert isinstance(event, events.PaymentStarted)
    assert event.payment.parts == ()

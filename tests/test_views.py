"""What Qerko hears at the door, status by status (protocol section 3)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.dispatch import Signal
from django.test import Client
from django.urls import reverse

from django_qerko import signatures
from django_qerko.answers import Bill, BillItem, Json, Receipt, ReceiptInfo, ReceiptItem, Table, TaxInfo
from django_qerko.exceptions import BillClosed, BillNotFound, DomainError, QrInvalid
from django_qerko.models import Rejection, Restaurant, WebhookEvent
from django_qerko.receiving import authentication, rejections
from django_qerko.receiving.authentication import QerkoAuthentication
from django_qerko.receiving.reading import read_body
from django_qerko.receiving.views import IgnoreAccept
from django_qerko.signals import (
    bill_requested,
    bills_searched,
    event_received,
    payment_closed,
    payment_processed,
    payment_started,
    postponed_receipt_requested,
    table_contents_requested,
    table_list_requested,
)
from tests.deliveries import OTHER_KEY, SAMPLES, Signed, address, deliver, document, sign
from tests.strange.hostile import refuse

Answering = Callable[[Signal, Any], None]

BILL = Bill(id="42", currency="CZK", items=[BillItem(id="1", name="Pivo", quantity=2, price="55.00")])
RECEIPT = Receipt(
    receipt_info=ReceiptInfo(bill_name="Table 1", serial="2026-1"),
    items=[ReceiptItem(name="Pivo", price="55.00", tax_name="21 %", quantity=1)],
    tax_info=[TaxInfo(rate="21", base="45.45", tax="9.55", name="21 %")],
)

ANSWERED = {
    "getTableList": (table_list_requested, [Table(id="T1", name="Table 1")], [{"id": "T1", "name": "Table 1"}]),
    "getTableContents": (table_contents_requested, [BILL], [BILL.as_json()]),
    "getBill": (bill_requested, BILL, BILL.as_json()),
    "searchBills": (bills_searched, [], []),
    "paymentStart": (payment_started, lambda **_: None, None),
    "paymentProcessed": (payment_processed, RECEIPT, RECEIPT.as_json()),
    "paymentClosed": (payment_closed, lambda **_: None, None),
    "getPostponedReceipt": (postponed_receipt_requested, RECEIPT, RECEIPT.as_json()),
    "getMealMenus": (event_received, Json({"menus": [1, None]}), {"menus": [1, None]}),
}


@pytest.mark.parametrize("url_per_event", [False, True])
@pytest.mark.parametrize("schemes", [signatures.SCHEMES, [signatures.RFC9421], [signatures.HMAC_SHA256]])
@pytest.mark.parametrize("event", list(ANSWERED))
def test_every_event_is_answered(
    restaurant: Restaurant, answering: Answering, event: str, schemes: list[str], url_per_event: bool
) -> None:
    signal, answer, expected = ANSWERED[event]
    answering(signal, answer)
    # What is paid, and never started here, is nobody's to take note of.
    data = {"paymentId": "p1", "state": "DECLINED"} if event == "paymentClosed" else SAMPLES[event]
    body = document(None if url_per_event else event, data)

    response = sign(body, url=address(restaurant, event if url_per_event else None), schemes=schemes).send()

    assert (response.status_code, json.loads(response.content)) == (200, expected)
    assert response["Content-Type"] == "application/json"
    record = WebhookEvent.objects.get()
    assert (record.name, record.state, record.status, record.handlings) == (event, "handled", 200, 1)
    assert bytes(record.answer or b"") == response.content


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (BillNotFound, "BILL_NOT_FOUND"),
        (BillClosed(), "BILL_CLOSED"),
        (DomainError("ACCESS_DENIED", "no"), "ACCESS_DENIED"),
    ],
)
def test_a_refusal_is_422_with_its_code(restaurant: Restaurant, answering: Answering, refusal: Any, code: str) -> None:
    def refuse(**_: Any) -> None:
        raise refusal

    answering(bill_requested, refuse)

    response = deliver(restaurant, "getBill")

    assert (response.status_code, response.json()["code"]) == (422, code)
    assert WebhookEvent.objects.get().state == "handled"


def test_a_qr_code_of_nobody_is_422(restaurant: Restaurant, answering: Answering) -> None:
    def refuse(**_: Any) -> None:
        raise QrInvalid("never printed here")

    answering(bills_searched, refuse)

    assert deliver(restaurant, "searchBills").json() == {"code": "QR_INVALID", "message": "never printed here"}


@pytest.mark.parametrize("event", ["getBill", "somethingNew"])
def test_what_nobody_answers_is_no_such_method(
    restaurant: Restaurant, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = deliver(restaurant, event)

    assert (response.status_code, response.json()["code"]) == (422, "NO_SUCH_METHOD")
    assert WebhookEvent.objects.get().state == "failed"
    level = logging.ERROR if event == "getBill" else logging.WARNING
    assert ("django_qerko.handling.dispatch", level) in [(name, number) for name, number, _ in caplog.record_tuples]


def test_a_broken_handler_is_500_without_detail(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise ZeroDivisionError("the till is on fire")

    answering(bill_requested, broken)

    response = deliver(restaurant, "getBill")

    assert (response.status_code, response.json()["code"]) == (500, None)
    assert b"till" not in response.content
    assert "the till is on fire" in caplog.text
    record = WebhookEvent.objects.get()
    assert record.state == "failed"
    assert "the till is on fire" in record.error


def _forged(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url=address(restaurant), key=OTHER_KEY)


def _changed(restaurant: Restaurant) -> Signed:
    good = sign(document("getBill"), url=address(restaurant))
    return Signed(url=good.url, body=good.body.replace(b"42", b"43"), headers=good.headers)


def _changed_under_its_digest(restaurant: Restaurant) -> Signed:
    good = sign(document("getBill"), url=address(restaurant), schemes=["rfc9421"])
    return Signed(url=good.url, body=good.body.replace(b"42", b"43"), headers=good.headers)


def _bare(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url=address(restaurant), schemes=[])


def _half(restaurant: Restaurant) -> Signed:
    good = sign(document("getBill"), url=address(restaurant))
    headers = {name: value for name, value in good.headers.items() if name != "Signature"}
    return Signed(url=good.url, body=good.body, headers=headers)


def _unbound(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url=address(restaurant), schemes=["rfc9421"], components=["@method"])


def _old(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url=address(restaurant), created=time.time() - 61)


def _from_the_future(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url=address(restaurant), created=time.time() + 30)


def _timeless(restaurant: Restaurant) -> Signed:
    body = json.dumps(document("getBill")).encode()
    return sign(body, url=address(restaurant), schemes=["hmac-sha256"])


def _line_breaking(restaurant: Restaurant) -> Signed:
    good = sign(document("getBill"), url=address(restaurant), schemes=["rfc9421"])
    headers = good.headers | {"Signature-Input": 'qerko=("@method");alg=%"x%0aERROR forged line%00%1b[2J"'}
    return Signed(url=good.url, body=good.body, headers=headers)


def _raw(body: bytes) -> Callable[[Restaurant], Signed]:
    return lambda restaurant: sign(body, url=address(restaurant))


def _other_event_in_url(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url=address(restaurant, "getTableList"))


def _nowhere(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url="http://testserver/qerko/webhook/00000000-0000-4000-8000-000000000000/")


def _no_address(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url="http://testserver/qerko/webhook/somewhere/else/entirely")


def _strange_address(restaurant: Restaurant) -> Signed:
    return sign(document("getBill"), url="http://testserver/qerko/webhook/a%0Ab")


TURNED_AWAY = [
    (_forged, 401, "signature_mismatch"),
    (_changed, 401, "signature_mismatch"),
    (_changed_under_its_digest, 401, "digest_mismatch"),
    (_bare, 401, "signature_missing"),
    (_half, 401, "signature_malformed"),
    (_unbound, 401, "body_not_bound"),
    (_old, 410, "expired"),
    (_from_the_future, 410, "created_in_future"),
    (_timeless, 410, "window_missing"),
    (_raw(b"{"), 400, "not_json"),
    (_raw(b"[]"), 400, "not_an_object"),
    (_raw(b'{"id": "\xff"}'), 400, "not_utf8"),
    (_raw(b'{"id": "1", "event": "getBill", "data": {"billId": "\\u0000"}}'), 400, "unstorable_text"),
    (_raw(b'{"id": "1", "event": "getBill", "data": {}}'), 400, "malformed_event"),
    pytest.param(_raw(b'{"event": "getBill", "data": {"billId": "1"}}'), 400, "malformed_event", id="no-id"),
    (_raw(b'{"id": "1", "event": "x", "data": ' + b"[" * 500 + b"]" * 500 + b"}"), 400, "too_deep"),
    (_other_event_in_url, 400, "event_mismatch"),
    (_raw(b" " * 262_145), 413, "too_large"),
    (_nowhere, 404, "unknown_restaurant"),
    (_no_address, 404, "unknown_address"),
    pytest.param(_strange_address, 404, "unknown_address", id="a line break"),
]


@pytest.mark.parametrize(("delivery", "status", "reason"), TURNED_AWAY)
def test_what_is_turned_away_touches_only_a_counter(
    restaurant: Restaurant,
    caplog: pytest.LogCaptureFixture,
    memory_of_its_own: rejections.Counter,
    delivery: Callable[[Restaurant], Signed],
    status: int,
    reason: str,
) -> None:
    response = delivery(restaurant).send()

    assert response.status_code == status
    said = json.loads(response.content)
    assert sorted(said) == ["code", "message"]
    assert reason not in response.content.decode()
    assert not WebhookEvent.objects.exists()
    assert [
        reason in message for name, _, message in caplog.record_tuples if name == "django_qerko.receiving.views"
    ] == [True]
    memory_of_its_own.write()
    assert Rejection.objects.by_reason() == {reason: 1}


def test_a_stranger_writes_no_line_of_the_log_and_nothing_that_cannot_be_kept(
    restaurant: Restaurant, caplog: pytest.LogCaptureFixture, memory_of_its_own: rejections.Counter
) -> None:
    assert _line_breaking(restaurant).send().status_code == 401

    memory_of_its_own.write()
    (sample,) = Rejection.objects.get().samples
    for said in (sample["finding"], caplog.messages[0]):
        assert "forged line" in said
        assert said.isprintable()


def test_drf_may_ask_the_policies_that_it_never_needs(rf: Any) -> None:
    assert QerkoAuthentication().authenticate_header(rf.post("/")) == "Signature"
    IgnoreAccept().select_parser(rf.post("/"), [])


def test_401_names_a_challenge(restaurant: Restaurant) -> None:
    assert _forged(restaurant).send()["WWW-Authenticate"] == "Signature"


def test_a_body_that_verifies_and_is_no_object_is_400_before_any_question_of_time(restaurant: Restaurant) -> None:
    assert sign(b"[]", url=address(restaurant), created=time.time() - 600).send().status_code == 400


def test_the_window_is_judged_once_the_body_is_there(restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch) -> None:
    def dripping(request: Any) -> bytes:
        body = read_body(request)
        monkeypatch.setattr(authentication, "time", Clock(time.time() + 90))
        return body

    monkeypatch.setattr(authentication, "read_body", dripping)

    assert deliver(restaurant, "paymentClosed").status_code == 410


class Clock:
    """A clock that stands still."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


def test_times_of_the_signature_count_and_those_of_the_body_do_not(
    restaurant: Restaurant, answering: Answering
) -> None:
    answering(bill_requested, BILL)
    old = document("getBill", created=1, expires=2)

    assert sign(old, url=address(restaurant)).send().status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "webhook",
        "webhook/",
        "webhook/event/getBill",
        "webhook/event/getBill/",
        "webhook/getBill",
        "webhook/getBill/",
    ],
)
def test_the_address_without_a_name_serves_the_only_restaurant(
    restaurant: Restaurant, answering: Answering, path: str
) -> None:
    answering(bill_requested, BILL)

    assert sign(document("getBill"), url=f"http://testserver/qerko/{path}").send().status_code == 200

    Restaurant.objects.create(name="another")
    assert sign(document("getBill"), url=f"http://testserver/qerko/{path}").send().status_code == 404


def test_the_address_without_a_name_is_nobodys_without_a_restaurant(db: None) -> None:
    assert sign(document("getBill"), url="http://testserver/qerko/webhook/").send().status_code == 404


def test_a_missing_trailing_slash_loses_nothing(restaurant: Restaurant, answering: Answering) -> None:
    answering(bill_requested, BILL)

    assert sign(document("getBill"), url=address(restaurant).rstrip("/")).send().status_code == 200
    assert sign(document("getBill"), url=address(restaurant, "getBill").rstrip("/")).send().status_code == 200


def test_addresses_are_reversed_with_their_slash(restaurant: Restaurant) -> None:
    token = restaurant.webhook_token

    assert reverse("qerko:webhook") == "/qerko/webhook/"
    assert reverse("qerko:webhook", args=[token]) == f"/qerko/webhook/{token}/"
    assert reverse("qerko:webhook-event", args=[token, "getBill"]) == f"/qerko/webhook/{token}/getBill/"
    assert reverse("qerko:webhook-event", args=["getBill"]) == "/qerko/webhook/event/getBill/"


@pytest.mark.parametrize("method", ["get", "put", "delete", "options", "patch"])
def test_only_post_is_heard(restaurant: Restaurant, method: str) -> None:
    response = getattr(Client(), method)(address(restaurant))

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert sorted(response.json()) == ["code", "message"]


def test_a_signature_over_the_public_address_holds_behind_a_proxy(
    restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    answering(bill_requested, BILL)
    settings.QERKO = settings.QERKO | {"PUBLIC_URL": "https://pos.example/"}
    everything = ["@target-uri", "@authority", "@scheme", "@query", "content-digest", "content-type"]
    public = f"{address(restaurant, origin='https://pos.example')}?a=1"

    assert sign(document("getBill"), url=public, components=everything).send().status_code == 200
    inside = f"{address(restaurant)}?a=1"
    assert sign(document("getBill"), url=inside, components=everything).send().status_code == 401


@pytest.mark.parametrize("age", [20, None], ids=["twenty seconds", "since 1970"])
def test_a_question_past_its_deadline_is_recorded_as_stale(
    restaurant: Restaurant, answering: Answering, age: float | None
) -> None:
    now = time.time()
    when: dict[str, Any] = {"created": now - age} if age else {"created": 0, "lifetime": now + 60}
    heard: list[Any] = []
    answering(bill_requested, lambda **got: heard.append(got))

    response = deliver(restaurant, "getBill", **when)

    assert (response.status_code, response.json()["code"]) == (410, "TIME_LIMIT_EXPIRED")
    assert WebhookEvent.objects.get().state == "stale"
    assert not heard


def test_a_tell_past_its_deadline_is_handled_at_once(restaurant: Restaurant, answering: Answering) -> None:
    heard: list[Any] = []
    answering(payment_closed, lambda **got: heard.append(got["event"].state))

    response = deliver(restaurant, "paymentClosed", {"paymentId": "p1", "state": "EXPIRED"}, created=time.time() - 20)

    assert (response.status_code, response.json(), heard) == (200, None, ["EXPIRED"])


def test_a_finished_event_is_answered_again_byte_for_byte(restaurant: Restaurant, answering: Answering) -> None:
    names = iter(["first", "second"])
    answering(bill_requested, lambda **_: Bill(id="42", currency="CZK", items=[], name=next(names)))

    first = deliver(restaurant, "getBill", event_id="once")
    again = deliver(restaurant, "getBill", event_id="once")
    late = deliver(restaurant, "getBill", event_id="once", created=time.time() - 30)

    assert first.content == again.content == late.content
    assert WebhookEvent.objects.get().handlings == 1


def test_a_refusal_is_said_again(restaurant: Restaurant, answering: Answering) -> None:
    asked: list[int] = []

    def refuse(**_: Any) -> None:
        asked.append(1)
        raise BillNotFound

    answering(bill_requested, refuse)

    statuses = [deliver(restaurant, "getBill", event_id="once").status_code for _ in range(2)]

    assert (statuses, len(asked)) == ([422, 422], 1)


def test_what_failed_is_handled_again(restaurant: Restaurant, answering: Answering) -> None:
    tries: list[int] = []

    def recovering(**_: Any) -> Bill:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no till")
        return BILL

    answering(bill_requested, recovering)

    statuses = [deliver(restaurant, "getBill", event_id="again").status_code for _ in range(3)]

    assert statuses == [500, 200, 200]
    assert WebhookEvent.objects.get().handlings == 2


def test_the_same_id_under_another_name_is_400(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    answering(bill_requested, BILL)
    deliver(restaurant, "getBill", event_id="once")

    assert deliver(restaurant, "getTableList", event_id="once").status_code == 400
    assert WebhookEvent.objects.get().name == "getBill"
    assert "known as getBill" in caplog.text


def test_the_same_id_with_other_data_is_the_same_event(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    answering(bill_requested, BILL)
    first = deliver(restaurant, "getBill", {"billId": "42"}, event_id="once")

    same = deliver(restaurant, "getBill", {"billId": "42"}, event_id="once")
    assert "other data" not in caplog.text
    other = deliver(restaurant, "getBill", {"billId": "43"}, event_id="once")

    assert first.content == same.content == other.content
    assert "other data" in caplog.text


def test_what_failed_is_handled_again_with_the_data_that_came_first(
    restaurant: Restaurant, answering: Answering
) -> None:
    asked: list[str] = []

    def recovering(event: Any, **_: Any) -> Bill:
        asked.append(event.bill_id)
        if len(asked) == 1:
            raise OSError("no till")
        return Bill(id=event.bill_id, currency="CZK", items=[])

    answering(bill_requested, recovering)

    first = deliver(restaurant, "getBill", {"billId": "42"}, event_id="once")
    other = deliver(restaurant, "getBill", {"billId": "43"}, event_id="once")

    assert (first.status_code, other.status_code, other.json()["id"]) == (500, 200, "42")
    assert asked == ["42", "42"]


def test_whose_door_it_was_is_known_of_a_body_that_was_not_read(
    restaurant: Restaurant, memory_of_its_own: rejections.Counter
) -> None:
    _raw(b" " * 262_145)(restaurant).send()
    sign(b" " * 262_145, url=_nowhere(restaurant).url).send()

    memory_of_its_own.write()
    assert {rejection.restaurant for rejection in Rejection.objects.all()} == {restaurant, None}


def test_another_restaurant_may_use_the_same_id(restaurant: Restaurant, answering: Answering) -> None:
    answering(bill_requested, BILL)
    other = Restaurant.objects.create(name="another")
    other.add_key(OTHER_KEY)

    assert deliver(restaurant, "getBill", event_id="1").status_code == 200
    assert deliver(other, "getBill", event_id="1", key=OTHER_KEY).status_code == 200
    assert WebhookEvent.objects.count() == 2


def test_a_database_that_does_not_answer_is_503(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(WebhookEvent.objects.__class__, "enter", gone)

    assert deliver(restaurant, "getBill").status_code == 503
    assert "connection refused" in caplog.text


def test_a_domain_errors_code_is_a_string_or_nothing() -> None:
    assert DomainError(None, "no code fits").code is None
    with pytest.raises(TypeError, match="code"):
        DomainError(7)  # type: ignore[arg-type]


def test_the_strange_hosts_defaults_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="reached the webhook"):
        refuse()


def test_a_fault_of_ours_is_500_in_json(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(WebhookEvent.objects.__class__, "enter", broken)

    response = deliver(restaurant, "getBill")

    assert (response.status_code, response.json()["code"]) == (500, None)
    assert "a bug" in caplog.text

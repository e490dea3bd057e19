"""What Qerko would do next: every event and every outcome has its sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from django_qerko.sandbox.conversation import Exchange, PointOfSale
from django_qerko.sandbox.following import following
from django_qerko.sandbox.reading import WANTED
from tests.deliveries import KEY
from tests.records import RECEIPT

BILL = {"id": "42", "currency": "CZK", "items": []}
GIVEN = RECEIPT.as_json()
POSTPONED = GIVEN | {"receiptDeliveryType": "POSTPONED"}


def after(event: str, status: int | None, said: Any = None, **members: Any) -> str:
    """What follows an exchange that ended like this."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return " ".join(
        following(
            Exchange(
                number=1,
                at=datetime(2026, 11, 24, tzinfo=UTC),
                pos=PointOfSale(url="http://127.0.0.1/", api_key=KEY),
                event=event,
                event_id="e",
                request_url="http://127.0.0.1/",
                request_headers={},
                request_body=b"",
                status=status,
                response_headers={},
                response_body=b"" if status is None else body,
                milliseconds=1.0,
                error=None if status else "silence",
                **members,
            )
        )
    )


@pytest.mark.parametrize(
    ("event", "said", "follows"),
    [
        ("getTableList", [], "pairs these tables with their QR codes"),
        ("getTableContents", [BILL], "getBill follows"),
        ("getBill", BILL, "then paymentStart follows"),
        ("searchBills", [BILL], "getBill follows"),
        ("paymentStart", None, "paymentProcessed follows"),
        ("paymentProcessed", GIVEN, "makes the receipt and e-mails it; paymentClosed with the state PAID follows"),
        ("paymentProcessed", POSTPONED, "PAID follows, and Qerko asks getPostponedReceipt again and again"),
        ("paymentClosed", None, "The payment is over"),
        ("getPostponedReceipt", GIVEN, "e-mails it; nothing follows"),
        ("getPostponedReceipt", POSTPONED, "Qerko asks again, with growing pauses"),
        ("getMealMenus", {"receiptDeliveryType": "POSTPONED"}, "What Qerko does next is not public."),
        ("getWeather", 7, "What Qerko does next is not public."),
    ],
)
def test_an_answer_leads_on(event: str, said: Any, follows: str) -> None:
    assert follows in after(event, 200, said)


@pytest.mark.parametrize("event", WANTED)
@pytest.mark.parametrize("said", [7, b"no JSON"])
def test_an_answer_that_cannot_be_read_is_an_error(event: str, said: Any) -> None:
    unread = after(event, 200, said)

    assert unread.startswith("Qerko can make nothing of this answer. ")
    assert unread.removeprefix("Qerko can make nothing of this answer. ") == after(event, 422)


@pytest.mark.parametrize("event", WANTED)
def test_an_error_has_its_consequence(event: str) -> None:
    refused = after(event, 422, {"code": None, "message": ""})

    assert ("The payment is cancelled" in refused) is (event in {"paymentStart", "paymentProcessed"})
    assert "not public" not in refused or event == "paymentClosed"
    assert after(event, 503).endswith(refused)
    assert after(event, None).endswith(refused)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "Qerko waits for 15 seconds"),
        (400, "did not understand"),
        (401, "took Qerko for a forger"),
        (404, "knows no such address"),
        (410, "too old, or too new"),
        (413, "too large"),
        (500, "broke"),
        (503, "could not do it now"),
    ],
)
def test_a_status_says_what_went_wrong(status: int | None, said: str) -> None:
    assert said in after("getBill", status)


def test_of_a_status_that_nobody_knows_nothing_is_said() -> None:
    assert after("getBill", 418) == "The guest sees no bill, and no payment begins."


def test_a_question_that_was_stale_is_rightly_refused() -> None:
    assert after("getBill", 410, is_stale=True).startswith("Right: the 15 seconds of this event were over")


@pytest.mark.parametrize("event", [*WANTED, "getWeather"])
def test_a_promise_is_waited_for(event: str) -> None:
    said = after(event, 202)

    assert said.startswith("Qerko waits for /reply under the id of this event, until 15 seconds after")
    assert ("cancels" in said) is (event in {"paymentStart", "paymentProcessed"})


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "Nothing came back"),
        (200, "Wrong: "),
        (202, "Wrong: "),
        (422, "Wrong: "),
        (500, "It was not believed, but "),
        (418, "It was not believed, but "),
    ],
)
@pytest.mark.parametrize("expected", [401, 410])
def test_what_had_to_be_turned_away_has_a_verdict(expected: int, status: int | None, said: str) -> None:
    assert after("getBill", expected, expected=expected).startswith("Right: ")
    assert after("getBill", status, expected=expected).startswith(said)

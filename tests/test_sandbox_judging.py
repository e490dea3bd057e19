"""Every judgement that the sandbox can pass is provoked once, and names its section of the protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.qerko import Finding, Qerko
from django_qerko.sandbox.replies import MAX_LETTER
from tests.points_of_sale import Till, a_till, an_evening

ITEM = {"id": "1", "name": "Pivo", "quantity": "2", "price": "55.00"}
BILL = {"id": "42", "currency": "CZK", "items": [ITEM]}
RECEIPT = {
    "receiptInfo": {"headerLines": ["Hello"]},
    "items": [{"name": "Pivo", "price": "55.00", "taxName": "A", "quantity": "2"}],
    "taxInfo": [{"rate": "21", "base": "90.91", "tax": "19.09"}],
}


@pytest.fixture
def qerko() -> Iterator[Qerko]:
    with Qerko() as qerko:
        yield qerko


@pytest.fixture
def till() -> Iterator[Till]:
    with a_till() as till:
        yield till


def judged(qerko: Qerko, till: Till, event: str, said: Any, **how: Any) -> list[tuple[int, str]]:
    till.answers[event] = said
    return [(finding.section, finding.text) for finding in qerko.ask(till.pos(), event, **how).findings]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("getTableList", []),
        ("getTableList", [{"id": "T1", "name": "Window", "area": None, "news": {"price": "1"}}]),
        ("getTableContents", [BILL]),
        ("getBill", BILL),
        ("getBill", BILL | {"news": 1, "items": [ITEM | {"news": [1], "additionalData": {"price": 1}}]}),
        (
            "getBill",
            BILL | {"discountOffer": {"name": "Happy hour", "percent": "10", "news": 1}, "upcharges": [{"price": 1}]},
        ),
        ("searchBills", [BILL, BILL | {"id": "43"}]),
        ("paymentStart", None),
        ("paymentProcessed", RECEIPT),
        ("paymentClosed", None),
        ("getPostponedReceipt", RECEIPT | {"receiptDeliveryType": "POSTPONED"}),
        ("getMealMenus", {"price": 1.5}),
        ("getMealMenus", (422, {"code": "NO_MENUS", "message": "None."})),
        ("getBill", (422, {"code": "BILL_NOT_FOUND", "message": "No such bill."})),
        ("getBill", (422, {"code": "ACCESS_DENIED", "message": "No."})),
        ("searchBills", (422, {"code": "QR_INVALID", "message": "No such code."})),
        ("getBill", (500, {"code": None, "message": "It broke."})),
        ("getBill", (503, {"message": "Later."})),
        ("paymentStart", (202, "whatever")),
    ],
)
def test_what_keeps_the_protocol(qerko: Qerko, till: Till, event: str, said: Any) -> None:
    assert judged(qerko, till, event, said) == []


@pytest.mark.parametrize(
    ("event", "said", "finding"),
    [
        ("getTableList", {}, (5, "the answer to getTableList is a list of Table, not an object")),
        ("getTableList", [{"id": "T1"}], (5, "0.name: Field required")),
        ("getTableContents", None, (5, "the answer to getTableContents is a list of Bill, not null")),
        ("getBill", [BILL], (5, "the answer to getBill is Bill, not a list")),
        ("getBill", BILL | {"currency": "Kč"}, (5, "currency: String should match pattern '^[A-Z]{3}$'")),
        ("getBill", BILL | {"items": [ITEM | {"id": 1}]}, (5, "items.0.id: Input should be a valid string")),
        ("getBill", BILL | {"allowTip": "yes"}, (5, "allowTip: Input should be a valid boolean")),
        (
            "getBill",
            BILL | {"news": 1, "items": [ITEM | {"price": "1e3"}]},
            (5, "items.0.price: Value error, not a decimal of at most 12 digits and 6 decimals"),
        ),
        (
            "getBill",
            BILL | {"items": [ITEM | {"price": 1.5}]},
            (5, "items.0.price: an amount is a decimal string, not a number"),
        ),
        (
            "getBill",
            BILL | {"items": [ITEM, ITEM]},
            (
                5,
                "the answer: Value error, two items of the bill have the same id",
            ),
        ),
        ("getBill", b'{"id": "\\ud800"}', (5, "id: ")),
        ("paymentStart", {}, (5, "the answer to paymentStart is null, not an object")),
        ("paymentClosed", True, (5, "the answer to paymentClosed is null, not a boolean")),
        ("paymentClosed", "ok", (5, "the answer to paymentClosed is null, not a string")),
        ("paymentClosed", 1, (5, "the answer to paymentClosed is null, not a number")),
        ("paymentProcessed", {"receipt_info": {}} | RECEIPT | {"receiptInfo": None}, (5, "receiptInfo: ")),
        ("getBill", b"<html>", (3, "the body is not JSON: Expecting value: line 1 column 1 (char 0)")),
        ("getMealMenus", b"", (3, "the body is not JSON: Expecting value: line 1 column 1 (char 0)")),
        ("getBill", (418, {"code": None, "message": "I am a teapot."}), (3, "418 is no status that Qerko knows")),
        ("getBill", (422, ["BILL_CLOSED"]), (3, 'an error is {"code": a string or null, "message": a string}')),
        (
            "getBill",
            (400, {"code": 1, "message": ""}),
            (3, 'an error is {"code": a string or null, "message": a string}'),
        ),
        ("getBill", (422, {"code": "GONE", "message": ""}), (4, "getBill has no error code GONE")),
        ("getBill", (422, {"code": "QR_INVALID", "message": ""}), (4, "getBill has no error code QR_INVALID")),
        (
            "getBill",
            (401, {"code": "UNAUTHORIZED", "message": ""}),
            (2, "a genuine delivery in its time was turned away with 401: has it the same API key?"),
        ),
        (
            "getBill",
            (410, {"code": "TIME_LIMIT_EXPIRED", "message": ""}),
            (2, "a genuine delivery in its time was turned away with 410: is its clock right?"),
        ),
    ],
)
def test_what_violates_it(qerko: Qerko, till: Till, event: str, said: Any, finding: tuple[int, str]) -> None:
    first = judged(qerko, till, event, said)[0]

    assert first[0] == finding[0]
    assert first[1].startswith(finding[1])


def test_a_snake_in_the_structure_is_noticed(qerko: Qerko, till: Till) -> None:
    said: dict[str, Any] = {"receipt_info": {}, "items": [], "taxInfo": []}

    assert judged(qerko, till, "paymentProcessed", said) == [(5, "receiptInfo: Field required")]


def test_what_is_nested_too_deeply_is_no_structure(qerko: Qerko, till: Till) -> None:
    bill, deep = b'{"id": "42", "currency": "CZK", "items": [], ', b"[" * 900 + b"]" * 900

    faults = [(5, "additionalData: Value error, nested deeper than 128 levels")]
    assert judged(qerko, till, "getBill", bill + b'"additionalData": ' + deep + b"}") == faults
    unknown = judged(qerko, till, "getBill", bill + b'"unknown": ' + deep + b"}")
    assert unknown == [(5, "the answer: nested too deeply")]


def test_only_the_first_of_many_are_told(qerko: Qerko, till: Till) -> None:
    assert len(judged(qerko, till, "getTableList", [{"id": "T1"}] * 100)) == 5


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"tamper": "body"}, "a forged delivery is answered 401, not 200"),
        ({"age": 100}, "a delivery outside its time window is answered 410, not 200"),
    ],
)
def test_whoever_believes_everything_is_noticed(qerko: Qerko, till: Till, how: dict[str, Any], text: str) -> None:
    assert judged(qerko, till, "getTableList", [], **how) == [(2, text)]


@pytest.mark.parametrize(("event", "is_question"), [("getBill", True), ("paymentClosed", False)])
def test_a_question_after_its_deadline_may_get_410_and_news_may_not(
    qerko: Qerko, till: Till, event: str, is_question: bool
) -> None:
    late = (410, {"code": "TIME_LIMIT_EXPIRED", "message": ""})

    assert (judged(qerko, till, event, late, age=20) == []) is is_question
    assert judged(qerko, till, event, late, age=5) != []


@pytest.mark.parametrize(("how", "status"), [({"tamper": "key"}, 401), ({"age": 100}, 410)])
def test_whoever_turns_the_right_ones_away_is_not(qerko: Qerko, till: Till, how: dict[str, Any], status: int) -> None:
    assert judged(qerko, till, "getTableList", (status, {"code": None, "message": "No."}), **how) == []


def test_silence_is_noticed(qerko: Qerko, till: Till) -> None:
    exchange = qerko.ask(till.pos(url="http://127.0.0.1:1/"), "getTableList")

    (finding,) = exchange.findings
    assert finding == Finding(section=3, text="Qerko got no answer: connection refused")
    assert str(finding) == "Qerko got no answer: connection refused (protocol section 3)"


# -- One by one -----------------------------------------------------------------------------------

DOCS = Path(__file__).resolve().parent.parent / "docs" / "sandbox.md"
NOTED = (202, None)

#: What a till does so that exactly this is said of it.
Provocation = Callable[[Qerko, Till], None]


def answering(event: str, said: Any, **how: Any) -> Provocation:
    """The till answers an event like this at once."""

    def provoke(qerko: Qerko, till: Till) -> None:
        till.answers[event] = said
        qerko.ask(till.pos(), event, **how)

    return provoke


def replying(letter: Any, *, said: Any = NOTED, times: int = 1, **changes: Any) -> Provocation:
    """The till answers ``getBill`` like this, and replies with a letter, or with these bytes."""

    def provoke(qerko: Qerko, till: Till) -> None:
        till.answers["getBill"] = said
        exchange = qerko.ask(till.pos(), "getBill", age=changes.pop("age", 0))
        envelope = {"id": exchange.event_id, "event": "getBill", **changes}
        for _ in range(times):
            till.post("reply", letter if isinstance(letter, bytes) else {**envelope, **letter})

    return provoke


def silent(qerko: Qerko, till: Till) -> None:
    till.misbehave = lambda _: None
    qerko.ask(till.pos(), "getBill")


def promising(qerko: Qerko, till: Till) -> None:
    """It says 202, and nothing after that."""
    till.answers["getBill"] = NOTED
    assert qerko.ask_and_wait(till.pos(), "getBill").findings == (Judgement.NO_REPLY(),)


def calling(path: str, **how: Any) -> Provocation:
    """The till calls Qerko's API like this."""

    def provoke(_: Qerko, till: Till) -> None:
        till.post(path, {}, **how)

    return provoke


PROVOCATIONS: dict[Judgement, Provocation] = {
    Judgement.SILENCE: silent,
    Judgement.FORGERY_BELIEVED: answering("getBill", BILL, tamper="body"),
    Judgement.OUTSIDE_WINDOW_BELIEVED: answering("getBill", BILL, age=100),
    Judgement.GENUINE_TAKEN_FOR_FORGED: answering("getBill", (401, {"code": "UNAUTHORIZED", "message": ""})),
    Judgement.GENUINE_TAKEN_FOR_OLD: answering("getBill", (410, {"code": "TIME_LIMIT_EXPIRED", "message": ""})),
    Judgement.UNKNOWN_STATUS: answering("getBill", (418, {"code": None, "message": ""})),
    Judgement.NO_JSON: answering("getMealMenus", b"<html>"),
    Judgement.ERROR_FORM: answering("getBill", (422, "BILL_CLOSED")),
    Judgement.UNKNOWN_CODE: answering("getBill", (422, {"code": "GONE", "message": ""})),
    Judgement.ANSWER_FORM: answering("getBill", None),
    Judgement.AMOUNT_AS_NUMBER: answering("getBill", BILL | {"items": [ITEM | {"price": 55}]}),
    Judgement.UNKNOWN_KEY: calling("reply", key="nobodys"),
    Judgement.NO_POS_ID: calling("who-am-i", pos_id="1234"),
    Judgement.NO_PAYMENT_ID: calling("get-payment"),
    Judgement.NO_REPLY: promising,
    Judgement.REPLY_TOO_LONG: replying(b" " * (MAX_LETTER + 1)),
    Judgement.REPLY_NO_JSON: replying(b"<html>"),
    Judgement.REPLY_FORM: replying({"id": 7, "result": BILL}),
    Judgement.REPLY_RESULT_OR_ERROR: replying({}),
    Judgement.REPLY_TO_NOTHING: replying({"result": BILL, "id": "unknown"}),
    Judgement.REPLY_TO_ANOTHER_EVENT: replying({"result": BILL, "event": "paymentStart"}),
    Judgement.REPLY_NOT_AWAITED: replying({"result": BILL}, said=BILL),
    Judgement.REPLY_TOO_LATE: replying({"result": BILL}, age=20),
    Judgement.REPLY_REPEATED: replying({"result": BILL}, times=2),
}


@pytest.mark.parametrize("judgement", Judgement, ids=lambda judgement: judgement.name)
def test_every_judgement_is_passed_on_whoever_provokes_it(judgement: Judgement) -> None:
    with Qerko(deadline=0.5 if judgement is Judgement.NO_REPLY else 15) as qerko, an_evening(qerko) as till:
        PROVOCATIONS[judgement](qerko, till)
        (finding,) = [finding for said in qerko.said for finding in said.findings]

    assert finding.judgement == judgement.name
    assert str(finding).endswith(f"(protocol section {judgement.section})")


def test_the_docs_name_every_judgement() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d) \| (.+) \|$", DOCS.read_text(), re.MULTILINE)

    assert rows == [(judgement.name, str(judgement.section), judgement.in_general) for judgement in Judgement]

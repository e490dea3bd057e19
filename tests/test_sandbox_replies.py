"""Answered later: a stranger's till says 202 and replies over HTTP, and Qerko takes it, judges it and shows it."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from rich.console import Console

from django_qerko.sandbox.letterbox import REMEMBERED, Letterbox
from django_qerko.sandbox.printing import print_line
from django_qerko.sandbox.qerko import Exchange, PointOfSale, Qerko, Reply
from django_qerko.sandbox.replies import MAX_LETTER, Note, Said, read_letter
from tests.deliveries import KEY, OTHER_KEY
from tests.points_of_sale import POS_ID, Later, Till, an_evening, later, later_error

NOW = 1_800_000_000.0
NOTED = (202, None)
BILL = {"id": "42", "currency": "CZK", "items": [{"id": "1", "name": "Pivo", "quantity": "2", "price": "55.00"}]}


@pytest.fixture
def clock() -> list[float]:
    """Qerko's clock: a test moves it."""
    return [NOW]


@pytest.fixture
def qerko(clock: list[float]) -> Iterator[Qerko]:
    with Qerko(clock=lambda: clock[0]) as qerko:
        yield qerko


@pytest.fixture
def till(qerko: Qerko) -> Iterator[Till]:
    with an_evening(qerko) as till:
        yield till


def asked(qerko: Qerko, till: Till, event: str = "getBill", said: Any = NOTED, **how: Any) -> Exchange:
    till.answers[event] = said
    return qerko.ask(till.pos(), event, **how)


def answer_to(exchange: Exchange, **members: Any) -> dict[str, Any]:
    return {"id": exchange.event_id, "event": exchange.event, **members}


def findings(reply: Reply) -> list[tuple[int, str]]:
    return [(finding.section, finding.text) for finding in reply.findings]


# -- In time --------------------------------------------------------------------------------------


def test_a_reply_is_waited_for(qerko: Qerko, till: Till) -> None:
    exchange = asked(qerko, till, said=later(BILL), event_id="e-1")
    reply = qerko.await_reply(exchange)

    assert reply
    assert (reply.event, reply.event_id, reply.exchange) == ("getBill", "e-1", exchange.number)
    assert (reply.status, reply.answer, reply.is_error, reply.findings) == (200, BILL, False, ())
    assert reply.error_code is reply.error_message is None
    assert reply.milliseconds is not None
    assert 0 <= reply.milliseconds < 15_000
    assert qerko.replies == (reply,)


def test_an_error_may_be_the_reply(qerko: Qerko, till: Till) -> None:
    till.answers["getBill"] = later_error("BILL_CLOSED", "Paid.")
    turn = qerko.ask_and_wait(till.pos(), "getBill")

    assert turn.reply
    assert turn.reply.is_error
    assert not turn.is_answered
    assert (turn.error_code, turn.reply.error_message) == ("BILL_CLOSED", "Paid.")
    assert turn.answer == {"code": "BILL_CLOSED", "message": "Paid."}
    assert turn.findings == ()
    assert turn.milliseconds == turn.exchange.milliseconds + (turn.reply.milliseconds or 0)


def test_an_answer_at_once_needs_no_reply(qerko: Qerko, till: Till) -> None:
    till.answers["getBill"] = BILL
    turn = qerko.ask_and_wait(till.pos(), "getBill")

    assert turn.reply is None
    assert turn.is_answered
    assert (turn.answer, turn.error_code, turn.findings) == (BILL, None, ())
    assert turn.milliseconds == turn.exchange.milliseconds


def test_qerko_says_null_to_what_it_takes(qerko: Qerko, till: Till) -> None:
    response = till.post("reply", answer_to(asked(qerko, till), result=BILL, news={"unknown": 1}))

    assert (response.status_code, response.json()) == (200, None)


def test_a_reply_may_be_faster_than_its_202(qerko: Qerko) -> None:
    with an_evening(qerko) as till:

        def reply_first(wire: Any) -> None:
            received = till.received[-1].document
            till.reply([{"result": None}], id=received["id"], event=received["event"])
            wire.wfile.write(b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

        till.misbehave = reply_first
        turn = qerko.ask_and_wait(till.pos(), "paymentStart")

    assert till.heard == [200]
    assert turn.is_answered
    assert turn.reply
    assert (turn.reply.exchange, turn.reply.milliseconds) == (turn.exchange.number, 0.0)


def test_several_replies_to_one_event_are_taken(qerko: Qerko, till: Till) -> None:
    exchange = asked(qerko, till)
    first, second = ({"tables": count} for count in (1, 2))
    till.reply([{"result": None}, {"error": {"code": None, "message": ""}}], **answer_to(exchange))
    other = asked(qerko, till, event="getMealMenus")
    till.reply([{"result": first}, {"result": second}, {"result": second}], **answer_to(other))

    assert till.heard == [200] * 5
    assert [reply.exchange for reply in qerko.replies] == [exchange.number] * 2 + [other.number] * 3
    assert [findings(reply) for reply in qerko.replies[1:]] == [
        [],
        [],
        [],
        [(3, "the same answer was taken already")],
    ]
    taken = qerko.await_reply(other)
    assert taken
    assert taken.answer == first


def test_delivered_again_an_event_has_a_new_deadline_and_keeps_its_replies(
    qerko: Qerko, till: Till, clock: list[float]
) -> None:
    first = asked(qerko, till, event_id="e-1")
    clock[0] += 14
    again = asked(qerko, till, event_id="e-1")
    clock[0] += 14
    till.reply([{"result": BILL}], **answer_to(again))
    once_more = asked(qerko, till, said=(503, {"code": None, "message": ""}), event_id="e-1")
    till.reply([{"result": BILL | {"id": "43"}}], **answer_to(again))

    assert till.heard == [200, 200]
    assert [reply.exchange for reply in qerko.replies] == [again.number, once_more.number]
    assert qerko.await_reply(first) == qerko.await_reply(again) == qerko.replies[0]


def test_an_id_that_names_another_event_now_is_another_event(qerko: Qerko, till: Till) -> None:
    asked(qerko, till, "getMealMenus", event_id="e-1")
    till.reply([{"result": []}], id="e-1", event="getMealMenus")
    asked(qerko, till, "getTableList", event_id="e-1")
    till.reply([{"result": []}, {"result": [], "event": "getMealMenus"}], id="e-1", event="getTableList")

    assert till.heard == [200, 200, 400]
    assert not qerko.replies[1].findings


# -- Too late, or never ---------------------------------------------------------------------------


def test_after_fifteen_seconds_it_is_too_late(qerko: Qerko, till: Till, clock: list[float]) -> None:
    exchange, older = asked(qerko, till), asked(qerko, till, age=1)
    clock[0] += 15
    till.reply([{"result": BILL}], **answer_to(exchange))
    response = till.post("reply", answer_to(older, result=BILL))
    clock[0] += 0.01
    till.reply([{"result": BILL}], **answer_to(exchange))

    assert till.heard == [200, 410]
    assert (response.status_code, response.json()["code"]) == (410, "TIME_LIMIT_EXPIRED")
    assert findings(qerko.replies[-1]) == [(3, "the reply came later than 15 seconds")]
    assert qerko.replies[-1].exchange == exchange.number
    assert not qerko.replies[-1].is_taken


def test_nobody_waits_longer_than_that() -> None:
    with Qerko(deadline=0.05) as qerko, an_evening(qerko) as till:
        till.answers["getBill"] = NOTED
        turn = qerko.ask_and_wait(till.pos(), "getBill")

        assert turn.reply is None
        assert not turn.is_answered
        assert (turn.answer, turn.error_code) == (None, None)
        assert [str(finding) for finding in turn.findings] == [
            "a 202 was said, and no reply came in time (protocol section 3)"
        ]


def test_whoever_waited_to_the_end_is_right_about_it(clock: list[float]) -> None:
    with Qerko(clock=lambda: clock[0], deadline=0.05) as qerko, an_evening(qerko) as till:
        till.answers["getBill"] = NOTED
        turn = qerko.ask_and_wait(till.pos(), "getBill", event_id="e-1")
        till.reply([{"result": BILL}], **answer_to(turn.exchange))
        again = qerko.ask(till.pos(), "getBill", event_id="e-1")
        till.reply([{"result": BILL}], **answer_to(again))

    assert turn.reply is None
    assert till.heard == [410, 200]


def test_a_wait_may_be_shorter(qerko: Qerko, till: Till) -> None:
    exchange = asked(qerko, till)

    assert qerko.await_reply(exchange, timeout=0.01) is None
    till.reply([{"result": BILL}], **answer_to(exchange))
    assert qerko.await_reply(exchange, timeout=0)
    assert till.heard == [200]


@pytest.mark.process
def test_the_deadline_is_real() -> None:
    with Qerko(deadline=1.5) as qerko, an_evening(qerko) as till:
        exchange = asked(qerko, till)
        started = time.monotonic()

        assert qerko.await_reply(exchange) is None
        assert 1.2 < time.monotonic() - started < 10
        till.reply([{"result": BILL}], **answer_to(exchange))
        assert till.heard == [410]


def test_what_was_not_answered_202_is_not_waited_for(qerko: Qerko, till: Till) -> None:
    said = [asked(qerko, till, said=BILL), asked(qerko, till, tamper="body")]

    assert [qerko.await_reply(exchange) for exchange in said] == [None, None]


# -- Refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "fault"),
    [
        ({"id": "unknown"}, 404, "no event of this id was asked"),
        ({"event": "paymentStart"}, 400, "the event of this id is getBill"),
        ({"result": None, "error": None}, 400, 'a reply has either a "result" or an "error"'),
        ({}, 400, 'a reply has either a "result" or an "error"'),
        ({"result": 1, "id": 7}, 400, 'a reply is an object with an "id" and an "event", both strings'),
        ({"result": 1, "id": "x" * 129}, 400, 'a reply is an object with an "id" and an "event", both strings'),
        ({"result": 1, "event": None}, 400, 'a reply is an object with an "id" and an "event", both strings'),
    ],
)
def test_a_letter_that_fits_nothing(qerko: Qerko, till: Till, changes: dict[str, Any], status: int, fault: str) -> None:
    exchange = asked(qerko, till)
    members = {"result": BILL} if changes.keys() & {"id", "event"} else {}
    response = till.post("reply", {**answer_to(exchange), **members, **changes})

    assert response.status_code == status
    assert response.json()["message"]
    (reply,) = qerko.replies
    assert findings(reply) == [(3, fault)]
    assert reply.status == status
    assert qerko.await_reply(exchange, timeout=0) is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "the body of the reply is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"<html>", "the body of the reply is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[1]", 'a reply is an object with an "id" and an "event", both strings'),
        (b" " * (MAX_LETTER + 2), "the body has more than 1000000 bytes"),
    ],
    ids=lambda value: str(value)[:8],
)
def test_what_is_no_letter(qerko: Qerko, till: Till, body: bytes, fault: str) -> None:
    response = till.post("reply", body)

    assert (response.status_code, response.json()["code"]) == (400, "BAD_PAYLOAD")
    (reply,) = qerko.replies
    assert findings(reply) == [(3, fault)]
    assert (reply.event, reply.exchange, reply.milliseconds) == ("", None, None)


@pytest.mark.parametrize(
    ("said", "instead"), [(BILL, "200"), ((503, {"code": None, "message": ""}), "503"), (None, "with silence")]
)
def test_what_was_answered_otherwise_waits_for_no_reply(qerko: Qerko, till: Till, said: Any, instead: str) -> None:
    if said is None:
        till.misbehave = lambda _: None
    exchange = asked(qerko, till, said=said)
    till.reply([{"result": BILL}], **answer_to(exchange))

    assert till.heard == [404]
    assert findings(qerko.replies[0]) == [(3, f"the event was answered {instead}, and not 202")]


def test_a_forged_event_was_never_asked(qerko: Qerko, till: Till) -> None:
    exchange = asked(qerko, till, tamper="key")
    till.reply([{"result": BILL}], **answer_to(exchange))

    assert till.heard == [404]


def test_another_restaurants_event_is_unknown(qerko: Qerko) -> None:
    other = PointOfSale(url="http://127.0.0.1:1/", api_key=OTHER_KEY, name="Other")
    with an_evening(qerko, other) as till:
        exchange = asked(qerko, till)
        response = till.post("reply", answer_to(exchange, result=BILL), key=OTHER_KEY.reveal())

    assert response.status_code == 404
    assert (qerko.replies[0].pos, qerko.replies[0].exchange) == (other, None)


def test_restaurants_that_share_a_key_are_told_apart_by_the_event(qerko: Qerko, till: Till) -> None:
    till.answers["getBill"] = NOTED
    twin = till.pos(name="Twin")
    till.reply([{"result": BILL}], **answer_to(qerko.ask(twin, "getBill")))

    assert till.heard == [200]
    assert qerko.replies[0].pos == twin


@pytest.mark.parametrize("path", ["reply", "get-payment", "cancel-payment"])
def test_a_stranger_is_not_let_in(qerko: Qerko, till: Till, path: str) -> None:
    stranger = till.post(path, {}, key=OTHER_KEY.reveal())
    without_id = requests.post(
        f"{till.api_url}/{path}", json={}, headers={"Authorization": f"Bearer {KEY.reveal()}"}, timeout=20
    )
    looking = requests.get(f"{till.api_url}/{path}", headers={"Pos-Id": POS_ID}, timeout=20)

    assert (stranger.status_code, without_id.status_code, looking.status_code) == (401, 401, 405)
    assert not qerko.replies


# -- Judged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "letter", "finding"),
    [
        ("paymentStart", {"result": {}}, (5, "the answer to paymentStart is null, not an object")),
        ("getBill", {"result": {**BILL, "currency": 1}}, (5, "currency: Input should be a valid string")),
        (
            "getBill",
            {"result": {**BILL, "items": [{"id": "1", "name": "Pivo", "quantity": 2, "price": "1"}]}},
            (5, "items.0.quantity: an amount is a decimal string, not a number"),
        ),
        ("getBill", {"error": "no"}, (3, 'an error is {"code": a string or null, "message": a string}')),
        ("getBill", {"error": {"code": "GONE", "message": ""}}, (4, "getBill has no error code GONE")),
    ],
)
def test_what_is_replied_is_judged_and_taken(
    qerko: Qerko, till: Till, event: str, letter: dict[str, Any], finding: tuple[int, str]
) -> None:
    till.reply([letter], **answer_to(asked(qerko, till, event)))

    assert till.heard == [200]
    assert findings(qerko.replies[0]) == [finding]


def test_any_json_answers_an_event_without_a_structure(qerko: Qerko, till: Till) -> None:
    till.reply([{"result": {"price": 1.5}}], **answer_to(asked(qerko, till, "getMealMenus")))

    assert not qerko.replies[0].findings


# -- A busy Qerko ---------------------------------------------------------------------------------


def test_a_busy_qerko_puts_replies_off(qerko: Qerko) -> None:
    qerko.be_busy(times=2)
    with an_evening(qerko, getBill=later(BILL)) as till:
        turn = qerko.ask_and_wait(till.pos(), "getBill")

    assert turn.is_answered
    assert till.heard == [503, 503, 200]
    assert [reply.status for reply in qerko.replies] == till.heard
    assert {reply.exchange for reply in qerko.replies} == {turn.exchange.number}
    assert not any(reply.findings for reply in qerko.replies)


def test_a_busy_qerko_says_so(qerko: Qerko, till: Till) -> None:
    qerko.be_busy()
    response = till.post("reply", b"whatever")

    assert response.json() == {"code": None, "message": "Qerko is busy."}
    assert till.post("reply", b"whatever").status_code == 400


# -- Several at once ------------------------------------------------------------------------------


def test_many_wait_at_once_and_each_gets_its_own(qerko: Qerko, till: Till) -> None:
    till.answers["getMealMenus"] = Later(letters=[{"result": "first"}, {"result": "second"}])
    with ThreadPoolExecutor(8) as threads:
        turns = list(threads.map(lambda _: qerko.ask_and_wait(till.pos(), "getMealMenus"), range(24)))

    assert [turn.answer for turn in turns] == ["first"] * 24
    assert {turn.reply.event_id for turn in turns if turn.reply} == {turn.exchange.event_id for turn in turns}


def test_whoever_waits_hears_it_last() -> None:
    told: list[Reply] = []
    may_go_on = threading.Event()

    def slowly(reply: Reply) -> None:
        may_go_on.wait(0.1)
        told.append(reply)

    with Qerko(on_reply=slowly) as qerko, an_evening(qerko, getBill=later(BILL)) as till:
        turn = qerko.ask_and_wait(till.pos(), "getBill")
        assert told == [turn.reply] == list(qerko.replies)


def test_old_events_are_forgotten(qerko: Qerko, till: Till) -> None:
    letterbox = Letterbox(15, lambda: NOW)
    letter = read_letter(json.dumps({"id": "0", "event": "getBill", "result": BILL}).encode())
    letterbox.expect(till.pos(), "getBill", "0", number=1, asked_at=NOW)
    reply = letterbox.drop_in(letter, till.pos(), number=2)
    for number in range(REMEMBERED):
        letterbox.expect(till.pos(), "getBill", f"e-{number}", number=number, asked_at=NOW)
    letterbox.tell(reply)
    letterbox.note(asked(qerko, till, event_id="0"))

    assert reply.status == 200
    assert letterbox.drop_in(letter, till.pos(), number=3).status == 404


# -- Shown ----------------------------------------------------------------------------------------


def spoken(qerko: Qerko, till: Till) -> tuple[str, dict[str, Any]]:
    """The page's trail, and the conversation for a program."""
    origin = till.api_url.removesuffix("api/v4/pos")
    page = requests.get(f"{origin}1/search/?code=x", timeout=20).text.partition("<aside")[2]
    return page, requests.get(f"{origin}conversation.json", timeout=20).json()


def test_replies_are_shown_with_what_they_answer(qerko: Qerko, till: Till) -> None:
    exchange = asked(qerko, till, event_id="e-1")
    till.post("reply", {"id": "e-1", "event": "getBill", "result": {**BILL, "note": KEY.reveal()}})
    till.post("reply", b"nonsense")
    till.answers["searchBills"] = []
    page, conversation = spoken(qerko, till)

    assert page.count("<li id=") == 4
    assert f' id="said-{exchange.number}"' in page
    assert f'<a href="#said-{exchange.number}">What it answers</a>' in page
    assert "<h3>U Kocoura → Qerko</h3>" in page
    assert page.index(">400 to its reply<") < page.index(">replied<") < page.index(">202<")
    assert KEY.reveal() not in page + json.dumps(conversation)
    assert [said["event"] for said in conversation["exchanges"]] == ["getBill", "searchBills"]
    taken, refused = conversation["replies"]
    assert (taken["exchange"], taken["event_id"], taken["status"]) == (exchange.number, "e-1", 200)
    assert taken["milliseconds"] >= 0
    assert json.loads(taken["body"])["result"]["id"] == "42"
    assert (refused["exchange"], refused["milliseconds"], refused["status"]) == (None, None, 400)
    assert refused["findings"][0]["section"] == 3


def lines(*said: Said) -> list[str]:
    paper = io.StringIO()
    for one in said:
        print_line(Console(file=paper), one)
    return [line.split(maxsplit=1)[1] for line in paper.getvalue().splitlines()]


def test_replies_are_printed(qerko: Qerko, till: Till) -> None:
    exchange = asked(qerko, till)
    till.reply([{"error": {"code": "BILL_CLOSED", "message": ""}}], **answer_to(exchange))
    till.post("reply", b"")
    first, error, nonsense = lines(exchange, *qerko.replies)

    assert first.startswith("✓ U Kocoura        getBill              202     ")
    assert error.startswith("✓ U Kocoura        getBill              replied BILL_CLOSED ")
    assert error.endswith(" ms")
    assert nonsense.startswith(
        "✗ U Kocoura        a reply              400 to its reply                  the body of the"
    )


def test_what_is_asked_of_qerko_is_told_and_who_is_turned_away(till: Till, qerko: Qerko) -> None:
    till.post("who-am-i", {})
    till.post("get-payment", {"paymentId": "1"})
    till.post("reply", {}, key=OTHER_KEY.reveal())
    till.answers["searchBills"] = []
    page, conversation = spoken(qerko, till)
    printed = [" ".join(line.split()) for line in lines(*qerko.said[:3])]

    assert [(note["restaurant"], note["event"], note["status"]) for note in conversation["notes"]] == [
        ("U Kocoura", "who-am-i", 200),
        ("U Kocoura", "get-payment", 404),
        (None, "reply", 401),
    ]
    wrong = {"section": 1, "text": "the bearer token is missing, or no known API key"}
    assert [note["findings"] for note in conversation["notes"]] == [[], [], [wrong]]
    assert printed == [
        "✓ U Kocoura who-am-i 200",
        "✓ U Kocoura get-payment 404",
        "✗ ? reply 401 the bearer token is missing, or no known API key (protocol section 1)",
    ]
    assert "POST /api/v4/pos/get-payment" in page
    assert "no known API key (protocol section 1)" in page
    assert [(call.status, call.event_id) for call in qerko.strangers] == [(401, "")]
    assert OTHER_KEY.reveal() not in page


def test_silence_is_told_once_and_when_its_time_is_over() -> None:
    told: list[Note] = []
    with Qerko(deadline=0.3, on_note=told.append) as qerko, an_evening(qerko, getBill=NOTED) as till:
        exchange = qerko.ask(till.pos(), "getBill")
        assert qerko.await_reply(exchange, 0.01) is None
        assert told == []
        assert [qerko.await_reply(exchange), qerko.await_reply(exchange)] == [None, None]
        page, conversation = spoken(qerko, till)

    assert [said for said in qerko.said if not isinstance(said, Exchange)] == told
    (note,) = conversation["notes"]
    assert (note["event_id"], note["exchange"]) == (exchange.event_id, exchange.number)
    assert note["findings"] == [{"section": 3, "text": "a 202 was said, and no reply came in time"}]
    assert lines(*told)[0].startswith("✗ U Kocoura        getBill              no reply ")
    assert f'href="#said-{exchange.number}"' in page


def test_a_qerko_that_is_closed_says_nothing_of_silence() -> None:
    told: list[Note] = []
    with Qerko(deadline=20, on_note=told.append) as qerko, an_evening(qerko, getBill=NOTED) as till:
        exchange = qerko.ask(till.pos(), "getBill")
        with ThreadPoolExecutor(1) as waiting:
            waited = waiting.submit(qerko.await_reply, exchange)
            qerko.close()
            assert waited.result(20) is None

    assert told == []

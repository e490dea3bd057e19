"""How an event comes to its handlers, and what of theirs is an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.dispatch import Signal

from django_qerko import events, signals
from django_qerko.answers import NOTHING, Bill, Json, Receipt, ReceiptInfo, Table
from django_qerko.exceptions import NobodyAnswered, QrInvalid, SeveralAnswered, WrongAnswer
from django_qerko.handling.dispatch import ask
from tests.deliveries import document

Answering = Callable[[Signal, Any], None]

BILL = Bill(id="42", currency="CZK", items=[])
TABLE = Table(id="T1", name="Table 1")
RECEIPT = Receipt(receipt_info=ReceiptInfo(), items=[], tax_info=[])


def event(name: str) -> events.Event:
    return events.read_event(document(name))


def test_every_class_of_event_has_a_signal() -> None:
    assert set(signals.QUESTIONS) == {*events.CLASSES.values(), events.OtherEvent}


def test_the_one_answer_comes_back_and_none_is_not_mine(answering: Answering) -> None:
    got: dict[str, Any] = {}

    def mine(**kwargs: Any) -> Bill:
        got.update(kwargs)
        return BILL

    answering(signals.bill_requested, lambda **_: None)
    answering(signals.bill_requested, mine)

    assert ask(event("getBill"), restaurant="r", bill=None, payment=None) is BILL
    assert got["sender"] is events.BillRequested
    assert got["event"].bill_id == "42"
    assert (got["restaurant"], got["bill"], got["payment"]) == ("r", None, None)


def test_an_async_receiver_answers(answering: Answering) -> None:
    async def later(**_: Any) -> Bill:
        return BILL

    assert iscoroutinefunction(later)
    answering(signals.bill_requested, later)

    assert ask(event("getBill")) is BILL


def test_several_answers_are_an_error_that_names_the_receivers(answering: Answering) -> None:
    def first(**_: Any) -> Bill:
        return BILL

    answering(signals.bill_requested, first)
    answering(signals.bill_requested, lambda **_: BILL)

    with pytest.raises(SeveralAnswered, match=r"2 receivers.*first"):
        ask(event("getBill"))


@pytest.mark.parametrize(("name", "level"), [("getBill", logging.ERROR), ("orderStart", logging.WARNING)])
def test_silence_to_a_question_is_said_and_logged(name: str, level: int, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NobodyAnswered) as silence:
        ask(event(name))

    assert silence.value.code == "NO_SUCH_METHOD"
    assert [record.levelno for record in caplog.records] == [level]


@pytest.mark.parametrize("name", ["paymentStart", "paymentClosed"])
@pytest.mark.parametrize("said", [None, NOTHING])
def test_the_app_accepts_a_payment_that_no_receiver_refuses(answering: Answering, name: str, said: Any) -> None:
    signal = signals.QUESTIONS[events.CLASSES[name]].signal
    assert ask(event(name)) is NOTHING

    answering(signal, lambda **_: said)
    answering(signal, lambda **_: said)

    assert ask(event(name)) is NOTHING


def test_a_refusal_goes_on_to_the_caller(answering: Answering) -> None:
    def refuse(**_: Any) -> None:
        raise QrInvalid

    answering(signals.bills_searched, refuse)

    with pytest.raises(QrInvalid):
        ask(event("searchBills"))


FITTING = [
    ("getTableList", [TABLE]),
    ("getTableList", ()),
    ("getTableContents", [BILL]),
    ("getBill", BILL),
    ("searchBills", [BILL]),
    ("paymentProcessed", RECEIPT),
    ("getPostponedReceipt", RECEIPT),
    ("orderStart", Json({})),
    ("orderStart", NOTHING),
]
UNFITTING = [
    ("getTableList", TABLE),
    ("getTableList", [BILL]),
    ("getTableContents", BILL),
    ("getBill", [BILL]),
    ("getBill", NOTHING),
    ("getBill", {"id": "42"}),
    ("getBill", False),
    ("paymentStart", BILL),
    ("paymentClosed", "done"),
    ("paymentProcessed", NOTHING),
    ("orderStart", {"plain": "dict"}),
]


@pytest.mark.parametrize(("name", "answer"), FITTING, ids=str)
def test_a_fitting_answer_is_taken(answering: Answering, name: str, answer: Any) -> None:
    answering(signals.QUESTIONS[type(event(name))].signal, lambda **_: answer)

    assert ask(event(name)) is answer


@pytest.mark.parametrize(("name", "answer"), UNFITTING, ids=str)
def test_an_answer_to_another_question_is_an_error(answering: Answering, name: str, answer: Any) -> None:
    answering(signals.QUESTIONS[type(event(name))].signal, lambda **_: answer)

    with pytest.raises(WrongAnswer, match="tests.test_dispatch"):
        ask(event(name))

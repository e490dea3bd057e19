"""Rules about what a point of sale must bear: members that nobody knows, old names, and many guests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any, Final

from django_qerko.certifying.playing import Play
from django_qerko.certifying.rules.asking import answers, bills, tables
from django_qerko.certifying.rules.paying import cancelled_again
from django_qerko.certifying.ruling import require, rule, try_rule
from django_qerko.certifying.verdicts import Broken, NotTried, Refused
from django_qerko.certifying.wording import told
from django_qerko.sandbox.payments import CANCELLED
from django_qerko.sandbox.qerko import Turn

#: A little load: so many guests at once, each with so many questions.
_GUESTS: Final = 6
_QUESTIONS: Final = 4

_Question = tuple[str, Any]


@rule(
    "Members that nobody knows are no error, at any depth",
    section=2,
    cure="Pass over what you do not know: Qerko adds members, and tests this before it changes something.",
    needs=(answers,),
)
def unknown_members(play: Play) -> str:
    asked = [question for question in _questions(play) if _is_answered(play, question)]
    if not asked:
        raise NotTried("no question is answered without them either")
    with play.with_unknown_members():
        for event, data in asked:
            _require_answer(play, play.ask(event, {} if data is None else data))
    paid = _pays(play, play.with_unknown_members, "paymentId")
    return f"{', '.join(event for event, _ in asked)}{paid}"


@rule(
    "The names of v2 are understood beside those of v4",
    section=4,
    cure="Read idTable, idBill and idPayment where tableId, billId and paymentId are missing.",
    needs=(bills,),
)
def old_names(play: Play) -> str:
    bill_id, table = next(iter(play.bills.items()))
    for event, data in (("getTableContents", {"idTable": table.id}), ("getBill", {"idBill": bill_id})):
        _require_answer(play, play.ask(event, data))
    paid = _pays(play, nullcontext, "idPayment")
    return f"idTable, idBill{paid}"


@rule(
    "An answer comes within 15 seconds, under a little load, too",
    section=3,
    cure="Find out what takes so long, or what waits for what: Qerko forgets an event after 15 seconds.",
)
def in_time(play: Play) -> str:
    verdict = try_rule(answers, play)
    if play.qerko.late:
        raise Broken(play.qerko.late)
    if not verdict.is_good:
        require(answers, play)
    asked = [question for question in _questions(play) if _is_answered(play, question)]
    if not asked:
        raise NotTried("no question is answered")
    with ThreadPoolExecutor(_GUESTS) as guests:
        turns = [*guests.map(lambda _: _in_a_row(play, asked), range(_GUESTS))]
    spans = [turn.milliseconds for row in turns for turn in row]
    return f"{len(spans)} answers to {_GUESTS} guests at once, median {median(spans):.0f} ms, {max(spans):.0f} at most"


def _in_a_row(play: Play, asked: list[_Question]) -> list[Turn]:
    """What one guest hears. Raises Broken where a question is not answered, or not in time."""
    turns: list[Turn] = []
    for number in range(_QUESTIONS):
        event, data = asked[number % len(asked)]
        try:
            turn = play.ask(event, data)
        except NotTried as late:
            raise Broken(f"{_GUESTS} guests at once: {late}") from late
        if not turn.is_answered:
            raise Broken(f"{_GUESTS} guests at once: {told(turn)}")
        turns.append(turn)
    return turns


def _questions(play: Play) -> list[_Question]:
    """Questions that change nothing, as far as tables and bills are known."""
    try_rule(tables, play)
    try_rule(bills, play)
    known: list[_Question] = [("getTableList", None)]
    known += [("getTableContents", {"tableId": table.id, "customerId": None}) for table in play.tables[:1]]
    known += [("getBill", {"billId": bill_id, "customerId": None}) for bill_id in [*play.bills][-1:]]
    return known


def _is_answered(play: Play, question: _Question) -> bool:
    event, data = question
    return play.ask(event, data).is_answered


def _require_answer(play: Play, turn: Turn) -> None:
    play.require_reply(turn)
    if not turn.is_answered:
        raise Broken(told(turn))


# -- While somebody pays -----------------------------------------------------------------------------


def _pays(play: Play, manner: Callable[[], AbstractContextManager[None]], name: str) -> str:
    """Try it with a payment as well, if one can begin, and with its receipt, if it has one without this."""
    if not try_rule(cancelled_again, play).is_good:
        return ""
    with play.beginning(play.part()) as story:
        has_receipt = play.ask("paymentProcessed", {"paymentId": story.payment.id}).is_answered
    with manner():
        _begin_and_cancel(play, name, has_receipt=has_receipt)
    return ", and a payment"


def _begin_and_cancel(play: Play, name: str, *, has_receipt: bool) -> None:
    """Raises Broken where a payment cannot begin or end like this, or has no receipt where another has one."""
    try:
        with play.beginning(play.part()) as story:
            if has_receipt:
                _require_answer(play, play.ask("paymentProcessed", {name: story.payment.id}))
            _require_answer(play, play.ask("paymentClosed", {name: story.payment.id, "state": CANCELLED}))
            play.qerko.cancel_payment(story.payment)
    except Refused as refused:
        raise Broken(str(refused)) from refused

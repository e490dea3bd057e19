"""Rules about questions: who answers, with which tables and bills, and what of the unknown is said."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from django_qerko.answers import Bill, Table
from django_qerko.certifying.playing import OPEN_BILLS, Play
from django_qerko.certifying.ruling import require, rule
from django_qerko.certifying.verdicts import Broken, NotNeeded, NotTried
from django_qerko.certifying.wording import listed, named, told
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.qerko import Turn
from django_qerko.sandbox.reading import read

#: More bills than these are not needed, and more tables are not asked for their bills.
_BILLS: Final = 4
_TABLES: Final = 200
#: What answers a genuine delivery, an error of the domain included; from 500 on it is heard, and something breaks.
_HEARD: Final = {200, 202, 422}
#: A state for ``paymentClosed`` of what never began, whose answer nobody must fear.
_NOT_PAID: Final = "CANCELLED"


@rule(
    "A genuine delivery is let in",
    section=2,
    cure="Does the point of sale run, is this the address of its webhook, has it this API key, and is its clock right?",
)
def answers(play: Play) -> str:
    turn = play.ask("getTableList")
    status = turn.exchange.status
    if status is None or (status not in _HEARD and status < 500):
        raise Broken(told(turn))
    return told(turn)


@rule(
    "getTableList is answered with all tables, each with its id and name",
    section=5,
    cure="Answer with a list of Table, in the response or as a reply.",
    needs=(answers,),
)
def tables(play: Play) -> str:
    turn = play.answered("getTableList")
    play.require_form(turn)
    play.tables = [table for table in read("getTableList", turn.answer).structures if isinstance(table, Table)]
    if not play.tables:
        raise NotTried("there is no table", cure=OPEN_BILLS)
    return named(len(play.tables), "table")


@rule(
    "getTableContents and getBill are answered with valid bills",
    section=5,
    cure="Answer with a Bill: id, currency, and the unpaid items, each with id, name, quantity and price.",
    needs=(tables,),
)
def bills(play: Play) -> str:
    for table in play.tables[:_TABLES]:
        for bill in _contents(play, table):
            play.bills[bill.id] = table
            if play.look(bill.id) is None:
                raise Broken(f"{bill.id} stands on table {table.id}, and getBill does not know it")
        if len(play.bills) >= _BILLS:
            break
    if not play.bills:
        raise NotTried("there is no bill on any table", cure=OPEN_BILLS)
    return named(len(play.bills), "bill")


@rule(
    "Amounts and quantities are decimal strings",
    section=5,
    cure='Write "55.00" with its quotation marks: a float cannot hold every amount.',
    needs=(tables,),
)
def amounts(play: Play) -> str:
    if found := play.findings(Judgement.AMOUNT_AS_NUMBER):
        raise Broken(listed(found))
    require(bills, play)
    # Only asking for them brings what there is to judge.
    if found := play.findings(Judgement.AMOUNT_AS_NUMBER):
        raise Broken(listed(found))
    return "all that were seen"


@rule(
    "A bill that does not exist is BILL_NOT_FOUND",
    section=4,
    cure="Refuse with the code BILL_NOT_FOUND, whatever the id looks like.",
    needs=(answers,),
)
def unknown_bill(play: Play) -> str:
    turn = play.ask("getBill", {"billId": nobodys(), "customerId": None})
    return play.require_error(turn, "BILL_NOT_FOUND")


@rule(
    "An event that nobody knows is NO_SUCH_METHOD",
    section=4,
    cure="Refuse what has no handler with the code NO_SUCH_METHOD: Qerko will have events that you do not know.",
    needs=(answers,),
)
def unknown_event(play: Play) -> str:
    return play.require_error(play.ask("askWhatNobodyKnows", {"customerId": None}), "NO_SUCH_METHOD")


@rule(
    "A code that nobody printed is QR_INVALID, or has no bills",
    section=4,
    cure="Refuse with the code QR_INVALID.",
    needs=(answers,),
)
def unknown_code(play: Play) -> str:
    turn = play.ask("searchBills", {"qrIdentifier": nobodys(), "customerId": None})
    play.require_reply(turn)
    if turn.error_code == "NO_SUCH_METHOD":
        raise NotNeeded("it has no codes of its own")
    if turn.is_answered and turn.answer == []:
        return told(turn)
    return play.require_error(turn, "QR_INVALID")


@rule(
    "A payment that never began has no receipt",
    section=4,
    cure="Refuse paymentProcessed and getPostponedReceipt of a payment that you do not know, with NOT_FOUND. For the"
    ' handlers of django_qerko `payment` is None then: if payment is None: raise DomainError("NOT_FOUND").',
    needs=(answers,),
)
def unknown_payment(play: Play) -> str:
    seen: list[str] = []
    for event in ("paymentProcessed", "getPostponedReceipt"):
        turn = play.ask(event, {"paymentId": nobodys()})
        _require_unbroken(play, turn)
        seen.append(play.require_error(turn))
    closed = play.ask("paymentClosed", {"paymentId": nobodys(), "state": _NOT_PAID})
    _require_unbroken(play, closed)
    return "; ".join([*seen, told(closed)])


def _contents(play: Play, table: Table) -> list[Bill]:
    """The bills of a table on which something is left."""
    turn = play.answered("getTableContents", {"tableId": table.id, "customerId": None})
    play.require_form(turn)
    bills = read("getTableContents", turn.answer).structures
    return [bill for bill in bills if isinstance(bill, Bill) and bill.items]


def nobodys() -> str:
    """An id that nobody gave anything."""
    return f"nobody-{uuid4()}"


def _require_unbroken(play: Play, turn: Turn) -> None:
    """Raises Broken where a point of sale broke over what it does not know, as 500 says, or an error without a code."""
    play.require_reply(turn)
    if not turn.is_answered and turn.error_code is None:
        raise Broken(f"{told(turn)}: it broke over a payment that it does not know")

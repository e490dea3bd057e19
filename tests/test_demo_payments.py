"""A payment in the demo: told turn by turn, and judged; whatever the pub says, the evening goes on."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from rich.console import Console

from django_qerko.answers import Receipt
from django_qerko.sandbox.qerko import Qerko
from example_project.demo.evening import Evening, WrongExchange, accepted, answered, refused
from example_project.demo.pub import Pub
from example_project.demo.slips import printed
from example_project.demo.telling import Teller
from tests.points_of_sale import Later, Till, an_evening, later, later_error

BILL = {
    "id": "42",
    "currency": "CZK",
    "items": [{"id": "1", "name": "Pivo, jehož jméno se nevejde na jeden řádek", "quantity": "2", "price": "65.50"}],
}
RECEIPT = {
    "receiptInfo": {
        "billName": "Stůl 1, bill 3",
        "serial": "2026-000007",
        "headerLines": ["Hospoda"],
        "footerLines": ["Děkujeme."],
        "waiter": "Božena",
        "timestamp": "2026-11-24T21:05:00+01:00",
    },
    "items": [
        {"name": "Guláš, který se nevejde na řádek dost dlouhý", "price": "215.50", "quantity": "0.5", "taxName": "12"}
    ],
    "taxInfo": [{"name": "DPH 12 %", "rate": "12", "base": "96.21", "tax": "11.54"}],
}
TAKEN = {"paymentStart": later(), "paymentProcessed": later(RECEIPT), "paymentClosed": later()}
SILENT = Later(letters=[])


@dataclass(frozen=True, kw_only=True)
class Play:
    """An evening with a till that a test tells what to answer, and what was told of it."""

    evening: Evening
    till: Till
    out: io.StringIO

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def marked(self, mark: str) -> list[str]:
        """The lines with this mark, up to their figures."""
        return [line[15:75].rstrip() for line in self.lines if line.endswith(mark)]


@pytest.fixture
def play() -> Iterator[Play]:
    out = io.StringIO()
    with Qerko(deadline=0.4) as qerko, an_evening(qerko, **TAKEN) as till:
        evening = Evening(
            qerko=qerko,
            pos=till.pos(),
            pub=Pub(port=till.port, webhook_path="/hook", tables=[]),
            teller=Teller(Console(file=out, width=96, color_system=None)),
        )
        yield Play(evening=evening, till=till, out=out)


def a_receipt() -> Any:
    return answered("a receipt", lambda receipt: receipt["taxInfo"])


def test_a_payment_is_told_turn_by_turn(play: Play) -> None:
    story = play.evening.begin_payment(BILL, accepted(), about="everything", tip=10)
    story = play.evening.process_payment(story, a_receipt())
    story = play.evening.close_payment(story)

    assert story.is_paid
    assert play.marked("✓") == [
        "Qerko       paymentStart  everything",
        "the pub     /reply  to paymentStart",
        "Qerko       paymentProcessed  the money has moved",
        "the pub     /reply  to paymentProcessed",
        "Qerko       paymentClosed  PAID",
        "the pub     /reply  to paymentClosed",
    ]
    assert not play.marked("✗")
    assert "receipt 2026-000007: 96.21 and 11.54 VAT" in play.out.getvalue()
    assert play.evening.right == len(play.evening.exchanges) == 3
    assert play.evening.figures.startswith("3 of 3 exchanges were right, median ")


def test_each_payment_is_remembered_as_it_ended(play: Play) -> None:
    first = play.evening.begin_payment(BILL, accepted(), about="")
    play.evening.close_payment(first)
    play.evening.measure_payment(BILL, items={"1": "1"}, who="a guest")
    play.till.answers["paymentStart"] = later_error("BAD_PARAMETER")
    with pytest.raises(WrongExchange):
        play.evening.begin_payment(BILL, accepted(), about="")

    assert [story.state for story in play.evening.stories.values()] == ["CANCELLED", "PAID", "CANCELLED"]


def test_a_receipt_that_was_postponed_is_asked_for(play: Play) -> None:
    play.till.answers["paymentProcessed"] = later(RECEIPT | {"receiptDeliveryType": "POSTPONED"})
    play.till.answers["getPostponedReceipt"] = RECEIPT
    story = play.evening.begin_payment(BILL, accepted(), about="")
    story = play.evening.process_payment(story, a_receipt())
    assert not story.has_receipt

    story = play.evening.ask_receipt(story, a_receipt(), about="is it there?")

    assert story.has_receipt
    assert play.marked("✓")[-1] == "Qerko       getPostponedReceipt  is it there?"
    play.till.answers["getPostponedReceipt"] = None
    with pytest.raises(WrongExchange):
        play.evening.ask_receipt(story, a_receipt(), about="and now?")


def test_a_payment_whose_end_is_lost_is_remembered_as_paid(play: Play) -> None:
    story = play.evening.process_payment(play.evening.begin_payment(BILL, accepted(), about=""), a_receipt())

    assert play.evening.lose_end(story).is_paid

    assert len(play.till.received) == 2
    assert "paymentClosed, PAID, gets lost on its way." in play.out.getvalue()
    assert [story.is_paid for story in play.evening.stories.values()] == [True]


def test_a_question_is_asked_until_its_answer_is_right(play: Play) -> None:
    play.till.answers["getBill"] = iter([None, BILL])

    play.evening.ask_until("getBill", {"billId": "42"}, answered("bill 42", lambda bill: bill["id"] == "42"), about="")

    assert len(play.evening.exchanges) == 2
    assert len(play.marked("✓")) == 1


def test_a_question_whose_answer_stays_wrong_is_given_up(play: Play) -> None:
    with pytest.raises(WrongExchange):
        play.evening.ask_until("getBill", {}, answered("a bill", lambda bill: bill["id"]), about="", within=0.3)

    assert play.marked("✗")
    assert len(play.evening.exchanges) > 1


def test_each_try_of_a_reply_is_told(play: Play) -> None:
    play.evening.qerko.be_busy(times=2)

    play.evening.begin_payment(BILL, accepted(), about="")

    assert play.marked("✓")[1:] == ["the pub     /reply  to paymentStart"] * 3
    assert play.out.getvalue().count("is busy; come again") == 2


def test_a_refusal_that_was_expected_is_right(play: Play) -> None:
    play.till.answers["paymentStart"] = later_error("BAD_PARAMETER", "Nothing left.")

    story = play.evening.begin_payment(BILL, refused(200, "BAD_PARAMETER"), about="")
    play.evening.close_payment(story)

    assert "BAD_PARAMETER: Nothing left." in play.out.getvalue()
    assert "paymentClosed  CANCELLED" in play.out.getvalue()
    assert not play.evening.faults


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (later_error("BAD_PARAMETER"), "expected 200 and null"),
        (later(7), "expected 200 and null; the answer to paymentStart is null"),
        (SILENT, "a 202 was said, and no reply came in time"),
        (None, "expected 202 and an answer that comes later"),
        ((500, None), "expected 202 and an answer that comes later"),
    ],
)
def test_an_answer_that_was_not_expected_ends_the_scene(play: Play, answer: Any, fault: str) -> None:
    play.till.answers["paymentStart"] = answer

    with pytest.raises(WrongExchange):
        play.evening.begin_payment(BILL, accepted(), about="")

    assert play.evening.faults[0].startswith(f"paymentStart: {fault}")
    assert (play.evening.right, len(play.evening.exchanges)) == (0, 1)


def test_a_reply_that_qerko_refuses_is_told(play: Play) -> None:
    play.till.answers["paymentStart"] = Later(letters=[{"nothing": 1}, {"result": None}])

    play.evening.begin_payment(BILL, accepted(), about="")

    assert "Qerko       refuses it" in play.out.getvalue()


def test_payments_are_measured_and_told_in_short(play: Play) -> None:
    for number in range(2):
        play.evening.measure_payment(BILL, items={"1": "1"}, who=f"guest {number}")

    assert len(play.evening.measured) == len(play.evening.exchanges) == 6
    assert [line[:32] for line in play.marked("✓")] == [
        "guest 0     pays 1 × Pivo, jehož",
        "guest 1     pays 1 × Pivo, jehož",
    ]
    assert re.search(r"; 6 replies, median \d+ ms$", play.evening.figures)
    assert max(map(len, play.lines)) <= 96


@pytest.mark.parametrize("answer", [SILENT, None, later_error(None)])
def test_a_payment_that_was_measured_and_is_wrong_is_told(play: Play, answer: Any) -> None:
    play.till.answers |= {"paymentStart": answer, "paymentClosed": answer}

    with pytest.raises(WrongExchange):
        play.evening.measure_payment(BILL, items={"1": "1"}, who="a guest")

    assert play.marked("✗")
    assert play.evening.faults[0].startswith("payment: expected PAID, and each answer later")
    assert ("does not reply" in play.out.getvalue()) is (answer is SILENT)


def test_a_receipt_is_printed_on_a_strip_of_paper() -> None:
    assert list(printed(Receipt.model_validate(RECEIPT), "CZK")) == [
        "┌────────────────────────────────────────────────┐",
        "│                    Hospoda                     │",
        "│                                                │",
        "│ Účtenka 2026-000007         24. 11. 2026 21:05 │",
        "│ Stůl 1, bill 3                  obsluha Božena │",
        "│ ────────────────────────────────────────────── │",
        "│ 0.5 × Guláš, který se nevejde na řádek… 107.75 │",
        "│ ────────────────────────────────────────────── │",
        "│ Celkem                              107.75 CZK │",
        "│ DPH 12 %         základ    96.21   daň   11.54 │",
        "│                                                │",
        "│                   Děkujeme.                    │",
        "└────────────────────────────────────────────────┘",
    ]


def test_a_receipt_that_says_little_is_printed_as_well(play: Play) -> None:
    play.evening.teller.receipt(Receipt.model_validate({"receiptInfo": {}, "items": [], "taxInfo": []}), "CZK")

    assert "Účtenka" in play.out.getvalue()

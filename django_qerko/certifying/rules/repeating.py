"""Rules about events that are delivered again: nothing happens twice."""

from __future__ import annotations

import time
from typing import Any, Final

from django_qerko.certifying.playing import Paid, Play
from django_qerko.certifying.rules.paying import paid_items_gone
from django_qerko.certifying.ruling import rule
from django_qerko.certifying.verdicts import Broken, NotTried
from django_qerko.certifying.wording import said, told
from django_qerko.sandbox.conversation import Exchange
from django_qerko.sandbox.qerko import Turn

#: How long the second of two handlings has time to end after the reply of the first, in seconds.
_A_MOMENT: Final = 0.3


@rule(
    "An event that is delivered again changes nothing, and is answered as before",
    section=2,
    cure="Remember the id of each event with its answer, and give that answer again.",
    needs=(paid_items_gone,),
)
def duplicates(play: Play) -> str:
    part = play.part(steps=3)
    with play.beginning(part) as begun:
        _require_same(play, begun.turns[-1])
        story = play.receipt(begun)
        _require_same(play, story.turns[-1])
        story = play.qerko.close_payment(story)
        play.paid.append(Paid(part=part, story=story))
        _require_same(play, story.turns[-1])
    return play.require_left(part, part.after, "after each step was told twice")


@rule(
    "An event that is delivered twice at the same moment happens once",
    section=2,
    cure="Let a unique index, or a lock, decide which of two deliveries with the same id is handled.",
    needs=(duplicates,),
)
def duplicates_at_once(play: Play) -> str:
    part = play.part(steps=3)
    with play.qerko.delivering_twice() as twins:
        paid = play.pay(part)
    for number, turn in enumerate(paid.story.turns):
        play.require_reply(turn)
        if not turn.is_answered:
            # Where not even one of two can begin, it is nothing that two do to each other.
            raise Broken(told(turn)) if number else NotTried(f"a payment could not begin: {told(turn)}")
    if any(exchange.status == 202 for pair in twins for exchange in pair):
        time.sleep(_A_MOMENT)
    for pair in twins:
        _require_one_answer(play, pair)
    return play.require_left(part, part.after, "after each step was told twice at once")


def _require_same(play: Play, turn: Turn) -> None:
    """Raises Broken where an event is answered otherwise when it is delivered again."""
    again = play.again(turn)
    if not again.is_answered:
        raise Broken(f"delivered again, {told(again)}")
    if (first := _serial(turn.answer)) != (second := _serial(again.answer)):
        raise Broken(f"delivered again, {again.exchange.event} has another receipt: {second} after {first}")


def _require_one_answer(play: Play, pair: tuple[Exchange, Exchange]) -> None:
    """Raises Broken where one of two broke, or both have receipts, and not the same; 503 asks Qerko to come again."""
    serials: list[Any] = []
    for exchange in pair:
        if not (exchange.is_answered or exchange.status == 503):
            raise Broken(f"at once, {said(exchange)}")
        serials += [_serial(exchange.answer)] if exchange.status == 200 else []
    if any(exchange.status == 202 for exchange in pair):
        letters = [letter for letter in play.qerko.letters if letter.event_id == pair[0].event_id and letter.is_taken]
        serials += [_serial(letter.answer) for letter in letters]
    if any(serial != serials[0] for serial in serials):
        raise Broken(f"at once, {pair[0].event} has two receipts: {serials}")


def _serial(answer: Any) -> Any:
    """The number of a receipt; ``None`` for what is none."""
    info = answer.get("receiptInfo") if isinstance(answer, dict) else None
    return info.get("serial") if isinstance(info, dict) else None

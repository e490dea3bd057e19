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
    if difference := _difference(turn.answer, again.answer):
        raise Broken(f"delivered again, {again.exchange.event} has another answer: {difference}")


def _require_one_answer(play: Play, pair: tuple[Exchange, Exchange]) -> None:
    """Raises Broken where one of two broke, or both have receipts, and not the same; 503 asks Qerko to come again."""
    said_so_far: list[Any] = []
    for exchange in pair:
        if not (exchange.is_answered or exchange.status == 503):
            raise Broken(f"at once, {said(exchange)}")
        said_so_far += [exchange.answer] if exchange.status == 200 else []
    if any(exchange.status == 202 for exchange in pair):
        letters = [letter for letter in play.qerko.letters if letter.event_id == pair[0].event_id and letter.is_taken]
        said_so_far += [letter.answer for letter in letters]
    for answer in said_so_far:
        if difference := _difference(said_so_far[0], answer):
            raise Broken(f"at once, {pair[0].event} has two answers: {difference}")


def _difference(first: Any, second: Any, path: str = "") -> str:
    """Where two answers differ first, and what stands there in each; nothing where they are the same."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in sorted(first.keys() | second.keys()):
            if found := _difference(first.get(name), second.get(name), f"{path}.{name}"):
                return found
        return ""
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return next(filter(None, (_difference(*pair, f"{path}.{number}") for number, pair in pairs)), "")
    return "" if first == second else f"{path.removeprefix('.') or 'it'} is {second!r} after {first!r}"

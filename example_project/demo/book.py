"""Compare the pub's books with what was said: each event handled once, each payment ended, each item paid once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Final

from django_qerko.sandbox.qerko import Exchange, PaymentStory
from example_project.demo.stage import Stage
from example_project.demo.words import MALFORMED, counted

#: What is written a moment later: how often it is looked for, and how many seconds apart.
_LATER: Final = {"delivered", "turned away"}
_LOOKS: Final = 3
_LOOKED_EVERY: Final = 0.5


#: How the ids of events begin that nobody delivered: the pub asked Qerko what became of a payment.
_ASKED: Final = "asked-"


class BookIsWrong(Exception):
    """Something else stands in the book than was said."""


def look_into_book(stage: Stage, exchanges: Sequence[Exchange], stories: Sequence[PaymentStory]) -> str:
    """What stands in the book, in two sentences. Raises BookIsWrong where that is not what was said."""
    let_in = [exchange.event_id for exchange in exchanges if exchange.status in {200, 202, 422}]
    events = set(let_in)
    owed = len({exchange.event_id for exchange in exchanges if exchange.status == 202})
    turned_away = sum(exchange.status in {400, 401, 404, 410, 413} for exchange in exchanges)
    paid = sum(story.is_paid for story in stories)
    _require(
        {
            "events": len(events),
            "handled once": len(events),
            "replies": owed,
            "delivered": owed,
            "turned away": turned_away,
            "payments": len(stories),
            "paid": paid,
            "cancelled": len(stories) - paid,
            "bills that differ": 0,
        },
        lambda: _read(stage, events),
    )
    return (
        f"The pub's book: {counted(len(events), 'event')}, each handled once, {owed} of them answered later; "
        f"{len(let_in) - len(events)} came again, {turned_away} turned away.\n"
        f"{counted(len(stories), 'payment')}: {paid} paid, {len(stories) - paid} cancelled, none left open; and what "
        "is paid at Qerko is paid on the pub's bills, line by line."
    )


def _require(expected: dict[str, int], find: Callable[[], dict[str, int]]) -> None:
    found: dict[str, int] = {}
    for _ in range(_LOOKS):
        found = find()
        wrong = {name for name in expected if found[name] != expected[name]}
        if not wrong:
            return
        if not wrong <= _LATER:
            break
        time.sleep(_LOOKED_EVERY)
    raise BookIsWrong(f"The pub's book: expected {expected}, found {found}")


def _read(stage: Stage, said: set[str]) -> dict[str, int]:
    printed = stage.command("qerko_events", "--json", "--limit=1000")
    counts, differing = stage.command("qerko_stats", "--json"), stage.command("pub_audit", "--json")
    try:
        events, stats = [json.loads(line) for line in printed.splitlines()], json.loads(counts)
        handled_once = [event for event in events if (event["state"], event["handlings"]) == ("handled", 1)]
        return {
            "events": sum(not event["id"].startswith(_ASKED) for event in events),
            "handled once": sum(event["id"] in said for event in handled_once),
            "replies": sum(stats["replies"].values()),
            "delivered": stats["replies"]["delivered"],
            "turned away": sum(stats["rejected_deliveries"].values()),
            "payments": sum(stats["payments"].values()),
            "paid": stats["payments"]["paid"],
            "cancelled": stats["payments"]["cancelled"],
            "bills that differ": len(json.loads(differing)),
        }
    except MALFORMED as error:
        raise BookIsWrong(f"The pub's book cannot be read: {error!r}") from error

"""The table of outcomes: what becomes of each event in each state of its payment.

The tests run it, and the docs show it as ``render`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

#: What the payment is before, in the docs' words.
NEVER: Final = "unknown"
END_TOLD: Final = "unknown, but its end was told"
STARTED: Final = "`started`"
PROCESSED: Final = "`processed`"
POSTPONED: Final = "`processed`, with a postponed receipt"
PAID: Final = "`paid`"
PAID_EARLY: Final = "`paid` before it was processed"
REFUSED: Final = "`cancelled`: it was refused"
EXPIRED: Final = "`cancelled`: Qerko said so"
TAKEN_BACK: Final = "`cancelled` here, and Qerko has not said how it ended"

#: What Qerko says, in the docs' words.
START: Final = "`paymentStart`"
START_OTHER: Final = "`paymentStart`, same id, other content"
START_SECOND: Final = "`paymentStart` of another payment on its bill"
PROCESS: Final = "`paymentProcessed`"
CLOSE_PAID: Final = "`paymentClosed`, `PAID`"
CLOSE_ELSE: Final = "`paymentClosed`, any other state"
ASK_RECEIPT: Final = "`getPostponedReceipt`"

_IN_PROGRESS: Final = (STARTED, PROCESSED, POSTPONED)
_PAID: Final = (PAID, PAID_EARLY)
_CANCELLED: Final = (REFUSED, EXPIRED, TAKEN_BACK)


class Outcome(NamedTuple):
    """What Qerko hears, and what is so afterwards; an empty ``state``: as before."""

    status: int
    said: str
    state: str = ""
    locked: str = "nothing"
    #: Whether the project's handlers are asked.
    asked: bool = False
    #: Whether an error in the log asks for a person.
    alarm: bool = False
    #: Whether Qerko is asked what became of a payment.
    inquiry: bool = False


_AGAIN: Final = Outcome(200, "`null`")
_REFUSED: Final = Outcome(422, "`BAD_PARAMETER`")
_UNKNOWN: Final = Outcome(422, "`NOT_FOUND`")
_RECEIPT: Final = Outcome(200, "the receipt of before")
_OWN: Final = "its items"
_OTHERS: Final = "the other's items"

OUTCOMES: Final[dict[str, list[tuple[tuple[str, ...], Outcome]]]] = {
    START: [
        ((NEVER,), Outcome(200, "`null`", "`started`", _OWN, asked=True)),
        ((END_TOLD,), _REFUSED._replace(state="`cancelled`")),
        (_IN_PROGRESS, _AGAIN._replace(locked=_OWN)),
        (_PAID, _AGAIN),
        (_CANCELLED, _REFUSED),
    ],
    START_OTHER: [
        (_IN_PROGRESS, _REFUSED._replace(locked=_OWN)),
        ((*_PAID, *_CANCELLED), _REFUSED),
    ],
    START_SECOND: [
        (_IN_PROGRESS, Outcome(422, "`ACCESS_DENIED`", locked=_OWN, inquiry=True)),
        ((NEVER, END_TOLD, *_PAID, *_CANCELLED), Outcome(200, "`null`", locked=_OTHERS, asked=True)),
    ],
    PROCESS: [
        ((NEVER, END_TOLD), Outcome(200, "the handler's receipt", asked=True)),
        ((STARTED,), Outcome(200, "the handler's receipt", "`processed`", _OWN, asked=True)),
        ((PROCESSED, POSTPONED), _RECEIPT._replace(locked=_OWN)),
        ((PAID,), _RECEIPT),
        ((PAID_EARLY,), Outcome(200, "the handler's receipt", asked=True)),
        (_CANCELLED, _REFUSED),
    ],
    CLOSE_PAID: [
        ((NEVER, END_TOLD), _UNKNOWN._replace(asked=True, alarm=True, inquiry=True)),
        (_IN_PROGRESS, Outcome(200, "`null`", "`paid`", asked=True)),
        (_PAID, _AGAIN),
        (_CANCELLED, Outcome(200, "`null`", "`paid`", asked=True, alarm=True)),
    ],
    CLOSE_ELSE: [
        ((NEVER, END_TOLD), Outcome(200, "`null`", asked=True)),
        (_IN_PROGRESS, Outcome(200, "`null`", "`cancelled`", asked=True)),
        (_PAID, _AGAIN._replace(alarm=True)),
        ((REFUSED, TAKEN_BACK), Outcome(200, "`null`", asked=True)),
        ((EXPIRED,), _AGAIN),
    ],
    ASK_RECEIPT: [
        ((NEVER, END_TOLD), Outcome(200, "the handler's receipt", asked=True)),
        (_CANCELLED, _UNKNOWN),
        ((STARTED, POSTPONED), Outcome(200, "the handler's receipt", locked=_OWN, asked=True)),
        ((PROCESSED,), _RECEIPT._replace(locked=_OWN)),
        ((PAID,), _RECEIPT),
        ((PAID_EARLY,), Outcome(200, "the handler's receipt", asked=True)),
    ],
}

_HEAD: Final = (
    "Qerko says",
    "the payment is",
    "Qerko hears",
    "it becomes",
    "locked then",
    "handlers are asked",
    "alarm",
    "Qerko is asked",
)


#: States of one kind, in one word.
_KINDS: Final = {_IN_PROGRESS: "`started` or `processed`", _PAID: "`paid`", _CANCELLED: "`cancelled`"}


def cases() -> Iterator[tuple[str, str, Outcome]]:
    """Each event in each state, and its outcome."""
    for event, rows in OUTCOMES.items():
        for states, outcome in rows:
            for state in states:
                yield event, state, outcome


def render() -> str:
    """The table as Markdown."""
    lines = [_HEAD, ("---",) * len(_HEAD), *_rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("| --- ", "|---").replace("|--- |", "|---|")


def _rows() -> Iterator[tuple[str, ...]]:
    for event, rows in OUTCOMES.items():
        for states, outcome in rows:
            yield (
                event,
                _in_words(states),
                f"{outcome.status} {outcome.said}",
                outcome.state or "–",
                outcome.locked,
                *("yes" if flag else "–" for flag in (outcome.asked, outcome.alarm, outcome.inquiry)),
            )


def _in_words(states: tuple[str, ...]) -> str:
    left, words = list(states), []
    for kind, word in _KINDS.items():
        if set(kind) <= set(left):
            left = [state for state in left if state not in kind]
            words.append(word)
    return "; ".join([*left, *words])

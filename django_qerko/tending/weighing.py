"""Say what follows from what Qerko said of a payment, and when it is asked again, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Final

from django_qerko import events
from django_qerko.models.payment import STATE_CHARACTERS, SUCCESS

#: Our word for what Qerko does not know (404), beside Qerko's own states.
NOT_FOUND: Final = "NOT_FOUND"
#: Our word for a payment of which Qerko gave no state.
UNSAID: Final = "UNKNOWN"

_LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What Qerko said of a payment; a 404 is said, too."""

    #: The payment, where Qerko told the whole of it.
    told: events.Payment | None = None
    #: The payment's JSON as it came, its numbers as ``Decimal``; empty for a 404.
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_known(self) -> bool:
        return bool(self.document)

    @property
    def state(self) -> str:
        """Qerko's own word, or ours where it has none."""
        return word(self.document.get("state")) if self.is_known else NOT_FOUND

    @property
    def is_paid(self) -> bool:
        return self.is_known and self.state == SUCCESS


class Verdict(Enum):
    """What becomes of a payment in progress."""

    SETTLE = auto()
    CANCEL = auto()
    LEAVE = auto()


def weigh(heard: Heard, *, age: timedelta, patience: timedelta, is_superseded: bool, by_hand: bool) -> Verdict:
    """What follows for a payment of this age (protocol section 5, A).

    ``patience`` is ``RECONCILE_AFTER``: what is younger may only be late, be it at Qerko or here. ``is_superseded``:
    a newer payment wanted to begin, or the end was told while a handler was at the beginning. Whoever asks ``by_hand``
    does not wait that long for a payment that Qerko does not know.
    """
    is_old = age >= patience
    if heard.is_paid:
        return Verdict.SETTLE
    if (is_old and is_superseded) or (not heard.is_known and (is_old or by_hand)):
        return Verdict.CANCEL
    return Verdict.LEAVE


def weigh_after_cancelling(heard: Heard, *, was_taken: bool, was: Collection[object]) -> Verdict:
    """What follows after Qerko was asked to cancel: its state decides, and never alone that it took the request.

    ``was`` are the states that the payment is known to have had before: in one of them nothing has happened yet, and
    another may be progress where the request was not taken. What Qerko does not know is over in any case.
    """
    if heard.is_paid:
        return Verdict.SETTLE
    if not heard.is_known or (was_taken and heard.state not in map(word, was)):
        return Verdict.CANCEL
    return Verdict.LEAVE


def pause(asked_for: timedelta, first: timedelta) -> timedelta:
    """How long to wait for the next question, where there has been a reason to ask for so long.

    As long as that again, so that the pauses double: from ``first`` up to an hour, or ``first`` where that is longer.
    """
    return min(max(asked_for, first), max(_LONGEST, first))


def word(state: object) -> str:
    """A state of Qerko's as it is kept."""
    return UNSAID if state in (None, "") else str(state)[:STATE_CHARACTERS]

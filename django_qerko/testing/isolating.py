"""Keep a test to itself: nothing reaches a broker, and nothing is written from a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from django_qerko import queueing
from django_qerko.exceptions import Rejection
from django_qerko.receiving import rejections
from django_qerko.receiving.keyring import keyring


class TurnedAway(list[Rejection]):
    """What was turned away at the door, in place of the counter that writes it to the database a second later."""

    #: Nothing is diagnosed that nobody reads.
    is_curious = False

    def note(self, rejection: Rejection, *_: object) -> None:
        """Keep one rejection."""
        self.append(rejection)


@contextmanager
def isolated() -> Iterator[TurnedAway]:
    """Inside, no task is sent to a broker, and what is turned away is given as a list of rejections.

    An event that is answered later gets its 202 as if the broker had taken it; ``work`` then does what a worker would.
    So the same test passes with a broker, without one, and in Celery's eager mode. The keys of restaurants are read
    anew, because a test that was rolled back may have changed them.
    """
    turned_away = TurnedAway()
    keyring.forget()
    with patch.object(queueing, "ring", _taken), patch.object(rejections, "counter", turned_away):
        yield turned_away


def _taken(task: str, key: int, *, delay: float = 0.0) -> bool:
    """The table knows what is to be done, so a bell that nobody hears loses nothing."""
    return True

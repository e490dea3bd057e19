"""A Qerko that remembers all that it hears, and that does not wait for what will not come."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from django_qerko.certifying.verdicts import NotTried
from django_qerko.sandbox.conversation import Exchange, PointOfSale
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.qerko import PATIENCE, Qerko, Reply, Turn
from django_qerko.sandbox.replies import Said

#: Seconds between looks whether a reply went astray, and how long one that did is waited for all the same.
_LOOKS_EVERY: Final = 0.2
_GRACE: Final = 0.5
#: What to do where no reply comes.
REPLY: Final = "Does your worker run, and does it send its replies to this Qerko?"
#: Of most points of sale nobody knows what their handlers broke with.
UNKNOWN: Final[Mapping[str, str]] = MappingProxyType({})
#: What a letter is like that Qerko cannot bring to the event that it answers.
ASTRAY: Final = {
    judgement.name
    for judgement in (
        Judgement.REPLY_TO_NOTHING,
        Judgement.REPLY_TO_ANOTHER_EVENT,
        Judgement.REPLY_FORM,
        Judgement.REPLY_NO_JSON,
        Judgement.REPLY_RESULT_OR_ERROR,
        Judgement.REPLY_TOO_LONG,
    )
}


class Examiner(Qerko):
    """Qerko as it certifies a point of sale. ``patience`` is how long it waits for an answer, in seconds.

    ``failures`` are what handlers broke with, by the ids of the events, where that can be known.

    After an answer that was late, or a reply that did not come, everything that would wait like that again raises
    NotTried: a certification ends in its time even where nothing else does.
    """

    def __init__(
        self, *, patience: float = PATIENCE, allow_remote: bool = False, failures: Mapping[str, str] = UNKNOWN
    ) -> None:
        super().__init__(
            on_exchange=self._hear,
            on_reply=self._hear,
            timeout=patience,
            deadline=patience,
            allow_remote=allow_remote,
            # What comes later is asked for by the rules, and nothing goes on behind their backs.
            closing_pauses=(),
            receipt_pauses=(),
        )
        self.patience = patience
        self._failures = failures
        self.heard: list[Said] = []
        self.late: str | None = None
        self._unreplied: set[str] = set()
        self._twins: list[tuple[Exchange, Exchange]] | None = None

    @property
    def exchanges(self) -> list[Exchange]:
        """All of them, oldest first."""
        return [said for said in tuple(self.heard) if isinstance(said, Exchange)]

    @property
    def letters(self) -> list[Reply]:
        """All replies, those that were not taken included, oldest first."""
        return [said for said in tuple(self.heard) if isinstance(said, Reply)]

    @property
    def unreplied(self) -> frozenset[str]:
        """The events that were answered 202, and no reply came."""
        return frozenset(self._unreplied)

    @property
    def astray(self) -> list[Reply]:
        """The letters that Qerko could not bring to the event that they answer."""
        return [letter for letter in self.letters if any(finding.judgement in ASTRAY for finding in letter.findings)]

    def require_patience(self, event: str) -> None:
        """Raises NotTried where nobody would wait for the answer to this event once more."""
        if self.late:
            raise NotTried(f"it answers too late: {self.late}")
        if event in self._unreplied:
            raise NotTried(f"no reply came to {event}, which was answered 202", cure=REPLY)

    def ask_and_wait(self, pos: PointOfSale, event: str, data: object = None, **how: Any) -> Turn:
        self.require_patience(event)
        turn = super().ask_and_wait(pos, event, data, **how)
        if turn.exchange.status is None and turn.exchange.milliseconds >= self.patience * 1000:
            self.late = f"{event}: {turn.exchange.error}"
            self.require_patience(event)
        if turn.exchange.status == 202 and turn.reply is None:
            self._unreplied.add(event)
        if failure := self._failures.get(turn.exchange.event_id):
            return replace(turn, exchange=replace(turn.exchange, error=failure))
        return turn

    def ask(self, pos: PointOfSale, event: str, data: object = None, **how: Any) -> Exchange:
        if self._twins is None:
            return super().ask(pos, event, data, **how)
        how = {"event_id": str(uuid.uuid4()), **how}
        with ThreadPoolExecutor(2) as both:
            first, second = both.map(lambda _: Qerko.ask(self, pos, event, data, **how), range(2))
        self._twins.append((first, second))
        return first if first.is_answered else second

    def await_reply(self, exchange: Exchange, timeout: float | None = None) -> Reply | None:
        if timeout is not None or exchange.status != 202:
            return super().await_reply(exchange, timeout)
        give_up = self._clock() + self._deadline
        while self._clock() < give_up and not self._went_astray(exchange):
            if reply := super().await_reply(exchange, _LOOKS_EVERY):
                return reply
        return super().await_reply(exchange, _GRACE if self._went_astray(exchange) else None)

    @contextmanager
    def delivering_twice(self) -> Iterator[list[tuple[Exchange, Exchange]]]:
        """Deliver every event twice at the same moment, and give the pairs; the one that was answered counts."""
        self._twins = []
        try:
            yield self._twins
        finally:
            self._twins = None

    def _went_astray(self, exchange: Exchange) -> bool:
        """Whether somebody tried to reply since then, and it did not arrive where it should."""
        arrived = [letter.number for letter in self.astray] + [stranger.number for stranger in self.strangers]
        return any(number > exchange.number for number in arrived)

    def _hear(self, said: Said) -> None:
        self.heard.append(said)

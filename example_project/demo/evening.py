"""An evening: Qerko asks, the pub answers, and every exchange is judged as it is told."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from django_qerko.sandbox.qerko import Exchange, PaymentStory, PointOfSale, Qerko, Reply, Turn
from example_project.demo.pub import Pub
from example_project.demo.telling import Teller
from example_project.demo.words import MALFORMED, Bill

Said = Exchange | Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What should come back: a status, and an answer that ``words`` describe. A reply's status is Qerko's own."""

    status: int
    words: str
    holds: Callable[[Any], bool]

    def fault(self, said: Said) -> str | None:
        """What is wrong with an exchange or a reply, if anything is."""
        if said.status == self.status and self._holds(said) and not said.findings:
            return None
        wanted = f"expected {self.status} and {self.words}"
        return "; ".join([wanted, *map(str, said.findings)])

    def _holds(self, said: Said) -> bool:
        """Whether the answer is as expected; one that is built otherwise is not."""
        try:
            return self.holds(said)
        except MALFORMED:
            return False


def answered(words: str, holds: Callable[[Any], bool]) -> Expected:
    """The pub answers, at once or with a reply that Qerko takes, and the answer's JSON holds what the words say."""
    return Expected(status=200, words=words, holds=lambda said: not said.is_error and holds(said.answer))


def accepted() -> Expected:
    """The pub has nothing to say against it."""
    return answered("null", lambda answer: answer is None)


def refused(status: int, code: str) -> Expected:
    """The pub refuses, with this status and code."""
    return Expected(status=status, words=f"the code {code}", holds=lambda said: said.error_code == code)


NOTED: Final = Expected(status=202, words="an answer that comes later", holds=lambda _: True)


class WrongExchange(Exception):
    """An exchange was not what it should be; its scene ends there."""


@dataclass(kw_only=True)
class Evening:
    """Who plays, and what was said so far."""

    qerko: Qerko
    pos: PointOfSale
    pub: Pub
    teller: Teller
    exchanges: list[Exchange] = field(default_factory=list)
    #: What became of each payment so far, by its id.
    stories: dict[str, PaymentStory] = field(default_factory=dict)
    #: Milliseconds from a 202 to its reply, of those that were measured.
    measured: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def ask(
        self, event: str, data: Any, expected: Expected, *, about: str = "", who: str = "Qerko", **how: Any
    ) -> Exchange:
        """Have the pub asked, and tell it.

        ``about`` is a word on what makes this one special, ``how`` goes to the sandbox. Raises WrongExchange
        where what came back was not expected.
        """
        exchange = self.qerko.ask(self.pos, event, data, **how)
        self._hear(exchange, expected, about=about, who=who)
        return exchange

    def ask_until(self, event: str, data: Any, expected: Expected, *, about: str, within: float = 10.0) -> Exchange:
        """Have the pub asked until it says what is expected; only the last time is told."""
        give_up = time.monotonic() + within
        while expected.fault(exchange := self.qerko.ask(self.pos, event, data)) and time.monotonic() < give_up:
            self.exchanges.append(exchange)
            time.sleep(0.2)
        self._hear(exchange, expected, about=about, who="Qerko")
        return exchange

    def begin_payment(self, bill: Bill, expected: Expected, *, about: str, **how: Any) -> PaymentStory:
        """Have a guest begin to pay; the answer comes later. Raises WrongExchange where it was not expected."""
        story = self.qerko.start_payment(self.pos, bill, **how)
        self.stories[story.payment.id] = story
        self._hear_later(story.turns[-1], expected, about=about)
        return story

    def process_payment(self, story: PaymentStory, expected: Expected) -> PaymentStory:
        """Have the money moved, and a receipt asked for, which comes later."""
        story = self.qerko.process_payment(story)
        self._hear_later(story.turns[-1], expected, about="the money has moved")
        return story

    def ask_receipt(self, story: PaymentStory, expected: Expected, *, about: str) -> PaymentStory:
        """Have a receipt that was postponed asked for, which is answered at once."""
        story = self.qerko.ask_receipt(story)
        self._hear(story.turns[-1].exchange, expected, about=about, who="Qerko")
        return story

    def close_payment(self, story: PaymentStory) -> PaymentStory:
        """Have the pub told how the payment ended."""
        story = self.qerko.close_payment(story)
        self.stories[story.payment.id] = story
        self._hear_later(story.turns[-1], accepted(), about=story.state)
        return story

    def lose_end(self, story: PaymentStory) -> PaymentStory:
        """Have a payment ended, and the pub hear nothing of it."""
        story = self.qerko.close_payment(story, is_lost=True)
        self.stories[story.payment.id] = story
        self.teller.say(f"paymentClosed, {story.state}, gets lost on its way.", margin=15)
        return story

    def measure_payment(self, bill: Bill, *, items: Mapping[str, str], who: str) -> None:
        """Have a guest pay from beginning to end, told in short, and measure the replies."""
        story = self.qerko.pay(self.pos, bill, items=items)
        self.stories[story.payment.id] = story
        self.exchanges.extend(story.exchanges)
        self.measured.extend(reply.milliseconds or 0.0 for reply in story.replies)
        fault = None
        if not (story.is_paid and len(story.replies) == len(story.turns)) or story.findings:
            fault = "; ".join(["expected PAID, and each answer later", *map(str, story.findings)])
        self.teller.payment(story, who=who, fault=fault)
        if fault is not None:
            self._fail("payment", fault)

    @property
    def right(self) -> int:
        """How many exchanges were as they should be."""
        return len(self.exchanges) - len(self.faults)

    @property
    def figures(self) -> str:
        """How it went, in a line."""
        median = statistics.median([exchange.milliseconds for exchange in self.exchanges] or [0.0])
        line = f"{self.right} of {len(self.exchanges)} exchanges were right, median {median:.0f} ms"
        if not self.measured:
            return line
        return f"{line}; {len(self.measured)} replies, median {statistics.median(self.measured):.0f} ms"

    def _hear(self, exchange: Exchange, expected: Expected, **how: str) -> None:
        fault = expected.fault(exchange)
        self.exchanges.append(exchange)
        self.teller.exchange(exchange, fault=fault, **how)
        if fault is not None:
            self._fail(exchange.event, fault)

    def _hear_later(self, turn: Turn, expected: Expected, *, about: str) -> None:
        """A 202, and after it the replies, those that Qerko put off included."""
        self._hear(turn.exchange, NOTED, about=about, who="Qerko")
        for reply in self.qerko.replies:
            if reply.event_id != turn.exchange.event_id:
                continue
            fault = expected.fault(reply) if reply is turn.reply else None
            self.teller.reply(reply, fault=fault)
            if fault is not None:
                self._fail(turn.exchange.event, fault)
        if turn.reply is None:
            self._fail(turn.exchange.event, "; ".join(map(str, turn.findings)))

    def _fail(self, event: str, fault: str) -> NoReturn:
        self.faults.append(f"{event}: {fault}")
        raise WrongExchange(fault)

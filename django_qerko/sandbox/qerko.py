"""Play Qerko: ask a point of sale, take its replies, have a guest pay, and remember what was said."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Self

from django_qerko.sandbox.calling import Line
from django_qerko.sandbox.conversation import Exchange, Finding, PointOfSale, Question
from django_qerko.sandbox.errands import Pauses
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.judging import judge
from django_qerko.sandbox.letterbox import Letterbox
from django_qerko.sandbox.loopback import callable_address
from django_qerko.sandbox.misbehaving import Manners, Misbehaviour
from django_qerko.sandbox.paying import CLOSING_PAUSES, RECEIPT_PAUSES, Paying
from django_qerko.sandbox.payments import Payment
from django_qerko.sandbox.remembering import REMEMBERED, Conversation
from django_qerko.sandbox.replies import Call, Note, Reply, Said, Silence, read_letter
from django_qerko.sandbox.signing import SignedDelivery, envelope, event_address, sign
from django_qerko.sandbox.stories import PaymentStory, Turn
from django_qerko.signatures import SCHEMES

__all__ = [
    "Exchange",
    "Finding",
    "Manners",
    "Pauses",
    "Payment",
    "PaymentStory",
    "PointOfSale",
    "Qerko",
    "Reply",
    "Turn",
]

#: How long Qerko waits for an answer, in seconds (protocol section 3, S).
PATIENCE: Final = 15.0
#: A `created` that lies further in the future is refused, in seconds (protocol section 2, A).
SKEW: Final = 5.0
#: What is told, and not asked: it is handled at any age (protocol section 3, A).
TELLS: Final = {"paymentClosed"}
USER_AGENT: Final = "qerko-sandbox"
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_GOOD: Final = Manners()


class Qerko(Paying):
    """Qerko, as far as a point of sale can tell. Safe to use from several threads.

    ``on_exchange`` is called with every exchange when it is over, ``on_reply`` with every reply when it is judged, and
    ``on_note`` where no reply came in time, and with every other call to Qerko's API.
    ``timeout`` is in seconds, for a whole exchange; ``deadline`` is in seconds, until an event that was answered 202
    is stale. ``clock`` gives Unix seconds. Nobody but this machine is called unless ``allow_remote``.

    Deliveries are signed by all ``schemes``. A ``paymentClosed`` that was not answered is delivered again after
    ``closing_pauses``, and a postponed receipt is asked for after ``receipt_pauses``, both in the background and in
    seconds. ``manners`` say how badly it behaves, and the same ``seed`` makes it do so again.
    """

    def __init__(
        self,
        *,
        on_exchange: Callable[[Exchange], None] | None = None,
        on_reply: Callable[[Reply], None] | None = None,
        on_note: Callable[[Note], None] | None = None,
        timeout: float = PATIENCE,
        deadline: float = PATIENCE,
        allow_remote: bool = False,
        clock: Callable[[], float] = time.time,
        schemes: Sequence[str] = SCHEMES,
        closing_pauses: Iterable[float] = CLOSING_PAUSES,
        receipt_pauses: Iterable[float] = RECEIPT_PAUSES,
        manners: Manners = _GOOD,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            clock, Misbehaviour(manners, seed=seed), closing_pauses=closing_pauses, receipt_pauses=receipt_pauses
        )
        self.allow_remote = allow_remote
        self._schemes = tuple(schemes)
        self._on_exchange = on_exchange
        self._on_reply = on_reply
        self._on_note = on_note
        self._line = Line(timeout)
        self._deadline = deadline
        self._letterbox = Letterbox(deadline, clock, is_slow=manners.slow > 0)
        self._conversation = Conversation()
        self._strangers: deque[Call] = deque(maxlen=REMEMBERED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what goes on in the background, and hang up on whoever is being called."""
        self.misbehaviour.close()
        self._line.close()
        self._letterbox.close()
        self._errands.close()

    @property
    def said(self) -> tuple[Said, ...]:
        """The last exchanges, replies and notes together, in the order in which they were over."""
        return self._conversation.said()

    @property
    def conversation(self) -> tuple[Exchange, ...]:
        """The last exchanges, oldest first."""
        return tuple(said for said in self.said if isinstance(said, Exchange))

    @property
    def replies(self) -> tuple[Reply, ...]:
        """The last replies, oldest first, those that were not taken included."""
        return tuple(said for said in self.said if isinstance(said, Reply))

    @property
    def strangers(self) -> tuple[Call, ...]:
        """The last calls that were answered 401, oldest first."""
        return tuple(self._strangers)

    def ask(
        self,
        pos: PointOfSale,
        event: str,
        data: object = None,
        *,
        event_id: str | None = None,
        age: float = 0.0,
        lifetime: float = 60.0,
        tamper: str | None = None,
        schemes: Sequence[str] | None = None,
        url_per_event: bool = False,
        extra: Mapping[str, Any] = _NOTHING,
    ) -> Exchange:
        """Deliver one event, and give what came back.

        The delivery was created ``age`` seconds ago and lives for ``lifetime`` seconds; ``tamper`` is one of
        ``signing.TAMPERINGS``; ``extra`` are members of the envelope that nobody knows; ``data`` that is ``Written``
        leaves as it was written. Raises ValueError where that cannot be delivered: an address that is none or not
        allowed, an unknown tampering or scheme.
        """
        question = Question(
            pos=pos,
            event=event,
            event_id=event_id or str(uuid.uuid4()),
            data=data,
            age=age,
            lifetime=lifetime,
            tamper=tamper,
            schemes=self._schemes if schemes is None else tuple(schemes),
            url_per_event=url_per_event,
            extra=extra,
        )
        return self.misbehaviour.bring(question, self._deliver)

    def redeliver(self, exchange: Exchange) -> Exchange:
        """Deliver the same event once more: its id and its data, signed anew, and created now.

        Raises ValueError for an exchange that no Qerko had.
        """
        if exchange.question is None:
            raise ValueError("Nobody knows what was asked.")
        return self.misbehaviour.bring(replace(exchange.question, age=0.0, tamper=None), self._deliver)

    def deliver_again(self, exchange: Exchange) -> None:
        """The same in the background, with the reply to a 202 waited for."""
        self._errands.begin(lambda: self.await_reply(self.redeliver(exchange)))

    def await_reply(self, exchange: Exchange, timeout: float | None = None) -> Reply | None:
        """Wait for the first reply to an exchange that was answered 202.

        ``None`` where none came before the deadline, or within ``timeout`` seconds. Whoever waited until the deadline
        is right: a reply after that is too late, and that there was none is noted.
        """
        reply = self._letterbox.wait(exchange, timeout)
        if reply is None and self._letterbox.falls_silent(exchange):
            silence = Silence(
                number=self._conversation.next_number(),
                at=datetime.now(tz=UTC),
                pos=exchange.pos,
                event=exchange.event,
                event_id=exchange.event_id,
                exchange=exchange.number,
                findings=(Judgement.NO_REPLY(),),
            )
            self._note(silence)
        return reply

    def await_answer(self, exchange: Exchange) -> bool:
        """Wait for a reply to an exchange that was answered 202; whether one came by then that is no error."""
        self.await_reply(exchange)
        return self._letterbox.has_answer(exchange)

    def ask_and_wait(self, pos: PointOfSale, event: str, data: object = None, **how: Any) -> Turn:
        """Deliver one event as ``ask`` does, and wait for the reply to a 202."""
        exchange = self.ask(pos, event, data, **how)
        return Turn(exchange=exchange, reply=self.await_reply(exchange))

    def be_busy(self, times: int = 1) -> None:
        """Answer the next replies with 503, as many as that, whatever is in them."""
        self._letterbox.be_busy(times)

    def take_reply(self, pos: PointOfSale, body: bytes) -> Reply:
        """What a restaurant sent to ``/reply``, judged; its ``status`` is what is answered."""
        reply = self._letterbox.drop_in(
            read_letter(body),
            pos,
            number=self._conversation.next_number(),
            is_busy=self.misbehaviour.fails(),
            is_cut=self.misbehaviour.cuts(),
        )
        self._conversation.add(reply)
        try:
            if self._on_reply is not None:
                self._on_reply(reply)
        finally:
            self._letterbox.tell(reply)
        return reply

    def note_call(self, path: str, status: int, *findings: Finding, pos: PointOfSale | None = None) -> None:
        """Somebody called Qerko's API, and was answered this; ``pos`` is who, where that is known."""
        number = self._conversation.next_number()
        call = Call(number=number, at=datetime.now(tz=UTC), pos=pos, path=path, status=status, findings=findings)
        if pos is None:
            self._strangers.append(call)
        self._note(call)

    def _note(self, note: Note) -> None:
        self._conversation.add(note)
        if self._on_note is not None:
            self._on_note(note)

    def _deliver(self, question: Question) -> Exchange:
        now = self._clock()
        created, expires = int(now - question.age), int(now - question.age + question.lifetime)
        delivery = self._written(question, created=created, expires=expires)
        expected = 401 if question.tamper else 200 if created <= now + SKEW and now <= expires else 410
        number = self._conversation.next_number()
        if expected == 200:
            asked_at = now - max(question.age, 0)
            self._letterbox.expect(question.pos, question.event, question.event_id, number=number, asked_at=asked_at)
        exchange = self._exchanged(number, question, delivery, expected, stale_at=created + self._deadline)
        if expected == 200:
            self._letterbox.note(exchange)
        self._conversation.add(exchange)
        if self._on_exchange is not None:
            self._on_exchange(exchange)
        return exchange

    def _written(self, question: Question, *, created: int, expires: int) -> SignedDelivery:
        """A delivery as it leaves."""
        url = callable_address(question.pos.url, allow_remote=self.allow_remote)
        news = self.misbehaviour.embroidered({})
        body = envelope(
            event=None if question.url_per_event else question.event,
            event_id=question.event_id,
            data=self.misbehaviour.embroidered(question.data),
            created=created,
            expires=expires,
            extra={**news, **question.extra},
        )
        delivery = sign(
            event_address(url, question.event) if question.url_per_event else url,
            body,
            question.pos.api_key,
            created=created,
            expires=expires,
            schemes=question.schemes,
            tamper=question.tamper,
        )
        return replace(delivery, headers={**delivery.headers, "User-Agent": USER_AGENT})

    def _exchanged(
        self, number: int, question: Question, delivery: SignedDelivery, expected: int, *, stale_at: float
    ) -> Exchange:
        at = datetime.now(tz=UTC)
        heard = self._line.call(delivery, cut=self.misbehaviour.cut())
        exchange = Exchange(
            number=number,
            at=at,
            pos=question.pos,
            event=question.event,
            event_id=question.event_id,
            request_url=delivery.url,
            request_headers=delivery.headers,
            request_body=delivery.body,
            expected=expected,
            is_stale=expected == 200 and question.event not in TELLS and self._clock() >= stale_at,
            status=heard.status,
            response_headers=heard.headers,
            response_body=heard.body,
            milliseconds=heard.milliseconds,
            error=heard.error,
            is_cut=heard.is_cut,
            question=question,
        )
        return replace(exchange, findings=judge(exchange))

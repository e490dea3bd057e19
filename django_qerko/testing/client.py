"""Deliver events to a restaurant through Django's test client, signed as Qerko signs, and say what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from django.db import router

from django_qerko.exceptions import Rejection
from django_qerko.models import Restaurant, WebhookEvent
from django_qerko.sandbox.conversation import Finding, decode, text_of
from django_qerko.sandbox.payments import Amount
from django_qerko.sandbox.qerko import Exchange, PaymentStory, PointOfSale
from django_qerko.signatures import SCHEMES
from django_qerko.testing.listening import listener
from django_qerko.testing.payloads import make_payload
from django_qerko.testing.recording import InProcessQerko, RecordingQerko, point_of_sale
from django_qerko.testing.working import work

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of one delivery.

    ``record`` is its event's row, as it was afterwards, and ``None`` where the delivery was turned away;
    ``rejection`` then says why, to us and not to Qerko, with a ``reason``.
    """

    exchange: Exchange = field(repr=False)
    record: WebhookEvent | None
    rejection: Rejection | None = None

    @property
    def status(self) -> int | None:
        """What was said at once: 200, 202 where the answer comes later, 422 for a refusal, 401 for a forgery."""
        return self.exchange.status

    @property
    def answer(self) -> Any:
        """The decoded JSON of the answer or the error, whichever way it came; fractions are ``Decimal``.

        ``None`` where none is there yet.
        """
        if self.status != 202:
            return self.exchange.answer
        said = self.record and self.record.answer
        return decode(bytes(said)) if said else None

    @property
    def is_answered(self) -> bool:
        """Whether the answer is there, and is no error."""
        if self.status != 202:
            return self.exchange.is_answered
        return self.record is not None and self.record.status == 200

    @property
    def error_code(self) -> str | None:
        """The code of the error that was answered."""
        return None if self.is_answered else text_of(self.answer, "code")

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What of the response violates the protocol; what came later is judged in ``qerko.replies``."""
        return self.exchange.findings


class SignedClient:
    """Speaks to one restaurant as Qerko does, in this thread and in the transaction of the test.

    Where a recording Qerko is open, it is the one that speaks, so that it takes the replies.
    """

    def __init__(self, restaurant: Restaurant) -> None:
        self.restaurant = restaurant
        self._own = InProcessQerko()

    def deliver(
        self,
        event: str,
        data: Any = ...,
        *,
        event_id: str | None = None,
        age: float = 0.0,
        lifetime: float = 60.0,
        schemes: Sequence[str] = SCHEMES,
        tamper: str | None = None,
        url_per_event: bool = False,
        extra: Mapping[str, Any] = _NOTHING,
        works: bool = True,
        **members: Any,
    ) -> Delivered:
        """Deliver one event, and where it is answered later, let the worker work; without ``works`` leave it waiting.

        ``data`` is the event's, whole; without it, what ``make_payload`` makes of ``members``. The same ``event_id``
        again delivers the same event again. It was created ``age`` seconds ago, and lives for ``lifetime`` seconds;
        ``tamper`` is one of ``django_qerko.sandbox.signing.TAMPERINGS`` and makes a forgery; ``extra`` are members of
        the envelope that nobody knows; with ``url_per_event`` it goes to the event's own address.

        Raises ValueError for a tampering or scheme that nobody knows, TypeError for a member that the event lacks.
        """
        said = make_payload(event, **members) if data is ... else data
        qerko, pos = self._spoken_by()
        exchange = qerko.ask(
            pos,
            event,
            said,
            event_id=event_id,
            age=age,
            lifetime=lifetime,
            tamper=tamper,
            schemes=schemes,
            url_per_event=url_per_event,
            extra=extra,
        )
        if works and exchange.status == 202:
            work()
        return _delivered(self.restaurant, exchange, qerko.rejection)

    def pay(
        self,
        bill_id: str,
        *,
        items: Mapping[str, Amount] | None = None,
        tip: Amount = 0,
        discount: bool = False,
        customer_id: str | None = None,
        payment_id: str | None = None,
    ) -> PaymentStory:
        """Have a guest ask for a bill and pay it, from ``paymentStart`` to ``paymentClosed``, as the sandbox does.

        The story has ``state``, ``is_paid``, ``receipt``, ``findings`` and its ``turns``, each with an ``answer``.
        ``items`` are quantities by the items' ids. Raises ValueError where ``getBill`` is answered with no bill, and
        for what is not on it.
        """
        with self._heard() as (qerko, pos):
            bill = qerko.ask_and_wait(pos, "getBill", make_payload("getBill", bill_id=bill_id))
            return qerko.pay(
                pos,
                bill.answer,
                items=items,
                tip=tip,
                discount=discount,
                customer_id=customer_id,
                payment_id=payment_id,
            )

    def _spoken_by(self) -> tuple[InProcessQerko, PointOfSale]:
        recording = listener()
        if recording is not None:
            return recording, recording.meet(self.restaurant)
        return self._own, point_of_sale(self.restaurant)

    @contextmanager
    def _heard(self) -> Iterator[tuple[InProcessQerko, PointOfSale]]:
        """With a Qerko that listens: a payment goes on when the reply to its last step has come."""
        with nullcontext() if listener() else RecordingQerko():
            yield self._spoken_by()


def _delivered(restaurant: Restaurant, exchange: Exchange, rejection: Rejection | None) -> Delivered:
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent))
    known = book.filter(restaurant=restaurant, event_id=exchange.event_id)
    return Delivered(exchange=exchange, rejection=rejection, record=None if rejection else known.first())

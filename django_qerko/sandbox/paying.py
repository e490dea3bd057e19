"""Have a guest pay, step by step, as Qerko does (protocol section 4, D)."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django_qerko import amounts
from django_qerko.answers import Bill, Receipt
from django_qerko.sandbox import payments
from django_qerko.sandbox.conversation import Exchange, PointOfSale
from django_qerko.sandbox.errands import Errands, Pauses
from django_qerko.sandbox.misbehaving import Misbehaviour
from django_qerko.sandbox.payments import Amount, Payment, Payments
from django_qerko.sandbox.reading import read
from django_qerko.sandbox.stories import PaymentStory, Turn

#: When a ``paymentClosed`` that was not answered is delivered again (A): until it is.
CLOSING_PAUSES: Final = Pauses(first=1.0, longest=600.0)
#: When a postponed receipt is asked for again: with growing pauses, for up to 24 hours (D; how they grow is A).
RECEIPT_PAUSES: Final = Pauses(first=5.0, longest=86_400.0, whole=86_400.0)


class Paying(ABC):
    """The payments of a Qerko; an error on the way, or silence, cancels one (D). For several threads."""

    def __init__(
        self,
        clock: Callable[[], float],
        misbehaviour: Misbehaviour,
        *,
        closing_pauses: Iterable[float],
        receipt_pauses: Iterable[float],
    ) -> None:
        self.misbehaviour = misbehaviour
        self._clock = clock
        self._payments = Payments()
        self._errands = Errands()
        self._closing_pauses = closing_pauses
        self._receipt_pauses = receipt_pauses

    @abstractmethod
    def ask_and_wait(self, pos: PointOfSale, event: str, data: object = None, **how: Any) -> Turn:
        """Deliver one event, and wait until it is answered, or stale."""

    @abstractmethod
    def await_answer(self, exchange: Exchange) -> bool: ...

    @abstractmethod
    def redeliver(self, exchange: Exchange) -> Exchange:
        """Deliver the same event once more."""

    def pay(
        self,
        pos: PointOfSale,
        bill: Bill | Mapping[str, Any],
        *,
        items: Mapping[str, Amount] | None = None,
        tip: Amount = 0,
        discount: bool = False,
        customer_id: str | None = None,
        payment_id: str | None = None,
        **how: Any,
    ) -> PaymentStory:
        """Have a guest pay, from ``paymentStart`` to ``paymentClosed``.

        ``bill`` is what ``getBill`` was answered with; ``items`` are quantities by the items' ids, all of the bill
        where none are named; with ``discount`` the guest takes the bill's offer; ``how`` goes to ``ask`` with each
        event. Raises ValueError for what Qerko would not do: what is no bill, an item that is not on it, a discount
        that it does not offer, a payment that exists, a bill that is being paid.
        """
        story = self.start_payment(
            pos, bill, items=items, tip=tip, discount=discount, customer_id=customer_id, payment_id=payment_id, **how
        )
        return self.close_payment(self.process_payment(story, **how), **how)

    def start_payment(
        self,
        pos: PointOfSale,
        bill: Bill | Mapping[str, Any],
        *,
        items: Mapping[str, Amount] | None = None,
        tip: Amount = 0,
        discount: bool = False,
        customer_id: str | None = None,
        payment_id: str | None = None,
        beside_another: bool = False,
        **how: Any,
    ) -> PaymentStory:
        """Only begin what ``pay`` does whole: ``paymentStart``.

        Qerko never has two payments in progress on one bill (D); ``beside_another`` begins one all the same, to see
        it refused.
        """
        bill = payments.read_bill(bill)
        chosen = payments.choose(bill, items)
        payment = Payment(
            id=payment_id or str(uuid.uuid4()),
            pos=pos,
            bill=bill,
            items=chosen,
            tip=amounts.read(tip),
            discount=payments.take_offer(bill, chosen) if discount else None,
            customer_id=customer_id,
            begun_at=datetime.fromtimestamp(int(self._clock()), tz=UTC),
        )
        self._payments.open(payment, beside_another=beside_another)
        data = {"payment": payment.as_json()}
        if self._is_overtaken(pos, "paymentStart", data, **how):
            return PaymentStory(payment=self.cancel_payment(payment))
        turn = self.ask_and_wait(pos, "paymentStart", data, **how)
        return PaymentStory(payment=self._settled(payment, is_good=turn.is_answered), turns=(turn,))

    def process_payment(self, story: PaymentStory, **how: Any) -> PaymentStory:
        """Move the money, and ask for the receipt; nothing is asked where the payment is over."""
        payment = self._payments.move(story.payment, payments.PROCESSED)
        if payment.state != payments.PROCESSED:
            return replace(story, payment=payment)
        data = {"paymentId": payment.id}
        if self._is_overtaken(payment.pos, "paymentProcessed", data, **how):
            return replace(story, payment=payment)
        turn = self.ask_and_wait(payment.pos, "paymentProcessed", data, **how)
        receipt = _receipt(turn)
        payment = self._settled(payment, is_good=receipt is not None)
        return PaymentStory(payment=payment, turns=(*story.turns, turn), receipt=receipt)

    def close_payment(
        self, story: PaymentStory, *, is_lost: bool = False, asks_for_receipt: bool = True, **how: Any
    ) -> PaymentStory:
        """Tell how the payment ended: paid, or cancelled where its money did not move.

        With ``is_lost`` it ends, and the point of sale hears nothing of it. What is not answered is delivered again in
        the background, and a receipt that was postponed is asked for there, unless not ``asks_for_receipt``.
        """
        payment = self._payments.end(story.payment)
        if is_lost:
            return replace(story, payment=payment)
        turn = self.ask_and_wait(payment.pos, "paymentClosed", {"paymentId": payment.id, "state": payment.state}, **how)
        if not turn.is_answered:
            self._errands.persist(partial(self._tell_again, turn.exchange), self._closing_pauses)
        story = replace(story, payment=payment, turns=(*story.turns, turn))
        is_wanted = asks_for_receipt and story.is_paid and story.is_receipt_promised
        if is_wanted and self._payments.await_receipt(payment):
            self._errands.persist(partial(self._fetch_receipt, story, **how), self._receipt_pauses)
        return story

    def ask_receipt(self, story: PaymentStory, **how: Any) -> PaymentStory:
        """Ask for a receipt that was postponed: ``getPostponedReceipt``, once.

        The story keeps the receipt that it has where none is answered.
        """
        payment = self._payments.latest(story.payment)
        turn = self.ask_and_wait(payment.pos, "getPostponedReceipt", {"paymentId": payment.id}, **how)
        story = PaymentStory(payment=payment, turns=(*story.turns, turn), receipt=_receipt(turn) or story.receipt)
        if story.has_receipt:
            self._payments.have_receipt(payment)
        return story

    def await_errands(self, timeout: float) -> bool:
        """Wait until nothing goes on in the background; ``False`` where something does after so many seconds.

        That is each ``paymentClosed`` that was not answered, and each receipt that was postponed.
        """
        return self._errands.wait(timeout)

    @property
    def payments(self) -> tuple[Payment, ...]:
        """All payments that are remembered, each in its latest state, oldest first."""
        return self._payments.all()

    def find_payment(self, pos: PointOfSale, payment_id: str) -> Payment | None:
        """A payment of this restaurant in its latest state."""
        return self._payments.find(pos, payment_id)

    def cancel_payment(self, payment: Payment) -> Payment:
        """Cancel a payment, unless it is over; ``paymentClosed`` is told when somebody closes it (A)."""
        return self._payments.move(payment, payments.CANCELLED)

    def _tell_again(self, exchange: Exchange) -> bool:
        """Whether it was answered this time, or by one of its replies."""
        again = self.redeliver(exchange)
        return again.status == 200 or (again.status == 202 and self.await_answer(again))

    def _fetch_receipt(self, story: PaymentStory, **how: Any) -> bool:
        """Whether the receipt is there, or nobody waits for it any more."""
        return not self._payments.awaits_receipt(story.payment) or self.ask_receipt(story, **how).has_receipt

    def _is_overtaken(self, pos: PointOfSale, event: str, data: object, **how: Any) -> bool:
        """Whether a bad Qerko goes on without waiting for the answer; then the event leaves later than the next one."""
        seconds = self.misbehaviour.overtaken_by()
        if seconds is not None:
            self._errands.begin(partial(self.ask_and_wait, pos, event, data, **how), after=seconds)
        return seconds is not None

    def _settled(self, payment: Payment, *, is_good: bool) -> Payment:
        """After a step; the point of sale may have cancelled meanwhile."""
        return self._payments.latest(payment) if is_good else self.cancel_payment(payment)


def _receipt(turn: Turn) -> Receipt | None:
    """A receipt that can be read; Qerko could make nothing of another (A)."""
    if not turn.is_answered:
        return None
    found = next(iter(read(turn.exchange.event, turn.answer).structures), None)
    return found if isinstance(found, Receipt) else None

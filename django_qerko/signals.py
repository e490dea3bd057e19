"""One signal per event, and what a receiver gets and may return.

A receiver gets ``event``, ``restaurant``, and where they exist ``bill`` and ``payment`` (our rows, else
``None``); ``sender`` is the event's class. Of a question's receivers exactly one returns an answer, and
``None`` means "not mine". It refuses by raising ``DomainError``. Receivers may be ``async``.

``payment_started`` and ``payment_closed`` are answered ``null`` by the app: a receiver accepts by returning
nothing and refuses by raising. Observers cannot fail a handling: what they raise is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.dispatch import Signal

from django_qerko import answers, events

#: Question: which tables are there?
table_list_requested = Signal()
#: Question: which bills are open on this table?
table_contents_requested = Signal()
#: Question: what is on this bill?
bill_requested = Signal()
#: Question: which bills are behind this code, which the point of sale made?
bills_searched = Signal()
#: Question: may the guest begin to pay?
payment_started = Signal()
#: Question: the money moved; what is the receipt?
payment_processed = Signal()
#: News: the payment is at its end; only ``state == "PAID"`` means success.
payment_closed = Signal()
#: Question: the receipt of this payment was postponed; is it there now?
postponed_receipt_requested = Signal()

#: Question: any event without a signal of its own, orders included.
event_received = Signal()

#: Observer: an event was handled; gets ``record``, too.
event_handled = Signal()
#: Observer: a handling failed; gets ``record`` and ``error``, too.
event_failed = Signal()

#: Observers: what became of an answer that left later; each gets ``reply`` (our row), too.
reply_delivered = Signal()
reply_refused = Signal()
reply_stale = Signal()

#: Observer: a payment does not fit its bill; gets ``contradictions``, a list of ``Contradiction``, too.
payment_contradicts_bill = Signal()
#: Observer: what was paid is offered again (``BILL_ITEMS = "unpaid"``); gets ``items``, too: how much beyond what can
#: be left, by the item's id.
paid_items_offered_again = Signal()


class Question(NamedTuple):
    """How an event is brought to its receivers, and what answers it."""

    signal: Signal
    #: The classes of a fitting answer; a list of them where ``many``.
    answer: tuple[type[Any], ...]
    many: bool = False
    #: Whether the app answers ``null`` itself where every receiver returns nothing.
    accepts_silence: bool = False

    def fits(self, answer: object) -> bool:
        """Whether a receiver's value answers this event, or says that its answer comes later."""
        if answer is answers.LATER:
            return True
        if self.many:
            return isinstance(answer, list | tuple) and all(isinstance(one, self.answer) for one in answer)
        if answer is answers.NOTHING:
            return self.accepts_silence or answers.Json in self.answer
        return isinstance(answer, self.answer)

    @property
    def wanted(self) -> str:
        """What a receiver should have returned, in words."""
        names = " or ".join(cls.__name__ for cls in self.answer) or "nothing"
        return f"a list of {names}" if self.many else names


QUESTIONS: Final[Mapping[type[events.Event], Question]] = {
    events.TableListRequested: Question(table_list_requested, (answers.Table,), many=True),
    events.TableContentsRequested: Question(table_contents_requested, (answers.Bill,), many=True),
    events.BillRequested: Question(bill_requested, (answers.Bill,)),
    events.BillsSearched: Question(bills_searched, (answers.Bill,), many=True),
    events.PaymentStarted: Question(payment_started, (), accepts_silence=True),
    events.PaymentProcessed: Question(payment_processed, (answers.Receipt,)),
    events.PaymentClosed: Question(payment_closed, (), accepts_silence=True),
    events.PostponedReceiptRequested: Question(postponed_receipt_requested, (answers.Receipt,)),
    events.OtherEvent: Question(event_received, (answers.Json,)),
}

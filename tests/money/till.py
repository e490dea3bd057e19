"""A little point of sale that is right: it knows what was ordered, and what was paid from its own handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.dispatch import Signal

from django_qerko import answers, signals
from django_qerko.events import BillRequested, PaymentClosed, TableContentsRequested
from django_qerko.exceptions import BillClosed, BillNotFound, DomainError
from django_qerko.models import Payment
from tests.money.model import ACCEPT, PAID, Amounts, Mood, less, sums
from tests.till.models import Note


class Till:
    """Its handlers are in the mood that a test puts them into; what they write stands in their transaction."""

    def __init__(self, prices: Amounts, tables: dict[str, list[str]]) -> None:
        self.prices = prices
        self.tables = tables
        self.begin({}, is_net=False)

    def begin(self, ordered: dict[str, Amounts], *, is_net: bool) -> None:
        """A new evening; ``is_net``: everything that was ever ordered is returned, and the app takes off the rest."""
        self.ordered = ordered
        self.is_net = is_net
        self.mood: Mood = ACCEPT
        self.asked = 0
        self.meanwhile: Callable[[], None] | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        handlers: dict[Signal, Callable[..., Any]] = {
            signals.bill_requested: self.show_bill,
            signals.table_contents_requested: self.show_table,
            signals.payment_started: self.start,
            signals.payment_processed: self.give_receipt,
            signals.payment_closed: self.close,
            signals.postponed_receipt_requested: self.give_receipt,
        }
        for signal, handler in handlers.items():
            signal.connect(handler)
        try:
            yield
        finally:
            for signal, handler in handlers.items():
                signal.disconnect(handler)

    # -- Handlers ------------------------------------------------------------------------------------

    def show_bill(self, event: BillRequested, **_: Any) -> answers.Bill:
        self._behave()
        if not self.ordered.get(event.bill_id):
            raise BillNotFound
        bill = self._bill(event.bill_id)
        self._hear_what_comes_meanwhile()
        if not bill.items:
            raise BillClosed
        return bill

    def show_table(self, event: TableContentsRequested, **_: Any) -> list[answers.Bill]:
        self._behave()
        bills = [self._bill(bill) for bill in self.tables[event.table_id]]
        self._hear_what_comes_meanwhile()
        return [bill for bill in bills if bill.items]

    def start(self, **_: Any) -> None:
        self._behave()

    def give_receipt(self, payment: Payment | None, **_: Any) -> answers.Receipt | None:
        self._behave()
        return (
            None if payment is None or self.mood.word == "silent" else answers.Receipt.model_validate(self.mood.receipt)
        )

    def close(self, event: PaymentClosed, payment: Payment | None, **_: Any) -> None:
        if payment is not None and event.state == PAID:
            for item, quantity in payment.quantities.items():
                Note.objects.create(text=f"{payment.bill.bill_id} {item} {quantity:f}")
        self._behave()

    # -- What it knows -------------------------------------------------------------------------------

    def paid(self, bill: str) -> Amounts:
        lines = Note.objects.filter(text__startswith=f"{bill} ").values_list("text", flat=True)
        return sums((item, Decimal(quantity)) for _, item, quantity in map(str.split, lines))

    def _bill(self, bill: str) -> answers.Bill:
        shown = self.ordered[bill] if self.is_net else less(self.ordered[bill], self.paid(bill))
        return answers.Bill(
            id=bill,
            currency="CZK",
            items=[
                answers.BillItem(id=item, name=item, quantity=quantity, price=self.prices[item], min_quantity="0.5")
                for item, quantity in shown.items()
                if quantity > 0
            ],
        )

    def _behave(self) -> None:
        self.asked += 1
        match self.mood.word:
            case "refuse":
                raise DomainError("ACCESS_DENIED", "Not today.")
            case "break":
                raise ZeroDivisionError

    def _hear_what_comes_meanwhile(self) -> None:
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()

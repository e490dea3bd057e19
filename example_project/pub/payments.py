"""What the pub does when a guest pays: write the receipt, count what was paid, and void what came to nothing.

The app's own books come first. They refuse what is not left on the bill as Qerko was told of it, answer what is
repeated, unknown or over, and take each step of a payment once; only what is new and possible is asked here.
"""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.dispatch import receiver
from django.utils import timezone

from django_qerko import models
from django_qerko.answers import Receipt
from django_qerko.events import Payment, PaymentClosed, PaymentStarted
from django_qerko.exceptions import BillClosed, BillNotFound, DomainError
from django_qerko.signals import payment_closed, payment_processed, payment_started
from example_project.pub import receipts
from example_project.pub.models import CURRENCY, PLACES, IssuedReceipt, Order

log: Final = logging.getLogger(__name__)

#: The one state of Qerko's in which the money is ours.
PAID: Final = "PAID"


@receiver(payment_started)
def begin_payment(event: PaymentStarted, **_: Any) -> None:
    """A guest wants to pay: has anything changed since the guest saw the bill?"""
    order = _order(event.bill_id)
    if not order.is_open:
        raise BillClosed
    _require_owed(order, event.payment)


@receiver(payment_processed)
def give_receipt(payment: models.Payment | None, **_: Any) -> Receipt | None:
    """The money has moved, and the guest gets a receipt; in the garden later."""
    if payment is None:
        return None  # The app says that there is no such payment.
    order = _order(payment.bill.bill_id)
    if order.table.has_late_receipts:
        return receipts.promise(order)
    return receipts.issue(payment, order, at=timezone.now())


@receiver(payment_closed)
def close_payment(event: PaymentClosed, payment: models.Payment | None, **_: Any) -> None:
    """The payment is over: what was paid is never shown again, and what was not is undone."""
    if payment is None:
        return  # It never began here, so there is nothing to undo.
    if event.state == PAID:
        _settle(payment, at=timezone.now())
    else:
        IssuedReceipt.objects.void(payment.payment_id, at=timezone.now())


def _settle(payment: models.Payment, *, at: datetime) -> None:
    """The money is the pub's, even where it looked otherwise before."""
    order = Order.objects.numbered(payment.bill.bill_id).first()
    if order is None:
        log.error("Payment %s is paid, and there is no bill %s: a person must give it back", payment, payment.bill)
        return
    if not order.pay(payment.quantities, at=at):
        log.error("Payment %s pays what is not owed on %s: a person must give it back", payment, order)
    if payment.has_receipt:
        IssuedReceipt.objects.revive(payment.payment_id)
    else:
        _hand_in(payment, receipts.issue(payment, order, at=at))


def _hand_in(payment: models.Payment, receipt: Receipt) -> None:
    """Give the app a receipt that was postponed; from now on it answers Qerko with it."""
    payment.provide_receipt(receipt)


def _order(bill_id: str) -> Order:
    order = Order.objects.numbered(bill_id).first()
    if order is None:
        raise BillNotFound
    return order


def _require_owed(order: Order, payment: Payment) -> None:
    """Raises DomainError where something is to be paid that is not owed."""
    if payment.currency != CURRENCY:
        raise DomainError("BAD_PARAMETER", f"The bill is in {CURRENCY}.")
    owed = {str(line.pk): line.unpaid for line in order.unpaid_lines}
    for item, quantity in payment.quantities.items():
        left = owed.get(item, Decimal(0))
        if quantity > left or quantity != round(quantity, PLACES):
            raise DomainError("BAD_PARAMETER", f"Item {item}: {left.normalize():f} left to pay.")

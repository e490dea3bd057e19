"""What the kiosk says to Qerko."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.dispatch import receiver

from django_qerko.answers import Bill, BillItem, Receipt, ReceiptInfo, ReceiptItem, Table, TaxInfo
from django_qerko.exceptions import BillNotFound, DomainError
from django_qerko.signals import (
    bill_requested,
    payment_closed,
    payment_processed,
    payment_started,
    table_contents_requested,
    table_list_requested,
)

from .models import Line, Order, Paid

TABLES = {"T1": "The left bench", "T2": "The right bench"}


@receiver(table_list_requested)
def list_tables(**_: Any) -> list[Table]:
    return [Table(id=table, name=name) for table, name in TABLES.items()]


@receiver(table_contents_requested)
def show_table(event: Any, **_: Any) -> list[Bill]:
    if event.table_id not in TABLES:
        raise DomainError("NOT_FOUND", "There is no such bench.")
    return [bill_of(order) for order in Order.objects.filter(table=event.table_id)]


@receiver(bill_requested)
def show_bill(event: Any, **_: Any) -> Bill:
    order = Order.objects.filter(pk=event.bill_id).first() if event.bill_id.isdecimal() else None
    if order is None:
        raise BillNotFound
    return bill_of(order)


@receiver(payment_started)
def refuse_large_tips(event: Any, **_: Any) -> None:
    if (event.payment.tip_brutto or 0) > 1000:
        raise DomainError("BAD_PARAMETER", "Nobody tips so much at a kiosk.")


@receiver(payment_processed)
def print_receipt(payment: Any, **_: Any) -> Receipt | None:
    if payment is None:
        return None
    items = list(payment.items.all())
    total = sum((item.price * item.quantity for item in items), start=Decimal(0))
    base = (total / Decimal("1.12")).quantize(Decimal("0.01"))
    return Receipt(
        receipt_info=ReceiptInfo(bill_name=payment.bill.bill_id),
        items=[
            ReceiptItem(name=item.name, price=item.price, quantity=item.quantity, tax_name="12 %") for item in items
        ],
        tax_info=[TaxInfo(name="12 %", rate=12, base=base, tax=total - base)],
    )


@receiver(payment_closed)
def tell_the_keeper(event: Any, payment: Any, **_: Any) -> None:
    if event.state == "PAID" and payment is not None:
        Paid.objects.create(order_id=payment.bill.bill_id, payment_id=event.payment_id)


def bill_of(order: Order) -> Bill:
    return Bill(
        id=str(order.pk),
        currency="CZK",
        name=str(order),
        items=[
            BillItem(id=str(line.pk), name=str(line), price=line.price, quantity=line.quantity)
            for line in Line.objects.filter(order=order)
        ],
    )

"""What a record is about: its event, and the rows of ours that the event names."""

from __future__ import annotations

from django.db import router

from django_qerko.events import Event, read_document, read_event
from django_qerko.models.bill import Bill
from django_qerko.models.event import WebhookEvent
from django_qerko.models.payment import Payment
from django_qerko.models.restaurant import Restaurant


def event_of(record: WebhookEvent) -> Event:
    """The event of a record, from the bytes that were kept; raises Malformed where this version cannot read them."""
    return read_event(read_document(bytes(record.payload)), named=record.name).recorded_as(record.pk)


def rows_of(event: Event, restaurant: Restaurant) -> tuple[Bill | None, Payment | None]:
    """Our bill and payment that an event names, where they exist; read where they are written, and not locked."""
    payment_id, bill_id = getattr(event, "payment_id", None), getattr(event, "bill_id", None)
    payment = bill = None
    if payment_id is not None:
        payment = Payment.objects.using(router.db_for_write(Payment)).known(restaurant, payment_id)
    if payment is not None:
        bill = payment.bill
    elif bill_id is not None:
        bill = Bill.objects.using(router.db_for_write(Bill)).known(restaurant, [bill_id]).get(bill_id)
    return bill, payment

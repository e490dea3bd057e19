"""What we do before and after the handlers, so that bills and payments stay in step with what Qerko was told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from django_qerko import answers
from django_qerko.conf import conf
from django_qerko.events import (
    BillRequested,
    BillsSearched,
    Event,
    PaymentClosed,
    PaymentProcessed,
    PaymentStarted,
    PostponedReceiptRequested,
    TableContentsRequested,
)
from django_qerko.exceptions import BillClosed, DomainError
from django_qerko.handling import offering, paying
from django_qerko.handling.booking import Booking
from django_qerko.models import Restaurant
from django_qerko.models.about import rows_of


def before(event: Event, restaurant: Restaurant) -> Booking:
    """The rows that an event is about, and what our books alone have to say to it."""
    if event.name not in conf.BOOKKEEPING:
        # Handlers get what the books of other events have; where none are kept there is nothing to look for.
        bill, payment = rows_of(event, restaurant) if conf.BOOKKEEPING else (None, None)
        return Booking(bill=bill, payment=payment)
    booking = Booking()
    match event:
        case BillRequested():
            bill = offering.book().known(restaurant, [event.bill_id]).get(event.bill_id)
            booking = Booking(bill=bill, read_before={event.bill_id: bill})
        case PaymentStarted():
            booking = paying.begin(event, restaurant)
        case PaymentProcessed():
            booking = paying.process(event, restaurant)
        case PaymentClosed():
            booking = paying.close(event, restaurant)
        case PostponedReceiptRequested():
            booking = paying.show_receipt(event, restaurant)
    return booking


def after(
    event: Event, restaurant: Restaurant, booking: Booking, answer: answers.Answer, *, asked_at: datetime
) -> answers.Answer:
    """Keep what was answered, and give what Qerko is told.

    Raises WrongAnswer where two bills of one answer have the same id, BillClosed where nothing is left on the one that
    was asked for, and DomainError where a payment ended meanwhile.
    """
    if event.name not in conf.BOOKKEEPING:
        return answer
    match event, answer:
        case BillRequested(), answers.Bill():
            for bill in offering.offer(event, restaurant, [answer], booking, asked_at=asked_at):
                return bill
            raise BillClosed
        case ((TableContentsRequested() | BillsSearched()), list() | tuple()):
            bills: Any = answer
            return offering.offer(event, restaurant, bills, booking, asked_at=asked_at)
    if booking.payment is not None:
        return paying.accept(event, restaurant, booking.payment, answer)
    return answer


def refused(event: Event, booking: Booking, refusal: DomainError) -> None:
    """Keep that a handler refused."""
    if event.name not in conf.BOOKKEEPING:
        return
    if booking.payment is not None:
        paying.refuse(event, booking.payment, refusal)
    elif isinstance(event, BillRequested) and isinstance(refusal, BillClosed) and booking.bill is not None:
        booking.bill.close(at=timezone.now())


def later(
    event: Event, restaurant: Restaurant, answer: answers.Answer | DomainError, *, asked_at: datetime
) -> tuple[answers.Answer | DomainError, Booking]:
    """The same for an answer that comes after its handling, from anywhere: what Qerko is told, and the tidings."""
    booking = _rows(event, restaurant)
    if isinstance(answer, DomainError):
        refused(event, booking, answer)
        return answer, booking
    try:
        return after(event, restaurant, booking, answer, asked_at=asked_at), booking
    except DomainError as refusal:
        return refusal, booking


def _rows(event: Event, restaurant: Restaurant) -> Booking:
    """The rows of a question that was looked at before; what has happened was booked when it was told."""
    if event.name not in conf.BOOKKEEPING:
        return Booking()
    match event:
        case BillRequested():
            return Booking(bill=offering.book().known(restaurant, [event.bill_id]).get(event.bill_id))
        case PaymentStarted() | PaymentProcessed() | PostponedReceiptRequested():
            payment = paying.book().held(restaurant, event.payment_id)
            return Booking(bill=payment.bill if payment else None, payment=payment)
    return Booking()

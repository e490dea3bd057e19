"""Keep payments in step with what Qerko says of them: each case has one outcome, and none breaks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from django_qerko import answers, events, queueing
from django_qerko.conf import conf
from django_qerko.events import (
    Event,
    PaymentClosed,
    PaymentProcessed,
    PaymentStarted,
    PostponedReceiptRequested,
)
from django_qerko.exceptions import DomainError
from django_qerko.handling import offering
from django_qerko.handling.booking import Booking
from django_qerko.handling.contradicting import Contradiction, contradictions
from django_qerko.handling.refusing import Standing, refusal
from django_qerko.handling.storing import storable
from django_qerko.models import Bill, Payment, Restaurant, WebhookEvent
from django_qerko.models.event import WebhookEventQuerySet
from django_qerko.models.kept import printable
from django_qerko.models.payment import STATE_CHARACTERS, SUCCESS, PaymentQuerySet
from django_qerko.signals import payment_contradicts_bill

log: Final = logging.getLogger(__name__)

#: ``CONTRADICTIONS``: what does not fit is not taken.
REFUSE: Final = "refuse"
#: Nothing public says which codes these refusals have (A).
_WRONG: Final = "BAD_PARAMETER"
_UNKNOWN: Final = "NOT_FOUND"
_CLOSED_BEFORE: Final = "The payment was closed before it began."
#: More of what does not fit is kept, and not said in one line of a log.
_SAID: Final = 5


def book() -> PaymentQuerySet:
    """Read where it is written."""
    return Payment.objects.using(router.db_for_write(Payment))


# -- Before the handlers are asked -------------------------------------------------------------------


def begin(event: PaymentStarted, restaurant: Restaurant) -> Booking:
    """A guest wants to pay: lock the items, or refuse as protocol section 5 says."""
    if (known := book().held(restaurant, event.payment_id)) is not None:
        return _begin_again(event, known)
    now = timezone.now()
    bill = offering.book().held(restaurant, event.bill_id, currency=event.payment.currency)
    occupant = book().occupying(bill)
    found = contradictions(event.payment, bill.snapshot)
    refused = _refusal(event, restaurant, bill, found, is_busy=occupant is not None)
    try:
        with transaction.atomic(using=book().db):
            payment = _enter(event, restaurant, bill, refused, found, now)
    except IntegrityError:
        # The same payment began on another bill at this moment. We hold one bill, and never wait for two.
        known = book().select_for_update().filter(restaurant=restaurant, payment_id=event.payment_id).first()
        if known is None:
            raise
        known.bill = offering.book().get(pk=known.bill_id)
        return _begin_again(event, known)
    if occupant is not None:
        _ask_about(occupant, now)
    booking = Booking(bill=bill, payment=payment, own=refused)
    _notice(event, restaurant, booking, found)
    return booking


def process(event: PaymentProcessed, restaurant: Restaurant) -> Booking:
    """The money moved: a receipt that was given before is given again, so that none is issued twice."""
    payment = book().held(restaurant, event.payment_id)
    if payment is None:
        return _unknown()
    booking = Booking(bill=payment.bill, payment=payment)
    if payment.is_cancelled:
        log.warning("Payment %s of %s is processed at Qerko, and was cancelled here", payment, restaurant)
        booking.own = DomainError(_WRONG, "The payment was cancelled.")
    elif (given := payment.given_receipt) is not None:
        _take_receipt(event, payment, given)
        booking.own = given
    return booking


def close(event: PaymentClosed, restaurant: Restaurant) -> Booking:
    """The end of a payment, which no handler can change: it is kept first, and handlers hear each news once."""
    payment = book().held(restaurant, event.payment_id) or _beginning_now(event, restaurant)
    if payment is None:
        return _never_started(event, restaurant)
    booking = Booking(bill=payment.bill, payment=payment)
    if payment.is_paid:
        if event.state != SUCCESS:
            log.error("Payment %s of %s is paid, and Qerko says %r of it now", payment, restaurant, event.state)
        booking.own = answers.NOTHING
    elif payment.is_closed and event.state != SUCCESS:
        booking.own = answers.NOTHING
    else:
        _end(event, payment)
    return booking


def show_receipt(event: PostponedReceiptRequested, restaurant: Restaurant) -> Booking:
    """A receipt that is there is given without asking anybody."""
    payment = book().held(restaurant, event.payment_id)
    if payment is None:
        return _unknown()
    booking = Booking(bill=payment.bill, payment=payment)
    if payment.is_cancelled:
        booking.own = DomainError(_UNKNOWN, "The payment was cancelled, and has no receipt.")
    elif payment.has_receipt:
        booking.own = payment.given_receipt
    else:
        booking.fallback = payment.given_receipt
    return booking


# -- After they were asked ---------------------------------------------------------------------------


def accept(event: Event, restaurant: Restaurant, payment: Payment, answer: answers.Answer) -> answers.Answer:
    """Take the step that an answer brings, and give what Qerko is told; a handler may have replied by itself already.

    Raises DomainError where the payment ended meanwhile.
    """
    match event, answer:
        case PaymentStarted(), _:
            _require_alive(event, restaurant, payment)
        case ((PaymentProcessed() | PostponedReceiptRequested()), answers.Receipt()):
            return _take_receipt(event, payment, answer)
    return answer


def refuse(event: Event, payment: Payment, refused: DomainError) -> None:
    """A handler refused: a payment that was to go on is cancelled."""
    if isinstance(event, PaymentStarted | PaymentProcessed) and payment.look_again().is_in_progress:
        payment.cancel(at=timezone.now(), reason=_reason(refused), because_of=event.record)


def _require_alive(event: PaymentStarted, restaurant: Restaurant, payment: Payment) -> None:
    """Its end may have been told while a handler was at its beginning, and nobody would ever unlock it."""
    if payment.look_again().is_in_progress and _was_closed_before(event, restaurant):
        payment.cancel(at=timezone.now(), reason=_CLOSED_BEFORE, because_of=event.record)
    if payment.is_cancelled:
        raise DomainError(_WRONG, "The payment was cancelled.")


def _take_receipt(event: Event, payment: Payment, receipt: answers.Receipt) -> answers.Receipt:
    """The receipt that is valid: one that was issued is never replaced."""
    if payment.look_again().is_cancelled:
        raise DomainError(_WRONG, "The payment was cancelled.")
    if payment.has_receipt:
        receipt = payment.given_receipt or receipt
    if payment.state == Payment.State.STARTED and isinstance(event, PaymentProcessed):
        payment.process(receipt, at=timezone.now(), because_of=event.record)
    else:
        payment.keep_receipt(receipt)
    return receipt


def _end(event: PaymentClosed, payment: Payment) -> None:
    now = timezone.now()
    if event.state == SUCCESS:
        for alarm in payment.mark_paid(at=now, because_of=event.record):
            log.error("Payment %s on bill %s: %s A person must look.", payment, payment.bill, alarm)
    elif payment.is_in_progress:
        reason = printable(f"Qerko said {event.state[:STATE_CHARACTERS]}.")
        payment.cancel(at=now, reason=reason, because_of=event.record, final_state=event.state)
    else:
        payment.note_end(event.state)


# -- How a payment begins ----------------------------------------------------------------------------


def _begin_again(event: PaymentStarted, payment: Payment) -> Booking:
    """What began before is not begun twice, and what is over does not begin again."""
    booking = Booking(bill=payment.bill, payment=payment)
    if not payment.is_same_as(event.payment):
        log.warning("Payment %s began before, and was another: nothing is changed", payment)
        booking.own = DomainError(_WRONG, "There was a payment of this id, and it was another.")
    elif payment.is_cancelled:
        booking.own = DomainError(_WRONG, "The payment was cancelled.")
    elif not (payment.state == Payment.State.STARTED and _waits_for_handler(event, payment)):
        booking.own = answers.NOTHING
    return booking


def _waits_for_handler(event: PaymentStarted, payment: Payment) -> bool:
    """Whether this is the event that began it, or no handler has decided about that one: it may still be refused."""
    cause = WebhookEvent.objects.using(book().db).filter(payment_steps__payment=payment).first()
    return cause is not None and (cause.pk == event.record or not cause.is_handled)


def _refusal(
    event: PaymentStarted, restaurant: Restaurant, bill: Bill, found: Sequence[Contradiction], *, is_busy: bool
) -> DomainError | None:
    standing = Standing(is_busy=is_busy, is_open=bill.is_open, currency=bill.currency, left=bill.left)
    if refused := refusal(event.payment, standing):
        return refused
    if found and conf.CONTRADICTIONS == REFUSE:
        return DomainError(_WRONG, f"The payment does not fit the bill. {found[0]}.")
    if _was_closed_before(event, restaurant):
        return DomainError(_WRONG, _CLOSED_BEFORE)
    return None


def _was_closed_before(event: PaymentStarted, restaurant: Restaurant) -> bool:
    """Whether its end overtook its beginning, be it that it is being handled now: nobody would ever unlock it."""
    # A plain read, because one for update waits for other payments' events where the database looks at these first. It
    # is older than the lock on the bill only under REPEATABLE READ; what it misses then is mended when Qerko is asked.
    told = _told(restaurant, event.payment_id)
    # First those that may be handled before the second question.
    waiting = told.tells().unfinished().defer("headers", "answer", "error")
    return any(map(_is_in_vain, waiting)) or told.of_ended_payment(restaurant, event.payment_id).exists()


def _is_in_vain(record: WebhookEvent) -> bool:
    """Whether a tell that nobody has handled yet says that no money moved."""
    event = _read(record)
    return isinstance(event, PaymentClosed) and event.state != SUCCESS


def _enter(
    event: PaymentStarted,
    restaurant: Restaurant,
    bill: Bill,
    refused: DomainError | None,
    found: Sequence[Contradiction],
    now: datetime,
) -> Payment:
    payload = event.data["payment"]
    kept = [contradiction.as_json() for contradiction in found]
    if refused is not None:
        return book().refuse(
            restaurant,
            event.payment,
            bill=bill,
            payload=payload,
            at=now,
            reason=_reason(refused),
            because_of=event.record,
            contradictions=kept,
        )
    return book().start(
        restaurant,
        event.payment,
        bill=bill,
        payload=payload,
        at=now,
        ask_at=now + conf.RECONCILE_AFTER,
        because_of=event.record,
        contradictions=kept,
    )


def _ask_about(occupant: Payment, now: datetime) -> None:
    """Never two at once, so news of the first was missed: Qerko is asked about it at once (protocol section 5, A)."""
    occupant.note_newer_start(at=now)
    log.warning("Another payment wants to begin on bill %s: Qerko is asked about %s", occupant.bill, occupant)
    queueing.ring_after_commit(queueing.ASK_ABOUT_PAYMENT, occupant.pk, using=str(occupant._state.db))


def _notice(event: PaymentStarted, restaurant: Restaurant, booking: Booking, found: Sequence[Contradiction]) -> None:
    if not found:
        return
    log.warning(
        "Payment %s of %s does not fit bill %s: %s",
        booking.payment,
        restaurant,
        booking.bill,
        "; ".join(map(str, found[:_SAID])) + ("; …" if len(found) > _SAID else ""),
    )
    booking.tidings.append(
        partial(
            payment_contradicts_bill.send_robust,
            sender=type(event),
            event=event,
            restaurant=restaurant,
            bill=booking.bill,
            payment=booking.payment,
            contradictions=list(found),
        )
    )


# -- Payments that nobody knows ----------------------------------------------------------------------


def _keeps_starts() -> bool:
    """Whether we would know of a payment that started."""
    return "paymentStart" in conf.BOOKKEEPING


def _unknown() -> Booking:
    """Handlers may know what we do not: what was paid before the app was there."""
    return Booking(fallback=DomainError(_UNKNOWN, "There is no such payment.")) if _keeps_starts() else Booking()


def _beginning_now(event: PaymentClosed, restaurant: Restaurant) -> Payment | None:
    """A payment whose beginning was heard, and may be uncommitted: its bill is waited for.

    Whichever of the two holds the bill first, the other one sees what it did.
    """
    record = _told(restaurant, event.payment_id).named(PaymentStarted.NAME).first() if _keeps_starts() else None
    begun = _read(record) if record else None
    if not isinstance(begun, PaymentStarted):
        return None
    bill = offering.book().held(restaurant, begun.bill_id, currency=begun.payment.currency)
    # Read for update, because a plain read may be older than the lock on the bill.
    payment = book().select_for_update().filter(restaurant=restaurant, payment_id=event.payment_id, bill=bill).first()
    if payment is not None:
        payment.restaurant, payment.bill = restaurant, bill
    return payment


def _told(restaurant: Restaurant, payment_id: str) -> WebhookEventQuerySet:
    """What Qerko said of a payment."""
    return WebhookEvent.objects.using(book().db).filter(restaurant=restaurant).about_payment(payment_id)


def _read(record: WebhookEvent) -> Event:
    return events.read_event(events.read_document(bytes(record.payload)), named=record.name)


def _never_started(event: PaymentClosed, restaurant: Restaurant) -> Booking:
    """``PAID`` of a payment that never started: money moved that we know nothing of (protocol section 5, A)."""
    if event.state != SUCCESS or not _keeps_starts():
        return Booking()
    log.error(
        "Qerko says that payment %s of %s is paid, and it never started here: Qerko is asked about it",
        printable(event.payment_id),
        restaurant,
    )
    return Booking(verdict=DomainError(_UNKNOWN, "There is no such payment."), wants_news=True)


def _reason(refused: DomainError) -> str:
    return storable(f"{refused.code or type(refused).__name__}: {refused.message}")

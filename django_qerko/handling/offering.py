"""Keep what Qerko is given of bills, take off what was paid, and notice what is offered again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from django.db import router
from django.utils import timezone

from django_qerko import answers
from django_qerko.conf import conf
from django_qerko.events import Event
from django_qerko.exceptions import WrongAnswer
from django_qerko.handling.booking import Booking
from django_qerko.models import Bill, Restaurant, quantities
from django_qerko.models.bill import BillQuerySet
from django_qerko.models.kept import printable
from django_qerko.signals import paid_items_offered_again

log: Final = logging.getLogger(__name__)

#: ``BILL_ITEMS``: handlers return everything that was ever ordered.
ORDERED: Final = "ordered"
#: From the moment that is written down until it is committed, and others see it, by clocks that differ.
_SETTLED_WITHIN: Final = timedelta(seconds=1)


def book() -> BillQuerySet:
    """Read where it is written: a replica that lags behind knows less than Qerko."""
    return Bill.objects.using(router.db_for_write(Bill))


def offer(
    event: Event,
    restaurant: Restaurant,
    bills: Sequence[answers.Bill],
    booking: Booking,
    *,
    asked_at: datetime,
) -> list[answers.Bill]:
    """Keep what handlers offer, and give what Qerko is told of it: without the bills on which nothing is left.

    ``asked_at`` is when the handlers were asked. Raises WrongAnswer where two bills have the same id.
    """
    if len({bill.id for bill in bills}) != len(bills):
        raise WrongAnswer(f"{event.name} was answered with two bills of the same id")
    now, is_net = timezone.now(), conf.BILL_ITEMS == ORDERED
    rows, is_read_before = _rows(restaurant, bills, booking)
    told, offered = [], []
    for bill in bills:
        row = rows.get(bill.id) or Bill(restaurant=restaurant, bill_id=bill.id, currency=bill.currency)
        net = _without_paid(bill, row) if is_net else bill
        if is_net and not net.items:
            if row.is_open:
                row.close(at=now)
            continue
        again = {} if is_net else row.beyond(_offered(net))
        paid_then = row.paid
        if again and not is_read_before and _was_just_settled(row, asked_at):
            # The handlers were asked before it was settled, and offer no more than they knew.
            unseen = quantities.minus(row.paid_quantities, again)
            paid_then = quantities.write({item: max(quantity, Decimal(0)) for item, quantity in unseen.items()})
            again = {}
        telling = row.telling(net, at=now, paid_then=paid_then, again=again)
        if row._state.adding or not row.is_as_told(telling):
            told.append(telling)
        _notice(event, restaurant, row, again, booking)
        if not row.is_open and any((telling.left or {}).values()):
            row.reopen(at=now)
        offered.append(net)
    book().remember(told)
    return offered


def _rows(
    restaurant: Restaurant, bills: Sequence[answers.Bill], booking: Booking
) -> tuple[Mapping[str, Bill | None], bool]:
    """Our rows of these bills, and whether they were read before the handlers were asked."""
    identities = {bill.id for bill in bills}
    if booking.read_before is not None and booking.read_before.keys() == identities:
        return booking.read_before, True
    return book().known(restaurant, identities), False


def _offered(bill: answers.Bill) -> dict[str, Decimal]:
    return {item.id: item.quantity for item in bill.items}


def _without_paid(bill: answers.Bill, row: Bill) -> answers.Bill:
    """What is left of everything that was ordered."""
    left = quantities.minus(_offered(bill), row.paid_quantities)
    items = [item.model_copy(update={"quantity": left[item.id]}) for item in bill.items if left[item.id] > 0]
    return bill.model_copy(update={"items": items})


def _was_just_settled(row: Bill, asked_at: datetime) -> bool:
    """Whether something was paid of a bill, which we read after the handlers had, and they may not have seen it."""
    return row.settled_at is not None and row.settled_at >= asked_at - _SETTLED_WITHIN


def _notice(event: Event, restaurant: Restaurant, row: Bill, again: Mapping[str, Decimal], booking: Booking) -> None:
    """Say once what is offered beyond what can be left: paid items, or a new round of the same."""
    known = row.offered_quantities
    news = {item: quantity for item, quantity in again.items() if quantity > known.get(item, Decimal(0))}
    if not news:
        return
    log.warning(
        "Bill %s of %s offers what was paid again, or a new round of the same: %s",
        row,
        restaurant,
        ", ".join(f"{quantity:f} of item {printable(item)}" for item, quantity in again.items()),
    )
    booking.tidings.append(
        partial(
            paid_items_offered_again.send_robust,
            sender=type(event),
            event=event,
            restaurant=restaurant,
            bill=row,
            payment=None,
            items=dict(again),
        )
    )

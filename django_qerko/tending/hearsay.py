"""Say to ourselves what Qerko forgot to say: how a payment ended."""

from __future__ import annotations

import logging
import uuid
from typing import Final

from django.utils import timezone

from django_qerko import events
from django_qerko.exceptions import Busy
from django_qerko.handling import claiming, keeping
from django_qerko.models import Restaurant, WebhookEvent
from django_qerko.models.about import event_of
from django_qerko.models.event import ASKED

log: Final = logging.getLogger(__name__)

_NAMESPACE: Final = uuid.UUID("4c0b5a0e-6d0f-4a35-8a0c-0d2d6f3d9f5e")


def say_closed(restaurant: Restaurant, payment_id: str, state: str) -> None:
    """Enter the end of a payment into the book as ``paymentClosed`` would have, and have it handled.

    Handlers hear of it in the one transaction of every handling, and what breaks is handled again as any tell is. The
    same end is entered once, whoever hears of it, and nothing is ever told to Qerko about it.
    """
    record = _written(restaurant, payment_id, state)
    record, is_new = WebhookEvent.objects.enter(record)
    if not is_new and not _is_given_up(record):
        claiming.handle_recorded(record.pk)
        return
    try:
        keeping.handle(record, event_of(record))
    except Busy as error:
        log.info("%s is left to whoever has it now: %s", record, error)


def _is_given_up(record: WebhookEvent) -> bool:
    """Whether its handler broke until nobody tried again, and it is ours to try now."""
    if record.state != WebhookEvent.State.FAILED or record.next_handling_at is not None:
        return False
    now = timezone.now()
    until = now + claiming.LEASE
    return record.claim_again(at=now, until=until, deadline_at=record.deadline_at, promised=False)


def _written(restaurant: Restaurant, payment_id: str, state: str) -> WebhookEvent:
    now = timezone.now()
    # The rest follows from what Qerko said, so that the same is never entered twice.
    event_id = f"{ASKED}{uuid.uuid5(_NAMESPACE, repr((restaurant.pk, payment_id, state)))}"
    record = WebhookEvent(
        restaurant=restaurant,
        event_id=event_id,
        name=events.PaymentClosed.NAME,
        payment_id=payment_id,
        payload=events.write_closed(event_id, payment_id=payment_id, state=state),
        received_at=now,
        # Nobody waits for an answer, and so none ever leaves, not even one that a handler gives by reply_later.
        deadline_at=now,
    )
    # If we die here, the sweeper has it handled when the claim runs out.
    record.begin_claimed(until=now + claiming.LEASE)
    return record

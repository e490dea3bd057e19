"""Tell observers what became of an event or a reply, once it is committed. They hear, and break nothing."""

from __future__ import annotations

import logging
from typing import Any, Final

from django.db import DatabaseError
from django.dispatch import Signal

from django_qerko.events import CLASSES, Event, OtherEvent
from django_qerko.exceptions import Malformed
from django_qerko.models import Reply, Restaurant, WebhookEvent
from django_qerko.models.about import event_of, rows_of

log: Final = logging.getLogger(__name__)


def tell(signal: Signal, event: Event, *, restaurant: Restaurant, **what: Any) -> None:
    """Tell observers about an event, with our rows as they are now. Nothing is read where nobody listens."""
    if signal.has_listeners(type(event)):
        signal.send_robust(sender=type(event), event=event, restaurant=restaurant, **_rows(event, restaurant), **what)


def tell_of_reply(signal: Signal, reply: Reply) -> None:
    """The same about a reply; of what this version cannot read any more there is no ``event``."""
    record = reply.event
    sender, restaurant = CLASSES.get(record.name, OtherEvent), record.restaurant
    if signal.has_listeners(sender):
        event = _readable(record)
        signal.send_robust(sender=sender, event=event, restaurant=restaurant, **_rows(event, restaurant), reply=reply)


def _readable(record: WebhookEvent) -> Event | None:
    try:
        return event_of(record)
    except Malformed:
        return None


def _rows(event: Event | None, restaurant: Restaurant) -> dict[str, Any]:
    if event is None:
        return {"bill": None, "payment": None}
    try:
        bill, payment = rows_of(event, restaurant)
    except DatabaseError:
        log.exception("Our rows of %s could not be read for those who observe it", event.name)
        bill = payment = None
    return {"bill": bill, "payment": payment}

"""Let the deadline of events pass, or stand still, without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from django.db import router
from django.test import override_settings
from django.utils import timezone

from django_qerko import conf
from django_qerko.models import Reply, WebhookEvent

#: Longer than anybody looks at a breakpoint.
STANDSTILL: Final = timedelta(days=1)
_A_MOMENT: Final = timedelta(milliseconds=1)


def pass_deadline(*records: WebhookEvent) -> None:
    """Let the deadline of these events be over, or of all that did not come to an end, without waiting.

    A deadline is a moment in the event's row, and in that of each reply, and whoever handles or sends compares it with
    the clock. So these moments are moved: an event is as it would be had Qerko asked earlier. No clock is changed:
    not the database's, nor Celery's, nor that of your own code.
    """
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent))
    for record in records or book.in_progress():
        record.look_again()
        _age(record, by=max(record.deadline_at - timezone.now() + _A_MOMENT, timedelta(0)))


@contextmanager
def frozen_deadline() -> Iterator[None]:
    """Inside, deadlines stand still, however long a breakpoint or a slow test takes; ``pass_deadline`` passes them.

    An event that comes inside gets its deadline a day ahead, by ``REPLY_DEADLINE``, and those that were there already
    get a day more, in their rows. Afterwards what is not over has its usual time again, from then on.
    """
    usual = conf.conf.REPLY_DEADLINE
    _move_on(STANDSTILL)
    try:
        with override_settings(QERKO={**conf.given(), "REPLY_DEADLINE": STANDSTILL}):
            yield
    finally:
        _hasten(usual)


def is_frozen() -> bool:
    return bool(conf.conf.REPLY_DEADLINE >= STANDSTILL)


def _age(record: WebhookEvent, *, by: timedelta) -> None:
    """Move everything that was said of an event so far into the past."""
    record.received_at -= by
    record.deadline_at -= by
    if record.promised_at is not None:
        record.promised_at -= by
    record.save(update_fields=["received_at", "deadline_at", "promised_at"])
    for reply in record.replies.waiting():
        reply.created_at -= by
        reply.deadline_at -= by
        reply.save(update_fields=["created_at", "deadline_at"])


def _rows() -> Iterator[WebhookEvent | Reply]:
    """Whose deadline is still to come."""
    yield from WebhookEvent.objects.using(router.db_for_write(WebhookEvent)).filter(deadline_at__gt=timezone.now())
    yield from Reply.objects.using(router.db_for_write(Reply)).waiting().filter(deadline_at__gt=timezone.now())


def _move_on(by: timedelta) -> None:
    for row in _rows():
        row.deadline_at += by
        row.save(update_fields=["deadline_at"])


def _hasten(usual: timedelta) -> None:
    for row in _rows():
        row.deadline_at = min(row.deadline_at, timezone.now() + usual)
        row.save(update_fields=["deadline_at"])

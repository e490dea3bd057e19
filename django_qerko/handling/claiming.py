"""Claim a record for whoever handles it: this request, a worker, or nobody any more."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Final

from django.db import router
from django.utils import timezone

from django_qerko import answers, queueing
from django_qerko.conf import conf
from django_qerko.events import Event
from django_qerko.exceptions import Busy, Malformed, TooLate
from django_qerko.handling import keeping
from django_qerko.handling.keeping import is_late
from django_qerko.models import WebhookEvent
from django_qerko.models.about import event_of

log: Final = logging.getLogger(__name__)

#: A handling that takes longer counts as abandoned, and the next delivery may take the record up.
LEASE: Final = timedelta(seconds=30)
#: How long a second delivery waits for the first one's answer, in seconds, before it is told to come again.
PATIENCE: Final = 3.0
_POLLED_EVERY: Final = 0.05


def begin(record: WebhookEvent, event: Event) -> None:
    """Prepare a record that is about to be entered: for the queue, for us, or stale where nobody waits any more."""
    at, deadline_at = timezone.now(), record.deadline_at
    if is_late(event, at=at, deadline_at=deadline_at):
        record.begin_stale(at=at)
    elif _is_for_later(event, at=at, deadline_at=deadline_at):
        record.begin_promised(at=at)
    else:
        record.begin_claimed(until=_claimed_until(event, at=at, deadline_at=deadline_at))


def go_on(record: WebhookEvent, event: Event) -> WebhookEvent:
    """Bring a record that was just entered as far as this request brings it, and give it as it then is.

    Raises TooLate for a question past its deadline, and Busy where its handling was lost to somebody else.
    """
    if record.is_stale:
        raise TooLate
    if not record.is_promised:
        return keeping.handle(record, event)
    if queueing.ring(queueing.HANDLE_EVENT, record.pk):
        return record
    # The queue does not hear, so 202 would be a promise without a witness: the answer is given now.
    return _take_up_now(record, event, deadline_at=record.deadline_at, promised=False)


def take_up(record: WebhookEvent, event: Event, *, deadline_at: datetime) -> WebhookEvent:
    """Bring a record that was entered by an earlier delivery as far as this one brings it.

    A handled record stays as it is; one that was promised, and is being handled, is promised still. What nobody
    handles is handled again, or promised again. Raises Busy where somebody handles it and does not come to an end,
    and TooLate for a question past its deadline.
    """
    # Whoever was told 202 is owed a reply, even if this delivery is answered now.
    now, promised = timezone.now(), record.promised_at is not None
    if record.is_handled or is_late(event, at=now, deadline_at=deadline_at):
        return _take_up_now(record, event, deadline_at=deadline_at, promised=promised)
    if record.is_promised and record.extend(at=now, deadline_at=deadline_at):
        return record
    if not _is_for_later(event, at=now, deadline_at=deadline_at):
        return _take_up_now(record, event, deadline_at=deadline_at, promised=promised)
    if record.promise_again(at=now, deadline_at=deadline_at) and queueing.ring(queueing.HANDLE_EVENT, record.pk):
        return record
    return _take_up_now(record, event, deadline_at=deadline_at, promised=promised)


def handle_recorded(key: int) -> bool:
    """Handle what the queue, or the sweeper, brings: a record that nobody handles and that is worth it.

    Its answer leaves through the outbox. Safe to call twice: the table says whether there is anything to do. Gives
    whether a handling came to its end, be it an answer or a failure.
    """
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent)).select_related("restaurant")
    record, now = book.filter(pk=key).first(), timezone.now()
    if record is None or not record.wants_handling(now):
        return False
    try:
        event = event_of(record)
    except Malformed as error:
        _end_unreadable(record, error)
        return False
    if is_late(event, at=now, deadline_at=record.deadline_at):
        record.mark_stale(at=now)
        return False
    until = _claimed_until(event, at=now, deadline_at=record.deadline_at)
    if not record.claim_again(at=now, until=until, deadline_at=record.deadline_at, promised=True):
        return False
    try:
        keeping.handle(record, event)
    except (Busy, TooLate) as error:
        log.info("%s is left to whoever has it now: %s", record, error)
        return False
    return True


def _take_up_now(record: WebhookEvent, event: Event, *, deadline_at: datetime, promised: bool) -> WebhookEvent:
    """Handle a record in this request, or wait for whoever does."""
    give_up, ours = time.monotonic() + PATIENCE, record.promised_at
    while not record.is_handled:
        now = timezone.now()
        if is_late(event, at=now, deadline_at=deadline_at):
            record.mark_stale(at=now)
            raise TooLate
        until = _claimed_until(event, at=now, deadline_at=deadline_at)
        if record.claim_again(at=now, until=until, deadline_at=deadline_at, promised=promised):
            return keeping.handle(record, event)
        record.look_again()
        if record.is_in_hand:
            return record
        # Another delivery was told 202 meanwhile.
        promised = promised or record.promised_at not in (None, ours)
        if time.monotonic() >= give_up:
            raise Busy(f"{record} is being handled elsewhere")
        time.sleep(_POLLED_EVERY)
    return record


def _end_unreadable(record: WebhookEvent, error: Malformed) -> None:
    """What an older version took in, and this one cannot read, is over; a person finds it among the failed."""
    log.error("%s cannot be read any more: %s", record, error)
    now = timezone.now()
    if record.claim_again(at=now, until=now + LEASE, deadline_at=record.deadline_at, promised=True):
        message = answers.write_error(None, "The event could not be handled.")
        record.fail(status=500, answer=message, at=now, duration=timedelta(0), error=str(error))


def _is_for_later(event: Event, *, at: datetime, deadline_at: datetime) -> bool:
    """Whether 202 is said; not where its reply could not leave: past the deadline, or without an address to go to."""
    return event.name in conf.ANSWER_LATER and at < deadline_at and bool(conf.POS_ID and conf.BASE_URL)


def _claimed_until(event: Event, *, at: datetime, deadline_at: datetime) -> datetime:
    """When a claim that is made now runs out: a question's never after its deadline."""
    return min(at + LEASE, deadline_at) if event.is_question else at + LEASE

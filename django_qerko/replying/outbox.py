"""Store an answer that leaves later, and ring."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from django.db import router, transaction
from django.utils import timezone

from django_qerko import answers, queueing
from django_qerko.events import CLASSES, Event, OtherEvent
from django_qerko.exceptions import DomainError, WrongAnswer
from django_qerko.models import Reply, WebhookEvent
from django_qerko.models.about import event_of
from django_qerko.replying.telling import tell
from django_qerko.signals import QUESTIONS, event_handled

log: Final = logging.getLogger(__name__)

#: What becomes of an answer that comes later: what Qerko is told in its place, and whom to tell after the commit.
Kept: TypeAlias = tuple[answers.Answer | DomainError, Callable[[], object]]


class Desk:
    """Where an answer that comes later passes by; ``handling``, which stands above us, sets its bookkeeper to it."""

    @staticmethod
    def bookkeeper(record: WebhookEvent, answer: answers.Answer | DomainError) -> Kept:
        """Nobody keeps books."""
        return answer, lambda: None


desk: Final = Desk()


def reply_later(event_or_record: Event | WebhookEvent | int, answer: answers.Answer | DomainError) -> Reply:
    """Answer an event later, once or several times, from anywhere: Qerko hears it through ``/reply``.

    ``event_or_record`` is the event, its row, or the row's key, which is ``event.record``; ``answer`` is what a handler
    would have returned or, to refuse, raised. The first one after a ``LATER`` makes the record ``handled``. What comes
    after the event's deadline is kept as ``stale`` and does not leave (protocol section 3, S). Where a transaction is
    open, the reply leaves after its commit.

    Raises TypeError for what does not answer this event, LookupError for an event that has no record.
    """
    key = _key(event_or_record)
    alias = router.db_for_write(WebhookEvent)
    book = WebhookEvent.objects.using(alias)
    with transaction.atomic(using=alias):
        record = book.filter(pk=key).first() if key is not None else None
        if record is None:
            raise LookupError(f"There is no record {key} of an event.")
        _require_fitting(record, answer)
        said, tell_tidings = _kept(record, answer)
        # Locked, so that a handler that is just saying LATER sees this reply, or we see that it said so; and after the
        # bookkeeping, because a handling locks in this order, too.
        record = book.select_for_update().get(pk=record.pk)
        status, body = _written(said)
        reply = store(record, body, is_error=status != 200)
        if record.finish_postponed(status=status, answer=body, at=timezone.now()):
            if isinstance(answer, DomainError):
                # What is refused may have begun since, in the handling that has just said LATER.
                _, tell_tidings = _kept(record, answer)
            transaction.on_commit(partial(_tell_handled, record), using=alias)
        transaction.on_commit(tell_tidings, using=alias)
    return reply


def store(record: WebhookEvent, answer: bytes, *, is_error: bool) -> Reply:
    """Store what Qerko will hear about a record, in the transaction that is open, and ring after its commit."""
    now = timezone.now()
    reply = Reply(event=record, answer=answer, is_error=is_error, deadline_at=record.deadline_at)
    if record.deadline_at <= now:
        reply.begin_stale(at=now)
        log.warning("The answer to %s came after its deadline and does not leave", record)
    else:
        reply.begin_waiting(at=now)
    alias = router.db_for_write(Reply)
    reply.save(using=alias, force_insert=True)
    if reply.is_waiting:
        queueing.ring_after_commit(queueing.SEND_REPLY, reply.pk, using=alias)
    return reply


def _key(event_or_record: Event | WebhookEvent | int) -> int | None:
    if isinstance(event_or_record, Event):
        return event_or_record.record
    return event_or_record.pk if isinstance(event_or_record, WebhookEvent) else event_or_record


def _tell_handled(record: WebhookEvent) -> None:
    tell(event_handled, event_of(record), restaurant=record.restaurant, record=record)


def _require_fitting(record: WebhookEvent, answer: answers.Answer | DomainError) -> None:
    if isinstance(answer, DomainError):
        return
    question = QUESTIONS[CLASSES.get(record.name, OtherEvent)]
    if isinstance(answer, answers.Later) or not question.fits(answer):
        raise WrongAnswer(f"{record.name} wants {question.wanted}, not {type(answer).__name__}")


def _kept(record: WebhookEvent, answer: answers.Answer | DomainError) -> Kept:
    """Have an answer kept that Qerko will hear; what comes too late changes nothing, because Qerko never will."""
    if timezone.now() < record.deadline_at:
        return desk.bookkeeper(record, answer)
    return Desk.bookkeeper(record, answer)


def _written(said: answers.Answer | DomainError) -> tuple[int, bytes]:
    if isinstance(said, DomainError):
        return 422, answers.write_error(said.code, said.message)
    return 200, answers.write(said)

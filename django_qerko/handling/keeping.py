"""Have a claimed record handled in one transaction, and keep what came of it."""

from __future__ import annotations

import logging
import time
import traceback
from asyncio import CancelledError
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn
from uuid import UUID

from django.db import OperationalError, transaction
from django.utils import timezone

from django_qerko import answers, queueing
from django_qerko.conf import conf
from django_qerko.events import Event
from django_qerko.exceptions import Busy, ClaimLost, DomainError, NobodyAnswered, TooLate
from django_qerko.handling import bookkeeping
from django_qerko.handling.booking import Booking
from django_qerko.handling.dispatch import ask
from django_qerko.handling.storing import storable
from django_qerko.models import Reply, WebhookEvent
from django_qerko.models.about import event_of
from django_qerko.models.reply import ReplyQuerySet
from django_qerko.replying import outbox, retrying
from django_qerko.replying.telling import tell
from django_qerko.signals import event_failed, event_handled

log: Final = logging.getLogger(__name__)

#: A deadlock, or a transaction that cannot be serialized: PostgreSQL's states, MySQL's and MariaDB's numbers.
_GIVEN_UP: Final = frozenset({"40P01", "40001", 1213, 1020})
#: How often a handling is begun that the database gives up.
_TRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    status: int
    answer: bytes
    error: str = ""


def handle(record: WebhookEvent, event: Event) -> WebhookEvent:
    """Handle a record that is claimed by this object, in one transaction, and give it as it then is.

    Raises Busy where the claim was lost in between, and TooLate where a question's deadline passed meanwhile: what
    was written is undone.
    """
    event, claim = event.recorded_as(record.pk), record.claim
    started, bookings = time.perf_counter(), list[Booking]()
    try:
        _in_one_transaction(record, event, started, bookings)
    except ClaimLost as lost:
        _give_up(record, claim, event, lost, _since(started))
    except (Exception, CancelledError) as error:
        # Asked of the table: the commit itself may have failed, or only what was to follow it.
        record.look_again()
        if not record.is_decided:
            return _fail(record, claim, event, error, _since(started))
        log.error("%s is kept, but what was to follow the commit broke", record, exc_info=error)
    for booking in bookings[-1:]:
        booking.tell()
    if record.is_handled:
        tell(event_handled, event, restaurant=record.restaurant, record=record)
    return record


def _in_one_transaction(record: WebhookEvent, event: Event, started: float, bookings: list[Booking]) -> None:
    """Everything that a handling writes; again where the database gave it up for another transaction's sake.

    Its booking is added to ``bookings`` before the commit, which a hook of the project's may break when it is done.
    Raises ClaimLost where somebody else took the record up meanwhile.
    """
    tries, claim = 1, record.claim
    while True:
        try:
            with transaction.atomic(using=record._state.db):
                asked_at = timezone.now()
                booking = bookkeeping.before(event, record.restaurant)
                _keep(record, event, _judge(record, event, booking, asked_at), booking, started)
                bookings.append(booking)
            return
        except OperationalError as error:
            if tries == _TRIES or not _is_given_up(error):
                raise
            log.warning("The handling of %s met another in the database, and is begun again: %s", record, error)
            record.look_again()
            if record.is_decided:
                raise  # it was committed, and a hook of the project's met another transaction after that
            if record.claim != claim:
                raise ClaimLost(f"{record} was taken up elsewhere before its handling could begin again.") from error
            tries += 1


def _is_given_up(error: OperationalError) -> bool:
    """Whether the database chose this transaction to end a deadlock, or could not serialize it."""
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    return state in _GIVEN_UP or (error.args[:1] or ("",))[0] in _GIVEN_UP


def keep_later(record: WebhookEvent, answer: answers.Answer | DomainError) -> outbox.Kept:
    """Keep an answer that comes after its handling, in the transaction that is open."""
    event = event_of(record)
    said, booking = bookkeeping.later(event, record.restaurant, answer, asked_at=record.received_at)
    return said, booking.tell


def is_late(event: Event, *, at: datetime, deadline_at: datetime) -> bool:
    """Whether the event is a question that nobody waits for any more (protocol section 3, A)."""
    return event.is_question and at >= deadline_at


def _judge(record: WebhookEvent, event: Event, booking: Booking, asked_at: datetime) -> _Said | None:
    """Have the event handled; a refusal undoes what the handlers wrote, and nothing else. ``None``: they said LATER."""
    if booking.own is not None:
        return _said(booking.own)
    try:
        with transaction.atomic(using=record._state.db):
            answer = ask(event, restaurant=record.restaurant, fallback=booking.fallback, **booking.rows)
    except NobodyAnswered:
        raise
    except DomainError as refusal:
        bookkeeping.refused(event, booking, refusal)
        return _said(booking.verdict) if booking.verdict else _refused(event, refusal)
    if isinstance(answer, answers.Later) and event.is_question:
        return None
    return _said(_booked(record, event, booking, answer, asked_at))


def _booked(
    record: WebhookEvent,
    event: Event,
    booking: Booking,
    answer: answers.Answer | answers.Later | DomainError,
    asked_at: datetime,
) -> answers.Answer | DomainError:
    """What Qerko hears: the books have the last word."""
    if booking.verdict is not None:
        return booking.verdict
    if isinstance(answer, DomainError):
        return answer
    if isinstance(answer, answers.Later):
        # What has happened needs no answer, so there is none to wait for.
        answer = answers.NOTHING
    try:
        return bookkeeping.after(event, record.restaurant, booking, answer, asked_at=asked_at)
    except DomainError as refusal:
        return refusal


def _said(answer: answers.Answer | DomainError) -> _Said:
    if isinstance(answer, DomainError):
        error = storable(f"{type(answer).__name__}: {answer}")
        return _Said(status=422, answer=answers.write_error(answer.code, answer.message), error=error)
    return _Said(status=200, answer=answers.write(answer))


def _refused(event: Event, refusal: DomainError) -> _Said:
    said = _said(refusal)
    if event.is_question:
        return said
    # What has happened cannot be refused: it is recorded, and Qerko hears nothing of it.
    log.warning("A handler refused %s, which tells what has happened: %s", event.name, said.error)
    return _Said(status=200, answer=answers.write(answers.NOTHING), error=said.error)


def _keep(record: WebhookEvent, event: Event, said: _Said | None, booking: Booking, started: float) -> None:
    """Keep what the handlers said, in their transaction; raises ClaimLost where it took too long."""
    now, duration = timezone.now(), _since(started)
    promised = record.is_promised
    if promised:
        record.look_at_deadline()  # another delivery may have opened a new one
    late = is_late(event, at=now, deadline_at=record.deadline_at)
    if said is None:
        kept = not late and _postpone(record, event, booking, now, duration)
    else:
        kept = not late and record.finish(
            status=said.status,
            answer=said.answer,
            error=said.error,
            at=now,
            duration=duration,
            next_handling_at=now if booking.wants_news else None,
        )
        if kept and booking.wants_news:
            queueing.ring_after_commit(queueing.ASK_ABOUT_EVENT, record.pk, using=str(record._state.db))
        if kept and promised:
            if record.handlings > 1:
                _replies(record).supersede(now)
            outbox.store(record, said.answer, is_error=said.status != 200)
    if not kept:
        raise ClaimLost(f"The handling of {record} took {duration.total_seconds():.1f} s, and its claim ran out.")


def _postpone(record: WebhookEvent, event: Event, booking: Booking, at: datetime, duration: timedelta) -> bool:
    """A handler said LATER; where it, or somebody else, replied during this handling, that is the answer.

    A refusal of somebody else's could not see what this handling has booked.
    """
    if not record.postpone(at=at, duration=duration):
        return False
    first = _replies(record).filter(created_at__gte=at - duration).order_by("pk").first()
    if first is not None:
        if first.is_error:
            bookkeeping.refused(event, booking, answers.read_error(bytes(first.answer)))
        record.finish_postponed(status=422 if first.is_error else 200, answer=bytes(first.answer), at=at)
    return True


def _replies(record: WebhookEvent) -> ReplyQuerySet:
    """Read where they are written."""
    return Reply.objects.using(record._state.db).filter(event=record)


def _give_up(record: WebhookEvent, claim: UUID | None, event: Event, lost: ClaimLost, duration: timedelta) -> NoReturn:
    log.error("%s What its handler wrote is undone.", lost)
    if event.is_question and record.claim == claim and record.expire(at=timezone.now(), duration=duration):
        _tell_failed(record, event, lost)
        raise TooLate from lost
    raise Busy(f"{record} was taken up elsewhere") from lost


def _fail(
    record: WebhookEvent, claim: UUID | None, event: Event, error: BaseException, duration: timedelta
) -> WebhookEvent:
    if isinstance(error, NobodyAnswered):
        said = _Said(status=422, answer=answers.write_error(error.code, error.message), error=str(error))
    else:
        log.error("The handling of %s broke", record, exc_info=error)
        message = "The event could not be handled."
        said = _Said(status=500, answer=answers.write_error(None, message), error=_trace(error))
    if record.claim != claim or not _keep_failure(record, event, said, duration):
        raise Busy(f"{record} was taken up elsewhere") from error
    _tell_failed(record, event, error)
    return record


def _keep_failure(record: WebhookEvent, event: Event, said: _Said, duration: timedelta) -> bool:
    """Keep a failure and, where 202 was said, have Qerko hear of it at once, so that it need not wait."""
    now, promised = timezone.now(), record.is_promised
    with transaction.atomic(using=record._state.db):
        kept = record.fail(
            status=said.status,
            answer=said.answer,
            error=said.error,
            at=now,
            duration=duration,
            next_handling_at=_next_handling(record, event, now),
        )
        # A tell that breaks again is no news to Qerko.
        heard = not event.is_question and _replies(record).filter(created_at__gte=record.promised_at or now).exists()
        if kept and promised and not heard:
            outbox.store(record, said.answer, is_error=True)
    return kept


def _next_handling(record: WebhookEvent, event: Event, now: datetime) -> datetime | None:
    """A tell is handled again, because Qerko will not say it twice and money hangs on it."""
    if event.is_question:
        return None
    moment = now + retrying.pause_before_handling(record.handlings)
    if moment <= record.received_at + conf.RETRY_TELLS:
        return moment
    log.error("%s failed %d times, and is not handled again by itself: a person must look", record, record.handlings)
    return None


def _tell_failed(record: WebhookEvent, event: Event, error: BaseException) -> None:
    tell(event_failed, event, restaurant=record.restaurant, record=record, error=error)


def _trace(error: BaseException) -> str:
    return storable("".join(traceback.format_exception(error)))


def _since(started: float) -> timedelta:
    return timedelta(seconds=time.perf_counter() - started)

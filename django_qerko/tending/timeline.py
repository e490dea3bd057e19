"""What became of an event, moment by moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from django.utils import timezone

from django_qerko.models import Attempt, Payment, PaymentStep, Reply, WebhookEvent
from django_qerko.tending import legible

_UNITS: Final = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("min", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
)


class Moment(NamedTuple):
    """When something happened to an event, a reply to it or its payment, or will, and what; in one line to read."""

    at: datetime
    what: str


def moments(record: WebhookEvent, payment: Payment | None = None) -> list[Moment]:
    """The moments of an event's life that are kept, in their order, those of its payment among them.

    ``with_replies`` brings what is read for it, and ``payment_of`` the payment.
    """
    told = [*_kept(record), *(() if payment is None else _of_payment(payment, record))]
    return sorted(told, key=attrgetter("at"))


def payment_of(record: WebhookEvent) -> Payment | None:
    """The payment that an event is about, with its history; ``None`` where none began."""
    if record.payment_id is None:
        return None
    return Payment.objects.in_brief().with_history().known(record.restaurant, record.payment_id)


def when(moment: datetime | None) -> str:
    """A moment as a person reads it, in the project's time zone, to the millisecond."""
    if moment is None:
        return ""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return local.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def spelled(span: timedelta) -> str:
    """A span as people say it: of the units below, the largest that it holds twice, or milliseconds."""
    name, unit = next((unit for unit in _UNITS if span >= 2 * unit[1]), ("ms", timedelta(milliseconds=1)))
    return f"{span / unit:.1f} {name}"


def tried(attempt: Attempt) -> str:
    """One attempt: what became of it, how soon, and why."""
    status = "" if attempt.status is None else f", {attempt.status}"
    outcome = f"{attempt.get_outcome_display().lower()}{status}, after {spelled(attempt.duration)}"
    return f"attempt {attempt.number}: {outcome}{_because(attempt.reason)}"


def stepped(step: PaymentStep) -> str:
    """Into which state a payment came; the first step is told as what it was."""
    if step.before:
        return step.state
    return "refused" if step.state == Payment.State.CANCELLED else step.state


def _kept(record: WebhookEvent) -> Iterator[Moment]:
    yield Moment(record.received_at, "received")
    if record.promised_at:
        yield Moment(record.promised_at, "202 said")
    yield Moment(record.deadline_at, "deadline")
    if record.claimed_until:
        yield Moment(record.claimed_until, "the claim of whoever handles it runs out")
    if record.finished_at:
        yield Moment(record.finished_at, "".join(_end(record)))
    if record.next_handling_at:
        # What is handled is not handled again: Qerko called a payment paid that never started here.
        what = "Qerko is asked about the payment" if record.is_handled else "it is handled again"
        yield Moment(record.next_handling_at, what)
    for reply in record.replies.all():
        yield from _of_reply(reply, record)


def _end(record: WebhookEvent) -> Iterator[str]:
    yield record.get_state_display().lower()
    # After a 202 the answer leaves in a reply.
    if record.status and record.promised_at is None:
        yield f", answered {record.status}"
    if record.duration is not None:
        yield f", after {spelled(record.duration)}"
    if record.handlings > 1:
        yield f", at the {record.handlings}. handling"


def _of_reply(reply: Reply, record: WebhookEvent) -> Iterator[Moment]:
    name = f"reply {reply.pk}"
    yield Moment(reply.created_at, f"{name} stored, an error" if reply.is_error else f"{name} stored")
    for attempt in reply.attempts.all():
        yield Moment(attempt.started_at, f"{name}, {tried(attempt)}")
    if reply.deadline_at != record.deadline_at:
        yield Moment(reply.deadline_at, f"deadline of {name}")
    if reply.claimed_until:
        yield Moment(reply.claimed_until, f"the claim of whoever sends {name} runs out")
    elif reply.next_attempt_at:
        yield Moment(reply.next_attempt_at, f"the next attempt at {name} is due")
    if reply.finished_at:
        yield Moment(reply.finished_at, f"{name} {reply.get_state_display().lower()}{_because(reply.reason)}")


def _of_payment(payment: Payment, record: WebhookEvent) -> Iterator[Moment]:
    for step in payment.steps.all():
        yield Moment(step.at, f"payment {stepped(step)}, {_caused(step, record)}{_because(step.reason)}")
    if payment.newer_start_at:
        yield Moment(payment.newer_start_at, "another payment wanted to begin on its bill")
    if payment.next_question_at:
        yield Moment(payment.next_question_at, f"Qerko is asked about the payment, the {payment.questions + 1}. time")


def _caused(step: PaymentStep, record: WebhookEvent) -> str:
    if step.event is None:
        return "by no event"
    return "by this event" if step.event == record else legible.line(f"by {step.event.name}, record {step.event.pk}")


def _because(reason: str) -> str:
    return f": {legible.line(reason)}" if reason else ""

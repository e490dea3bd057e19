"""Count and measure, for ``qerko_stats``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

from django.db.models import Count, Min, QuerySet

from django_qerko.conf import conf
from django_qerko.models import Payment, Rejection, Reply, WebhookEvent
from django_qerko.models.event import WebhookEventQuerySet
from django_qerko.models.payment import PaymentQuerySet
from django_qerko.models.reply import ReplyQuerySet

#: Handlings and replies that are measured at most, the newest ones: enough for a 99th percentile, and soon read.
MEASURED: Final = 10_000


class Counts(TypedDict):
    """How much there is of everything, by state or reason."""

    events: dict[str, int]
    asked_ends: dict[str, int]
    replies: dict[str, int]
    payments: dict[str, int]
    rejected_deliveries: dict[str, int]


class Durations(TypedDict):
    """How long something took, in milliseconds; ``None`` where none was measured."""

    measured: int
    median: float | None
    p95: float | None
    p99: float | None


class Measures(TypedDict):
    """How the app is doing.

    ``backlog`` is what did not come to an end yet, events and replies, and ``oldest_waiting`` since when, in seconds.
    ``handling_ms`` is how long handlings take, ``reply_ms`` how long after 202 was said the reply arrives.
    ``overdue_payments`` are in progress for longer than ``RECONCILE_AFTER``, ``alarms`` how many payments a person must
    look at.
    """

    backlog: int
    oldest_waiting: float | None
    handling_ms: Durations
    reply_ms: Durations
    overdue_payments: int
    alarms: int


def count(*, since: datetime | None = None) -> Counts:
    """Count what was received since a moment, or ever: events, the replies to them, and payments that began.

    ``asked_ends`` are ends of payments that we asked Qerko for and entered ourselves: nobody delivered them.

    What was turned away is counted by the hour, so the hour in which ``since`` lies counts whole.
    """
    rejections = Rejection.objects.all() if since is None else Rejection.objects.since(since)
    events = _by_state(_received(since).delivered(), WebhookEvent.State.values)
    return {
        "events": events | {"total": sum(events.values())},
        "asked_ends": _by_state(_received(since).asked_for(), WebhookEvent.State.values),
        "replies": _by_state(_replies(since), Reply.State.values),
        "payments": _by_state(_payments(since), Payment.State.values),
        "rejected_deliveries": rejections.by_reason(),
    }


def measure(*, now: datetime, since: datetime | None = None) -> Measures:
    """Measure what is in progress now; and the newest handlings and replies, and alarms, since a moment, or ever."""
    events = WebhookEvent.objects.in_progress().aggregate(number=Count("pk"), since=Min("received_at"))
    replies = Reply.objects.waiting().aggregate(number=Count("pk"), since=Min("created_at"))
    waiting = [kind["since"] for kind in (events, replies) if kind["since"] is not None]
    return {
        "backlog": events["number"] + replies["number"],
        "oldest_waiting": (now - min(waiting)).total_seconds() if waiting else None,
        "handling_ms": _durations(_received(since).durations(MEASURED)),
        "reply_ms": _durations(_replies(since).delays(MEASURED)),
        "overdue_payments": Payment.objects.in_progress().begun_before(now - conf.RECONCILE_AFTER).count(),
        "alarms": _payments(since).alarming().count(),
    }


def percentile(ordered: Sequence[timedelta], share: float) -> float | None:
    """The span that ``share`` of them does not exceed (nearest rank), in milliseconds; ``None`` of none."""
    if not ordered:
        return None
    rank = max(math.ceil(share * len(ordered)), 1)
    return ordered[rank - 1] / timedelta(milliseconds=1)


def _durations(spans: Sequence[timedelta]) -> Durations:
    ordered = sorted(spans)
    return {
        "measured": len(ordered),
        "median": percentile(ordered, 0.5),
        "p95": percentile(ordered, 0.95),
        "p99": percentile(ordered, 0.99),
    }


def _by_state(rows: QuerySet[Any], states: Sequence[str]) -> dict[str, int]:
    """How many of these rows are in each state."""
    counted = dict(rows.order_by().values_list("state").annotate(number=Count("pk")))
    return {state: counted.get(state, 0) for state in states}


def _received(since: datetime | None) -> WebhookEventQuerySet:
    records = WebhookEvent.objects.all()
    return records if since is None else records.received_since(since)


def _replies(since: datetime | None) -> ReplyQuerySet:
    replies = Reply.objects.all()
    return replies if since is None else replies.to_events_since(since)


def _payments(since: datetime | None) -> PaymentQuerySet:
    payments = Payment.objects.all()
    return payments if since is None else payments.begun_since(since)

"""Read the book: what Qerko said, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.management.base import CommandParser
from django.db.models import Prefetch

from django_qerko.management import arguments
from django_qerko.management.printing import PrintingCommand, iso, widened
from django_qerko.models import Reply, WebhookEvent
from django_qerko.models.event import WebhookEventQuerySet
from django_qerko.tending.timeline import spelled, when

#: What is read at a glance.
_GLANCE: Final = 50
#: While it follows, it looks once a second, and again at this many of the newest records: their states change, and
#: a row may become visible after one that was entered later.
LOOKED_BACK: Final = 200

HEADINGS: Final = (
    *("received", "state", "status", "took", "replies"),
    *("event", "record", "id", "restaurant", "bill", "payment"),
)
#: At least; what comes while it follows is not known when the headings are printed.
_WIDTHS: Final = (23, 8, 6, 9, 9, 19, 7, 36, 16, 12, 0)
#: Replies are found by the ids of so many events; a database takes no statement with a million.
_READ_AT_ONCE: Final = 1000
_STYLES: Final = {"handled": "green", "failed": "red", "stale": "yellow"}


class Command(PrintingCommand):
    help = "Show the newest events, oldest first."
    requires_system_checks = ()

    #: How it waits while it follows.
    pause: Callable[[float], None] = staticmethod(time.sleep)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--restaurant", metavar="NAME", help="of this restaurant only")
        parser.add_argument("--event", metavar="NAME", help="of this event only, in Qerko's words: getBill")
        parser.add_argument("--state", choices=WebhookEvent.State.values)
        parser.add_argument("--since", metavar="WHEN", type=arguments.moment, help="15m, 2h, 1d, or a time in ISO 8601")
        parser.add_argument("--bill", metavar="ID", help="about this bill only")
        parser.add_argument("--payment", metavar="ID", help="about this payment only")
        parser.add_argument(
            "--limit",
            metavar="N",
            type=arguments.positive,
            help=f"at most so many ({_GLANCE}; with --json all, unless it follows)",
        )
        parser.add_argument("--follow", action="store_true", help="go on with what comes, until interrupted")
        parser.add_argument("--json", action="store_true", help="print one object per line")

    def handle(self, *, limit: int | None, follow: bool, json: bool, **chosen: Any) -> None:
        replies = Prefetch("replies", Reply.objects.defer("answer").order_by("pk"))
        book = _chosen(**chosen).in_brief().prefetch_related(replies)
        if json and limit is None and not follow:
            self._print(book.reverse().iterator(_READ_AT_ONCE), json=json)
            return
        shown = limit or _GLANCE
        newest = list(book[: max(shown + 1, LOOKED_BACK)].iterator(_READ_AT_ONCE))
        newest.reverse()
        self._widths = widened(_WIDTHS, map(_cells, newest[-shown:]))
        if not json:
            self.print_rows([HEADINGS], widths=self._widths, style="bold")
        self._print(newest[-shown:], json=json)
        if follow:
            with suppress(KeyboardInterrupt):
                self._follow(book, {record.pk: _phase(record) for record in newest}, json=json)
        elif not newest and not json:
            self.stderr.write("No events.", str)
        elif limit is None and len(newest) > shown:
            self.stderr.write(f"These are the newest {shown}; --limit N shows more.", str)

    def _follow(self, book: WebhookEventQuerySet, told: dict[int, Any], *, json: bool) -> None:
        while True:
            self.stdout.flush()
            self.pause(1.0)
            since = max(told, default=0) - LOOKED_BACK
            told = {record: phase for record, phase in told.items() if record > since}
            fresh = book.entered_after(since).order_by("pk")
            news = [record for record in fresh if told.get(record.pk) != _phase(record)]
            self._print(news, json=json)
            told |= {record.pk: _phase(record) for record in news}

    def _print(self, records: Iterable[WebhookEvent], *, json: bool) -> None:
        for record in records:
            if json:
                self.print_json(_members(record))
            else:
                self.print_rows([_cells(record)], widths=self._widths, style=_STYLES.get(record.state, ""))


def _chosen(
    *,
    restaurant: str | None,
    event: str | None,
    state: str | None,
    since: datetime | None,
    bill: str | None,
    payment: str | None,
    **_: Any,
) -> WebhookEventQuerySet:
    book = WebhookEvent.objects.all()
    book = book if restaurant is None else book.of_restaurant(arguments.restaurant(restaurant).name)
    book = book if event is None else book.named(event)
    book = book if state is None else book.in_state(state)
    book = book if since is None else book.received_since(since)
    book = book if bill is None else book.about_bill(bill)
    return book if payment is None else book.about_payment(payment)


def _phase(record: WebhookEvent) -> tuple[str, int, tuple[str, ...]]:
    return record.state, record.handlings, _told(record)


def _told(record: WebhookEvent) -> tuple[str, ...]:
    """The states of its replies, in the order in which they were stored."""
    return tuple(reply.state for reply in record.replies.all())


def _cells(record: WebhookEvent) -> tuple[object, ...]:
    took = "" if record.duration is None else spelled(record.duration)
    became = (when(record.received_at), record.state, record.status, took, ", ".join(_told(record)))
    return *became, record.name, record.pk, record.event_id, record.restaurant, record.bill_id, record.payment_id


def _members(record: WebhookEvent) -> dict[str, Any]:
    return {
        "record": record.pk,
        "id": record.event_id,
        "event": record.name,
        "restaurant": record.restaurant.name,
        "state": record.state,
        "status": record.status,
        "received_at": iso(record.received_at),
        "deadline_at": iso(record.deadline_at),
        "finished_at": iso(record.finished_at),
        "duration_ms": None if record.duration is None else record.duration / timedelta(milliseconds=1),
        "handlings": record.handlings,
        "promised_at": iso(record.promised_at),
        "replies": list(_told(record)),
        "bill_id": record.bill_id,
        "payment_id": record.payment_id,
    }

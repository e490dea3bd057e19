"""Say how the app is doing, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from django_qerko.conf import conf
from django_qerko.management import arguments
from django_qerko.management.printing import PrintingCommand
from django_qerko.tending import figures
from django_qerko.tending.timeline import spelled


class Command(PrintingCommand):
    help = (
        "Count events, replies, payments and rejected deliveries; measure the backlog, handlings and replies; "
        "say how many payments take too long, and how many a person must look at."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", metavar="WHEN", type=arguments.moment, help="15m, 2h, 1d, or a time in ISO 8601")
        parser.add_argument("--json", action="store_true", help="print one object")

    def handle(self, *, since: datetime | None, json: bool, **_: Any) -> None:
        counts, measures = figures.count(since=since), figures.measure(now=timezone.now(), since=since)
        if json:
            self.print_json({**counts, **measures})
        else:
            self.print_table(("what", "which", "number"), [*_counted(counts), *_measured(measures)])


def _counted(counts: figures.Counts) -> Iterator[tuple[object, ...]]:
    for what in ("events", "asked_ends", "replies", "payments", "rejected_deliveries"):
        for which, number in counts[what].items():
            yield what.replace("_", " "), which, number


def _measured(measures: figures.Measures) -> Iterator[tuple[object, ...]]:
    yield "backlog", "", measures["backlog"]
    oldest = measures["oldest_waiting"]
    yield "oldest waiting", "", "nothing waits" if oldest is None else spelled(timedelta(seconds=oldest))
    yield "payments", f"in progress for longer than {spelled(conf.RECONCILE_AFTER)}", measures["overdue_payments"]
    yield "payments", "with an alarm", measures["alarms"]
    yield from _percentiles("handling", measures["handling_ms"])
    yield from _percentiles("from 202 to delivered", measures["reply_ms"])


def _percentiles(what: str, durations: figures.Durations) -> Iterator[tuple[object, ...]]:
    for which in ("median", "p95", "p99"):
        span = durations[which]
        yield what, which, "none measured" if span is None else spelled(timedelta(milliseconds=span))

"""The numbers of the app, for people and for programs."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from django_qerko.models import Restaurant
from django_qerko.tending import figures
from tests.commands import run
from tests.records import NOON, begin, enter, store


def test_a_program_gets_one_object(restaurant: Restaurant) -> None:
    enter(restaurant)
    enter(restaurant, state="received")
    begin(restaurant)

    stats = json.loads(run("qerko_stats", "--json"))

    assert {name: stats[name] for name in figures.count()} == figures.count()
    assert stats["events"]["total"] == 2
    assert stats["backlog"] == 1
    assert stats["oldest_waiting"] > 0
    assert stats["reply_ms"]["measured"] == 0
    assert (stats["overdue_payments"], stats["alarms"]) == (1, 0)
    assert stats["handling_ms"] == {"measured": 1, "median": 12.0, "p95": 12.0, "p99": 12.0}


def test_only_what_came_since_a_moment_counts(restaurant: Restaurant) -> None:
    enter(restaurant, received_at=timezone.now() - timedelta(hours=2))
    enter(restaurant, received_at=timezone.now())

    assert json.loads(run("qerko_stats", "--json", "--since", "1h"))["events"]["total"] == 1


def test_a_person_gets_a_table(restaurant: Restaurant) -> None:
    store(enter(restaurant, promised_at=NOON), state="delivered")
    begin(restaurant)
    begin(restaurant, state="paid", alarm="Money moved.")
    enter(restaurant, state="received", received_at=timezone.now())

    rows = [tuple(line.split("\t")) for line in run("qerko_stats").splitlines()]

    assert rows[0] == ("what", "which", "number")
    assert ("events", "handled", "1") in rows
    assert ("replies", "delivered", "1") in rows
    assert ("payments", "started", "1") in rows
    assert ("payments", "in progress for longer than 2.0 min", "1") in rows
    assert ("payments", "with an alarm", "1") in rows
    assert ("from 202 to delivered", "median", "2.0 s") in rows
    assert ("handling", "p99", "12.0 ms") in rows
    assert ("backlog", "", "1") in rows
    assert "events" in run("qerko_stats", terminal=True)


@pytest.mark.django_db
def test_an_empty_book_has_nothing_to_measure() -> None:
    rows = run("qerko_stats")

    assert "oldest waiting\t\tnothing waits\n" in rows
    assert "handling\tmedian\tnone measured\n" in rows
    assert "from 202 to delivered\tp99\tnone measured\n" in rows


def test_a_moment_that_is_none_is_refused() -> None:
    with pytest.raises(CommandError, match="15m"):
        run("qerko_stats", "--since", "soon")

"""What is counted and measured, on every database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from django_qerko.models import Rejection, Reply, Restaurant
from django_qerko.tending import figures
from tests.records import MILLISECOND, NOON, SECOND, begin, enter, store

HOUR = timedelta(hours=1)
NONE_MEASURED = {"measured": 0, "median": None, "p95": None, "p99": None}


def turn_away(reason: str, number: int, *, restaurant: Restaurant | None = None, ago: timedelta = 0 * HOUR) -> None:
    Rejection.objects.add(
        restaurant_id=restaurant.pk if restaurant else None,
        reason=reason,
        hour=NOON - ago,
        at=NOON - ago,
        number=number,
        samples=[],
    )


def arrive(restaurant: Restaurant, *, after: timedelta, **changes: Any) -> Reply:
    """A reply that arrived so long after 202 was said."""
    record = enter(restaurant, promised_at=NOON, **changes)
    return store(record, state="delivered", finished_at=NOON + after)


def test_an_empty_book_is_counted_as_noughts(db: None) -> None:
    assert figures.count() == {
        "events": {"received": 0, "handling": 0, "handled": 0, "failed": 0, "stale": 0, "total": 0},
        "asked_ends": {"received": 0, "handling": 0, "handled": 0, "failed": 0, "stale": 0},
        "replies": {"waiting": 0, "delivered": 0, "refused": 0, "stale": 0},
        "payments": {"started": 0, "processed": 0, "paid": 0, "cancelled": 0},
        "rejected_deliveries": {},
    }


def test_events_are_counted_by_state(restaurant: Restaurant) -> None:
    for state, number in {"received": 1, "handling": 2, "handled": 3, "failed": 1, "stale": 2}.items():
        for _ in range(number):
            enter(restaurant, state=state)

    assert figures.count()["events"] == {
        "received": 1,
        "handling": 2,
        "handled": 3,
        "failed": 1,
        "stale": 2,
        "total": 9,
    }


def test_an_end_that_was_asked_for_is_no_event_that_was_delivered(restaurant: Restaurant) -> None:
    enter(restaurant, event_id="asked-17", state="failed")
    enter(restaurant, event_id="17", state="handled")

    counted = figures.count()

    assert (counted["events"]["total"], counted["events"]["failed"], counted["events"]["handled"]) == (1, 0, 1)
    assert counted["asked_ends"] == {"received": 0, "handling": 0, "handled": 0, "failed": 1, "stale": 0}


def test_replies_are_counted_by_state(restaurant: Restaurant) -> None:
    for state, number in {"waiting": 1, "delivered": 3, "refused": 2, "stale": 1}.items():
        for _ in range(number):
            store(enter(restaurant), state=state)

    assert figures.count()["replies"] == {"waiting": 1, "delivered": 3, "refused": 2, "stale": 1}


def test_payments_are_counted_by_state(restaurant: Restaurant) -> None:
    for state, number in {"started": 1, "processed": 2, "paid": 3, "cancelled": 1}.items():
        for _ in range(number):
            begin(restaurant, state=state)

    assert figures.count()["payments"] == {"started": 1, "processed": 2, "paid": 3, "cancelled": 1}


def test_what_was_turned_away_is_counted_by_reason(restaurant: Restaurant) -> None:
    turn_away("expired", 2)
    turn_away("expired", 3, restaurant=restaurant)
    turn_away("expired", 4, restaurant=restaurant, ago=HOUR)
    turn_away("body_cut", 1)

    assert figures.count()["rejected_deliveries"] == {"body_cut": 1, "expired": 9}


def test_only_what_came_since_a_moment_is_counted(restaurant: Restaurant) -> None:
    store(enter(restaurant, received_at=NOON - HOUR))
    store(enter(restaurant, received_at=NOON))
    begin(restaurant, created_at=NOON - HOUR)
    begin(restaurant)
    turn_away("expired", 2, ago=HOUR)
    turn_away("expired", 3)

    counted = figures.count(since=NOON)

    assert counted["events"]["total"] == 1
    assert counted["replies"]["waiting"] == 1
    assert counted["payments"]["started"] == 1
    assert counted["rejected_deliveries"] == {"expired": 3}


def test_counting_takes_five_statements_and_measuring_six(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(5):
        figures.count()
    with django_assert_num_queries(6):
        figures.measure(now=NOON)


def test_an_empty_book_has_nothing_to_measure(db: None) -> None:
    assert figures.measure(now=NOON) == {
        "backlog": 0,
        "oldest_waiting": None,
        "handling_ms": NONE_MEASURED,
        "reply_ms": NONE_MEASURED,
        "overdue_payments": 0,
        "alarms": 0,
    }


def test_the_backlog_is_what_did_not_come_to_an_end(restaurant: Restaurant) -> None:
    enter(restaurant, state="received", received_at=NOON - timedelta(seconds=5))
    enter(restaurant, state="handling", received_at=NOON - timedelta(seconds=2))
    enter(restaurant, received_at=NOON - HOUR)

    measured = figures.measure(now=NOON, since=NOON)

    assert measured["backlog"] == 2
    assert measured["oldest_waiting"] == 5


def test_a_reply_that_did_not_leave_is_backlog_too(restaurant: Restaurant) -> None:
    record = enter(restaurant)
    store(record, created_at=NOON - 3 * SECOND)
    store(record, created_at=NOON - 2 * SECOND)
    store(record, state="delivered")

    measured = figures.measure(now=NOON)

    assert measured["backlog"] == 2
    assert measured["oldest_waiting"] == 3


def test_the_oldest_is_the_oldest_of_all(restaurant: Restaurant) -> None:
    store(enter(restaurant), created_at=NOON - 3 * SECOND)
    enter(restaurant, state="received", received_at=NOON - 7 * SECOND)

    assert figures.measure(now=NOON)["oldest_waiting"] == 7


def test_payments_in_progress_for_longer_than_qerko_is_given_are_overdue(
    restaurant: Restaurant, settings: Settings
) -> None:
    settings.QERKO = settings.QERKO | {"RECONCILE_AFTER": timedelta(minutes=5)}
    for state in ("started", "processed", "paid", "cancelled"):
        begin(restaurant, state=state, created_at=NOON - timedelta(minutes=6))
    begin(restaurant, created_at=NOON - timedelta(minutes=5))

    # What is in progress now counts, however long ago it began.
    assert figures.measure(now=NOON, since=NOON)["overdue_payments"] == 2


def test_payments_that_a_person_must_look_at_are_counted(restaurant: Restaurant) -> None:
    begin(restaurant)
    begin(restaurant, state="paid", alarm="Money moved.\nTwice.")
    begin(restaurant, state="paid", alarm="Money moved.", created_at=NOON - HOUR)

    assert figures.measure(now=NOON)["alarms"] == 2
    assert figures.measure(now=NOON, since=NOON)["alarms"] == 1


def test_handlings_are_measured_in_milliseconds(restaurant: Restaurant) -> None:
    for number in range(1, 101):
        enter(restaurant, duration=number * MILLISECOND)
    enter(restaurant, duration=HOUR, received_at=NOON - HOUR)
    enter(restaurant, state="stale")

    assert figures.measure(now=NOON, since=NOON)["handling_ms"] == {
        "measured": 100,
        "median": 50,
        "p95": 95,
        "p99": 99,
    }


def test_only_the_newest_handlings_are_measured(restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MEASURED", 2)
    for number in (1, 2, 3):
        enter(restaurant, duration=number * MILLISECOND)

    assert figures.measure(now=NOON)["handling_ms"]["measured"] == 2
    assert figures.measure(now=NOON)["handling_ms"]["median"] == 2


def test_replies_are_measured_from_202_to_their_arrival(restaurant: Restaurant) -> None:
    for number in range(1, 101):
        arrive(restaurant, after=number * MILLISECOND)
    arrive(restaurant, after=HOUR, received_at=NOON - HOUR)

    assert figures.measure(now=NOON, since=NOON)["reply_ms"] == {"measured": 100, "median": 50, "p95": 95, "p99": 99}


def test_of_several_replies_the_first_keeps_the_promise(restaurant: Restaurant) -> None:
    reply = arrive(restaurant, after=5 * MILLISECOND)
    store(reply.event, state="delivered", finished_at=NOON + HOUR)

    assert figures.measure(now=NOON)["reply_ms"] == {"measured": 1, "median": 5, "p95": 5, "p99": 5}


def test_what_was_not_delivered_or_not_promised_is_not_measured(restaurant: Restaurant) -> None:
    for state in ("waiting", "refused", "stale"):
        store(enter(restaurant, promised_at=NOON), state=state)
    store(enter(restaurant), state="delivered")
    # Its error was delivered; then it was delivered again, and promised anew.
    arrive(restaurant, after=-SECOND)

    assert figures.measure(now=NOON)["reply_ms"] == NONE_MEASURED


def test_only_the_newest_replies_are_measured(restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MEASURED", 2)
    for number in (1, 2, 3):
        arrive(restaurant, after=number * MILLISECOND)

    assert figures.measure(now=NOON)["reply_ms"] == {"measured": 2, "median": 2, "p95": 3, "p99": 3}


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0, 1))
def test_a_percentile_is_not_exceeded_by_its_share(numbers: list[int], share: float) -> None:
    spans = sorted(number * MILLISECOND for number in numbers)

    found = figures.percentile(spans, share)

    assert found in numbers
    assert sum(number <= found for number in numbers) >= share * len(numbers)

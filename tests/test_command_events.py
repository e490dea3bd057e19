"""The book is read: what was chosen, oldest first, and what comes while somebody follows."""

from __future__ import annotations

import io
import json
import re
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError
from pytest_django import DjangoAssertNumQueries, Settings

from django_qerko.management.commands import qerko_events
from django_qerko.models import Reply, Restaurant, WebhookEvent
from tests.commands import run, running
from tests.records import NOON, enter, store

HOUR = timedelta(hours=1)


def shown(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("qerko_events", "--json", *arguments).splitlines()]


def following(*happenings: Callable[[], object]) -> qerko_events.Command:
    """The command, while these things happen, one in each pause, and then somebody interrupts."""
    waiting = list(happenings)

    def pause(_: float) -> None:
        if not waiting:
            raise KeyboardInterrupt
        waiting.pop(0)()

    command = qerko_events.Command()
    command.pause = pause
    return command


def followed(*happenings: Callable[[], object], arguments: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Id and state of what is shown meanwhile."""
    lines = run(following(*happenings), "--json", "--follow", *arguments).splitlines()
    return [(record["id"], record["state"]) for record in map(json.loads, lines)]


def test_events_are_shown_oldest_first(restaurant: Restaurant, settings: Settings) -> None:
    settings.TIME_ZONE = "UTC"
    first = enter(restaurant, event_id="a", bill_id="42")
    second = enter(restaurant, "paymentStart", event_id="b", state="received", payment_id="p1")
    store(first, state="refused")
    store(first, state="delivered")

    lines = [line.split("\t") for line in run("qerko_events").splitlines()]

    name, noon = restaurant.name, "2026-11-24 12:00:00.000"
    assert lines == [
        list(qerko_events.HEADINGS),
        [noon, "handled", "200", "12.0 ms", "refused, delivered", "getBill", str(first.pk), "a", name, "42", ""],
        [noon, "received", "", "", "", "paymentStart", str(second.pk), "b", name, "", "p1"],
    ]


def under_headings(printed: str, *names: str) -> list[tuple[str, ...]]:
    """What begins in each line where these columns begin in the first."""
    heading, *lines = re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines()
    begins = [heading.index(f" {name}") + 1 for name in names]
    return [tuple(line[begin:].split("  ")[0] for begin in begins) for line in lines]


def test_a_person_finds_each_cell_under_its_heading(restaurant: Restaurant) -> None:
    uuid = "5f0c1f6e-4d53-4a3e-8a2f-1d9c8b470b2f"
    enter(restaurant, payment_id="p1")
    enter(restaurant, bill_id="42")
    enter(restaurant, bill_id=uuid, payment_id="p1")

    printed = run("qerko_events", terminal=True)

    assert under_headings(printed, "restaurant", "bill", "payment") == [
        (restaurant.name, "", "p1"),
        (restaurant.name, "42", ""),
        (restaurant.name, uuid, "p1"),
    ]


def test_what_is_longer_than_an_id_moves_its_own_line_only(restaurant: Restaurant) -> None:
    enter(Restaurant.objects.create(name="x" * 200), payment_id="p1")
    enter(restaurant, payment_id="p2")

    printed = run("qerko_events", terminal=True)

    assert under_headings(printed, "payment")[1] == ("p2",)
    assert f"{'x' * 200}  " in printed


def test_what_comes_while_a_person_follows_stands_under_the_headings(restaurant: Restaurant) -> None:
    command = following(lambda: enter(restaurant, payment_id="p1"), lambda: enter(restaurant, bill_id="42"))

    printed = run(command, "--follow", terminal=True)

    assert under_headings(printed, "restaurant", "bill", "payment") == [
        (restaurant.name, "", "p1"),
        (restaurant.name, "42", ""),
    ]


def test_a_program_gets_one_object_per_line(restaurant: Restaurant) -> None:
    record = enter(restaurant, event_id="a", bill_id="42", promised_at=NOON)
    store(record, state="delivered")

    assert shown() == [
        {
            "record": record.pk,
            "id": "a",
            "event": "getBill",
            "restaurant": restaurant.name,
            "state": "handled",
            "status": 200,
            "received_at": "2026-11-24T12:00:00+00:00",
            "deadline_at": "2026-11-24T12:00:15+00:00",
            "finished_at": "2026-11-24T12:00:00.020000+00:00",
            "duration_ms": 12.0,
            "handlings": 1,
            "promised_at": "2026-11-24T12:00:00+00:00",
            "replies": ["delivered"],
            "bill_id": "42",
            "payment_id": None,
        }
    ]


def test_what_is_not_finished_has_no_end(restaurant: Restaurant) -> None:
    enter(restaurant, state="received")

    (record,) = shown()

    assert record["finished_at"] is record["duration_ms"] is record["status"] is record["promised_at"] is None
    assert record["replies"] == []


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ((), ["old", "other", "bill", "payment", "failed"]),
        (("--limit", "2"), ["payment", "failed"]),
        (("--restaurant", "U Fleků"), ["other"]),
        (("--event", "paymentStart"), ["payment"]),
        (("--state", "failed"), ["failed"]),
        (("--since", "2026-11-24T12:00:00+00:00"), ["other", "bill", "payment", "failed"]),
        (("--since", "1s"), []),
        (("--bill", "42"), ["bill", "payment"]),
        (("--bill", "42", "--payment", "p1"), ["payment"]),
        (("--bill", "nobody's"), []),
    ],
    ids=str,
)
def test_events_are_chosen(restaurant: Restaurant, arguments: tuple[str, ...], ids: list[str]) -> None:
    enter(restaurant, event_id="old", received_at=NOON - HOUR)
    enter(Restaurant.objects.create(name="U Fleků"), event_id="other")
    enter(restaurant, event_id="bill", bill_id="42")
    enter(restaurant, "paymentStart", event_id="payment", bill_id="42", payment_id="p1")
    enter(restaurant, event_id="failed", state="failed")

    assert [record["id"] for record in shown(*arguments)] == ids


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--state", "lost"), "invalid choice"),
        (("--since", "soon"), "ISO 8601"),
        (("--limit", "0"), "above zero"),
        (("--restaurant", "Nobody"), "There is no restaurant Nobody; qerko_restaurant list shows all"),
    ],
    ids=str,
)
def test_what_cannot_be_chosen_is_said(db: None, arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run("qerko_events", *arguments)


@pytest.mark.parametrize(("arguments", "said"), [((), "No events.\n"), (("--json",), "")], ids=str)
def test_a_person_hears_that_there_is_nothing(restaurant: Restaurant, arguments: tuple[str, ...], said: str) -> None:
    enter(restaurant, event_id="paid", state="handled")
    errors = io.StringIO()

    shown = run("qerko_events", "--event", "getBil", *arguments, stderr=errors)

    assert errors.getvalue() == said
    assert "paid" not in shown
    assert bool(shown) is bool(said), "columns have their headings, a program gets nothing"


@pytest.mark.parametrize(
    ("arguments", "count", "said"),
    [
        ((), 50, "These are the newest 50; --limit N shows more.\n"),
        (("--limit", "50"), 50, ""),
        (("--limit", "220"), 220, ""),
        (("--json",), 230, ""),
        (("--json", "--limit", "50"), 50, ""),
        (("--event", "paymentStart"), 50, ""),
    ],
    ids=str,
)
def test_a_person_gets_the_newest_and_hears_of_more_and_a_program_gets_all(
    restaurant: Restaurant, arguments: tuple[str, ...], count: int, said: str
) -> None:
    for number in range(230):
        enter(restaurant, "getBill" if number < 180 else "paymentStart", event_id=str(number))
    errors = io.StringIO()

    lines = run("qerko_events", *arguments, stderr=errors).splitlines()

    shown = [json.loads(line)["id"] for line in lines] if "--json" in arguments else lines[1:]
    assert len(shown) == count
    assert "229" in shown[-1]
    assert errors.getvalue() == said


def test_a_program_that_follows_begins_with_the_newest(restaurant: Restaurant) -> None:
    for number in range(60):
        enter(restaurant, event_id=str(number))

    assert followed() == [(str(number), "handled") for number in range(10, 60)]


def test_all_of_the_book_is_never_in_memory_at_once(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(qerko_events, "_READ_AT_ONCE", 2)
    for number in range(5):
        enter(restaurant, event_id=str(number))

    with django_assert_num_queries(4):
        assert [record["id"] for record in shown()] == ["0", "1", "2", "3", "4"]


def test_the_book_is_read_in_two_statements_without_what_is_large(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    store(enter(restaurant))
    store(enter(Restaurant.objects.create(name="U Fleků")))

    with django_assert_num_queries(2) as statements:
        run("qerko_events")

    assert not any(large in query["sql"] for query in statements.captured_queries for large in ("payload", "answer"))


def test_a_stranger_neither_marks_up_nor_commands_a_terminal(restaurant: Restaurant) -> None:
    enter(restaurant, "[bold]x[/bold]\x1b[2J", event_id="\u202e\x9b" + "long" * 30, state="failed")

    written = run("qerko_events", terminal=True)

    assert "[bold]x[/bold]\\x1b[2J" in written
    assert "\\u202e\\x9b" + "long" * 30 in written
    assert len(written.splitlines()) == 2


def test_who_follows_sees_what_comes_and_what_changes(restaurant: Restaurant) -> None:
    enter(restaurant, event_id="before")
    later: list[WebhookEvent] = []

    def change() -> None:
        record = later.pop()
        record.mark_stale(at=record.deadline_at)

    assert followed(
        lambda: later.append(enter(restaurant, event_id="later", state="received")),
        lambda: None,
        change,
    ) == [("before", "handled"), ("later", "received"), ("later", "stale")]


def test_who_follows_sees_what_becomes_of_a_reply(restaurant: Restaurant) -> None:
    record = enter(restaurant, event_id="a")
    made: list[Reply] = []

    assert (
        followed(
            lambda: made.append(store(record)),
            lambda: made[0].mark_delivered(at=NOON),
            lambda: None,
        )
        == [("a", "handled")] * 3
    )


def test_who_follows_a_choice_sees_nothing_else(restaurant: Restaurant) -> None:
    assert followed(
        lambda: enter(restaurant, event_id="a"),
        lambda: enter(restaurant, event_id="b", state="failed"),
        arguments=("--state", "failed"),
    ) == [("b", "failed")]


def test_who_follows_does_not_hear_again_what_was_left_out(restaurant: Restaurant) -> None:
    for number in range(3):
        enter(restaurant, event_id=str(number))

    assert followed(lambda: None, arguments=("--limit", "1")) == [("2", "handled")]


def test_following_looks_back_no_further_than_it_must(restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qerko_events, "LOOKED_BACK", 1)
    first = enter(restaurant, event_id="a", state="received")

    assert followed(
        lambda: (enter(restaurant, event_id="b"), enter(restaurant, event_id="c")),
        lambda: first.mark_stale(at=first.deadline_at),
        lambda: None,
    ) == [("a", "received"), ("b", "handled"), ("c", "handled")]


@pytest.mark.process
def test_a_real_follower_prints_at_once_and_ends_quietly_when_interrupted(transactional_restaurant: Restaurant) -> None:
    enter(transactional_restaurant, event_id="before")

    with running("qerko_events", "--json", "--follow") as (process, out, errors):
        assert json.loads(out.readline())["id"] == "before"

        enter(transactional_restaurant, event_id="later")
        assert json.loads(out.readline())["id"] == "later"

        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert (out.read(), errors.read()) == ("", "")

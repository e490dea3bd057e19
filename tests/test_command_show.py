"""One event is shown whole."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError
from pytest_django import DjangoAssertNumQueries, Settings

from django_qerko.models import Restaurant
from tests.commands import run
from tests.records import MILLISECOND, NOON, RECEIPT, SECOND, begin, enter, knock, open_bill, store


def test_an_event_is_shown_whole(restaurant: Restaurant, settings: Settings) -> None:
    settings.TIME_ZONE = "UTC"
    record = enter(
        restaurant,
        event_id="a",
        bill_id="42",
        payload=b'{"id":"a","data":{"amount":12345678901234567.89}}',
        headers={"Content-Type": "application/json", "User-Agent": "Qerko"},
    )

    assert run("qerko_show", "a", no_color=True).splitlines() == [
        f"getBill a of U Zlatého tygra, record {record.pk}",
        "  state: handled",
        "  bill: 42",
        "Timeline",
        "  2026-11-24 12:00:00.000  received",
        "  2026-11-24 12:00:00.020  handled, answered 200, after 12.0 ms",
        "  2026-11-24 12:00:15.000  deadline",
        "Headers kept",
        "  Content-Type: application/json",
        "  User-Agent: Qerko",
        "Payload",
        "  {",
        '    "id": "a",',
        '    "data": {',
        '      "amount": 12345678901234567.89',
        "    }",
        "  }",
        "Answer, 200",
        "  {",
        '    "id": "42"',
        "  }",
    ]


def test_what_was_answered_later_is_shown_with_its_attempts(restaurant: Restaurant, settings: Settings) -> None:
    settings.TIME_ZONE = "UTC"
    record = enter(restaurant, "paymentStart", event_id="a", promised_at=NOON, answer=b"null")
    late = store(record, state="stale", answer=b'{"code":null}', is_error=True)
    told = store(record, state="delivered", answer=b"null")
    knock(told, outcome="unconfirmed", reason="\x1b[2J busy")
    knock(told, started_at=NOON + 1.5 * SECOND)

    shown = run("qerko_show", "a", no_color=True).splitlines()

    assert shown[shown.index("Timeline") : shown.index("Headers kept")] == [
        "Timeline",
        "  2026-11-24 12:00:00.000  received",
        "  2026-11-24 12:00:00.000  202 said",
        "  2026-11-24 12:00:00.020  handled, after 12.0 ms",
        f"  2026-11-24 12:00:01.000  reply {told.pk} stored",
        f"  2026-11-24 12:00:01.000  reply {told.pk}, attempt 1: unconfirmed, 503, after 80.0 ms: \\x1b[2J busy",
        f"  2026-11-24 12:00:01.000  reply {late.pk} stored, an error",
        f"  2026-11-24 12:00:01.500  reply {told.pk}, attempt 2: taken, 200, after 80.0 ms",
        f"  2026-11-24 12:00:02.000  reply {told.pk} delivered",
        "  2026-11-24 12:00:15.000  deadline",
        f"  2026-11-24 12:00:15.000  reply {late.pk} stale: Nobody sent it in time.",
    ]
    assert shown[shown.index("Answer, 200") :] == [
        "Answer, 200",
        "  null",
        f"Reply {late.pk}, stale, an error",
        "  reason: Nobody sent it in time.",
        "  {",
        '    "code": null',
        "  }",
        f"Reply {told.pk}, delivered",
        "  attempt 1: unconfirmed, 503, after 80.0 ms: \\x1b[2J busy",
        "  attempt 2: taken, 200, after 80.0 ms",
        "  null",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "received", "promised_at": NOON}, "received; 202 was said, and the answer is owed"),
        (
            {"state": "handling", "promised_at": NOON},
            "handling; 202 was said, a handler said LATER, and no reply is stored yet",
        ),
        ({"promised_at": NOON}, "handled"),
    ],
)
def test_what_is_owed_to_qerko_is_said(restaurant: Restaurant, changes: dict[str, Any], said: str) -> None:
    enter(restaurant, event_id="a", **changes)

    assert f"  state: {said}\n" in run("qerko_show", "a", no_color=True)


def test_an_event_takes_three_statements_however_much_was_replied(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    record = enter(restaurant, event_id="a")
    for _ in range(3):
        knock(store(record))

    with django_assert_num_queries(3):
        run("qerko_show", "a")


def test_an_event_of_a_payment_takes_two_more(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    payment = begin(restaurant, payment_id="p1")
    payment.process(RECEIPT, at=NOON, because_of=enter(restaurant, "paymentProcessed", payment_id="p1").pk)
    payment.mark_paid(at=NOON, because_of=enter(restaurant, "paymentClosed", event_id="a", payment_id="p1").pk)

    # The event, its replies, its payment, and the steps of that.
    with django_assert_num_queries(4):
        run("qerko_show", "a")


def test_an_event_of_a_payment_shows_how_that_stands(restaurant: Restaurant, settings: Settings) -> None:
    settings.TIME_ZONE = "UTC"
    payment = begin(restaurant, payment_id="p1")
    closed = enter(restaurant, "paymentClosed", event_id="a", payment_id="p1")
    payment.cancel(at=NOON + 10 * MILLISECOND, reason="Qerko said \x1bX.", because_of=closed.pk, final_state="\x1bX")

    shown = run("qerko_show", "a", no_color=True).splitlines()

    assert shown[1 : shown.index("Headers kept")] == [
        "  state: handled",
        f"  bill: {payment.bill}",
        "  payment: p1, cancelled; Qerko said \\x1bX",
        "  step: started → cancelled",
        "Timeline",
        "  2026-11-24 12:00:00.000  received",
        "  2026-11-24 12:00:00.000  payment started, by no event",
        "  2026-11-24 12:00:00.010  payment cancelled, by this event: Qerko said \\x1bX.",
        "  2026-11-24 12:00:00.020  handled, answered 200, after 12.0 ms",
        "  2026-11-24 12:00:15.000  deadline",
    ]


def test_what_a_person_must_look_at_is_said_first(restaurant: Restaurant) -> None:
    begin(
        restaurant,
        bill=open_bill(restaurant, "42"),
        payment_id="p1",
        state="paid",
        alarm="It was cancelled before.\nAnother is in progress.",
        contradictions=[{"what": "price of item \x1b", "expected": "55.00", "told": "49.00"}],
    )
    enter(restaurant, "paymentClosed", event_id="a", payment_id="p1")

    assert run("qerko_show", "a", no_color=True).splitlines()[1:7] == [
        "  state: handled",
        "  bill: 42",
        "  payment: p1, paid",
        "  alarm: It was cancelled before.",
        "  alarm: Another is in progress.",
        "  does not fit its bill: price of item \\x1b: 49.00 and not 55.00 (-6.00)",
    ]


def test_an_event_that_failed_shows_its_error(restaurant: Restaurant) -> None:
    enter(restaurant, event_id="a", state="failed", error="Traceback:\n  \x1b[31mboom")

    assert run("qerko_show", "a", no_color=True).endswith("Error\n  Traceback:\n    \\x1b[31mboom\n")


def test_what_has_no_answer_shows_none(restaurant: Restaurant) -> None:
    enter(restaurant, event_id="a", state="received", payment_id="p1")

    shown = run("qerko_show", "a", no_color=True)

    assert "payment: p1, which is not in the books\n" in shown
    assert "Answer" not in shown
    assert "Error" not in shown


def test_a_stranger_commands_no_terminal(restaurant: Restaurant) -> None:
    enter(
        restaurant, "\x1b[2J", event_id="a\x9b", bill_id="\u202e", payload=b"\x1b[31m\xff", headers={"Host": "\x1b]0;x"}
    )

    shown = run("qerko_show", "a\x9b", no_color=True)

    assert all(line.isprintable() for line in shown.split("\n"))
    assert "\\x1b[31m\\xff" in shown


def test_an_event_is_found_by_its_record(restaurant: Restaurant) -> None:
    record = enter(restaurant, event_id="a")

    assert run("qerko_show", str(record.pk)) == run("qerko_show", "a")


@pytest.mark.parametrize("arguments", [("b",), ("99999999999999999999",), ("a", "--restaurant", "U Fleků")])
def test_what_is_not_there_is_said(restaurant: Restaurant, arguments: tuple[str, ...]) -> None:
    enter(restaurant, event_id="a")

    missing = "restaurant U Fleků" if "--restaurant" in arguments else f"event {arguments[0]}"
    with pytest.raises(CommandError, match=f"There is no {missing}"):
        run("qerko_show", *arguments)


@pytest.mark.parametrize(
    ("members", "options"),
    [
        ({"bill_id": "it\x1b 7"}, ["--bill"]),
        ({"payment_id": "it\x1b 7"}, ["--payment"]),
        ({"bill_id": "it\x1b 7", "payment_id": "it\x1b 7"}, ["--bill", "--payment"]),
    ],
)
def test_who_asks_for_a_bill_or_a_payment_hears_how_its_events_are_found(
    restaurant: Restaurant, members: dict[str, str], options: list[str]
) -> None:
    enter(restaurant, **members)

    with pytest.raises(CommandError) as missing:
        run("qerko_show", "it\x1b 7")

    assert str(missing.value).splitlines() == [
        "There is no event it\\x1b 7.",
        *(f"There is a {option[2:]} of that id; its events: qerko_events {option} 'it\\x1b 7'" for option in options),
    ]


def test_an_id_of_two_restaurants_wants_to_know_whose(restaurant: Restaurant) -> None:
    ours = enter(restaurant, event_id="a")
    theirs = enter(Restaurant.objects.create(name="U Fleků"), event_id="a")

    with pytest.raises(CommandError, match=f"(?s)--restaurant.*{theirs.pk} .*U Fleků.*{ours.pk} .*U Zlatého tygra"):
        run("qerko_show", "a")

    assert "U Fleků" in run("qerko_show", "a", "--restaurant", "U Fleků")


def test_an_id_that_is_anothers_record_wants_to_know_which(restaurant: Restaurant) -> None:
    record = enter(restaurant, event_id="a")
    enter(restaurant, event_id=str(record.pk))

    with pytest.raises(CommandError, match="--record"):
        run("qerko_show", str(record.pk))

    assert "getBill a of" in run("qerko_show", str(record.pk), "--record")

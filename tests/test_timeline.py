"""An event's life, moment by moment."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pytest_django import Settings

from django_qerko import events
from django_qerko.models import Payment, Restaurant, WebhookEvent
from django_qerko.tending import timeline
from tests.records import MILLISECOND, NOON, RECEIPT, SECOND, begin, enter, knock, open_bill, store, told


@pytest.mark.parametrize(
    ("state", "story"),
    [
        ("received", ["received", "deadline"]),
        ("handling", ["received", "deadline"]),
        ("handled", ["received", "handled, answered 200, after 12.0 ms", "deadline"]),
        ("failed", ["received", "failed, answered 500, after 12.0 ms", "deadline"]),
        ("stale", ["received", "stale", "deadline"]),
    ],
)
def test_a_life_is_told_in_its_order(restaurant: Restaurant, state: str, story: list[str]) -> None:
    assert [moment.what for moment in timeline.moments(enter(restaurant, state=state))] == story


def test_a_handling_that_goes_on_says_until_when(restaurant: Restaurant) -> None:
    record = enter(restaurant, state="handling", claim=uuid.uuid4(), claimed_until=NOON + 10 * SECOND)

    assert timeline.moments(record) == [
        (NOON, "received"),
        (NOON + 10 * SECOND, "the claim of whoever handles it runs out"),
        (NOON + 15 * SECOND, "deadline"),
    ]


def test_an_end_after_the_deadline_stands_after_it(restaurant: Restaurant) -> None:
    record = enter(restaurant, handlings=2, finished_at=NOON + 60 * SECOND, duration=2.5 * SECOND)

    assert timeline.moments(record)[-1] == (
        NOON + 60 * SECOND,
        "handled, answered 200, after 2.5 s, at the 2. handling",
    )


def test_what_was_promised_says_when_202_was_said_and_not_that_it_was_answered(restaurant: Restaurant) -> None:
    record = enter(restaurant, promised_at=NOON + 5 * MILLISECOND)

    assert [moment.what for moment in timeline.moments(record)] == [
        "received",
        "202 said",
        "handled, after 12.0 ms",
        "deadline",
    ]


def test_a_tell_that_failed_says_when_it_is_handled_again(restaurant: Restaurant) -> None:
    record = enter(restaurant, "paymentClosed", state="failed", next_handling_at=NOON + 10 * SECOND)

    assert (NOON + 10 * SECOND, "it is handled again") in timeline.moments(record)


@pytest.mark.parametrize(
    ("state", "changes", "story"),
    [
        ("waiting", {}, ["reply {} stored", "the next attempt at reply {} is due"]),
        (
            "waiting",
            {"claim": uuid.uuid4(), "claimed_until": NOON + 3 * SECOND},
            ["reply {} stored", "the claim of whoever sends reply {} runs out"],
        ),
        ("delivered", {}, ["reply {} stored", "reply {} delivered"]),
        ("refused", {"is_error": True}, ["reply {} stored, an error", "reply {} refused: BAD_PAYLOAD"]),
        ("stale", {"reason": "no\x1b[2J\ntime"}, ["reply {} stored", "reply {} stale: no\\x1b[2J\\ntime"]),
        (
            "delivered",
            {"deadline_at": NOON + 60 * SECOND},
            ["reply {} stored", "reply {} delivered", "deadline of reply {}"],
        ),
    ],
)
def test_a_replys_life_is_told_with_its_events(
    restaurant: Restaurant, state: str, changes: dict[str, Any], story: list[str]
) -> None:
    reply = store(enter(restaurant), state=state, **changes)

    told = [moment.what for moment in timeline.moments(reply.event) if "reply" in moment.what]

    assert told == [what.format(reply.pk) for what in story]


def test_attempts_are_told_with_what_became_of_them(restaurant: Restaurant) -> None:
    reply = store(enter(restaurant), state="delivered")
    knock(reply, outcome="not_sent", reason="nobody\nlistens", duration=2.5 * SECOND)
    knock(reply, started_at=NOON + 1.9 * SECOND)

    told = [moment for moment in timeline.moments(reply.event) if "attempt" in moment.what]

    assert told == [
        (NOON + SECOND, f"reply {reply.pk}, attempt 1: not sent, after 2.5 s: nobody\\nlistens"),
        (NOON + 1.9 * SECOND, f"reply {reply.pk}, attempt 2: taken, 200, after 80.0 ms"),
    ]


def of_payment(record: WebhookEvent) -> list[tuple[datetime, str]]:
    """The moments of an event's payment."""
    told = timeline.moments(record, timeline.payment_of(record))
    return [moment for moment in told if "payment" in moment.what]


def test_a_payments_steps_are_told_with_who_caused_them(restaurant: Restaurant) -> None:
    payment = begin(restaurant, payment_id="p1")
    processed = enter(restaurant, "paymentProcessed", payment_id="p1")
    closed = enter(restaurant, "paymentClosed\n", payment_id="p1")
    payment.process(RECEIPT, at=NOON + 2 * SECOND, because_of=processed.pk)
    payment.cancel(at=NOON + 3 * SECOND, because_of=closed.pk, reason="Qerko said\nEXPIRED.")

    assert of_payment(processed) == [
        (NOON, "payment started, by no event"),
        (NOON + 2 * SECOND, "payment processed, by this event"),
        (NOON + 3 * SECOND, f"payment cancelled, by paymentClosed\\n, record {closed.pk}: Qerko said\\nEXPIRED."),
    ]


def test_a_payments_steps_stand_between_the_moments_of_the_event(restaurant: Restaurant) -> None:
    payment = begin(restaurant, payment_id="p1")
    record = enter(restaurant, "paymentClosed", payment_id="p1")
    payment.mark_paid(at=NOON + 10 * MILLISECOND, because_of=record.pk)

    assert [moment.what for moment in timeline.moments(record, timeline.payment_of(record))] == [
        "received",
        "payment started, by no event",
        "payment paid, by this event",
        "handled, answered 200, after 12.0 ms",
        "deadline",
    ]


def test_a_payment_that_did_not_come_to_begin_was_refused(restaurant: Restaurant) -> None:
    record = enter(restaurant, "paymentStart", payment_id="p2")
    Payment.objects.refuse(
        restaurant,
        events.Payment.model_validate(told("p2")),
        bill=open_bill(restaurant),
        payload=told("p2"),
        at=NOON,
        reason="BILL_CLOSED",
        because_of=record.pk,
    )

    assert of_payment(record) == [(NOON, "payment refused, by this event: BILL_CLOSED")]


def test_questions_about_a_payment_are_told(restaurant: Restaurant) -> None:
    begin(restaurant, payment_id="p1", newer_start_at=NOON + SECOND, next_question_at=NOON + 2 * SECOND, questions=2)

    assert of_payment(enter(restaurant, "paymentStart", payment_id="p1"))[1:] == [
        (NOON + SECOND, "another payment wanted to begin on its bill"),
        (NOON + 2 * SECOND, "Qerko is asked about the payment, the 3. time"),
    ]


def test_a_payment_that_never_started_is_asked_about(restaurant: Restaurant) -> None:
    record = enter(restaurant, "paymentClosed", payment_id="p1", next_handling_at=NOON + SECOND)

    assert of_payment(record) == [(NOON + SECOND, "Qerko is asked about the payment")]


def test_a_payment_is_that_of_the_events_own_restaurant(restaurant: Restaurant) -> None:
    begin(Restaurant.objects.create(name="U Fleků"), payment_id="p1")
    ours = begin(restaurant, payment_id="p1")

    assert timeline.payment_of(enter(restaurant, payment_id="p1")) == ours
    assert timeline.payment_of(enter(restaurant, payment_id="P1")) is None
    assert timeline.payment_of(enter(restaurant)) is None


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (0 * SECOND, "0.0 ms"),
        (SECOND, "1000.0 ms"),
        (2 * SECOND, "2.0 s"),
        (119 * SECOND, "119.0 s"),
        (150 * SECOND, "2.5 min"),
        (3 * 3600 * SECOND, "3.0 h"),
        (36 * 3600 * SECOND, "36.0 h"),
        (50 * 3600 * SECOND, "2.1 d"),
        (-SECOND, "-1000.0 ms"),
    ],
)
def test_a_span_is_said_in_its_unit(span: timedelta, said: str) -> None:
    assert timeline.spelled(span) == said


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (None, ""),
        (NOON, "2026-11-24 13:00:00.000"),
        (NOON.replace(tzinfo=timezone(timedelta(hours=-5))), "2026-11-24 18:00:00.000"),
        (datetime(2026, 11, 24, 12, 0, 0, 123456), "2026-11-24 12:00:00.123"),  # noqa: DTZ001
    ],
)
def test_a_person_reads_times_of_the_projects_zone(settings: Settings, moment: datetime | None, shown: str) -> None:
    settings.TIME_ZONE = "Europe/Prague"

    assert timeline.when(moment) == shown

"""What the book takes, and what the database refuses."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from django_qerko.models import Bill, Rejection, Restaurant, WebhookEvent


def record(restaurant: Restaurant, **members: Any) -> WebhookEvent:
    now = timezone.now()
    members = {"event_id": "e", "name": "getBill", "state": "received"} | members
    return WebhookEvent(restaurant=restaurant, payload=b"{}", received_at=now, deadline_at=now, **members)


CLAIM = {"state": "handling", "claim": uuid.uuid4(), "claimed_until": timezone.now()}
ANSWER = {"state": "handled", "answer": b"null", "status": 200, "finished_at": timezone.now()}


@pytest.mark.parametrize("members", [{}, CLAIM, {"state": "handling"}, ANSWER, {"state": "failed", "status": 500}])
def test_a_record_in_any_of_its_states_is_taken(restaurant: Restaurant, members: dict[str, Any]) -> None:
    kept, is_new = WebhookEvent.objects.enter(record(restaurant, **members))

    assert (is_new, kept.state) == (True, members.get("state", "received"))
    assert str(kept) == "getBill e"


@pytest.mark.parametrize(
    "members",
    [
        {"state": "lost"},
        {"event_id": ""},
        {"name": ""},
        {"state": "received", "claim": uuid.uuid4(), "claimed_until": timezone.now()},
        {"state": "handling", "claim": uuid.uuid4()},
        {"state": "handling", "claimed_until": timezone.now()},
        ANSWER | {"answer": None},
        ANSWER | {"status": None},
        ANSWER | {"finished_at": None},
        {"status": 99},
        {"status": 600},
        {"handlings": -1},
        {"restaurant_id": None},
    ],
)
def test_the_database_refuses_a_record_that_cannot_be(restaurant: Restaurant, members: dict[str, Any]) -> None:
    broken = record(restaurant)
    for name, value in members.items():
        setattr(broken, name, value)

    with pytest.raises(DatabaseError), transaction.atomic(using=restaurant._state.db):
        broken.save()


def test_an_event_is_entered_once(restaurant: Restaurant) -> None:
    first, _ = WebhookEvent.objects.enter(record(restaurant))

    again, is_new = WebhookEvent.objects.enter(record(restaurant))

    assert (again, is_new) == (first, False)
    assert again.restaurant is not None


@pytest.mark.parametrize("other", ["E", "é", "e ", " e"])
def test_ids_are_compared_byte_for_byte(restaurant: Restaurant, other: str) -> None:
    WebhookEvent.objects.enter(record(restaurant))

    assert WebhookEvent.objects.enter(record(restaurant, event_id=other))[1]
    assert WebhookEvent.objects.filter(event_id=other).count() == 1


def test_ids_hold_every_character_that_the_door_lets_in(restaurant: Restaurant) -> None:
    kept, _ = WebhookEvent.objects.enter(record(restaurant, event_id="🍺" * 128, name="ž" * 64))

    kept.refresh_from_db()
    assert (kept.event_id, kept.name) == ("🍺" * 128, "ž" * 64)


def test_another_fault_of_the_database_is_no_redelivery(restaurant: Restaurant) -> None:
    with pytest.raises(IntegrityError):
        WebhookEvent.objects.enter(record(restaurant, state="lost"))


def test_of_two_that_take_up_a_record_one_has_it(restaurant: Restaurant) -> None:
    WebhookEvent.objects.enter(record(restaurant))
    one, other = WebhookEvent.objects.get(), WebhookEvent.objects.get()
    now = timezone.now()
    until = now + timedelta(seconds=10)

    assert one.claim_again(at=now, until=until, deadline_at=until, promised=True)
    assert not other.claim_again(at=now, until=until, deadline_at=until, promised=True)
    assert not other.mark_stale(at=now)
    answered: dict[str, Any] = {"status": 200, "answer": b"null", "at": now, "duration": timedelta(0)}
    assert not other.finish(**answered)
    assert not other.fail(error="no", **answered)
    assert not other.expire(at=now, duration=timedelta(0))
    assert one.finish(**answered)
    assert WebhookEvent.objects.handled().count() == 1
    assert not WebhookEvent.objects.unfinished().exists()
    assert not one.claim_again(at=now, until=until, deadline_at=until, promised=True)


def test_a_claim_on_a_record_that_changed_meanwhile_is_not_ours(restaurant: Restaurant) -> None:
    WebhookEvent.objects.enter(record(restaurant))
    behind = WebhookEvent.objects.get()
    WebhookEvent.objects.update(handlings=3, state="failed")
    now = timezone.now()

    assert not behind.claim_again(at=now, until=now, deadline_at=now, promised=True)


@pytest.mark.parametrize(
    "broken",
    [
        Bill(bill_id="", currency="CZK", snapshot={}, snapshot_at=timezone.now()),
        Bill(bill_id="1", currency="KC", snapshot={}, snapshot_at=timezone.now()),
        Rejection(slot="s", reason="", number=1, hour=timezone.now(), first_at=timezone.now(), last_at=timezone.now()),
        Rejection(slot="s", reason="x", number=0, hour=timezone.now(), first_at=timezone.now(), last_at=timezone.now()),
    ],
    ids=["bill without id", "bill without currency", "rejection without reason", "rejection of nothing"],
)
def test_the_database_refuses_other_rows_that_cannot_be(restaurant: Restaurant, broken: Bill | Rejection) -> None:
    broken.restaurant = restaurant
    broken.pk = None

    with pytest.raises(IntegrityError), transaction.atomic(using=restaurant._state.db):
        broken.save()

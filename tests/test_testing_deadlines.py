"""Deadlines pass, or stand still, in the rows alone: the clock goes on as always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import override_settings
from django.utils import timezone

from django_qerko import signals
from django_qerko.answers import LATER, Bill
from django_qerko.conf import conf, given
from django_qerko.models import Reply, Restaurant, WebhookEvent
from django_qerko.replying import reply_later
from django_qerko.testing import frozen_deadline, pass_deadline, work
from django_qerko.testing.client import SignedClient
from django_qerko.testing.recording import RecordingQerko

Answering = Callable[[Signal, Any], None]

pytestmark = pytest.mark.django_db

BILL = Bill(id="42", currency="CZK", items=[])
USUAL = timedelta(seconds=15)


@pytest.fixture
def client(restaurant: Restaurant, answering: Answering) -> Iterator[SignedClient]:
    """Bills are shown later."""
    answering(signals.bill_requested, BILL)
    with override_settings(QERKO={**given(), "ANSWER_LATER": ["getBill", "paymentClosed"]}):
        yield SignedClient(restaurant)


def waiting(client: SignedClient, event: str = "getBill", **how: Any) -> WebhookEvent:
    """An event that nobody has handled yet."""
    record = client.deliver(event, works=False, **how).record
    assert record is not None
    return record


def state_of(record: WebhookEvent) -> str:
    return str(WebhookEvent.objects.get(pk=record.pk).state)


def test_what_is_past_its_deadline_is_stale(client: SignedClient) -> None:
    passed, other = waiting(client), waiting(client)

    pass_deadline(passed)
    work()

    assert passed.deadline_at < timezone.now()
    assert (state_of(passed), state_of(other)) == ("stale", "handled")


def test_everything_passes_where_nothing_is_named(client: SignedClient) -> None:
    records = waiting(client), waiting(client)

    pass_deadline()
    work()

    assert [state_of(record) for record in records] == ["stale", "stale"]


def test_a_deadline_that_has_passed_stays_as_it_is(client: SignedClient) -> None:
    record = waiting(client)
    pass_deadline(record)
    deadline_at = record.deadline_at

    pass_deadline(record)

    assert record.deadline_at == deadline_at


def test_a_row_is_as_if_qerko_had_asked_earlier(client: SignedClient) -> None:
    record = waiting(client)

    pass_deadline(record)

    record.refresh_from_db()
    assert record.deadline_at - record.received_at <= conf.REPLY_DEADLINE
    assert record.promised_at is not None
    assert record.received_at <= record.promised_at < record.deadline_at


def test_a_tell_is_handled_at_any_age(client: SignedClient) -> None:
    record = waiting(client, "paymentClosed", state="CANCELLED")

    pass_deadline(record)
    work()

    assert state_of(record) == "handled"
    assert Reply.objects.get().state == Reply.State.STALE


def test_a_reply_that_waits_never_leaves(client: SignedClient, restaurant: Restaurant) -> None:
    record = client.deliver("getBill").record
    assert record is not None
    assert Reply.objects.get().is_waiting

    pass_deadline(record)
    with RecordingQerko(restaurant) as qerko:
        work()

    assert qerko.replies == ()
    assert Reply.objects.get().state == Reply.State.STALE


def test_an_answer_by_hand_comes_too_late(restaurant: Restaurant, answering: Answering) -> None:
    answering(signals.bill_requested, LATER)
    record = waiting(SignedClient(restaurant))

    pass_deadline(record)
    work()

    assert state_of(record) == "stale"
    assert reply_later(record, BILL).state == Reply.State.STALE


def test_an_event_that_is_answered_at_once_has_no_promise_to_move(restaurant: Restaurant, answering: Answering) -> None:
    answering(signals.bill_requested, BILL)
    record = SignedClient(restaurant).deliver("getBill").record
    assert record is not None

    pass_deadline(record)

    assert (record.promised_at, state_of(record)) == (None, "handled")


def test_a_frozen_deadline_is_far_away_and_comes_back(client: SignedClient, restaurant: Restaurant) -> None:
    before = waiting(client)

    with RecordingQerko(restaurant) as qerko, frozen_deadline():
        inside = waiting(client, age=20)
        old = waiting(client, age=30)
        pass_deadline(old)
        for record in (before, inside):
            record.refresh_from_db()
            assert record.deadline_at > timezone.now() + timedelta(hours=1)
        work()
        assert state_of(old) == "stale"
        assert [reply.status for reply in qerko.replies] == [200, 200]
    after = waiting(client)

    assert conf.REPLY_DEADLINE == USUAL
    for record in (before, inside, after):
        record.refresh_from_db()
        assert record.deadline_at <= timezone.now() + USUAL
    assert state_of(inside) == "handled"


def test_what_waits_when_the_frost_ends_has_its_usual_time(client: SignedClient) -> None:
    with frozen_deadline():
        client.deliver("getBill")
    reply = Reply.objects.get()

    assert reply.is_waiting
    assert timezone.now() < reply.deadline_at <= timezone.now() + USUAL

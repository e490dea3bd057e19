"""What the sweeper finds when a worker, a web process or a broker has died."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.dispatch import Signal
from django.utils import timezone

from django_qerko import queueing, tasks
from django_qerko.answers import NOTHING, Bill
from django_qerko.handling import claiming
from django_qerko.models import Reply, Restaurant, WebhookEvent
from django_qerko.replying import outbox, sending
from django_qerko.signals import bill_requested, payment_closed
from django_qerko.tending.sweeping import GRACE, Swept, sweep
from tests.qerkos import StrangeQerko, response, saying

Answering = Callable[[Signal, Any], None]

BILL = Bill(id="42", currency="CZK", items=[])
DATA = {"getBill": {"billId": "42"}, "paymentClosed": {"paymentId": "p", "state": "DECLINED"}}


def left(restaurant: Restaurant, name: str = "getBill", *, seconds: float = 10, **members: Any) -> WebhookEvent:
    """A record that was promised four seconds ago, with so many seconds left; nobody remembers it."""
    now = timezone.now()
    event_id = f"{name} {WebhookEvent.objects.count()}"
    members = {"state": "received", "promised_at": now - 2 * GRACE} | members
    return WebhookEvent.objects.create(
        restaurant=restaurant,
        event_id=event_id,
        name=name,
        payload=json.dumps({"id": event_id, "event": name, "data": DATA[name]}).encode(),
        received_at=now - 2 * GRACE,
        deadline_at=now + timedelta(seconds=seconds),
        **members,
    )


def claimed(**members: Any) -> dict[str, Any]:
    """Claimed by somebody who died."""
    return {
        "state": "handling",
        "claim": "00000000-0000-4000-8000-000000000000",
        "claimed_until": timezone.now(),
    } | members


@pytest.fixture
def answered(answering: Answering) -> None:
    answering(bill_requested, BILL)


@pytest.mark.usefixtures("answered")
def test_what_nobody_took_up_is_handled(restaurant: Restaurant) -> None:
    record = left(restaurant)

    assert sweep() == Swept(handled=1)
    assert sweep() == Swept()

    record.refresh_from_db()
    assert (record.state, record.replies.get().state) == ("handled", "waiting")


@pytest.fixture
def qerko(settings: Any) -> Iterator[StrangeQerko]:
    qerko = StrangeQerko(saying(response()))
    settings.QERKO = settings.QERKO | {"BASE_URL": qerko.url}
    yield qerko
    qerko.close()


@pytest.mark.usefixtures("answered", "qerko")
@pytest.mark.parametrize(("is_heard", "sent", "state"), [(True, 0, "waiting"), (False, 1, "delivered")])
def test_a_reply_that_no_queue_hears_of_leaves_in_the_round_that_stored_it(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, is_heard: bool, sent: int, state: str
) -> None:
    monkeypatch.setattr(queueing, "ring", lambda *_, **__: is_heard)
    record = left(restaurant)
    somebody_elses = outbox.reply_later(left(restaurant, state="handling"), BILL)

    assert sweep() == Swept(handled=1, sent=sent)

    assert record.replies.get().state == state
    somebody_elses.refresh_from_db()
    assert somebody_elses.state == "waiting"


@pytest.mark.usefixtures("answered", "qerko")
def test_whoever_asks_for_a_sweep_leaves_nothing_to_a_queue(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "ring", lambda *_, **__: True)
    left(restaurant)

    assert sweep(grace=timedelta(0)) == Swept(handled=1, sent=1)


@pytest.mark.usefixtures("answered", "qerko")
def test_a_ring_that_breaks_is_one_that_nobody_hears(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> bool:
        raise RuntimeError("no such router")

    monkeypatch.setattr(queueing, "ring", broken)
    left(restaurant)

    assert sweep() == Swept(handled=1, sent=1)
    assert "no such router" in caplog.text


@pytest.mark.usefixtures("answered")
def test_what_is_young_is_left_to_the_queue(restaurant: Restaurant) -> None:
    left(restaurant, promised_at=timezone.now())

    assert sweep() == Swept()
    assert sweep(grace=timedelta(0)).handled == 1


@pytest.mark.usefixtures("answered")
def test_what_a_dead_worker_held_is_handled(restaurant: Restaurant) -> None:
    record = left(restaurant, **claimed())
    live = left(restaurant, **claimed(claimed_until=timezone.now() + timedelta(seconds=5)))

    assert sweep() == Swept(handled=1)

    record.refresh_from_db()
    live.refresh_from_db()
    assert (record.state, live.state) == ("handled", "handling")


@pytest.mark.parametrize("members", [{}, {"claim": None}, {"dead": True}], ids=["waiting", "said LATER", "claimed"])
def test_what_met_its_deadline_is_stale(restaurant: Restaurant, members: dict[str, Any]) -> None:
    state = {} if not members else claimed() if "dead" in members else {"state": "handling"}
    record = left(restaurant, seconds=0, **state)

    assert sweep() == Swept(stale=1)

    record.refresh_from_db()
    assert (record.state, record.claim) == ("stale", None)


def test_a_tell_is_handled_past_its_deadline(restaurant: Restaurant, answering: Answering) -> None:
    heard: list[str] = []
    answering(payment_closed, lambda event, **_: heard.append(event.state))
    left(restaurant, "paymentClosed", seconds=-60)
    left(restaurant, "paymentClosed", seconds=-60, promised_at=None, **claimed())

    assert sweep() == Swept(handled=2)
    assert heard == ["DECLINED", "DECLINED"]
    assert [reply.state for reply in Reply.objects.all()] == ["stale"]


def test_a_tell_that_failed_is_handled_again_when_its_moment_has_come(restaurant: Restaurant) -> None:
    now = timezone.now()
    left(restaurant, "paymentClosed", state="failed", next_handling_at=now)
    left(restaurant, "paymentClosed", state="failed", next_handling_at=now + timedelta(minutes=1))
    left(restaurant, "paymentClosed", state="failed")

    assert sweep() == Swept(handled=1)


def test_a_failed_question_is_nobodys(restaurant: Restaurant) -> None:
    left(restaurant, state="failed")

    assert sweep() == Swept()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("qerko")
@pytest.mark.parametrize("replies", [1, 20])
def test_what_was_not_sent_is_sent(transactional_restaurant: Restaurant, replies: int) -> None:
    record = left(transactional_restaurant, "paymentClosed", state="handling")
    for _ in range(replies):
        outbox.reply_later(record, NOTHING)
    Reply.objects.update(next_attempt_at=timezone.now() - GRACE)

    assert sweep() == Swept(sent=replies)

    assert {reply.state for reply in Reply.objects.all()} == {"delivered"}


def test_a_reply_that_nobody_sent_in_time_is_stale(restaurant: Restaurant) -> None:
    reply = outbox.reply_later(left(restaurant, state="handling"), BILL)
    Reply.objects.update(deadline_at=timezone.now())

    assert sweep() == Swept(stale=1)

    reply.refresh_from_db()
    assert (reply.state, reply.reason) == ("stale", "Nobody sent it in time.")
    assert not sending.expire(Reply.objects.get())


def test_one_rows_trouble_is_not_the_others(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[int] = []

    def broken_once(key: int) -> bool:
        handled.append(key)
        if len(handled) == 1:
            raise RuntimeError("trouble")
        return True

    monkeypatch.setattr(claiming, "handle_recorded", broken_once)
    left(restaurant)
    left(restaurant)

    assert sweep() == Swept(handled=1)
    assert "trouble" in caplog.text


@pytest.mark.parametrize("hung_up", [False, True])
def test_a_database_that_hung_up_ends_the_sweep(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, hung_up: bool
) -> None:
    def gone(_: int) -> bool:
        raise OperationalError("the server closed the connection")

    left(restaurant)
    monkeypatch.setattr(claiming, "handle_recorded", gone)
    monkeypatch.setattr(connection, "is_usable", lambda: not hung_up)

    if hung_up:
        with pytest.raises(OperationalError):
            sweep()
    else:
        assert sweep() == Swept()


def test_what_somebody_else_finished_meanwhile_is_not_counted(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = left(restaurant, seconds=0, state="handling")
    outbox.store(record, b"null", is_error=False)
    Reply.objects.update(state="waiting", next_attempt_at=timezone.now(), finished_at=None, reason="")
    for model in (WebhookEvent, Reply):
        monkeypatch.setattr(model, "mark_stale", lambda *_, **__: False)

    assert sweep() == Swept()


@pytest.mark.usefixtures("answered")
def test_an_interrupted_sweep_leaves_the_rest(restaurant: Restaurant) -> None:
    for _ in range(3):
        left(restaurant)
    answers = iter([True, False])

    assert sweep(goes_on=lambda _: next(answers, False)) == Swept(handled=1)
    assert WebhookEvent.objects.waiting().count() == 2


@pytest.mark.usefixtures("answered")
def test_the_task_sweeps(restaurant: Restaurant) -> None:
    left(restaurant)

    tasks.sweep()

    assert WebhookEvent.objects.get().state == "handled"

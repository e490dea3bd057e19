"""How a reply reaches Qerko, or does not."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_qerko import answers, tasks
from django_qerko.exceptions import BillNotFound
from django_qerko.models import Attempt, Reply, Restaurant, WebhookEvent
from django_qerko.models.reply import Outcome
from django_qerko.replying import reply_later, sending
from django_qerko.signals import reply_delivered, reply_refused, reply_stale
from tests.clocks import Stopwatch
from tests.deliveries import KEY, OTHER_KEY
from tests.qerkos import Caller, StrangeQerko, Talk, response, saying
from tests.servers import free_port

Answering = Callable[[Signal, Any], None]

BILL = answers.Bill(id="42", currency="CZK", items=[])


@pytest.fixture
def record(restaurant: Restaurant) -> WebhookEvent:
    now = timezone.now()
    return WebhookEvent.objects.create(
        restaurant=restaurant,
        event_id="event 1",
        name="getBill",
        payload=json.dumps({"id": "event 1", "event": "getBill", "data": {"billId": "42"}}).encode(),
        received_at=now,
        deadline_at=now + timedelta(seconds=15),
        state="handling",
        promised_at=now,
    )


@contextmanager
def qerko(settings: Any, talk: Talk, **more: Any) -> Iterator[StrangeQerko]:
    """A Qerko that is where the project thinks it is."""
    server = StrangeQerko(talk)
    settings.QERKO = settings.QERKO | {"BASE_URL": server.url} | more
    try:
        yield server
    finally:
        server.close()


def attempts(reply: Reply) -> list[tuple[int, str, int | None]]:
    return list(reply.attempts.order_by("number").values_list("number", "outcome", "status"))


def wait_no_more(reply: Reply) -> None:
    """As if the moment of the next attempt had come."""
    Reply.objects.filter(pk=reply.pk, state="waiting").update(next_attempt_at=timezone.now())


def test_a_reply_that_is_taken_is_delivered(record: WebhookEvent, settings: Any, answering: Answering) -> None:
    told: list[Any] = []
    answering(reply_delivered, lambda reply, restaurant, **_: told.append((reply.pk, restaurant)))
    reply = reply_later(record, BILL)

    with qerko(settings, saying(response())) as server:
        tasks.send_reply(reply.pk)

    reply.refresh_from_db()
    assert (reply.state, reply.claim, attempts(reply)) == ("delivered", None, [(1, "taken", 200)])
    assert reply.finished_at is not None
    request = server.requests[0]
    assert request.line == "POST /api/v4/pos/reply HTTP/1.1"
    assert request.header("authorization") == f"Bearer {KEY.reveal()}"
    assert request.header("pos-id") == settings.QERKO["POS_ID"]
    assert json.loads(request.body) == {"id": "event 1", "event": "getBill", "result": BILL.as_json()}
    assert told == [(reply.pk, record.restaurant)]


def test_an_error_leaves_as_an_error_and_under_the_newest_key(record: WebhookEvent, settings: Any) -> None:
    record.restaurant.add_key(OTHER_KEY)
    reply = reply_later(record, BillNotFound())

    with qerko(settings, saying(response())) as server:
        assert sending.send(reply.pk)

    assert json.loads(server.requests[0].body)["error"] == {
        "code": "BILL_NOT_FOUND",
        "message": "There is no such bill.",
    }
    assert server.requests[0].header("authorization") == f"Bearer {OTHER_KEY.reveal()}"


def test_a_qerko_that_is_busy_twice_gets_it_at_the_third_knock(record: WebhookEvent, settings: Any) -> None:
    busy = iter([503, 503, 200])
    reply = reply_later(record, BILL)

    def one_after_another(caller: Caller) -> None:
        caller.listen()
        caller.say(response(next(busy), Connection="close"))

    with qerko(settings, one_after_another):
        while sending.send(reply.pk):
            wait_no_more(reply)

    reply.refresh_from_db()
    assert reply.state == "delivered"
    assert attempts(reply) == [(1, "unconfirmed", 503), (2, "unconfirmed", 503), (3, "taken", 200)]


def test_what_waits_for_its_next_attempt_holds_nobody(record: WebhookEvent, settings: Any) -> None:
    reply = reply_later(record, BILL)
    before = timezone.now()

    with qerko(settings, saying(response(503))):
        assert sending.send(reply.pk)
        assert not sending.send(reply.pk)

    reply.refresh_from_db()
    assert (reply.state, reply.claim) == ("waiting", None)
    assert reply.next_attempt_at is not None
    assert before < reply.next_attempt_at < reply.deadline_at


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 410, 422])
def test_what_qerko_refuses_is_tried_once(
    record: WebhookEvent, settings: Any, answering: Answering, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    told: list[int] = []
    answering(reply_refused, lambda reply, **_: told.append(reply.pk))
    reply = reply_later(record, BILL)

    with qerko(settings, saying(response(status, Location="http://127.0.0.1:1/"))):
        assert sending.send(reply.pk)
        assert not sending.send(reply.pk)

    reply.refresh_from_db()
    assert (reply.state, attempts(reply), told) == ("refused", [(1, "refused", status)], [reply.pk])
    assert str(status) in reply.reason
    alarms = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert bool(alarms) is (status in (401, 403))
    assert all(record.restaurant.name in alarm for alarm in alarms)
    assert KEY.reveal() not in caplog.text


def test_nobody_at_qerkos_address_is_not_sent_and_tried_again(record: WebhookEvent, settings: Any) -> None:
    settings.QERKO = settings.QERKO | {"BASE_URL": f"http://127.0.0.1:{free_port()}"}
    reply = reply_later(record, BILL)

    assert sending.send(reply.pk)

    reply.refresh_from_db()
    assert (reply.state, attempts(reply)) == ("waiting", [(1, "not_sent", None)])


def test_an_answer_whose_status_is_none_is_kept_as_silence(record: WebhookEvent, settings: Any) -> None:
    reply = reply_later(record, BILL)

    with qerko(settings, saying(response(600))):
        assert sending.send(reply.pk)

    reply.refresh_from_db()
    assert (reply.state, reply.claim, attempts(reply)) == ("waiting", None, [(1, "unconfirmed", None)])


@pytest.mark.parametrize("trouble", ["no address", "no Pos-Id", "no key", "unreadable key"])
def test_what_is_missing_here_is_said_and_may_be_mended(
    record: WebhookEvent, settings: Any, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    settings.DEBUG = False
    reply = reply_later(record, BILL)
    match trouble:
        case "no address":
            settings.QERKO = settings.QERKO | {"BASE_URL": None}
        case "no Pos-Id":
            settings.QERKO = settings.QERKO | {"POS_ID": None}
        case "no key":
            record.restaurant.keys.all().delete()
        case _:
            record.restaurant.keys.update(secret="written under a secret that is gone")

    assert sending.send(reply.pk)

    reply.refresh_from_db()
    assert (reply.state, attempts(reply)) == ("waiting", [(1, "not_sent", None)])
    assert "Nothing could be sent" in caplog.text


def test_a_qerko_that_hangs_makes_it_stale_and_nothing_leaves_after_the_deadline(
    record: WebhookEvent, settings: Any, answering: Answering
) -> None:
    told: list[int] = []
    answering(reply_stale, lambda reply, **_: told.append(reply.pk))
    reply = reply_later(record, BILL)
    Reply.objects.update(deadline_at=timezone.now() + timedelta(seconds=0.5))

    with qerko(settings, lambda caller: caller.wait()) as server:
        with Stopwatch() as watch:
            while sending.send(reply.pk):
                wait_no_more(reply)
        time.sleep(0.2)
        assert len(server.requests) <= 1

    reply.refresh_from_db()
    assert (reply.state, told) == ("stale", [reply.pk])
    assert reply.attempts.count() >= 1
    assert watch.seconds < 1.5


def test_what_is_past_its_deadline_is_not_sent(record: WebhookEvent, settings: Any) -> None:
    reply = reply_later(record, BILL)
    Reply.objects.update(deadline_at=timezone.now())

    with qerko(settings, saying(response())) as server:
        assert not sending.send(reply.pk)

    assert not server.requests


def test_of_two_messengers_one_goes(record: WebhookEvent, settings: Any) -> None:
    reply = reply_later(record, BILL)

    with qerko(settings, saying(response())):
        claimed = Reply.objects.take_up(
            reply.pk, at=timezone.now(), until=timezone.now() + timedelta(seconds=5), grace=timedelta(seconds=1)
        )
        assert claimed is not None
        assert not sending.send(reply.pk)
    assert not Attempt.objects.exists()


def test_a_messenger_whose_claim_was_taken_over_leaves_the_reply_alone(record: WebhookEvent, settings: Any) -> None:
    reply = reply_later(record, BILL)

    messenger = Reply.objects.take_up(
        reply.pk, at=timezone.now(), until=timezone.now() + timedelta(seconds=9), grace=timedelta(seconds=1)
    )
    assert messenger is not None
    Reply.objects.update(claim="00000000-0000-4000-8000-000000000000")

    knock = sending._Knock(
        at=timezone.now(), duration=timedelta(0), outcome=Outcome.UNCONFIRMED, status=503, reason="busy"
    )
    sending._keep(messenger, knock)

    assert Reply.objects.get().claim is not None
    # But what Qerko took is taken, whoever holds the reply by now.
    assert messenger.mark_delivered(at=timezone.now())
    assert Reply.objects.get().state == "delivered"


def test_an_attempt_that_was_given_up_and_then_written_takes_the_next_number(record: WebhookEvent) -> None:
    reply = reply_later(record, BILL)
    what: dict[str, Any] = {"started_at": timezone.now(), "duration": timedelta(0), "outcome": Outcome.TAKEN}
    Attempt.objects.add(reply, **what)

    assert Attempt.objects.add(reply, **what).number == 2


def test_observers_cannot_undo_a_delivery(record: WebhookEvent, settings: Any, answering: Answering) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("an observer's own trouble")

    answering(reply_delivered, broken)
    reply = reply_later(record, BILL)

    with qerko(settings, saying(response())):
        assert sending.send(reply.pk)

    reply.refresh_from_db()
    assert reply.state == "delivered"


def test_a_reply_that_is_taken_at_the_first_knock_takes_four_statements(record: WebhookEvent, settings: Any) -> None:
    reply = reply_later(record, BILL)

    with qerko(settings, saying(response())), CaptureQueriesContext(connection) as captured:
        sending.send(reply.pk)

    said = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert len(said) == 4, "\n".join(said)

"""One handling, one transaction: what stays and what is undone."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, router, transaction
from django.dispatch import Signal
from django.utils import timezone

from django_qerko import events
from django_qerko.answers import LATER, Bill
from django_qerko.exceptions import BillClosed, Busy, ClaimLost, DomainError, TooLate
from django_qerko.handling import claiming, keeping
from django_qerko.models import Bill as BillRow
from django_qerko.models import Rejection, Restaurant, WebhookEvent
from django_qerko.signals import (
    bill_requested,
    event_failed,
    event_handled,
    payment_closed,
    payment_contradicts_bill,
    payment_started,
)
from tests.deliveries import deliver, document
from tests.records import offer, told
from tests.till.models import Note

Answering = Callable[[Signal, Any], None]

BILL = Bill(id="42", currency="CZK", items=[])
EVENT = events.read_event(document("getBill", event_id="e"))
TELL = events.read_event(document("paymentClosed", event_id="e"))
#: A payment that asks another price than the bill.
DEAR = told(items=[{"id": "1", "quantity": "1", "price": "56.00"}], parts=[])


def entered(restaurant: Restaurant, event: events.Event = EVENT, **changes: Any) -> WebhookEvent:
    """A record as the view enters it, claimed by the object that comes back."""
    now = timezone.now()
    record = WebhookEvent(
        restaurant=restaurant,
        event_id=event.id,
        name=event.name,
        payload=b"{}",
        received_at=now,
        deadline_at=changes.pop("deadline_at", now + timedelta(seconds=15)),
    )
    claiming.begin(record, event)
    for name, value in changes.items():
        setattr(record, name, value)
    return WebhookEvent.objects.enter(record)[0]


def test_a_claim_lasts_half_a_minute_and_a_questions_never_past_its_deadline(restaurant: Restaurant) -> None:
    question, tell = (
        WebhookEvent(received_at=now, deadline_at=now + timedelta(seconds=15)) for now in [timezone.now()] * 2
    )

    claiming.begin(question, EVENT)
    claiming.begin(tell, TELL)

    assert question.claimed_until == question.deadline_at
    assert tell.claimed_until is not None
    assert timedelta(0) <= tell.claimed_until - tell.received_at - claiming.LEASE < timedelta(seconds=10)


def test_an_answer_what_it_wrote_and_the_state_commit_together(restaurant: Restaurant, answering: Answering) -> None:
    def write(event: events.BillRequested, **_: Any) -> Bill:
        Note.objects.create(text=f"record {event.record}")
        return BILL

    answering(bill_requested, write)
    record = keeping.handle(entered(restaurant), EVENT)

    assert (record.state, record.status, record.claim, record.claimed_until) == ("handled", 200, None, None)
    assert record.duration is not None
    assert record.finished_at is not None
    assert Note.objects.get().text == f"record {record.pk}"
    assert BillRow.objects.get().snapshot == BILL.as_json()


def test_a_refusal_undoes_what_the_handler_wrote_and_is_kept(restaurant: Restaurant, answering: Answering) -> None:
    def refuse(**_: Any) -> None:
        Note.objects.create(text="undone")
        raise BillClosed

    answering(bill_requested, refuse)
    record = keeping.handle(entered(restaurant), EVENT)

    assert (record.state, record.status, record.error) == ("handled", 422, "BillClosed: The bill is closed.")
    assert not Note.objects.exists()


def test_a_tell_that_is_refused_is_recorded_and_not_obeyed(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: Any) -> None:
        Note.objects.create(text="undone")
        raise DomainError("NOT_FOUND", "no such payment here")

    answering(payment_closed, refuse)
    deliver(restaurant, "paymentStart")
    record = keeping.handle(entered(restaurant, TELL), TELL)

    assert (record.state, record.status, record.answer) == ("handled", 200, b"null")
    assert record.error == "DomainError: no such payment here"
    assert "no such payment here" in caplog.text
    assert not Note.objects.exists()


def test_a_broken_handler_loses_everything_and_failed_is_written_by_itself(
    restaurant: Restaurant, answering: Answering
) -> None:
    def broken(**_: Any) -> None:
        Note.objects.create(text="undone")
        raise RuntimeError("a nul \0")

    answering(bill_requested, broken)
    record = keeping.handle(entered(restaurant), EVENT)

    record.refresh_from_db()
    assert (record.state, record.status, record.claim) == ("failed", 500, None)
    assert "a nul \\0" in record.error
    assert not Note.objects.exists()


def test_a_trace_is_storable_and_keeps_its_end() -> None:
    trace = keeping._trace(RuntimeError("x" * 10_000 + "half \ud800"))

    assert trace.endswith("xxxhalf ?\n")
    assert len(trace) < 5_000


@pytest.mark.parametrize(
    "refusal", [DomainError("X", "half \ud800"), DomainError("\ud800", "x"), DomainError("X", "nul \0")]
)
def test_a_refusal_in_text_that_nobody_stores_is_a_refusal_all_the_same(
    restaurant: Restaurant, answering: Answering, refusal: DomainError
) -> None:
    def refuse(**_: Any) -> None:
        raise refusal

    answering(bill_requested, refuse)

    assert keeping.handle(entered(restaurant), EVENT).status == 422
    assert WebhookEvent.objects.get().error


def test_a_coroutine_that_was_cancelled_is_a_broken_handler(restaurant: Restaurant, answering: Answering) -> None:
    async def cancelled(**_: Any) -> None:
        raise CancelledError

    answering(bill_requested, cancelled)

    assert keeping.handle(entered(restaurant), EVENT).state == "failed"


def test_a_database_error_in_a_handler_is_the_handlers(restaurant: Restaurant, answering: Answering) -> None:
    def broken(**_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    answering(bill_requested, broken)

    assert keeping.handle(entered(restaurant), EVENT).state == "failed"


@pytest.mark.django_db(transaction=True)
def test_what_breaks_after_the_commit_does_not_undo_the_answer(
    transactional_restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    def promise(**_: Any) -> Bill:
        transaction.on_commit(lambda: 1 / 0, using=router.db_for_write(WebhookEvent))
        return BILL

    answering(bill_requested, promise)

    assert deliver(transactional_restaurant, "getBill", event_id="e").json() == BILL.as_json()
    assert WebhookEvent.objects.get().state == "handled"
    assert "what was to follow the commit broke" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("breaks", [ZeroDivisionError, partial(OperationalError, 1213, "Deadlock found")])
def test_what_breaks_after_the_commit_does_not_undo_that_the_answer_comes_later(
    transactional_restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture, breaks: Any
) -> None:
    def hook() -> None:
        raise breaks()

    def promise(**_: Any) -> Any:
        asked.append(1)
        transaction.on_commit(hook, using=router.db_for_write(WebhookEvent))
        return LATER

    asked: list[int] = []
    answering(bill_requested, promise)

    response = deliver(transactional_restaurant, "getBill", event_id="e")

    assert (response.status_code, response.json(), len(asked)) == (202, None, 1)
    assert WebhookEvent.objects.get().is_postponed
    assert "what was to follow the commit broke" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_observers_hear_what_the_books_found_whatever_breaks_after_the_commit(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    found: list[Any] = []

    def promise(**_: Any) -> None:
        transaction.on_commit(lambda: 1 / 0, using=router.db_for_write(WebhookEvent))

    answering(bill_requested, offer())
    deliver(transactional_restaurant, "getBill")
    answering(payment_started, promise)
    answering(payment_contradicts_bill, lambda payment, contradictions, **_: found.append((payment, contradictions)))

    assert deliver(transactional_restaurant, "paymentStart", {"payment": DEAR}).status_code == 200

    ((payment, (contradiction,)),) = found
    assert (payment.state, contradiction.what) == ("started", "price of item 1")


@pytest.mark.django_db(transaction=True)
def test_nobody_hears_what_the_books_found_where_the_handling_broke(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("the till is broken")

    answering(bill_requested, offer())
    deliver(transactional_restaurant, "getBill")
    answering(payment_started, broken)
    answering(payment_contradicts_bill, lambda **_: pytest.fail("it was undone"))

    assert deliver(transactional_restaurant, "paymentStart", {"payment": DEAR}).status_code == 500


@pytest.mark.django_db(transaction=True)
def test_a_commit_that_fails_is_the_handlers_failure(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    def dangling(**_: Any) -> Bill:
        if not connection.features.can_defer_constraint_checks:
            raise IntegrityError("such a database refuses it at once")
        Rejection.objects.add(
            restaurant_id=10**9, reason="x", hour=timezone.now(), at=timezone.now(), number=1, samples=[]
        )
        return BILL

    answering(bill_requested, dangling)

    assert deliver(transactional_restaurant, "getBill", event_id="e").status_code == 500
    record = WebhookEvent.objects.get()
    assert (record.state, record.claim) == ("failed", None)


@pytest.mark.parametrize("answer", [BILL, LATER], ids=["now", "later"])
def test_a_claim_that_was_lost_undoes_what_was_written(
    restaurant: Restaurant, answering: Answering, answer: Any
) -> None:
    def overtaken(**_: Any) -> Any:
        Note.objects.create(text="undone")
        later = timezone.now() + timedelta(minutes=1)
        other = WebhookEvent.objects.get()
        assert other.claim_again(at=later, until=later, deadline_at=later, promised=False)
        return answer

    answering(bill_requested, overtaken)

    with pytest.raises(Busy):
        keeping.handle(entered(restaurant), EVENT)
    assert not Note.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer: nobody claims during a handling")
@pytest.mark.parametrize("breaks", [False, True])
def test_somebody_elses_claim_stays_theirs(
    transactional_restaurant: Restaurant, answering: Answering, breaks: bool
) -> None:
    def claim_elsewhere() -> None:
        later = timezone.now() + timedelta(minutes=1)
        other = WebhookEvent.objects.get()
        assert other.claim_again(at=later, until=later, deadline_at=later, promised=False)
        connection.close()

    def overtaken(**_: Any) -> Bill:
        thread = threading.Thread(target=claim_elsewhere)
        thread.start()
        thread.join()
        if breaks:
            raise RuntimeError("too late")
        return BILL

    answering(bill_requested, overtaken)

    with pytest.raises(Busy):
        keeping.handle(entered(transactional_restaurant), EVENT)
    record = WebhookEvent.objects.get()
    assert (record.state, record.handlings) == ("handling", 2)


def test_a_question_that_took_until_after_its_deadline_is_stale(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    failed: list[Any] = []
    answering(event_failed, lambda **got: failed.append(got["error"]))

    def slow(**_: Any) -> Bill:
        Note.objects.create(text="undone")
        return BILL

    answering(bill_requested, slow)
    record = entered(restaurant)
    record.deadline_at = timezone.now()  # the handling takes no time here, so the deadline comes to it
    WebhookEvent.objects.update(deadline_at=record.deadline_at)

    with pytest.raises(TooLate):
        keeping.handle(record, EVENT)

    record.refresh_from_db()
    assert (record.state, record.answer) == ("stale", None)
    assert not Note.objects.exists()
    assert [type(error) for error in failed] == [ClaimLost]
    assert "its claim ran out. What its handler wrote is undone." in caplog.text


def test_observers_hear_what_became_of_it_and_cannot_break_it(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def observe(record: WebhookEvent, **got: Any) -> None:
        heard.append((record.state, got["event"].record == record.pk, got["restaurant"], str(got.get("error"))))
        raise RuntimeError("an observer's own trouble")

    answering(event_handled, observe)
    answering(event_failed, observe)
    statuses = iter([OSError("first"), None])

    def recovering(**_: Any) -> Bill:
        if error := next(statuses):
            raise error
        return BILL

    answering(bill_requested, recovering)
    heard_by_qerko = [deliver(restaurant, "getBill", event_id="e").status_code for _ in range(2)]

    assert heard_by_qerko == [500, 200]
    assert heard == [("failed", True, restaurant, "first"), ("handled", True, restaurant, "None")]
    assert "an observer's own trouble" in caplog.text


def test_a_second_delivery_waits_and_is_told_to_come_again(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "PATIENCE", 0.1)
    entered(restaurant)

    assert deliver(restaurant, "getBill", event_id="e").status_code == 503
    assert WebhookEvent.objects.get().handlings == 1


def test_an_abandoned_handling_is_taken_up(restaurant: Restaurant, answering: Answering) -> None:
    answering(bill_requested, BILL)
    entered(restaurant, claimed_until=timezone.now())

    assert deliver(restaurant, "getBill", event_id="e").status_code == 200
    assert WebhookEvent.objects.get().handlings == 2


@pytest.mark.parametrize("state", ["received", "stale"])
def test_what_waits_or_went_stale_is_handled_when_it_is_delivered_again(
    restaurant: Restaurant, answering: Answering, state: str
) -> None:
    answering(bill_requested, BILL)
    old = timezone.now() - timedelta(minutes=1)
    entered(restaurant, state=state, claim=None, claimed_until=None, handlings=0)
    WebhookEvent.objects.update(deadline_at=old)

    assert deliver(restaurant, "getBill", event_id="e").status_code == 200
    record = WebhookEvent.objects.get()
    assert (record.state, record.handlings) == ("handled", 1)
    assert record.deadline_at > old


@pytest.mark.parametrize(("claimed", "becomes"), [(False, "stale"), (True, "handling")])
def test_a_late_redelivery_of_an_unfinished_question_is_410(
    restaurant: Restaurant, claimed: bool, becomes: str
) -> None:
    record = entered(restaurant) if claimed else entered(restaurant, state="failed", claim=None, claimed_until=None)

    WebhookEvent.objects.update(deadline_at=timezone.now())
    with pytest.raises(TooLate):
        claiming.take_up(record, EVENT, deadline_at=timezone.now())

    record.refresh_from_db()
    assert record.state == becomes

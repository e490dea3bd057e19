"""What is answered later: 202 at the door, the handling in the queue, the answer in the outbox."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.dispatch import Signal
from django.utils import timezone

from django_qerko import answers, queueing, tasks
from django_qerko.answers import LATER, NOTHING, Bill, Receipt, ReceiptInfo
from django_qerko.exceptions import BillNotFound, DomainError, Malformed, TooLate
from django_qerko.handling import claiming, keeping
from django_qerko.models import Payment, Reply, Restaurant, WebhookEvent
from django_qerko.models.about import event_of
from django_qerko.replying import reply_later
from django_qerko.signals import (
    bill_requested,
    event_failed,
    event_handled,
    payment_closed,
    payment_processed,
)
from tests.celery import app
from tests.clocks import Stopwatch
from tests.deliveries import deliver
from tests.records import begin
from tests.servers import free_port

Answering = Callable[[Signal, Any], None]

RECEIPT = Receipt(receipt_info=ReceiptInfo(), items=[], tax_info=[])
BILL = Bill(id="42", currency="CZK", items=[])
LATER_ALL = ["getBill", "paymentStart", "paymentProcessed", "paymentClosed", "orderStart"]


@pytest.fixture(autouse=True)
def everything_later(settings: Any) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": LATER_ALL}


@pytest.fixture
def broker_gone() -> Iterator[None]:
    """Nobody listens where the broker was."""
    before = app.conf.broker_url
    app.conf.update(broker_url=f"redis://127.0.0.1:{free_port()}/0")
    hang_up()
    yield
    app.conf.update(broker_url=before)
    hang_up()


def hang_up() -> None:
    """Let the next ring open a line of its own."""
    for bell in queueing._bells.values():
        if bell._messenger is not None:
            bell._messenger.dismiss()
    queueing._bells.clear()


def record() -> WebhookEvent:
    return WebhookEvent.objects.get()


def said(reply: Reply) -> Any:
    return json.loads(bytes(reply.answer))


def promise(restaurant: Restaurant, event: str = "paymentProcessed", **how: Any) -> WebhookEvent:
    """An event that is delivered and answered 202; of a payment that has begun, where it is about one."""
    if event in ("paymentProcessed", "paymentClosed") and not Payment.objects.exists():
        begin(restaurant, payment_id="p1")
    response = deliver(restaurant, event, event_id="e", **how)
    assert (response.status_code, response.content) == (202, b"null")
    return record()


def test_a_promised_event_waits_for_the_queue(restaurant: Restaurant, answering: Answering) -> None:
    answering(payment_processed, lambda **_: pytest.fail("not in the request"))

    kept = promise(restaurant)

    assert (kept.state, kept.handlings, kept.claim) == ("received", 0, None)
    assert kept.promised_at is not None


def test_its_answer_is_stored_with_what_the_handler_wrote(restaurant: Restaurant, answering: Answering) -> None:
    answering(payment_processed, RECEIPT)
    kept = promise(restaurant)

    tasks.handle_event(kept.pk)

    kept.refresh_from_db()
    assert (kept.state, kept.status, kept.handlings) == ("handled", 200, 1)
    reply = kept.replies.get()
    assert (reply.state, reply.is_error, reply.deadline_at) == ("waiting", False, kept.deadline_at)
    assert said(reply) == RECEIPT.as_json()
    assert str(reply) == f"reply {reply.pk} to paymentProcessed e"


def test_null_is_an_answer_too(restaurant: Restaurant) -> None:
    kept = promise(restaurant, "paymentStart")

    tasks.handle_event(kept.pk)

    assert said(kept.replies.get()) is None
    assert Payment.objects.get().state == "started"


@pytest.mark.parametrize(
    ("answer", "state", "error"),
    [
        (BillNotFound(), "handled", {"code": "BILL_NOT_FOUND", "message": "There is no such bill."}),
        (OSError("the till"), "failed", {"code": None, "message": "The event could not be handled."}),
        (None, "failed", {"code": "NO_SUCH_METHOD", "message": "No handler knows an answer to this event."}),
    ],
    ids=["refused", "broken", "nobody"],
)
def test_an_error_leaves_at_once(
    restaurant: Restaurant, answering: Answering, answer: Any, state: str, error: dict[str, Any]
) -> None:
    def speak(**_: Any) -> None:
        if answer is not None:
            raise answer

    answering(bill_requested, speak)
    kept = promise(restaurant, "getBill")

    tasks.handle_event(kept.pk)

    kept.refresh_from_db()
    reply = kept.replies.get()
    assert (kept.state, reply.state, reply.is_error, said(reply)) == (state, "waiting", True, error)


def test_a_message_may_come_twice(restaurant: Restaurant, answering: Answering) -> None:
    answering(payment_processed, RECEIPT)
    kept = promise(restaurant)

    for _ in range(2):
        tasks.handle_event(kept.pk)
    tasks.handle_event(10**9)

    assert (record().handlings, Reply.objects.count()) == (1, 1)


def test_what_failed_is_not_handled_again_by_an_old_message(restaurant: Restaurant) -> None:
    kept = promise(restaurant, "getBill")

    for _ in range(2):
        tasks.handle_event(kept.pk)

    assert (record().state, record().handlings) == ("failed", 1)


def test_a_question_that_waited_past_its_deadline_is_stale(restaurant: Restaurant, answering: Answering) -> None:
    answering(payment_processed, lambda **_: pytest.fail("too late"))
    kept = promise(restaurant)
    WebhookEvent.objects.update(deadline_at=timezone.now())

    tasks.handle_event(kept.pk)
    tasks.handle_event(kept.pk)

    assert (record().state, Reply.objects.count()) == ("stale", 0)


def test_a_tell_is_handled_at_any_age_and_only_its_reply_is_dropped(
    restaurant: Restaurant, answering: Answering
) -> None:
    heard: list[str] = []
    answering(payment_closed, lambda event, **_: heard.append(event.state))
    kept = promise(restaurant, "paymentClosed")
    WebhookEvent.objects.update(deadline_at=timezone.now())

    tasks.handle_event(kept.pk)

    assert (heard, record().state, kept.replies.get().state) == (["PAID"], "handled", "stale")


def test_a_tell_past_its_deadline_is_not_promised(restaurant: Restaurant) -> None:
    begin(restaurant, payment_id="p1")

    assert deliver(restaurant, "paymentClosed", created=time.time() - 20).status_code == 200
    assert not Reply.objects.exists()


def test_a_record_that_new_code_cannot_read_ends(restaurant: Restaurant, caplog: pytest.LogCaptureFixture) -> None:
    kept = promise(restaurant)
    WebhookEvent.objects.update(payload=b"{}")

    tasks.handle_event(kept.pk)

    assert record().state == "failed"
    assert "cannot be read" in caplog.text


# -- Delivered again -----------------------------------------------------------------------------


def test_handled_meanwhile_it_is_answered_now(restaurant: Restaurant, answering: Answering) -> None:
    answering(payment_processed, RECEIPT)
    tasks.handle_event(promise(restaurant).pk)

    response = deliver(restaurant, "paymentProcessed", event_id="e")

    assert (response.status_code, response.json()) == (200, RECEIPT.as_json())
    assert (record().handlings, Reply.objects.count()) == (1, 1)


@pytest.mark.parametrize("state", ["received", "failed", "stale"])
def test_unfinished_it_is_promised_again_with_a_new_deadline(
    restaurant: Restaurant, answering: Answering, state: str
) -> None:
    answering(payment_processed, RECEIPT)
    promise(restaurant)
    old = timezone.now() - timedelta(minutes=1)
    WebhookEvent.objects.update(state=state, deadline_at=old, finished_at=None)

    kept = promise(restaurant)

    assert (kept.state, kept.deadline_at > old) == ("received", True)
    tasks.handle_event(kept.pk)
    assert (record().state, Reply.objects.get().state) == ("handled", "waiting")


def test_while_it_is_handled_202_stands_with_a_new_deadline(restaurant: Restaurant, answering: Answering) -> None:
    def meanwhile(**_: Any) -> Receipt:
        WebhookEvent.objects.update(deadline_at=timezone.now() + timedelta(seconds=1))
        before = record().deadline_at
        assert promise(restaurant).deadline_at > before
        return RECEIPT

    answering(payment_processed, meanwhile)
    tasks.handle_event(promise(restaurant).pk)

    assert record().handlings == 1


def test_a_deadline_that_was_extended_counts_for_the_handling_in_progress(
    restaurant: Restaurant, answering: Answering
) -> None:
    answering(payment_processed, RECEIPT)
    kept = promise(restaurant)
    claimed = WebhookEvent.objects.get()
    soon = timezone.now() + timedelta(milliseconds=1)
    assert claimed.claim_again(at=timezone.now(), until=soon, deadline_at=soon, promised=True)
    WebhookEvent.objects.update(deadline_at=kept.deadline_at)
    time.sleep(0.002)

    keeping.handle(claimed, event_of(claimed))

    assert (record().state, Reply.objects.get().deadline_at) == ("handled", kept.deadline_at)


def test_a_promise_whose_handler_died_is_made_again(restaurant: Restaurant) -> None:
    kept = promise(restaurant)
    now = timezone.now()
    assert kept.claim_again(at=now, until=now, deadline_at=kept.deadline_at, promised=True)

    assert promise(restaurant).state == "received"


# -- Without a broker ------------------------------------------------------------------------------


@pytest.mark.usefixtures("broker_gone")
@pytest.mark.parametrize("again", [False, True])
def test_without_a_broker_it_is_answered_now(restaurant: Restaurant, answering: Answering, again: bool) -> None:
    begin(restaurant, payment_id="p1")
    answering(payment_processed, RECEIPT)
    if again:
        kept = WebhookEvent(
            restaurant=restaurant, event_id="e", name="paymentProcessed", payload=b"{}", state="received"
        )
        kept.received_at = kept.deadline_at = kept.promised_at = timezone.now()
        kept.save()

    with Stopwatch() as watch:
        response = deliver(restaurant, "paymentProcessed", event_id="e")

    assert (response.status_code, response.json()) == (200, RECEIPT.as_json())
    assert watch.seconds < 1.5
    # Whoever was told 202 before is owed a reply as well.
    assert (record().state, record().promised_at is not None, Reply.objects.count()) == ("handled", again, int(again))


@pytest.mark.usefixtures("broker_gone")
def test_without_a_broker_what_a_worker_has_already_is_left_to_it(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The message went out, though nobody confirmed it in time.
    def unconfirmed(_: str, key: int) -> bool:
        now = timezone.now()
        assert record().claim_again(at=now, until=now + claiming.LEASE, deadline_at=now + claiming.LEASE, promised=True)
        return False

    monkeypatch.setattr(queueing, "ring", unconfirmed)

    assert promise(restaurant).state == "handling"


def test_a_promise_that_another_delivery_made_meanwhile_is_kept(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, answering: Answering
) -> None:
    # The other delivery's message is on its way, and 202 was said to it.
    def promised_elsewhere(_: str, key: int) -> bool:
        later = timezone.now() + timedelta(seconds=1)
        assert record().promise_again(at=later, deadline_at=later)
        return False

    begin(restaurant, payment_id="p1")
    monkeypatch.setattr(queueing, "ring", promised_elsewhere)
    answering(payment_processed, RECEIPT)

    assert deliver(restaurant, "paymentProcessed", event_id="e").status_code == 202
    assert record().state == "handled"
    assert said(Reply.objects.get()) == RECEIPT.as_json()


def test_what_a_worker_answered_although_nobody_knew_is_not_answered_twice(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, answering: Answering
) -> None:
    def quick(_: Any, key: int) -> bool:
        assert claiming.handle_recorded(key)
        return False

    monkeypatch.setattr(queueing, "ring", quick)
    answering(payment_processed, RECEIPT)

    assert promise(restaurant).state == "handled"
    assert said(Reply.objects.get()) == RECEIPT.as_json()


# -- LATER -----------------------------------------------------------------------------------------


@pytest.fixture(params=["now", "later"])
def postponed(
    request: pytest.FixtureRequest, restaurant: Restaurant, answering: Answering, settings: Any
) -> WebhookEvent:
    """An event whose handler said LATER, in the request or in the queue."""
    if request.param == "now":
        settings.QERKO = settings.QERKO | {"ANSWER_LATER": []}
    answering(bill_requested, LATER)
    kept = promise(restaurant, "getBill")
    tasks.handle_event(kept.pk)
    kept.refresh_from_db()
    assert (kept.state, kept.claim, kept.handlings, Reply.objects.count()) == ("handling", None, 1, 0)
    return kept


def test_the_first_reply_makes_it_handled_and_further_ones_may_follow(
    postponed: WebhookEvent, django_capture_on_commit_callbacks: Any, answering: Answering
) -> None:
    heard: list[Any] = []
    answering(event_handled, lambda event, record, **_: heard.append((event.bill_id, event.record, record.state)))

    with django_capture_on_commit_callbacks(execute=True):
        first = reply_later(postponed, BILL)
        second = reply_later(event_of(postponed).recorded_as(postponed.pk), BillNotFound())

    postponed.refresh_from_db()
    assert (postponed.state, postponed.status, bytes(postponed.answer or b"")) == ("handled", 200, answers.write(BILL))
    assert [first.is_error, second.is_error] == [False, True]
    assert heard == [("42", postponed.pk, "handled")]


def test_a_refusal_may_come_later(postponed: WebhookEvent) -> None:
    reply_later(postponed, DomainError("ACCESS_DENIED", "no"))

    postponed.refresh_from_db()
    assert (postponed.state, postponed.status) == ("handled", 422)


def test_202_stands_while_a_later_answer_is_owed(postponed: WebhookEvent) -> None:
    WebhookEvent.objects.update(deadline_at=timezone.now() + timedelta(seconds=1))

    again = promise(postponed.restaurant, "getBill")

    assert (again.state, again.handlings) == ("handling", 1)
    assert again.deadline_at > timezone.now() + timedelta(seconds=5)


@pytest.mark.parametrize("answer", [LATER, NOTHING, RECEIPT, [BILL], None, "done"], ids=repr)
def test_what_does_not_answer_it_is_refused_to_the_caller(postponed: WebhookEvent, answer: Any) -> None:
    with pytest.raises(TypeError, match="getBill wants Bill"):
        reply_later(postponed, answer)

    assert not Reply.objects.exists()


def test_what_comes_after_the_deadline_is_kept_and_does_not_leave(postponed: WebhookEvent) -> None:
    WebhookEvent.objects.update(deadline_at=timezone.now())

    assert reply_later(postponed, BILL).state == "stale"


def test_a_record_is_known_by_its_key_too(postponed: WebhookEvent) -> None:
    key = event_of(postponed).record
    assert key is not None

    assert reply_later(key, BILL).event == postponed


def test_no_202_is_said_where_no_reply_could_leave(restaurant: Restaurant, answering: Answering, settings: Any) -> None:
    begin(restaurant, payment_id="p1")
    answering(payment_processed, RECEIPT)
    for missing in ("POS_ID", "BASE_URL"):
        settings.QERKO = settings.QERKO | {missing: ""}

        assert deliver(restaurant, "paymentProcessed", event_id=missing).status_code == 200

    assert not Reply.objects.exists()


def test_an_event_without_a_record_is_nobodys(postponed: WebhookEvent) -> None:
    unrecorded = event_of(postponed).model_copy(update={"record": None})
    with pytest.raises(LookupError):
        reply_later(unrecorded, BILL)
    with pytest.raises(LookupError):
        reply_later(WebhookEvent(pk=10**9), BILL)
    with pytest.raises(LookupError):
        reply_later(10**9, BILL)


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("events", [[], LATER_ALL], ids=["now", "later"])
def test_a_handler_may_reply_and_say_later(
    restaurant: Restaurant, answering: Answering, settings: Any, events: list[str], refuses: bool
) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": events}

    def early(event: Any, **_: Any) -> Any:
        reply_later(event, BillNotFound() if refuses else BILL)
        return LATER

    answering(bill_requested, early)
    # One answer: what leaves through /reply is not said at the door as well.
    tasks.handle_event(promise(restaurant, "getBill").pk)

    assert (record().state, record().status) == ("handled", 422 if refuses else 200)
    assert Reply.objects.count() == 1


def test_an_error_that_left_before_is_not_the_answer_to_a_second_handling(
    restaurant: Restaurant, answering: Answering
) -> None:
    said = iter([OSError("no till"), LATER])

    def recovering(**_: Any) -> Any:
        answer = next(said)
        if isinstance(answer, OSError):
            raise answer
        return answer

    answering(bill_requested, recovering)
    for _ in range(2):
        tasks.handle_event(promise(restaurant, "getBill").pk)

    assert (record().state, Reply.objects.count()) == ("handling", 1)


def test_a_handling_that_was_lost_is_left_to_whoever_has_it(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    kept = promise(restaurant)
    with_little_left = timezone.now() + timedelta(seconds=0.2)
    WebhookEvent.objects.update(deadline_at=with_little_left)

    def slow(**_: Any) -> Receipt:
        time.sleep(0.3)
        return RECEIPT

    answering(payment_processed, slow)
    caplog.set_level(logging.INFO)
    tasks.handle_event(kept.pk)

    assert (record().state, Reply.objects.count()) == ("stale", 0)
    assert "left to whoever has it now" in caplog.text


def test_a_record_that_somebody_else_takes_up_first_is_theirs(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = promise(restaurant)
    read = event_of

    def overtaken(record: WebhookEvent) -> Any:
        now = timezone.now()
        rival = WebhookEvent.objects.get()
        assert rival.claim_again(at=now, until=now + claiming.LEASE, deadline_at=rival.deadline_at, promised=True)
        return read(record)

    monkeypatch.setattr(claiming, "event_of", overtaken)
    tasks.handle_event(kept.pk)
    assert (record().state, record().handlings) == ("handling", 1)

    def unreadable(record: WebhookEvent) -> Any:
        now = timezone.now()
        rival = WebhookEvent.objects.get()
        assert rival.claim_again(at=now, until=now + claiming.LEASE, deadline_at=rival.deadline_at, promised=True)
        raise Malformed("x")

    WebhookEvent.objects.update(claimed_until=timezone.now())
    monkeypatch.setattr(claiming, "event_of", unreadable)
    tasks.handle_event(kept.pk)
    assert (record().state, record().handlings) == ("handling", 2)


def test_a_handler_that_says_later_too_late_is_undone(restaurant: Restaurant, answering: Answering) -> None:
    failed: list[Any] = []
    answering(event_failed, lambda error, **_: failed.append(type(error).__name__))

    answering(bill_requested, LATER)
    kept = promise(restaurant, "getBill")
    claimed = WebhookEvent.objects.get()
    assert claimed.claim_again(at=timezone.now(), until=kept.deadline_at, deadline_at=kept.deadline_at, promised=True)
    WebhookEvent.objects.update(deadline_at=timezone.now())

    with pytest.raises(TooLate):
        keeping.handle(claimed, event_of(claimed))

    assert (record().state, failed) == ("stale", ["ClaimLost"])


# -- What an attacker found ------------------------------------------------------------------------


def test_a_worker_does_not_undo_a_deadline_that_was_opened_meanwhile(restaurant: Restaurant) -> None:
    promise(restaurant)
    worker = WebhookEvent.objects.get()
    later = worker.deadline_at + timedelta(seconds=5)
    WebhookEvent.objects.update(deadline_at=later)

    now = timezone.now()
    assert not worker.claim_again(at=now, until=now, deadline_at=worker.deadline_at, promised=True)
    assert record().deadline_at == later


def test_an_older_delivery_does_not_shorten_the_deadline(restaurant: Restaurant) -> None:
    kept = promise(restaurant)

    assert promise(restaurant, created=time.time() - 10).deadline_at >= kept.deadline_at


def test_an_error_that_still_waits_gives_way_to_the_answer(restaurant: Restaurant, answering: Answering) -> None:
    said = iter([OSError("no till"), RECEIPT])

    def recovering(**_: Any) -> Any:
        answer = next(said)
        if isinstance(answer, OSError):
            raise answer
        return answer

    answering(payment_processed, recovering)
    for _ in range(2):
        tasks.handle_event(promise(restaurant).pk)

    states = [(reply.is_error, reply.state) for reply in Reply.objects.order_by("pk")]
    assert states == [(True, "stale"), (False, "waiting")]


def test_a_tell_is_not_answered_later(restaurant: Restaurant, answering: Answering) -> None:
    answering(payment_closed, LATER)
    tasks.handle_event(promise(restaurant, "paymentClosed").pk)

    assert (record().state, said(Reply.objects.get())) == ("handled", None)


def test_a_tell_that_breaks_again_is_no_news(restaurant: Restaurant, answering: Answering) -> None:
    def broken(**_: Any) -> None:
        raise OSError("no till")

    answering(payment_closed, broken)
    kept = promise(restaurant, "paymentClosed")
    for _ in range(2):
        WebhookEvent.objects.filter(state="failed").update(next_handling_at=timezone.now())
        tasks.handle_event(kept.pk)

    assert (record().handlings, Reply.objects.count()) == (2, 1)


# -- Tells that fail -------------------------------------------------------------------------------


def test_a_tell_that_fails_is_handled_again_with_growing_pauses(restaurant: Restaurant, answering: Answering) -> None:
    tries: list[int] = []

    def breaking(**_: Any) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise OSError("no till")

    answering(payment_closed, breaking)
    kept = promise(restaurant, "paymentClosed")
    pauses = []
    while record().state != "handled":
        WebhookEvent.objects.filter(state="failed").update(next_handling_at=timezone.now())
        tasks.handle_event(kept.pk)
        if (again := record().next_handling_at) is not None:
            pauses.append(again - timezone.now())

    assert len(tries) == 4
    assert pauses == sorted(pauses)
    assert record().next_handling_at is None


def test_a_tell_that_fails_for_a_day_asks_for_a_person(
    restaurant: Restaurant, answering: Answering, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.QERKO = settings.QERKO | {"RETRY_TELLS": timedelta(0)}

    def broken(**_: Any) -> None:
        raise OSError("no till")

    answering(payment_closed, broken)
    tasks.handle_event(promise(restaurant, "paymentClosed").pk)

    assert (record().state, record().next_handling_at) == ("failed", None)
    assert "a person must look" in caplog.text


# -- Celery ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_eager_celery_handles_in_the_request(
    transactional_restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    answering(payment_processed, RECEIPT)
    settings.QERKO = settings.QERKO | {"BASE_URL": f"http://127.0.0.1:{free_port()}"}
    app.conf.task_always_eager = True
    try:
        promise(transactional_restaurant)
    finally:
        app.conf.task_always_eager = False

    reply = Reply.objects.get()
    assert (record().state, reply.state, reply.attempts.count()) == ("handled", "waiting", 1)


def test_a_message_holds_an_id_and_nothing_else(restaurant: Restaurant) -> None:
    with app.connection_for_read() as broker, broker.SimpleQueue("celery") as queue:
        queue.clear()
        kept = promise(restaurant)
        message = queue.get(timeout=1)

    assert message.headers["task"] == queueing.HANDLE_EVENT
    assert message.payload[:2] == [[kept.pk], {}]


# -- Statements ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_delivery_answered_202_takes_one_statement(
    transactional_restaurant: Restaurant, django_assert_num_queries: Any
) -> None:
    promise(transactional_restaurant, "paymentStart")

    with django_assert_num_queries(1, connection=connection):
        deliver(transactional_restaurant, "paymentProcessed", event_id="second")

"""What a handler does, and what happens at the same moment, leaves payments and bills in step."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models.signals import pre_save
from django.dispatch import Signal
from django.utils import timezone

from django_qerko import answers, tasks
from django_qerko.answers import LATER, NOTHING
from django_qerko.exceptions import BillNotFound, DomainError
from django_qerko.models import Bill, Payment, Reply, Restaurant, WebhookEvent
from django_qerko.replying import reply_later
from django_qerko.signals import (
    bill_requested,
    payment_closed,
    payment_processed,
    payment_started,
    postponed_receipt_requested,
    table_list_requested,
)
from tests.deliveries import deliver
from tests.records import NOON, RECEIPT, SECOND, begin, enter, offer, open_bill, told
from tests.till.models import Note
from tests.workers import until

Answering = Callable[[Signal, Any], None]

SIGNALS = {"paymentStart": payment_started, "paymentProcessed": payment_processed, "paymentClosed": payment_closed}
POSTPONED = RECEIPT.model_copy(update={"receipt_delivery_type": "POSTPONED"})
EMAILED = RECEIPT.model_copy(update={"receipt_delivery_type": "EMAIL"})
DECLINED = {"paymentId": "p1", "state": "DECLINED"}
ONE_WRITER = "SQLite has one writer: nobody else writes meanwhile"


def said(restaurant: Restaurant, event: str, data: Any = ..., **how: Any) -> tuple[int, Any]:
    """What Qerko hears, now or later."""
    response = deliver(restaurant, event, data, **how)
    if response.status_code != 202:
        return response.status_code, response.json()
    record = WebhookEvent.objects.latest("pk")
    tasks.handle_event(record.pk)
    reply, body = record.replies.get(), json.loads(bytes(record.replies.get().answer))
    return (200 if not reply.is_error else 422 if body["code"] else 500), body


@pytest.fixture(params=["now", "later"])
def when(request: pytest.FixtureRequest, settings: Any) -> None:
    """Every payment event is answered now, or every one later."""
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": list(SIGNALS) if request.param == "later" else []}


# -- Handlers that raise ---------------------------------------------------------------------------


class Handler:
    """A handler that writes rows of its own and raises before or after that."""

    def __init__(self, *, refuses: bool, writes_first: bool) -> None:
        self.refuses, self.writes_first = refuses, writes_first
        self.recovered = False

    def __call__(self, event: Any, **_: Any) -> Any:
        if self.writes_first or self.recovered:
            Note.objects.create(text=event.name)
        if not self.recovered:
            raise DomainError("ACCESS_DENIED", "not today") if self.refuses else RuntimeError("the till is broken")
        return RECEIPT if event.name == "paymentProcessed" else None


@pytest.fixture(params=[False, True], ids=["before writing", "after writing"])
def writes_first(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def come_before(event: str, restaurant: Restaurant) -> Payment | None:
    """What is so when an event comes; and a payment's receipt was given by somebody who did not raise."""
    bill = open_bill(restaurant, "42")
    if event == "paymentStart":
        return None
    return begin(restaurant, bill=bill, payment_id="p1", state="processed" if event == "paymentClosed" else "started")


@pytest.mark.usefixtures("when")
@pytest.mark.parametrize(
    ("event", "status", "state"),
    [("paymentStart", 422, "cancelled"), ("paymentProcessed", 422, "cancelled"), ("paymentClosed", 200, "paid")],
)
def test_a_refusal_keeps_what_we_wrote_and_undoes_what_the_handler_wrote(
    restaurant: Restaurant, answering: Answering, writes_first: bool, event: str, status: int, state: str
) -> None:
    come_before(event, restaurant)
    answering(SIGNALS[event], Handler(refuses=True, writes_first=writes_first))

    assert said(restaurant, event)[0] == status

    payment, record = Payment.objects.get(), WebhookEvent.objects.get()
    assert (payment.state, payment.in_progress_on, record.state) == (state, None, "handled")
    assert payment.reason == ("ACCESS_DENIED: not today" if state == "cancelled" else "")
    last = payment.steps.last()
    assert last is not None
    assert (last.state, last.event, last.reason) == (state, record, payment.reason)
    assert (Bill.objects.get().locked, Note.objects.count()) == ({}, 0)
    assert "not today" in record.error


@pytest.mark.usefixtures("when")
@pytest.mark.parametrize("event", SIGNALS)
def test_a_handler_that_breaks_loses_everything(
    restaurant: Restaurant, answering: Answering, writes_first: bool, event: str
) -> None:
    payment = come_before(event, restaurant)
    answering(SIGNALS[event], Handler(refuses=False, writes_first=writes_first))

    assert said(restaurant, event)[0] == 500

    record = WebhookEvent.objects.get()
    assert (record.state, "the till is broken" in record.error, Note.objects.count()) == ("failed", True, 0)
    kept = Payment.objects.first()
    assert (kept and (kept.state, kept.steps.count())) == (payment and (payment.state, payment.steps.count()))
    assert Bill.objects.get().locked_quantities == ({} if payment is None else {"1": Decimal(1)})
    assert (record.next_handling_at is not None) is (event == "paymentClosed")


@pytest.mark.usefixtures("when")
@pytest.mark.parametrize(
    ("event", "state"), [("paymentStart", "started"), ("paymentProcessed", "processed"), ("paymentClosed", "paid")]
)
def test_a_handler_that_recovers_when_it_is_told_again_has_lost_nothing(
    restaurant: Restaurant, answering: Answering, event: str, state: str
) -> None:
    come_before(event, restaurant)
    handler = Handler(refuses=False, writes_first=True)
    answering(SIGNALS[event], handler)
    said(restaurant, event, event_id="e")
    Reply.objects.all().delete()
    handler.recovered = True

    assert said(restaurant, event, event_id="e")[0] == 200

    assert (Payment.objects.get().state, Note.objects.get().text) == (state, event)


# -- What is refused by the books ------------------------------------------------------------------


@pytest.mark.parametrize("snapshot", [{}, {"snapshot": None, "snapshot_at": None}], ids=["told", "never told"])
def test_a_payment_that_the_books_refuse_is_kept_with_its_reason(
    restaurant: Restaurant, answering: Answering, snapshot: dict[str, Any]
) -> None:
    open_bill(restaurant, "42", **snapshot).close(at=NOON)
    answering(payment_started, lambda **_: pytest.fail("nobody is asked"))

    assert said(restaurant, "paymentStart")[0] == 422

    payment, record = Payment.objects.get(), WebhookEvent.objects.get()
    assert (payment.state, payment.reason) == ("cancelled", "BILL_CLOSED: The bill is closed.")
    assert (payment.steps.get().event, record.state, record.status) == (record, "handled", 422)
    assert Bill.objects.get().locked == {}


def test_a_refusal_without_a_code_is_known_by_its_name(restaurant: Restaurant, answering: Answering) -> None:
    def refuse(**_: Any) -> None:
        raise DomainError(None, "no")

    answering(payment_started, refuse)

    said(restaurant, "paymentStart")

    assert Payment.objects.get().reason == "DomainError: no"


def test_a_payment_on_a_bill_that_nobody_told_of_locks_its_own_items(restaurant: Restaurant) -> None:
    assert said(restaurant, "paymentStart") == (200, None)

    bill = Bill.objects.get()
    assert (bill.bill_id, bill.snapshot, bill.locked_quantities) == ("42", None, {"1": Decimal(1)})


def test_a_second_payment_has_qerko_asked_about_the_first(
    restaurant: Restaurant, caplog: pytest.LogCaptureFixture
) -> None:
    first = begin(restaurant, bill=open_bill(restaurant, "42"))

    assert said(restaurant, "paymentStart", {"payment": told("p2")})[1]["code"] == "ACCESS_DENIED"

    first.refresh_from_db()
    assert first.newer_start_at is not None
    assert first.next_question_at == first.newer_start_at
    assert f"Qerko is asked about {first}" in caplog.text


# -- Which events are booked -----------------------------------------------------------------------


@pytest.mark.parametrize("event", [*SIGNALS, "getPostponedReceipt"])
def test_a_project_may_keep_its_own_books_of_payments(
    restaurant: Restaurant, answering: Answering, settings: Any, event: str
) -> None:
    settings.QERKO = settings.QERKO | {"BOOKKEEPING": []}
    got: list[Any] = []

    def receive(bill: Any, payment: Any, **_: Any) -> Any:
        got.append((bill, payment))
        return RECEIPT if signal in (payment_processed, postponed_receipt_requested) else None

    signal = SIGNALS.get(event, postponed_receipt_requested)
    answering(signal, receive)

    assert said(restaurant, event)[0] == 200
    assert got == [(None, None)]
    assert not Payment.objects.exists()


@pytest.mark.parametrize("event", [*SIGNALS, "getPostponedReceipt"])
def test_a_project_that_keeps_its_own_books_of_starts_knows_payments_that_we_do_not(
    restaurant: Restaurant, answering: Answering, settings: Any, event: str
) -> None:
    settings.QERKO = settings.QERKO | {"BOOKKEEPING": ["paymentProcessed", "paymentClosed", "getPostponedReceipt"]}
    for signal in (payment_processed, postponed_receipt_requested):
        answering(signal, RECEIPT)

    assert said(restaurant, event)[0] == 200
    assert not Payment.objects.exists()


def test_a_project_that_keeps_its_own_books_refuses_by_itself(
    restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    settings.QERKO = settings.QERKO | {"BOOKKEEPING": []}

    def refuse(**_: Any) -> None:
        raise BillNotFound

    answering(bill_requested, refuse)

    assert said(restaurant, "getBill")[0] == 422


def test_what_is_not_kept_in_books_passes_by(restaurant: Restaurant, answering: Answering) -> None:
    answering(table_list_requested, [])

    assert said(restaurant, "getTableList") == (200, [])


# -- Receipts --------------------------------------------------------------------------------------


def test_a_postponed_receipt_is_given_from_our_table_when_it_is_there(
    restaurant: Restaurant, answering: Answering
) -> None:
    answering(payment_processed, POSTPONED)
    begin(restaurant, payment_id="p1")
    assert said(restaurant, "paymentProcessed")[1]["receiptDeliveryType"] == "POSTPONED"

    # Nobody listens to the question: the promise is repeated.
    assert said(restaurant, "getPostponedReceipt") == (200, POSTPONED.as_json())
    Payment.objects.get().provide_receipt(RECEIPT)

    assert said(restaurant, "getPostponedReceipt") == (200, RECEIPT.as_json())


def test_a_receipt_that_nobody_promised_and_nobody_has_is_no_method(restaurant: Restaurant) -> None:
    begin(restaurant, payment_id="p1")

    assert said(restaurant, "getPostponedReceipt")[1]["code"] == "NO_SUCH_METHOD"


def test_a_handler_may_know_the_postponed_receipt(restaurant: Restaurant, answering: Answering) -> None:
    payment = begin(restaurant, payment_id="p1", state="processed", receipt=POSTPONED.as_json())
    answering(postponed_receipt_requested, RECEIPT)

    assert said(restaurant, "getPostponedReceipt") == (200, RECEIPT.as_json())
    payment.refresh_from_db()
    assert (payment.state, payment.receipt) == ("processed", RECEIPT.as_json())


def test_a_refused_receipt_leaves_the_payment_alone(restaurant: Restaurant, answering: Answering) -> None:
    begin(restaurant, payment_id="p1", state="processed", receipt=POSTPONED.as_json())

    def refuse(**_: Any) -> None:
        raise DomainError("NOT_FOUND", "not yet")

    answering(postponed_receipt_requested, refuse)

    assert said(restaurant, "getPostponedReceipt")[0] == 422
    assert Payment.objects.get().state == "processed"


def test_a_receipt_that_is_there_before_the_money_moved_is_the_answer(
    restaurant: Restaurant, answering: Answering
) -> None:
    begin(restaurant, payment_id="p1").provide_receipt(RECEIPT)
    answering(payment_processed, lambda **_: pytest.fail("nobody is asked"))

    assert said(restaurant, "paymentProcessed") == (200, RECEIPT.as_json())
    assert Payment.objects.get().state == "processed"


def test_a_refused_receipt_of_a_payment_that_is_paid_leaves_it_paid(
    restaurant: Restaurant, answering: Answering
) -> None:
    begin(restaurant, payment_id="p1", state="paid")

    def refuse(**_: Any) -> None:
        raise DomainError("NOT_FOUND", "no receipt")

    answering(payment_processed, refuse)

    assert said(restaurant, "paymentProcessed")[0] == 422
    assert Payment.objects.get().state == "paid"


def test_a_receipt_that_was_handed_in_is_not_replaced_by_the_one_that_is_answered(
    restaurant: Restaurant, answering: Answering
) -> None:
    begin(restaurant, payment_id="p1")

    def hand_in(payment: Payment, **_: Any) -> answers.Receipt:
        payment.provide_receipt(RECEIPT)
        return EMAILED

    answering(payment_processed, hand_in)

    assert said(restaurant, "paymentProcessed") == (200, RECEIPT.as_json())
    assert (Payment.objects.get().state, Payment.objects.get().receipt) == ("processed", RECEIPT.as_json())


# -- Answers that come later -----------------------------------------------------------------------


def postpone(restaurant: Restaurant, answering: Answering, event: str) -> WebhookEvent:
    """An event whose handler says LATER."""
    answering({**SIGNALS, "getBill": bill_requested, "getPostponedReceipt": postponed_receipt_requested}[event], LATER)
    assert deliver(restaurant, event).status_code == 202
    return WebhookEvent.objects.get()


def test_a_receipt_given_later_makes_the_payment_processed(restaurant: Restaurant, answering: Answering) -> None:
    payment = begin(restaurant, payment_id="p1")
    record = postpone(restaurant, answering, "paymentProcessed")
    assert Payment.objects.get().state == "started"

    reply_later(record, POSTPONED)
    reply_later(record, RECEIPT)

    payment.refresh_from_db()
    assert (payment.state, payment.receipt) == ("processed", RECEIPT.as_json())
    step = payment.steps.last()
    assert step is not None
    assert step.event == record


@pytest.mark.parametrize("event", ["paymentStart", "paymentProcessed"])
def test_a_refusal_given_later_cancels(restaurant: Restaurant, answering: Answering, event: str) -> None:
    come_before(event, restaurant)
    record = postpone(restaurant, answering, event)
    assert Bill.objects.get().locked

    reply_later(record, DomainError("ACCESS_DENIED", "not today"))

    payment = Payment.objects.get()
    assert (payment.state, payment.reason) == ("cancelled", "ACCESS_DENIED: not today")
    assert Bill.objects.get().locked == {}


def test_a_start_accepted_later_has_started(restaurant: Restaurant, answering: Answering) -> None:
    record = postpone(restaurant, answering, "paymentStart")

    reply_later(record, NOTHING)

    assert (Payment.objects.get().state, Reply.objects.get().is_error) == ("started", False)


@pytest.mark.parametrize(
    ("event", "answer"),
    [("paymentStart", NOTHING), ("paymentProcessed", RECEIPT), ("getPostponedReceipt", RECEIPT)],
)
def test_what_is_answered_after_the_payment_came_to_nothing_is_refused(
    restaurant: Restaurant, answering: Answering, event: str, answer: Any
) -> None:
    come_before(event, restaurant)
    record = postpone(restaurant, answering, event)
    deliver(restaurant, "paymentClosed", DECLINED)

    reply = reply_later(record, answer)

    assert (reply.is_error, json.loads(bytes(reply.answer))["code"]) == (True, "BAD_PARAMETER")
    payment = Payment.objects.get()
    assert (payment.state, payment.final_state, payment.receipt) == ("cancelled", "DECLINED", None)
    assert Bill.objects.get().locked == {}


@pytest.mark.parametrize("second", [EMAILED, POSTPONED], ids=["another", "postponed"])
@pytest.mark.parametrize("event", ["paymentProcessed", "getPostponedReceipt"])
def test_of_two_receipts_given_later_the_first_is_said_again(
    restaurant: Restaurant, answering: Answering, event: str, second: answers.Receipt
) -> None:
    begin(restaurant, payment_id="p1")
    record = postpone(restaurant, answering, event)

    replies = [reply_later(record, receipt) for receipt in (RECEIPT, second)]

    assert [json.loads(bytes(reply.answer)) for reply in replies] == [RECEIPT.as_json()] * 2
    assert Payment.objects.get().receipt == RECEIPT.as_json()


def test_a_start_under_another_event_is_put_to_the_handler_while_the_first_waits_for_its_answer(
    restaurant: Restaurant, answering: Answering
) -> None:
    record = postpone(restaurant, answering, "paymentStart")
    asked: list[str] = []
    answering(payment_started, lambda event, **_: asked.append(event.id))

    assert deliver(restaurant, "paymentStart", event_id="second").status_code == 202
    assert asked == ["second"]

    reply_later(record, NOTHING)
    assert deliver(restaurant, "paymentStart", event_id="third").status_code == 200
    assert asked == ["second"]
    assert (Payment.objects.get().state, Payment.objects.get().steps.count()) == ("started", 1)


def test_a_start_that_waits_for_a_later_answer_is_put_to_the_handler_again(
    restaurant: Restaurant, answering: Answering
) -> None:
    record = postpone(restaurant, answering, "paymentStart")
    WebhookEvent.objects.update(state="stale", deadline_at=timezone.now(), finished_at=timezone.now())

    assert deliver(restaurant, "paymentStart", event_id=record.event_id).status_code == 202
    record.refresh_from_db()
    assert (record.state, record.handlings, Payment.objects.get().state) == ("handling", 2, "started")


def test_a_start_about_which_no_handler_decided_in_time_is_put_to_it_under_another_event(
    restaurant: Restaurant, answering: Answering
) -> None:
    postpone(restaurant, answering, "paymentStart")
    WebhookEvent.objects.update(state="stale", deadline_at=timezone.now(), finished_at=timezone.now())

    def refuse(**_: Any) -> None:
        raise DomainError("ACCESS_DENIED", "not today")

    answering(payment_started, refuse)

    assert deliver(restaurant, "paymentStart", event_id="second").status_code == 422
    assert (Payment.objects.get().state, Bill.objects.get().locked) == ("cancelled", {})


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason=ONE_WRITER)
def test_a_refusal_that_overtakes_the_beginning_it_refuses_is_booked(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    open_bill(transactional_restaurant, "42")

    def refuse(record: int) -> None:
        reply_later(record, DomainError("ACCESS_DENIED", "not today"))
        connection.close()

    def overtaken(event: Any, **_: Any) -> Any:
        thread = threading.Thread(target=refuse, args=[event.record])
        thread.start()
        thread.join(20)
        return LATER

    answering(payment_started, overtaken)

    assert deliver(transactional_restaurant, "paymentStart").status_code == 202
    payment = Payment.objects.get()
    assert (payment.state, payment.reason) == ("cancelled", "ACCESS_DENIED: not today")
    assert Bill.objects.get().locked == {}
    assert Reply.objects.get().is_error


@pytest.mark.parametrize("answer", [RECEIPT, DomainError("ACCESS_DENIED", "not today")], ids=["answer", "refusal"])
def test_what_comes_too_late_changes_nothing(restaurant: Restaurant, answering: Answering, answer: Any) -> None:
    begin(restaurant, payment_id="p1")
    record = postpone(restaurant, answering, "paymentProcessed")
    WebhookEvent.objects.update(deadline_at=timezone.now())

    assert reply_later(record, answer).state == "stale"

    payment = Payment.objects.get()
    assert (payment.state, payment.receipt, payment.steps.count()) == ("started", None, 1)


def test_a_postponed_receipt_given_later_is_kept(restaurant: Restaurant, answering: Answering) -> None:
    begin(restaurant, payment_id="p1", state="processed", receipt=POSTPONED.as_json())
    record = postpone(restaurant, answering, "getPostponedReceipt")

    reply_later(record, RECEIPT)

    assert Payment.objects.get().receipt == RECEIPT.as_json()


@pytest.mark.parametrize(("style", "left"), [("unpaid", "2"), ("ordered", "1")])
def test_a_bill_given_later_is_remembered_as_qerko_is_told(
    restaurant: Restaurant, answering: Answering, settings: Any, style: str, left: str
) -> None:
    settings.QERKO = settings.QERKO | {"BILL_ITEMS": style}
    begin(restaurant, bill=open_bill(restaurant, "42"), state="paid")
    record = postpone(restaurant, answering, "getBill")

    reply = reply_later(record, offer())

    told_later = json.loads(bytes(reply.answer))
    assert Decimal(told_later["items"][0]["quantity"]) == Decimal(left)
    assert Bill.objects.get().snapshot == told_later


def test_a_bill_on_which_nothing_is_left_is_closed_later_as_well(
    restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    settings.QERKO = settings.QERKO | {"BILL_ITEMS": "ordered"}
    begin(restaurant, bill=open_bill(restaurant, "42"), state="paid")
    record = postpone(restaurant, answering, "getBill")

    reply = reply_later(record, offer(item_1=1))

    assert (reply.is_error, json.loads(bytes(reply.answer))["code"]) == (True, "BILL_CLOSED")
    assert Bill.objects.get().state == "closed"


def test_a_list_given_later_is_remembered(restaurant: Restaurant) -> None:
    record = enter(
        restaurant,
        "getTableContents",
        state="handling",
        payload=b'{"id":"e","event":"getTableContents","data":{"tableId":"T1"}}',
        deadline_at=timezone.now() + 15 * SECOND,
        promised_at=timezone.now(),
    )

    reply_later(record, [offer("1"), offer("2")])

    assert set(Bill.objects.filter(bill_id__in=["1", "2"]).values_list("bill_id", flat=True)) == {"1", "2"}


def test_a_later_answer_is_left_alone_where_the_project_keeps_its_own_books(
    restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    settings.QERKO = settings.QERKO | {"BOOKKEEPING": []}
    record = postpone(restaurant, answering, "getBill")

    reply_later(record, offer())
    reply_later(record, BillNotFound())

    assert not Bill.objects.exists()


def test_a_reply_to_what_has_happened_is_not_booked_twice(restaurant: Restaurant, answering: Answering) -> None:
    begin(restaurant, payment_id="p1", state="processed")

    def reply(event: Any, **_: Any) -> Any:
        reply_later(event, NOTHING)
        return LATER

    answering(payment_closed, reply)

    assert said(restaurant, "paymentClosed") == (200, None)
    assert (Payment.objects.get().state, Payment.objects.get().steps.count()) == ("paid", 3)


def test_a_later_answer_about_a_payment_that_nobody_knows_is_sent_all_the_same(
    restaurant: Restaurant, answering: Answering, settings: Any
) -> None:
    settings.QERKO = settings.QERKO | {"BOOKKEEPING": ["paymentProcessed"]}
    record = postpone(restaurant, answering, "paymentProcessed")

    assert reply_later(record, RECEIPT).state == "waiting"
    assert not Payment.objects.exists()


# -- At the same moment ----------------------------------------------------------------------------


@contextmanager
def meanwhile(model: type[Any], act: Callable[[], object]) -> Iterator[None]:
    """Another connection acts, once, right before the first row of a model is inserted here."""
    others: list[threading.Thread] = []

    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    def overtaken(**_: Any) -> None:
        if not others:
            others.append(threading.Thread(target=run))
            others[0].start()
            others[0].join()

    pre_save.connect(overtaken, sender=model)
    try:
        yield
    finally:
        pre_save.disconnect(overtaken, sender=model)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason=ONE_WRITER)
def test_the_same_payment_that_begins_on_another_bill_at_the_same_moment_begins_once(
    transactional_restaurant: Restaurant,
) -> None:
    other = open_bill(transactional_restaurant, "43")

    with meanwhile(Payment, lambda: begin(transactional_restaurant, bill=other, payment_id="p1")):
        response = said(transactional_restaurant, "paymentStart")

    assert response == (
        422,
        {"code": "BAD_PARAMETER", "message": "There was a payment of this id, and it was another."},
    )
    assert Payment.objects.get().bill == other


def test_a_payment_that_the_database_refuses_for_any_other_reason_is_a_failure(restaurant: Restaurant) -> None:
    def unusable(instance: Payment, **_: Any) -> None:
        instance.state = "lost"

    pre_save.connect(unusable, sender=Payment)
    try:
        assert said(restaurant, "paymentStart")[0] == 500
    finally:
        pre_save.disconnect(unusable, sender=Payment)
    assert IntegrityError.__name__ in WebhookEvent.objects.get().error
    assert not Payment.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason=ONE_WRITER)
def test_two_payments_of_one_bill_at_the_same_moment_are_one_and_a_refusal(
    transactional_restaurant: Restaurant,
) -> None:
    heard: list[int] = []
    together = threading.Barrier(4)

    def start(number: int) -> None:
        together.wait()
        heard.append(deliver(transactional_restaurant, "paymentStart", {"payment": told(f"p{number}")}).status_code)
        connection.close()

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(heard) == [200, 422, 422, 422]
    assert Payment.objects.in_progress().count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason=ONE_WRITER)
@pytest.mark.parametrize("is_told", [True, False], ids=["told", "never told"])
@pytest.mark.parametrize(("state", "status", "becomes"), [("DECLINED", 422, "cancelled"), ("PAID", 200, "paid")])
def test_an_end_that_is_told_while_a_handler_is_at_the_beginning_is_heeded(
    transactional_restaurant: Restaurant, answering: Answering, state: str, status: int, becomes: str, is_told: bool
) -> None:
    if is_told:
        open_bill(transactional_restaurant, "42")
    heard: list[int] = []

    def end() -> None:
        data = {"paymentId": "p1", "state": state}
        heard.append(deliver(transactional_restaurant, "paymentClosed", data).status_code)
        connection.close()

    thread = threading.Thread(target=end)

    def overtaken(**_: Any) -> None:
        thread.start()
        until(lambda: WebhookEvent.objects.named("paymentClosed").exists(), seconds=10)

    answering(payment_started, overtaken)

    response = said(transactional_restaurant, "paymentStart")
    thread.join(20)

    assert (response[0], heard) == (status, [200])
    payment = Payment.objects.get()
    assert (payment.state, payment.in_progress_on, payment.final_state) == (becomes, None, state)
    assert (Bill.objects.get().locked, payment.alarm) == ({}, "")


# -- Given up by the database ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deadlocks", "status", "asked"), [(1, 200, 2), (2, 200, 3), (3, 500, 3)], ids=["once", "twice", "always"]
)
def test_a_handling_that_the_database_gives_up_is_begun_again(
    restaurant: Restaurant, answering: Answering, deadlocks: int, status: int, asked: int
) -> None:
    tries: list[int] = []

    def deadlocked(**_: Any) -> None:
        tries.append(1)
        if len(tries) <= deadlocks:
            raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")

    answering(payment_started, deadlocked)

    assert (said(restaurant, "paymentStart")[0], len(tries)) == (status, asked)
    assert Payment.objects.count() == (1 if status == 200 else 0)


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_after_the_commit_begins_nothing_again(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    tries: list[int] = []

    def break_later() -> None:
        raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")

    def hooking(**_: Any) -> None:
        tries.append(1)
        transaction.on_commit(break_later)

    answering(payment_started, hooking)

    assert deliver(transactional_restaurant, "paymentStart").status_code == 200
    assert (len(tries), WebhookEvent.objects.get().state) == (1, "handled")


@pytest.mark.parametrize("state", ["STARTED", "PAID"])
def test_a_handling_that_somebody_else_has_is_not_begun_again(
    restaurant: Restaurant, answering: Answering, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    tries: list[int] = []
    look_again = WebhookEvent.look_again

    def deadlocked(**_: Any) -> None:
        tries.append(1)
        raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")

    def look(record: WebhookEvent) -> None:
        WebhookEvent.objects.update(claim=uuid.uuid4(), handlings=2)
        look_again(record)

    answering({"STARTED": payment_started, "PAID": payment_closed}[state], deadlocked)
    monkeypatch.setattr(WebhookEvent, "look_again", look)

    assert deliver(restaurant, "paymentStart" if state == "STARTED" else "paymentClosed").status_code == 503
    assert (len(tries), WebhookEvent.objects.get().state) == (1, "handling")


@pytest.mark.parametrize("args", [(), ("disk I/O error",), (2006, "Server has gone away")], ids=str)
def test_any_other_trouble_of_the_database_is_a_failure_at_once(
    restaurant: Restaurant, answering: Answering, args: tuple[Any, ...]
) -> None:
    tries: list[int] = []

    def broken(**_: Any) -> None:
        tries.append(1)
        raise OperationalError(*args)

    answering(payment_started, broken)

    assert (said(restaurant, "paymentStart")[0], len(tries)) == (500, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason=ONE_WRITER)
def test_of_two_handlings_that_wait_for_each_other_both_come_to_their_end(
    transactional_restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    notes = [Note.objects.create(text=str(number)) for number in range(2)]
    together = threading.Barrier(2)
    tries: list[str] = []

    def cross(event: Any, **_: Any) -> None:
        first, second = notes if event.payment_id == "p0" else reversed(notes)
        tries.append(event.payment_id)
        Note.objects.filter(pk=first.pk).update(text="first")
        if len(tries) <= 2:
            together.wait(10)
        Note.objects.filter(pk=second.pk).update(text="second")

    answering(payment_started, cross)
    heard: list[int] = []

    def start(number: int) -> None:
        payment = told(f"p{number}", f"bill-{number}")
        heard.append(deliver(transactional_restaurant, "paymentStart", {"payment": payment}).status_code)
        connection.close()

    threads = [threading.Thread(target=start, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert heard == [200, 200]
    assert len(tries) == 3
    assert "met another in the database, and is begun again" in caplog.text


def test_a_handler_that_replies_itself_and_answers_too_is_no_accident(
    restaurant: Restaurant, answering: Answering
) -> None:
    def reply_and_answer(event: Any, **_: Any) -> answers.Receipt:
        reply_later(event, RECEIPT)
        return RECEIPT

    deliver(restaurant, "paymentStart")
    answering(payment_processed, reply_and_answer)

    assert deliver(restaurant, "paymentProcessed").status_code == 200
    assert [step.state for step in Payment.objects.get().steps.all()] == ["started", "processed"]


def test_a_handler_sees_a_payment_at_its_end(restaurant: Restaurant, answering: Answering) -> None:
    """So that it may hand in the receipt of one that was cancelled before."""
    deliver(restaurant, "paymentStart")
    deliver(restaurant, "paymentClosed", {"paymentId": "p1", "state": "DECLINED"})
    answering(payment_closed, lambda payment, **_: payment.provide_receipt(RECEIPT))

    assert deliver(restaurant, "paymentClosed").status_code == 200
    assert (Payment.objects.get().state, Payment.objects.get().receipt) == ("paid", RECEIPT.as_json())


@pytest.mark.parametrize(("state", "status", "becomes"), [("EXPIRED", 200, "cancelled"), ("PAID", 422, "started")])
def test_an_end_that_overtakes_a_beginning_in_the_queue_is_heeded(
    restaurant: Restaurant, settings: Any, state: str, status: int, becomes: str
) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": ["paymentStart"]}
    assert deliver(restaurant, "paymentStart", event_id="start").status_code == 202

    assert deliver(restaurant, "paymentClosed", {"paymentId": "p1", "state": state}).status_code == status
    tasks.handle_event(WebhookEvent.objects.get(event_id="start").pk)

    assert (Payment.objects.get().state, bool(Bill.objects.get().locked)) == (becomes, becomes == "started")


@pytest.mark.parametrize("event", ["paymentProcessed", "getPostponedReceipt"])
def test_a_payment_that_nobody_knows_is_not_found(restaurant: Restaurant, event: str) -> None:
    response = deliver(restaurant, event)

    assert (response.status_code, response.json()["code"]) == (422, "NOT_FOUND")


@pytest.mark.parametrize("said", [None, DomainError("ACCESS_DENIED", "no"), RuntimeError("broken")])
def test_money_for_a_payment_that_never_started_is_not_found_whatever_handlers_say(
    restaurant: Restaurant, answering: Answering, said: Exception | None
) -> None:
    heard: list[Any] = []

    def hear(payment: Payment | None, **_: Any) -> None:
        heard.append(payment)
        if said is not None:
            raise said

    answering(payment_closed, hear)

    response = deliver(restaurant, "paymentClosed")

    assert heard == [None]
    wanted = (500, None) if isinstance(said, RuntimeError) else (422, "NOT_FOUND")
    assert (response.status_code, response.json()["code"]) == wanted
    assert WebhookEvent.objects.get().next_handling_at is not None

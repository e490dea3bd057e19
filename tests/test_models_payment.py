"""A payment goes from step to step, and only where the protocol lets it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from pytest_django import DjangoAssertNumQueries

from django_qerko import events
from django_qerko.exceptions import StepRefused
from django_qerko.models import Bill, Payment, PaymentItem, PaymentPart, Restaurant
from tests.records import NOON, RECEIPT, SECOND, begin, enter, offer, open_bill, told

LATER = NOON + 2 * SECOND
POSTPONED = RECEIPT.model_copy(update={"receipt_delivery_type": "POSTPONED"})
OTHER = RECEIPT.model_copy(update={"receipt_delivery_type": "EMAIL"})

VERBS: dict[str, Callable[[Payment], Any]] = {
    "process": lambda payment: payment.process(RECEIPT, at=LATER),
    "mark paid": lambda payment: payment.mark_paid(at=LATER),
    "cancel": lambda payment: payment.cancel(at=LATER, reason="It came to nothing."),
}
#: Each allowed step: from a state, by a verb, to a state.
STEPS = {
    ("started", "process"): "processed",
    ("started", "mark paid"): "paid",
    ("started", "cancel"): "cancelled",
    ("processed", "mark paid"): "paid",
    ("processed", "cancel"): "cancelled",
    # Money moved, whatever was said before.
    ("cancelled", "mark paid"): "paid",
}


def kept(payment: Payment) -> tuple[str, Any]:
    return Payment.objects.values_list("state", "changed_at").get(pk=payment.pk)


def steps(payment: Payment) -> list[str]:
    return [str(step) for step in payment.steps.all()]


def receipt_of(payment: Payment) -> Any:
    """The receipt that was given last, as JSON."""
    return payment.given_receipt and payment.given_receipt.as_json()


def read(members: dict[str, Any]) -> events.Payment:
    return events.Payment.model_validate(members)


# -- How it begins ---------------------------------------------------------------------------------


def test_a_payment_begins_with_its_bill_and_what_was_told(restaurant: Restaurant) -> None:
    bill, event = open_bill(restaurant, "42"), enter(restaurant, "paymentStart")
    members = told(
        idCustomer="guest",
        tipBrutto=Decimal("123456789012.345678"),
        discount={"source": "owner", "value": "5.00"},
        additionalData={"waiter": "Jan"},
        items=[
            {"id": "1", "name": "Pivo", "quantity": Decimal("0.5"), "price": Decimal("55.00"), "additionalData": [7]},
            {"id": "2", "quantity": "1"},
        ],
        parts=[{"total": "20.00", "provider": {"id": "1", "name": "Card", "type": "CARD"}}, {"total": "7.50"}],
    )

    made = Payment.objects.start(
        restaurant, read(members), bill=bill, payload=members, at=NOON, ask_at=LATER, because_of=event.pk
    )

    payment = Payment.objects.get(pk=made.pk)
    assert (payment.state, str(payment), payment.bill, payment.in_progress_on) == ("started", "p1", bill, bill)
    assert (payment.customer_id, payment.currency, payment.receipt) == ("guest", "CZK", None)
    assert (payment.tip_brutto, payment.tip_netto) == (Decimal("123456789012.345678"), Decimal("5.00"))
    assert payment.payload["tipBrutto"] == "123456789012.345678"
    assert ((payment.discount or {})["value"], payment.additional_data) == ("5.00", {"waiter": "Jan"})
    assert (payment.created_at, payment.changed_at, payment.next_question_at) == (NOON, NOON, LATER)
    assert [str(item) for item in payment.items.all()] == ["0.5 × Pivo", "1 × 2"]
    assert [str(part) for part in payment.parts.all()] == ["20 through Card", "7.5 through nobody named"]
    assert payment.stood == {"1": "2", "2": "0"}
    assert Bill.objects.get().locked_quantities == {"1": Decimal("0.5"), "2": Decimal(1)}
    step = payment.steps.get()
    assert (str(step), step.at, step.event) == ("new → started", NOON, event)


def test_what_stood_on_the_bill_counts_what_was_paid(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    begin(restaurant, bill=bill, state="paid")

    assert begin(restaurant, bill=bill).stood == {"1": "2"}


def test_on_a_bill_that_nobody_told_of_nothing_is_known_to_stand(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, snapshot=None, snapshot_at=None)

    payment = begin(restaurant, bill=bill)

    assert payment.stood == {}
    assert bill.locked_quantities == {"1": Decimal(1)}


def test_a_payment_that_is_refused_leaves_its_reason_and_no_lock(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, "42")

    payment = Payment.objects.refuse(
        restaurant, read(told()), bill=bill, payload=told(), at=NOON, reason="BAD_PARAMETER: no"
    )

    assert (payment.state, payment.reason, payment.in_progress_on) == ("cancelled", "BAD_PARAMETER: no", None)
    assert payment.is_cancelled
    assert not payment.is_closed
    assert (steps(payment), payment.steps.get().reason) == (["new → cancelled"], "BAD_PARAMETER: no")
    assert Bill.objects.get().locked == {}


def test_a_payment_is_known_with_its_bill_in_one_statement(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    begin(Restaurant.objects.create(name="U Fleků"), payment_id="p1")
    ours = begin(restaurant, payment_id="p1")

    with django_assert_num_queries(1):
        found = Payment.objects.known(restaurant, "p1")
        assert found is not None
        assert found.bill == ours.bill

    assert found == ours
    assert Payment.objects.known(restaurant, "p2") is None


def test_a_payment_is_held_with_its_bill(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    ours = begin(restaurant, payment_id="p1")

    with django_assert_num_queries(3):
        held = Payment.objects.held(restaurant, "p1")
        assert held is not None
        assert (held, held.bill, held.restaurant) == (ours, ours.bill, restaurant)

    assert Payment.objects.held(restaurant, "p2") is None


def test_the_payment_in_progress_on_a_bill_is_found(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    begin(restaurant, bill=bill, state="cancelled")
    assert Payment.objects.occupying(bill) is None

    payment = begin(restaurant, bill=bill)

    assert Payment.objects.occupying(bill) == payment


def test_a_restaurant_has_a_payment_once(restaurant: Restaurant) -> None:
    begin(restaurant, payment_id="p1")

    with pytest.raises(IntegrityError), transaction.atomic(using=restaurant._state.db):
        begin(restaurant, payment_id="p1")

    assert begin(Restaurant.objects.create(name="U Fleků"), payment_id="p1").pk


@pytest.mark.parametrize("other", ["P1", "p1 ", "ṕ1"])
def test_ids_are_compared_byte_for_byte(restaurant: Restaurant, other: str) -> None:
    begin(restaurant, payment_id="p1")

    assert Payment.objects.known(restaurant, other) is None
    assert begin(restaurant, payment_id=other).pk


# -- Whether it is told again ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"tipBrutto": "5.0", "items": [{"id": "1", "quantity": "1.000", "price": "55"}]},
        {"state": "ELSE", "timestamp": None, "additionalData": 7, "parts": [{"total": "55", "provider": {"id": "2"}}]},
    ],
)
def test_bill_guest_money_and_items_say_that_it_is_the_same(restaurant: Restaurant, members: dict[str, Any]) -> None:
    payment = begin(restaurant, payment_id="p1", bill=open_bill(restaurant, "42"))

    assert payment.is_same_as(read(told(**members)))


@pytest.mark.parametrize(
    "members",
    [
        {"idBill": "43"},
        {"idCustomer": "guest"},
        {"currency": "EUR"},
        {"tipBrutto": "5.01"},
        {"tipNetto": None},
        {"items": []},
        {"items": [{"id": "2", "quantity": "1", "price": "55.00"}]},
        {"items": [{"id": "1", "quantity": "2", "price": "55.00"}]},
        {"items": [{"id": "1", "quantity": "1", "price": "54.00"}]},
        {"discount": {"value": "1"}},
        {"parts": []},
        {"parts": [{"total": "54.00"}]},
        {"parts": [{"total": "27.50"}, {"total": "27.50"}]},
    ],
    ids=str,
)
def test_any_other_of_them_says_that_it_is_another(restaurant: Restaurant, members: dict[str, Any]) -> None:
    payment = begin(restaurant, payment_id="p1", bill=open_bill(restaurant, "42"))

    assert not payment.is_same_as(read(told() | members))


# -- Its steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "verb"), STEPS)
def test_a_step_that_is_allowed_is_taken(restaurant: Restaurant, state: str, verb: str) -> None:
    payment = begin(restaurant, state=state)

    VERBS[verb](payment)

    assert kept(payment) == (payment.state, payment.changed_at) == (STEPS[state, verb], LATER)
    assert steps(payment)[-1] == f"{state} → {payment.state}"


@pytest.mark.parametrize(
    ("state", "verb"),
    [(state, verb) for state in Payment.State.values for verb in VERBS if (state, verb) not in STEPS],
)
def test_any_other_step_is_refused_by_name(restaurant: Restaurant, state: str, verb: str) -> None:
    payment = begin(restaurant, state=state)
    before, history = kept(payment), steps(payment)

    with pytest.raises(StepRefused, match=f"is {state} and cannot become"):
        VERBS[verb](payment)

    assert kept(payment) == (payment.state, payment.changed_at) == before
    assert steps(payment) == history


def test_of_two_that_take_a_step_one_takes_it(restaurant: Restaurant) -> None:
    payment = begin(restaurant)
    behind = Payment.objects.get()

    payment.cancel(at=LATER, reason="The guest left.")
    with pytest.raises(StepRefused):
        behind.process(RECEIPT, at=LATER)

    assert (behind.state, Payment.objects.get().receipt) == ("started", None)


def test_a_step_says_which_event_caused_it_and_why(restaurant: Restaurant) -> None:
    payment, event = begin(restaurant), enter(restaurant, "paymentClosed")

    payment.cancel(at=LATER, reason="Qerko said EXPIRED.", because_of=event.pk, final_state="EXPIRED")

    step = payment.steps.last()
    assert step is not None
    assert (step.event, step.at, step.reason, step.before) == (event, LATER, "Qerko said EXPIRED.", "started")
    assert (payment.reason, payment.final_state, payment.is_closed) == ("Qerko said EXPIRED.", "EXPIRED", True)


@pytest.mark.parametrize("state", ["started", "processed"])
def test_what_is_cancelled_may_be_paid_by_others(restaurant: Restaurant, state: str) -> None:
    payment = begin(restaurant, state=state)

    payment.cancel(at=LATER, reason="The guest left.")

    assert Bill.objects.get().locked == payment.bill.locked == {}
    assert (payment.in_progress_on, payment.next_question_at, payment.is_in_progress) == (None, None, False)
    assert begin(restaurant, bill=payment.bill).pk


@pytest.mark.parametrize("state", ["started", "processed"])
def test_what_was_locked_is_paid(restaurant: Restaurant, state: str) -> None:
    payment = begin(restaurant, state=state)

    assert payment.mark_paid(at=LATER) == []

    bill = Bill.objects.get()
    assert (bill.locked, bill.paid_quantities, bill.settled_at) == ({}, {"1": Decimal(1)}, LATER)
    assert (bill.stood, bill.left) == ({"1": "2"}, {"1": Decimal(1)})
    assert (payment.is_paid, payment.final_state, payment.in_progress_on, payment.alarm) == (True, "PAID", None, "")


def test_the_latest_payment_says_how_much_stood_on_the_bill(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    first = begin(restaurant, bill=bill, state="cancelled")
    Bill.objects.filter(pk=bill.pk).update(snapshot=offer(bill.bill_id, item_1=5).as_json())
    bill.refresh_from_db()
    begin(restaurant, bill=bill, state="paid", created_at=LATER)
    assert Bill.objects.get().stood == {"1": "5"}

    first.bill.refresh_from_db()
    first.mark_paid(at=LATER)

    assert Bill.objects.get().stood == {"1": "5"}


def test_how_it_ended_is_kept_once(restaurant: Restaurant) -> None:
    payment = begin(restaurant, state="cancelled")

    payment.note_end("EXPIRED")
    payment.note_end("DECLINED")

    assert (payment.final_state, Payment.objects.get().final_state) == ("EXPIRED", "EXPIRED")


# -- What a person must look at --------------------------------------------------------------------


def test_what_was_cancelled_and_is_paid_after_all_is_an_alarm(restaurant: Restaurant) -> None:
    payment = begin(restaurant, state="cancelled")

    (alarm,) = payment.mark_paid(at=LATER)

    assert alarm == "It was cancelled before (The guest left.), and is paid after all."
    assert Payment.objects.alarming().get().alarm == payment.alarm == alarm
    assert Bill.objects.get().paid_quantities == {"1": Decimal(1)}


def test_why_it_was_cancelled_may_be_unknown(restaurant: Restaurant) -> None:
    assert "(no reason is known)" in begin(restaurant, state="cancelled", reason="").mark_paid(at=LATER)[0]


def test_another_payment_in_progress_keeps_its_lock(restaurant: Restaurant) -> None:
    payment = begin(restaurant, state="cancelled")
    other = begin(restaurant, bill=payment.bill)

    alarms = payment.mark_paid(at=LATER)

    assert alarms[1:] == ["Another payment is in progress on the same bill."]
    bill = Bill.objects.get()
    assert (bill.locked_quantities, Payment.objects.occupying(bill)) == ({"1": Decimal(1)}, other)


def test_more_that_is_paid_than_stood_on_the_bill_is_an_alarm(restaurant: Restaurant) -> None:
    both = {"items": [{"id": "1", "quantity": "2"}]}
    payment = begin(restaurant, state="cancelled", members=both)
    begin(restaurant, bill=payment.bill, state="paid", members=both)

    assert payment.mark_paid(at=LATER)[1:] == ["Of item 1, 4 are paid, and 2 stood on the bill."]


def test_what_stood_on_a_bill_and_is_not_paid_is_no_alarm(restaurant: Restaurant) -> None:
    nothing = {"items": [{"id": "1", "quantity": "0"}]}

    assert begin(restaurant, members=nothing).mark_paid(at=LATER) == []


# -- Its receipt -----------------------------------------------------------------------------------


def test_the_receipt_that_was_given_is_kept(restaurant: Restaurant) -> None:
    payment = begin(restaurant)
    assert (payment.has_receipt, payment.given_receipt) == (False, None)

    payment.process(RECEIPT, at=LATER)

    payment.refresh_from_db()
    assert (payment.receipt, receipt_of(payment), payment.has_receipt) == (RECEIPT.as_json(), RECEIPT.as_json(), True)


def test_a_postponed_receipt_is_only_a_promise(restaurant: Restaurant) -> None:
    payment = begin(restaurant)

    payment.process(POSTPONED, at=LATER)

    assert (receipt_of(payment), payment.has_receipt) == (POSTPONED.as_json(), False)


@pytest.mark.parametrize("state", ["started", "processed", "paid"])
def test_a_receipt_may_be_handed_in_from_anywhere_and_again(restaurant: Restaurant, state: str) -> None:
    payment = begin(restaurant, state=state)
    Payment.objects.update(receipt=POSTPONED.as_json() if state == "processed" else None)
    behind = Payment.objects.get()

    for row in (payment, behind, payment):
        row.provide_receipt(RECEIPT)

    assert receipt_of(payment) == behind.receipt == Payment.objects.get().receipt == RECEIPT.as_json()
    assert kept(payment)[0] == state


@pytest.mark.parametrize(
    ("state", "refusal"), [("processed", "has another receipt already"), ("cancelled", "was cancelled")]
)
def test_a_receipt_that_does_not_belong_to_it_is_refused(restaurant: Restaurant, state: str, refusal: str) -> None:
    payment = begin(restaurant, state=state)

    with pytest.raises(StepRefused, match=refusal):
        payment.provide_receipt(OTHER)

    assert receipt_of(Payment.objects.get()) == (RECEIPT.as_json() if state == "processed" else None)


def test_a_receipt_that_came_late_takes_no_step(restaurant: Restaurant) -> None:
    payment = begin(restaurant, state="paid")

    payment.keep_receipt(RECEIPT)

    assert (receipt_of(Payment.objects.get()), kept(payment)[0]) == (RECEIPT.as_json(), "paid")


# -- When Qerko is asked ---------------------------------------------------------------------------


def test_payments_in_progress_are_asked_about_in_time(restaurant: Restaurant) -> None:
    payment = begin(restaurant, next_question_at=LATER)
    for state in ("paid", "cancelled"):
        begin(restaurant, state=state)

    assert not Payment.objects.to_be_asked_about(LATER - SECOND)
    assert Payment.objects.to_be_asked_about(LATER).get() == payment


def test_a_question_is_asked_by_one(restaurant: Restaurant) -> None:
    payment = begin(restaurant)
    behind = Payment.objects.get()

    assert payment.claim_question(next_at=LATER)
    assert not behind.claim_question(next_at=LATER)

    assert (payment.questions, Payment.objects.get().questions, payment.next_question_at) == (1, 1, LATER)


def test_nobody_asks_about_what_has_ended(restaurant: Restaurant) -> None:
    assert not begin(restaurant, state="paid").claim_question(next_at=LATER)


def test_the_first_newer_start_is_remembered_and_the_next_question_is_due(restaurant: Restaurant) -> None:
    payment = begin(restaurant)

    payment.note_newer_start(at=LATER)
    payment.note_newer_start(at=LATER + SECOND)

    payment.refresh_from_db()
    assert (payment.newer_start_at, payment.next_question_at) == (LATER, LATER + SECOND)


def test_a_question_may_be_asked_sooner_and_never_later(restaurant: Restaurant) -> None:
    payment = begin(restaurant, next_question_at=LATER)

    assert payment.hasten_question(at=NOON)
    assert not payment.hasten_question(at=LATER)
    assert not begin(restaurant, state="paid").hasten_question(at=NOON)

    assert Payment.objects.get(pk=payment.pk).next_question_at == payment.next_question_at == NOON


# -- Which payments --------------------------------------------------------------------------------


def test_payments_are_found_by_their_state(restaurant: Restaurant) -> None:
    for state in Payment.State.values:
        begin(restaurant, state=state)

    assert {payment.state for payment in Payment.objects.in_progress()} == {"started", "processed"}
    assert {payment.state for payment in Payment.objects.paid()} == {"paid"}
    assert {payment.state for payment in Payment.objects.cancelled()} == {"cancelled"}


def test_payments_are_found_by_when_they_began(restaurant: Restaurant) -> None:
    before = begin(restaurant, created_at=NOON - SECOND)
    payment = begin(restaurant)

    assert Payment.objects.begun_since(NOON).get() == payment
    assert Payment.objects.begun_before(NOON).get() == before


def test_payments_that_do_not_fit_their_bill_are_found(restaurant: Restaurant) -> None:
    begin(restaurant)
    payment = begin(restaurant, contradictions=[{"what": "price of item 1", "expected": "55", "told": "5"}])

    assert Payment.objects.contradictory().get() == payment


def test_what_a_payment_pays_adds_up_by_item(restaurant: Restaurant) -> None:
    twice = {"items": [{"id": "1", "quantity": "0.5"}, {"id": "1", "quantity": "0.25"}]}

    assert begin(restaurant, members=twice).quantities == {"1": Decimal("0.75")}


def test_a_list_reads_nothing_large(restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    begin(restaurant, bill=open_bill(restaurant, "42"))

    with django_assert_num_queries(1) as statements:
        assert [(str(row.restaurant), str(row.bill)) for row in Payment.objects.in_brief()] == [(restaurant.name, "42")]

    read = statements.captured_queries[0]["sql"].replace("snapshot_at", "")
    assert not any(column in read for column in ("payload", "receipt", "snapshot", "stood"))


def test_who_moves_a_part_of_the_money_is_said_as_well_as_it_is_known() -> None:
    part = PaymentPart(total=Decimal("7.50"), provider_id="card")

    assert (str(part), str(PaymentItem(item_id="1", quantity=Decimal("2.50")))) == ("7.5 through card", "2.5 × 1")

"""What cannot be is refused by the database itself, whoever writes it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connections, models, router, transaction

from django_qerko.models import (
    Attempt,
    Bill,
    Payment,
    PaymentItem,
    PaymentPart,
    PaymentStep,
    Rejection,
    Reply,
    Restaurant,
    WebhookEvent,
)
from tests.records import NOON, begin, enter, knock, open_bill, store

MODELS = list(apps.get_app_config("django_qerko").get_models())
DECLARED = [constraint.name for model in MODELS for constraint in model._meta.constraints]


def reply(restaurant: Restaurant, **changes: Any) -> Reply:
    return store(enter(restaurant), **changes)


def two_items(restaurant: Restaurant) -> Payment:
    return begin(restaurant, members={"items": [{"id": "1", "quantity": "1"}, {"id": "2", "quantity": "1"}]})


def two_parts(restaurant: Restaurant) -> Payment:
    return begin(restaurant, members={"parts": [{"total": "1"}, {"total": "2"}]})


def two_attempts(restaurant: Restaurant) -> Attempt:
    waiting = reply(restaurant)
    knock(waiting, outcome="unconfirmed")
    return knock(waiting)


def rejection(restaurant: Restaurant) -> Rejection:
    Rejection.objects.add(restaurant_id=restaurant.pk, reason="expired", hour=NOON, at=NOON, number=1, samples=[])
    return Rejection.objects.get()


Make = Callable[[Restaurant], Any]

#: How each constraint is broken: rows, of which model, and the columns that are set by hand.
BREAKS: dict[str, list[tuple[Make, type[models.Model], dict[str, Any]]]] = {
    "qerko_bill_identity": [(lambda r: (open_bill(r), open_bill(r)), Bill, {"bill_id": "same"})],
    "qerko_bill_has_id": [(open_bill, Bill, {"bill_id": ""})],
    "qerko_bill_currency": [(open_bill, Bill, {"currency": ""}), (open_bill, Bill, {"currency": "KC"})],
    "qerko_bill_state": [(open_bill, Bill, {"state": "lost", "closed_at": NOON})],
    "qerko_bill_closed_has_moment": [(open_bill, Bill, {"state": "closed"})],
    "qerko_bill_snapshot_has_moment": [
        (open_bill, Bill, {"snapshot_at": None}),
        (open_bill, Bill, {"snapshot": None}),
    ],
    "qerko_payment_identity": [(lambda r: (begin(r), begin(r)), Payment, {"payment_id": "same"})],
    "qerko_payment_has_id": [(begin, Payment, {"payment_id": ""})],
    "qerko_payment_state": [
        (begin, Payment, {"state": "lost", "in_progress_on": None, "next_question_at": None}),
    ],
    "qerko_payment_in_progress_on_its_bill": [
        (begin, Payment, {"in_progress_on": None}),
        (begin, Payment, {"state": "paid", "next_question_at": None}),
        (lambda r: begin(r, state="cancelled"), Payment, {"state": "processed"}),
    ],
    "qerko_payment_asked_in_progress": [
        (lambda r: begin(r, state="paid"), Payment, {"next_question_at": NOON}),
        (lambda r: begin(r, state="cancelled"), Payment, {"next_question_at": NOON}),
    ],
    "qerko_payment_tips_not_negative": [
        (begin, Payment, {"tip_brutto": "-0.000001"}),
        (begin, Payment, {"tip_netto": "-5"}),
    ],
    "qerko_payment_item_order": [(two_items, PaymentItem, {"position": 0})],
    "qerko_payment_item_has_id": [(begin, PaymentItem, {"item_id": ""})],
    "qerko_payment_item_quantity": [(begin, PaymentItem, {"quantity": "-0.000001"})],
    "qerko_payment_part_order": [(two_parts, PaymentPart, {"position": 0})],
    "qerko_payment_part_total": [(begin, PaymentPart, {"total": "-0.000001"})],
    "qerko_payment_step_once": [(lambda r: begin(r, state="paid"), PaymentStep, {"state": "paid"})],
    "qerko_payment_step_states": [
        (begin, PaymentStep, {"state": "lost"}),
        (begin, PaymentStep, {"before": "lost"}),
    ],
    "qerko_event_once": [(lambda r: (enter(r), enter(r)), WebhookEvent, {"event_id": "same"})],
    "qerko_event_has_id_and_name": [
        (enter, WebhookEvent, {"event_id": ""}),
        (enter, WebhookEvent, {"name": ""}),
    ],
    "qerko_event_state": [(enter, WebhookEvent, {"state": "lost"})],
    "qerko_event_claim": [
        (enter, WebhookEvent, {"claim": uuid.UUID(int=1), "claimed_until": NOON}),
        (lambda r: enter(r, state="handling"), WebhookEvent, {"claim": uuid.UUID(int=1)}),
        (lambda r: enter(r, state="handling"), WebhookEvent, {"claimed_until": NOON}),
    ],
    "qerko_event_handled_has_answer": [
        (enter, WebhookEvent, {"answer": None}),
        (enter, WebhookEvent, {"status": None}),
        (enter, WebhookEvent, {"finished_at": None}),
    ],
    "qerko_event_status": [(enter, WebhookEvent, {"status": 199}), (enter, WebhookEvent, {"status": 600})],
    "qerko_reply_state": [(lambda r: reply(r, state="stale"), Reply, {"state": "lost"})],
    "qerko_reply_waits_or_is_finished": [
        (reply, Reply, {"next_attempt_at": None}),
        (reply, Reply, {"finished_at": NOON}),
        (lambda r: reply(r, state="stale"), Reply, {"next_attempt_at": NOON}),
        (lambda r: reply(r, state="stale"), Reply, {"finished_at": None}),
    ],
    "qerko_reply_claim": [
        (reply, Reply, {"claim": uuid.UUID(int=1)}),
        (reply, Reply, {"claimed_until": NOON}),
        (lambda r: reply(r, state="stale"), Reply, {"claim": uuid.UUID(int=1), "claimed_until": NOON}),
    ],
    "qerko_attempt_number_once": [(two_attempts, Attempt, {"number": 1})],
    "qerko_attempt_counts_from_one": [(lambda r: knock(reply(r)), Attempt, {"number": 0})],
    "qerko_attempt_outcome": [(lambda r: knock(reply(r)), Attempt, {"outcome": "lost"})],
    "qerko_attempt_status": [
        (lambda r: knock(reply(r)), Attempt, {"status": 99}),
        (lambda r: knock(reply(r)), Attempt, {"status": 600}),
    ],
    "qerko_rejection_counts": [(rejection, Rejection, {"number": 0})],
    "qerko_rejection_has_reason": [(rejection, Rejection, {"reason": ""})],
}


def write(model: type[models.Model], columns: dict[str, Any]) -> None:
    """Plain SQL, as a person at the database's own prompt would write it."""
    connection = connections[router.db_for_write(model)]
    fields: list[Any] = [model._meta.get_field(name) for name in columns]
    values = [
        value.hex if isinstance(value, uuid.UUID) and not connection.features.has_native_uuid_field else value
        for value in columns.values()
    ]
    assignments = ", ".join(f"{connection.ops.quote_name(field.column)} = %s" for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {connection.ops.quote_name(model._meta.db_table)} SET {assignments}", values)


def test_every_constraint_is_broken_by_hand() -> None:
    assert sorted(BREAKS) == sorted(DECLARED)


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, ways in BREAKS.items() for number in range(len(ways))]
)
def test_the_database_refuses_what_cannot_be(restaurant: Restaurant, name: str, number: int) -> None:
    make, model, columns = BREAKS[name][number]
    make(restaurant)

    with pytest.raises(DatabaseError) as refused, transaction.atomic(using=restaurant._state.db):
        write(model, columns)

    assert names(name, refused.value)


def names(constraint: str, error: DatabaseError) -> bool:
    """Whether the database says which rule was broken; of a unique one SQLite names the columns instead."""
    said = str(error)
    return constraint in said or said.startswith("UNIQUE constraint failed")


def test_a_bill_has_one_payment_in_progress(restaurant: Restaurant) -> None:
    first, second = begin(restaurant), begin(restaurant)

    with pytest.raises(DatabaseError), transaction.atomic(using=restaurant._state.db):
        write(Payment, {"bill": first.bill_id, "in_progress_on": first.bill_id})

    assert Payment.objects.get(pk=second.pk).bill_id == second.bill_id


@pytest.mark.parametrize("column", ["restaurant", "bill", "payload", "payment_id", "currency", "state"])
def test_a_payment_without_what_makes_it_one_is_refused(restaurant: Restaurant, column: str) -> None:
    begin(restaurant, state="paid")

    with pytest.raises(DatabaseError, match=column), transaction.atomic(using=restaurant._state.db):
        write(Payment, {column: None})


@pytest.mark.parametrize("key", ["name", "webhook_token"])
def test_two_restaurants_have_neither_name_nor_address_in_common(restaurant: Restaurant, key: str) -> None:
    Restaurant.objects.create(name="U Fleků")

    with pytest.raises(DatabaseError), transaction.atomic(using=restaurant._state.db):
        write(Restaurant, {key: getattr(restaurant, key)})

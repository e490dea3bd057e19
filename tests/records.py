"""Rows for the tests of those who read the book."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from django_qerko import answers, events
from django_qerko.models import Attempt, Bill, Payment, Reply, Restaurant, WebhookEvent
from tests.deliveries import SAMPLES

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

MILLISECOND = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)

#: A receipt for the one item of ``begin``.
RECEIPT = answers.Receipt(
    receipt_info=answers.ReceiptInfo(serial="7"),
    items=[answers.ReceiptItem(name="Pivo", price="55.00", tax_name="21 %", quantity="1")],
    tax_info=[answers.TaxInfo(rate="21", base="45.45", tax="9.55", name="21 %")],
)

_numbers = itertools.count(1)


def enter(restaurant: Restaurant, name: str = "getBill", *, state: str = "handled", **changes: Any) -> WebhookEvent:
    """An event in the book, in this state, as handling would have left it."""
    finished = {"finished_at": NOON + timedelta(milliseconds=20), "duration": timedelta(milliseconds=12)}
    answered = {"answer": b'{"id":"42"}', "status": 200}
    by_state: dict[str, dict[str, Any]] = {
        "received": {},
        "handling": {"handlings": 1},
        "handled": {"handlings": 1, **finished, **answered},
        "failed": {"handlings": 1, **finished, "answer": b"{}", "status": 500, "error": "Traceback\nZeroDivisionError"},
        "stale": {"finished_at": finished["finished_at"]},
    }
    members: dict[str, Any] = {
        "event_id": f"event-{next(_numbers)}",
        "payload": b'{"id":"e","event":"getBill","data":{"billId":"42"}}',
        "headers": {"Content-Type": "application/json"},
        "received_at": NOON,
        "deadline_at": NOON + timedelta(seconds=15),
        **by_state[state],
        **changes,
    }
    return WebhookEvent.objects.create(restaurant=restaurant, name=name, state=state, **members)


def store(event: WebhookEvent, *, state: str = "waiting", **changes: Any) -> Reply:
    """A reply to an event, in this state, as sending would have left it."""
    by_state: dict[str, dict[str, Any]] = {
        "waiting": {"next_attempt_at": NOON + SECOND},
        "delivered": {"finished_at": NOON + 2 * SECOND},
        "refused": {"finished_at": NOON + 2 * SECOND, "reason": "BAD_PAYLOAD"},
        "stale": {"finished_at": NOON + 15 * SECOND, "reason": "Nobody sent it in time."},
    }
    members: dict[str, Any] = {
        "answer": b'{"id":"42"}',
        "created_at": NOON + SECOND,
        "deadline_at": event.deadline_at,
        **by_state[state],
        **changes,
    }
    return Reply.objects.create(event=event, state=state, **members)


def knock(reply: Reply, *, outcome: str = "taken", **changes: Any) -> Attempt:
    """One more attempt at a reply."""
    members: dict[str, Any] = {
        "number": reply.attempts.count() + 1,
        "started_at": NOON + SECOND,
        "duration": 80 * MILLISECOND,
        "status": {"taken": 200, "refused": 400, "unconfirmed": 503}.get(outcome),
        **changes,
    }
    return reply.attempts.create(outcome=outcome, **members)


def offer(bill_id: str = "42", *, currency: str = "CZK", **quantities: Any) -> answers.Bill:
    """A bill as a handler returns it: how much of each item, at 55.00 each; without any, two of item 1."""
    items = [
        answers.BillItem(id=item.removeprefix("item_"), name="Pivo", quantity=quantity, price="55.00")
        for item, quantity in (quantities or {"item_1": 2}).items()
    ]
    return answers.Bill(id=bill_id, currency=currency, items=items)


def open_bill(restaurant: Restaurant, bill_id: str | None = None, **changes: Any) -> Bill:
    """A bill that Qerko was told of, with two of item 1 on it."""
    bill_id = bill_id or f"bill-{next(_numbers)}"
    members: dict[str, Any] = {
        "currency": "CZK",
        "snapshot": offer(bill_id).as_json(),
        "snapshot_at": NOON,
        **changes,
    }
    return Bill.objects.create(restaurant=restaurant, bill_id=bill_id, **members)


def told(payment_id: str = "p1", bill_id: str = "42", **members: Any) -> dict[str, Any]:
    """The JSON of a payment, of one of item 1 unless ``members`` say otherwise."""
    payment: dict[str, Any] = SAMPLES["paymentStart"]["payment"]
    return payment | {"id": payment_id, "idBill": bill_id} | members


def begin(
    restaurant: Restaurant,
    *,
    bill: Bill | None = None,
    state: str = "started",
    payment_id: str | None = None,
    members: dict[str, Any] | None = None,
    **changes: Any,
) -> Payment:
    """A payment that began at noon, and came into this state a second later.

    ``members`` are of its JSON; ``changes`` are made to its row afterwards.
    """
    bill = bill or open_bill(restaurant)
    data = told(payment_id or f"payment-{next(_numbers)}", bill.bill_id, **(members or {}))
    with transaction.atomic(using=bill._state.db):
        payment = Payment.objects.start(
            restaurant,
            events.Payment.model_validate(data),
            bill=bill,
            payload=data,
            at=NOON,
            ask_at=NOON + timedelta(minutes=2),
        )
        match state:
            case "processed":
                payment.process(RECEIPT, at=NOON + SECOND)
            case "paid":
                payment.mark_paid(at=NOON + SECOND)
            case "cancelled":
                payment.cancel(at=NOON + SECOND, reason="The guest left.")
        if changes:
            Payment.objects.filter(pk=payment.pk).update(**changes)
            payment.refresh_from_db()
    return payment

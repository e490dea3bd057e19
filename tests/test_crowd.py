"""A full house: many guests pay at the same moment, and each bill is paid once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.db.models import Q
from django.dispatch import Signal

from django_qerko import answers
from django_qerko.events import BillRequested, PaymentClosed
from django_qerko.models import Bill, Payment, Restaurant
from django_qerko.models.payment import PaymentStep
from django_qerko.signals import bill_requested, payment_closed, payment_processed
from tests.deliveries import SAMPLES, deliver
from tests.till.models import Note

pytestmark = pytest.mark.process

Answering = Callable[[Signal, Any], None]

#: SQLite lets one in after another, and a crowd at its door waits for long.
GUESTS = 8 if connection.vendor == "sqlite" else 50
BILLS = [f"b{number}" for number in range(10)]
RECEIPT = answers.Receipt(receipt_info=answers.ReceiptInfo(), items=[], tax_info=[])


def all_at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """What comes of each, in a thread of its own with a connection of its own, from one moment on."""
    everybody = threading.Barrier(len(acts), timeout=30)

    def act(one: Callable[[], Any]) -> Any:
        try:
            _connect()
            everybody.wait()
            return one()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as crowd:
        return list(crowd.map(act, acts))


def _connect() -> None:
    """A server lets in a hundred, and counts those of the crowd before us who are on their way out."""
    until = time.monotonic() + 20
    while connection.connection is None and time.monotonic() < until:
        with suppress(OperationalError):
            connection.ensure_connection()
        time.sleep(0.01)


def start(restaurant: Restaurant, payment: str, bill: str, quantity: str = "1") -> int:
    """Qerko's ``paymentStart``, and the status that it hears."""
    items = [{"id": "1", "name": "Pivo", "quantity": quantity, "price": "55.00"}]
    told = SAMPLES["paymentStart"]["payment"] | {"id": payment, "idBill": bill, "items": items}
    return int(deliver(restaurant, "paymentStart", {"payment": told}, event_id=f"{payment} {bill}").status_code)


def close(restaurant: Restaurant, payment: str, state: str, event_id: str) -> int:
    response = deliver(restaurant, "paymentClosed", {"paymentId": payment, "state": state}, event_id=event_id)
    return int(response.status_code)


def offer(event: BillRequested, **_: Any) -> answers.Bill:
    item = answers.BillItem(id="1", name="Pivo", quantity=2, price="55.00")
    return answers.Bill(id=event.bill_id, currency="CZK", items=[item])


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "never told"])
def test_of_many_payments_on_a_bill_exactly_one_begins(
    transactional_restaurant: Restaurant, answering: Answering, is_told: bool
) -> None:
    restaurant = transactional_restaurant
    answering(bill_requested, offer)
    for bill in BILLS if is_told else ():
        assert deliver(restaurant, "getBill", {"billId": bill}).status_code == 200

    def pay_everywhere(guest: int) -> dict[str, int]:
        mine = BILLS[guest % 10 :] + BILLS[: guest % 10]
        return {bill: start(restaurant, f"p{guest}{bill}", bill) for bill in mine}

    heard = all_at_once([partial(pay_everywhere, guest) for guest in range(GUESTS)])

    for bill in BILLS:
        assert Counter(each[bill] for each in heard) == {200: 1, 422: GUESTS - 1}
    assert (
        list(Payment.objects.in_progress().order_by("bill__bill_id").values_list("bill__bill_id", flat=True)) == BILLS
    )
    refused = Payment.objects.cancelled().filter(reason="ACCESS_DENIED: Another payment is in progress on this bill.")
    assert refused.count() == len(BILLS) * (GUESTS - 1)
    assert [bill.locked for bill in Bill.objects.all()] == [{"1": "1"}] * len(BILLS)


def test_of_one_end_told_many_times_at_once_one_counts(
    transactional_restaurant: Restaurant, answering: Answering
) -> None:
    restaurant = transactional_restaurant

    def note(event: PaymentClosed, **_: Any) -> None:
        Note.objects.create(text=event.id)

    answering(payment_closed, note)
    for bill in BILLS:
        assert start(restaurant, f"p-{bill}", bill) == 200

    told = BILLS[: GUESTS // 5]

    def tell(guest: int) -> int:
        return close(restaurant, f"p-{told[guest % len(told)]}", "PAID", f"closed {guest}")

    heard = all_at_once([partial(tell, guest) for guest in range(GUESTS)])

    assert set(heard) == {200}
    assert sorted(Payment.objects.paid().values_list("bill__bill_id", flat=True)) == told
    assert PaymentStep.objects.filter(state="paid").count() == len(told)
    assert Note.objects.count() == len(told)
    assert [bill.paid for bill in Bill.objects.filter(bill_id__in=told)] == [{"1": "1"}] * len(told)
    assert not Payment.objects.alarming().exists()


def test_contrary_ends_at_once_leave_a_payment_that_is_paid(transactional_restaurant: Restaurant) -> None:
    restaurant = transactional_restaurant
    for bill in BILLS:
        assert start(restaurant, f"p-{bill}", bill) == 200
    ends = [(bill, state) for bill in BILLS[: GUESTS // 2] for state in ("PAID", "DECLINED")]

    heard = all_at_once([partial(close, restaurant, f"p-{bill}", state, f"{bill} {state}") for bill, state in ends])

    assert set(heard) == {200}
    for payment in Payment.objects.filter(bill__bill_id__in=BILLS[: GUESTS // 2]):
        was_cancelled = payment.steps.filter(state="cancelled").exists()
        assert (payment.state, bool(payment.alarm)) == ("paid", was_cancelled)
        assert (payment.bill.paid, payment.bill.locked) == ({"1": "1"}, {})


@pytest.mark.parametrize("items", ["unpaid", "ordered"])
def test_nothing_is_sold_twice_while_bills_are_shown_and_rounds_are_ordered(
    transactional_restaurant: Restaurant, answering: Answering, settings: Any, items: str
) -> None:
    restaurant = transactional_restaurant
    settings.QERKO = settings.QERKO | {"BILL_ITEMS": items}
    # A round is ordered whenever somebody looks, until there are as many.
    ordered, most, tables = Counter(dict.fromkeys(BILLS, 2)), 6, threading.Lock()

    def show(event: BillRequested, **_: Any) -> answers.Bill:
        with tables:
            ordered[event.bill_id] = min(ordered[event.bill_id] + 1, most)
            quantity = ordered[event.bill_id]
        if items == "unpaid":
            quantity -= Note.objects.filter(text=event.bill_id).count()
        item = answers.BillItem(id="1", name="Pivo", quantity=quantity, price="55.00")
        return answers.Bill(id=event.bill_id, currency="CZK", items=[item] if quantity else [])

    def settle(event: PaymentClosed, payment: Payment, **_: Any) -> None:
        Note.objects.create(text=payment.bill.bill_id)

    answering(bill_requested, show)
    answering(payment_closed, settle)
    answering(payment_processed, RECEIPT)

    def dine(guest: int) -> set[int]:
        """Look, and pay one beer, on three bills."""
        heard = set()
        for bill in BILLS[:3]:
            payment = f"p{guest}{bill}"
            heard.add(deliver(restaurant, "getBill", {"billId": bill}).status_code)
            if start(restaurant, payment, bill) == 200:
                heard.add(deliver(restaurant, "paymentProcessed", {"paymentId": payment}).status_code)
                heard.add(close(restaurant, payment, "PAID", f"closed {payment}"))
        return heard

    heard = all_at_once([partial(dine, guest) for guest in range(GUESTS)])

    assert set().union(*heard) <= {200, 422}
    assert not Payment.objects.in_progress().exists()
    assert not Payment.objects.alarming().exists()
    for bill in Bill.objects.all():
        paid = bill.paid_quantities.get("1", Decimal(0))
        assert 1 <= paid <= ordered[bill.bill_id]
        assert paid == bill.payments.paid().count() == Note.objects.filter(text=bill.bill_id).count()
        assert bill.locked == {}


def test_a_payment_on_two_bills_at_once_is_on_one_of_them(transactional_restaurant: Restaurant) -> None:
    restaurant, pairs = transactional_restaurant, GUESTS // 2
    # Crosswise, so that whoever waits for one bill holds the other.
    wanted = [(f"p{pair}", bill) for pair in range(pairs) for bill in (("b0", "b1") if pair % 2 else ("b1", "b0"))]

    heard = all_at_once([partial(start, restaurant, payment, bill) for payment, bill in wanted])

    assert set(heard) == {200, 422}
    assert Payment.objects.count() == pairs
    begun = {(payment.payment_id, payment.bill.bill_id) for payment in Payment.objects.in_progress()}
    assert begun == {told for told, status in zip(wanted, heard, strict=True) if status == 200}
    for bill in Bill.objects.all():
        assert bool(bill.locked) == Payment.objects.filter(Q(in_progress_on=bill)).exists()

"""No plate is sold twice, in either way that a point of sale can work."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections, router, transaction
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_qerko import answers
from django_qerko.exceptions import BillClosed
from django_qerko.models import Bill, Payment, Restaurant, WebhookEvent
from django_qerko.signals import (
    bill_requested,
    bills_searched,
    paid_items_offered_again,
    payment_closed,
    table_contents_requested,
)
from tests.deliveries import deliver
from tests.records import begin, offer, open_bill, told

Answering = Callable[[Signal, Any], None]

_numbers = itertools.count(1)


class Till:
    """A small point of sale with one bill, which works as ``BILL_ITEMS`` says."""

    PRICES = {"beer": Decimal("55.00"), "goulash": Decimal("189.00")}

    def __init__(self, style: str) -> None:
        self.style = style
        self.ordered = {"beer": Decimal(4), "goulash": Decimal(1)}
        self.paid: dict[str, Decimal] = {}

    def order(self, item: str, quantity: int) -> None:
        self.ordered[item] += quantity

    def show_bill(self, **_: Any) -> answers.Bill:
        bill = self._bill()
        if not bill.items:
            raise BillClosed
        return bill

    def show_table(self, **_: Any) -> list[answers.Bill]:
        return [bill for bill in [self._bill()] if bill.items]

    def close_payment(self, event: Any, payment: Payment, **_: Any) -> None:
        if event.state == "PAID":
            for item, quantity in payment.quantities.items():
                self.paid[item] = self.paid.get(item, Decimal(0)) + quantity

    def _bill(self) -> answers.Bill:
        left = {
            item: quantity - (self.paid.get(item, Decimal(0)) if self.style == "unpaid" else 0)
            for item, quantity in self.ordered.items()
        }
        items = [
            answers.BillItem(
                id=item, name=item, quantity=quantity, price=self.PRICES[item], min_quantity=Decimal("0.5")
            )
            for item, quantity in left.items()
            if quantity
        ]
        return answers.Bill(id="42", currency="CZK", items=items)


@pytest.fixture(params=["unpaid", "ordered"])
def till(request: pytest.FixtureRequest, settings: Any, answering: Answering) -> Till:
    settings.QERKO = settings.QERKO | {"BILL_ITEMS": request.param}
    till = Till(request.param)
    answering(bill_requested, till.show_bill)
    answering(table_contents_requested, till.show_table)
    answering(payment_closed, till.close_payment)
    return till


@pytest.fixture(params=["accept", "refuse"])
def contradictions(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.QERKO = settings.QERKO | {"CONTRADICTIONS": request.param}
    return str(request.param)


def shown(restaurant: Restaurant) -> dict[str, float] | str:
    """What Qerko sees on the bill, or the code of the refusal; the list of the table says the same.

    A bill is asked for last, as before a payment.
    """
    listed = deliver(restaurant, "getTableContents").json()
    said = deliver(restaurant, "getBill").json()
    if "code" in said:
        assert listed == []
        return str(said["code"])
    assert listed == [said]
    return {item["id"]: float(item["quantity"]) for item in said["items"]}


def start(restaurant: Restaurant, *, less: str = "0", **quantities: str) -> tuple[str, int]:
    """A payment that wants to begin, of so much less than its items cost: its id, and what Qerko hears."""
    payment_id = f"payment-{next(_numbers)}"
    prices = Till.PRICES
    items = [{"id": item, "quantity": quantity, "price": str(prices[item])} for item, quantity in quantities.items()]
    sum_ = sum(prices[item] * Decimal(quantity) for item, quantity in quantities.items())
    payment = told(payment_id, items=items, parts=[{"total": str(sum_ - Decimal(less))}])
    return payment_id, deliver(restaurant, "paymentStart", {"payment": payment}).status_code


def end(restaurant: Restaurant, payment_id: str, state: str = "PAID") -> None:
    assert deliver(restaurant, "paymentClosed", {"paymentId": payment_id, "state": state}).status_code == 200


def pay(restaurant: Restaurant, **quantities: str) -> None:
    payment_id, status = start(restaurant, **quantities)
    assert status == 200
    end(restaurant, payment_id)


def row() -> Bill:
    return Bill.objects.get()


# -- The same stories in both ways -----------------------------------------------------------------


@pytest.mark.usefixtures("contradictions")
def test_a_bill_that_is_paid_in_whole_is_closed(restaurant: Restaurant, till: Till) -> None:
    assert shown(restaurant) == {"beer": 4, "goulash": 1}

    pay(restaurant, beer="4", goulash="1")

    assert row().state == "closed"
    assert row().owed == 0
    assert shown(restaurant) == "BILL_CLOSED"
    assert start(restaurant, beer="1")[1] == 422


def test_a_sum_that_does_not_fit_is_taken_or_refused_as_the_policy_says(
    restaurant: Restaurant, till: Till, contradictions: str
) -> None:
    shown(restaurant)

    payment_id, status = start(restaurant, less="10", beer="1")

    assert status == {"accept": 200, "refuse": 422}[contradictions]
    assert bool(row().locked) is (contradictions == "accept")
    end(restaurant, payment_id, {"accept": "PAID", "refuse": "CANCELLED"}[contradictions])
    assert shown(restaurant) == {"beer": 3 if contradictions == "accept" else 4, "goulash": 1}


@pytest.mark.usefixtures("contradictions")
def test_of_a_bill_that_is_paid_in_part_the_rest_is_left(restaurant: Restaurant, till: Till) -> None:
    shown(restaurant)

    pay(restaurant, beer="1")

    assert start(restaurant, beer="4")[1] == 422
    assert shown(restaurant) == {"beer": 3, "goulash": 1}
    assert start(restaurant, beer="4")[1] == 422
    assert row().owed == 3 * 55 + 189
    pay(restaurant, beer="3", goulash="1")
    assert shown(restaurant) == "BILL_CLOSED"


@pytest.mark.usefixtures("contradictions")
def test_two_guests_may_pay_half_a_portion_each(restaurant: Restaurant, till: Till) -> None:
    shown(restaurant)

    pay(restaurant, goulash="0.5")
    assert shown(restaurant) == {"beer": 4, "goulash": 0.5}
    pay(restaurant, goulash="0.5")

    assert shown(restaurant) == {"beer": 4}
    assert start(restaurant, goulash="0.5")[1] == 422
    assert row().paid == {"goulash": "1"}


@pytest.mark.usefixtures("contradictions")
def test_a_new_round_after_paying_may_be_paid(restaurant: Restaurant, till: Till) -> None:
    shown(restaurant)
    pay(restaurant, beer="4", goulash="1")
    till.order("beer", 2)

    assert shown(restaurant) == {"beer": 2}
    assert row().is_open
    # Where only what is unpaid is shown, it looks just like beer that was paid; where all is shown, it does not.
    assert bool(row().offered_again) is (till.style == "unpaid")
    pay(restaurant, beer="2")

    assert shown(restaurant) == "BILL_CLOSED"
    assert row().paid == {"beer": "6", "goulash": "1"}
    assert not Payment.objects.alarming()


@pytest.mark.usefixtures("contradictions")
def test_what_a_payment_that_came_to_nothing_wanted_is_left(restaurant: Restaurant, till: Till) -> None:
    shown(restaurant)

    end(restaurant, start(restaurant, beer="4")[0], "EXPIRED")

    assert shown(restaurant) == {"beer": 4, "goulash": 1}
    pay(restaurant, beer="4")


def test_what_is_paid_twice_at_qerko_is_paid_twice_here_with_an_alarm(restaurant: Restaurant, till: Till) -> None:
    shown(restaurant)
    first = start(restaurant, beer="4")[0]
    end(restaurant, first, "EXPIRED")
    pay(restaurant, beer="4")

    end(restaurant, first)

    assert row().paid == {"beer": "8"}
    assert "Of item beer, 8 are paid, and 4 stood on the bill." in Payment.objects.alarming().get().alarm


# -- Everything that was ordered -------------------------------------------------------------------


@pytest.mark.parametrize("till", ["ordered"], indirect=True)
def test_a_bill_on_which_nothing_is_left_is_left_out_of_lists(
    restaurant: Restaurant, till: Till, answering: Answering
) -> None:
    shown(restaurant)
    pay(restaurant, beer="4", goulash="1")
    answering(bills_searched, lambda **_: [till._bill(), offer("43")])

    said = deliver(restaurant, "searchBills").json()

    assert [bill["id"] for bill in said] == ["43"]


@pytest.mark.parametrize("till", ["ordered"], indirect=True)
def test_a_list_does_not_write_a_closed_bill_again(restaurant: Restaurant, till: Till, answering: Answering) -> None:
    shown(restaurant)
    pay(restaurant, beer="4", goulash="1")
    answering(bills_searched, lambda **_: [till._bill()])
    closed_at = row().closed_at

    with CaptureQueriesContext(connections[router.db_for_write(Bill)]) as statements:
        assert deliver(restaurant, "searchBills").json() == []

    table = Bill._meta.db_table
    written = [query["sql"] for query in statements if table in query["sql"] and not query["sql"].startswith("SELECT")]
    assert (written, row().closed_at) == ([], closed_at)


@pytest.mark.usefixtures("till")
@pytest.mark.parametrize("till", ["ordered"], indirect=True)
def test_a_bill_that_nobody_has_ordered_on_is_closed_to_qerko(restaurant: Restaurant, answering: Answering) -> None:
    empty = answers.Bill(id="1", currency="CZK", items=[])
    answering(bills_searched, [empty])

    assert deliver(restaurant, "searchBills").json() == []
    assert not Bill.objects.exists()


@pytest.mark.parametrize("till", ["ordered"], indirect=True)
def test_of_what_was_paid_and_taken_off_the_bill_nothing_is_owed(restaurant: Restaurant, till: Till) -> None:
    shown(restaurant)
    pay(restaurant, beer="4", goulash="0.5")
    till.ordered["beer"] = Decimal(3)  # a waiter took back a beer that was paid

    assert shown(restaurant) == {"goulash": 0.5}


# -- Only what is unpaid ---------------------------------------------------------------------------


@pytest.fixture
def forgetful(settings: Any, answering: Answering) -> dict[str, Any]:
    """A till that shows what it always showed, whatever was paid."""
    bill: dict[str, Any] = {"item_1": 2}
    answering(bill_requested, lambda **_: offer(**bill))
    return bill


def test_what_was_paid_and_is_offered_again_is_noticed_once(
    restaurant: Restaurant, answering: Answering, forgetful: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []
    answering(paid_items_offered_again, lambda **got: heard.append((got["bill"].bill_id, got["items"])))
    before = deliver(restaurant, "getBill").content
    deliver(restaurant, "paymentStart")
    deliver(restaurant, "paymentClosed")

    after = [deliver(restaurant, "getBill").content for _ in range(3)]

    assert after == [before] * 3
    assert heard == [("42", {"1": Decimal(1)})]
    assert caplog.text.count("offers what was paid again, or a new round of the same: 1 of item 1") == 1
    assert Bill.objects.offered_again().get().offered_quantities == {"1": Decimal(1)}


def test_more_of_it_is_noticed_again_and_what_is_gone_is_unmarked(
    restaurant: Restaurant, answering: Answering, forgetful: dict[str, Any]
) -> None:
    heard: list[Any] = []
    answering(paid_items_offered_again, lambda items, **_: heard.append(items))
    deliver(restaurant, "getBill")
    deliver(restaurant, "paymentStart")
    deliver(restaurant, "paymentClosed")

    for quantity in (2, 3, 2, 1):
        forgetful["item_1"] = quantity
        deliver(restaurant, "getBill")

    assert heard == [{"1": Decimal(1)}, {"1": Decimal(2)}]
    assert not Bill.objects.offered_again()


def test_nobody_is_told_of_what_an_error_undid(
    restaurant: Restaurant, answering: Answering, forgetful: dict[str, Any]
) -> None:
    answering(paid_items_offered_again, lambda **_: pytest.fail("it was undone"))
    bill = open_bill(restaurant, "42")
    begin(restaurant, bill=bill, state="paid")

    def dawdle(**_: Any) -> answers.Bill:
        WebhookEvent.objects.update(claim=None, claimed_until=None)
        return offer()

    answering(bills_searched, lambda **_: [dawdle()])

    assert deliver(restaurant, "searchBills").status_code == 503
    assert not Bill.objects.offered_again()


# -- What was paid while the point of sale was asked -----------------------------------------------


def settled(restaurant: Restaurant, *, ago: timedelta) -> Bill:
    """A bill with two beers, one of which was paid some time ago."""
    bill = open_bill(restaurant, "42")
    payment = begin(restaurant, bill=bill)
    with transaction.atomic():
        payment.mark_paid(at=timezone.now() - ago)
    return bill


@pytest.mark.parametrize(
    ("ago", "offered", "left", "again"),
    [
        (timedelta(minutes=1), 1, 1, {}),
        (timedelta(minutes=1), 2, 2, {"1": "1"}),
        (timedelta(0), 1, 1, {}),
        # They were asked before it was settled, and of the two that they offer one is paid.
        (timedelta(0), 2, 1, {}),
        # Or four new ones were ordered within the second: these at least are left.
        (timedelta(0), 5, 4, {}),
    ],
)
def test_a_list_that_knows_nothing_of_what_was_just_settled_offers_nothing_twice(
    restaurant: Restaurant, answering: Answering, ago: timedelta, offered: int, left: int, again: dict[str, str]
) -> None:
    settled(restaurant, ago=ago)
    answering(table_contents_requested, [offer(item_1=offered)])

    deliver(restaurant, "getTableContents")

    assert row().left == {"1": Decimal(left)}
    assert row().offered_again == again


def test_what_was_settled_while_a_bill_was_asked_for_counts_as_paid_since(
    restaurant: Restaurant, answering: Answering
) -> None:
    bill = open_bill(restaurant, "42")
    payment = begin(restaurant, bill=bill)

    def overtaken(**_: Any) -> answers.Bill:
        before = offer()
        with transaction.atomic():
            payment.mark_paid(at=timezone.now())
        return before

    answering(bill_requested, overtaken)
    deliver(restaurant, "getBill")

    assert row().left == {"1": Decimal(1)}
    assert (row().paid, row().paid_then) == ({"1": "1"}, {})


def test_a_bill_by_another_id_than_asked_is_judged_by_its_own_row(restaurant: Restaurant, answering: Answering) -> None:
    settled(restaurant, ago=timedelta(minutes=1))
    answering(bill_requested, offer("42", item_1=1))

    deliver(restaurant, "getBill", {"billId": "alias"})

    assert row().left == {"1": Decimal(1)}


def test_a_bill_that_was_closed_and_offers_something_is_open_again(
    restaurant: Restaurant, answering: Answering
) -> None:
    open_bill(restaurant, "42").close(at=timezone.now())
    answering(bill_requested, offer())

    deliver(restaurant, "getBill")

    assert row().is_open


def test_a_bill_that_was_closed_and_offers_nothing_stays_closed(restaurant: Restaurant, answering: Answering) -> None:
    open_bill(restaurant, "42").close(at=timezone.now())
    answering(bill_requested, offer(item_1=0))

    assert deliver(restaurant, "getBill").status_code == 200
    assert not row().is_open


def test_a_handlers_word_that_the_bill_is_closed_closes_it(restaurant: Restaurant, answering: Answering) -> None:
    open_bill(restaurant, "42")

    def refuse(**_: Any) -> None:
        raise BillClosed

    answering(bill_requested, refuse)

    assert deliver(restaurant, "getBill").status_code == 422
    assert deliver(restaurant, "getBill", {"billId": "unknown"}).status_code == 422
    assert row().state == "closed"

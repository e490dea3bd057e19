"""A bill knows what is locked, what is paid, and what is left of it."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models.signals import pre_save
from pytest_django import DjangoAssertNumQueries

from django_qerko.models import Bill, Restaurant
from tests.records import NOON, SECOND, begin, offer, open_bill

LATER = NOON + SECOND


def pay(bill: Bill, quantity: str, *, stood: str = "2", item: str = "1") -> None:
    bill.settle({item: Decimal(quantity)}, stood={item: stood}, at=LATER)


def read(bill: Bill) -> Bill:
    return Bill.objects.get(pk=bill.pk)


def tell(bill: Bill, *, paid_then: dict[str, str] | None = None, **quantities: Any) -> Bill:
    """Qerko is told of the bill once more."""
    told = offer(bill.bill_id, **quantities)
    Bill.objects.remember([bill.telling(told, at=LATER, paid_then=paid_then or {}, again={})])
    return read(bill)


# -- What is left ----------------------------------------------------------------------------------


def test_of_a_bill_that_qerko_never_was_told_of_nobody_knows_what_is_left(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, snapshot=None, snapshot_at=None)

    assert (bill.left, bill.owed) == (None, None)


def test_all_of_a_new_bill_is_left(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, "42")

    assert str(bill) == "42"
    assert (bill.left, bill.owed) == ({"1": Decimal(2)}, Decimal("110.00"))


def test_what_is_paid_is_not_left(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)

    pay(bill, "0.5")

    assert bill.left == read(bill).left == {"1": Decimal("1.5")}
    assert (bill.owed, bill.paid_quantities) == (Decimal("82.50"), {"1": Decimal("0.5")})
    assert (bill.settled_at, bill.stood, bill.is_open) == (LATER, {"1": "2"}, True)


def test_what_is_being_paid_is_left_still(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)

    bill.lock({"1": Decimal("0.5")})

    assert (bill.left, bill.locked_quantities) == ({"1": Decimal(2)}, {"1": Decimal("0.5")})
    bill.release()
    assert read(bill).locked_quantities == bill.locked_quantities == {}


def test_what_was_paid_before_qerko_was_told_is_not_taken_off_again(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    pay(bill, "0.5")

    bill = tell(bill, paid_then=bill.paid, item_1="1.5", item_2=3)

    assert bill.left == {"1": Decimal("1.5"), "2": Decimal(3)}
    pay(bill, "1")
    assert bill.left == {"1": Decimal("0.5"), "2": Decimal(3)}


def test_less_than_nothing_is_never_left(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    pay(bill, "2")

    bill = tell(bill, item_1=1)

    assert (bill.left, bill.owed) == ({"1": Decimal(0)}, Decimal(0))


def test_quantities_are_exact(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, snapshot=offer(item_1="999999999999.999999").as_json())

    pay(bill, "0.000001", stood="999999999999.999999")

    assert read(bill).left == {"1": Decimal("999999999999.999998")}


# -- What is offered again -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "beyond"),
    [("0.5", {}), ("1.5", {}), ("2", {"1": Decimal("0.5")}), ("3", {"1": Decimal("1.5")})],
)
def test_more_than_can_be_left_is_beyond(restaurant: Restaurant, offered: str, beyond: dict[str, Decimal]) -> None:
    bill = open_bill(restaurant)
    pay(bill, "0.5")

    assert bill.beyond({"1": Decimal(offered), "new": Decimal(7)}) == beyond


def test_of_an_item_that_was_paid_too_often_all_is_beyond(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    pay(bill, "3")

    assert bill.beyond({"1": Decimal(1)}) == {"1": Decimal(1)}


def test_bills_that_are_offered_again_are_found(restaurant: Restaurant) -> None:
    open_bill(restaurant)
    bill = open_bill(restaurant, offered_again={"1": "0.5"})

    assert Bill.objects.offered_again().get() == bill
    assert bill.offered_quantities == {"1": Decimal("0.5")}


# -- Open and closed -------------------------------------------------------------------------------


def test_a_bill_is_closed_when_all_is_paid(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)

    pay(bill, "2")

    assert (read(bill).state, read(bill).closed_at) == (bill.state, bill.closed_at) == ("closed", LATER)
    assert (list(Bill.objects.closed()), list(Bill.objects.open())) == ([bill], [])


def test_a_bill_without_a_snapshot_stays_open(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, snapshot=None, snapshot_at=None)

    pay(bill, "2")

    assert read(bill).is_open
    assert list(Bill.objects.open()) == [bill]


def test_a_bill_closes_once_and_opens_once(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)

    assert [bill.close(at=LATER), bill.close(at=LATER + SECOND)] == [True, False]
    assert read(bill).closed_at == LATER
    assert [bill.reopen(at=LATER + SECOND), bill.reopen(at=LATER)] == [True, False]
    assert (read(bill).state, read(bill).opened_at) == ("open", LATER + SECOND)


def test_a_payment_of_a_closed_bill_does_not_move_the_moment_it_closed(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    bill.close(at=NOON)

    pay(bill, "2")

    assert read(bill).closed_at == NOON


def test_a_bill_that_was_paid_while_the_point_of_sale_was_asked_does_not_open(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    bill.close(at=NOON)
    behind = read(bill)
    pay(bill, "2")

    assert not behind.reopen(at=LATER)
    assert read(bill).state == "closed"


# -- What Qerko is told ----------------------------------------------------------------------------


def test_what_is_told_of_a_bill_leaves_what_is_paid_alone(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    pay(bill, "0.5")
    bill.lock({"1": Decimal(1)})

    after = tell(bill, item_2=3)

    assert (after.paid, after.locked, after.stood) == ({"1": "0.5"}, {"1": "1"}, {"1": "2"})
    assert (after.snapshot or {})["items"][0]["id"] == "2"
    assert (after.snapshot_at, after.created_at) == (LATER, bill.created_at)


def test_a_row_knows_whether_there_is_news(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant)
    same, other = offer(bill.bill_id), offer(bill.bill_id, item_1=3)

    def told(what: Any, **members: Any) -> bool:
        return bill.is_as_told(bill.telling(what, at=LATER, **{"paid_then": {}, "again": {}} | members))

    assert told(same)
    assert not told(other)
    assert not told(same, paid_then={"1": "1"})
    assert not told(same, again={"1": Decimal(1)})


def test_nothing_is_remembered_in_no_statement(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        Bill.objects.remember([])


# -- Which row -------------------------------------------------------------------------------------


def test_a_bill_is_known_by_restaurant_and_id(restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, "42")
    open_bill(restaurant, "43")
    open_bill(Restaurant.objects.create(name="U Fleků"), "44")

    assert Bill.objects.known(restaurant, ["42", "44"]) == {"42": bill}


def test_a_bill_that_nobody_told_of_is_entered_to_be_held(restaurant: Restaurant) -> None:
    bill = Bill.objects.held(restaurant, "42", currency="EUR")

    assert (bill.currency, bill.snapshot, bill.left, bill.state) == ("EUR", None, None, "open")
    assert Bill.objects.held(restaurant, "42", currency="CZK") == bill


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer: nobody enters it in between")
def test_a_bill_that_somebody_enters_at_the_same_moment_is_theirs(transactional_restaurant: Restaurant) -> None:
    threads: list[threading.Thread] = []

    def enter() -> None:
        open_bill(transactional_restaurant, "42")
        connection.close()

    def overtaken(**_: Any) -> None:
        if not threads:
            threads.append(threading.Thread(target=enter))
            threads[0].start()
            threads[0].join()

    pre_save.connect(overtaken, sender=Bill)
    try:
        with transaction.atomic():
            bill = Bill.objects.held(transactional_restaurant, "42", currency="EUR")
    finally:
        pre_save.disconnect(overtaken, sender=Bill)

    assert (bill, bill.currency) == (Bill.objects.get(), "CZK")


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer: a whole transaction is a lock")
def test_a_bill_that_is_held_is_nobody_elses(transactional_restaurant: Restaurant) -> None:
    bill = begin(transactional_restaurant).bill
    done = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Bill.objects.held(transactional_restaurant, bill.bill_id, currency="CZK")
            done.set()
        connection.close()

    other = threading.Thread(target=hold)
    with transaction.atomic():
        Bill.objects.held(transactional_restaurant, bill.bill_id, currency="CZK")
        other.start()
        assert not done.wait(timedelta(milliseconds=300).total_seconds())
    other.join()

    assert done.is_set()


def test_two_restaurants_may_have_a_bill_of_one_id(restaurant: Restaurant) -> None:
    open_bill(restaurant, "42")

    assert open_bill(Restaurant.objects.create(name="U Fleků"), "42").pk
    with pytest.raises(DatabaseError), transaction.atomic(using=restaurant._state.db):
        open_bill(restaurant, "42")


def test_a_list_reads_nothing_large(restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    open_bill(restaurant, "42")

    with django_assert_num_queries(1) as statements:
        assert [(str(row.restaurant), str(row)) for row in Bill.objects.in_brief()] == [(restaurant.name, "42")]

    read = statements.captured_queries[0]["sql"].replace("snapshot_at", "")
    assert not any(column in read for column in ("snapshot", "stood", "paid_then"))

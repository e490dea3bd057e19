"""The rows that the test kit makes are those that Qerko's events would have made."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from django_qerko.answers import BillItem, Receipt, ReceiptInfo
from django_qerko.models import Bill, Payment, Restaurant
from django_qerko.testing import make_api_key, make_bill, make_payment, make_receipt, make_restaurant

pytestmark = pytest.mark.django_db


@pytest.fixture
def bill(restaurant: Restaurant) -> Bill:
    return make_bill(restaurant, "42")


def test_a_key_is_one_that_the_check_digits_know() -> None:
    assert make_api_key().is_checked
    assert make_api_key() != make_api_key()


def test_a_restaurant_has_a_key_and_an_address() -> None:
    first, second = make_restaurant(), make_restaurant()

    assert first.name != second.name
    assert first.api_key != second.api_key
    assert first.webhook_path != second.webhook_path


def test_a_restaurant_may_have_the_name_and_the_key_that_a_test_wants() -> None:
    key = make_api_key()

    assert make_restaurant("U Fleků", api_key=key.reveal()).api_key == key
    assert Restaurant.objects.get().name == "U Fleků"
    with pytest.raises(ValidationError):
        make_restaurant("U Kalicha", api_key=key)


def test_a_bill_is_open_and_owes_what_stands_on_it(restaurant: Restaurant) -> None:
    beer = BillItem(id="beer", name="Pivo", quantity=3, price=50)
    bill = make_bill(restaurant, currency="EUR", items=[beer], name="Stammtisch")

    assert list(Bill.objects.open()) == [bill]
    assert (bill.owed, bill.left, bill.currency) == (Decimal(150), {"beer": Decimal(3)}, "EUR")
    assert bill.snapshot["name"] == "Stammtisch"
    assert make_bill(restaurant).bill_id != bill.bill_id


@pytest.mark.parametrize("state", Payment.State.values)
def test_a_payment_is_in_every_state(bill: Bill, state: str) -> None:
    payment = make_payment(bill, state, payment_id="p1", items={"1": 1}, tip="5.00", customer_id="guest")

    payment.refresh_from_db()
    bill.refresh_from_db()
    assert (payment.payment_id, payment.state, payment.customer_id) == ("p1", state, "guest")
    assert (payment.tip_brutto, payment.quantities) == (Decimal("5.00"), {"1": Decimal(1)})
    assert bill.locked_quantities == ({"1": Decimal(1)} if payment.is_in_progress else {})
    assert bill.paid_quantities == ({"1": Decimal(1)} if payment.is_paid else {})
    assert payment.has_receipt is (state in {"processed", "paid"})
    assert payment.is_closed is (state in {"paid", "cancelled"})
    assert not payment.alarm


def test_a_payment_in_another_state_is_a_mistake_of_the_test(bill: Bill) -> None:
    with pytest.raises(ValueError, match="late"):
        make_payment(bill, "late")
    with pytest.raises(ValueError, match="Not on bill"):
        make_payment(bill, items={"wine": 1})


def test_a_second_payment_pays_what_the_first_left(bill: Bill) -> None:
    make_payment(bill, "paid", items={"1": 1})

    make_payment(bill, "paid")

    bill.refresh_from_db()
    assert bill.owed == 0
    assert not bill.is_open


def test_an_old_payment_began_long_ago(bill: Bill) -> None:
    payment = make_payment(bill, age=timedelta(hours=1))

    assert timezone.now() - payment.created_at >= timedelta(hours=1)
    assert list(Payment.objects.to_be_asked_about(timezone.now())) == [payment]


def test_a_receipt_is_given_or_fits_the_items(bill: Bill) -> None:
    mine = Receipt(receipt_info=ReceiptInfo(serial="mine"), items=[], tax_info=[])
    payment = make_payment(bill, "processed", receipt=mine)

    receipt = make_receipt(payment, delivery_type="POSTPONED")

    assert payment.receipt == mine.as_json()
    assert [(item.name, item.price * item.quantity) for item in receipt.items] == [
        ("Pivo", Decimal(110)),
        ("Guláš", Decimal(185)),
    ]
    assert receipt.tax_info[0].base + receipt.tax_info[0].tax == Decimal(295)
    assert receipt.receipt_delivery_type == "POSTPONED"

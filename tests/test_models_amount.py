"""Amounts and quantities are kept to the last digit, on every database."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Cast

from django_qerko.models import Payment, PaymentItem, Restaurant, quantities
from django_qerko.models.amount import AmountField
from tests.records import begin

EXTREMES = ["0", "0.10", "0.000001", "12345678901.99", "999999999999.999999", "0.333"]


@pytest.fixture
def item(restaurant: Restaurant) -> PaymentItem:
    return begin(restaurant).items.get()


def found(**question: Any) -> int:
    return PaymentItem.objects.filter(**question).count()


@pytest.mark.parametrize("amount", EXTREMES)
def test_an_amount_comes_back_as_it_was(item: PaymentItem, amount: str) -> None:
    PaymentItem.objects.update(quantity=Decimal(amount), price=-Decimal(amount))

    item.refresh_from_db()

    assert (item.quantity, item.price) == (Decimal(amount), -Decimal(amount))
    assert found(quantity=Decimal(amount)) == 1


def test_an_amount_that_is_not_known_is_none(item: PaymentItem) -> None:
    PaymentItem.objects.update(price=None)

    item.refresh_from_db()

    assert item.price is None
    assert found(price=None) == 1


@pytest.mark.parametrize(
    "lookup",
    [{"quantity": 9}, {"quantity__gt": 1}, {"quantity__gte": "9.0"}, {"quantity__lt": 10}, {"quantity__lte": "9.000"}],
    ids=str,
)
def test_amounts_are_compared_by_number_and_not_letter_by_letter(item: PaymentItem, lookup: dict[str, Any]) -> None:
    PaymentItem.objects.update(quantity=Decimal("9.00"))

    assert found(**lookup) == 1


def test_an_amount_of_an_expression_is_a_decimal(item: PaymentItem) -> None:
    PaymentItem.objects.update(quantity=Decimal("0.5"), price=Decimal("55.00"))

    (sum_,) = PaymentItem.objects.annotate(sum=F("quantity") * F("price")).values_list("sum", flat=True)

    assert sum_ == Decimal("27.5")


def test_what_is_cast_to_an_amount_is_one(item: PaymentItem) -> None:
    (position,) = PaymentItem.objects.annotate(cast=Cast("position", AmountField())).values_list("cast", flat=True)

    assert (position, type(position)) == (Decimal(0), Decimal)


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1E+12", "0.0000001"])
def test_what_is_no_amount_is_not_kept(item: PaymentItem, amount: str) -> None:
    item.quantity = Decimal(amount)

    with pytest.raises(ValueError, match="an amount"):
        item.save()


def test_a_column_of_amounts_needs_no_number_of_digits() -> None:
    _, path, _, options = Payment._meta.get_field("tip_brutto").deconstruct()

    assert (path, options) == ("django_qerko.models.amount.AmountField", {"null": True})
    assert AmountField(**options).max_digits == 18


# -- Quantities ------------------------------------------------------------------------------------


def test_quantities_are_written_without_what_is_nothing() -> None:
    written = quantities.write({"1": Decimal("0.50"), "2": Decimal("0.00"), "3": Decimal("1E+2")})

    assert written == {"1": "0.5", "3": "100"}
    assert quantities.read(written) == {"1": Decimal("0.5"), "3": Decimal(100)}
    assert quantities.read(None) == {}


def test_quantities_of_one_item_add_up_exactly() -> None:
    pairs = [("1", Decimal("999999999999.999999")), ("2", Decimal("0.1")), ("1", Decimal("0.000001"))]

    assert quantities.add_up(pairs) == {"1": Decimal("1000000000000"), "2": Decimal("0.1")}


def test_less_than_nothing_may_be_left() -> None:
    some, less = {"1": Decimal("0.5"), "2": Decimal(3)}, {"1": Decimal(1), "3": Decimal(7)}

    assert quantities.minus(some, less) == {"1": Decimal("-0.5"), "2": Decimal(3)}
    assert quantities.plus(some, less) == {"1": Decimal("1.5"), "2": Decimal(3), "3": Decimal(7)}


def test_products_and_totals_keep_every_digit() -> None:
    price, quantity = Decimal("999999999999.999999"), Decimal("123456789012.345678")

    product = quantities.times(price, quantity)

    assert product == Decimal("123456789012345677876543.210987654322")
    assert quantities.total([product, Decimal("0.000000000001")]) - product == Decimal("0.000000000001")
    assert quantities.total([]) == 0

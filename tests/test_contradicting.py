"""What of a payment does not fit its bill is found, told in numbers, and refused only where the project asks for it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.dispatch import Signal

from django_qerko import events
from django_qerko.handling.contradicting import Contradiction, contradictions
from django_qerko.models import Bill, Payment, Restaurant
from django_qerko.signals import bill_requested, payment_contradicts_bill, payment_started
from tests.deliveries import deliver
from tests.records import offer, told

Answering = Callable[[Signal, Any], None]

BILL = offer(item_1=2, item_2=1)


def found(bill: Any = BILL, **members: Any) -> list[tuple[str, str, str]]:
    snapshot = bill and bill.as_json()
    payment = events.Payment.model_validate(told(**members))
    return [(what, f"{expected:f}", f"{said:f}") for what, expected, said in contradictions(payment, snapshot)]


def one(quantity: str = "1", price: str | None = "55.00", item: str = "1") -> dict[str, Any]:
    return {"id": item, "quantity": quantity, "price": price}


def parts(*totals: str) -> list[dict[str, str]]:
    return [{"total": total} for total in totals]


def stepped(step: str) -> Any:
    items = [item.model_copy(update={"min_quantity": Decimal(step)}) for item in BILL.items]
    return BILL.model_copy(update={"items": items})


# -- What fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"parts": []},
        {"parts": parts("60.00")},
        {"parts": parts("30.00", "30.00")},
        {"parts": parts("55.02")},
        {"parts": parts("45.00"), "discount": {"value": "10.00"}},
        {"parts": parts("45.00"), "discount": {"value": "-10.00"}},
        {"parts": parts("50.00"), "discount": {"value": "10.00"}},
        {"parts": parts("55.00"), "discount": {"name": "of no known value"}},
        {"items": [one(price=None)]},
        {"items": [one(price=None, item="new")], "parts": parts("1000")},
        {"items": [one("0.333")], "parts": parts("18.32")},
        {"items": [one(), one(item="2")], "parts": parts("110")},
        {"tipBrutto": None, "tipNetto": None},
    ],
    ids=str,
)
def test_what_fits_is_no_contradiction(members: dict[str, Any]) -> None:
    assert found(**members) == []


def test_the_smallest_steps_fit_and_so_does_all_that_is_left() -> None:
    assert found(stepped("0.5"), items=[one("1.5")], parts=[]) == []
    assert found(stepped("0.75"), items=[one("2")], parts=[]) == []


# -- What does not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "contradiction"),
    [
        ({"items": [one(price="54.99")], "parts": []}, ("price of item 1", "55.00", "54.99")),
        ({"parts": parts("156")}, ("sum of the parts", "60.00", "156")),
        ({"parts": parts("55.03")}, ("sum of the parts", "60.00", "55.03")),
        ({"parts": parts("9"), "discount": {"value": "10"}}, ("sum of the parts", "50.00", "9")),
        ({"parts": parts("9"), "tipBrutto": None, "tipNetto": None}, ("sum of the parts", "55.00", "9")),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_in_numbers(members: dict[str, Any], contradiction: tuple[str, str, str]) -> None:
    assert found(**members) == [contradiction]


def test_too_small_a_step_is_a_contradiction() -> None:
    assert found(stepped("0.5"), items=[one("0.75")], parts=[]) == [
        ("quantity of item 1, in steps of 0.5", "0.50", "0.75")
    ]


def test_a_bill_that_is_paid_as_a_whole_is_not_paid_in_part() -> None:
    whole = BILL.model_copy(update={"allow_partial_payment": False})

    assert found(whole, parts=[]) == [
        ("quantity of item 1, of a bill that is paid as a whole", "2", "1"),
        ("quantity of item 2, of a bill that is paid as a whole", "1", "0"),
    ]
    assert found(whole, items=[one("2"), one("1", item="2")], parts=[]) == []


def test_a_tip_where_none_is_taken_is_a_contradiction() -> None:
    proud = BILL.model_copy(update={"allow_tip": False})

    assert found(proud) == [
        ("tipBrutto, where no tip is taken", "0", "5.00"),
        ("tipNetto, where no tip is taken", "0", "5.00"),
    ]
    assert found(proud, tipBrutto="0", tipNetto=None) == []


def test_without_a_bill_only_the_sum_can_contradict() -> None:
    assert found(None, items=[one(price="1")], parts=parts("156")) == [("sum of the parts", "6.00", "156")]
    assert found(None, items=[one(price=None)], parts=parts("156")) == []


def test_a_price_that_stands_in_many_lines_contradicts_once() -> None:
    lines = [one("0.5", price="5"), one("0.25", price="5"), one("0.25", price="6"), one("1", price="5", item="2")]

    assert [(what, said) for what, _, said in found(items=lines, parts=[])] == [
        ("price of item 1", "5"),
        ("price of item 1", "6"),
        ("price of item 2", "5"),
    ]


def test_a_contradiction_says_by_how_much() -> None:
    contradiction = Contradiction("price of item 1", Decimal("55.00"), Decimal("5"))

    assert str(contradiction) == "price of item 1: 5 and not 55.00 (-50.00)"
    assert contradiction.as_json() == {"what": "price of item 1", "expected": "55.00", "told": "5"}
    assert contradiction.difference == Decimal("-50.00")
    assert Contradiction.from_json(contradiction.as_json()) == contradiction


# -- What becomes of it ----------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "status", "state"), [("accept", 200, "started"), ("refuse", 422, "cancelled")])
def test_the_policy_says_what_becomes_of_it_and_it_is_noticed_either_way(
    restaurant: Restaurant,
    answering: Answering,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    policy: str,
    status: int,
    state: str,
) -> None:
    settings.QERKO = settings.QERKO | {"CONTRADICTIONS": policy}
    heard, asked = [], []
    answering(bill_requested, BILL)
    answering(payment_started, lambda payment, **_: asked.append(payment.payment_id))
    answering(payment_contradicts_bill, lambda **got: heard.append(got))
    deliver(restaurant, "getBill")

    response = deliver(restaurant, "paymentStart", {"payment": told(items=[one(price="5")], parts=[])})

    payment = Payment.objects.get()
    assert (response.status_code, payment.state, len(asked)) == (status, state, int(policy == "accept"))
    assert payment.contradictions == [{"what": "price of item 1", "expected": "55.00", "told": "5"}]
    assert "does not fit bill 42: price of item 1: 5 and not 55.00 (-50.00)" in caplog.text
    ((contradiction,),) = (got["contradictions"] for got in heard)
    assert (heard[0]["payment"], heard[0]["bill"], contradiction.told) == (payment, Bill.objects.get(), Decimal(5))
    assert bool(Bill.objects.get().locked) is (policy == "accept")


def test_of_many_contradictions_the_log_says_a_few_and_the_payment_keeps_all(
    restaurant: Restaurant, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    prices = [one("0.01", price=f"{price}") for price in range(60)]
    answering(bill_requested, BILL)
    deliver(restaurant, "getBill")

    assert deliver(restaurant, "paymentStart", {"payment": told(items=prices, parts=[])}).status_code == 200

    (line,) = [line.getMessage() for line in caplog.records if "does not fit bill" in line.getMessage()]
    assert (line.count("price of item 1: "), line[-3:]) == (5, "; …")
    assert len(Payment.objects.get().contradictions) == 59


@pytest.mark.parametrize("policy", ["accept", "refuse"])
def test_what_fits_is_nothing_to_notice(
    restaurant: Restaurant, answering: Answering, settings: Any, policy: str
) -> None:
    settings.QERKO = settings.QERKO | {"CONTRADICTIONS": policy}
    answering(bill_requested, BILL)
    answering(payment_contradicts_bill, lambda **_: pytest.fail("it fits"))
    deliver(restaurant, "getBill")

    assert deliver(restaurant, "paymentStart").status_code == 200
    assert (Payment.objects.get().contradictions, Payment.objects.contradictory().count()) == ([], 0)


def test_what_is_always_refused_is_refused_whatever_the_policy(restaurant: Restaurant, answering: Answering) -> None:
    answering(bill_requested, BILL)
    deliver(restaurant, "getBill")

    assert deliver(restaurant, "paymentStart", {"payment": told(items=[one("3")])}).status_code == 422
    assert "Of item 1, 2 are left to pay" in Payment.objects.get().reason

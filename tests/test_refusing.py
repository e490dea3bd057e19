"""A payment may not begin where protocol section 5 says so, and where nothing else speaks against it it may."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from django_qerko import events
from django_qerko.handling.refusing import Standing, refusal
from tests.records import told

OPEN = Standing(is_busy=False, is_open=True, currency="CZK", left={"1": Decimal("1.5"), "2": Decimal(0)})


def said(members: dict[str, Any], **standing: Any) -> tuple[str | None, str] | None:
    known = {name: getattr(OPEN, name) for name in ("is_busy", "is_open", "currency", "left")} | standing
    refused = refusal(events.Payment.model_validate(told(**members)), Standing(**known))
    return None if refused is None else (refused.code, refused.message)


def items(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"items": [{"id": item, "quantity": quantity} for item, quantity in pairs]}


@pytest.mark.parametrize(
    "members",
    [
        items(("1", "1")),
        items(("1", "1.5")),
        items(("1", "0.75"), ("1", "0.75")),
        items(("1", "0.001")),
        # Sums, tips, discounts and parts are never a reason by themselves.
        {"parts": [{"total": "156"}], "tipBrutto": "1000", "discount": {"value": "9999"}},
    ],
    ids=str,
)
def test_what_is_left_may_be_paid(members: dict[str, Any]) -> None:
    assert said(members) is None


@pytest.mark.parametrize(
    ("members", "standing", "code", "message"),
    [
        ({}, {"is_busy": True}, "ACCESS_DENIED", "Another payment is in progress on this bill."),
        (items(), {}, "BAD_PARAMETER", "The payment pays nothing."),
        (items(("1", "1"), ("2", "0")), {}, "BAD_PARAMETER", "Nothing of item 2 is paid."),
        ({}, {"is_open": False}, "BILL_CLOSED", "The bill is closed."),
        ({"currency": "EUR"}, {}, "BAD_PARAMETER", "The bill is in CZK, and the payment in EUR."),
        (items(("1", "1.501")), {}, "BAD_PARAMETER", "Of item 1, 1.5 are left to pay, and 1.501 were asked."),
        (items(("1", "1"), ("1", "1")), {}, "BAD_PARAMETER", "Of item 1, 1.5 are left to pay, and 2 were asked."),
        (items(("2", "1")), {}, "BAD_PARAMETER", "Of item 2, 0 are left to pay, and 1 were asked."),
        (items(("new", "1")), {}, "BAD_PARAMETER", "Of item new, 0 are left to pay, and 1 were asked."),
    ],
)
def test_what_is_refused_has_its_reason(
    members: dict[str, Any], standing: dict[str, Any], code: str, message: str
) -> None:
    assert said(members, **standing) == (code, message)


@pytest.mark.parametrize("members", [items(("new", "1000")), {"currency": "EUR"}], ids=str)
def test_of_a_bill_without_a_snapshot_only_what_needs_none_is_refused(members: dict[str, Any]) -> None:
    assert said(members, left=None) is None
    assert said(items(("new", "0")), left=None) == ("BAD_PARAMETER", "Nothing of item new is paid.")


def test_a_bill_that_is_closed_is_closed_with_a_snapshot_or_without() -> None:
    assert said({}, left=None, is_open=False) == ("BILL_CLOSED", "The bill is closed.")

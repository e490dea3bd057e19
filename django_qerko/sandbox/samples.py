"""Have sensible data for every event of protocol section 4: one guest's evening at one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from django_qerko.answers import Bill, BillItem
from django_qerko.sandbox.conversation import PointOfSale
from django_qerko.sandbox.payments import PAID, Payment

TABLE_ID: Final = "T1"
BILL_ID: Final = "42"
#: The same in all events of a payment, so that they can be sent one after the other.
PAYMENT_ID: Final = "sample-payment"

#: Fixed as well: a payment that starts again with other content would be another one.
_BEGUN_AT: Final = datetime(2026, 11, 24, 19, tzinfo=UTC)


def sample(event: str, pos: PointOfSale) -> Any:
    """The data of an event, new each time; ``None`` for one that nobody knows."""
    written = _SAMPLES.get(event)
    return written(pos) if written else None


def _payment(pos: PointOfSale) -> dict[str, Any]:
    items = [BillItem(id="1", name="Pivo", quantity=Decimal(1), price=Decimal("55.00"))]
    bill = Bill(id=BILL_ID, currency="CZK", items=items)
    payment = Payment(id=PAYMENT_ID, pos=pos, bill=bill, items=tuple(items), tip=Decimal("5.00"), begun_at=_BEGUN_AT)
    return {"payment": payment.as_json()}


def _order(_: PointOfSale) -> dict[str, Any]:
    """Nothing public shows what an order's events carry, so this is an assumption (A)."""
    return {"orderId": "sample-order", "tableId": TABLE_ID, "customerId": None}


_SAMPLES: Final[Mapping[str, Callable[[PointOfSale], Any]]] = {
    "getTableList": lambda _: None,
    "getTableContents": lambda _: {"tableId": TABLE_ID, "customerId": None},
    "getBill": lambda _: {"billId": BILL_ID, "customerId": None},
    "searchBills": lambda _: {"qrIdentifier": f"table={TABLE_ID}", "customerId": None},
    "paymentStart": _payment,
    "paymentProcessed": lambda _: {"paymentId": PAYMENT_ID},
    "paymentClosed": lambda _: {"paymentId": PAYMENT_ID, "state": PAID},
    "getPostponedReceipt": lambda _: {"paymentId": PAYMENT_ID},
    # Assumed, like what an order carries (A).
    "getMealMenus": lambda _: {"tableId": TABLE_ID, "customerId": None},
    "orderPrepare": _order,
    "orderStart": _order,
    "orderMarkAsPaid": _order,
    "orderClose": _order,
}

#: Every event that is known by name.
EVENTS: Final = tuple(_SAMPLES)

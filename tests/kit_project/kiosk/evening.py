"""An evening at the kiosk, for tests: people sit, and have ordered."""

from __future__ import annotations

from decimal import Decimal

from .models import Line, Order


def order(table: str = "T1") -> Order:
    """Two lemonades and four sausages, 270 altogether."""
    ordered = Order.objects.create(table=table)
    Line.objects.create(order=ordered, name="Lemonade", price=Decimal("35.00"), quantity=2)
    Line.objects.create(order=ordered, name="Sausage", price=Decimal("50.00"), quantity=4)
    return ordered


def fill() -> None:
    """Enough for every rule of the protocol to be tried."""
    for table in ("T1", "T1", "T2", "T2"):
        order(table)

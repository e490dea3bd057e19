"""Compare what the app's books call paid with what the pub's lines do."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from django_qerko.models import Bill
from example_project.pub.models import Order


def disagreements() -> Iterator[str]:
    """Each line of which one book has more paid than the other, in words."""
    for order in Order.objects.select_related("table").with_lines():
        paid = _paid(str(order.pk))
        lines = {str(line.pk): line for line in order.lines.all()}
        for key, quantity in paid.items():
            if key not in lines:
                yield f"{order}: {quantity:f} of {key} are paid at Qerko, and it is no line"
        for key, line in lines.items():
            there = paid.get(key, Decimal(0))
            if there != line.paid_quantity:
                yield f"{order}: {there.normalize():f} of {line} are paid at Qerko, {line.paid or 0} here"


def _paid(bill_id: str) -> dict[str, Decimal]:
    bill = Bill.objects.filter(bill_id=bill_id).first()
    return bill.paid_quantities if bill else {}

"""The tables, the orders on them, and what of each line was paid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Self

from django.db import models
from django.db.models import F, Prefetch, Q
from django.utils import timezone

from example_project.pub.areas import OFFERS, WITH_LATE_RECEIPTS, Offer

CURRENCY: Final = "CZK"
#: Decimals of a quantity.
PLACES: Final = 3

#: A key as we write it: no sign, no leading zero, not more than a database column holds.
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")


class TableQuerySet(models.QuerySet["Table"]):
    def with_open_orders(self) -> Self:
        """Each table with its open orders and their lines, in three statements however many there are."""
        orders = Order.objects.open().with_lines()
        return self.prefetch_related(Prefetch("orders", queryset=orders, to_attr="open_orders"))


class Table(models.Model):
    """A table of the pub; its code is what Qerko knows it by."""

    code = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=100)
    area = models.CharField(max_length=100, blank=True)

    #: Filled by ``with_open_orders``.
    open_orders: list[Order]

    objects = TableQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.code

    @property
    def offer(self) -> Offer | None:
        """The discount that whoever sits here may take."""
        return OFFERS.get(self.area)

    @property
    def has_late_receipts(self) -> bool:
        """Whether receipts are written only once the money is certain."""
        return self.area in WITH_LATE_RECEIPTS


class OrderQuerySet(models.QuerySet["Order"]):
    def open(self) -> Self:
        return self.filter(closed_at=None)

    def numbered(self, bill_id: str) -> Self:
        """The order that Qerko means by the id of a bill, whole; none where that is no number of ours."""
        orders = self.filter(pk=bill_id) if _NUMBER.fullmatch(bill_id) else self.none()
        return orders.select_related("table").with_lines()

    def with_lines(self) -> Self:
        return self.prefetch_related("lines")


class Order(models.Model):
    """What one party at a table ordered: a bill, until it is closed."""

    table = models.ForeignKey(Table, on_delete=models.PROTECT, related_name="orders")
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["table", "closed_at"], name="pub_order_open")]

    def __str__(self) -> str:
        return f"Bill {self.pk} at {self.table}"

    @property
    def name(self) -> str:
        """What a guest sees."""
        return f"{self.table.name}, bill {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def unpaid_lines(self) -> list[Line]:
        return [line for line in self.lines.all() if line.unpaid]

    @property
    def owed(self) -> Decimal:
        """What is still to be paid, in crowns."""
        return in_crowns(line.unpaid * line.price for line in self.lines.all())

    def pay(self, quantities: Mapping[str, Decimal], *, at: datetime) -> bool:
        """Count these quantities as paid, by the lines' keys, and close the order where nothing is left.

        ``False`` where something of them was paid already, or is no line of this order.
        """
        lines = {str(line.pk): line for line in self.lines.select_for_update()}
        over = [lines[key].pay(quantity) for key, quantity in quantities.items() if key in lines]
        if not any(line.unpaid for line in lines.values()):
            self.close(at=at)
        return quantities.keys() <= lines.keys() and not any(over)

    def close(self, *, at: datetime) -> bool:
        """Close an open order; ``False`` where it was closed already."""
        return bool(Order.objects.open().filter(pk=self.pk).update(closed_at=at))


class LineQuerySet(models.QuerySet["Line"]):
    def unpaid(self) -> Self:
        return self.filter(paid_quantity__lt=F("quantity"))


class Line(models.Model):
    """One line of an order. What was paid of it is counted here, so that it is never offered again."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    name = models.CharField(max_length=200)
    quantity = models.DecimalField(max_digits=9, decimal_places=PLACES)
    paid_quantity = models.DecimalField(max_digits=9, decimal_places=PLACES, default=Decimal(0))
    #: The smallest part that a guest may pay: half a portion, a whole beer.
    smallest_part = models.DecimalField(max_digits=9, decimal_places=PLACES, default=Decimal(1))
    #: Of one unit, in crowns, VAT included.
    price = models.DecimalField(max_digits=9, decimal_places=2)
    #: In per cent.
    vat_rate = models.DecimalField("VAT rate", max_digits=4, decimal_places=2)

    objects = LineQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0, smallest_part__gt=0), name="pub_line_is_of_something"),
            models.CheckConstraint(
                condition=Q(paid_quantity__gte=0, paid_quantity__lte=F("quantity")), name="pub_line_paid_at_most_once"
            ),
            models.CheckConstraint(condition=Q(price__gte=0), name="pub_line_price"),
            models.CheckConstraint(condition=Q(vat_rate__gte=0, vat_rate__lt=100), name="pub_line_vat_rate"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} × {self.name}"

    @property
    def unpaid(self) -> Decimal:
        """How much of it is still to be paid."""
        return self.quantity - self.paid_quantity

    @property
    def paid(self) -> str:
        """How much of it is paid, as people write it; nothing where none is."""
        return f"{self.paid_quantity.normalize():f}" if self.paid_quantity else ""

    @property
    def owed(self) -> Decimal:
        """What is still to be paid for it, in crowns."""
        return in_crowns([self.unpaid * self.price])

    def pay(self, quantity: Decimal) -> Decimal:
        """Count this much of it as paid; give how much of that was paid already."""
        paid = self.paid_quantity + quantity
        self.paid_quantity = min(paid, self.quantity)
        self.save(update_fields=["paid_quantity"])
        return paid - self.paid_quantity


def in_crowns(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of amounts, rounded to the haléř, half of one up."""
    return sum(amounts, Decimal(0)).quantize(Decimal("0.01"), ROUND_HALF_UP)

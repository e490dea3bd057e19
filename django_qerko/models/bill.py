"""A bill: what Qerko was last told of it, what of it is being paid, and what is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from django.db import IntegrityError, connections, models, transaction
from django.db.models import Q
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils import timezone

from django_qerko import answers
from django_qerko.models import quantities
from django_qerko.models.identifier import IdentifierField
from django_qerko.models.kept import KeptField, printable
from django_qerko.models.quantities import Quantities
from django_qerko.models.restaurant import Restaurant


class BillState(models.TextChoices):
    """Whether there is anything left to pay, as far as Qerko was told."""

    OPEN = "open"
    CLOSED = "closed"


class BillQuerySet(models.QuerySet["Bill"]):
    def open(self) -> Self:
        return self.filter(state=BillState.OPEN)

    def closed(self) -> Self:
        return self.filter(state=BillState.CLOSED)

    def offered_again(self) -> Self:
        """Bills on which what was paid is offered again."""
        return self.exclude(offered_again={})

    def in_brief(self) -> Self:
        """Without what is large, and with the restaurant: for lists."""
        return self.select_related("restaurant").defer("snapshot", "paid_then", "stood")

    def known(self, restaurant: Restaurant, bill_ids: Iterable[str]) -> dict[str, Bill]:
        """Our rows of these bills, by the id that the point of sale gives them."""
        return {bill.bill_id: bill for bill in self.filter(restaurant=restaurant, bill_id__in=list(bill_ids))}

    def held(self, restaurant: Restaurant, bill_id: str, *, currency: str) -> Bill:
        """Our row of a bill, locked until the transaction is over; a new one where Qerko was never told of it."""
        rows = self.select_for_update().filter(restaurant=restaurant, bill_id=bill_id)
        if bill := rows.first():
            return bill
        try:
            with transaction.atomic(using=self.db):
                return self.create(restaurant=restaurant, bill_id=bill_id, currency=currency)
        except IntegrityError:
            # Somebody was quicker. Read for update, so that what they committed is seen on every database.
            return rows.get()

    def remember(self, told: Iterable[Bill]) -> None:
        """Keep what Qerko is being told of these bills, which ``Bill.telling`` made; one statement, or none.

        What is locked and paid stands in the same row, and is left alone.
        """
        names_target = connections[self.db].features.supports_update_conflicts_with_target
        self.bulk_create(
            sorted(told, key=lambda bill: bill.bill_id),
            update_conflicts=True,
            unique_fields=["restaurant", "bill_id"] if names_target else None,
            update_fields=["currency", "snapshot", "snapshot_at", "paid_then", "offered_again"],
        )


class Bill(models.Model):
    """A bill of the point of sale.

    Quantities by item are JSON of decimal strings, so that no database rounds them; Qerko asks for bills very often, so
    they stand in this one row.
    """

    State = BillState

    id = models.BigAutoField(primary_key=True)
    restaurant = models.ForeignKey(Restaurant, on_delete=models.PROTECT, related_name="bills")
    bill_id = IdentifierField(max_length=128)
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=6, choices=BillState, default=BillState.OPEN)
    #: The bill's JSON as Qerko was last given it; none where Qerko never was.
    snapshot = KeptField(null=True)
    snapshot_at = models.DateTimeField(null=True)
    #: What of it is being paid now.
    locked = models.JSONField(default=dict)
    #: What of it was paid, ever.
    paid = models.JSONField(default=dict)
    #: What was paid when the point of sale was asked for the snapshot.
    paid_then = models.JSONField(default=dict)
    #: How much of the items that were paid ever stood on it, as of the last payment that paid them.
    stood = models.JSONField(default=dict)
    #: How much the point of sale offers beyond what can be left.
    offered_again = models.JSONField(default=dict)
    settled_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = BillQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["restaurant", "bill_id"], name="qerko_bill_identity"),
            models.CheckConstraint(condition=~Q(bill_id=""), name="qerko_bill_has_id"),
            models.CheckConstraint(condition=Exact(Length("currency"), 3), name="qerko_bill_currency"),
            models.CheckConstraint(condition=Q(state__in=BillState.values), name="qerko_bill_state"),
            models.CheckConstraint(
                condition=Q(state=BillState.OPEN) | Q(closed_at__isnull=False), name="qerko_bill_closed_has_moment"
            ),
            models.CheckConstraint(
                condition=Q(snapshot__isnull=True, snapshot_at=None)
                | Q(snapshot__isnull=False, snapshot_at__isnull=False),
                name="qerko_bill_snapshot_has_moment",
            ),
        ]

    def __str__(self) -> str:
        return printable(self.bill_id)

    # -- What it is --------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self.state == BillState.OPEN

    @property
    def left(self) -> dict[str, Decimal] | None:
        """How much of each item is left to pay, as far as Qerko was told; ``None`` where it never was.

        What is being paid is left still.
        """
        if self.snapshot is None:
            return None
        since = quantities.minus(self.paid_quantities, quantities.read(self.paid_then))
        left = quantities.minus({item["id"]: Decimal(item["quantity"]) for item in self.snapshot["items"]}, since)
        return {item: max(quantity, Decimal(0)) for item, quantity in left.items()}

    @property
    def owed(self) -> Decimal | None:
        """What is left to pay, in major units of ``currency``, without tips and discounts."""
        if self.snapshot is None or (left := self.left) is None:
            return None
        prices = {item["id"]: Decimal(item["price"]) for item in self.snapshot["items"]}
        return quantities.total(quantities.times(prices[item], quantity) for item, quantity in left.items())

    @property
    def paid_quantities(self) -> dict[str, Decimal]:
        """How much of each item was paid, ever."""
        return quantities.read(self.paid)

    @property
    def locked_quantities(self) -> dict[str, Decimal]:
        """How much of each item is being paid now."""
        return quantities.read(self.locked)

    @property
    def offered_quantities(self) -> dict[str, Decimal]:
        """How much of each item is offered beyond what can be left."""
        return quantities.read(self.offered_again)

    def beyond(self, offered: Quantities) -> dict[str, Decimal]:
        """How much of an offer is more than can be left of items that were paid."""
        left = quantities.minus(quantities.read(self.stood), self.paid_quantities)
        over = quantities.minus(
            {item: offered[item] for item in offered if item in left},
            {item: max(quantity, Decimal(0)) for item, quantity in left.items()},
        )
        return {item: quantity for item, quantity in over.items() if quantity > 0}

    def telling(self, bill: answers.Bill, *, at: datetime, paid_then: Mapping[str, str], again: Quantities) -> Bill:
        """The row as it will be when Qerko has been told this."""
        return Bill(
            restaurant_id=self.restaurant_id,
            bill_id=bill.id,
            currency=bill.currency,
            snapshot=bill.as_json(),
            snapshot_at=at,
            paid=self.paid,
            paid_then=dict(paid_then),
            offered_again=quantities.write(again),
        )

    def is_as_told(self, told: Bill) -> bool:
        """Whether there is nothing new in it for this row."""
        names = ("currency", "snapshot", "paid_then", "offered_again")
        return all(getattr(self, name) == getattr(told, name) for name in names)

    # -- What happens to it --------------------------------------------------------------------------

    def close(self, *, at: datetime) -> bool:
        """There is nothing left to pay; ``False`` where that was known."""
        return self._change(self._row.open(), state=BillState.CLOSED, closed_at=at)

    def reopen(self, *, at: datetime) -> bool:
        """The point of sale offers something to pay again; not where it was paid while the point of sale was asked."""
        row = self._row.closed().filter(settled_at=self.settled_at)
        return self._change(row, state=BillState.OPEN, opened_at=at)

    def lock(self, wanted: Quantities) -> None:
        """These quantities are being paid. The row must be held."""
        self._change(self._row, locked=quantities.write(wanted))

    def release(self) -> None:
        """Nothing of it is being paid any more. The row must be held."""
        self._change(self._row, locked={})

    def settle(self, paid: Quantities, *, stood: Mapping[str, str], at: datetime) -> None:
        """These quantities were paid, and so much of them ever stood on the bill. The row must be held."""
        self.paid = quantities.write(quantities.plus(self.paid_quantities, paid))
        changes: dict[str, Any] = {"paid": self.paid, "stood": {**self.stood, **stood}, "settled_at": at}
        if self.is_open and (left := self.left) is not None and not any(left.values()):
            changes |= {"state": BillState.CLOSED, "closed_at": at}
        self._change(self._row, **changes)

    @property
    def _row(self) -> BillQuerySet:
        return Bill.objects.using(self._state.db).filter(pk=self.pk)

    def _change(self, row: BillQuerySet, **changes: Any) -> bool:
        if not row.update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True

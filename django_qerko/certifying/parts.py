"""Choose what is paid: as little of a bill as may be paid at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from django_qerko.answers import Bill, BillItem
from django_qerko.sandbox.choosing import smallest_part

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is paid of a bill: one step of one item, or all of it where it may not be paid in parts.

    ``steps`` is how often as much could be paid, and ``item`` the one that is looked at afterwards.
    """

    bill: Bill = field(repr=False)
    item: BillItem
    items: Mapping[str, Decimal]
    steps: int

    @property
    def before(self) -> Decimal:
        """How much of the item was to be paid."""
        return self.item.quantity

    @property
    def after(self) -> Decimal:
        """How much is left once this is paid."""
        return self.item.quantity - self.items[self.item.id]

    @property
    def too_much(self) -> dict[str, Decimal]:
        """The same, with one step more of the item than there is."""
        return {**self.items, self.item.id: self.item.quantity + smallest_part(self.item)}


def part_of(bill: Bill) -> Part | None:
    """The part whose item could be paid in the most steps; ``None`` where nothing is left to pay."""
    return max(_parts(bill), key=lambda part: part.steps, default=None)


def left_of(bills: Iterable[Bill], item_id: str) -> Decimal:
    """How much of an item is to be paid on these bills."""
    return sum((item.quantity for bill in bills for item in bill.items if item.id == item_id), start=_NOTHING)


def _parts(bill: Bill) -> list[Part]:
    payable = [item for item in bill.items if item.quantity > 0 and item.price > 0]
    if not bill.allow_partial_payment:
        whole = {item.id: item.quantity for item in bill.items if item.quantity > 0}
        return [Part(bill=bill, item=item, items=whole, steps=1) for item in payable]
    return [
        Part(bill=bill, item=item, items={item.id: min(smallest_part(item), item.quantity)}, steps=_steps(item))
        for item in payable
    ]


def _steps(item: BillItem) -> int:
    return max(int(item.quantity / smallest_part(item)), 1)

"""What a guest chose on a bill: how much of which items, the discount, and the tip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from urllib.parse import quote, unquote

from django_qerko import amounts
from django_qerko.answers import Bill, BillItem
from django_qerko.sandbox import payments
from django_qerko.sandbox.slips import worth

#: Tips that need no typing, in per cent; and the choice of another one.
TIPS: Final = ("0", "5", "10", "15")
OWN_TIP: Final = "own"
_QUANTITY: Final = "q-"
_CENT: Final = Decimal("0.01")


class NotPossible(Exception):
    """The choice cannot be paid; ``phrase`` says why."""

    def __init__(self, phrase: str) -> None:
        super().__init__(phrase)
        self.phrase = phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be paid of a bill."""

    items: Mapping[str, Decimal]
    tip: Decimal
    with_discount: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The fields of the bill's form, as they were typed. Without quantities everything is paid."""

    quantities: Mapping[str, str] = field(default_factory=dict)
    tip: str = TIPS[0]
    own_tip: str = ""
    with_discount: bool = True

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Choice:
        """What the fields of a form say."""
        return cls(
            quantities={
                unquote(name.removeprefix(_QUANTITY)): value
                for name, value in fields.items()
                if name.startswith(_QUANTITY)
            },
            tip=fields.get("tip", TIPS[0]),
            own_tip=fields.get("own_tip", ""),
            with_discount="discount" in fields,
        )

    def require_sense(self) -> None:
        """Raises NotPossible for what no bill could make possible."""
        if self.quantities and not any(map(_quantity, self.quantities.values())):
            raise NotPossible("problem_nothing")
        self._tip_on(Decimal())

    def order(self, bill: Bill) -> Order:
        """The same on this bill. Raises NotPossible where it does not have it, or does not let it be paid like that."""
        self.require_sense()
        items = self._items(bill)
        if self.with_discount and not is_offered(bill):
            raise NotPossible("problem_discount")
        chosen = payments.choose(bill, items)
        discount = payments.take_offer(bill, chosen).value if self.with_discount else 0
        tip = self._tip_on(worth(chosen) - discount)
        if tip and not bill.allow_tip:
            raise NotPossible("problem_changed")
        return Order(items=items, tip=tip, with_discount=self.with_discount)

    def _items(self, bill: Bill) -> Mapping[str, Decimal]:
        left = {item.id: item for item in bill.items if item.quantity}
        if not self.quantities:
            chosen = {item.id: item.quantity for item in left.values()}
        else:
            typed = {item_id: _quantity(text) for item_id, text in self.quantities.items()}
            chosen = {item_id: quantity for item_id, quantity in typed.items() if quantity}
        if not chosen or not chosen.keys() <= left.keys():
            raise NotPossible("problem_changed")
        for item_id, quantity in chosen.items():
            _require_fit(left[item_id], quantity)
        if not bill.allow_partial_payment and chosen != {item.id: item.quantity for item in left.values()}:
            raise NotPossible("problem_changed")
        return chosen

    def _tip_on(self, sum_: Decimal) -> Decimal:
        if self.tip == OWN_TIP:
            return _read(self.own_tip, "problem_tip")
        if self.tip not in TIPS:
            raise NotPossible("problem_tip")
        return (max(sum_, Decimal()) * int(self.tip) / 100).quantize(_CENT, ROUND_HALF_UP)


def field_of(item: BillItem) -> str:
    """The name of the form's field for an item, whatever is in its id: a browser changes line breaks."""
    return f"{_QUANTITY}{quote(item.id, safe='')}"


def smallest_part(item: BillItem) -> Decimal:
    """The step in which an item is paid; where the bill names none, one, or the whole of what is no whole number."""
    if item.min_quantity:
        return item.min_quantity
    return item.quantity if item.quantity % 1 else Decimal(1)


def is_offered(bill: Bill) -> bool:
    """Whether the guest may have the owner's discount."""
    return bill.discount_offer is not None and not bill.deny_discounts


def _require_fit(item: BillItem, quantity: Decimal) -> None:
    """All that is left may always be paid, and parts of it in steps."""
    if quantity > item.quantity:
        raise NotPossible("problem_changed")
    if quantity != item.quantity and quantity % smallest_part(item):
        raise NotPossible("problem_quantity")


def _quantity(text: str) -> Decimal:
    return _read(text, "problem_quantity") if text.strip() else Decimal()


def _read(text: str, phrase: str) -> Decimal:
    """An amount as a Czech or an Englishman types it, not negative."""
    try:
        value = amounts.read("".join(text.split()).replace(",", "."))
    except ValueError as error:
        raise NotPossible(phrase) from error
    if value < 0:
        raise NotPossible(phrase)
    return value

"""Say what of a payment's amounts does not fit its bill.

All of it is an assumption (A), and stands here alone: nothing public says what Qerko adds up, and its own samples do
not add up (protocol section 5). So what is found is told and kept, and refused only where the project asks for it
(``CONTRADICTIONS``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self

from django_qerko.amounts import EXACT
from django_qerko.answers import Bill, BillItem
from django_qerko.events import Payment
from django_qerko.models.kept import printable

_NOTHING: Final = Decimal(0)
#: Each line may be rounded to the smallest coin.
_COIN: Final = Decimal("0.01")


class Contradiction(NamedTuple):
    """What does not fit, what would have, and what was told; both in major units or quantities."""

    what: str
    expected: Decimal
    told: Decimal

    @property
    def difference(self) -> Decimal:
        """How much more was told than expected."""
        return EXACT.subtract(self.told, self.expected)

    def __str__(self) -> str:
        return f"{printable(self.what)}: {self.told:f} and not {self.expected:f} ({self.difference:+f})"

    def as_json(self) -> dict[str, str]:
        return {"what": self.what, "expected": f"{self.expected:f}", "told": f"{self.told:f}"}

    @classmethod
    def from_json(cls, kept: Mapping[str, str]) -> Self:
        """What ``as_json`` wrote."""
        return cls(kept["what"], Decimal(kept["expected"]), Decimal(kept["told"]))


def contradictions(payment: Payment, snapshot: Any) -> list[Contradiction]:
    """What does not fit between a payment and the bill's JSON as Qerko was last given it (``None``: never)."""
    bill = None if snapshot is None else Bill.model_validate(snapshot)
    found = list(_sums(payment, bill))
    if bill is not None:
        found = [*_prices(payment, bill), *_portions(payment, bill), *_tips(payment, bill), *found]
    return found


def _prices(payment: Payment, bill: Bill) -> Iterator[Contradiction]:
    items = _by_id(bill)
    told = dict.fromkeys((item.id, item.price) for item in payment.items)
    for identity, price in told:
        if identity in items and price is not None and price != items[identity].price:
            yield Contradiction(f"price of item {identity}", items[identity].price, price)


def _portions(payment: Payment, bill: Bill) -> Iterator[Contradiction]:
    """Whether the guest may pay so little of it."""
    wanted = payment.quantities
    for item in bill.items:
        asked = wanted.get(item.id, _NOTHING)
        if not bill.allow_partial_payment and asked < item.quantity:
            yield Contradiction(f"quantity of item {item.id}, of a bill that is paid as a whole", item.quantity, asked)
        elif (
            item.min_quantity is not None
            and asked != item.quantity
            and (rest := EXACT.remainder(asked, item.min_quantity))
        ):
            yield Contradiction(f"quantity of item {item.id}, in steps of {item.min_quantity:f}", asked - rest, asked)


def _tips(payment: Payment, bill: Bill) -> Iterator[Contradiction]:
    for name, tip in (("tipBrutto", payment.tip_brutto), ("tipNetto", payment.tip_netto)):
        if tip and not bill.allow_tip:
            yield Contradiction(f"{name}, where no tip is taken", _NOTHING, tip)


def _sums(payment: Payment, bill: Bill | None) -> Iterator[Contradiction]:
    """Whether the parts make the sum, with the discount and a tip or without: what is in it is not public."""
    if not payment.parts or (sum_of_items := _sum(payment, bill)) is None:
        return
    told = _total(part.total for part in payment.parts)
    discount = abs(payment.discount.value or _NOTHING) if payment.discount else _NOTHING
    tips = {payment.tip_brutto or _NOTHING, payment.tip_netto or _NOTHING, _NOTHING}
    fitting = [EXACT.subtract(EXACT.add(sum_of_items, tip), less) for tip in tips for less in {discount, _NOTHING}]
    tolerance = _COIN * (len(payment.items) + len(payment.parts))
    if all(abs(EXACT.subtract(told, sum_)) > tolerance for sum_ in fitting):
        expected = EXACT.subtract(EXACT.add(sum_of_items, payment.tip_brutto or _NOTHING), discount)
        yield Contradiction("sum of the parts", expected, told)


def _sum(payment: Payment, bill: Bill | None) -> Decimal | None:
    """Prices times quantities; ``None`` where a price is not known."""
    items = _by_id(bill) if bill else {}
    lines = []
    for item in payment.items:
        price = item.price
        if price is None:
            if item.id not in items:
                return None
            price = items[item.id].price
        lines.append(EXACT.multiply(price, item.quantity))
    return _total(lines)


def _by_id(bill: Bill) -> dict[str, BillItem]:
    return {item.id: item for item in bill.items}


def _total(values: Any) -> Decimal:
    result = _NOTHING
    for value in values:
        result = EXACT.add(result, value)
    return result

"""Payments as Qerko knows them: what is paid, in which state it is, and its JSON."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, TypeAlias, cast

from django_qerko import amounts
from django_qerko.answers import Bill, BillItem
from django_qerko.sandbox.conversation import PointOfSale
from django_qerko.sandbox.reading import read
from django_qerko.sandbox.slips import money

#: The only state that is known, and the only one that means success (protocol section 4, D).
PAID: Final = "PAID"
#: Assumptions (A): nothing public names the other states of a payment, and they stand nowhere else.
STARTED: Final = "STARTED"
PROCESSED: Final = "PROCESSED"
CANCELLED: Final = "CANCELLED"

#: Where a payment may go from where it is (A). It stays where it ended.
_STEPS: Final[Mapping[str, set[str]]] = {STARTED: {PROCESSED, CANCELLED}, PROCESSED: {PAID, CANCELLED}}
#: How a payment ends that nobody cancelled: one whose money never moved is not paid.
_ENDS: Final[Mapping[str, str]] = {STARTED: CANCELLED, PROCESSED: PAID}
#: Who moves the money here (C for the members, A for what stands in them).
_PROVIDER: Final[Mapping[str, str]] = {"id": "1", "name": "Card", "type": "CARD"}
#: Who bears a discount that the restaurant offers (C for the member, A for the word).
_OFFERED_BY: Final = "RESTAURANT"
_CENT: Final = Decimal("0.01")
#: Older payments are forgotten.
REMEMBERED: Final = 10_000

Amount: TypeAlias = Decimal | int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """The restaurant's offer, taken by a guest. ``value`` is what is paid less."""

    name: str
    value: Decimal
    additional_data: Any = None

    def as_json(self) -> dict[str, Any]:
        """The ``Discount`` of protocol section 5 (C); that a value is positive, and the echo, are A."""
        return {
            "source": _OFFERED_BY,
            "name": self.name,
            "value": money(self.value),
            "provider": None,
            "additionalData": self.additional_data,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What a guest pays of a bill; the items have the quantities that are paid. ``history`` ends with the state."""

    id: str
    pos: PointOfSale
    bill: Bill = field(repr=False)
    items: tuple[BillItem, ...] = field(repr=False)
    tip: Decimal
    discount: Discount | None = None
    customer_id: str | None = None
    begun_at: datetime
    history: tuple[str, ...] = (STARTED,)

    @property
    def state(self) -> str:
        return self.history[-1]

    @property
    def is_in_progress(self) -> bool:
        return self.state in _STEPS

    @property
    def total(self) -> Decimal:
        """Each price times its quantity, less the discount, and the tip."""
        return _sum(self.items) - (self.discount.value if self.discount else 0) + self.tip

    def as_json(self) -> dict[str, Any]:
        """The ``Payment`` of protocol section 5 (D, C). What net and gross tips are is not public: both are the tip."""
        return {
            "id": self.id,
            "idBill": self.bill.id,
            "idCustomer": self.customer_id,
            "currency": self.bill.currency,
            "state": self.state,
            "items": [item.as_json() for item in self.items],
            "discount": self.discount.as_json() if self.discount else None,
            "parts": [{"total": money(self.total), "provider": dict(_PROVIDER)}],
            "tipBrutto": money(self.tip),
            "tipNetto": money(self.tip),
            "timestamp": self.begun_at.isoformat(),
            "additionalData": self.bill.additional_data,
        }


class Payments:
    """All payments, each in its latest state. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._payments: dict[str, Payment] = {}
        self._without_receipt: set[str] = set()

    def open(self, payment: Payment, *, beside_another: bool = False) -> None:
        """Raises ValueError for an id that is taken, and where another payment is in progress on the bill (D).

        With ``beside_another`` it may be.
        """
        with self._lock:
            if payment.id in self._payments:
                raise ValueError(f"There is a payment {payment.id} already.")
            if not beside_another and any(
                _same_bill(payment, known) and known.is_in_progress for known in self._payments.values()
            ):
                raise ValueError(f"Bill {payment.bill.id} is being paid, and Qerko never has two payments on one.")
            self._payments[payment.id] = payment
            if len(self._payments) > REMEMBERED:
                del self._payments[next(iter(self._payments))]

    def all(self) -> tuple[Payment, ...]:
        """The latest state of each."""
        with self._lock:
            return tuple(self._payments.values())

    def find(self, pos: PointOfSale, payment_id: str) -> Payment | None:
        """The payment of this restaurant; of another one's nothing is known."""
        with self._lock:
            found = self._payments.get(payment_id)
        return found if found and found.pos.api_key == pos.api_key else None

    def latest(self, payment: Payment) -> Payment:
        """The same payment as it is now."""
        with self._lock:
            return self._payments.get(payment.id, payment)

    def move(self, payment: Payment, state: str) -> Payment:
        """The payment in this state, where it may go there from its present one; otherwise as it is."""
        with self._lock:
            return self._moved(payment, state)

    def end(self, payment: Payment) -> Payment:
        """The payment in its final state: paid where its money moved and nobody cancelled it."""
        with self._lock:
            known = self._payments.get(payment.id, payment)
            return self._moved(known, _ENDS.get(known.state, known.state))

    def await_receipt(self, payment: Payment) -> bool:
        """From now on its receipt is asked for; ``False`` where it is already."""
        with self._lock:
            is_new = payment.id not in self._without_receipt
            self._without_receipt.add(payment.id)
            return is_new

    def awaits_receipt(self, payment: Payment) -> bool:
        with self._lock:
            return payment.id in self._without_receipt

    def have_receipt(self, payment: Payment) -> None:
        """Nobody need ask for it any more."""
        with self._lock:
            self._without_receipt.discard(payment.id)

    def _moved(self, payment: Payment, state: str) -> Payment:
        known = self._payments.get(payment.id, payment)
        if state in _STEPS.get(known.state, ()):
            known = replace(known, history=(*known.history, state))
            self._payments[known.id] = known
        return known


def read_bill(bill: Bill | Mapping[str, Any]) -> Bill:
    """The decoded JSON that answered ``getBill``, as a bill. Raises ValueError where it is none."""
    if isinstance(bill, Bill):
        return bill
    reading = read("getBill", bill)
    if reading.faults:
        raise ValueError(f"That is no bill: {'; '.join(reading.faults)}.")
    return cast("Bill", reading.structures[0])


def choose(bill: Bill, quantities: Mapping[str, Amount] | None) -> tuple[BillItem, ...]:
    """The items that are paid, in these quantities; all of the bill where none are named.

    More than the bill has may be asked, to see it refused. Raises ValueError for an item that is not on the bill.
    """
    if quantities is None:
        return tuple(bill.items)
    items = {item.id: item for item in bill.items}
    if unknown := quantities.keys() - items.keys():
        raise ValueError(f"Not on bill {bill.id}: {', '.join(sorted(unknown))}.")
    return tuple(
        items[id_].model_copy(update={"quantity": amounts.read(quantity)}) for id_, quantity in quantities.items()
    )


def take_offer(bill: Bill, items: Iterable[BillItem]) -> Discount:
    """The discount that the bill offers, on these items, half a cent up. Raises ValueError where it offers none."""
    offer = bill.discount_offer
    if offer is None or bill.deny_discounts:
        raise ValueError(f"Bill {bill.id} offers no discount.")
    value = (_sum(items) * offer.percent / 100).quantize(_CENT, ROUND_HALF_UP)
    return Discount(name=offer.name, value=value, additional_data=offer.additional_data)


def _sum(items: Iterable[BillItem]) -> Decimal:
    return sum((item.price * item.quantity for item in items), start=Decimal())


def _same_bill(one: Payment, other: Payment) -> bool:
    return (one.bill.id, one.pos.api_key) == (other.bill.id, other.pos.api_key)

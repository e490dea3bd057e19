"""Print a bill, and what is paid of it, for the eye: every number is text in the guest's language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django_qerko.answers import Bill, BillItem
from django_qerko.sandbox.speaking import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One item of a bill, as it is printed."""

    name: str
    quantity: str
    price: str
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """A bill, as it is printed; a total is rounded for the eye."""

    id: str
    name: str
    lines: tuple[Line, ...]
    total: str


def slip(bill: Bill, language: Language) -> Slip:
    """Print a bill."""
    return Slip(
        id=bill.id,
        name=bill.name or language.say("bill_n", id=bill.id),
        lines=lines(bill.items, language),
        total=language.money(worth(bill.items), bill.currency),
    )


def lines(items: Iterable[BillItem], language: Language) -> tuple[Line, ...]:
    """Print items, without their currency."""
    return tuple(
        Line(
            name=item.name,
            quantity=language.number(item.quantity),
            price=language.amount(item.price),
            total=language.amount(item.price * item.quantity),
        )
        for item in items
    )


def worth(items: Iterable[BillItem]) -> Decimal:
    """Each price times its quantity."""
    return sum((item.price * item.quantity for item in items), start=Decimal())


def money(value: Decimal) -> str:
    """An amount with two decimals, as Qerko's JSON has it."""
    return f"{value:.2f}"

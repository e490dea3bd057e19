"""Print a receipt for the eye: every number is text in the guest's language."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django_qerko.answers import Receipt, ReceiptInfo, TaxInfo
from django_qerko.sandbox.slips import Line
from django_qerko.sandbox.speaking import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """What was taxed at one rate."""

    name: str
    base: str
    tax: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """A receipt, as it is printed. ``facts`` are pairs of a word and what it names."""

    header: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    total: str
    taxes: tuple[Tax, ...]
    fiscal: str
    final_price: str
    footer: tuple[str, ...]


def printed(receipt: Receipt, currency: str, language: Language) -> Printed:
    """Print a receipt; the price of an item is for one of it (A)."""
    total = sum((item.price * item.quantity for item in receipt.items), start=Decimal())
    final = receipt.final_price
    return Printed(
        header=tuple(receipt.receipt_info.header_lines),
        facts=tuple(_facts(receipt.receipt_info, language)),
        lines=tuple(
            Line(
                name=item.name,
                quantity=language.number(item.quantity),
                price=language.amount(item.price),
                total=language.amount(item.price * item.quantity),
            )
            for item in receipt.items
        ),
        total=language.money(total, currency),
        taxes=tuple(_tax(tax, language) for tax in receipt.tax_info),
        fiscal=_fiscal(receipt.fiscal_info),
        final_price="" if final is None else language.money(final, currency),
        footer=tuple(receipt.receipt_info.footer_lines),
    )


def _facts(info: ReceiptInfo, language: Language) -> list[tuple[str, str]]:
    known = {
        "serial": info.serial,
        "issued": language.moment(datetime.fromisoformat(info.timestamp)) if info.timestamp else None,
        "cash_box": info.cash_box,
        "waiter": info.waiter,
    }
    return [(language.say(name), value) for name, value in known.items() if value]


def _tax(tax: TaxInfo, language: Language) -> Tax:
    rate = f"{language.number(tax.rate)}\N{NO-BREAK SPACE}%"
    return Tax(name=tax.name or rate, base=language.amount(tax.base), tax=language.amount(tax.tax))


def _fiscal(info: Any) -> str:
    """Nothing public says what is in it: text as it is, and anything else as JSON."""
    if info is None or isinstance(info, str):
        return info or ""
    return json.dumps(info, ensure_ascii=False, indent=2)

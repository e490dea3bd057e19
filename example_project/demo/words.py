"""Say in a few words what was asked and what was answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from django_qerko.sandbox.qerko import Exchange, Reply

Bill = Mapping[str, Any]

#: What comes of reading an answer that is not built as it should be.
MALFORMED: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def total(bill: Bill) -> Decimal:
    """What is to be paid on a bill, as Qerko was told of it."""
    return sum((Decimal(item["quantity"]) * Decimal(item["price"]) for item in bill["items"]), Decimal(0))


def heard(said: Exchange | Reply) -> str:
    """What came back."""
    if isinstance(said, Exchange) and said.status in {None, 202}:
        return "notes it, and will answer later" if said.status else f"(silence: {said.error})"
    try:
        return _said(said.answer)
    except MALFORMED:
        return _raw(said.answer)


def listed(words: Sequence[str]) -> str:
    """Words in a row: ``T1, T2 and T3``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 item``, ``2 items``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _said(answer: Any) -> str:
    match answer:
        case dict():
            return _structure(answer)
        case [{"items": _}, *_] as bills:
            return listed([_bill(bill) for bill in bills])
        case [{"id": _}, *_] as tables:
            return f"{counted(len(tables), 'table')}: {listed([table['id'] for table in tables])}"
        case []:
            return "nothing to pay"
        case _:
            return _raw(answer)


def _structure(answer: Mapping[str, Any]) -> str:
    match answer:
        case {"code": code, "message": message}:
            return f"{code}: {message}"
        case {"receiptInfo": _, "receiptDeliveryType": "POSTPONED"}:
            return "no receipt yet; ask again"
        case {"receiptInfo": _}:
            return _receipt(answer)
        case {"menus": menus}:
            return listed([f"{menu['name']} ({len(menu['items'])})" for menu in menus])
        case {"items": _}:
            return _bill(answer)
        case _:
            return _raw(answer)


def _bill(bill: Bill) -> str:
    return f"bill {bill['id']} with {counted(len(bill['items']), 'item')}, {total(bill):.2f} {bill['currency']}"


def _receipt(receipt: Mapping[str, Any]) -> str:
    base, tax = (sum(Decimal(info[part]) for info in receipt["taxInfo"]) for part in ("base", "tax"))
    return f"receipt {receipt['receiptInfo']['serial']}: {base:.2f} and {tax:.2f} VAT"


def _raw(answer: Any) -> str:
    return "null" if answer is None else str(answer)[:200]

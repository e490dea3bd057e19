"""Print a receipt as the pub's printer does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final

from django_qerko.answers import Receipt, ReceiptInfo, ReceiptItem

#: Characters between the edges of the paper.
_WIDTH: Final = 46


def printed(receipt: Receipt, currency: str) -> Iterator[str]:
    """A receipt line by line, on a strip of paper."""
    yield f"┌{'─' * (_WIDTH + 2)}┐"
    for line in _lines(receipt, currency):
        yield f"│ {line:<{_WIDTH}.{_WIDTH}} │"
    yield f"└{'─' * (_WIDTH + 2)}┘"


def _lines(receipt: Receipt, currency: str) -> Iterator[str]:
    info = receipt.receipt_info
    yield from (line.center(_WIDTH) for line in info.header_lines)
    yield ""
    yield from _facts(info)
    yield "─" * _WIDTH
    yield from map(_item, receipt.items)
    yield "─" * _WIDTH
    yield _apart("Celkem", f"{sum((tax.base + tax.tax for tax in receipt.tax_info), Decimal(0)):.2f} {currency}")
    for tax in receipt.tax_info:
        yield _apart(tax.name or "", f"základ {tax.base:>8.2f}   daň {tax.tax:>7.2f}")
    yield ""
    yield from (line.center(_WIDTH) for line in info.footer_lines)


def _facts(info: ReceiptInfo) -> Iterator[str]:
    issued = f"{datetime.fromisoformat(info.timestamp):%d. %m. %Y %H:%M}" if info.timestamp else ""
    yield _apart(f"Účtenka {info.serial or ''}", issued)
    yield _apart(info.bill_name or "", f"obsluha {info.waiter}" if info.waiter else "")


def _item(item: ReceiptItem) -> str:
    return _apart(f"{item.quantity:f} × {item.name}", f"{item.quantity * item.price:.2f}")


def _apart(left: str, right: str) -> str:
    """One text at each edge; the left one gives way."""
    room = _WIDTH - len(right) - 1
    left = left if len(left) <= room else f"{left[: room - 1]}…"
    return f"{left:<{room}} {right}"

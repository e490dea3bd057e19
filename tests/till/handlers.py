"""Handlers that do what the id of a bill tells them."""

from __future__ import annotations

import os
import time
from typing import Any

from asgiref.sync import sync_to_async

from django_qerko.answers import LATER, Bill, BillItem, Receipt, ReceiptInfo, ReceiptItem, TaxInfo
from django_qerko.answers import Later as LaterType
from django_qerko.events import BillRequested, PaymentClosed, PaymentProcessed
from django_qerko.exceptions import BillNotFound
from django_qerko.models import WebhookEvent
from django_qerko.signals import bill_requested, payment_closed, payment_processed
from tests.till.models import Note

RECEIPT = Receipt(
    receipt_info=ReceiptInfo(bill_name="Stůl 1", serial="2026-1"),
    items=[ReceiptItem(name="Pivo", price="55.00", tax_name="21 %", quantity=1)],
    tax_info=[TaxInfo(rate=21, base="45.45", tax="9.55", name="21 %")],
)


def show_bill(event: BillRequested, **_: Any) -> Bill:
    """``unknown``: refuse; ``broken``: break; ``slow:SECONDS``: take a while."""
    Note.objects.create(text=event.id)
    match event.bill_id.partition(":"):
        case ("unknown", _, _):
            raise BillNotFound
        case ("broken", _, _):
            raise RuntimeError("the till is broken")
        case ("slow", _, seconds):
            time.sleep(float(seconds))
    return Bill(
        id="42",
        currency="CZK",
        items=[BillItem(id="1", name="Pivo", quantity=1, price="55.00")],
        name=f"{event.id} {time.time_ns()}",
    )


def give_receipt(event: PaymentProcessed, **_: Any) -> Receipt | LaterType:
    """``slow:SECONDS``: take a while; ``later``: say LATER; ``broken``: break at the first time."""
    Note.objects.create(text=event.id)
    match event.payment_id.partition(":"):
        case ("slow", _, seconds):
            time.sleep(float(seconds))
        case ("later", _, _):
            return LATER
        case ("broken", _, _) if _handlings(event) < 2:
            raise RuntimeError("the till is broken")
    return RECEIPT


def close_payment(event: PaymentClosed, **_: Any) -> None:
    """``broken``: break three times."""
    Note.objects.create(text=event.id)
    if event.payment_id == "broken" and _handlings(event) < 4:
        raise RuntimeError("the till is broken")


def _handlings(event: PaymentProcessed | PaymentClosed) -> int:
    return WebhookEvent.objects.get(event_id=event.id).handlings


async def show_bill_later(event: BillRequested, **_: Any) -> Bill:
    """The same from a coroutine."""
    return await sync_to_async(show_bill)(event)


def connect() -> None:
    """Open the till."""
    bill_requested.connect(show_bill_later if os.environ.get("SERVED_ASYNC") else show_bill)
    payment_processed.connect(give_receipt)
    payment_closed.connect(close_payment)

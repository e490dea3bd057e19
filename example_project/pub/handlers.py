"""What the pub answers when Qerko asks: its whole integration, but for the payments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.dispatch import receiver

from django_qerko.answers import Bill, BillDiscountOffer, BillItem, Json
from django_qerko.answers import Table as QerkoTable
from django_qerko.events import BillRequested, BillsSearched, Event, TableContentsRequested
from django_qerko.exceptions import BillClosed, BillNotFound, DomainError, QrInvalid
from django_qerko.signals import (
    bill_requested,
    bills_searched,
    event_received,
    table_contents_requested,
    table_list_requested,
)
from example_project.pub.menu import menu
from example_project.pub.models import CURRENCY, Line, Order, Table


@receiver(table_list_requested)
def list_tables(**_: Any) -> list[QerkoTable]:
    """All tables, so that Qerko can pair its codes with them."""
    return [QerkoTable(id=table.code, name=table.name, area=table.area or None) for table in Table.objects.all()]


@receiver(table_contents_requested)
def show_table(event: TableContentsRequested, **_: Any) -> list[Bill]:
    """The bills on a table that are still to be paid."""
    table = Table.objects.with_open_orders().filter(code=event.table_id).first()
    if table is None:
        raise DomainError("NOT_FOUND", "There is no such table.")
    return _as_bills(table.open_orders)


@receiver(bill_requested)
def show_bill(event: BillRequested, **_: Any) -> Bill:
    """One bill, before it is paid."""
    order = Order.objects.numbered(event.bill_id).first()
    if order is None:
        raise BillNotFound
    for bill in _as_bills([order]):
        return bill
    raise BillClosed


@receiver(bills_searched)
def find_bills(event: BillsSearched, **_: Any) -> list[Bill]:
    """The bills behind a code that the pub printed: ``table:T1`` (or just ``T1``) on a table, ``bill:42`` on a bill."""
    match event.qr_identifier.split(":"):
        case [code] | ["table", code]:
            tables = Table.objects.with_open_orders().filter(code=code)
            orders = [table.open_orders for table in tables]
        case ["bill", number]:
            orders = [[order] for order in Order.objects.numbered(number)]
        case _:
            orders = []
    if not orders:
        raise QrInvalid
    return _as_bills(orders[0])


@receiver(event_received)
def show_menu(event: Event, **_: Any) -> Json | None:
    """What there is to order. Nothing public says how Qerko wants to have it, so this is the pub's own way."""
    return Json({"currency": CURRENCY, "menus": menu()}) if event.name == "getMealMenus" else None


def _as_bills(orders: Iterable[Order]) -> list[Bill]:
    """What of these orders can be paid: a bill that is closed, or on which nothing is left, is not shown."""
    return [_as_bill(order) for order in orders if order.is_open and order.unpaid_lines]


def _as_bill(order: Order) -> Bill:
    offer = order.table.offer
    return Bill(
        id=str(order.pk),
        name=order.name,
        currency=CURRENCY,
        created=order.opened_at.isoformat(),
        discount_offer=BillDiscountOffer(name=offer.name, percent=offer.percent) if offer else None,
        items=[_as_item(line) for line in order.unpaid_lines],
    )


def _as_item(line: Line) -> BillItem:
    return BillItem(
        id=str(line.pk),
        name=line.name,
        quantity=line.unpaid.normalize(),
        price=line.price,
        min_quantity=line.smallest_part.normalize(),
    )

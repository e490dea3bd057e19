"""What Qerko expects of the example's pub: the right bills, and never what is paid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.dispatch import Signal
from django.test import Client, RequestFactory
from django.utils import timezone

from django_qerko.models import Restaurant
from django_qerko.signals import bill_requested, bills_searched, table_contents_requested, table_list_requested
from example_project.pub import handlers
from example_project.pub.models import Line, Order, Table
from example_project.pub.views import room
from tests.deliveries import deliver

HANDLERS = (
    (table_list_requested, handlers.list_tables),
    (table_contents_requested, handlers.show_table),
    (bill_requested, handlers.show_bill),
    (bills_searched, handlers.find_bills),
)


@pytest.fixture
def pub(restaurant: Restaurant, answering: Callable[[Signal, Any], None]) -> Restaurant:
    """The restaurant, with the pub's handlers listening."""
    for signal, handler in HANDLERS:
        answering(signal, handler)
    return restaurant


@pytest.fixture
def table(db: None) -> Table:
    return Table.objects.create(code="T1", name="Stůl 1", area="Lokál")


@pytest.fixture
def order(table: Table) -> Order:
    """Four beers, two of them paid, and a goulash."""
    order = Order.objects.create(table=table)
    a_line(order, "Pilsner Urquell 0,5 l", quantity=4, paid_quantity=2, price="65.00")
    a_line(order, "Hovězí guláš", quantity=1, price="215.50", vat_rate=12, smallest_part="0.5")
    return order


def a_line(order: Order, name: str, **members: Any) -> Line:
    return Line.objects.create(order=order, name=name, **{"vat_rate": 21, **members})


def heard(response: Any) -> tuple[int, Any]:
    """The status, and the answer or the code of an error."""
    said = json.loads(response.content)
    return response.status_code, said if response.status_code == 200 else said["code"]


def bills(response: Any) -> list[str]:
    status, said = heard(response)
    assert status == 200
    return [bill["id"] for bill in said]


def test_all_tables_are_listed_in_their_order(pub: Restaurant, table: Table) -> None:
    Table.objects.create(code="T2", name="Stůl 2")

    assert heard(deliver(pub, "getTableList")) == (
        200,
        [{"id": "T1", "name": "Stůl 1", "area": "Lokál"}, {"id": "T2", "name": "Stůl 2"}],
    )


def test_a_bill_shows_what_is_unpaid_and_no_more(pub: Restaurant, order: Order) -> None:
    beer, goulash = order.lines.all()

    status, bill = heard(deliver(pub, "getBill", {"billId": str(order.pk)}))

    assert status == 200
    assert bill["items"] == [
        {
            "id": str(beer.pk),
            "name": "Pilsner Urquell 0,5 l",
            "quantity": "2",
            "price": "65.00",
            "minQuantity": "1",
        },
        {"id": str(goulash.pk), "name": "Hovězí guláš", "quantity": "1", "price": "215.50", "minQuantity": "0.5"},
    ]
    assert (bill["id"], bill["currency"], bill["name"]) == (str(order.pk), "CZK", f"Stůl 1, bill {order.pk}")
    assert bill["created"] == order.opened_at.isoformat()


def test_a_line_that_is_paid_is_gone(pub: Restaurant, order: Order) -> None:
    order.lines.filter(name__startswith="Pilsner").update(paid_quantity=4)

    _, bill = heard(deliver(pub, "getBill", {"billId": str(order.pk)}))

    assert [item["name"] for item in bill["items"]] == ["Hovězí guláš"]
    assert [line.name for line in Line.objects.unpaid()] == ["Hovězí guláš"]


@pytest.mark.parametrize("bill_id", ["999", "0", "-1", "01", "1.0", " 1", "one", "٣", "9" * 19, "9" * 128])
def test_a_bill_that_is_none_of_ours_is_not_found(pub: Restaurant, order: Order, bill_id: str) -> None:
    assert heard(deliver(pub, "getBill", {"billId": bill_id})) == (422, "BILL_NOT_FOUND")


def test_a_bill_that_was_closed_is_closed(pub: Restaurant, order: Order) -> None:
    assert order.close(at=timezone.now())
    assert not order.close(at=timezone.now())

    assert heard(deliver(pub, "getBill", {"billId": str(order.pk)})) == (422, "BILL_CLOSED")


def test_a_bill_with_nothing_left_is_closed(pub: Restaurant, order: Order) -> None:
    order.lines.all().delete()

    assert heard(deliver(pub, "getBill", {"billId": str(order.pk)})) == (422, "BILL_CLOSED")


@pytest.mark.parametrize("code", ["T1", "table:T1"])
def test_a_table_shows_its_open_bills(pub: Restaurant, table: Table, order: Order, code: str) -> None:
    second, closed, paid = (Order.objects.create(table=table) for _ in range(3))
    for other in (second, closed):
        a_line(other, "Kulajda", quantity=1, price=79)
    a_line(paid, "Kulajda", quantity=1, paid_quantity=1, price=79)
    closed.close(at=timezone.now())
    open_bills = [str(order.pk), str(second.pk)]

    assert bills(deliver(pub, "getTableContents", {"tableId": "T1"})) == open_bills
    assert bills(deliver(pub, "searchBills", {"qrIdentifier": code})) == open_bills


def test_an_empty_table_shows_nothing(pub: Restaurant, table: Table) -> None:
    assert bills(deliver(pub, "getTableContents", {"tableId": "T1"})) == []
    assert bills(deliver(pub, "searchBills", {"qrIdentifier": "T1"})) == []


def test_a_table_that_is_none_of_ours_is_not_found(pub: Restaurant, table: Table) -> None:
    assert heard(deliver(pub, "getTableContents", {"tableId": "T2"})) == (422, "NOT_FOUND")


def test_the_code_on_a_bill_shows_that_bill(pub: Restaurant, order: Order) -> None:
    a_line(Order.objects.create(table=order.table), "Kulajda", quantity=1, price=79)

    assert bills(deliver(pub, "searchBills", {"qrIdentifier": f"bill:{order.pk}"})) == [str(order.pk)]


def test_the_code_on_a_closed_bill_shows_nothing(pub: Restaurant, order: Order) -> None:
    order.close(at=timezone.now())

    assert bills(deliver(pub, "searchBills", {"qrIdentifier": f"bill:{order.pk}"})) == []


@pytest.mark.parametrize(
    "code", ["T2", "table:", "table:T1:1", "bill:", "bill:0", "bill:one", "menu:1", ":", "https://x"]
)
def test_a_code_that_is_none_of_ours_is_invalid(pub: Restaurant, order: Order, code: str) -> None:
    assert heard(deliver(pub, "searchBills", {"qrIdentifier": code})) == (422, "QR_INVALID")


def test_money_is_counted_exactly(order: Order) -> None:
    a_line(order, "Tatarák, půl", quantity="0.5", price="289.99")

    assert order.owed == Decimal("490.50")
    assert [str(line) for line in order.lines.all()] == [
        "4 × Pilsner Urquell 0,5 l",
        "1 × Hovězí guláš",
        "0.5 × Tatarák, půl",
    ]


@pytest.mark.parametrize(
    "members",
    [
        {"quantity": 0},
        {"paid_quantity": 2},
        {"paid_quantity": -1},
        {"price": -1},
        {"smallest_part": 0},
        {"vat_rate": -1},
    ],
)
def test_the_database_refuses_a_line_that_cannot_be(order: Order, members: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        a_line(order, "Kulajda", **{"quantity": 1, "price": 79, **members})


@pytest.mark.parametrize("tables", [1, 3])
def test_tables_with_their_bills_are_read_in_three_statements(
    pub: Restaurant, order: Order, tables: int, django_assert_num_queries: Callable[[int], Any]
) -> None:
    for number in range(2, tables + 1):
        other = Order.objects.create(table=Table.objects.create(code=f"T{number}", name=f"Stůl {number}"))
        a_line(other, "Kulajda", quantity=1, price=79)

    with django_assert_num_queries(3):
        assert [len(table.open_orders) for table in Table.objects.with_open_orders()] == [1] * tables


def test_the_page_shows_who_sits_where(rf: RequestFactory, order: Order) -> None:
    Table.objects.create(code="T2", name="Stůl 2")

    page = room(rf.get("/")).content.decode()

    assert "Stůl 1" in page
    assert "Nobody sits here." in page


@pytest.mark.parametrize(
    ("paid", "beer", "sums"),
    [
        (0, "<td>4 × Pilsner Urquell 0,5 l</td>", ["260.00", "215.50", "475.50 CZK"]),
        (2, "<td>4 × Pilsner Urquell 0,5 l <small>2 paid</small></td>", ["130.00", "215.50", "345.50 CZK"]),
        (4, "<td><s>4 × Pilsner Urquell 0,5 l</s></td>", ["<small>paid</small>", "215.50", "215.50 CZK"]),
    ],
)
def test_the_page_adds_up_to_what_is_still_to_be_paid(
    rf: RequestFactory, order: Order, paid: int, beer: str, sums: list[str]
) -> None:
    order.lines.filter(name__startswith="Pilsner").update(paid_quantity=paid)

    page = room(rf.get("/")).content.decode()

    assert beer in page
    assert re.findall('<td class="sum">(.*)</td>', page) == sums


def test_the_page_of_a_closed_pub_says_how_to_open_it(rf: RequestFactory, db: None) -> None:
    assert "pub_open" in room(rf.get("/")).content.decode()


def test_the_staff_closes_bills(client: Client, admin_user: User, order: Order) -> None:
    client.force_login(admin_user)
    chosen = {"action": "close", "_selected_action": [order.pk]}

    page = client.post("/admin/pub/order/", chosen, follow=True).content.decode()

    assert "Bills closed: 1." in page
    assert not Order.objects.open().exists()


@pytest.mark.parametrize("address", ["/admin/pub/table/", "/admin/pub/order/", "/admin/pub/order/{}/change/"])
def test_the_staff_sees_tables_and_bills(client: Client, admin_user: User, order: Order, address: str) -> None:
    client.force_login(admin_user)

    response = client.get(address.format(order.pk))

    assert response.status_code == 200
    assert "T1" in response.content.decode()

"""The sandbox and our own webhook, over HTTP: what it sends is what we accept, and what it spoils is what we refuse."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from django.dispatch import Signal
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from django_qerko import signals
from django_qerko.answers import Bill, BillItem, Table
from django_qerko.exceptions import BillNotFound
from django_qerko.models import Restaurant, WebhookEvent
from django_qerko.sandbox.qerko import PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from django_qerko.sandbox.signing import TAMPERINGS
from tests.deliveries import KEY

pytestmark = pytest.mark.django_db(transaction=True)

BILL = Bill(
    id="42",
    currency="CZK",
    name="Evening",
    items=[
        BillItem(id="1", name="Pivo", quantity=2, price="55.00"),
        BillItem(id="2", name="Káva", quantity=1, price=40),
    ],
)


def show_bill(event: Any, **_: Any) -> Bill:
    if event.bill_id != "42":
        raise BillNotFound
    return BILL


@pytest.fixture
def pos(
    transactional_restaurant: Restaurant, live_server: LiveServer, answering: Callable[[Signal, Any], None]
) -> PointOfSale:
    """Our own webhook, behind it a pub with one table and one bill."""
    answering(signals.table_list_requested, [Table(id="T1", name="Window")])
    answering(signals.table_contents_requested, [BILL])
    answering(signals.bill_requested, show_bill)
    path = reverse("qerko:webhook", args=[transactional_restaurant.webhook_token])
    return PointOfSale(url=f"{live_server.url}{path}", api_key=KEY, name=transactional_restaurant.name)


@pytest.fixture
def qerko() -> Iterator[Qerko]:
    with Qerko() as qerko:
        yield qerko


@pytest.mark.parametrize("schemes", [["rfc9421", "hmac-sha256"], ["rfc9421"], ["hmac-sha256"]])
@pytest.mark.parametrize("url_per_event", [False, True])
def test_a_bill_is_given(qerko: Qerko, pos: PointOfSale, schemes: list[str], url_per_event: bool) -> None:
    exchange = qerko.ask(
        pos, "getBill", {"billId": "42"}, schemes=schemes, url_per_event=url_per_event, extra={"x": 1.5}
    )

    assert exchange.status == 200
    assert exchange.answer["items"][0]["price"] == "55.00"
    assert not exchange.findings


def test_a_bill_that_does_not_exist(qerko: Qerko, pos: PointOfSale) -> None:
    exchange = qerko.ask(pos, "getBill", {"billId": "43"})

    assert (exchange.status, exchange.error_code) == (422, "BILL_NOT_FOUND")
    assert not exchange.findings


def test_the_same_event_twice(qerko: Qerko, pos: PointOfSale) -> None:
    first, second = (qerko.ask(pos, "getTableList", event_id="once") for _ in range(2))

    assert first.response_body == second.response_body
    assert WebhookEvent.objects.count() == 1


@pytest.mark.parametrize("tamper", TAMPERINGS)
@pytest.mark.parametrize("schemes", [["rfc9421", "hmac-sha256"], ["rfc9421"]])
def test_every_tampering_is_refused(qerko: Qerko, pos: PointOfSale, tamper: str, schemes: list[str]) -> None:
    exchange = qerko.ask(pos, "getTableList", tamper=tamper, schemes=schemes)

    assert exchange.status == 401
    assert not exchange.findings
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("tamper", ["body", "signature", "key", "missing"])
def test_every_tampering_is_refused_under_the_hmac_alone(qerko: Qerko, pos: PointOfSale, tamper: str) -> None:
    assert qerko.ask(pos, "getTableList", tamper=tamper, schemes=["hmac-sha256"]).status == 401


@pytest.mark.parametrize("schemes", [["rfc9421", "hmac-sha256"], ["rfc9421"], ["hmac-sha256"]])
@pytest.mark.parametrize(
    ("age", "lifetime", "status"), [(0, 60, 200), (5, 60, 200), (70, 60, 410), (-60, 120, 410), (0, -2, 410)]
)
def test_every_age_gets_its_status(
    qerko: Qerko, pos: PointOfSale, age: float, lifetime: float, status: int, schemes: list[str]
) -> None:
    exchange = qerko.ask(pos, "getTableList", age=age, lifetime=lifetime, schemes=schemes)

    assert exchange.status == exchange.expected == status
    assert not exchange.findings


def test_a_guest_walks_from_the_table_to_the_bill(qerko: Qerko, pos: PointOfSale) -> None:
    with SandboxServer(qerko, [pos]) as server:
        restaurant = requests.get(server.url, timeout=20)
        table = requests.get(f"{server.url}1/tables/T1/", timeout=20)
        bill = requests.get(f"{server.url}1/bills/42/", timeout=20)

    assert restaurant.url == f"{server.url}1/"
    assert 'href="/1/tables/T1/"' in restaurant.text
    assert 'href="/1/bills/42/"' in table.text
    assert "150.00\xa0CZK" in table.text
    assert "Káva" in html.unescape(bill.text)
    assert "110.00" in bill.text
    assert [exchange.event for exchange in qerko.conversation] == ["getTableList", "getTableContents", "getBill"]
    assert not any(exchange.findings for exchange in qerko.conversation)

"""What Qerko expects of the example's pub when a guest pays: nothing twice, and a receipt that adds up."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.dispatch import Signal
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_qerko.models import Bill, Restaurant
from django_qerko.signals import bill_requested, event_received, payment_closed, payment_processed, payment_started
from example_project.pub import handlers, payments
from example_project.pub.areas import BAR, GARDEN
from example_project.pub.models import IssuedReceipt, Line, Order, Table
from example_project.pub.receipts import divided, taxed
from tests.deliveries import deliver

HANDLERS = (
    (bill_requested, handlers.show_bill),
    (payment_started, payments.begin_payment),
    (payment_processed, payments.give_receipt),
    (payment_closed, payments.close_payment),
    (event_received, handlers.show_menu),
)

REFUSED = (422, "BAD_PARAMETER")
BUSY = (422, "ACCESS_DENIED")
UNKNOWN = (422, "NOT_FOUND")
DONE = (200, None)
WHOLE = {"Pilsner": "3", "Guláš": "1"}


class Guest:
    """Pays at the pub, as Qerko has it."""

    def __init__(self, restaurant: Restaurant, order: Order) -> None:
        self._restaurant = restaurant
        self._order = order

    def begins(self, *items: tuple[Line | str, str], payment_id: str = "p1", **members: Any) -> tuple[int, Any]:
        payment = {
            "id": payment_id,
            "idBill": str(self._order.pk),
            "currency": "CZK",
            "items": [
                {"id": str(line.pk if isinstance(line, Line) else line), "quantity": quantity}
                for line, quantity in items
            ],
            **members,
        }
        return self._hears("paymentStart", {"payment": payment})

    def gets_receipt(self, payment_id: str = "p1", *, postponed: bool = False) -> tuple[int, Any]:
        event = "getPostponedReceipt" if postponed else "paymentProcessed"
        return self._hears(event, {"paymentId": payment_id})

    def ends(self, state: str = "PAID", payment_id: str = "p1") -> tuple[int, Any]:
        return self._hears("paymentClosed", {"paymentId": payment_id, "state": state})

    def sees(self) -> dict[str, str] | str:
        """What is left on the bill, by name; or the code of an error."""
        status, said = self._hears("getBill", {"billId": str(self._order.pk)})
        return {item["name"]: item["quantity"] for item in said["items"]} if status == 200 else str(said)

    def _hears(self, event: str, data: Any) -> tuple[int, Any]:
        response = deliver(self._restaurant, event, data)
        said = json.loads(response.content)
        return response.status_code, said if response.status_code == 200 else said["code"]


@pytest.fixture
def order(db: None) -> Order:
    """Three beers, and a goulash that may be halved."""
    order = Order.objects.create(table=Table.objects.create(code="T1", name="Stůl 1"))
    order.lines.create(name="Pilsner", quantity=3, price="65.00", vat_rate=21)
    order.lines.create(name="Guláš", quantity=1, price="215.50", vat_rate=12, smallest_part="0.5")
    return order


@pytest.fixture
def beer(order: Order) -> Line:
    return order.lines.get(name="Pilsner")


@pytest.fixture
def goulash(order: Order) -> Line:
    return order.lines.get(name="Guláš")


@pytest.fixture
def stranger(restaurant: Restaurant, order: Order, answering: Callable[[Signal, Any], None]) -> Guest:
    """A guest whose bill Qerko was never shown, with the pub's handlers listening."""
    for signal, handler in HANDLERS:
        answering(signal, handler)
    return Guest(restaurant, order)


@pytest.fixture
def guest(stranger: Guest) -> Guest:
    """A guest who has looked at the bill."""
    assert stranger.sees() == WHOLE
    return stranger


@pytest.fixture
def in_the_garden(order: Order) -> None:
    Table.objects.update(area=GARDEN)


# -- Paying ----------------------------------------------------------------------------------------


def test_what_was_paid_is_never_shown_again(guest: Guest, order: Order, beer: Line, goulash: Line) -> None:
    assert guest.begins((beer, "2"), (goulash, "0.5")) == DONE
    assert guest.sees() == {"Pilsner": "3", "Guláš": "1"}
    assert guest.gets_receipt()[0] == 200
    assert guest.ends() == DONE

    assert guest.sees() == {"Pilsner": "1", "Guláš": "0.5"}
    order.refresh_from_db()
    assert order.is_open


def test_a_bill_is_closed_with_its_last_item(guest: Guest, order: Order, beer: Line, goulash: Line) -> None:
    for number, items in enumerate([[(beer, "3")], [(goulash, "0.5")], [(goulash, "0.5")]]):
        assert guest.begins(*items, payment_id=f"p{number}") == DONE
        assert guest.ends(payment_id=f"p{number}") == DONE

    assert guest.sees() == "BILL_CLOSED"
    order.refresh_from_db()
    assert not order.is_open
    assert guest.begins((beer, "1"), payment_id="p9") == (422, "BILL_CLOSED")


def test_a_payment_that_came_to_nothing_changes_nothing(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "3"))
    guest.gets_receipt()

    assert guest.ends("CANCELLED") == DONE

    assert guest.sees() == WHOLE
    assert guest.gets_receipt(postponed=True) == UNKNOWN
    assert guest.begins((beer, "3"), payment_id="p2") == DONE
    assert IssuedReceipt.objects.get().voided_at is not None


def test_one_guest_pays_at_a_time(guest: Guest, beer: Line, goulash: Line) -> None:
    assert guest.begins((beer, "1")) == DONE
    assert guest.begins((goulash, "1"), payment_id="p2") == BUSY
    assert guest.ends("CANCELLED", payment_id="p2") == DONE
    assert guest.ends() == DONE

    assert guest.begins((goulash, "1"), payment_id="p3") == DONE


# -- Refusing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bill_id", ["999", "one"])
def test_a_bill_that_is_unknown_is_not_paid(guest: Guest, beer: Line, bill_id: str) -> None:
    assert guest.begins((beer, "1"), idBill=bill_id) == (422, "BILL_NOT_FOUND")


def test_a_bill_that_was_closed_is_not_paid(guest: Guest, order: Order, beer: Line) -> None:
    order.close(at=timezone.now())

    assert guest.begins((beer, "1")) == (422, "BILL_CLOSED")


def test_what_the_waiter_took_off_since_is_not_paid(guest: Guest, beer: Line) -> None:
    Line.objects.filter(pk=beer.pk).update(quantity=2)

    assert guest.begins((beer, "3")) == REFUSED
    assert guest.begins((beer, "2"), payment_id="p2") == DONE


def test_a_bill_that_qerko_was_never_shown_is_judged_all_the_same(stranger: Guest, beer: Line) -> None:
    assert stranger.begins((beer, "4"), payment_id="p1") == REFUSED
    assert stranger.begins(("coat", "1"), payment_id="p2") == REFUSED
    assert stranger.begins((beer, "1"), payment_id="p3", currency="EUR") == REFUSED
    assert stranger.begins((beer, "1"), payment_id="p4", idBill="999") == (422, "BILL_NOT_FOUND")
    assert stranger.begins((beer, "1"), payment_id="p5") == DONE


@pytest.mark.parametrize("quantity", ["3.001", "4", "0", "0.0001"])
def test_more_than_is_left_is_not_paid(guest: Guest, beer: Line, quantity: str) -> None:
    assert guest.begins((beer, quantity)) == REFUSED
    assert guest.sees() == WHOLE


def test_more_than_is_left_is_not_paid_in_parts_either(guest: Guest, beer: Line) -> None:
    assert guest.begins((beer, "2"), (beer, "2")) == REFUSED
    assert guest.begins((beer, "2"), (beer, "1"), payment_id="p2") == DONE


def test_what_is_not_on_the_bill_is_not_paid(guest: Guest, order: Order, beer: Line) -> None:
    other = Order.objects.create(table=order.table).lines.create(name="Kulajda", quantity=1, price=79, vat_rate=12)

    assert guest.begins((beer, "1"), (other, "1"), payment_id="p1") == REFUSED
    assert guest.begins((beer, "1"), ("coat", "1"), payment_id="p2") == REFUSED
    assert guest.begins(payment_id="p3") == REFUSED


def test_another_currency_is_not_taken(guest: Guest, beer: Line) -> None:
    assert guest.begins((beer, "1"), currency="EUR") == REFUSED


# -- Repeating, and overtaking itself --------------------------------------------------------------


def test_a_payment_that_begins_again_is_the_same(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "2"))

    assert guest.begins((beer, "2")) == DONE
    assert guest.begins((beer, "1")) == REFUSED
    guest.ends()
    assert guest.sees() == {"Pilsner": "1", "Guláš": "1"}


def test_a_payment_that_ends_twice_is_counted_once(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "1"))

    assert [guest.ends() for _ in range(2)] == [DONE] * 2
    assert guest.ends("CANCELLED") == DONE

    assert guest.sees() == {"Pilsner": "2", "Guláš": "1"}


def test_the_end_may_come_before_the_receipt(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "1"))
    assert guest.ends() == DONE

    status, receipt = guest.gets_receipt()

    assert (status, receipt["taxInfo"][0]["price"]) == (200, "65.00")
    assert guest.sees() == {"Pilsner": "2", "Guláš": "1"}
    assert guest.gets_receipt(postponed=True) == (200, receipt)
    assert IssuedReceipt.objects.count() == 1


def test_a_payment_that_was_cancelled_gets_no_receipt(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "1"))
    guest.ends("CANCELLED")

    assert guest.gets_receipt() == REFUSED
    assert not IssuedReceipt.objects.exists()


@pytest.mark.parametrize("is_processed", [False, True])
def test_money_that_came_after_all_counts(
    guest: Guest, beer: Line, is_processed: bool, django_capture_on_commit_callbacks: Any
) -> None:
    guest.begins((beer, "1"))
    before = guest.gets_receipt() if is_processed else None
    guest.ends("CANCELLED")

    with django_capture_on_commit_callbacks(execute=True):
        assert guest.ends() == DONE

    assert guest.sees() == {"Pilsner": "2", "Guláš": "1"}
    status, receipt = guest.gets_receipt()
    assert (status, receipt["taxInfo"][0]["price"]) == (200, "65.00")
    assert before in (None, (status, receipt))
    assert IssuedReceipt.objects.get().voided_at is None


def test_what_was_paid_twice_is_said(
    guest: Guest, beer: Line, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    guest.begins((beer, "3"))
    guest.begins((beer, "2"), payment_id="p2")
    guest.ends()

    with django_capture_on_commit_callbacks(execute=True):
        assert guest.ends(payment_id="p2") == DONE

    assert guest.sees() == {"Guláš": "1"}
    assert "Payment p2 pays what is not owed" in caplog.text


def test_money_for_what_is_no_line_of_ours_is_said(
    guest: Guest, beer: Line, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    guest.begins((beer, "1"), ("coat", "1"))

    with django_capture_on_commit_callbacks(execute=True):
        assert guest.ends() == DONE

    assert "Payment p1 pays what is not owed" in caplog.text
    assert guest.sees() == {"Pilsner": "2", "Guláš": "1"}
    assert [item["name"] for item in guest.gets_receipt()[1]["items"]] == ["Pilsner"]


def test_money_for_a_bill_that_is_gone_is_said(
    guest: Guest, order: Order, beer: Line, caplog: pytest.LogCaptureFixture
) -> None:
    guest.begins((beer, "1"))
    order.delete()

    assert guest.ends() == DONE

    assert f"Payment p1 is paid, and there is no bill {Bill.objects.get()}" in caplog.text


def test_a_bill_that_is_gone_has_no_receipt(guest: Guest, order: Order, beer: Line) -> None:
    guest.begins((beer, "1"))
    order.delete()

    assert guest.gets_receipt() == (422, "BILL_NOT_FOUND")


@pytest.mark.parametrize(("state", "said"), [("PAID", UNKNOWN), ("CANCELLED", DONE)])
def test_the_end_of_a_payment_that_never_began_undoes_nothing(guest: Guest, state: str, said: Any) -> None:
    assert guest.ends(state) == said

    assert guest.sees() == WHOLE


@pytest.mark.parametrize("postponed", [False, True])
def test_a_payment_that_never_began_gets_no_receipt(guest: Guest, postponed: bool) -> None:
    assert guest.gets_receipt(postponed=postponed) == UNKNOWN


# -- The receipt -----------------------------------------------------------------------------------


def test_a_receipt_says_what_was_paid_and_the_tax_in_it(guest: Guest, order: Order, beer: Line, goulash: Line) -> None:
    guest.begins((beer, "3"), (goulash, "0.5"))

    status, receipt = guest.gets_receipt()

    assert status == 200
    assert receipt["items"] == [
        {"name": "Pilsner", "price": "65.00", "quantity": "3", "taxName": "DPH 21 %"},
        {"name": "Guláš", "price": "215.50", "quantity": "0.5", "taxName": "DPH 12 %"},
    ]
    assert receipt["taxInfo"] == [
        {"name": "DPH 21 %", "rate": "21", "price": "195.00", "base": "161.16", "tax": "33.84"},
        {"name": "DPH 12 %", "rate": "12", "price": "107.75", "base": "96.21", "tax": "11.54"},
    ]
    assert receipt["receiptDeliveryType"] == "QERKO_GENERATED"
    info = receipt["receiptInfo"]
    assert info["billName"] == f"Stůl 1, bill {order.pk}"
    issued = IssuedReceipt.objects.get()
    assert info["serial"] == str(issued) == f"{timezone.localtime():%Y}-{issued.pk:06d}"
    assert issued.content == receipt
    assert info["timestamp"].startswith(f"{timezone.localtime():%Y-%m-%dT}")
    assert info["waiter"]
    assert info["headerLines"]
    assert info["footerLines"]


def test_a_receipt_is_written_once(guest: Guest, order: Order, beer: Line) -> None:
    guest.begins((beer, "1"))
    first = guest.gets_receipt()
    order.lines.update(price=1)

    assert guest.gets_receipt() == first
    assert guest.gets_receipt(postponed=True) == first


@pytest.mark.parametrize(
    ("rate", "price", "base", "tax"),
    [
        ("21", "121.00", "100.00", "21.00"),
        ("21.00", "0.01", "0.01", "0.00"),
        ("21", "65.00", "53.72", "11.28"),
        ("12", "239.00", "213.39", "25.61"),
        # Exactly half a haléř of tax: 0.14 × 12 / 112 = 0.015, and 0.42 × 12 / 112 = 0.045.
        ("12", "0.14", "0.12", "0.02"),
        ("12", "0.42", "0.37", "0.05"),
        ("0", "79.00", "79.00", "0.00"),
    ],
)
def test_tax_is_taken_out_of_the_price_and_rounded_half_up(rate: str, price: str, base: str, tax: str) -> None:
    info = taxed(Decimal(rate), Decimal(price))

    assert (str(info.base), str(info.tax)) == (base, tax)


def test_lines_are_rounded_before_they_are_added_up(stranger: Guest, order: Order) -> None:
    dips = [order.lines.create(name=f"Dip {n}", quantity="0.5", price="10.01", vat_rate=12) for n in range(2)]
    stranger.begins(*((line, "0.5") for line in dips))

    _, receipt = stranger.gets_receipt()

    # 5.005 is 5.01, twice.
    assert receipt["taxInfo"] == [
        {"name": "DPH 12 %", "rate": "12", "price": "10.02", "base": "8.95", "tax": "1.07"},
    ]


# -- A discount ------------------------------------------------------------------------------------


def discounted(value: str | None, **members: Any) -> dict[str, Any]:
    return {"discount": {"source": "RESTAURANT", "name": "Sleva", "value": value, "provider": None, **members}}


@pytest.mark.parametrize("value", ["51.06", "-51.06"])
def test_a_receipt_shows_a_discount_in_each_rate(guest: Guest, beer: Line, goulash: Line, value: str) -> None:
    guest.begins((beer, "3"), (goulash, "0.5"), **discounted(value, name="Sleva pro štamgasty"))

    _, receipt = guest.gets_receipt()

    # 195.00 and 107.75 bear 51.06 as 32.89 and 18.17.
    assert receipt["items"][2:] == [
        {"name": "Sleva pro štamgasty", "price": "-32.89", "quantity": "1", "taxName": "DPH 21 %"},
        {"name": "Sleva pro štamgasty", "price": "-18.17", "quantity": "1", "taxName": "DPH 12 %"},
    ]
    assert [(tax["price"], tax["base"], tax["tax"]) for tax in receipt["taxInfo"]] == [
        ("162.11", "133.98", "28.13"),
        ("89.58", "79.98", "9.60"),
    ]


@pytest.mark.parametrize("value", ["0", None, "0.004"])
def test_a_discount_of_nothing_is_not_on_the_receipt(guest: Guest, beer: Line, value: str | None) -> None:
    guest.begins((beer, "1"), **discounted(value))

    _, receipt = guest.gets_receipt()

    assert [item["name"] for item in receipt["items"]] == ["Pilsner"]
    assert receipt["taxInfo"][0]["price"] == "65.00"


def test_a_discount_without_a_name_is_called_one(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "1"), discount={"value": "5"})

    assert guest.gets_receipt()[1]["items"][1]["name"] == "Sleva"


@given(
    discount=st.decimals(0, 10_000, places=2),
    prices=st.dictionaries(st.sampled_from([Decimal(0), Decimal(12), Decimal(21)]), st.decimals(0, 5_000, places=2)),
)
def test_a_discount_is_divided_to_the_last_coin(discount: Decimal, prices: dict[Decimal, Decimal]) -> None:
    borne = divided(discount, prices)

    assert borne.keys() == prices.keys()
    assert sum(borne.values(), Decimal(0)) == min(discount, sum(prices.values(), Decimal(0)))
    assert all(0 <= borne[rate] <= prices[rate] for rate in prices)


def test_regulars_are_offered_a_discount(guest: Guest, restaurant: Restaurant, order: Order) -> None:
    def offered() -> Any:
        return json.loads(deliver(restaurant, "getBill", {"billId": str(order.pk)}).content).get("discountOffer")

    assert offered() is None

    Table.objects.update(area=BAR)

    assert offered() == {"name": "Sleva pro štamgasty", "percent": "10"}


# -- In the garden ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_the_garden")
def test_a_receipt_is_written_once_the_money_is_certain(guest: Guest, order: Order, beer: Line) -> None:
    guest.begins((beer, "2"))
    status, promised = guest.gets_receipt()
    assert (status, promised["receiptDeliveryType"], promised["items"]) == (200, "POSTPONED", [])
    assert promised["receiptInfo"]["billName"] == f"Stůl 1, bill {order.pk}"
    assert not IssuedReceipt.objects.exists()

    guest.ends()

    status, receipt = guest.gets_receipt(postponed=True)
    assert (status, receipt["receiptDeliveryType"]) == (200, "QERKO_GENERATED")
    assert receipt["taxInfo"][0]["price"] == "130.00"
    assert receipt["receiptInfo"]["serial"] == IssuedReceipt.objects.get().serial
    assert guest.gets_receipt(postponed=True) == guest.gets_receipt() == (200, receipt)


@pytest.mark.usefixtures("in_the_garden")
def test_a_receipt_that_is_not_written_yet_is_still_postponed(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "2"))
    first = guest.gets_receipt()

    assert guest.gets_receipt(postponed=True) == guest.gets_receipt() == first


@pytest.mark.usefixtures("in_the_garden")
def test_nothing_is_written_where_no_money_came(guest: Guest, beer: Line) -> None:
    guest.begins((beer, "2"))
    guest.gets_receipt()

    guest.ends("CANCELLED")

    assert guest.gets_receipt(postponed=True) == UNKNOWN
    assert not IssuedReceipt.objects.exists()


@pytest.mark.usefixtures("in_the_garden")
def test_money_that_came_after_all_has_its_receipt(
    guest: Guest, beer: Line, django_capture_on_commit_callbacks: Any
) -> None:
    guest.begins((beer, "1"))
    guest.gets_receipt()
    guest.ends("CANCELLED")

    with django_capture_on_commit_callbacks(execute=True):
        guest.ends()

    status, receipt = guest.gets_receipt(postponed=True)
    assert (status, receipt["taxInfo"][0]["price"]) == (200, "65.00")


# -- Two books -------------------------------------------------------------------------------------


def audited(*arguments: str) -> str:
    out = StringIO()
    call_command("pub_audit", *arguments, stdout=out)
    return out.getvalue().strip()


def test_both_books_agree_on_what_is_paid(guest: Guest, order: Order, beer: Line, goulash: Line) -> None:
    Order.objects.create(table=order.table)
    assert audited() == "Both books agree."
    for number, items in enumerate([[(beer, "2")], [(goulash, "0.5")], [(beer, "1")]]):
        guest.begins(*items, payment_id=f"p{number}")
        guest.ends(payment_id=f"p{number}")

    assert Bill.objects.get().paid_quantities == {str(beer.pk): Decimal(3), str(goulash.pk): Decimal("0.5")}
    assert audited("--json") == "[]"


def test_books_that_disagree_are_told_apart(guest: Guest, order: Order, beer: Line, goulash: Line) -> None:
    guest.begins((beer, "2"), (goulash, "0.5"))
    guest.ends()
    Line.objects.filter(pk=beer.pk).update(paid_quantity=1)
    Line.objects.filter(pk=goulash.pk).delete()
    found = [
        f"{order}: 0.5 of {goulash.pk} are paid at Qerko, and it is no line",
        f"{order}: 2 of 3 × Pilsner are paid at Qerko, 1 here",
    ]

    assert json.loads(audited("--json")) == found
    with pytest.raises(CommandError) as failed:
        audited()
    assert str(failed.value).splitlines() == found


# -- The pub's own record --------------------------------------------------------------------------


def test_a_payment_has_one_receipt(order: Order) -> None:
    order.receipts.create(payment_id="p1")

    with pytest.raises(IntegrityError), transaction.atomic():
        order.receipts.create(payment_id="p1")


def test_the_staff_sees_what_was_issued_and_changes_nothing(client: Client, admin_user: User, order: Order) -> None:
    issued = order.receipts.create(payment_id="p1", content={"items": "3 × Pilsner"})
    client.force_login(admin_user)

    page = client.get(f"/admin/pub/issuedreceipt/{issued.pk}/change/").content.decode()

    assert "3 × Pilsner" in page
    assert str(order) in page
    assert issued.serial in client.get("/admin/pub/issuedreceipt/").content.decode()
    for forbidden in ("add/", f"{issued.pk}/delete/"):
        assert client.get(f"/admin/pub/issuedreceipt/{forbidden}").status_code == 403

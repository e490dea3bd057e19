"""Write a receipt: what was paid, and the VAT in it.

Prices include VAT. Every line is rounded to the haléř, half of one up, and the lines of a rate are added up. A discount
is divided among the rates by what is paid at each. The tax of a rate is taken out of what is left of its sum, and
rounded once, in the same way; the base is the rest, so that base and tax make what was paid, always. A tip is the
waiter's, and no turnover of the pub's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.utils import timezone

from django_qerko.answers import Receipt, ReceiptInfo, ReceiptItem, TaxInfo
from django_qerko.models import Payment
from example_project.pub.models import IssuedReceipt, Line, Order, in_crowns

HEADER: Final = ("Hospoda Na Růžku", "Na Růžku 7, 602 00 Brno", "IČO 12345678, DIČ CZ12345678")
FOOTER: Final = ("Děkujeme a těšíme se na vás.",)
CASH_BOX: Final = "1"
WAITER: Final = "Božena"


def issue(payment: Payment, order: Order, *, at: datetime) -> Receipt:
    """Issue the receipt of a payment: it has a number, and is kept."""
    issued = IssuedReceipt.objects.create(payment_id=payment.payment_id, order=order, issued_at=at)
    receipt = _written(payment, issued)
    issued.keep(receipt.as_json())
    return receipt


def promise(order: Order) -> Receipt:
    """No receipt yet: Qerko asks again."""
    return Receipt(
        receipt_info=ReceiptInfo(bill_name=order.name), items=[], tax_info=[], receipt_delivery_type="POSTPONED"
    )


def taxed(rate: Decimal, price: Decimal) -> TaxInfo:
    """The VAT at a rate, in per cent, that is in a price in crowns."""
    tax = in_crowns([price * rate / (100 + rate)])
    return TaxInfo(name=_tax_name(rate), rate=rate.normalize(), price=price, base=price - tax, tax=tax)


def divided(discount: Decimal, prices: Mapping[Decimal, Decimal]) -> dict[Decimal, Decimal]:
    """What each rate bears of a discount, in crowns: by its share of the prices, and never more than them."""
    borne: dict[Decimal, Decimal] = {}
    rest = sum(prices.values(), Decimal(0))
    discount = min(in_crowns([discount]), rest)
    for rate, price in prices.items():
        # Of what is left, so that the last one bears what rounding made of the others.
        borne[rate] = in_crowns([discount * price / rest]) if rest else Decimal(0)
        discount, rest = discount - borne[rate], rest - price
    return borne


def _written(payment: Payment, issued: IssuedReceipt) -> Receipt:
    quantities = _quantities(payment, issued.order)
    prices = _by_rate(quantities)
    name, discount = _discount(payment)
    borne = divided(discount, prices)
    return Receipt(
        receipt_info=_head(issued),
        items=[*map(_item, quantities, quantities.values()), *_discount_items(name, borne)],
        tax_info=[taxed(rate, price - borne[rate]) for rate, price in prices.items()],
    )


def _head(issued: IssuedReceipt) -> ReceiptInfo:
    return ReceiptInfo(
        bill_name=issued.order.name,
        serial=issued.serial,
        cash_box=CASH_BOX,
        header_lines=HEADER,
        footer_lines=FOOTER,
        waiter=WAITER,
        timestamp=timezone.localtime(issued.issued_at).isoformat(timespec="seconds"),
    )


def _quantities(payment: Payment, order: Order) -> dict[Line, Decimal]:
    """What is paid of which line, in the order of the bill."""
    paid = payment.quantities
    return {line: paid[str(line.pk)] for line in order.lines.all() if str(line.pk) in paid}


def _by_rate(quantities: Mapping[Line, Decimal]) -> dict[Decimal, Decimal]:
    """What is paid at each rate, in crowns, the highest rate first."""
    prices: defaultdict[Decimal, Decimal] = defaultdict(Decimal)
    for line, quantity in quantities.items():
        prices[line.vat_rate] += in_crowns([line.price * quantity])
    return dict(sorted(prices.items(), reverse=True))


def _discount(payment: Payment) -> tuple[str, Decimal]:
    """Name and amount of the discount. Whether Qerko writes a positive amount or a negative one is not public."""
    discount = payment.discount or {}
    return discount.get("name") or "Sleva", abs(Decimal(discount.get("value") or 0))


def _item(line: Line, quantity: Decimal) -> ReceiptItem:
    return ReceiptItem(
        name=line.name, price=line.price, quantity=quantity.normalize(), tax_name=_tax_name(line.vat_rate)
    )


def _discount_items(name: str, borne: Mapping[Decimal, Decimal]) -> Iterable[ReceiptItem]:
    return (
        ReceiptItem(name=name, price=-share, quantity=1, tax_name=_tax_name(rate))
        for rate, share in borne.items()
        if share
    )


def _tax_name(rate: Decimal) -> str:
    return f"DPH {rate.normalize():f} %"

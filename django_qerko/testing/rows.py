"""Make our rows: a restaurant with a key, an open bill, a payment in any state."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from string import ascii_lowercase, digits
from typing import Any, Final

from django.db import router, transaction
from django.utils import timezone

from django_qerko import answers, events
from django_qerko.conf import conf
from django_qerko.keys import ApiKey
from django_qerko.models import Bill, Payment, Restaurant
from django_qerko.sandbox import payments
from django_qerko.sandbox.payments import Amount
from django_qerko.testing.payloads import make_payment_data

_GROUPS: Final = 5
_ALPHABET: Final = ascii_lowercase + digits
_numbers: Final = itertools.count(1)

#: What stands on a bill where a test does not say; the sandbox's sample payment pays one of it.
ITEMS: Final = (
    answers.BillItem(id="1", name="Pivo", quantity=2, price=Decimal("55.00")),
    answers.BillItem(id="2", name="Guláš", quantity=1, price=Decimal("185.00")),
)


def make_api_key() -> ApiKey:
    """An API key like no other, with the right check digits (protocol section 1, D)."""
    head = "".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) + "-" for _ in range(_GROUPS))
    return ApiKey(head + hashlib.sha1(head.encode(), usedforsecurity=False).hexdigest()[:4])


def make_restaurant(name: str | None = None, *, api_key: ApiKey | str | None = None) -> Restaurant:
    """A restaurant with a key; without ``name`` and ``api_key``, with some of its own."""
    key = ApiKey(api_key) if isinstance(api_key, str) else api_key or make_api_key()
    return Restaurant.objects.add(name=name or f"Restaurant {next(_numbers)}", api_key=key)


def make_bill(
    restaurant: Restaurant,
    bill_id: str | None = None,
    *,
    currency: str = "CZK",
    items: Iterable[answers.BillItem] = ITEMS,
    **members: Any,
) -> Bill:
    """An open bill, as our table keeps it once Qerko was told of it.

    ``members`` are those of ``answers.Bill``. No handler is asked: what the point of sale knows is its own.
    """
    bill = answers.Bill(id=bill_id or f"bill-{next(_numbers)}", currency=currency, items=list(items), **members)
    return Bill.objects.create(
        restaurant=restaurant,
        bill_id=bill.id,
        currency=bill.currency,
        snapshot=bill.as_json(),
        snapshot_at=timezone.now(),
    )


def make_payment(
    bill: Bill,
    state: str = Payment.State.STARTED,
    *,
    payment_id: str | None = None,
    items: Mapping[str, Amount] | None = None,
    tip: Amount = 0,
    customer_id: str | None = None,
    receipt: answers.Receipt | None = None,
    age: timedelta = timedelta(0),
) -> Payment:
    """A payment on a bill that Qerko was told of, brought to this state by the verbs that Qerko's events use.

    ``items`` are quantities by the items' ids; all that is left of the bill where none are named. It began ``age`` ago.
    ``state`` is ``started``, ``processed``, ``paid`` or ``cancelled``. What was processed has a ``receipt``, a sample
    where none is given. Raises ValueError for another state, and for an item that is not on the bill.
    """
    state = Payment.State(state)
    told = make_payment_data(
        answers.Bill.model_validate(bill.snapshot),
        payment_id=payment_id,
        items=bill.left if items is None else items,
        tip=tip,
        customer_id=customer_id,
    )["payment"]
    began_at = timezone.now() - age
    with transaction.atomic(using=router.db_for_write(Payment)):
        payment = Payment.objects.start(
            bill.restaurant,
            events.Payment.model_validate(told),
            bill=bill,
            payload=told,
            at=began_at,
            ask_at=began_at + conf.RECONCILE_AFTER,
        )
        if state == Payment.State.CANCELLED:
            payment.cancel(at=began_at, reason="A test says so.", final_state=payments.CANCELLED)
        elif state != Payment.State.STARTED:
            payment.process(receipt or make_receipt(payment), at=began_at)
        if state == Payment.State.PAID:
            payment.mark_paid(at=began_at)
    return payment


def make_receipt(payment: Payment, *, delivery_type: str = "QERKO_GENERATED") -> answers.Receipt:
    """A receipt for the items of a payment, all at one rate of 21 per cent."""
    items = list(payment.items.all())
    whole = sum((item.quantity * (item.price or 0) for item in items), start=Decimal(0))
    base = (whole / Decimal("1.21")).quantize(Decimal("0.01"))
    return answers.Receipt.model_validate(
        {
            "receiptInfo": {"billName": payment.bill.bill_id, "serial": str(next(_numbers))},
            "items": [
                {"name": item.name, "price": item.price or 0, "quantity": item.quantity, "taxName": "A"}
                for item in items
            ],
            "taxInfo": [{"name": "A", "rate": "21", "base": base, "tax": whole - base, "price": whole}],
            "receiptDeliveryType": delivery_type,
        }
    )

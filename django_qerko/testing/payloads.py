"""Make what Qerko would say: the data of an event, the payment of a bill, and the event as a handler gets it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from django_qerko import amounts, events
from django_qerko.answers import Bill
from django_qerko.events import CLASSES, Event, PaymentStarted, read_event
from django_qerko.keys import ApiKey
from django_qerko.sandbox import payments
from django_qerko.sandbox.conversation import PointOfSale
from django_qerko.sandbox.payments import Amount
from django_qerko.sandbox.samples import sample

#: A guest whom nobody calls: sample data need some point of sale, and say nothing of it.
_NOBODY: Final = PointOfSale(url="http://127.0.0.1/", api_key=ApiKey("nobody"))
#: What frames an event, and is no member of its data.
_FRAME: Final = frozenset(Event.model_fields)

_Model: TypeAlias = type[Event] | type[events.Payment]


def make_payload(event: str, **members: Any) -> Any:
    """The ``data`` of an event as Qerko would send it: the sandbox's samples, with other ``members`` where named.

    A member may be spelled our way (``bill_id``) or Qerko's (``billId``). Those of ``paymentStart`` are members of its
    payment, ``payment_id`` among them; ``payment`` replaces it whole. Amounts are ``Decimal``, ``int`` or decimal
    strings. Raises TypeError for a member that this event does not have; an event that is not modelled may have any.
    """
    data = sample(event, _NOBODY)
    if not members:
        return data
    if event == PaymentStarted.NAME:
        return {"payment": _payment(data["payment"], members)}
    return {**(data or {}), **_spelled(event, CLASSES.get(event), members)}


def make_payment_data(
    bill: Bill | Mapping[str, Any],
    *,
    payment_id: str | None = None,
    items: Mapping[str, Amount] | None = None,
    tip: Amount = 0,
    customer_id: str | None = None,
    discount: bool = False,
) -> dict[str, Any]:
    """The ``data`` of a ``paymentStart`` that pays a bill, which is one of ours or the JSON that answered ``getBill``.

    ``items`` are quantities by the items' ids, all of the bill where none are named; with ``discount`` the guest takes
    the bill's offer. Raises ValueError for what is no bill, an item that is not on it, or a discount that it does not
    offer.
    """
    bill = payments.read_bill(bill)
    chosen = payments.choose(bill, items)
    payment = payments.Payment(
        id=payment_id or str(uuid.uuid4()),
        pos=_NOBODY,
        bill=bill,
        items=chosen,
        tip=amounts.read(tip),
        discount=payments.take_offer(bill, chosen) if discount else None,
        customer_id=customer_id,
        begun_at=datetime.now(tz=UTC),
    )
    return {"payment": payment.as_json()}


def make_event(name: str, *, event_id: str | None = None, record: int | None = None, **members: Any) -> Event:
    """An event as a handler gets it, of its own class, to call a handler with; ``members`` as for ``make_payload``.

    ``record`` is the key of its row, for a handler that answers later. Raises TypeError for a member that this event
    does not have, and ``exceptions.Malformed`` for one that the webhook would turn away with 400.
    """
    data = make_payload(name, **members)
    event = read_event({"id": event_id or str(uuid.uuid4()), "event": name, "data": data})
    return event if record is None else event.recorded_as(record)


def _payment(payment: dict[str, Any], members: Mapping[str, Any]) -> Any:
    if "payment" in members:
        if len(members) > 1:
            raise TypeError("A payment is named whole, or by its members.")
        return members["payment"]
    named = {"id" if name in {"payment_id", "paymentId"} else name: value for name, value in members.items()}
    return {**payment, **_spelled(PaymentStarted.NAME, events.Payment, named)}


def _spelled(event: str | None, model: _Model | None, members: Mapping[str, Any]) -> dict[str, Any]:
    """The members in Qerko's spelling, which stands in our models; JSON where they are answers of ours."""
    known = _spellings(model) if model else {name: name for name in members}
    if unknown := members.keys() - known.keys():
        raise TypeError(f"{event} has no member {', '.join(sorted(unknown))}. It has {', '.join(sorted(known))}.")
    return {known[name]: _plain(value) for name, value in members.items()}


def _spellings(model: _Model) -> dict[str, str]:
    """Qerko's name of each member, by that name, by the older one and by ours."""
    spellings: dict[str, str] = {}
    for name, field in model.model_fields.items():
        if issubclass(model, Event) and name in _FRAME:
            continue
        alias = field.validation_alias
        written = [str(choice) for choice in getattr(alias, "choices", [alias or name])]
        spellings |= dict.fromkeys((name, *written), written[0])
    return spellings


def _plain(value: Any) -> Any:
    """Items may be the ``BillItem`` of a handler's answer."""
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value.as_json() if hasattr(value, "as_json") else value

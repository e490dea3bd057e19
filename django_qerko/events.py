"""Turn Qerko's JSON into frozen events in our own words.

Qerko's names for events and their members stand here (protocol sections 4 and 5) and in ``answers``.
Unknown members are ignored at any depth (D); of every identifier both spellings are read,
``paymentId`` (v4, D) and ``idPayment`` (v2, C), the newer one first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Final, NoReturn, Self, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
)

from django_qerko import amounts
from django_qerko.exceptions import Malformed

#: Deeper nesting than this is nobody's bill, and would exhaust the stack of whoever walks it.
MAX_DEPTH: Final = 128

#: Valid in JSON, but no text that PostgreSQL stores: NUL, and half a surrogate pair.
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")

_Model = TypeVar("_Model", bound=BaseModel)


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _as_list(value: object) -> object:
    return () if value is None else value


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


#: Text that is only kept and shown: whatever Qerko sends there is no reason to refuse a payment.
Description = Annotated[str | None, BeforeValidator(_as_text)]
Amount = Annotated[Decimal, PlainValidator(amounts.read)]
Quantity = Annotated[Amount, AfterValidator(_not_negative)]
Identifier = Annotated[str, Field(strict=True, min_length=1, max_length=128)]
Currency = Annotated[str, Field(strict=True, pattern=r"^[A-Z]{3}$")]


def _either(newer: str, older: str) -> Any:
    return Field(validation_alias=AliasChoices(newer, older))


def _optional_either(newer: str, older: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(newer, older))


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


# -- What a payment consists of (protocol section 5, D and C) --------------------------------------


class Item(_Frozen):
    """One item of a payment, in the quantity that is being paid."""

    id: Identifier
    quantity: Quantity
    name: Description = None
    price: Amount | None = None
    additional_data: Any = Field(default=None, alias="additionalData")


class Discount(_Frozen):
    """A discount, whoever bears it."""

    source: Description = None
    name: Description = None
    value: Amount | None = None
    provider: Any = None
    additional_data: Any = Field(default=None, alias="additionalData")


class Provider(_Frozen):
    """Who moves the money of a part."""

    id: Description = None
    name: Description = None
    type: Description = None


class Part(_Frozen):
    """A part of the sum, paid through one provider."""

    total: Quantity
    provider: Provider | None = None


class Payment(_Frozen):
    """What a guest pays: items with quantities, parts, tips, and the echo of the bill's ``additional_data``.

    Amounts are ``Decimal`` in major units of ``currency``. Sums are not checked: Qerko's own samples do
    not add up (protocol section 5, D).
    """

    id: Identifier
    bill_id: Identifier = _either("idBill", "billId")
    customer_id: Identifier | None = _optional_either("idCustomer", "customerId")
    currency: Currency
    state: Description = None
    items: tuple[Item, ...]
    discount: Discount | None = None
    parts: Annotated[tuple[Part, ...], BeforeValidator(_as_list)] = ()
    tip_brutto: Quantity | None = Field(default=None, alias="tipBrutto")
    tip_netto: Quantity | None = Field(default=None, alias="tipNetto")
    timestamp: Any = None
    additional_data: Any = Field(default=None, alias="additionalData")

    @property
    def quantities(self) -> dict[str, Decimal]:
        """How much of which item is paid, wherever it stands in the payment."""
        sums: dict[str, Decimal] = {}
        for item in self.items:
            sums[item.id] = amounts.EXACT.add(sums.get(item.id, Decimal(0)), item.quantity)
        return sums


# -- Events (protocol section 4, D) ------------------------------------------------------------------


class Event(_Frozen):
    """What Qerko asks or tells.

    ``id`` is the same when the event is delivered again, ``name`` is Qerko's, ``record`` the key of the
    event's row, ``data`` the JSON as it came, its numbers as ``Decimal``.
    """

    NAME: ClassVar[str | None] = None
    #: A question is worth nothing after its deadline; a tell is handled at any age.
    is_question: ClassVar[bool] = True

    id: str
    name: str
    record: int | None = None
    data: Any = None

    def recorded_as(self, record: int) -> Self:
        """The same event, knowing its row."""
        return self.model_copy(update={"record": record})


class TableListRequested(Event):
    """``getTableList``: all tables, to pair QR codes with them."""

    NAME = "getTableList"


class TableContentsRequested(Event):
    """``getTableContents``: the open bills of a table; asked very often."""

    NAME = "getTableContents"

    table_id: Identifier = _either("tableId", "idTable")
    customer_id: Identifier | None = _optional_either("customerId", "idCustomer")


class BillRequested(Event):
    """``getBill``: one bill, before a payment."""

    NAME = "getBill"

    bill_id: Identifier = _either("billId", "idBill")
    customer_id: Identifier | None = _optional_either("customerId", "idCustomer")


class BillsSearched(Event):
    """``searchBills``: the bills behind a QR code that the point of sale made."""

    NAME = "searchBills"

    qr_identifier: Annotated[str, Field(strict=True, min_length=1, max_length=2000)] = _either("qrIdentifier", "idQr")
    customer_id: Identifier | None = _optional_either("customerId", "idCustomer")


class PaymentStarted(Event):
    """``paymentStart``: a guest began to pay; the items are to be locked. Any error cancels (D)."""

    NAME = "paymentStart"

    payment: Payment

    @property
    def payment_id(self) -> str:
        return self.payment.id

    @property
    def bill_id(self) -> str:
        return self.payment.bill_id

    @property
    def customer_id(self) -> str | None:
        return self.payment.customer_id


class PaymentProcessed(Event):
    """``paymentProcessed``: the money moved; the receipt is wanted. Any error cancels (D)."""

    NAME = "paymentProcessed"

    payment_id: Identifier = _either("paymentId", "idPayment")


class PaymentClosed(Event):
    """``paymentClosed``: the end of a payment. Only ``state == "PAID"`` means success (D)."""

    NAME = "paymentClosed"
    is_question = False

    payment_id: Identifier = _either("paymentId", "idPayment")
    state: Annotated[str, Field(strict=True)]


class PostponedReceiptRequested(Event):
    """``getPostponedReceipt``: the receipt of a payment, asked again and again (D)."""

    NAME = "getPostponedReceipt"

    payment_id: Identifier = _either("paymentId", "idPayment")


class OtherEvent(Event):
    """An event without a class of its own, orders included: its ``data`` is passed through whole."""


CLASSES: Final[Mapping[str, type[Event]]] = {
    str(cls.NAME): cls
    for cls in (
        TableListRequested,
        TableContentsRequested,
        BillRequested,
        BillsSearched,
        PaymentStarted,
        PaymentProcessed,
        PaymentClosed,
        PostponedReceiptRequested,
    )
}
#: Every event of Qerko's; of the last five only the names are public (protocol section 4, D).
NAMES: Final = (*CLASSES, "getMealMenus", "orderPrepare", "orderStart", "orderMarkAsPaid", "orderClose")
#: From 0 to 1; a slip of a finger or two in a name is as close as this.
_CLOSE: Final = 0.8


def meant(name: str) -> str | None:
    """The event of Qerko's whose name is close to one that is none; Qerko may have events that nobody here knows."""
    known = {one.lower(): one for one in NAMES}
    close = get_close_matches(name.lower(), known, n=1, cutoff=_CLOSE)
    return known[close[0]] if close and name not in NAMES else None


class _Envelope(_Frozen):
    """The frame of a delivery (protocol section 2, A)."""

    id: Identifier
    event: Identifier
    data: Any = None


def read_document(body: bytes) -> dict[str, Any]:
    """Decode the bytes of a delivery into a JSON object whose numbers are exact ``Decimal``.

    Raises Malformed (400) for what is no UTF-8, no JSON, no object, nested deeper than ``MAX_DEPTH``, or
    holds text that no database keeps (NUL, lone surrogates).
    """
    try:
        document = json.loads(
            body.decode("utf-8"), parse_float=_number, parse_int=_number, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise Malformed("not_utf8", f"The body is not UTF-8: byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise Malformed("not_json", f"The body is not JSON: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise Malformed("not_an_object", "The body is JSON, but no object")
    _refuse_unstorable(document)
    return document


def write_closed(event_id: str, *, payment_id: str, state: str) -> bytes:
    """The delivery with which Qerko would tell how a payment ended."""
    data = {"paymentId": payment_id, "state": state}
    return json.dumps({"id": event_id, "event": PaymentClosed.NAME, "data": data}, ensure_ascii=False).encode()


def read_event(document: Mapping[str, Any], *, named: str | None = None) -> Event:
    """Give the event that a decoded delivery describes; ``named`` is the event that its URL named.

    Raises Malformed (400) where the envelope or a modelled event's data is not as protocol sections 2, 4
    and 5 have it, or where URL and body name different events.
    """
    envelope = _read_envelope(document, named)
    cls = CLASSES.get(envelope.event, OtherEvent)
    frame = {"id": envelope.id, "name": envelope.event, "data": envelope.data, "record": None}
    if cls is OtherEvent:
        return _validated(cls, frame, "event")
    # PHP writes an object without members as a list.
    members = {} if envelope.data is None or envelope.data == [] else envelope.data
    if not isinstance(members, dict):
        raise Malformed("malformed_event", f"{cls.NAME}: data is no object")
    return _validated(cls, {**members, **frame}, f"{cls.NAME}")


def _read_envelope(document: Mapping[str, Any], named: str | None) -> _Envelope:
    if named is not None:
        if document.get("event") not in (None, named):
            raise Malformed("event_mismatch", "The URL and the body name different events")
        _refuse_unstorable(named)
        document = {**document, "event": named}
    return _validated(_Envelope, document, "envelope")


def _validated(model: type[_Model], members: Mapping[str, Any], what: str) -> _Model:
    try:
        return model.model_validate(members)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))[:80]}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False, include_context=False)[:3]
        )
        raise Malformed("malformed_event", f"{what}: {faults}") from None


def _number(text: str) -> Decimal:
    try:
        return amounts.JsonNumber(text)
    except InvalidOperation:
        # An exponent beyond what Decimal holds. It is no amount, but may stand in a member that nobody reads.
        return amounts.JsonNumber("-Infinity" if text.startswith("-") else "Infinity")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse_unstorable(document: Any) -> None:
    for text in _texts(document):
        if _UNSTORABLE.search(text):
            raise Malformed("unstorable_text", "The body holds a NUL character or half a surrogate pair")


def _texts(document: Any) -> Iterator[str]:
    """Every key and string of a document, without recursion."""
    waiting = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise Malformed("too_deep", f"The body is nested deeper than {MAX_DEPTH} levels")
            if isinstance(value, dict):
                waiting.extend((key, depth) for key in value)
                value = list(value.values())
            waiting.extend((member, depth + 1) for member in value)

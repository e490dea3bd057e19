"""What a handler may say: values that are validated when built, and their JSON.

Amounts and quantities are ``Decimal``, ``int`` or decimal strings in major units, never ``float``; in JSON
they are decimal strings (protocol section 5, C and D). A misspelt, missing or malformed member raises
``pydantic.ValidationError``, which is a ``ValueError``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from django_qerko import amounts
from django_qerko.exceptions import DomainError

#: Deeper nesting is nobody's data; what refers to itself would have no end.
MAX_DEPTH: Final = 128
#: Digits of a whole number that is written as one.
_LONGEST_INTEGER: Final = 100

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


def _storable(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("holds a NUL character or half a surrogate pair, which no database keeps")
    return text


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("must be more than nothing")
    return value


def _moment(value: object) -> object:
    """A moment as ISO 8601 with offset; the JSON keeps a string as the handler wrote it."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise ValueError("a time needs an offset from UTC")
        return value if isinstance(value, str) else moment.isoformat()
    return value


def _opaque(value: Any) -> Any:
    return _json(value, 0)


def _json(value: Any, depth: int) -> Any:
    """A copy of a JSON value.

    A ``Decimal`` in it becomes a decimal string, like all money; a number that came in JSON, as ``event.data`` has it,
    goes out as it came.
    """
    if isinstance(value, str):
        return _storable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        return _number(value) if isinstance(value, amounts.JsonNumber) else amounts.write(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if depth == MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key): _json(member, depth + 1) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_json(member, depth + 1) for member in value]
    raise ValueError(f"{type(value).__name__} is no JSON")


def _number(value: amounts.JsonNumber) -> int | float | str:
    """A number as JSON has it; as text where a ``float`` would change it, or it is no number for most."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError("a number is finite")
    if exponent >= 0 and value.adjusted() < _LONGEST_INTEGER:
        return int(value)
    return number if Decimal(repr(number := float(value))) == value else str(value)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError("a JSON object's keys are strings")
    return _storable(key)


Text = Annotated[str, AfterValidator(_storable)]
Identifier = Annotated[Text, Field(min_length=1, max_length=128)]
Amount = Annotated[Decimal, PlainValidator(amounts.read), PlainSerializer(amounts.write, return_type=str)]
Quantity = Annotated[Amount, AfterValidator(_not_negative)]
Step = Annotated[Amount, AfterValidator(_positive)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Moment = Annotated[str, BeforeValidator(_moment)]
Opaque = Annotated[Any, AfterValidator(_opaque)]


class _Value(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    def as_json(self) -> dict[str, Any]:
        """The members as JSON has them, under Qerko's names; what is ``None`` is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Table(_Value):
    """A table of the restaurant (protocol section 5, C)."""

    id: Identifier
    name: Text
    area: Text | None = None
    store: Text | None = None


class BillItem(_Value):
    """One line of a bill; ``price`` is for one unit (A), ``min_quantity`` the smallest step a guest may pay (C)."""

    id: Identifier
    name: Text
    quantity: Quantity
    price: Amount
    min_quantity: Step | None = None
    tags: Sequence[Text] | None = None
    additional_data: Opaque = None


class BillDiscountOffer(_Value):
    """A discount that the owner offers on the whole bill (protocol section 5, C)."""

    name: Text
    percent: Quantity
    additional_data: Opaque = None


class Bill(_Value):
    """A bill and its items, all in one ISO 4217 ``currency`` (protocol section 5, D): what is still owed, or everything
    that was ordered, as ``BILL_ITEMS`` says.

    ``additional_data`` and the items' come back with the payment. ``created`` is a ``datetime`` with an
    offset, or ISO 8601. ``upcharges`` are passed through as they are, since nothing public describes them.
    """

    id: Identifier
    currency: Currency
    items: Sequence[BillItem]
    additional_data: Opaque = None
    allow_partial_payment: bool = True
    allow_tip: bool = True
    created: Moment | None = None
    deny_discounts: bool = False
    deny_menus: bool = False
    discount_offer: BillDiscountOffer | None = None
    name: Text | None = None
    upcharges: Sequence[Opaque] | None = None

    @model_validator(mode="after")
    def _items_are_distinct(self) -> Bill:
        identities = [item.id for item in self.items]
        if len(identities) != len(set(identities)):
            raise ValueError("two items of the bill have the same id, so a payment could not name one of them")
        return self


class ReceiptInfo(_Value):
    """The head and foot of a receipt (protocol section 5, C)."""

    bill_name: Text | None = None
    serial: Text | None = None
    cash_box: Text | None = None
    header_lines: Sequence[Text] = ()
    footer_lines: Sequence[Text] = ()
    waiter: Text | None = None
    timestamp: Moment | None = None


class ReceiptItem(_Value):
    """One line of a receipt; ``tax_name`` is the ``name`` of a ``TaxInfo`` (protocol section 5, C)."""

    name: Text
    price: Amount
    tax_name: Text
    quantity: Quantity


class TaxInfo(_Value):
    """What was taxed at one ``rate``: ``base`` and ``tax``, and ``price`` together (protocol section 5, C)."""

    rate: Amount
    base: Amount
    tax: Amount
    price: Amount | None = None
    name: Text | None = None


class Receipt(_Value):
    """The receipt of a payment (protocol section 5, C).

    With ``receipt_delivery_type="POSTPONED"`` Qerko asks again for up to 24 hours (D). ``final_price``
    may only be lower than what was asked (D).
    """

    receipt_info: ReceiptInfo
    items: Sequence[ReceiptItem]
    tax_info: Sequence[TaxInfo]
    fiscal_info: Opaque = None
    receipt_delivery_type: Literal["QERKO_GENERATED", "EMAIL", "POSTPONED"] = "QERKO_GENERATED"
    final_price: Quantity | None = None


class Json(_Value):
    """Any JSON, for events that have no structure of their own here."""

    value: Opaque

    def __init__(self, value: Any) -> None:
        BaseModel.__init__(self, value=value)


class Nothing(Enum):
    """The type of ``NOTHING``."""

    NOTHING = None

    def __repr__(self) -> str:
        return self.name


class Later(Enum):
    """The type of ``LATER``."""

    LATER = "LATER"

    def __repr__(self) -> str:
        return self.name


#: The answer ``null``.
NOTHING: Final = Nothing.NOTHING
#: No answer yet: the handler will say it with ``reply_later``, before the event's deadline.
LATER: Final = Later.LATER

Answer = Bill | Receipt | Json | Nothing | Sequence[Bill] | Sequence[Table]


def write(answer: Answer) -> bytes:
    """The JSON of an answer in UTF-8, as Qerko gets it.

    Raises TypeError for what is no answer.
    """
    return _bytes(_plain(answer))


def write_error(code: str | None, message: str) -> bytes:
    """The JSON of an error (protocol section 5, C); half surrogates become question marks."""
    return _bytes({"code": code and _whole(code), "message": _whole(message)})


def read_error(written: bytes) -> DomainError:
    """The refusal whose JSON ``write_error`` gave."""
    error = json.loads(written)
    return DomainError(error["code"], error["message"])


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _plain(answer: object) -> Any:
    match answer:
        case Nothing.NOTHING:
            return None
        case Json():
            return answer.value
        case _Value():
            return answer.as_json()
        case list() | tuple():
            return [_plain(member) for member in answer]
    raise TypeError(f"{answer!r} is no answer")


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

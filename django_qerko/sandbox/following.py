"""Say what Qerko would do next, after what came back to one delivery.

Each sentence stands whole in a table, so that it can be translated. Marks as in ``docs/protocol``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django_qerko.sandbox.conversation import Exchange, decode, text_of
from django_qerko.sandbox.reading import read
from django_qerko.sandbox.stories import POSTPONED

#: After a delivery that had to be turned away: it was, it was believed, or it was refused in another way.
_TURNED_AWAY: Final[Mapping[int, str]] = {
    401: "Right: this was forged, Qerko knows nothing of it, and nothing follows.",
    410: "Right: whoever plays an old delivery again gets nowhere, and nothing follows.",
}
_BELIEVED: Final[Mapping[int, str]] = {
    401: "Wrong: this was forged, and was believed. Anybody who knows the address can do the same.",
    410: "Wrong: a delivery that somebody recorded can be played again, as often as he likes.",
}
_REFUSED_OTHERWISE: Final[Mapping[int, str]] = {
    401: "It was not believed, but 401 is what a forged delivery gets. Nothing follows.",
    410: "It was not believed, but 410 is what a delivery outside its time window gets. Nothing follows.",
}
_NOT_ANSWERED: Final = "Nothing came back, so nobody knows whether it would have been turned away."

#: After an answer that Qerko can read (D, where nothing else is said).
_ANSWERED: Final[Mapping[str, str]] = {
    "getTableList": "The restaurant's staff pairs these tables with their QR codes.",
    "getTableContents": "The guest sees the bills of the table, and getBill follows when one is chosen.",
    "getBill": "The guest sees the bill and chooses what to pay and what to tip; then paymentStart follows.",
    "searchBills": "The guest sees the bills behind the code, and getBill follows when one is chosen.",
    "paymentStart": "The items are locked. The money moves, and paymentProcessed follows.",
    "paymentProcessed": "Qerko makes the receipt and e-mails it; paymentClosed with the state PAID follows.",
    "paymentClosed": "The payment is over. Only a postponed receipt is still asked for.",
    "getPostponedReceipt": "Qerko makes the receipt and e-mails it; nothing follows.",
}
#: After a receipt that is ``POSTPONED`` (D).
_POSTPONED: Final[Mapping[str, str]] = {
    "paymentProcessed": (
        "paymentClosed with the state PAID follows, and Qerko asks getPostponedReceipt again and again, with growing"
        " pauses, for up to 24 hours."
    ),
    "getPostponedReceipt": "Qerko asks again, with growing pauses, until 24 hours are over.",
}
#: After an error, silence, or an answer of which Qerko can make nothing (D for payments and receipts, A for the rest).
_FAILED: Final[Mapping[str, str]] = {
    "getTableList": "Qerko has no tables to pair with QR codes.",
    "getTableContents": "The guest sees no bill, and no payment begins.",
    "getBill": "The guest sees no bill, and no payment begins.",
    "searchBills": "The guest sees no bill, and no payment begins.",
    "paymentStart": (
        "The payment is cancelled: no money moves, and paymentClosed with a state that is not PAID follows."
    ),
    "paymentProcessed": (
        "The payment is cancelled: paymentClosed with a state that is not PAID follows, and fiscal records of it are"
        " undone."
    ),
    "paymentClosed": "The payment is over all the same. Whether Qerko tells it again is not public.",
    "getPostponedReceipt": "Qerko asks again, with growing pauses, until 24 hours are over.",
}
_NOT_PUBLIC: Final = "What Qerko does next is not public."

#: Before what follows on an error, where the status says more (S for 400 to 403, A for the rest).
_STATUSES: Final[Mapping[int | None, str]] = {
    None: "Qerko waits for 15 seconds; then the event is stale, as after an error.",
    400: "The point of sale did not understand the delivery.",
    401: "The point of sale took Qerko for a forger; every delivery ends like this until it has the right key.",
    404: "The point of sale knows no such address; Qerko calls the one in its administration.",
    410: "The point of sale took the delivery for one that is too old, or too new.",
    413: "The point of sale found the delivery too large.",
    500: "The point of sale broke.",
    503: "The point of sale could not do it now. Whether Qerko delivers it again is not public.",
}
_STALE: Final = "Right: the 15 seconds of this event were over, and Qerko waits for no answer any more."
_UNREADABLE: Final = "Qerko can make nothing of this answer."

#: After 202 (S for the reply and the 15 seconds, A for the rest).
_NOTED: Final = (
    "Qerko waits for /reply under the id of this event, until 15 seconds after it was created; several replies may"
    " come, and the first counts."
)
_THEN: Final[Mapping[str, str]] = {
    "paymentStart": (
        "A reply with null lets the money move. An error, or silence, cancels the payment, and paymentClosed with a"
        " state that is not PAID follows."
    ),
    "paymentProcessed": (
        "A reply with the receipt ends the payment as PAID. An error, or silence, cancels it, and paymentClosed with a"
        " state that is not PAID follows."
    ),
    "paymentClosed": "The payment is over, whatever the reply says.",
    "getPostponedReceipt": "Without a receipt Qerko asks again, with growing pauses, until 24 hours are over.",
}
_THEN_STALE: Final = "Without a reply in time the event is stale, as after an error."


def following(exchange: Exchange) -> tuple[str, ...]:
    """What Qerko would do next, in one or two sentences."""
    if exchange.expected != 200:
        return (_after_what_is_turned_away(exchange),)
    if exchange.status == 202:
        return _NOTED, _THEN.get(exchange.event, _THEN_STALE)
    if exchange.status == 200:
        return _after_an_answer(exchange)
    if exchange.status == 410 and exchange.is_stale:
        return _STALE, _after_failing(exchange)
    said = _STATUSES.get(exchange.status)
    return (said, _after_failing(exchange)) if said else (_after_failing(exchange),)


def _after_what_is_turned_away(exchange: Exchange) -> str:
    if exchange.status is None:
        return _NOT_ANSWERED
    if exchange.status == exchange.expected:
        return _TURNED_AWAY[exchange.expected]
    # A domain error comes from behind the door.
    is_believed = exchange.is_answered or exchange.status == 422
    return (_BELIEVED if is_believed else _REFUSED_OTHERWISE)[exchange.expected]


def _after_an_answer(exchange: Exchange) -> tuple[str, ...]:
    if not _is_readable(exchange):
        return _UNREADABLE, _after_failing(exchange)
    is_postponed = text_of(exchange.answer, "receiptDeliveryType") == POSTPONED
    said = _POSTPONED.get(exchange.event) if is_postponed else None
    return (said or _ANSWERED.get(exchange.event, _NOT_PUBLIC),)


def _is_readable(exchange: Exchange) -> bool:
    try:
        return not read(exchange.event, decode(exchange.response_body)).faults
    except ValueError:
        return False


def _after_failing(exchange: Exchange) -> str:
    return _FAILED.get(exchange.event, _NOT_PUBLIC)

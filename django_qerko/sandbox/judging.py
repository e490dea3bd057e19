"""Judge what a point of sale answered, at once or later, and name the section of the protocol that it violates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from django_qerko.sandbox.conversation import Exchange, Finding, decode, text_of
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.reading import WANTED, numbers, read
from django_qerko.sandbox.replies import Letter

#: Of one answer no more than this many findings of a kind are told.
MOST: Final = 5

#: Protocol section 3 (S for 200, 202 and 400 to 403, A for the others).
_STATUSES: Final = {200, 202, 400, 401, 404, 410, 413, 422, 500, 503}
_GENERAL_CODES: Final = {
    "ACCESS_DENIED",
    "BAD_PARAMETER",
    "BAD_PAYLOAD",
    "NO_SUCH_METHOD",
    "NOT_FOUND",
    "TIME_LIMIT_EXPIRED",
    "UNAUTHORIZED",
}
_OWN_CODES: Final[Mapping[str, set[str]]] = {
    "getBill": {"BILL_CLOSED", "BILL_NOT_FOUND"},
    "searchBills": {"QR_INVALID"},
    # Why a payment is refused at its start, among other things (protocol section 5, A).
    "paymentStart": {"BILL_CLOSED", "BILL_NOT_FOUND"},
}
#: What answers a genuine delivery: data, a promise, or an error of the domain; 410 where it was stale.
_DESERVED: Final = {200, 202, 410, 422}
_BELIEVED: Final[Mapping[int, Judgement]] = {
    401: Judgement.FORGERY_BELIEVED,
    410: Judgement.OUTSIDE_WINDOW_BELIEVED,
}
_TURNED_AWAY: Final[Mapping[int | None, Judgement]] = {
    401: Judgement.GENUINE_TAKEN_FOR_FORGED,
    410: Judgement.GENUINE_TAKEN_FOR_OLD,
}


def judge(exchange: Exchange) -> tuple[Finding, ...]:
    """Every violation of one exchange, the gravest first. A point of sale that gave no answer is only silent.

    Where Qerko itself hung up, there is nothing to judge.
    """
    if exchange.is_cut:
        return ()
    if exchange.status is None:
        return (Judgement.SILENCE(why=exchange.error),)
    return tuple(finding for rule in _RULES for finding in rule(exchange))


def is_deserved(exchange: Exchange) -> bool:
    """Whether a delivery was answered as it deserves: without a violation, and, if it was genuine, with an answer."""
    return not exchange.findings and (exchange.expected != 200 or exchange.status in _DESERVED)


def judge_letter(letter: Letter) -> tuple[Finding, ...]:
    """Every violation in an answer that came through ``/reply``; the letter itself could be read."""
    if letter.is_error:
        return (*_error_form(letter.answer), *_error_code(letter.event, text_of(letter.answer, "code")))
    return (*_answer_form(letter.event, letter.answer), *_answer_amounts(letter.event, letter.answer))


def _seal(exchange: Exchange) -> Iterator[Finding]:
    """A signature that does not match is 401, a time window that is not now 410 (D); so is a stale question (A)."""
    status, expected = exchange.status, exchange.expected
    if status == expected or (status == 410 and exchange.is_stale):
        return
    if expected in _BELIEVED:
        yield _BELIEVED[expected](status=status)
    elif status in _TURNED_AWAY:
        yield _TURNED_AWAY[status]()


def _status(exchange: Exchange) -> Iterator[Finding]:
    if exchange.status not in _STATUSES:
        yield Judgement.UNKNOWN_STATUS(status=exchange.status)


def _json(exchange: Exchange) -> Iterator[Finding]:
    """The body of a 202 is nobody's business: the answer comes later."""
    if exchange.status == 202:
        return
    try:
        decode(exchange.response_body)
    except ValueError as error:
        yield Judgement.NO_JSON(why=error)


def _error(exchange: Exchange) -> Iterator[Finding]:
    if not exchange.is_answered and not _is_no_json(exchange):
        yield from _error_form(exchange.answer)


def _code(exchange: Exchange) -> Iterator[Finding]:
    if exchange.status == 422:
        yield from _error_code(exchange.event, exchange.error_code)


def _structure(exchange: Exchange) -> Iterator[Finding]:
    if exchange.status == 200 and not _is_no_json(exchange):
        yield from _answer_form(exchange.event, exchange.answer)


def _amounts(exchange: Exchange) -> Iterator[Finding]:
    if exchange.status == 200:
        yield from _answer_amounts(exchange.event, exchange.answer)


def _error_form(said: Any) -> Iterator[Finding]:
    """An error has a code, which may be null, and a message (C)."""
    if not isinstance(said, dict) or not isinstance(said.get("message"), str) or not _is_code(said.get("code")):
        yield Judgement.ERROR_FORM()


def _error_code(event: str, code: str | None) -> Iterator[Finding]:
    if code and event in WANTED and code not in _GENERAL_CODES | _OWN_CODES.get(event, set()):
        yield Judgement.UNKNOWN_CODE(event=event, code=code)


def _answer_form(event: str, answer: Any) -> Iterator[Finding]:
    for fault in read(event, answer).faults[:MOST]:
        yield Judgement.ANSWER_FORM(fault=fault)


def _answer_amounts(event: str, answer: Any) -> Iterator[Finding]:
    if event in WANTED:
        for place in [*numbers(answer)][:MOST]:
            yield Judgement.AMOUNT_AS_NUMBER(place=place)


def _is_code(code: Any) -> bool:
    return code is None or isinstance(code, str)


def _is_no_json(exchange: Exchange) -> bool:
    return any(True for _ in _json(exchange))


_RULES: Final[tuple[Callable[[Exchange], Iterator[Finding]], ...]] = (
    _seal,
    _status,
    _json,
    _error,
    _code,
    _structure,
    _amounts,
)

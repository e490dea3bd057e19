"""Qerko's own API, as far as a point of sale may call it here (protocol section 3)."""

from __future__ import annotations

import hmac
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Final, TypeAlias

from django.http import HttpResponse

from django_qerko.keys import ApiKey
from django_qerko.sandbox import rendering
from django_qerko.sandbox.conversation import PointOfSale, decode, text_of
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.payments import PAID, Payment
from django_qerko.sandbox.replies import MAX_LETTER
from django_qerko.sandbox.request import LINE, SandboxRequest

#: Restaurants with their numbers.
_Known: TypeAlias = Sequence[tuple[int, PointOfSale]]

_SCHEME: Final = "bearer"
#: The beginning of an answer that never comes to its end.
_HALF: Final = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"'
#: Why a reply is not taken: 400 is S, the others are A.
_REFUSALS: Final[Mapping[int, tuple[str | None, str]]] = {
    400: ("BAD_PAYLOAD", "That is no reply to this event."),
    404: ("NOT_FOUND", "No event of this id waits for a reply."),
    410: ("TIME_LIMIT_EXPIRED", "The reply is too late."),
    503: (None, "Qerko is busy."),
}


def _for_restaurants(
    view: Callable[[SandboxRequest, _Known], HttpResponse],
) -> Callable[[SandboxRequest], HttpResponse]:
    """Give a view the restaurants whose API key is the bearer token; there are several where they share one.

    The Pos-Id may be any UUID, as in Qerko's sandbox (D).
    """

    @wraps(view)
    def guarded(request: SandboxRequest) -> HttpResponse:
        if request.method != "POST":
            return rendering.error(405, "NO_SUCH_METHOD", "This is asked with POST.")
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        known = [
            (number, pos)
            for number, pos in enumerate(request.sandbox.points_of_sale, start=1)
            if scheme.lower() == _SCHEME and _is_key(pos.api_key, token.strip())
        ]
        if not known or not _is_uuid(request.META.get("HTTP_POS_ID", "")):
            finding = Judgement.NO_POS_ID() if known else Judgement.UNKNOWN_KEY()
            request.sandbox.qerko.note_call(request.path_info, 401, finding)
            return rendering.error(401, "UNAUTHORIZED", "The API key is wrong, or the Pos-Id is no UUID.")
        response = view(request, known)
        request.sandbox.qerko.misbehaviour.take_time()
        return response

    return guarded


def _noted(
    view: Callable[[SandboxRequest, _Known], HttpResponse],
) -> Callable[[SandboxRequest, _Known], HttpResponse]:
    """Have it told in the conversation that a view was asked."""

    @wraps(view)
    def noted(request: SandboxRequest, known: _Known) -> HttpResponse:
        response = view(request, known)
        findings = [Judgement.NO_PAYMENT_ID()] if response.status_code == 400 else []
        request.sandbox.qerko.note_call(request.path_info, response.status_code, *findings, pos=_first(known))
        return response

    return noted


def _now_and_then(
    view: Callable[[SandboxRequest, _Known], HttpResponse],
) -> Callable[[SandboxRequest, _Known], HttpResponse]:
    """Have a view fail, and its connection cut, as often as a bad Qerko does."""

    @wraps(view)
    def moody(request: SandboxRequest, known: _Known) -> HttpResponse:
        misbehaviour = request.sandbox.qerko.misbehaviour
        if misbehaviour.fails():
            return rendering.error(503, *_REFUSALS[503])
        response = view(request, known)
        if misbehaviour.cuts():
            _hang_up(request)
        return response

    return moody


def _hang_up(request: SandboxRequest) -> None:
    """Cut the connection, before the answer or in the midst of it; what is written to it then goes nowhere."""
    line: socket.socket = request.META[LINE]
    with suppress(OSError):
        if request.sandbox.qerko.misbehaviour.is_halfway():
            line.sendall(_HALF)
        line.shutdown(socket.SHUT_RDWR)


@_for_restaurants
@_noted
@_now_and_then
def who_am_i(request: SandboxRequest, known: _Known) -> HttpResponse:
    """The restaurants of the key (C for the method, A for the path)."""
    embroidered = request.sandbox.qerko.misbehaviour.embroidered
    return rendering.document(embroidered([{"id": str(number), "name": pos.name} for number, pos in known]))


@_for_restaurants
def reply(request: SandboxRequest, known: _Known) -> HttpResponse:
    """The answer to an event that was answered 202 (S for name and purpose, A for the rest)."""
    taken = request.sandbox.qerko.take_reply(_first(known), _body(request))
    if taken.is_cut:
        _hang_up(request)
    if taken.is_taken:
        return rendering.document(None)
    return rendering.error(taken.status, *_REFUSALS[taken.status])


def _for_payment(view: Callable[[SandboxRequest, Payment], HttpResponse]) -> Callable[[SandboxRequest], HttpResponse]:
    """Give a view the payment that the body names; 404 where this restaurant has none (A)."""

    @_for_restaurants
    @_noted
    @_now_and_then
    @wraps(view)
    def guarded(request: SandboxRequest, known: _Known) -> HttpResponse:
        payment_id = _payment_id(_body(request))
        if payment_id is None:
            return rendering.error(400, "BAD_PAYLOAD", 'The body is {"paymentId": a string}.')
        payment = request.sandbox.qerko.find_payment(_first(known), payment_id)
        if payment is None:
            return rendering.error(404, "NOT_FOUND", "There is no such payment.")
        return view(request, payment)

    return guarded


@_for_payment
def get_payment(request: SandboxRequest, payment: Payment) -> HttpResponse:
    """A payment as it is now (D for name and field, A for the verb)."""
    return rendering.document(request.sandbox.qerko.misbehaviour.embroidered(payment.as_json()))


@_for_payment
def cancel_payment(request: SandboxRequest, payment: Payment) -> HttpResponse:
    """Cancel a payment, unless it is paid already: 409 (D for the existence, A for the rest)."""
    if request.sandbox.qerko.cancel_payment(payment).state == PAID:
        return rendering.error(409, None, "The payment is paid already.")
    return rendering.document(None)


def _first(known: _Known) -> PointOfSale:
    return known[0][1]


def _body(request: SandboxRequest) -> bytes:
    """Not ``request.body``, whose size a setting of the project limits; one byte more than is read of a letter."""
    return request.read(MAX_LETTER + 1)


def _payment_id(body: bytes) -> str | None:
    try:
        return text_of(decode(body), "paymentId")
    except ValueError:
        return None


def _is_key(api_key: ApiKey, token: str) -> bool:
    return hmac.compare_digest(api_key.reveal().encode(), token.encode())


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False

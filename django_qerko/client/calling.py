"""Say what we have to say to Qerko, and judge what it says to that."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import responses
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from django_qerko import events
from django_qerko.client import exchange
from django_qerko.client.wire import Place
from django_qerko.conf import conf
from django_qerko.exceptions import CallFailed, Malformed, Refused, Unconfirmed
from django_qerko.keys import ApiKey

log: Final = logging.getLogger(__name__)

#: Where Qerko listens, under ``BASE_URL`` (protocol section 3): S for ``reply``, D for the name of ``get-payment``, A
#: for the other paths and for the verb, which is always POST.
_REPLY: Final = "/reply"
_GET_PAYMENT: Final = "/get-payment"
_CANCEL_PAYMENT: Final = "/cancel-payment"
_WHO_AM_I: Final = "/who-am-i"

#: The only 4xx that may be another status later (protocol section 3, A). Any other says that the request itself is at
#: fault, and it would be the same again; a 3xx leads to where our bearer does not go.
_PASSING: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class QerkoRestaurant:
    """A restaurant as Qerko knows it."""

    id: str
    name: str


class QerkoClient:
    """Calls Qerko with the key of one restaurant, from any thread and process; connections are shared.

    Every call ends by its ``deadline``, a moment of ``time.monotonic()``, and after ``HTTP_TIMEOUT`` at the latest: the
    first of its seconds to resolve the name, connect and greet (TLS), the second for everything else. What is cut short
    is torn down, so that no byte leaves later. Every call may raise ImproperlyConfigured where ``BASE_URL`` or
    ``POS_ID`` is missing or malformed, and of ``CallFailed``

    * NotSent: no byte of the request left,
    * Unconfirmed: some did, and Qerko did not confirm it, or said that it may work later (408, 425, 429, 5xx); its
      status is None where none was heard, or a number that is none (600 and more),
    * Refused: Qerko said no for good (every other 4xx), or pointed elsewhere (3xx).

    Raises ValueError where ``api_key`` cannot stand in a header.
    """

    __slots__ = ("_key",)

    def __init__(self, api_key: ApiKey | str) -> None:
        try:
            self._key = api_key if isinstance(api_key, ApiKey) else ApiKey(api_key)
        finally:
            del api_key  # Django's error page shows the local variables of a traceback

    def __repr__(self) -> str:
        return f"<QerkoClient {self._key.shown}>"

    def reply(
        self,
        event_id: str,
        event: str,
        *,
        result: bytes | None = None,
        error: bytes | None = None,
        deadline: float | None = None,
    ) -> int:
        """Say the answer to an event that was answered 202, and give the 2xx with which Qerko took it.

        Either ``result`` or ``error`` is JSON as ``answers.write`` and ``answers.write_error`` make it, and leaves as
        it is. Raises TypeError for both or neither.
        """
        return self._call(_REPLY, _envelope(event_id, event, result, error), deadline).status

    def get_payment(self, payment_id: str, *, deadline: float | None = None) -> events.Payment:
        """Ask what became of a payment.

        Raises Refused with status 404 where Qerko knows none of this id, and Unconfirmed where it tells less than a
        whole payment.
        """
        heard = self._call(_GET_PAYMENT, _json({"paymentId": payment_id}), deadline)
        payment = _whole(_read(heard))
        if payment is None or payment.id != payment_id:
            raise Unconfirmed("The answer is not this payment.", status=heard.status)
        return payment

    def get_payment_as_told(
        self, payment_id: str, *, deadline: float | None = None
    ) -> tuple[events.Payment | None, dict[str, Any]]:
        """The same, with the JSON as it came, its numbers as ``Decimal``, or that alone where it is not whole.

        No member of a payment is known to be required (protocol section 5): a ``state``, and no other payment's
        ``id``, say what became of it.
        """
        heard = self._call(_GET_PAYMENT, _json({"paymentId": payment_id}), deadline)
        document = _read(heard)
        payment, state = _whole(document), document.get("state")
        if document.get("id") not in (None, payment_id) or not (payment or (isinstance(state, str) and state)):
            raise Unconfirmed("The answer is not this payment.", status=heard.status)
        return payment, document

    def cancel_payment(self, payment_id: str, *, deadline: float | None = None) -> None:
        """Ask Qerko to cancel a payment. Taken does not mean cancelled: ask afterwards what became of it."""
        self._call(_CANCEL_PAYMENT, _json({"paymentId": payment_id}), deadline)

    def who_am_i(self, *, deadline: float | None = None) -> list[QerkoRestaurant]:
        """Ask which restaurants the key belongs to."""
        heard = self._call(_WHO_AM_I, _json({}), deadline)
        # Framed, because a document is an object, and reading one knows every trap of a stranger's JSON.
        members = _read(heard, frame=b'{"restaurants":%b}')["restaurants"]
        if isinstance(members, list):
            with suppress(KeyError, TypeError):
                return [QerkoRestaurant(id=str(member["id"]), name=str(member["name"])) for member in members]
        raise Unconfirmed("The answer is no list of restaurants.", status=heard.status)

    def _call(self, path: str, document: bytes, deadline: float | None) -> exchange.Heard:
        place, base = _address()
        headers = self._headers(_pos_id())
        started = time.monotonic()
        try:
            heard = exchange.post(
                place,
                f"{base}{path}",
                headers,
                document,
                patience=conf.HTTP_TIMEOUT,
                deadline=math.inf if deadline is None else deadline,
            )
            _judge(heard.status)
        except CallFailed as failure:
            _tell(path, started, failure.reason)
            raise
        _tell(path, started, _named(heard.status))
        return heard

    def _headers(self, pos_id: str) -> Iterator[tuple[str, str]]:
        """Made as they leave, so that no frame of ours holds the bearer (protocol section 1, S and D)."""
        yield "Authorization", f"Bearer {self._key.reveal()}"
        yield "Pos-Id", pos_id
        yield "Content-Type", "application/json"
        yield "Accept", "application/json"
        yield "User-Agent", "django-qerko"


def _envelope(event_id: str, event: str, result: bytes | None, error: bytes | None) -> bytes:
    """The body of ``/reply`` (protocol section 3, A)."""
    match result, error:
        case bytes(), None:
            name, said = b"result", result
        case None, bytes():
            name, said = b"error", error
        case _:
            raise TypeError("A reply is either a result or an error, as bytes.")
    return b'{"id":%b,"event":%b,"%b":%b}' % (_json(event_id), _json(event), name, said)


def _judge(status: int) -> None:
    """Raises what a status means that is not 2xx (protocol section 3, S for 400, 401 and 403, A for the rest)."""
    if 200 <= status < 300:
        return
    if status > 599:
        # http.client takes any three digits; HTTP knows five classes (RFC 9110, section 15).
        raise Unconfirmed(f"{status} is no status of HTTP.")
    if 300 <= status < 500 and status not in _PASSING:
        raise Refused(_named(status), status=status)
    raise Unconfirmed(_named(status), status=status)


def _named(status: int) -> str:
    """A status in the words of the standard: Qerko's own may be anybody's."""
    return f"{status} {responses.get(status, '')}".strip()


def _tell(path: str, started: float, outcome: str) -> None:
    log.debug("POST %s: %s, after %.0f ms", path, outcome, 1000 * (time.monotonic() - started))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _read(heard: exchange.Heard, *, frame: bytes = b"%b") -> dict[str, Any]:
    if heard.body is None:
        raise Unconfirmed("The answer is too long to be read.", status=heard.status)
    try:
        return events.read_document(frame % heard.body)
    except Malformed as error:
        reason = error.finding
    raise Unconfirmed(reason, status=heard.status)


def _whole(document: dict[str, Any]) -> events.Payment | None:
    with suppress(ValueError):
        return events.Payment.model_validate(document)
    return None


def _address() -> tuple[Place, str]:
    """Where Qerko is, and the path under which it listens."""
    with suppress(ValueError):
        parts = urlsplit(conf.BASE_URL or "")
        return Place.of(parts), parts.path
    raise ImproperlyConfigured('QERKO["BASE_URL"] is missing or no address, so nothing can be said to Qerko.')


def _pos_id() -> str:
    if isinstance(conf.POS_ID, str) and conf.POS_ID:
        return conf.POS_ID
    raise ImproperlyConfigured('QERKO["POS_ID"] is missing, and Qerko takes nothing without it.')

"""Write a signed delivery for a restaurant, to be sent by whatever client a test has."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from django.conf import settings

from django_qerko.conf import conf
from django_qerko.models import Restaurant
from django_qerko.sandbox.signing import SignedDelivery, envelope, event_address, sign
from django_qerko.signatures import SCHEMES
from django_qerko.testing.payloads import make_payload

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def make_delivery(
    restaurant: Restaurant,
    event: str,
    data: Any = ...,
    *,
    origin: str | None = None,
    event_id: str | None = None,
    age: float = 0.0,
    lifetime: float = 60.0,
    schemes: Sequence[str] = SCHEMES,
    tamper: str | None = None,
    url_per_event: bool = False,
    extra: Mapping[str, Any] = _NOTHING,
    **members: Any,
) -> SignedDelivery:
    """The ``url``, ``headers`` and ``body`` of one delivery, as Qerko would write it.

    ``data`` is the event's, whole; without it, what ``make_payload`` makes of ``members``. ``origin`` is scheme and
    host that are called, by default those that Django's test client has. It was created ``age`` seconds ago and lives
    for ``lifetime`` seconds. ``tamper`` is one of ``django_qerko.sandbox.signing.TAMPERINGS`` and makes a forgery;
    ``extra`` are members of the envelope that nobody knows.

    Raises ValueError for a tampering or scheme that nobody knows, and for a restaurant without a key that can be read.
    """
    created = int(time.time() - age)
    address = f"{called_origin() if origin is None else origin.rstrip('/')}{restaurant.webhook_path}"
    body = envelope(
        event=None if url_per_event else event,
        event_id=event_id or str(uuid.uuid4()),
        data=make_payload(event, **members) if data is ... else data,
        created=created,
        expires=int(created + lifetime),
        extra=extra,
    )
    return sign(
        event_address(address, event) if url_per_event else address,
        body,
        restaurant.api_key,
        created=created,
        expires=int(created + lifetime),
        schemes=schemes,
        tamper=tamper,
    )


def called_origin() -> str:
    """What Qerko calls in a test: ``PUBLIC_URL``, or the host of Django's test client."""
    return conf.PUBLIC_URL or f"{'https' if settings.SECURE_SSL_REDIRECT else 'http'}://testserver"

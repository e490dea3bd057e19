"""Let Qerko in, in DRF's language: is it Qerko, and is it in time?"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from django_qerko import signatures
from django_qerko.conf import conf
from django_qerko.events import read_document
from django_qerko.exceptions import Forged, Rejection, UnknownRestaurant
from django_qerko.models import Restaurant
from django_qerko.receiving.keyring import LOOKED_AGAIN_AFTER, Door, keyring
from django_qerko.receiving.reading import kept_headers, read_body, signed_request
from django_qerko.receiving.rejections import rejected_at

CHALLENGE: Final = "Signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery whose signature and time window hold; what it says is not judged yet."""

    restaurant: Restaurant
    body: bytes
    document: dict[str, Any]
    headers: dict[str, str]
    received_at: datetime
    deadline_at: datetime


class QerkoAuthentication(BaseAuthentication):
    """Verifies a delivery and gives it as ``request.auth``.

    ``request.user`` stays what the host made of it: Qerko is no user. Raises UnknownRestaurant (404), TooLarge
    (413), Forged (401), Malformed (400) and OutOfWindow (410), in this order (protocol section 2).
    """

    def authenticate(self, request: Request) -> tuple[Any, Delivery]:
        raw: HttpRequest = request._request
        route = request.parser_context["kwargs"]
        received = time.time()
        try:
            body = read_body(raw)
        except Rejection as rejection:
            rejection.restaurant = _door(route.get("token")).restaurant
            raise
        if "address" in route:
            raise UnknownRestaurant("unknown_address", "This address under the webhook's is nobody's")
        door = _door(route.get("token"))
        with rejected_at(door.restaurant, body, received=received):
            # A body may take its time, so the window is judged by the clock after it, and not before.
            delivery = _let_in(raw, door, body, received=received, now=time.time())
        return getattr(raw, "user", None), delivery

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def _door(token: uuid.UUID | None) -> Door:
    """What listens at an address; where nobody does, the row is looked at again, at most once a second."""
    door = keyring.door(token)
    return door if door.restaurant else keyring.door(token, not_older_than=LOOKED_AGAIN_AFTER)


def _let_in(raw: HttpRequest, door: Door, body: bytes, *, received: float, now: float) -> Delivery:
    if door.restaurant is None:
        raise UnknownRestaurant("unknown_restaurant", "No restaurant, or not exactly one, listens at this address")
    seal, restaurant, key = _verify(signed_request(raw, body), door)
    document = read_document(body)
    windows = seal.windows or [signatures.body_window(document.get("created"), document.get("expires"))]
    window = signatures.judge_windows(windows, now=now, skew=conf.CLOCK_SKEW.total_seconds())
    since = received if window.created is None else min(window.created, received)
    received_at = _moment(received)
    keyring.note_use(key, received_at)
    return Delivery(
        restaurant=restaurant,
        body=body,
        document=document,
        headers=kept_headers(raw),
        received_at=received_at,
        deadline_at=_moment(since) + conf.REPLY_DEADLINE,
    )


_Verified: TypeAlias = tuple[signatures.Seal, Restaurant, int]


def _verify(signed: signatures.SignedRequest, door: Door) -> _Verified:
    """Verify under the keys that are remembered and, where that fails, under those of this second."""
    try:
        return _verify_at(signed, door)
    except Forged:
        fresh = keyring.door(door.token, not_older_than=LOOKED_AGAIN_AFTER)
        if fresh == door:
            raise
        return _verify_at(signed, fresh)


def _verify_at(signed: signatures.SignedRequest, door: Door) -> _Verified:
    seal = signatures.verify(signed, [key.mac for _, key in door.keys], schemes=conf.SIGNATURE_SCHEMES)
    # Whoever has keys is there: a door without a restaurant has none, and nothing verifies under none.
    return seal, cast(Restaurant, door.restaurant), door.keys[seal.key][0]


def _moment(unix: float) -> datetime:
    """A moment of Unix time as the database keeps it, with or without ``USE_TZ``."""
    aware = datetime.fromtimestamp(unix, tz=UTC)
    return aware if settings.USE_TZ else timezone.make_naive(aware)

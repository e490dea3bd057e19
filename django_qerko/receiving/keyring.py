"""Remember for a few seconds which restaurant listens at an address, and its keys."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import router

from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant, RestaurantKey

log: Final = logging.getLogger(__name__)

#: A key that was taken away is refused after this many seconds at the latest, in every process.
TRUSTED_FOR: Final = 5.0
#: A verification that fails looks at the row again, this many seconds apart.
LOOKED_AGAIN_AFTER: Final = 1.0
#: Addresses remembered at once: a stranger who tries many must not fill the memory.
ADDRESSES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What is known of one address: the restaurant that listens there, if any, and its readable keys."""

    token: uuid.UUID | None
    restaurant: Restaurant | None
    keys: tuple[tuple[int, ApiKey], ...] = ()
    read_at: float = field(compare=False)


class Keyring:
    """The doors of this process. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._doors: OrderedDict[uuid.UUID | None, Door] = OrderedDict()
        self._used: dict[int, datetime] = {}

    def door(self, token: uuid.UUID | None, *, not_older_than: float = TRUSTED_FOR) -> Door:
        """What listens at this address (``None``: at the address without one), read anew where it is too old."""
        now = self._clock()
        with self._lock:
            known = self._doors.get(token)
        if known is not None and now - known.read_at < not_older_than:
            return known
        door = _read(token, now)
        with self._lock:
            self._doors[token] = door
            self._doors.move_to_end(token)
            while len(self._doors) > ADDRESSES:
                self._doors.popitem(last=False)
        return door

    def note_use(self, key: int, at: datetime) -> None:
        """Keep the moment of a key's use, to the minute."""
        minute = at.replace(second=0, microsecond=0)
        if self._used.get(key) != minute:
            self._used[key] = minute
            RestaurantKey.objects.filter(pk=key).note_use(at)

    def forget(self, **_: Any) -> None:
        """Forget everything; connected to changes of restaurants and keys in this process."""
        with self._lock:
            self._doors.clear()
            self._used.clear()


def _read(token: uuid.UUID | None, now: float) -> Door:
    """Read where it is written: a replica that lags would go on trusting a key that was taken away."""
    restaurants = Restaurant.objects.using(router.db_for_write(Restaurant))
    keys = RestaurantKey.objects.using(router.db_for_write(RestaurantKey))
    restaurant = restaurants.only_one() if token is None else None
    address = restaurant.webhook_token if restaurant else token
    rows = list(keys.opening(address)) if address else []
    if rows:
        restaurant = rows[0].restaurant
    elif token is not None:
        restaurant = restaurants.filter(webhook_token=token).first()
    return Door(token=token, restaurant=restaurant, keys=tuple(_readable(rows)), read_at=now)


def _readable(rows: list[RestaurantKey]) -> list[tuple[int, ApiKey]]:
    readable = []
    for row in rows:
        try:
            readable.append((row.pk, row.api_key))
        except ValueError as error:
            log.error("Key %s of %s is left out: %s", row.pk, row.restaurant, error)
    return readable


keyring: Final = Keyring()

"""Ask Qerko what became of a payment, with the key of its restaurant and under one clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

from django.core.exceptions import ImproperlyConfigured

from django_qerko.client import QerkoClient
from django_qerko.conf import conf
from django_qerko.exceptions import CallFailed, NotSent, Refused
from django_qerko.models import Restaurant
from django_qerko.models.kept import printable
from django_qerko.tending.weighing import Heard

log: Final = logging.getLogger(__name__)

#: Whoever rings may have another machine's clock than whoever hears it.
SKEW: Final = timedelta(seconds=1)

_Said = TypeVar("_Said")


def ask(restaurant: Restaurant, payment_id: str) -> Heard:
    """What Qerko says of a payment. Raises CallFailed where it says nothing of it."""
    try:
        return _call(restaurant, lambda qerko, deadline: _look_up(qerko, payment_id, deadline))
    except Refused as refused:
        if refused.status == 404:
            return Heard()
        raise


def cancel(restaurant: Restaurant, payment_id: str) -> bool:
    """Ask Qerko to cancel a payment; whether it took that. What it did not confirm, it may have done."""
    try:
        _call(restaurant, lambda qerko, deadline: qerko.cancel_payment(payment_id, deadline=deadline))
    except CallFailed as failure:
        log.warning(
            "Qerko did not take that payment %s of %s be cancelled: %s",
            printable(payment_id),
            restaurant,
            failure.reason,
        )
        return False
    return True


def _look_up(qerko: QerkoClient, payment_id: str, deadline: float) -> Heard:
    told, document = qerko.get_payment_as_told(payment_id, deadline=deadline)
    return Heard(told=told, document=document)


def _call(restaurant: Restaurant, say: Callable[[QerkoClient, float], _Said]) -> _Said:
    deadline = time.monotonic() + sum(conf.HTTP_TIMEOUT)
    try:
        return say(QerkoClient(restaurant.api_key), deadline)
    except CallFailed as failure:
        if failure.status in (401, 403):
            log.error("Qerko refuses the API key or the Pos-Id of %s with %d", restaurant, failure.status)
        raise
    except (ImproperlyConfigured, ValueError) as error:
        # No address, no Pos-Id, no readable key: another question may find it mended.
        log.error("Nothing could be asked of Qerko for %s: %s", restaurant, error)
        raise NotSent(str(error)) from error

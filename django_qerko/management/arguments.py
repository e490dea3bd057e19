"""Read what a person types after a command."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from django_qerko.models import Restaurant
from django_qerko.sandbox.arguments import address, api_key, patience, port

#: What the sandbox reads the same way.
__all__ = [
    "address",
    "api_key",
    "moment",
    "patience",
    "port",
    "positive",
    "restaurant",
    "seconds",
]

_SPAN: Final = re.compile(r"([0-9]{1,9})([smhdw])")
#: Some thirty years: a calendar goes that far in both directions.
_LONGEST: Final = 1e9
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """A moment: a span before now such as ``90s``, ``15m``, ``2h``, ``1d``, ``1w``, or a time in ISO 8601.

    A time without an offset is one of the project's time zone.
    """
    try:
        if span := _SPAN.fullmatch(text):
            return timezone.now() - timedelta(**{_UNITS[span[2]]: int(span[1])})
        return _in_the_books_zone(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ArgumentTypeError("neither a span such as 15m, 2h or 1d, nor a time in ISO 8601") from None


def restaurant(name: str) -> Restaurant:
    """The restaurant of this name. Raises CommandError where there is none."""
    try:
        return Restaurant.objects.get(name=name)
    except Restaurant.DoesNotExist:
        raise CommandError(f"There is no restaurant {name}; qerko_restaurant list shows all.") from None


def positive(text: str) -> int:
    """A whole number above zero."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError("not a whole number above zero")
    return number


def seconds(text: str) -> float:
    """Seconds before or after something, with or without a fraction."""
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not abs(number) <= _LONGEST:
        raise ArgumentTypeError("not a number of seconds")
    return number


def _in_the_books_zone(time: datetime) -> datetime:
    """As the database keeps it, with or without ``USE_TZ``."""
    if timezone.is_aware(time) == settings.USE_TZ:
        return time
    return timezone.make_aware(time) if settings.USE_TZ else timezone.make_naive(time)

"""Find a delivery that was turned away by its id, and put in words what was kept of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from django_qerko.conf import conf
from django_qerko.models import Rejection, RestaurantKey, WebhookEvent
from django_qerko.receiving.explaining.causes import CURES, Cause
from django_qerko.receiving.explaining.window import compare_ages
from django_qerko.tending import legible
from django_qerko.tending.timeline import when

#: Deliveries that were accepted so long before or after one that was late tell whether the clock is right.
AROUND: Final = timedelta(minutes=15)
_COMPARED: Final = 500
_ID: Final = re.compile(r"([0-9]{1,18})(?:-[0-9a-z]{1,8})?")


def latest(limit: int) -> Iterator[tuple[str, ...]]:
    """The latest samples: id, moment, reason, restaurant, and why in a word or in the finding's."""
    for rejection in Rejection.objects.select_related("restaurant").order_by("-last_at", "-pk")[:limit]:
        names = list(rejection.named_samples.items()) or [(str(rejection.pk), {})]
        for name, sample in reversed(names):
            causes = ", ".join(cause.name for cause in causes_of(rejection, sample))
            told = causes or sample.get("finding", "")
            yield name, when(rejection.last_at), rejection.reason, str(rejection.restaurant or ""), told


def known(known_as: str) -> tuple[Rejection, dict[str, dict[str, Any]]]:
    """A rejection and its samples; or one of them. Raises CommandError where there is none."""
    match = _ID.fullmatch(known_as)
    rejection = Rejection.objects.select_related("restaurant").filter(pk=match[1]).first() if match else None
    if rejection is None:
        asked = legible.line(known_as)
        raise CommandError(f"There is no rejection {asked}; without an id the latest are listed.", returncode=2)
    samples = rejection.named_samples
    if known_as == str(rejection.pk):
        return rejection, samples
    if known_as not in samples:
        told = f"The sample {known_as} has given way to newer ones: {', '.join(samples)}."
        raise CommandError(told, returncode=2)
    return rejection, {known_as: samples[known_as]}


def causes_of(rejection: Rejection, sample: dict[str, Any]) -> list[Cause]:
    """What was found while the whole delivery was there; else what the reason itself says."""
    if "causes" in sample:
        return [Cause.from_json(cause) for cause in sample["causes"]]
    if rejection.reason in CURES:
        return [Cause(name=rejection.reason, told=sample.get("finding", ""))]
    return []


def facts(sample: dict[str, Any]) -> Iterator[str]:
    """What was kept of it."""
    yield sample.get("finding", "No finding was kept.")
    if "body_length" in sample:
        yield f"body: {sample['body_length']} bytes, SHA-256 {sample['body_sha256']}"
        yield f"headers: {', '.join(sample['header_lengths'])}"


def compared(sample: dict[str, Any]) -> Iterator[str]:
    """What other deliveries of that time say about one that came too late."""
    if any(cause["cause"] == "expired" for cause in sample.get("causes", ())):
        window = sample["window"]
        yield compare_ages(window["judged"] - window["created"], _ages(_moment(window["judged"])))


def told(cause: Cause) -> str:
    """The cause in a sentence, with the last four characters of the key that it is about."""
    if cause.key is None:
        return cause.told
    row = RestaurantKey.objects.select_related("restaurant").filter(pk=cause.key).first()
    return f"{cause.told} {f'It is {row.shown} of {row.restaurant}.' if row else 'That key is gone by now.'}"


def _ages(moment: datetime) -> list[float]:
    """How long after they were created deliveries came that were accepted around this moment.

    The deadline of a record is counted from there, where that was before it arrived.
    """
    times = WebhookEvent.objects.received_since(moment - AROUND).order_by("received_at")
    return [
        max(timedelta(0), conf.REPLY_DEADLINE - (deadline_at - received_at)).total_seconds()
        for received_at, deadline_at in times.values_list("received_at", "deadline_at")[:_COMPARED]
        if received_at <= moment + AROUND
    ]


def _moment(unix: float) -> datetime:
    """As the database keeps it, with or without ``USE_TZ``."""
    aware = datetime.fromtimestamp(unix, tz=UTC)
    return aware if settings.USE_TZ else timezone.make_naive(aware)

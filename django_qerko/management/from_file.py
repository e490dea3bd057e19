"""Diagnose a request that was saved in a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error

from django_qerko.conf import conf
from django_qerko.events import read_document
from django_qerko.exceptions import Malformed
from django_qerko.keys import ApiKey
from django_qerko.management import arguments, tables
from django_qerko.models import Restaurant, RestaurantKey
from django_qerko.receiving.diagnosis import in_time, readable, signed
from django_qerko.receiving.explaining.causes import Cause
from django_qerko.receiving.explaining.effort import FOR_A_PERSON, Effort
from django_qerko.receiving.saved import Saved, read_saved
from django_qerko.signatures import Mac, SignedRequest, Window
from django_qerko.tending import legible

_STANDARD_INPUT: Final = "-"
#: More is no delivery.
_MAX_FILE: Final = 64 * 1024 * 1024
_TOKEN: Final = re.compile(r"/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/|$|\?)")
#: Stands for the row of a key that was given, and that may be in no row.
_GIVEN: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked about the request in a file; ``at`` is when it arrived, where that was told."""

    file: str
    restaurant: str | None = None
    api_key: ApiKey | None = None
    body: str | None = None
    url: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    title: str
    facts: list[str]
    causes: list[Cause]


def api_key(text: str) -> ApiKey:
    """An API key; ``-`` reads a line of standard input, as bytes, so that a request may follow it there."""
    if text == _STANDARD_INPUT and not sys.stdin.isatty():
        text = sys.stdin.buffer.readline().decode("utf-8", "replace").strip() or " "
    return arguments.api_key(text)


def diagnose_file(question: Question, *, now: float) -> Answer:
    """Why the request in a file would be turned away. Raises CommandError where that cannot be asked."""
    saved, body = _read(question)
    request = _as_received(saved, body)
    restaurant, own, others = _keys(question, saved)
    origins = [question.url] if question.url else []
    causes = list(signed(request, own, others, Effort(FOR_A_PERSON), origins=origins).causes)
    facts = [*saved.remarks, f"It is judged by {_judge(restaurant, question.api_key)}."]
    if not causes:
        moment = now if question.at is None else question.at.timestamp()
        timing = in_time(request, [mac for _, mac in own], judged=moment, received=moment)
        # A request in a file is an old one; that is no news, unless it is asked about the moment at which it came.
        causes += [cause for cause in timing.causes if question.at or cause.name != "expired"]
        facts += [*_validity(timing.window), *_said(body)]
    return Answer(title=f"{saved.method} {saved.target}, {len(body)} bytes", facts=facts, causes=causes)


def _read(question: Question) -> tuple[Saved, bytes]:
    try:
        saved = read_saved(_content(question.file))
    except ValueError as error:
        raise _wrong(f"{legible.line(question.file)} holds no request: {legible.line(str(error))}.") from error
    body = saved.body if question.body is None else _content(question.body)
    if body is None:
        raise _wrong("The file holds no body, as curl -v saves none: name the file that was sent, with --body.")
    return saved, body


def _content(name: str) -> bytes:
    try:
        if name == _STANDARD_INPUT:
            return sys.stdin.buffer.read(_MAX_FILE)
        with Path(name).open("rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise _wrong(f"{legible.line(name)} cannot be read: {error.strerror}.") from error


def _as_received(saved: Saved, body: bytes) -> SignedRequest:
    """The request as the webhook would see it; a file does not say whether it came over TLS."""
    target = saved.target
    if not urlsplit(target).scheme:
        target = f"{conf.PUBLIC_URL or 'http://' + (saved.header('host') or 'localhost')}{target}"
    return SignedRequest(method=saved.method, target_uri=target, headers=saved.headers, body=body)


_Keys: TypeAlias = list[tuple[int, Mac]]


def _keys(question: Question, saved: Saved) -> tuple[Restaurant | None, _Keys, _Keys]:
    """The restaurant that was called, the keys to judge by, and those of all others."""
    given: _Keys = [] if question.api_key is None else [(_GIVEN, question.api_key.mac)]
    try:
        restaurant = _restaurant(question.restaurant, saved.target)
        rows = list(RestaurantKey.objects.all())
    except (Error, ImproperlyConfigured) as error:
        if given:
            return None, given, []
        raise _wrong(tables.missing() or f"The keys cannot be read: {error}. Name one with --api-key.") from error
    if given:
        return restaurant, given, readable(rows)
    if restaurant is None:
        raise _wrong("It does not say which restaurant it was meant for: name it with --restaurant, or an --api-key.")
    own = [row for row in rows if row.restaurant_id == restaurant.pk]
    return restaurant, readable(own), readable(row for row in rows if row.restaurant_id != restaurant.pk)


def _restaurant(name: str | None, target: str) -> Restaurant | None:
    """The one that was named, or whose address was called; else the only one."""
    if name is not None:
        return arguments.restaurant(name)
    if token := _TOKEN.search(target):
        return Restaurant.objects.filter(webhook_token=token[1]).first()
    return Restaurant.objects.only_one()


def _judge(restaurant: Restaurant | None, api_key: ApiKey | None) -> str:
    if api_key is None:
        return f"the keys of {restaurant}"
    holder = None
    with suppress(Error, ImproperlyConfigured):
        holder = RestaurantKey.objects.select_related("restaurant").holding(api_key)
    return f"the key {api_key.shown}, which {holder.restaurant if holder else 'no restaurant here'} has"


def _validity(window: Window | None) -> Iterator[str]:
    if window is not None and window.created is not None and window.expires is not None:
        created, expires = (datetime.fromtimestamp(at, tz=UTC).isoformat() for at in (window.created, window.expires))
        yield f"It was valid from {created} to {expires}. --at judges it by the moment at which it arrived."


def _said(body: bytes) -> Iterator[str]:
    """What follows the signature at the door."""
    try:
        read_document(body)
    except Malformed as failure:
        yield f"But it is not understood: {failure.finding}."


def _wrong(text: str) -> CommandError:
    return CommandError(text, returncode=2)

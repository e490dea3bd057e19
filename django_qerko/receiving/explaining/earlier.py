"""What a request may have been, of all that one label covers, before something on the way changed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Final

from django_qerko.receiving.explaining.addresses import earlier_addresses, told_by, without_token
from django_qerko.receiving.explaining.case import Case, changed
from django_qerko.receiving.explaining.causes import Cause
from django_qerko.signatures import Label, SignedRequest, content_digest

_CONTENT_TYPES: Final = (
    "application/json",
    *(f"application/json;{space}charset={charset}" for space in (" ", "") for charset in ("utf-8", "UTF-8")),
)
_ALGORITHMS: Final = ("sha-256", "sha-512")

_Earlier = Iterator[tuple[tuple[Cause, ...], SignedRequest]]


def earlier_requests(case: Case, request: SignedRequest, label: Label) -> _Earlier:
    """The request as it came, and as it may have been, each with what was done to it. One thing is tried at a time."""
    yield (), request
    if missing := missing_fields(request, label):
        yield from _with_fields(request, missing)
        return
    covered = [name for name, _ in label.components]
    yield from _addresses(case, request, covered)
    if "content-type" in covered:
        for value in _CONTENT_TYPES:
            told = f"Content-Type was {value} when it was signed."
            yield (Cause(name="header_changed", told=told),), _with(request, {"content-type": value})
    yield from _bodies(case, request, covered)


def missing_fields(request: SignedRequest, label: Label) -> list[str]:
    """The headers that are covered and are not there."""
    there = {name.lower() for name, _ in request.headers}
    names = dict.fromkeys(name for name, _ in label.components)
    return [name for name in names if not name.startswith("@") and name not in there]


def _with_fields(request: SignedRequest, missing: list[str]) -> _Earlier:
    """Missing headers put back, where it can be known what stood in them."""
    known = {
        "content-digest": [content_digest(request.body, algorithm) for algorithm in _ALGORITHMS],
        "content-length": [str(len(request.body))],
        "content-type": _CONTENT_TYPES,
    }
    for values in product(*(known.get(name, ()) for name in missing)):
        told = f"The signature covers {', '.join(missing)}, which is not there; it verifies with {', '.join(values)}."
        put_back = [*request.headers, *zip(missing, values, strict=True)]
        yield (Cause(name="header_dropped", told=told),), replace(request, headers=put_back)


def _addresses(case: Case, request: SignedRequest, covered: list[str]) -> _Earlier:
    parts = told_by(covered)
    signed = ", ".join(name for name in covered if told_by([name]))
    for target, earlier in earlier_addresses(request, parts, case.origins) if parts else ():
        told = (
            f"The address was changed on its way: {without_token(target)} verifies, and it came as"
            f" {without_token(request.target_uri)}. The signature covers {signed}."
        )
        yield (Cause(name="address_changed", told=told),), earlier


def _bodies(case: Case, request: SignedRequest, covered: list[str]) -> _Earlier:
    """Bodies whose digest or length was rewritten along with them."""
    fields = [name for name in ("content-digest", "content-length") if name in covered]
    for change, body in case.bodies() if fields else ():
        for algorithm in _ALGORITHMS if "content-digest" in fields else _ALGORITHMS[:1]:
            values = {"content-digest": content_digest(body, algorithm), "content-length": str(len(body))}
            told = f", and {' and '.join(fields).title()} with it"
            earlier = _with(request, {name: values[name] for name in fields})
            yield (changed(change, told),), replace(earlier, body=body)


def _with(request: SignedRequest, values: Mapping[str, str]) -> SignedRequest:
    headers = [(name, values.get(name.lower(), value)) for name, value in request.headers]
    return replace(request, headers=headers)

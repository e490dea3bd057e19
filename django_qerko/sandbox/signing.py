"""Write a delivery as Qerko would, signed both ways, or tampered with on purpose."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from urllib3.util import parse_url

from django_qerko import amounts
from django_qerko.keys import ApiKey
from django_qerko.signatures import (
    HMAC_SHA256,
    RFC9421,
    Mac,
    SignedRequest,
    content_digest,
    sign_hmac,
    sign_rfc9421,
)

#: What can be done to a delivery so that it must be refused with 401, and what each means.
TAMPERINGS: Final[Mapping[str, str]] = {
    "body": "the body is changed after it was signed",
    "signature": "one bit of every signature is flipped",
    "digest": "the covered Content-Digest is that of another body",
    "key": "signed with another key",
    "label": "Signature and Signature-Input name different labels",
    "missing": "no signature at all",
}
_OF_RFC9421_ONLY: Final = {"digest", "label"}
_LABEL: Final = "qerko"


def tamperings(schemes: Sequence[str]) -> tuple[str, ...]:
    """What breaks each of these signatures, because a point of sale may check either (protocol section 2, D)."""
    return tuple(name for name in TAMPERINGS if name not in _OF_RFC9421_ONLY or set(schemes) == {RFC9421})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDelivery:
    """The bytes and headers that leave."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """JSON that somebody wrote, and that leaves as it stands: its numbers digit for digit."""

    text: str


def event_address(url: str, event: str) -> str:
    """The address of one event, where the point of sale has one for each (protocol section 2, A)."""
    parts = parse_url(url)
    return parts._replace(path=f"{(parts.path or '').rstrip('/')}/{quote(event, safe='')}/").url


def envelope(
    *, event: str | None, event_id: str, data: object, created: int, expires: int, extra: Mapping[str, Any]
) -> bytes:
    """The body of a delivery (protocol section 2, A); the window stands in it too, for whoever reads the HMAC alone.

    Decimals become decimal strings. Raises TypeError for data that is no JSON.
    """
    document = {
        "id": event_id,
        **({} if event is None else {"event": event}),
        "data": data,
        "created": _iso(created),
        "expires": _iso(expires),
        **extra,
    }
    members = ", ".join(f"{_json(name)}: {_json(value)}" for name, value in document.items())
    return f"{{{members}}}".encode()


def sign(
    url: str, body: bytes, api_key: ApiKey, *, created: int, expires: int, schemes: Sequence[str], tamper: str | None
) -> SignedDelivery:
    """Sign a body for an address by every scheme named, and tamper with it where that is asked for.

    Raises ValueError for a tampering that nobody knows, or that the schemes leave no room for.
    """
    _check(tamper, schemes)
    mac = _mac(api_key, tamper)
    digested = b"another body" if tamper == "digest" else body
    headers = {"Content-Type": "application/json", "Content-Digest": content_digest(digested)}
    request = SignedRequest(method="POST", target_uri=url, headers=list(headers.items()), body=body)
    if tamper != "missing" and RFC9421 in schemes:
        seal = sign_rfc9421(request, mac, created=created, expires=expires, label=_LABEL)
        headers |= _relabelled(seal) if tamper == "label" else seal
    if tamper != "missing" and HMAC_SHA256 in schemes:
        headers["Signature-SHA256"] = sign_hmac(body, mac)
    return SignedDelivery(url=url, headers=headers, body=_changed(body) if tamper == "body" else body)


def _check(tamper: str | None, schemes: Sequence[str]) -> None:
    if not schemes or not set(schemes) <= {RFC9421, HMAC_SHA256}:
        raise ValueError(f"A delivery is signed by {RFC9421}, {HMAC_SHA256} or both, not by {schemes!r}.")
    if tamper is not None and tamper not in TAMPERINGS:
        raise ValueError(f"Nobody knows the tampering {tamper!r}; there are {', '.join(TAMPERINGS)}.")
    if tamper in _OF_RFC9421_ONLY and RFC9421 not in schemes:
        raise ValueError(f"The tampering {tamper!r} needs the scheme {RFC9421}.")


def _mac(api_key: ApiKey, tamper: str | None) -> Mac:
    match tamper:
        case "key":
            return ApiKey(secrets.token_hex()).mac
        case "signature":
            return lambda message: _flipped(api_key.mac(message))
        case _:
            return api_key.mac


def _flipped(signature: bytes) -> bytes:
    return bytes([signature[0] ^ 1]) + signature[1:]


def _changed(body: bytes) -> bytes:
    return body.removesuffix(b"}") + b', "tampered": true}'


def _relabelled(seal: Mapping[str, str]) -> dict[str, str]:
    return {**seal, "Signature": seal["Signature"].replace(_LABEL, "other", 1)}


def _json(value: object) -> str:
    return value.text if isinstance(value, Written) else json.dumps(value, ensure_ascii=False, default=_amount)


def _amount(value: object) -> str:
    if isinstance(value, Decimal):
        return amounts.write(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _iso(unix: int) -> str:
    return datetime.fromtimestamp(unix, tz=UTC).isoformat()

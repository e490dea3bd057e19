"""Why Signature-SHA256 does not fit the body."""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import hexlify
from collections.abc import Callable, Iterator, Mapping
from hmac import compare_digest
from typing import Final

from django_qerko.receiving.explaining.case import Case, changed
from django_qerko.receiving.explaining.causes import Cause, Verdict, explained, unexplained
from django_qerko.signatures import Mac

#: A MAC by the length of its spelling.
_SPELLINGS: Final[Mapping[int, Callable[[bytes], bytes]]] = {64: hexlify, 44: b64encode}
_PREFIX: Final = re.compile(r"(?:hmac-)?sha-?256=|v1=", re.IGNORECASE)


def explain_plain(case: Case) -> Verdict:
    """What must have been done to the request so that its Signature-SHA256 is what it is."""
    sent = case.line("signature-sha256") or ""
    readings = [(cause, text) for cause, text in _readings(sent) if len(text) in _SPELLINGS]
    if not readings:
        told = f"Signature-SHA256 has {len(sent)} characters; hex has 64, base64 has 44."
        return unexplained(Cause(name="signature_unreadable", told=told))
    for mac, body, causes in _tries(case):
        case.effort.spend(len(body) + 64)
        digest = mac(body)
        for cause, text in readings:
            if compare_digest(_SPELLINGS[len(text)](digest), text.encode("ascii", "replace")):
                return explained(*causes, *cause)
    return unexplained()


def _tries(case: Case) -> Iterator[tuple[Mac, bytes, tuple[Cause, ...]]]:
    body = case.request.body
    for mac, causes in case.keys(of_others=True):
        yield mac, body, causes
    for change, earlier in case.bodies():
        for mac in case.own:
            yield mac, earlier, (changed(change),)


def _readings(sent: str) -> Iterator[tuple[tuple[Cause, ...], str]]:
    """The header as it came, and as it may have been meant."""
    yield (), sent
    told = "Signature-SHA256 was broken into several lines on its way, or has spaces in it."
    yield (Cause(name="header_folded", told=told),), "".join(sent.split())
    told = "Signature-SHA256 stands there twice, with a comma between."
    yield (Cause(name="signature_doubled", told=told),), sent.partition(",")[0].strip()
    bare = _PREFIX.sub("", sent.strip(" \t\"':"), count=1)
    url_safe = bare.replace("-", "+").replace("_", "/")
    for meant in (bare, bare.lower(), url_safe, f"{url_safe}="):
        told = "Signature-SHA256 is right, and spelt otherwise than in plain lower-case hex or base64."
        yield (Cause(name="signature_spelling", told=told),), meant

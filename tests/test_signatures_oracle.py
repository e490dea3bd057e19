"""Signatures, compared with the library `http-message-signatures`: what it signs we verify, what we sign it verifies.

The library cannot verify for us (it wants `keyid`, refuses what it does not know, and judges time first), but on the
ground that we share it knows nothing of our code. Each test's name finishes the sentence "Qerko expects that…".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import http_sf
import pytest
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    InvalidSignature,
    MappingKeyResolver,
    algorithms,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from django_qerko.exceptions import Forged
from django_qerko.signatures import Component, SignedRequest, sign_rfc9421, verify_label

KEY, KEY_ID = b"eeeu-g786-zp54-3v1c-db02-e4e1", "the restaurant's key"
RESOLVER = MappingKeyResolver(public_keys={KEY_ID: KEY}, private_keys={KEY_ID: KEY})
mac = partial(hmac.digest, KEY, digest="sha256")


class Verifier(HTTPMessageVerifier):
    """The library's, time apart: it would judge it before the signature."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        pass


SIGNER = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=RESOLVER)
VERIFIER = Verifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=RESOLVER)


@dataclass
class Headers:
    """Header lines as the library likes them: a mapping that keeps repeated names."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self.lines])

    def items(self) -> list[tuple[str, str]]:
        return self.lines

    def __setitem__(self, name: str, value: str) -> None:
        self.lines.append((name, value))


@dataclass
class Message:
    method: str
    url: str
    headers: Headers


def message_of(request: SignedRequest) -> Message:
    return Message(method=request.method, url=request.target_uri, headers=Headers(list(request.headers)))


# -- Random requests, and what of them can be covered --------------------------------------------

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=8).map("t{}".format)
ENCODED = st.lists(
    st.sampled_from([*"abcXYZ019-._~!$'()*,;:@/?", "%20", "%c3%a9", "%C3%A9", "%0A", "%25", "%26", "%ff"]), max_size=8
).map("".join)
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
LOOSE = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f\x80\x85\xa0"), max_size=20
)
SPACES = st.sampled_from(["", " ", "   "])


@st.composite
def urls(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["https", "http", "HTTPS"]))
    host = draw(st.sampled_from(["pos.example", "Pos.Example", "127.0.0.1", "[2001:DB8::1]", "xn--caf-dma.example"]))
    port = draw(st.sampled_from(["", ":443", ":80", ":8000"]))
    path = "".join(f"/{part}".replace("?", "") for part in draw(st.lists(ENCODED, max_size=3)))
    query = draw(st.one_of(st.just(""), st.lists(st.tuples(TOKENS, ENCODED), unique_by=lambda pair: pair[0]).map(form)))
    return f"{scheme}://{host}{port}{path}{query}"


def form(pairs: Sequence[tuple[str, str]]) -> str:
    return "?" + "&".join(f"{name}={value}" for name, value in pairs)


@st.composite
def dictionaries(draw: st.DrawFn) -> dict[str, str]:
    """The members of a dictionary field, each as it is written."""
    member = st.sampled_from(
        ["=1", "=?0", "", ";a=1;b", '="x, y"', "=(a  b   1);q=1.50", "=:AAEC:", "=tok/en", "=-7.5"]
    )
    return draw(st.dictionaries(TOKENS, member, min_size=1, max_size=4))


@st.composite
def cases(draw: st.DrawFn) -> tuple[SignedRequest, list[Component]]:
    """A request and some of its components in some order."""
    members, url = draw(dictionaries()), draw(urls())
    gap = draw(SPACES)
    headers = [
        ("Content-Type", draw(VISIBLE)),
        ("Priority", f",{gap}".join(name + value for name, value in members.items())),
        ("Accept", f"a/b;q=0.5,{gap}*/*"),
        ("X-Plain", gap + draw(VISIBLE) + gap),
        ("x-Repeated", draw(VISIBLE)),
        ("X-REPEATED", draw(VISIBLE)),
        ("X-Bytes", draw(LOOSE)),
    ]
    query = url.partition("?")[2]
    names_in_query = [pair.partition("=")[0] for pair in query.split("&") if pair]
    names = ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"]
    members_covered: list[Component] = [("priority", {"key": name}) for name in members]
    members_covered += [("priority", {"key": name, "sf": True}) for name in members]
    components: list[Component] = [
        *names,
        *[("@query-param", {"name": name}) for name in names_in_query],
        *("content-type", "priority", "accept", "x-plain", "x-repeated"),
        *members_covered,
        *((name, {"sf": True}) for name in ("priority", "accept")),
        *((name, {"bs": True}) for name in ("content-type", "priority", "x-plain", "x-repeated", "x-bytes")),
    ]
    method = draw(st.sampled_from(["POST", "GET", "PUT", "M-SEARCH"]))
    covered = draw(st.lists(st.sampled_from(components), unique_by=str, max_size=8))
    return SignedRequest(method=method, target_uri=url, headers=headers, body=b""), covered


def written(component: Component) -> str:
    return component if isinstance(component, str) else http_sf.ser((component[0], dict(component[1])))


SECONDS = st.integers(1, 4_000_000_000)
OPTIONAL_TEXT = st.one_of(st.none(), VISIBLE)


# -- Both directions -----------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    case=cases(),
    created=SECONDS,
    expires=st.one_of(st.none(), SECONDS),
    nonce=OPTIONAL_TEXT,
    tag=OPTIONAL_TEXT,
    label=TOKENS,
    include_alg=st.booleans(),
)
def test_what_the_library_signs_verifies_here(
    case: tuple[SignedRequest, list[Component]],
    created: int,
    expires: int | None,
    nonce: str | None,
    tag: str | None,
    label: str,
    include_alg: bool,
) -> None:
    request, covered = case
    message = message_of(request)
    SIGNER.sign(
        message,
        key_id=KEY_ID,
        created=datetime.fromtimestamp(created, UTC),
        expires=None if expires is None else datetime.fromtimestamp(expires, UTC),
        nonce=nonce,
        tag=tag,
        label=label,
        include_alg=include_alg,
        covered_component_ids=[written(component) for component in covered],
    )
    signed = replace(request, headers=message.headers.items())

    assert verify_label(signed, label, [mac]) == 0
    with pytest.raises(Forged):
        verify_label(signed, label, [partial(hmac.digest, KEY[:-1], digest="sha256")])


@settings(max_examples=150, deadline=None)
@given(
    case=cases(),
    created=st.one_of(st.none(), SECONDS),
    expires=st.one_of(st.none(), SECONDS),
    others=st.dictionaries(st.sampled_from(["nonce", "tag"]), VISIBLE),
    alg=st.sampled_from([{}, {"alg": "hmac-sha256"}]),
    label=TOKENS,
)
def test_what_is_signed_here_verifies_in_the_library(
    case: tuple[SignedRequest, list[Component]],
    created: int | None,
    expires: int | None,
    others: dict[str, str],
    alg: dict[str, str],
    label: str,
) -> None:
    request, covered = case
    headers = sign_rfc9421(
        request,
        mac,
        components=covered,
        created=created,
        expires=expires,
        label=label,
        parameters={**others, "keyid": KEY_ID, **alg},
    )
    message = message_of(replace(request, headers=[*request.headers, *headers.items()]))

    (result,) = VERIFIER.verify(message, max_age=None)

    assert result.label == label


@settings(max_examples=150, deadline=None)
@given(case=cases(), other=cases(), changed=st.sets(st.sampled_from(["method", "target_uri", 0, 1, 2, 3, 4, 5, 6])))
def test_both_agree_whether_a_changed_request_has_the_same_signature(
    case: tuple[SignedRequest, list[Component]],
    other: tuple[SignedRequest, list[Component]],
    changed: set[str | int],
) -> None:
    (request, covered), (stranger, _) = case, other
    headers = sign_rfc9421(request, mac, components=covered, created=1, expires=None, parameters={"keyid": KEY_ID})
    lines = [
        theirs if number in changed else ours
        for number, (ours, theirs) in enumerate(zip(request.headers, stranger.headers, strict=True))
    ]
    moved = SignedRequest(
        method=stranger.method if "method" in changed else request.method,
        target_uri=stranger.target_uri if "target_uri" in changed else request.target_uri,
        headers=[*lines, *headers.items()],
        body=b"",
    )

    # Where a server joined lines without a space, we try it with one, too.
    names = {component if isinstance(component, str) else component[0] for component in covered}
    spaced = [
        (name, re.sub(r",(?=[^ \t])", ", ", value) if name.lower() in names else value) for name, value in moved.headers
    ]
    assert verifies_here(moved) == (verifies_there(moved) or verifies_there(replace(moved, headers=spaced)))


def verifies_here(request: SignedRequest) -> bool:
    try:
        return verify_label(request, "qerko", [mac]) == 0
    except Forged:
        return False


def verifies_there(request: SignedRequest) -> bool:
    try:
        return bool(VERIFIER.verify(message_of(request), max_age=None))
    except InvalidSignature:
        return False


@settings(max_examples=50, deadline=None)
@given(case=cases(), parameters=st.sampled_from([{}, {"unheard-of": 1}, {"keyid": KEY_ID, "unheard-of": True}]))
def test_a_signature_that_the_library_cannot_verify_verifies_here(
    case: tuple[SignedRequest, list[Component]], parameters: dict[str, str | int]
) -> None:
    request, covered = case
    headers = sign_rfc9421(request, mac, components=covered, created=1, expires=2, parameters=parameters)
    signed = replace(request, headers=[*request.headers, *headers.items()])

    assert verifies_here(signed)
    assert not verifies_there(signed)

"""Signatures: what is accepted, what is refused, and with which reason.

Each test's name finishes the sentence "Qerko expects that…".
"""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import http_sf
import pytest
from http_sf import DisplayString, Token
from hypothesis import given, settings
from hypothesis import strategies as st

from django_qerko.exceptions import Forged, OutOfWindow
from django_qerko.signatures import (
    HMAC_SHA256,
    MAX_COMPONENTS,
    MAX_PARSED,
    MAX_SIGNATURE_INPUT,
    RFC9421,
    Component,
    Mac,
    Parameters,
    Seal,
    SignedRequest,
    Window,
    body_window,
    content_digest,
    judge_windows,
    sign_hmac,
    sign_rfc9421,
    signature_base,
    verify,
    verify_label,
)

URL = "https://pos.example/qerko/webhook/5f0c1f6e-8c1d-4a4e-9f57-0d6f2c1b7a3e/?x=1"
BODY = b'{"id": "5f0c1f6e", "event": "getTableList"}'
CREATED, EXPIRES = 1_700_000_000, 1_700_000_060


def mac_of(key: str) -> Mac:
    return partial(hmac.digest, key.encode(), digest="sha256")


QERKO, OLD, STRANGER = mac_of("eeeu-g786-zp54-3v1c-db02-e4e1"), mac_of("an old key"), mac_of("a stranger's key")


def unsigned(
    *headers: tuple[str, str], body: bytes = BODY, digest: str | None = None, target_uri: str = URL
) -> SignedRequest:
    own = [("Content-Type", "application/json"), ("Content-Digest", digest or content_digest(body))]
    return SignedRequest(method="POST", target_uri=target_uri, headers=[*own, *headers], body=body)


def with_headers(request: SignedRequest, headers: Mapping[str, str]) -> SignedRequest:
    return replace(request, headers=[*request.headers, *headers.items()])


def without(request: SignedRequest, name: str) -> SignedRequest:
    return replace(request, headers=[pair for pair in request.headers if pair[0] != name])


def header(request: SignedRequest, name: str) -> str:
    return dict(request.headers)[name]


def with_header(request: SignedRequest, name: str, value: str) -> SignedRequest:
    return with_headers(without(request, name), {name: value})


def signed(
    request: SignedRequest | None = None,
    mac: Mac = QERKO,
    *,
    components: Sequence[Component] = ("@method", "@target-uri", "content-digest", "content-type"),
    label: str = "qerko",
    parameters: Parameters | None = None,
    created: int | None = CREATED,
    expires: int | None = EXPIRES,
) -> SignedRequest:
    """A request with an RFC 9421 signature."""
    request = request or unsigned()
    headers = sign_rfc9421(
        request, mac, components=components, created=created, expires=expires, label=label, parameters=parameters
    )
    return with_headers(request, headers)


def hmac_signed(request: SignedRequest | None = None, mac: Mac = QERKO, *, encoding: str = "hex") -> SignedRequest:
    request = request or unsigned()
    return with_headers(request, {"Signature-SHA256": sign_hmac(request.body, mac, encoding=encoding)})


def joined(*requests: SignedRequest) -> SignedRequest:
    """The signatures of several requests in one, each in a line of its own."""
    names = ("Signature-Input", "Signature")
    lines = [pair for request in requests for pair in request.headers if pair[0] in names]
    return replace(requests[0], headers=[*unsigned().headers, *lines])


def signed_by_hand(covered: str, *, request: SignedRequest | None = None, base: bytes = b"") -> SignedRequest:
    """A request whose Signature-Input is written out, signed over whatever base."""
    return with_headers(
        request or unsigned(),
        {"Signature-Input": f"qerko={covered}", "Signature": http_sf.ser({"qerko": QERKO(base)})},
    )


def refused(request: SignedRequest, *, macs: Sequence[Mac] = (QERKO,), **options: Sequence[str]) -> Forged:
    with pytest.raises(Forged) as caught:
        verify(request, macs, **options)
    return caught.value


def bits(value: bytes) -> Iterator[bytes]:
    """Every value that differs in one bit."""
    for position in range(len(value) * 8):
        changed = bytearray(value)
        changed[position // 8] ^= 1 << position % 8
        yield bytes(changed)


# -- Which schemes must be there, and verify -----------------------------------------------------


def test_the_module_needs_no_django() -> None:
    code = "import sys, django_qerko.signatures; sys.exit('django' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_deliverywith_both_signatures_is_accepted() -> None:
    seal = verify(hmac_signed(signed()), [QERKO])

    assert seal == Seal(
        key=0, schemes=frozenset({RFC9421, HMAC_SHA256}), windows=(Window(created=CREATED, expires=EXPIRES),)
    )


def test_a_deliverywith_the_rfc_signature_alone_is_accepted() -> None:
    seal = verify(signed(), [QERKO])

    assert seal == Seal(key=0, schemes=frozenset({RFC9421}), windows=(Window(created=CREATED, expires=EXPIRES),))


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_deliverywith_the_hmac_alone_is_accepted_and_has_no_window(encoding: str) -> None:
    seal = verify(hmac_signed(encoding=encoding), [QERKO])

    assert seal == Seal(key=0, schemes=frozenset({HMAC_SHA256}), windows=())


def test_names_of_headers_are_read_in_any_case() -> None:
    request = hmac_signed(signed())
    shouted = replace(request, headers=[(name.upper(), value) for name, value in request.headers])

    assert verify(shouted, [QERKO]).schemes == {RFC9421, HMAC_SHA256}


def test_a_deliverywithout_any_signature_is_forged() -> None:
    assert refused(unsigned()).reason == "signature_missing"


def test_nothing_is_accepted_where_there_is_no_key() -> None:
    assert refused(hmac_signed(signed()), macs=()).reason == "no_key"


@pytest.mark.parametrize(
    ("delivery", "schemes", "reason"),
    [
        (signed(), [HMAC_SHA256], "scheme_missing"),
        (hmac_signed(), [RFC9421], "scheme_missing"),
        (hmac_signed(signed()), ["unheard of"], "scheme_missing"),
        (unsigned(), [RFC9421], "signature_missing"),
    ],
)
def test_a_scheme_that_is_required_must_be_there(delivery: SignedRequest, schemes: list[str], reason: str) -> None:
    assert refused(delivery, schemes=schemes).reason == reason


@pytest.mark.parametrize("schemes", [[RFC9421], [HMAC_SHA256], [RFC9421, HMAC_SHA256], []])
def test_a_deliverywith_both_meets_any_requirement(schemes: list[str]) -> None:
    assert verify(hmac_signed(signed()), [QERKO], schemes=schemes).schemes == {RFC9421, HMAC_SHA256}


@pytest.mark.parametrize(
    ("delivery", "schemes"),
    [
        pytest.param(hmac_signed(signed(mac=STRANGER)), [HMAC_SHA256], id="rfc9421"),
        pytest.param(hmac_signed(signed(), STRANGER), [RFC9421], id="hmac"),
        pytest.param(hmac_signed(signed(mac=STRANGER)), [RFC9421, HMAC_SHA256], id="rfc9421 of both"),
        pytest.param(hmac_signed(signed(), STRANGER), [RFC9421, HMAC_SHA256], id="hmac of both"),
    ],
)
def test_a_scheme_that_is_there_must_verify_even_where_the_other_does(
    delivery: SignedRequest, schemes: list[str]
) -> None:
    assert refused(delivery, schemes=schemes).reason == "signature_mismatch"


@pytest.mark.parametrize("lost", ["Signature", "Signature-Input"])
def test_half_a_signature_is_none_even_beside_a_good_hmac(lost: str) -> None:
    forged = refused(without(hmac_signed(signed()), lost))

    assert forged.reason == "signature_malformed"
    assert forged.finding == f"Half a signature: there is no {lost}."


def test_an_empty_header_is_a_signature_that_does_not_verify() -> None:
    assert refused(with_headers(signed(), {"Signature-SHA256": ""})).reason == "signature_malformed"
    assert (
        refused(with_headers(hmac_signed(), {"Signature-Input": "", "Signature": ""})).reason == "signature_malformed"
    )


# -- Keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("macs", "key"), [([QERKO, OLD], 0), ([OLD, QERKO], 1), ([QERKO, QERKO], 0)])
@pytest.mark.parametrize("delivery", [signed(), hmac_signed(), hmac_signed(signed())])
def test_any_key_of_the_restaurant_serves_and_the_first_that_does_is_told(
    delivery: SignedRequest, macs: list[Mac], key: int
) -> None:
    assert verify(delivery, macs).key == key


def test_while_keys_rotate_each_scheme_may_use_its_own_and_the_rfc_signature_s_is_told() -> None:
    assert verify(hmac_signed(signed(mac=OLD), QERKO), [QERKO, OLD]).key == 1


# -- Signature-SHA256 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spell", "reason"),
    [
        pytest.param(str.upper, "signature_mismatch", id="upper case"),
        pytest.param(lambda text: text[:-2], "signature_malformed", id="a byte short"),
        pytest.param(lambda text: text + "00", "signature_malformed", id="a byte long"),
        pytest.param(lambda text: "sha256=" + text, "signature_malformed", id="with a prefix"),
        pytest.param(lambda text: f"{text}, {text}", "signature_malformed", id="twice"),
        pytest.param(lambda text: text[:-1] + "é", "signature_mismatch", id="not ASCII"),
        pytest.param(lambda text: text[:-1] + "\udc80", "signature_mismatch", id="a surrogate"),
        pytest.param(lambda text: b64encode(bytes.fromhex(text)).decode()[:-1], "signature_malformed", id="unpadded"),
    ],
)
def test_the_hmac_has_one_spelling_in_hex_and_one_in_base64(spell: Callable[[str], str], reason: str) -> None:
    text = spell(sign_hmac(BODY, QERKO))

    assert refused(with_headers(unsigned(), {"Signature-SHA256": text})).reason == reason


def test_spaces_around_the_hmac_do_not_matter() -> None:
    assert verify(with_headers(unsigned(), {"Signature-SHA256": f" {sign_hmac(BODY, QERKO)}\t"}), [QERKO]).key == 0


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_no_bit_of_the_hmac_or_of_the_body_may_change(encoding: str) -> None:
    request = hmac_signed(encoding=encoding)
    text = header(request, "Signature-SHA256").encode()

    for changed in bits(text):
        refused(with_header(request, "Signature-SHA256", changed.decode("latin-1")))
    for changed in bits(BODY):
        assert refused(replace(request, body=changed)).reason == "signature_mismatch"


# -- RFC 9421: what is covered cannot change -----------------------------------------------------


def test_no_bit_of_the_signature_may_change() -> None:
    request = signed()
    made = b64decode(header(request, "Signature").split(":")[1])

    for changed in bits(made):
        forged = refused(with_header(request, "Signature", http_sf.ser({"qerko": changed})))
        assert forged.reason == "signature_mismatch"


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_the_signature_has_the_length_of_a_mac(length: int) -> None:
    made = (b64decode(header(signed(), "Signature").split(":")[1]) * 2)[:length]

    forged = refused(with_header(signed(), "Signature", http_sf.ser({"qerko": made})))

    assert forged.reason == "signature_mismatch"
    assert f"has {length} bytes" in forged.finding


def test_no_bit_of_a_component_s_name_or_of_a_parameter_may_change() -> None:
    request = signed(
        components=["@method", ("@query-param", {"name": "x"}), ("content-digest", {"key": "sha-256"}), "content-type"],
        parameters={"keyid": "a key", "nonce": "n0", "alg": "hmac-sha256", "tag": "t", "unheard-of": b"\x00\x01\x02"},
    )

    for changed in bits(header(request, "Signature-Input").encode()):
        refused(with_header(request, "Signature-Input", changed.decode("latin-1")))


def test_no_bit_of_a_covered_value_may_change() -> None:
    request = signed(components=["@method", "@target-uri", "content-digest", "content-type"])

    for changed in bits(b"POST"):
        refused(replace(request, method=changed.decode("latin-1")))
    for changed in bits(URL.encode()):
        refused(replace(request, target_uri=changed.decode("latin-1")))
    for name in ("Content-Digest", "Content-Type"):
        for changed in bits(header(request, name).encode()):
            refused(with_header(request, name, changed.decode("latin-1")))


@pytest.mark.parametrize(
    ("component", "changed_uri"),
    [
        ("@authority", URL.replace("pos.example", "pos.example:8443")),
        ("@scheme", URL.replace("https", "http")),
        ("@request-target", URL.replace("x=1", "x=2")),
        ("@path", URL.replace("/qerko", "/Qerko")),
        ("@query", URL.replace("x=1", "x=%31")),
        ("@query", URL.replace("?x=1", "")),
        (("@query-param", {"name": "x"}), URL.replace("x=1", "x=2")),
        (("@query-param", {"name": "x"}), URL.replace("x=1", "x=1&x=1")),
        (("@query-param", {"name": "x"}), URL.replace("x=1", "X=1")),
    ],
)
def test_each_part_of_the_address_is_covered_by_its_component(component: Component, changed_uri: str) -> None:
    request = signed(components=[component, "content-digest"])

    assert verify(request, [QERKO]).key == 0
    refused(replace(request, target_uri=changed_uri))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: text.replace('"@method" "@target-uri"', '"@target-uri" "@method"'), "order of components"),
        (lambda text: text.replace('"@method" ', ""), "a component less"),
        (lambda text: text.replace('"@method" ', '"@method" "@path" '), "a component more"),
        (
            lambda text: text.replace(f";created={CREATED};expires={EXPIRES}", f";expires={EXPIRES};created={CREATED}"),
            "order",
        ),
        (lambda text: text.replace(f";expires={EXPIRES}", ""), "a parameter less"),
        (lambda text: text + ";nonce", "a parameter more"),
        (lambda text: text.replace(f"created={CREATED}", f"created={CREATED}.0"), "another type"),
        (lambda text: text.replace(f"created={CREATED}", f'created="{CREATED}"'), "a string"),
        (lambda text: text.replace(f"created={CREATED}", f"created=@{CREATED}"), "a date"),
        (lambda text: text.replace(";created", f";created={CREATED + 60};created"), "twice"),
        (lambda text: f"{text}, {text}", "the label twice"),
    ],
)
def test_what_a_signature_says_of_itself_cannot_change(change: Callable[[str], str], what: str) -> None:
    request = signed()
    changed = change(header(request, "Signature-Input"))

    assert changed != header(request, "Signature-Input"), what
    refused(with_header(request, "Signature-Input", changed))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" ", "   "),
        lambda text: text.replace("(", "(  ").replace(")", "  )"),
        lambda text: text.replace(";", ";  "),
        lambda text: text.replace(f"={CREATED}", f"=0{CREATED}"),
        lambda text: f"  {text}  ",
        lambda text: text.replace(" ", "\r\n ", 1),
    ],
)
def test_another_spelling_of_the_same_parameters_verifies(change: Callable[[str], str]) -> None:
    """RFC 9421 section 3.2, step 7: the base is written from what was parsed, so a proxy may write it anew."""
    request = signed()

    assert verify(with_header(request, "Signature-Input", change(header(request, "Signature-Input"))), [QERKO]).windows


# -- RFC 9421: components ------------------------------------------------------------------------

STRUCTURED = unsigned(
    ("X-Dict", 'a=1,   b=("x" y);q=1.50, c, d=?1, e="é"'.replace("é", "e")),
    ("X-List", "gzip,  br;q=0.5,(a  b)"),
    ("X-List", "gzip"),
    ("X-Item", "  007"),
    ("X-Text", "no such, structure: at all"),
    ("X-Latin", "caf\xe9"),
    ("X-Twice", "a=1"),
    ("X-Twice", "a=2"),
    ("X-Broken-Fold", "one\r\ntwo"),
    ("X-Folds", "one \r\n\ttwo\n three"),
)


def value_of(component: Component, request: SignedRequest = STRUCTURED) -> str:
    base = signature_base(request, [component], {}).decode()
    return base.rpartition("\n")[0].partition(": ")[2]


@pytest.mark.parametrize(
    ("component", "value"),
    [
        ("x-list", "gzip,  br;q=0.5,(a  b), gzip"),
        (("x-list", {"sf": True}), "gzip, br;q=0.5, (a b), gzip"),
        (("x-dict", {"sf": True}), 'a=1, b=("x" y);q=1.5, c, d, e="e"'),
        (("x-item", {"sf": True}), "7"),
        (("x-dict", {"key": "b"}), '("x" y);q=1.5'),
        (("x-dict", {"key": "c", "sf": True}), "?1"),
        (("x-dict", {"sf": True, "key": "d"}), "?1"),
        (("x-latin", {"bs": True}), ":Y2Fm6Q==:"),
        (("x-list", {"bs": True}), ":Z3ppcCwgIGJyO3E9MC41LChhICBiKQ==:, :Z3ppcA==:"),
        ("x-folds", "one two three"),
        (("content-type", {"sf": True}), "application/json"),
    ],
)
def test_a_field_is_written_as_its_parameters_ask(component: Component, value: str) -> None:
    assert value_of(component) == value


@pytest.mark.parametrize(
    ("target_uri", "component", "value"),
    [
        ("HTTPS://Pos.Example:443/A?b", "@authority", "pos.example"),
        ("HTTPS://Pos.Example:443/A?b", "@scheme", "https"),
        ("HTTPS://Pos.Example:443/A?b", "@target-uri", "HTTPS://Pos.Example:443/A?b"),
        ("http://pos.example:443/", "@authority", "pos.example:443"),
        ("http://pos.example:80/", "@authority", "pos.example"),
        ("http://pos.example:/", "@authority", "pos.example"),
        ("https://[2001:DB8::443]:443/", "@authority", "[2001:db8::443]"),
        ("https://[2001:db8::1]", "@authority", "[2001:db8::1]"),
        ("https://user:pw@pos.example/a#b", "@authority", "pos.example"),
        ("https://user:pw@pos.example/a#b", "@target-uri", "https://pos.example/a"),
        ("gopher://pos.example:70/", "@authority", "pos.example:70"),
        ("https://pos.example", "@path", "/"),
        ("https://pos.example", "@request-target", "/"),
        ("https://pos.example?a", "@request-target", "/?a"),
        ("https://pos.example?a#b?c", "@query", "?a"),
        ("https://pos.example/a?", "@query", "?"),
        ("https://pos.example/a?", "@request-target", "/a?"),
        ("https://pos.example/a%2Fb//c/../d;e", "@path", "/a%2Fb//c/../d;e"),
        ("https://pos.example/?a=%c3%a9+~*&b", ("@query-param", {"name": "a"}), "%C3%A9%20%7E*"),
        ("https://pos.example/?a=%c3%a9+~*&b", ("@query-param", {"name": "b"}), ""),
        ("https://pos.example/?a=%ff", ("@query-param", {"name": "a"}), "%EF%BF%BD"),
        ("https://pos.example/?a=1;b=2", ("@query-param", {"name": "a"}), "1%3Bb%3D2"),
    ],
)
def test_an_address_is_taken_apart_as_a_browser_would(target_uri: str, component: Component, value: str) -> None:
    assert value_of(component, unsigned(target_uri=target_uri)) == value


@pytest.mark.parametrize(
    "component",
    [
        "x-nowhere",
        "Content-Type",
        "",
        "x-latin",
        "x-broken-fold",
        "@status",
        "@signature-params",
        "@unheard-of",
        "@query-param",
        ("@query-param", {"name": "y"}),
        ("@query-param", {"name": Token("x")}),
        ("@query-param", {"name": "x", "req": True}),
        ("@method", {"req": True}),
        ("@method", {"sf": True}),
        ("@path", {"name": "x"}),
        ("content-type", {"req": True}),
        ("content-type", {"tr": True}),
        ("content-type", {"unheard-of": 1}),
        ("content-type", {"name": "x"}),
        ("content-type", {"sf": False}),
        ("content-type", {"sf": 1}),
        ("content-type", {"bs": False}),
        ("content-type", {"bs": "yes"}),
        ("x-dict", {"bs": True, "sf": True}),
        ("x-dict", {"bs": True, "key": "a"}),
        ("x-dict", {"key": "a", "sf": False}),
        ("x-dict", {"key": "nowhere"}),
        ("x-dict", {"key": Token("a")}),
        ("x-dict", {"key": True}),
        ("x-dict", {"key": "a", "tr": True}),
        ("x-twice", {"key": "a"}),
        ("x-twice", {"sf": True}),
        ("x-list", {"key": "gzip"}),
        ("x-text", {"sf": True}),
        ("x-text", {"key": "no"}),
        ("x-latin", {"sf": True}),
        ("x-nowhere", {"sf": True}),
        ("x-nowhere", {"bs": True}),
        ("x-nowhere", {"key": "a"}),
        ("x\nx", {}),
    ],
)
def test_a_component_without_a_value_is_refused(component: Component) -> None:
    name, parameters = (component, {}) if isinstance(component, str) else component
    covered = f'("content-digest" {http_sf.ser((name, dict(parameters)))})' if name.isprintable() else '("a\\n")'

    with pytest.raises(ValueError, match=r".+"):
        signature_base(STRUCTURED, [component], {})
    assert refused(signed_by_hand(covered, request=STRUCTURED)).reason == "signature_malformed"


def test_a_header_that_is_not_covered_may_be_anything() -> None:
    assert verify(signed(STRUCTURED), [QERKO]).key == 0


@pytest.mark.parametrize(
    "target_uri", ["", "/qerko/webhook/", "//pos.example/", "https:///", "pos.example", "https://pos.example/\n?a"]
)
def test_an_address_that_is_not_absolute_is_refused(target_uri: str) -> None:
    request = replace(signed(components=["@path", "content-digest"]), target_uri=target_uri)

    assert refused(request).reason == "signature_malformed"


@pytest.mark.parametrize(
    "components",
    [
        ["content-type", "content-type"],
        [("content-digest", {"sf": True, "key": "sha-256"}), ("content-digest", {"key": "sha-256", "sf": True})],
        ["@method", "@path", "@method"],
    ],
)
def test_no_component_is_covered_twice_whatever_the_order_of_its_parameters(components: list[Component]) -> None:
    with pytest.raises(ValueError, match="twice"):
        signature_base(unsigned(), components, {})


def test_one_field_may_be_covered_in_different_forms() -> None:
    forms: list[Component] = [
        "content-digest",
        ("content-digest", {"sf": True}),
        ("content-digest", {"bs": True}),
        ("content-digest", {"key": "sha-256"}),
    ]

    assert verify(signed(components=forms), [QERKO]).key == 0


def test_the_signature_of_a_proxy_may_be_covered() -> None:
    proxied = signed(label="proxy", mac=OLD)
    covered: list[Component] = [
        "content-digest",
        ("signature", {"key": "proxy"}),
        ("signature-input", {"key": "proxy"}),
    ]
    ours = sign_rfc9421(proxied, QERKO, components=covered, created=CREATED, expires=EXPIRES)

    assert verify(joined(proxied, with_headers(unsigned(), ours)), [QERKO]).key == 0
    for name in ("Signature", "Signature-Input"):
        changed = with_header(proxied, name, header(proxied, name) + ";x")
        refused(joined(changed, with_headers(unsigned(), ours)))


# -- RFC 9421: algorithm and parameters ----------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"alg": "hmac-sha256"},
        {"keyid": "whatever"},
        {"keyid": 7, "nonce": Token("n"), "tag": True},
        {"unheard-of": Decimal("1.5"), "and-another": b"bytes"},
    ],
)
def test_no_parameter_is_required_and_none_is_refused(parameters: Parameters) -> None:
    assert verify(signed(parameters=parameters), [QERKO]).key == 0


@pytest.mark.parametrize(
    "alg",
    ["HMAC-SHA256", "hmac-sha512", "rsa-pss-sha512", "", Token("hmac-sha256"), DisplayString("hmac-sha256"), True, 1],
)
def test_an_algorithm_that_is_named_is_hmac_sha256_to_the_letter(alg: str | Token | DisplayString | bool | int) -> None:
    forged = refused(signed(parameters={"alg": alg}))

    assert forged.reason == "signature_mismatch"
    assert "algorithm" in forged.finding


@pytest.mark.parametrize(
    ("parameters", "window"),
    [
        ({}, Window(created=None, expires=None)),
        ({"created": CREATED}, Window(created=CREATED, expires=None)),
        ({"created": True, "expires": EXPIRES}, Window(created=None, expires=EXPIRES)),
        ({"created": str(CREATED), "expires": Decimal(EXPIRES)}, Window(created=None, expires=None)),
        ({"created": -1, "expires": 10**15 - 1}, Window(created=None, expires=None)),
        ({"created": CREATED * 1000, "expires": EXPIRES * 1000}, Window(created=None, expires=None)),
        ({"created": Token("now"), "expires": b""}, Window(created=None, expires=None)),
        ({"created": datetime(2026, 1, 1, tzinfo=UTC), "expires": 0}, Window(created=None, expires=0)),
    ],
)
def test_a_time_of_a_wrong_type_is_missing_but_the_signature_verifies(parameters: Parameters, window: Window) -> None:
    assert verify(signed(created=None, expires=None, parameters=parameters), [QERKO]).windows == (window,)


# -- RFC 9421: several labels --------------------------------------------------------------------


def signed_in_lines(*lines: str) -> SignedRequest:
    """A request that was sent with several lines of one header."""
    request = unsigned()
    headers = [*request.headers, *(("X-Custom", line) for line in lines)]
    return signed(replace(request, headers=headers), components=["content-digest", "x-custom"])


@pytest.mark.parametrize("joint", [", ", ","])
def test_lines_of_one_header_verify_however_the_server_joined_them(joint: str) -> None:
    request = signed_in_lines("a", 'b;c="d, e"')
    apart = [(name, value) for name, value in request.headers if name != "X-Custom"]
    assert verify(request, [QERKO]).key == 0

    joined = replace(request, headers=[*apart, ("x-custom", joint.join(["a", 'b;c="d, e"']))])
    assert verify(joined, [QERKO]).key == 0
    refused(replace(joined, headers=[*apart, ("x-custom", joint.join(['b;c="d, e"', "a"]))]))


def test_a_comma_that_was_signed_without_a_space_is_as_it_was_signed() -> None:
    request = signed_in_lines("a,b")
    apart = [(name, value) for name, value in request.headers if name != "X-Custom"]

    assert verify(request, [QERKO]).key == 0
    refused(replace(request, headers=[*apart, ("X-Custom", "a, b")]))


def test_labels_of_somebody_else_do_not_matter() -> None:
    request = joined(signed(label="a", mac=STRANGER), signed(label="b", components=[]), signed(label="c"))

    assert verify(request, [QERKO]).windows == (Window(created=CREATED, expires=EXPIRES),)


def test_every_label_that_verifies_brings_its_window() -> None:
    request = joined(signed(label="a", mac=OLD, created=1), signed(label="b", created=2), signed(label="c", created=3))

    seal = verify(request, [QERKO, OLD])

    assert seal.key == 1
    assert [window.created for window in seal.windows] == [1, 2, 3]


def test_no_more_than_four_labels_are_looked_at() -> None:
    strangers = [signed(label=f"s{number}", mac=STRANGER) for number in range(4)]

    assert verify(joined(*strangers[:3], signed()), [QERKO]).key == 0
    assert refused(joined(*strangers, signed())).reason == "signature_mismatch"


def test_labels_are_counted_in_the_order_of_signature_input() -> None:
    strangers = [signed(label=f"s{number}", mac=STRANGER) for number in range(4)]
    request = joined(signed(), *strangers)
    reversed_signatures = [pair for pair in reversed(request.headers) if pair[0] == "Signature"]

    moved = replace(request, headers=[*without(request, "Signature").headers, *reversed_signatures])

    assert verify(moved, [QERKO]).key == 0


def test_a_label_without_a_signature_or_of_a_strange_shape_spoils_no_other() -> None:
    request = signed()
    shapes = 'lonely=("@method"), item="x", tokens=(a b), ' + header(request, "Signature-Input")
    signatures = "item=:AAAA:, tokens=:AAAA:, " + header(request, "Signature")

    strange = with_header(with_header(request, "Signature-Input", shapes), "Signature", signatures)

    assert verify(strange, [QERKO]).key == 0


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([signed(label="a", mac=STRANGER), signed(label="b", components=["@method"])], "body_not_bound"),
        (
            [signed(label="b", components=["@method"]), signed(unsigned(digest="md5=:AAAA:"), label="a")],
            "body_not_bound",
        ),
        ([signed(label="a", mac=STRANGER), with_headers(unsigned(), {"Signature-Input": "b=1"})], "signature_mismatch"),
    ],
)
def test_of_several_failures_the_nearest_is_counted_and_all_are_told(labels: list[SignedRequest], reason: str) -> None:
    forged = refused(joined(*labels))

    assert forged.reason == reason
    assert "'a'" in forged.finding
    assert "'b'" in forged.finding


# -- The body is bound ---------------------------------------------------------------------------

SHA256, SHA512 = content_digest(BODY), content_digest(BODY, "sha-512")
WRONG = content_digest(b"another body")
WHOLE: Component = "content-digest"


@pytest.mark.parametrize(
    ("digest", "components"),
    [
        (SHA256, [WHOLE]),
        (SHA512, [WHOLE]),
        (f"{SHA256}, {SHA512}", [WHOLE]),
        (f"md5=:AAAA:, {SHA512}", [WHOLE]),
        (SHA256, [("content-digest", {"sf": True})]),
        (SHA256, [("content-digest", {"bs": True})]),
        (SHA256, [("content-digest", {"key": "sha-256"})]),
        (f"{WRONG}, {SHA512}", [("content-digest", {"key": "sha-512", "sf": True})]),
        (f"md5=:AAAA:, {SHA512}", [("content-digest", {"key": "md5"}), ("content-digest", {"key": "sha-512"})]),
    ],
)
def test_a_covered_digest_of_the_body_binds_it(digest: str, components: list[Component]) -> None:
    request = signed(unsigned(digest=digest), components=components)

    assert verify(request, [QERKO]).key == 0
    assert refused(replace(request, body=b"another body")).reason == "digest_mismatch"


@pytest.mark.parametrize(
    ("digest", "components"),
    [
        (SHA256, []),
        (SHA256, ["@method", "@target-uri", "content-type"]),
        ("md5=:AAAA:", [WHOLE]),
        ("SHA-256=abc", [WHOLE]),
        (f"{WRONG}, {SHA256}", [WHOLE]),
        (f"md5=:AAAA:, {SHA256}", [("content-digest", {"key": "md5"})]),
    ],
)
def test_a_body_that_nothing_binds_is_refused_unless_the_hmac_binds_it(
    digest: str, components: list[Component]
) -> None:
    request = signed(unsigned(digest=digest), components=components)

    assert refused(request).reason == "body_not_bound"
    assert verify(hmac_signed(request), [QERKO]).windows == (Window(created=CREATED, expires=EXPIRES),)


@pytest.mark.parametrize(
    ("digest", "components"),
    [
        (WRONG, [WHOLE]),
        (f"{SHA512}, {WRONG}", [WHOLE]),
        (WRONG, [("content-digest", {"key": "sha-256"})]),
        ("sha-256=:AAAA:", [WHOLE]),
        ('sha-256="text"', [WHOLE]),
        ("sha-512", [WHOLE]),
        ("sha-256=(:AAAA:)", [WHOLE]),
    ],
)
def test_a_wrong_digest_that_is_covered_is_refused_even_beside_a_good_hmac(
    digest: str, components: list[Component]
) -> None:
    request = signed(unsigned(digest=digest), components=components)

    assert refused(request).reason == "digest_mismatch"
    assert refused(hmac_signed(request)).reason == "digest_mismatch"


def test_a_wrong_digest_that_nobody_covers_does_not_matter() -> None:
    request = hmac_signed(signed(unsigned(digest=WRONG), components=["@method"]))

    assert verify(request, [QERKO]).schemes == {RFC9421, HMAC_SHA256}


def test_an_empty_body_can_be_bound() -> None:
    assert verify(signed(unsigned(body=b"")), [QERKO]).key == 0


def test_a_label_that_binds_nothing_is_none_but_another_may_bind() -> None:
    request = joined(signed(label="a", components=["@method"], created=1), signed(label="b", created=2))

    assert [window.created for window in verify(request, [QERKO]).windows] == [2]


# -- Whatever a stranger writes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature_input", "signature"),
    [
        ("", ""),
        ("qerko", "qerko=:AAAA:"),
        ("qerko=?1", "qerko=:AAAA:"),
        ("qerko=(a)", "qerko=:AAAA:"),
        ("qerko=(1)", "qerko=:AAAA:"),
        ("qerko=(())", "qerko=:AAAA:"),
        ('qerko=("@method")', "qerko"),
        ('qerko=("@method")', 'qerko="AAAA"'),
        ('qerko=("@method")', "qerko=(:AAAA:)"),
        ('qerko=("@method")', "other=:AAAA:"),
        ('qerko=("@method"', "qerko=:AAAA:"),
        ('qerko=("@method");', "qerko=:AAAA:"),
        ('qerko=("@method"),', "qerko=:AAAA:"),
        ('Qerko=("@method")', "Qerko=:AAAA:"),
        ('qerko=("@method")', "qerko=:é:"),
        ("\x00", "\x7f"),
        ("(" * 5000, "qerko=:AAAA:"),
        ("qerko=" + "9" * 1000, "qerko=:AAAA:"),
        ('qerko=("@method");created=@99999999999999', "qerko=:AAAA:"),
        ('qerko=("@method");created=%"%ff"', "qerko=:AAAA:"),
        ("qerko=\ud800", "qerko=:AAAA:"),
        ("a\nb", "qerko=:AAAA:"),
    ],
)
def test_headers_that_are_no_signature_are_malformed(signature_input: str, signature: str) -> None:
    headers = {"Signature-Input": signature_input, "Signature": signature}

    assert refused(with_headers(unsigned(), headers)).reason == "signature_malformed"


def test_a_component_list_is_bounded() -> None:
    def covering(number: int) -> SignedRequest:
        names = [f"x-{place}" for place in range(number - 1)]
        request = unsigned(*((name, "") for name in names))
        base = "".join(f'"{name}": \n' for name in names) + f'"content-digest": {SHA256}\n"@signature-params": '
        covered = "(" + " ".join(f'"{name}"' for name in (*names, "content-digest")) + ")"
        return signed_by_hand(covered, request=request, base=(base + covered).encode())

    assert verify(covering(MAX_COMPONENTS), [QERKO]).key == 0
    assert refused(covering(MAX_COMPONENTS + 1)).reason == "signature_malformed"


def test_the_length_of_signature_input_is_bounded() -> None:
    def padded(length: int) -> SignedRequest:
        short = signed(parameters={"nonce": ""})
        missing = length - len(header(short, "Signature-Input"))
        return signed(parameters={"nonce": "n" * missing})

    assert verify(padded(MAX_SIGNATURE_INPUT), [QERKO]).key == 0
    assert refused(padded(MAX_SIGNATURE_INPUT + 1)).reason == "signature_malformed"


def test_all_that_is_parsed_before_anything_is_proved_is_bounded() -> None:
    request = unsigned(("X-Large", "a," * (MAX_PARSED // 2) + "a"))

    assert value_of("x-large", request)
    with pytest.raises(ValueError, match=str(MAX_PARSED)):
        signature_base(request, [("x-large", {"sf": True})], {})


HEADER_NAMES = ("Signature-Input", "Signature", "Signature-SHA256", "Content-Digest", "Content-Type", "X-Other")
FRAGMENTS = st.sampled_from(
    [
        *('"@method"', '"@query-param";name="x"', '"content-digest"', '"content-type";sf', '"x-other";bs', '"é"'),
        *("qerko", "=", "(", ")", ":", ";", ",", " ", '"', "?1", "%", "@", "\\", "\t", "\r\n ", "\x00", "\xff"),
        *(";created=1", ";expires", ";alg", ";key=", ";tr", ";req", "sha-256", "AAAA", "0" * 64, "A" * 43 + "="),
    ]
)
GARBAGE = st.one_of(st.text(), st.lists(FRAGMENTS).map("".join), st.binary().map(lambda raw: raw.decode("latin-1")))


@settings(max_examples=200, deadline=None)
@given(
    headers=st.lists(st.tuples(st.one_of(st.sampled_from(HEADER_NAMES), st.text()), GARBAGE)),
    target_uri=st.one_of(st.just(URL), GARBAGE),
    method=st.one_of(st.just("POST"), GARBAGE),
    body=st.binary(),
)
def test_garbage_is_forged_and_nothing_else(
    headers: list[tuple[str, str]], target_uri: str, method: str, body: bytes
) -> None:
    forged = refused(SignedRequest(method=method, target_uri=target_uri, headers=headers, body=body))

    assert forged.reason in {"signature_missing", "signature_malformed", "signature_mismatch"}
    assert len(forged.finding) < 1200


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(HEADER_NAMES[:4]), start=st.integers(0, 300), length=st.integers(0, 9), put=GARBAGE)
def test_garbage_inside_a_real_signature_is_forged_or_says_the_same(
    name: str, start: int, length: int, put: str
) -> None:
    request = hmac_signed(signed())
    text = header(request, name)
    changed = with_header(request, name, text[:start] + put + text[start + length :])

    heard = outcome(changed)

    assert heard == verify(request, [QERKO]) or str(heard).startswith(("signature_", "digest_", "body_"))


def outcome(request: SignedRequest) -> Seal | str:
    try:
        return verify(request, [QERKO])
    except Forged as forged:
        return forged.reason


# -- What is told, and what never ----------------------------------------------------------------


def test_no_finding_tells_what_would_have_been_right() -> None:
    request = hmac_signed(signed())
    right = {header(request, name) for name in ("Signature", "Signature-SHA256")}
    secrets = {*right, header(request, "Signature").split(":")[1], content_digest(b"x").split(":")[1]}
    forgeries = [
        hmac_signed(signed(), STRANGER),
        hmac_signed(signed(mac=STRANGER)),
        replace(request, body=b"x"),
        signed(unsigned(digest=WRONG)),
        without(request, "Signature"),
    ]

    for forgery in forgeries:
        forged = refused(forgery)
        assert not any(secret in str(forged.__dict__) + str(forged) for secret in secrets)


def test_a_deliveryshows_neither_headers_nor_body() -> None:
    shown = repr(hmac_signed(signed()))

    assert "Signature" not in shown
    assert "getTableList" not in shown


# -- A bare label --------------------------------------------------------------------------------


def test_a_label_can_be_checked_apart_from_policy() -> None:
    request = signed(components=[], created=None, expires=None, mac=OLD)

    assert verify_label(request, "qerko", [QERKO, OLD]) == 1


@pytest.mark.parametrize(
    ("delivery", "label", "reason"),
    [
        (signed(), "other", "signature_malformed"),
        (without(signed(), "Signature"), "qerko", "signature_malformed"),
        (signed(mac=STRANGER), "qerko", "signature_mismatch"),
    ],
)
def test_a_label_that_does_not_verify_is_forged(delivery: SignedRequest, label: str, reason: str) -> None:
    with pytest.raises(Forged) as caught:
        verify_label(delivery, label, [QERKO])

    assert caught.value.reason == reason


# -- Time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("created", "expires", "reason"),
    [
        (1000, 1000, None),
        (0, 1000, None),
        (1000, 9999, None),
        (1005, 9999, None),
        (1005.001, 9999, "created_in_future"),
        (900, 999.999, "expired"),
        (1001, 1000, "window_missing"),
        (1100, 900, "expired"),
        (None, 9999, "window_missing"),
        (1000, None, "window_missing"),
        (None, None, "window_missing"),
    ],
)
def test_a_window_holds_from_created_less_the_skew_until_expires(
    created: float | None, expires: float | None, reason: str | None
) -> None:
    assert judged(Window(created=created, expires=expires)) == reason


def judged(window: Window) -> str | None:
    try:
        window.judge(now=1000, skew=5)
    except OutOfWindow as failure:
        return failure.reason
    return None


NOW = Window(created=990, expires=1010)
PAST, FUTURE, NEVER = (
    Window(created=900, expires=950),
    Window(created=1100, expires=1200),
    Window(created=None, expires=None),
)


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        ([], "window_missing"),
        ([NEVER], "window_missing"),
        ([NEVER, FUTURE], "created_in_future"),
        ([PAST, FUTURE, NEVER], "expired"),
    ],
)
def test_the_window_that_came_nearest_is_told(windows: list[Window], reason: str) -> None:
    with pytest.raises(OutOfWindow) as caught:
        judge_windows(windows, now=1000, skew=5)

    assert caught.value.reason == reason


def test_the_first_window_that_holds_now_is_taken() -> None:
    later = replace(NOW, expires=2000)

    assert judge_windows([NEVER, PAST, NOW, later], now=1000, skew=5) is NOW


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (1_700_000_000, 1_700_000_000),
        (Decimal("1700000000.25"), 1_700_000_000.25),
        ("1700000000", 1_700_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T22:13:20.500+00:00", 1_700_000_000.5),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        ("2023-11-14T22:13:20", None),
        ("2023-11-14", None),
        ("0001-01-01T00:00:00+00:00", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("1700000000000", None),
        ("-1", None),
        ("1.5", None),
        ("1_700", None),
        (" 1700000000", None),
        ("\u0661\u0667", None),
        ("NaN", None),
        ("soon", None),
        ("", None),
        ("2023-11-14T22:13:20\ud80000:00", None),
        (None, None),
        (True, None),
        (False, None),
        (-1, None),
        (1_700_000_000_000, None),
        (10**400, None),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (Decimal("Infinity"), None),
        (Decimal("1E+999999"), None),
        (float("nan"), None),
        (float("inf"), None),
        ([], None),
        ({"seconds": 1}, None),
    ],
)
def test_a_time_in_a_body_is_read_or_missing(value: object, seconds: float | None) -> None:
    assert body_window(value, None) == Window(created=seconds, expires=None)
    assert body_window(None, value) == Window(created=None, expires=seconds)


@settings(max_examples=100, deadline=None)
@given(value=st.one_of(st.text(), st.integers(), st.decimals(), st.floats(), st.datetimes().map(str), st.none()))
def test_no_time_in_a_body_breaks_anything(value: object) -> None:
    assert judged(body_window(value, value)) in {None, "window_missing", "created_in_future", "expired"}


# -- Signing -------------------------------------------------------------------------------------


def test_a_signer_may_leave_times_out_and_choose_the_rest() -> None:
    headers = sign_rfc9421(
        unsigned(),
        QERKO,
        components=["@method"],
        created=None,
        expires=None,
        label="x",
        parameters={"expires": Token("never"), "tag": "t"},
    )

    assert headers["Signature-Input"] == 'x=("@method");expires=never;tag="t"'


def test_a_signer_covers_method_address_digest_and_type() -> None:
    headers = sign_rfc9421(unsigned(), QERKO, created=CREATED, expires=EXPIRES)

    assert headers["Signature-Input"] == (
        'qerko=("@method" "@target-uri" "content-digest" "content-type");created=1700000000;expires=1700000060'
    )


@pytest.mark.parametrize(
    "options",
    [
        {"components": ["x-nowhere"]},
        {"label": "Not A Key"},
        {"parameters": {"created": object()}},
        {"parameters": {"nonce": "é"}},
        {"components": [("content-type", {"Bad Name": 1})]},
    ],
)
def test_a_signer_hears_of_what_cannot_be_signed(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        sign_rfc9421(unsigned(), QERKO, created=CREATED, expires=EXPIRES, **options)  # type: ignore[arg-type]


def test_digests_are_those_of_rfc_9530() -> None:
    assert content_digest(b'{"hello": "world"}') == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    assert content_digest(BODY, "sha-512") == f"sha-512=:{b64encode(hashlib.sha512(BODY).digest()).decode()}:"
    with pytest.raises(KeyError):
        content_digest(BODY, "md5")


def test_an_hmac_is_lower_case_hex_unless_base64_is_asked_for() -> None:
    digest = QERKO(BODY)

    assert sign_hmac(BODY, QERKO) == digest.hex()
    assert sign_hmac(BODY, QERKO, encoding="base64") == b64encode(digest).decode()
    with pytest.raises(KeyError):
        sign_hmac(BODY, QERKO, encoding="base32")

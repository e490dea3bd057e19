"""The examples of RFC 9421 itself: values, signature bases, and signatures that were made elsewhere.

Each test's name finishes the sentence "Qerko expects that…".
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key

from django_qerko.signatures import Component, Parameters, SignedRequest, sign_rfc9421, signature_base, verify_label

SHARED_SECRET = b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
shared_secret_mac = partial(hmac.digest, SHARED_SECRET, digest="sha256")

PUBLIC_KEYS = {
    "test-key-rsa-pss": (
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbP"
        "fvMs8ct+Lh1GH45x28Rw3Ry53mm+oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPF"
        "mTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZY"
        "oA485mqcO0GVAdVw9lq4aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI2wIDAQAB"
    ),
    "test-key-ecc-p256": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71"
        "Z50VGGdldkkDXZCnTNnoXQ=="
    ),
    "test-key-ed25519": "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
}
SIGNATURES = {
    "sig-b21": (
        "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsc"
        "kzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXe"
        "hhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9"
        "mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q=="
    ),
    "sig-b22": (
        "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkS"
        "owOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkj"
        "qpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAox"
        "k//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw=="
    ),
    "sig-b23": (
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp76"
        "8ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQo"
        "Ld7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX"
        "2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA=="
    ),
    "sig-b26": "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    "ttrp": "xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==",
    "transform": "ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==",
}
CLIENT_CERT = (
    ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEl"
    "udGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQY"
    "IKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo"
    "9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAw"
    "wCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4"
    "/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
)

DIGEST = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
#: The request of section 2.5, which is `test-request` of appendix B.2 too.
TEST_REQUEST = SignedRequest(
    method="POST",
    target_uri="https://example.com/foo?param=Value&Pet=dog",
    headers=[
        ("Host", "example.com"),
        ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("Content-Type", "application/json"),
        ("Content-Digest", DIGEST),
        ("Content-Length", "18"),
    ],
    body=b'{"hello": "world"}',
)
CREATED = 1618884473

LINES = {
    "date": '"date": Tue, 20 Apr 2021 02:07:55 GMT',
    "@method": '"@method": POST',
    "@path": '"@path": /foo',
    "@query": '"@query": ?param=Value&Pet=dog',
    "@authority": '"@authority": example.com',
    "content-type": '"content-type": application/json',
    "content-digest": f'"content-digest": {DIGEST}',
    "content-length": '"content-length": 18',
}


def request(
    *headers: tuple[str, str], target_uri: str = "https://www.example.com/", method: str = "GET"
) -> SignedRequest:
    return SignedRequest(method=method, target_uri=target_uri, headers=headers, body=b"")


def line(signed: SignedRequest, component: Component) -> str:
    return signature_base(signed, [component], {}).decode().rpartition("\n")[0]


def verify_elsewhere(key_name: str, signature: str, base: bytes) -> None:
    """Check one of the RFC's own signatures with another library; raises InvalidSignature."""
    key, made = load_der_public_key(b64decode(PUBLIC_KEYS[key_name])), b64decode(signature)
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(made, base)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        halves = (int.from_bytes(made[:32], "big"), int.from_bytes(made[32:], "big"))
        key.verify(encode_dss_signature(*halves), base, ec.ECDSA(SHA256()))
    else:
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(made, base, padding.PSS(padding.MGF1(SHA512()), 64), SHA512())


# -- Section 2.1: fields --------------------------------------------------------------------------

FIELDS = request(
    ("Host", "www.example.com"),
    ("Date", "Tue, 20 Apr 2021 02:07:56 GMT"),
    ("X-OWS-Header", "   Leading and trailing whitespace.   "),
    ("X-Obs-Fold-Header", "Obsolete\r\n    line folding."),
    ("Cache-Control", "max-age=60"),
    ("X-Empty-Header", " "),
    ("Cache-Control", "   must-revalidate"),
    ("Example-Dict", "  a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
)
MEMBERS = request(("Example-Dict", "  a=1, b=2;x=1;y=2, c=(a   b    c), d"))
SPLIT = request(("Example-Header", "value, with, lots"), ("Example-Header", "of, commas"))
WHOLE = request(("Example-Header", "value, with, lots, of, commas"))


@pytest.mark.parametrize(
    ("signed", "component", "expected"),
    [
        (FIELDS, "host", '"host": www.example.com'),
        (FIELDS, "date", '"date": Tue, 20 Apr 2021 02:07:56 GMT'),
        (FIELDS, "x-ows-header", '"x-ows-header": Leading and trailing whitespace.'),
        (FIELDS, "x-obs-fold-header", '"x-obs-fold-header": Obsolete line folding.'),
        (FIELDS, "cache-control", '"cache-control": max-age=60, must-revalidate'),
        (FIELDS, "example-dict", '"example-dict": a=1,    b=2;x=1;y=2,   c=(a   b   c)'),
        (FIELDS, "x-empty-header", '"x-empty-header": '),
        (FIELDS, ("example-dict", {"sf": True}), '"example-dict";sf: a=1, b=2;x=1;y=2, c=(a b c)'),
        (MEMBERS, ("example-dict", {"key": "a"}), '"example-dict";key="a": 1'),
        (MEMBERS, ("example-dict", {"key": "d"}), '"example-dict";key="d": ?1'),
        (MEMBERS, ("example-dict", {"key": "b"}), '"example-dict";key="b": 2;x=1;y=2'),
        (MEMBERS, ("example-dict", {"key": "c"}), '"example-dict";key="c": (a b c)'),
        (SPLIT, "example-header", '"example-header": value, with, lots, of, commas'),
        (WHOLE, "example-header", '"example-header": value, with, lots, of, commas'),
        (
            SPLIT,
            ("example-header", {"bs": True}),
            '"example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:',
        ),
        (
            WHOLE,
            ("example-header", {"bs": True}),
            '"example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHMsIG9mLCBjb21tYXM=:',
        ),
    ],
)
def test_a_field_is_signed_as_section_2_1_shows_it(signed: SignedRequest, component: Component, expected: str) -> None:
    assert line(signed, component) == expected


# -- Section 2.2: derived components --------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target_uri", "component", "expected"),
    [
        ("POST", "https://www.example.com/path?param=value", "@method", '"@method": POST'),
        (
            "POST",
            "https://www.example.com/path?param=value",
            "@target-uri",
            '"@target-uri": https://www.example.com/path?param=value',
        ),
        ("POST", "https://www.example.com/path?param=value", "@authority", '"@authority": www.example.com'),
        ("POST", "http://www.example.com/path?param=value", "@scheme", '"@scheme": http'),
        ("POST", "http://www.example.com/path?param=value", "@request-target", '"@request-target": /path?param=value'),
        ("GET", "https://www.example.com/path?param=value", "@path", '"@path": /path'),
        (
            "GET",
            "https://www.example.com/path?param=value&foo=bar&baz=bat%2Dman",
            "@query",
            '"@query": ?param=value&foo=bar&baz=bat%2Dman',
        ),
        ("POST", "https://www.example.com/path?queryString", "@query", '"@query": ?queryString'),
        ("POST", "https://www.example.com/path", "@query", '"@query": ?'),
    ],
)
def test_a_derived_component_is_signed_as_section_2_2_shows_it(
    method: str, target_uri: str, component: str, expected: str
) -> None:
    assert line(request(method=method, target_uri=target_uri), component) == expected


PLAIN_QUERY = "https://www.example.com/path?param=value&foo=bar&baz=batman&qux="
ENCODED_QUERY = (
    "https://www.example.com/parameters?var=this%20is%20a%20big%0Amultiline%20value&"
    "bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something"
)


@pytest.mark.parametrize(
    ("target_uri", "name", "value"),
    [
        (PLAIN_QUERY, "baz", "batman"),
        (PLAIN_QUERY, "qux", ""),
        (PLAIN_QUERY, "param", "value"),
        (ENCODED_QUERY, "var", "this%20is%20a%20big%0Amultiline%20value"),
        (ENCODED_QUERY, "bar", "with%20plus%20whitespace"),
        (ENCODED_QUERY, "fa%C3%A7ade%22%3A%20", "something"),
    ],
)
def test_a_parameter_of_the_query_is_signed_as_section_2_2_8_shows_it(target_uri: str, name: str, value: str) -> None:
    signed = request(target_uri=target_uri)

    assert line(signed, ("@query-param", {"name": name})) == f'"@query-param";name="{name}": {value}'


# -- Section 2.5 and the appendices: whole bases --------------------------------------------------


def test_the_signature_base_is_that_of_section_2_5() -> None:
    covered = ["@method", "@authority", "@path", "content-digest", "content-length", "content-type"]

    base = signature_base(TEST_REQUEST, covered, {"created": CREATED, "keyid": "test-key-rsa-pss"})

    assert base.decode() == (
        '"@method": POST\n'
        '"@authority": example.com\n'
        '"@path": /foo\n'
        f'"content-digest": {DIGEST}\n'
        '"content-length": 18\n'
        '"content-type": application/json\n'
        '"@signature-params": ("@method" "@authority" "@path" "content-digest" "content-length" "content-type")'
        ';created=1618884473;keyid="test-key-rsa-pss"'
    )


def test_a_minimal_signature_covers_its_own_parameters() -> None:
    given: Parameters = {"created": CREATED, "keyid": "test-key-rsa-pss", "nonce": "b3k2pp5k7z-50gnwp.yemd"}

    base = signature_base(TEST_REQUEST, [], given)

    assert base == (
        b'"@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"'
    )
    verify_elsewhere("test-key-rsa-pss", SIGNATURES["sig-b21"], base)


def test_a_selective_signature_covers_a_parameter_of_the_query() -> None:
    covered: list[Component] = ["@authority", "content-digest", ("@query-param", {"name": "Pet"})]
    given: Parameters = {"created": CREATED, "keyid": "test-key-rsa-pss", "tag": "header-example"}

    base = signature_base(TEST_REQUEST, covered, given)

    assert base.decode() == (
        '"@authority": example.com\n'
        f'"content-digest": {DIGEST}\n'
        '"@query-param";name="Pet": dog\n'
        '"@signature-params": ("@authority" "content-digest" "@query-param";name="Pet")'
        ';created=1618884473;keyid="test-key-rsa-pss";tag="header-example"'
    )
    verify_elsewhere("test-key-rsa-pss", SIGNATURES["sig-b22"], base)


@pytest.mark.parametrize(
    ("label", "key_name", "covered"),
    [
        (
            "sig-b23",
            "test-key-rsa-pss",
            [
                "date",
                "@method",
                "@path",
                "@query",
                "@authority",
                "content-type",
                "content-digest",
                "content-length",
            ],
        ),
        (
            "sig-b26",
            "test-key-ed25519",
            ["date", "@method", "@path", "@authority", "content-type", "content-length"],
        ),
    ],
)
def test_a_full_signature_of_another_algorithm_fits_our_base(label: str, key_name: str, covered: list[str]) -> None:
    base = signature_base(TEST_REQUEST, covered, {"created": CREATED, "keyid": key_name})

    names = " ".join(f'"{name}"' for name in covered)
    assert base.decode() == "\n".join(
        [*(LINES[name] for name in covered), f'"@signature-params": ({names});created=1618884473;keyid="{key_name}"']
    )
    verify_elsewhere(key_name, SIGNATURES[label], base)


def test_a_proxy_may_sign_a_certificate() -> None:
    signed = request(
        ("Client-Cert", CLIENT_CERT),
        method="POST",
        target_uri="https://service.internal.example/foo?param=Value&Pet=dog",
    )
    covered = ["@path", "@query", "@method", "@authority", "client-cert"]

    base = signature_base(signed, covered, {"created": CREATED, "keyid": "test-key-ecc-p256"})

    verify_elsewhere("test-key-ecc-p256", SIGNATURES["ttrp"], base)


# -- Appendix B.2.5: the vector of our own algorithm ----------------------------------------------

B25_COVERED = ["date", "@authority", "content-type"]
B25_HEADERS = {
    "Signature-Input": ('sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'),
    "Signature": "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
}


def test_the_signature_base_is_that_of_appendix_b_2_5() -> None:
    base = signature_base(TEST_REQUEST, B25_COVERED, {"created": CREATED, "keyid": "test-shared-secret"})

    assert base.decode() == (
        '"date": Tue, 20 Apr 2021 02:07:55 GMT\n'
        '"@authority": example.com\n'
        '"content-type": application/json\n'
        '"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    )


def test_the_signature_of_appendix_b_2_5_verifies() -> None:
    signed = SignedRequest(
        method=TEST_REQUEST.method,
        target_uri=TEST_REQUEST.target_uri,
        headers=[*TEST_REQUEST.headers, *B25_HEADERS.items()],
        body=TEST_REQUEST.body,
    )

    assert verify_label(signed, "sig-b25", [shared_secret_mac]) == 0


def test_signing_as_appendix_b_2_5_does_gives_its_headers() -> None:
    headers = sign_rfc9421(
        TEST_REQUEST,
        shared_secret_mac,
        components=B25_COVERED,
        created=CREATED,
        expires=None,
        label="sig-b25",
        parameters={"keyid": "test-shared-secret"},
    )

    assert headers == B25_HEADERS


# -- Section 4.3 and appendix B.4: what happens on the way ----------------------------------------


def test_a_second_signature_covers_what_a_proxy_added() -> None:
    forwarded = "for=192.0.2.123;host=example.com;proto=https"
    signed = SignedRequest(
        method="POST",
        target_uri="https://origin.host.internal.example/foo?param=Value&Pet=dog",
        headers=[*TEST_REQUEST.headers, ("Forwarded", forwarded)],
        body=TEST_REQUEST.body,
    )
    covered = ["@method", "@authority", "@path", "content-digest", "content-type", "content-length", "forwarded"]
    given: Parameters = {
        "created": 1618884480,
        "keyid": "test-key-rsa",
        "alg": "rsa-v1_5-sha256",
        "expires": 1618884540,
    }

    base = signature_base(signed, covered, given)

    assert base.decode() == (
        '"@method": POST\n'
        '"@authority": origin.host.internal.example\n'
        '"@path": /foo\n'
        f'"content-digest": {DIGEST}\n'
        '"content-type": application/json\n'
        '"content-length": 18\n'
        f'"forwarded": {forwarded}\n'
        '"@signature-params": ("@method" "@authority" "@path" "content-digest" "content-type" "content-length" '
        '"forwarded");created=1618884480;keyid="test-key-rsa";alg="rsa-v1_5-sha256";expires=1618884540'
    )


ACCEPTS = (("Accept", "application/json"), ("Accept", "*/*"))
DEMO = "https://example.org/demo?name1=Value1&Name2=value2"
TRANSFORMED_BASE = (
    b'"@method": GET\n'
    b'"@path": /demo\n'
    b'"@authority": example.org\n'
    b'"accept": application/json, */*\n'
    b'"@signature-params": ("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"'
)


def transformed_base(signed: SignedRequest) -> bytes:
    covered = ["@method", "@path", "@authority", "accept"]
    return signature_base(signed, covered, {"created": CREATED, "keyid": "test-key-ed25519"})


@pytest.mark.parametrize(
    "signed",
    [
        pytest.param(request(*ACCEPTS, target_uri=DEMO), id="as signed"),
        pytest.param(
            request(*ACCEPTS, ("Accept-Language", "en-US,en;q=0.5"), target_uri=f"{DEMO}&param=added"),
            id="something uncovered was added",
        ),
        pytest.param(request(("Accept", "application/json, */*"), target_uri=DEMO), id="lines were joined"),
        pytest.param(request(ACCEPTS[0], ("Host", "example.org"), ACCEPTS[1], target_uri=DEMO), id="others moved"),
    ],
)
def test_an_allowed_change_on_the_way_leaves_the_base_as_it_was(signed: SignedRequest) -> None:
    base = transformed_base(signed)

    assert base == TRANSFORMED_BASE
    verify_elsewhere("test-key-ed25519", SIGNATURES["transform"], base)


@pytest.mark.parametrize(
    "signed",
    [
        pytest.param(
            request(*ACCEPTS, method="POST", target_uri=DEMO.replace("example.org", "example.com")),
            id="another method and host",
        ),
        pytest.param(request(*reversed(ACCEPTS), target_uri=DEMO), id="lines changed places"),
    ],
)
def test_a_forbidden_change_on_the_way_changes_the_base(signed: SignedRequest) -> None:
    assert transformed_base(signed) != TRANSFORMED_BASE

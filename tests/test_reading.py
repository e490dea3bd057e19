"""How the bytes and the address of a delivery are read."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.test import RequestFactory

from django_qerko.exceptions import Malformed, TooLarge
from django_qerko.receiving.reading import KEPT_HEADER_LENGTH, kept_headers, read_body, signed_request


class Wire(io.BytesIO):
    """What a server hands through, and how much of it was taken."""


def request(body: bytes, **environ: Any) -> WSGIRequest:
    return WSGIRequest(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/qerko/webhook/",
            "SERVER_NAME": "pos.example",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": Wire(body),
        }
        | environ
    )


def test_a_body_with_a_length_is_read_to_its_length() -> None:
    assert read_body(request(b"12345rest of the wire", CONTENT_LENGTH="5")) == b"12345"


@pytest.mark.parametrize("length", ["", "not a number", "-5"])
def test_a_body_without_a_length_is_empty(length: str) -> None:
    assert read_body(request(b"12345", CONTENT_LENGTH=length)) == b""


def test_a_body_that_somebody_read_before_is_read_again() -> None:
    read_before = request(b"12345", CONTENT_LENGTH="5")
    assert read_before.body == b"12345"

    assert read_body(read_before) == b"12345"


def test_a_chunked_body_is_read_where_the_server_ends_it() -> None:
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

    assert read_body(request(b"x" * 100_000, **environ)) == b"x" * 100_000


def test_a_chunked_body_that_the_server_keeps_has_a_reason_of_its_own() -> None:
    with pytest.raises(Malformed) as lost:
        read_body(request(b"12345", HTTP_TRANSFER_ENCODING="chunked"))

    assert lost.value.reason == "chunked_body_lost"


def test_an_asgi_body_needs_no_length() -> None:
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]}

    assert read_body(ASGIRequest(scope, io.BytesIO(b"12345"))) == b"12345"


@pytest.mark.parametrize(
    "environ", [{"CONTENT_LENGTH": "11"}, {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}]
)
def test_a_body_over_the_cap_is_taken_off_the_wire_and_413(settings: Any, environ: dict[str, Any]) -> None:
    settings.QERKO = {"MAX_BODY_BYTES": 10}
    large = request(b"12345678901", **environ)

    with pytest.raises(TooLarge):
        read_body(large)

    assert large.environ["wsgi.input"].read() == b""
    assert read_body(request(b"1234567890", **environ | {"CONTENT_LENGTH": "10"})) == b"1234567890"


def test_what_never_ends_is_not_taken_for_ever() -> None:
    endless = request(b"x" * 6_000_000, HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input_terminated": True})

    with pytest.raises(TooLarge):
        read_body(endless)

    assert len(endless.environ["wsgi.input"].read()) > 1_000_000


def test_a_body_that_breaks_off_is_400() -> None:
    class Broken(Wire):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionError("the guest is gone")

    broken = request(b"", HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input_terminated": True, "wsgi.input": Broken()})

    with pytest.raises(Malformed) as cut:
        read_body(broken)

    assert cut.value.reason == "body_cut"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "http://pos.example/qerko/webhook/"),
        ({"SERVER_PORT": "8000"}, "http://pos.example:8000/qerko/webhook/"),
        ({"SERVER_PORT": "443", "wsgi.url_scheme": "https"}, "https://pos.example/qerko/webhook/"),
        ({"HTTP_HOST": "other.example:81"}, "http://other.example:81/qerko/webhook/"),
        (
            {"HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_X_FORWARDED_PROTO": "https"},
            "http://pos.example/qerko/webhook/",
        ),
        ({"QUERY_STRING": "a=%20&b"}, "http://pos.example/qerko/webhook/?a=%20&b"),
        ({"SCRIPT_NAME": "/pos"}, "http://pos.example/pos/qerko/webhook/"),
        ({"PATH_INFO": "/č x".encode().decode("latin-1")}, "http://pos.example/%C4%8D%20x"),
    ],
    ids=str,
)
def test_the_address_is_the_one_that_was_called(environ: dict[str, Any], expected: str) -> None:
    assert signed_request(request(b"", **environ), b"").target_uri == expected


def test_the_public_address_takes_the_place_of_our_own(settings: Any) -> None:
    settings.QERKO = {"PUBLIC_URL": "https://pos.example"}

    assert signed_request(request(b"", HTTP_HOST="10.0.0.1"), b"").target_uri == "https://pos.example/qerko/webhook/"


def test_kept_headers_hold_no_signature_and_no_credentials() -> None:
    got = RequestFactory().post(
        "/",
        data=b"{}",
        content_type="application/json",
        headers={
            "Signature": "s",
            "Signature-Input": "i",
            "Signature-SHA256": "h",
            "Authorization": "Bearer b",
            "Cookie": "c",
            "Content-Digest": "d",
            "User-Agent": "Qerko/1\0" + "x" * 1000,
        },
    )

    kept = kept_headers(got)

    assert kept.pop("User-Agent").startswith("Qerko/1\\x00xxx")
    assert kept == {"Content-Type": "application/json", "Content-Length": "2", "Content-Digest": "d"}


def test_kept_headers_are_short() -> None:
    got: HttpRequest = RequestFactory().post("/", headers={"User-Agent": "x" * 1000})

    assert len(kept_headers(got)["User-Agent"]) == KEPT_HEADER_LENGTH

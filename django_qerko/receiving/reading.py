"""Read a delivery as it came: its bytes up to the cap, its headers, and the address it came to."""

from __future__ import annotations

from typing import Final, Protocol

from django.http import HttpRequest
from django.utils.encoding import escape_uri_path

from django_qerko.conf import conf
from django_qerko.exceptions import Malformed, Rejection, TooLarge
from django_qerko.signatures import SignedRequest

#: Kept with the record. Signatures and credentials are not: whoever reads the book must not be able to use them.
KEPT_HEADERS: Final = ("Content-Type", "Content-Length", "Content-Digest", "Date", "Host", "User-Agent", "X-Request-Id")
KEPT_HEADER_LENGTH: Final = 500

#: Read and thrown away of a body that is too large, so that its sender hears the 413 and not a cut connection.
_DRAINED_BYTES: Final = 4 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_body(request: HttpRequest) -> bytes:
    """The bytes of the body.

    Raises TooLarge (413) beyond ``MAX_BODY_BYTES``, and Malformed (400) for a body that was cut, or chunked
    where the server does not hand it through.
    """
    try:
        return _read_capped(request, conf.MAX_BODY_BYTES)
    except Rejection:
        raise
    except Exception as error:
        # Django, and each server for itself, has its own exceptions for a body that ends early or is badly chunked.
        raise Malformed("body_cut", f"The body could not be read to its end: {type(error).__name__}") from error


def _read_capped(request: HttpRequest, limit: int) -> bytes:
    stream = _stream(request)
    if _declared_length(request) > limit:
        _drain(stream)
        raise TooLarge("too_large", f"The body is declared to have {_declared_length(request)} bytes")
    body = _read_up_to(stream, limit + 1)
    if len(body) > limit:
        _drain(stream)
        raise TooLarge("too_large", f"The body has more than {limit} bytes")
    return body


def signed_request(request: HttpRequest, body: bytes) -> SignedRequest:
    """The request as its sender signed it: at the public address, with the headers as they came.

    ``X-Forwarded-*`` headers are a stranger's word and are not asked; a proxy that changes the address is
    told of by ``PUBLIC_URL``.
    """
    origin = (conf.PUBLIC_URL or f"{request.scheme}://{_host(request)}").rstrip("/")
    query = request.META.get("QUERY_STRING", "")
    return SignedRequest(
        method=request.method or "",
        target_uri=f"{origin}{escape_uri_path(request.path)}{'?' if query else ''}{query}",
        headers=list(request.headers.items()),
        body=body,
    )


def kept_headers(request: HttpRequest) -> dict[str, str]:
    """The headers that are kept with the record, shortened; NUL and the like, which no database keeps, escaped."""
    found = {name: request.headers.get(name) for name in KEPT_HEADERS}
    return {
        name: value[:KEPT_HEADER_LENGTH].encode("unicode_escape").decode() for name, value in found.items() if value
    }


def _stream(request: HttpRequest) -> _Stream:
    """Where the body is read from.

    Without a Content-Length Django reads nothing of a WSGI request, so a chunked body is taken from the
    server itself, where it says that its input ends.
    """
    if "HTTP_TRANSFER_ENCODING" not in request.META or not hasattr(request, "environ"):
        return request
    if not request.META.get("wsgi.input_terminated"):
        raise Malformed("chunked_body_lost", "The body is chunked, and this server does not hand it through")
    stream: _Stream = request.META["wsgi.input"]
    return stream


def _host(request: HttpRequest) -> str:
    """The host as it was called, whether or not the project allows it: the signature judges, not the header."""
    if host := request.META.get("HTTP_HOST"):
        return str(host)
    name, port = request.META.get("SERVER_NAME", ""), str(request.META.get("SERVER_PORT", ""))
    return f"{name}:{port}" if port and port != _DEFAULT_PORTS.get(request.scheme or "") else name


def _declared_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _read_up_to(stream: _Stream, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (part := stream.read(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _drain(stream: _Stream) -> None:
    left = _DRAINED_BYTES
    while left > 0 and (part := stream.read(_CHUNK)):
        left -= len(part)

"""A small proxy on loopback between Qerko and a point of sale, which meddles with what it passes on."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.deliveries import Signed
from tests.servers import Response


@dataclass(kw_only=True)
class Passing:
    """What is passed on, and may be meddled with. Its Content-Length is written in the end, unless it is taken away."""

    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def set(self, name: str, value: str) -> None:
        self.take_away(name)
        self.headers.append((name, value))

    def take_away(self, *names: str) -> None:
        lowered = {name.lower() for name in names}
        self.headers = [header for header in self.headers if header[0].lower() not in lowered]

    def change(self, name: str, change: Callable[[str], str]) -> None:
        self.headers = [
            (known, change(value) if known.lower() == name.lower() else value) for known, value in self.headers
        ]


Meddling = Callable[[Passing], None]


def honest(_: Passing) -> None:
    """Passes on what it was given."""


@contextmanager
def proxy(to: str, meddle: Meddling = honest) -> Iterator[str]:
    """The origin of a proxy that passes everything on to another origin, the Host header included."""
    address = urlsplit(to)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = _chunks(self) if self.headers["Transfer-Encoding"] else _counted(self)
            passing = Passing(path=self.path, headers=list(self.headers.items()), body=body)
            passing.take_away("Transfer-Encoding", "Content-Length")
            meddle(passing)
            response = _pass_on(str(address.hostname), address.port, passing)
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _InOnePiece(http.client.HTTPConnection):
    """Says a request in one piece: a server that does not read a body may hang up before the rest of it leaves."""

    _said = b""

    def send(self, data: Any) -> None:
        self._said += data

    def getresponse(self) -> http.client.HTTPResponse:
        self.connect()
        self.sock.sendall(self._said)
        return super().getresponse()


def send_to(origin: str, delivery: Signed, *, path: str | None = None, chunked: bool = False) -> Response:
    """Deliver to this origin, whatever address was signed."""
    target = urlsplit(origin)
    wire = _InOnePiece(str(target.hostname), target.port, timeout=30)
    body = [delivery.body[:20], delivery.body[20:]] if chunked else delivery.body
    wire.request(
        "POST", path or urlsplit(delivery.url).path, body=body, headers=delivery.headers, encode_chunked=chunked
    )
    return _heard(wire)


def _counted(handler: BaseHTTPRequestHandler) -> bytes:
    return handler.rfile.read(int(handler.headers["Content-Length"]))


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    parts = []
    while size := int(handler.rfile.readline(), 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


def _pass_on(host: str, port: int | None, passing: Passing) -> Response:
    wire = http.client.HTTPConnection(host, port, timeout=30)
    wire.putrequest("POST", passing.path, skip_host=True, skip_accept_encoding=True)
    for name, value in [*passing.headers, ("Content-Length", str(len(passing.body)))]:
        wire.putheader(name, value)
    wire.endheaders(passing.body)
    return _heard(wire)


def _heard(wire: http.client.HTTPConnection) -> Response:
    try:
        answer = wire.getresponse()
        return Response(status=answer.status, headers=dict(answer.getheaders()), body=answer.read())
    finally:
        wire.close()

"""A point of sale that is not ours, on loopback: it answers what a test tells it, or misbehaves on the wire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import requests

from django_qerko.sandbox.qerko import PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from tests.deliveries import KEY

POS_ID: Final = "0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47"

#: What speaks for itself on the wire, instead of an answer.
Misbehaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True, kw_only=True)
class Later:
    """Answered 202, and then through ``/reply``, from a thread: each of these in turn, again while Qerko is busy."""

    letters: list[dict[str, Any]]
    status: int = 202


def later(result: Any = None) -> Later:
    return Later(letters=[{"result": result}])


def later_error(code: str | None, message: str = "No.") -> Later:
    return Later(letters=[{"error": {"code": code, "message": message}}])


@dataclass(kw_only=True)
class Till:
    """One address, what it received, and what it answers to each event: JSON, a status and JSON, bytes, or ``Later``.

    An iterator over these answers each delivery with the next.

    Replies go to ``api_url``; ``heard`` is what Qerko said to them.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    misbehave: Misbehaviour | None = None
    received: list[Received] = field(default_factory=list)
    port: int = 0
    api_url: str = ""
    heard: list[int] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def pos(self, **members: Any) -> PointOfSale:
        return replace(PointOfSale(url=self.url, api_key=KEY, name="U Kocoura"), **members)

    def post(self, path: str, body: Any, *, key: str = KEY.reveal(), pos_id: str = POS_ID) -> requests.Response:
        """Call Qerko's API: with JSON, or with bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}", "Pos-Id": pos_id}
        return requests.post(f"{self.api_url}/{path}", data=data, headers=headers, timeout=20)

    def reply(self, letters: list[dict[str, Any]], **envelope: Any) -> None:
        """Reply with each letter, again while Qerko is busy."""
        for letter in letters:
            status = 503
            while status == 503:
                status = self.post("reply", {**envelope, **letter}).status_code
                self.heard.append(status)

    def reply_soon(self, letters: list[dict[str, Any]], **envelope: Any) -> None:
        self.threads.append(threading.Thread(target=self.reply, args=[letters], kwargs=envelope))
        self.threads[-1].start()


@dataclass(frozen=True, kw_only=True)
class Received:
    """A delivery as it came, and whether each of its seals holds under ``KEY``, worked out by hand."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: tuple[str, int]

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def hmac_holds(self) -> bool:
        expected = hmac.new(KEY.reveal().encode(), self.body, hashlib.sha256).hexdigest()
        return self.headers.get("Signature-SHA256") == expected

    @property
    def rfc9421_holds(self) -> bool:
        """RFC 9421 section 2.5 for the four components that the sandbox covers, and RFC 9530 for the body."""
        covered = self.headers.get("Signature-Input", "").removeprefix("qerko=")
        values = {
            "@method": "POST",
            "@target-uri": f"http://{self.headers['Host']}{self.path}",
            **{name.lower(): value for name, value in self.headers.items()},
        }
        names = re.findall(r'"([^"]+)"', covered)
        base = "\n".join([*(f'"{name}": {values[name]}' for name in names), f'"@signature-params": {covered}'])
        mac = base64.b64encode(hmac.new(KEY.reveal().encode(), base.encode(), hashlib.sha256).digest()).decode()
        digest = base64.b64encode(hashlib.sha256(self.body).digest()).decode()
        return self.headers.get("Signature") == f"qerko=:{mac}:" and values["content-digest"] == f"sha-256=:{digest}:"

    @property
    def window(self) -> tuple[int, int]:
        found = re.search(r";created=(\d+);expires=(\d+)$", self.headers["Signature-Input"])
        assert found
        return int(found[1]), int(found[2])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    till: Till

    def do_POST(self) -> None:
        received = Received(
            path=self.path,
            headers=dict(self.headers.items()),
            body=self.rfile.read(int(self.headers["Content-Length"])),
            connection=self.client_address,
        )
        self.till.received.append(received)
        if misbehave := self.till.misbehave:
            self.close_connection = True
            misbehave(self)
            return
        event = received.document.get("event", "")
        answer = self.till.answers.get(event)
        # One delivery gets the first of them and one the next, however close together they come.
        match next(answer) if isinstance(answer, Iterator) else answer:
            case Later(letters=letters, status=status):
                self._answer(status, b"null")
                self.till.reply_soon(letters, id=received.document["id"], event=event)
            case (int(status), said):
                self._answer(status, json.dumps(said).encode())
            case bytes(body):
                self._answer(200, body)
            case said:
                self._answer(200, json.dumps(said).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A line that was cut is what some tests are about."""


@contextmanager
def a_till(misbehave: Misbehaviour | None = None, **answers: Any) -> Iterator[Till]:
    """Open a till for one test."""
    till = Till(answers=answers, misbehave=misbehave)
    handler = type("Handler", (_Handler,), {"till": till, "wbufsize": -1})
    with _Server(("127.0.0.1", 0), handler) as server:
        till.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield till
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def an_evening(qerko: Qerko, *others: PointOfSale, **answers: Any) -> Iterator[Till]:
    """Open a till, and a sandbox that takes its replies."""
    with a_till(**answers) as till, SandboxServer(qerko, [till.pos(), *others]) as server:
        till.api_url = server.api_url
        try:
            yield till
        finally:
            for replying in till.threads:
                replying.join()

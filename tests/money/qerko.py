"""Qerko's own side: it takes replies, knows payments, and is sometimes not itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.qerkos import Caller, Request, StrangeQerko, response


class Qerko:
    """Answers ``/reply`` and ``/get-payment`` over real HTTP, as it is told."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new evening."""
        self.replies: list[dict[str, Any]] = []
        #: What it says of a payment; ``None``: it knows of none.
        self.payment: dict[str, Any] | None = None
        #: ``takes``; ``is busy``; ``hangs up``, after it took what was said.
        self.word = "takes"
        #: Whether somebody called.
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its address."""
        server = StrangeQerko(self._talk)
        try:
            yield server.url
        finally:
            server.close()

    def _talk(self, caller: Caller) -> None:
        while request := caller.listen():
            self.asked = True
            if self.word == "is busy":
                caller.say(response(503))
                continue
            said = self._answer(request)
            if self.word == "hangs up":
                return
            caller.say(said)

    def _answer(self, request: Request) -> bytes:
        if request.line.split()[1].endswith("/reply"):
            self.replies.append(json.loads(request.body))
            return response()
        return response(404) if self.payment is None else response(body=json.dumps(self.payment).encode())

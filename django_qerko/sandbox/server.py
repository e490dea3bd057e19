"""Serve the sandbox on this machine, on Django's threaded development server."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from django_qerko.sandbox.handler import SandboxHandler
from django_qerko.sandbox.loopback import callable_address, is_loopback
from django_qerko.sandbox.qerko import PointOfSale, Qerko
from django_qerko.sandbox.request import LINE, Sandbox

log: Final = logging.getLogger(__name__)

#: Seconds between looks whether the server is to stop.
_STOPS_WITHIN: Final = 0.05


class _Connection(WSGIRequestHandler):
    def get_environ(self) -> Any:
        """With the connection itself, so that a bad Qerko can hang up."""
        return {**super().get_environ(), LINE: self.connection}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is Python's
        log.debug(format, *args)


class _Listener(ThreadedWSGIServer):
    """Knows its connections, so that a browser that keeps one open does not keep its thread."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*args, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def hang_up(self) -> None:
        for request in tuple(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class SandboxServer:
    """The guest's pages and Qerko's API under one address, in a thread of its own; used as a context manager.

    Raises ValueError where it would listen to, or call, another machine without being allowed to, and OSError where
    the port is taken. Port 0 is any free one.
    """

    def __init__(
        self,
        qerko: Qerko,
        points_of_sale: Sequence[PointOfSale],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and not is_loopback(host):
            raise ValueError(f"{host} is not this machine alone, and listening to others was not allowed.")
        for pos in points_of_sale:
            callable_address(pos.url, allow_remote=qerko.allow_remote)
        self._listener = _Listener((host, port), _Connection, ipv6=":" in host)
        self._sandbox = Sandbox(qerko=qerko, points_of_sale=points_of_sale)
        self._listener.set_app(SandboxHandler(self._sandbox, allow_remote=allow_remote))
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=[_STOPS_WITHIN], name="qerko-sandbox", daemon=True
        )
        self._host = f"[{host}]" if ":" in host else host

    def __enter__(self) -> SandboxServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.visits.close()
        self._listener.shutdown()
        self._thread.join()
        self._listener.hang_up()
        self._listener.server_close()

    @property
    def url(self) -> str:
        """Where the guest's phone page is."""
        return f"http://{self._host}:{self._listener.server_port}/"

    @property
    def api_url(self) -> str:
        """What ``QERKO["BASE_URL"]`` of a point of sale is while it talks to this sandbox."""
        return f"{self.url}api/v4/pos"

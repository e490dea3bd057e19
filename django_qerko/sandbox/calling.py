"""Make one HTTP call under one clock, and say what came back, or why nothing did."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from django_qerko.sandbox.signing import SignedDelivery

#: More of an answer is not read.
MAX_ANSWER: Final = 1_000_000
_CHUNK: Final = 65_536
#: Connections to one point of sale that are kept for the next call; more are made where more are needed.
_LINES: Final = 64
#: Seconds after an answer in which its connection is used again, but for an error's: many servers hang up after one,
#: with or without a word. Gunicorn hangs up after two seconds. A delivery that meets that on its way gets no answer,
#: and nobody can say whether it was heard.
REST: Final = 1.0
_CLOSED: Final = "the sandbox was closed"

_running: Final = threading.local()


class Cut(StrEnum):
    """Where Qerko hangs up on a point of sale."""

    AFTER_ASKING = "Qerko hung up before an answer came"
    WHILE_LISTENING = "Qerko hung up in the midst of the answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came back: a status, or the reason why there is none. ``is_cut`` is where Qerko itself hung up."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    milliseconds: float = 0.0
    error: str | None = None
    is_cut: bool = False


class Clock:
    """Hangs up when the time is over: a read time-out starts again with every byte, so one alone ends nothing."""

    def __init__(self, seconds: float, *, cut: Cut | None = None) -> None:
        self.over = threading.Event()
        self._cut = cut
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._timer = threading.Timer(seconds, self.hang_up)
        self._timer.daemon = True

    def __enter__(self) -> Clock:
        _running.clock = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._line = None

    def watch(self, line: socket.socket) -> None:
        """The line on which everything was said, and an answer is waited for."""
        with self._lock:
            self._line = line
        if self.over.is_set() or self._cut is Cut.AFTER_ASKING:
            self.hang_up()

    def hang_up(self) -> None:
        with self._lock:
            self.over.set()
            if self._line is not None:
                with suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)


class _Watched(HTTPConnection):
    _usable_until = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the pool may use it again, which asks before each call."""
        return time.monotonic() < self._usable_until and super().is_connected

    def getresponse(self) -> Any:
        _running.clock.watch(self.sock)
        response = super().getresponse()
        self._usable_until = time.monotonic() + REST if response.status < 400 else 0.0
        return response


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


class Line:
    """Pooled connections that follow no redirect, keep no cookie and ask no proxy. For several threads."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        # The adapter itself: a session reads the whole body of a redirect, even of one that it does not follow.
        self._adapter = HTTPAdapter(max_retries=0, pool_maxsize=_LINES)
        self._adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}
        self._lock = threading.Lock()
        self._clocks: set[Clock] = set()
        self._is_closed = False

    def call(self, delivery: SignedDelivery, *, cut: Cut | None = None) -> Heard:
        """Deliver, and wait for the whole answer, a megabyte at most, until the time is over. Raises nothing.

        With ``cut`` it is all said, and the answer is not, or not wholly, heard.
        """
        request = requests.Request("POST", delivery.url, headers=dict(delivery.headers), data=delivery.body).prepare()
        started = time.perf_counter()
        with Clock(self._timeout, cut=cut) as clock, self._open(clock):
            status, headers, body, error = self._hear(request, is_cut=cut is not None)
        seconds = time.perf_counter() - started
        hung_up = _CLOSED if self._is_closed and clock.over.is_set() else cut
        if hung_up is None and (clock.over.is_set() or seconds >= self._timeout):
            status, error = None, f"no answer within {self._timeout:g} seconds"
        if hung_up is not None:
            status, headers, body, error = None, {}, b"", str(hung_up)
        return Heard(
            status=status,
            headers=headers,
            body=body,
            milliseconds=seconds * 1000,
            error=error,
            is_cut=hung_up is not None,
        )

    def close(self) -> None:
        """Hang up, whoever is being listened to; nothing is heard any more."""
        with self._lock:
            self._is_closed = True
            clocks = tuple(self._clocks)
        for clock in clocks:
            clock.hang_up()
        self._adapter.close()

    @contextmanager
    def _open(self, clock: Clock) -> Iterator[None]:
        """Know of a call while it lasts; one that begins after the end is over at once."""
        with self._lock:
            self._clocks.add(clock)
            is_closed = self._is_closed
        if is_closed:
            clock.hang_up()
        try:
            yield
        finally:
            with self._lock:
                self._clocks.discard(clock)

    def _hear(
        self, request: requests.PreparedRequest, *, is_cut: bool
    ) -> tuple[int | None, dict[str, str], bytes, str | None]:
        # The clock ends what drips or is silent; the read time-out is there in case that it does not.
        timeout: Any = Timeout(connect=self._timeout, read=self._timeout + 1)
        try:
            with closing(self._adapter.send(request, stream=True, timeout=timeout, proxies={})) as response:
                body = b"" if is_cut else _read(response.raw)
                error = f"the answer has more than {MAX_ANSWER} bytes" if len(body) > MAX_ANSWER else None
                return None if error else response.status_code, dict(response.headers), body[:MAX_ANSWER], error
        except (requests.RequestException, HTTPError, OSError, ValueError) as failure:
            return None, {}, b"", reason(failure)


def _read(raw: HTTPResponse) -> bytes:
    """The bytes as they are, one more than is allowed at the most. Only at its very end is a body known to be cut."""
    body = bytearray()
    while part := raw.read(min(_CHUNK, MAX_ANSWER + 1 - len(body)), decode_content=False):
        body += part
    return bytes(body)


def reason(failure: BaseException) -> str:
    """The words of the operating system, which stand at the end of a chain of wrapped errors."""
    while inner := failure.__cause__ or failure.__context__:
        failure = inner
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror.lower()
    return str(failure) or type(failure).__name__

"""Find, open and keep the connections of a process, each step under a clock."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Final, cast

from django_qerko.client.wire import Place, SecureWire, Wire

#: As many connections may rest at once.
MOST_RESTING: Final = 16


class _Directory:
    """Resolves names under a clock, which the system's resolver knows nothing of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[Place, Future[list[Any]]] = {}

    def find(self, place: Place, until: float) -> list[Any]:
        """The addresses of a place, as ``getaddrinfo`` gives them. One thread asks, whoever else waits for the same."""
        with self._lock:
            answer = self._asked.get(place)
            if answer is None:
                answer = Future()
                threading.Thread(target=self._ask, args=(place, answer), daemon=True).start()
                self._asked[place] = answer
        return answer.result(timeout=max(until - time.monotonic(), 0))

    def _ask(self, place: Place, answer: Future[list[Any]]) -> None:
        try:
            found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            answer.set_exception(error)
        else:
            answer.set_result(found)
        finally:
            with self._lock:
                del self._asked[place]


class Lines:
    """The connections of one process, for all of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._resting: list[Wire] = []
        self._directory = _Directory()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.sslsocket_class = SecureWire
        return context

    def take(self, place: Place, until: float) -> Wire:
        """The connection to a place that was used last and still stands, or a new one."""
        return self._rested(place) or self._dialled(place, until)

    def keep(self, line: Wire) -> None:
        """Let a connection rest until it is used again."""
        line.rests_since = time.monotonic()
        with self._lock:
            self._resting.append(line)
            surplus, self._resting = self._resting[:-MOST_RESTING], self._resting[-MOST_RESTING:]
        _close(surplus)

    def close(self) -> None:
        """Close what rests. Takes no lock: a fork may have left it locked for ever."""
        resting, self._resting = self._resting, []
        _close(resting)

    def _rested(self, place: Place) -> Wire | None:
        with self._lock:
            usable = [line for line in self._resting if line.is_usable()]
            chosen = next((line for line in reversed(usable) if line.place == place), None)
            useless = set(self._resting).difference(usable)
            self._resting = [line for line in usable if line is not chosen]
        _close(useless)
        return chosen

    def _dialled(self, place: Place, until: float) -> Wire:
        found = self._directory.find(place, until)
        failure: OSError = ConnectionError()
        for position, (family, kind, protocol, _, address) in enumerate(found):
            now = time.monotonic()
            # Each gets its share: an address that is silent, often the IPv6 one, must not use up the others' time.
            share = now + (until - now) / (len(found) - position)
            try:
                line = _reach(Wire(family, kind, protocol), address, share)
            except OSError as error:
                failure = error
            else:
                return self._greeted(line, place, until)
        raise failure

    def _greeted(self, line: Wire, place: Place, until: float) -> Wire:
        line.until = until
        if place.secure:
            try:
                line.wind()
                line = cast("SecureWire", self._tls.wrap_socket(line, server_hostname=place.host))
            except BaseException:
                line.close()
                raise
        line.place = place
        return line


def _reach(line: Wire, address: Any, until: float) -> Wire:
    try:
        line.until = until
        line.wind()
        line.connect(address)
        # Head and body leave one after the other; without this the body would wait for the head's acknowledgement.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        line.close()
        raise
    return line


def _close(lines: Iterable[Wire]) -> None:
    for line in lines:
        line.close()


_lines: Final[dict[int, Lines]] = {}


def of_this_process() -> Lines:
    """The connections of this process. A fork's child drops its parent's, so that no two speak on one."""
    process = os.getpid()
    if process not in _lines:
        _lines.setdefault(process, Lines())
        for other in [*_lines]:
            if other != process:
                _lines.pop(other, Lines()).close()
    return _lines[process]

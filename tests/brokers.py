"""Brokers for the tests: those that answer here, and some that behave badly."""

from __future__ import annotations

import os
import select
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from celery import Celery
from kombu.transport import memory

from tests.servers import free_port

SERVERS = {
    "redis": os.environ.get("TEST_REDIS_URL") or "redis://127.0.0.1:6379/15",
    "rabbitmq": os.environ.get("TEST_RABBITMQ_URL") or "amqp://guest:guest@127.0.0.1:5672//",
}


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where a Celery app can be told to speak, and what it takes for it; the queue is this test's own."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)
    queue: str = field(default_factory=lambda: f"qerko-test-{uuid4().hex}")

    def app(self, **settings: Any) -> Celery:
        """An app that only whoever holds it knows."""
        app = Celery("pub", fixups=[], set_as_current=False, broker=self.url)
        app.conf.update(task_default_queue=self.queue, **self.options, **settings)
        return app

    def through(self, proxy: Proxy) -> Broker:
        """The same broker, by way of a proxy to it."""
        parts = urlsplit(self.url)
        login, at, _ = parts.netloc.rpartition("@")
        url = urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{proxy.port}"))
        return replace(self, url=url)

    @property
    def own(self) -> Broker:
        """The same broker, and another queue."""
        return replace(self, queue=self.queue + "-own")

    def messages(self) -> list[Any]:
        """Take all that is in the queue."""
        taken = []
        with self._channel() as channel:
            while message := channel.basic_get(self.queue, no_ack=True):
                taken.append(channel.message_to_python(message))
        return taken

    def heard(self) -> list[int]:
        """Take all that is in the queue: the ids that were rung with, in order."""
        return sorted(message.payload[0][0] for message in self.messages())

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with self.app().connection_for_read() as connection:
            connection.ensure_connection(max_retries=0)
            with connection.channel() as channel:
                yield channel

    def clear(self) -> None:
        """Take away what this test left in a server: its queues, and what binds them."""
        with self._channel() as channel:
            for name in (self.queue, self.own.queue):
                queue = self.app().amqp.queues[name].bind(channel)
                queue.declare()  # so that kombu knows what binds it
                queue.delete()
                queue.exchange.delete()


def in_this_process() -> Broker:
    return Broker(url="memory://")


def in_a_file(folder: Path) -> Broker:
    """The example project's own."""
    return Broker(
        url=f"sqlite:///{folder / 'broker.sqlite3'}", options={"broker_transport": "example_project.broker:Transport"}
    )


def needs(name: str) -> pytest.MarkDecorator:
    """Marks a test that needs this server, and says where it was looked for."""
    url = urlsplit(SERVERS[name])
    answers = is_open(str(url.hostname), int(url.port or 0))
    return pytest.mark.skipif(not answers, reason=f"no {name} at {url.hostname}:{url.port}")


#: Marks a test that starts a Redis of its own.
NEEDS_REDIS_SERVER = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


def is_open(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[Broker, subprocess.Popen[bytes]]]:
    """A Redis that belongs to the test, which may stop and freeze it."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (folder / "redis.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        until(lambda: is_open("127.0.0.1", port))
        yield Broker(url=f"redis://127.0.0.1:{port}/0"), process
    finally:
        process.kill()
        process.wait(timeout=10)


@contextmanager
def mute_server() -> Iterator[int]:
    """The port of a server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the write lock of a SQLite file."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=10)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


class Proxy:
    """Carries bytes to a server and back, until it is told to freeze or to cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (str(parts.hostname), int(parts.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: dict[socket.socket, socket.socket] = {}
        self._frozen, self._cutting, self._closed = Event(), Event(), Event()
        self._thread = Thread(target=self._carry)
        self.accepted = 0
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._listener.close()

    def freeze(self) -> None:
        """Carry nothing any more; connections stay open and new ones are accepted, as by a stopped process."""
        self._frozen.set()

    def cut(self) -> None:
        """Close every connection that there is."""
        self._cutting.set()
        until(lambda: not self._cutting.is_set())

    def _carry(self) -> None:
        while not self._closed.is_set():
            if self._cutting.is_set():
                self._drop(*self._sockets)
                self._cutting.clear()
            watched = [] if self._frozen.is_set() else [self._listener, *self._sockets]
            for source in select.select(watched, [], [], 0.01)[0]:
                if source is self._listener:
                    self._accept()
                else:
                    self._pass_on(source)
        self._drop(*self._sockets)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._server)
        self._sockets |= {near: far, far: near}
        self.accepted += 1

    def _pass_on(self, source: socket.socket) -> None:
        data = b""
        with suppress(OSError, KeyError):
            data = source.recv(65536)
            self._sockets[source].sendall(data)
        self._drop(*([] if data else [source, self._sockets.get(source, source)]))

    def _drop(self, *ends: socket.socket) -> None:
        for end in ends:
            self._sockets.pop(end, None)
            end.close()


class BusyChannel(memory.Channel):
    """Takes its time for each message, or does not come back before it is let go."""

    let_go = Event()
    breaks = False
    takes = 0.0
    tried: list[str] = []

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        type(self).tried.append(queue)
        time.sleep(self.takes)
        self.let_go.wait(20)
        if self.breaks:
            raise OSError("it was too much")
        super()._put(queue, message, **kwargs)


class BusyTransport(memory.Transport):
    """A driver that knows no time-outs."""

    Channel = BusyChannel


def busy() -> Broker:
    return Broker(url="memory://", options={"broker_transport": "tests.brokers:BusyTransport"})


def until(holds: Any, *, seconds: float = 10) -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never did"
        time.sleep(0.01)

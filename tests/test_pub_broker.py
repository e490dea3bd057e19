"""The pub's broker: what is put into its file comes out once, in order, in whichever process asks first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'broker.sqlite3'}"


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    options = {"polling_interval": 0.001}
    with Connection(url, transport="example_project.broker:Transport", transport_options=options) as connection:
        yield connection


@contextmanager
def channel(url: str) -> Iterator[Any]:
    with connected(url) as connection, connection.channel() as opened:
        yield opened


def put(url: str, *bodies: object, queue: str = "orders") -> None:
    with connected(url) as connection:
        for body in bodies:
            connection.Producer().publish(body, routing_key=queue, declare=[Queue(queue)])


def take_all(url: str, queue: str = "orders", *, acknowledged: bool = True) -> list[Any]:
    taken = []
    with channel(url) as opened:
        while message := opened.basic_get(queue, no_ack=acknowledged):
            taken.append(message.payload)
    return taken


def test_messages_come_out_in_order_and_once(url: str) -> None:
    put(url, "goulash", "beer", "beer")

    assert take_all(url) == ["goulash", "beer", "beer"]
    assert take_all(url) == []


def test_queues_are_kept_apart(url: str) -> None:
    put(url, "goulash")
    put(url, "beer", queue="bar")

    assert take_all(url, "bar") == ["beer"]
    assert take_all(url) == ["goulash"]


def test_many_that_ask_at_once_share_what_is_there(url: str) -> None:
    put(url, *range(100))

    def take(_: int) -> list[int]:
        taken: list[int] = []
        with channel(url) as opened:
            while opened._size("orders"):
                # Empty also where another was faster, which may happen, or never.
                message = opened.basic_get("orders", no_ack=True)
                taken += [message.payload] if message else []
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [body for part in pool.map(take, range(4)) for body in part]

    assert sorted(taken) == list(range(100))


def test_whoever_was_faster_has_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(url, "goulash")
    with channel(url) as slow:
        write = slow._write

        def be_overtaken(statement: str, *values: object) -> Any:
            assert take_all(url) == ["goulash"]
            put(url, "beer")
            return write(statement, *values)

        monkeypatch.setattr(slow, "_write", be_overtaken)

        with pytest.raises(Empty):
            slow._get("orders")

    assert take_all(url) == ["beer"], "a number that was free again meant another message"


def test_what_a_worker_hands_back_is_there_again(url: str) -> None:
    put(url, "goulash")

    assert take_all(url, acknowledged=False) == ["goulash"]

    assert take_all(url) == ["goulash"]


def test_a_queue_can_be_emptied(url: str) -> None:
    put(url, "goulash", "beer")

    with channel(url) as opened:
        assert opened.queue_purge("orders") == 2

    assert take_all(url) == []


class Loop:
    """What the broker asks of a worker's event loop."""

    def __init__(self) -> None:
        self.on_tick: set[Callable[[], None]] = set()
        self.turns_every: list[float] = []

    def call_repeatedly(self, delay: float, callback: Callable[[], None]) -> Loop:
        self.turns_every.append(delay)
        return self

    def cancel(self) -> None:
        self.turns_every.clear()


def test_a_workers_event_loop_looks_for_work(url: str) -> None:
    served: list[Any] = []
    loop = Loop()
    with connected(url) as connection, connection.channel() as opened:
        connection.register_with_event_loop(loop)
        consumer = Consumer(opened, [Queue("orders")], no_ack=True)
        consumer.register_callback(lambda body, _: served.append(body))
        consumer.consume()
        put(url, "goulash", "beer")

        for look in loop.on_tick:
            look()

        assert served == ["goulash", "beer"]
        assert loop.turns_every == [0.001]
    assert not loop.on_tick | set(loop.turns_every), "a connection that is closed is still asked"


def test_sqlite_names_its_version(url: str) -> None:
    with connected(url) as connection:
        assert connection.transport.driver_version().startswith("3.")

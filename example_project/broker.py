"""A queue in one SQLite file: a Celery broker that needs no server and works between processes.

Why it is there, and what it is not for: ``docs/broker.md``. A message is gone as soon as a worker takes it, so one that
is killed loses what it had taken; django_qerko asks its tables for that.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from queue import Empty
from typing import Any, Final

from kombu import Connection
from kombu.transport import virtual

SCHEME: Final = "sqlite:///"

#: Seconds that one writer waits for another.
_PATIENCE: Final = 0.5
_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS message (
        -- AUTOINCREMENT, so that no number is given twice: whoever deletes a number must have read what it stood for.
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        payload TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS message_queue ON message (queue, id);
"""


class Channel(virtual.Channel):
    """Speaks to the file. Every statement is a transaction of its own, so a killed process leaves nothing half done."""

    def __init__(self, connection: virtual.Transport, **kwargs: Any) -> None:
        self._path = str(connection.client and connection.client.hostname).removeprefix(SCHEME)
        self._files: dict[int, sqlite3.Connection] = {}
        super().__init__(connection, **kwargs)

    @property
    def _file(self) -> sqlite3.Connection:
        """This process's own; a fork neither uses nor closes its parent's (SQLite, "How to corrupt", 2.6)."""
        if os.getpid() not in self._files:
            file = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            file.executescript(_SCHEMA)
            self._files[os.getpid()] = file
        return self._files[os.getpid()]

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        self._write("INSERT INTO message (queue, payload) VALUES (?, ?)", queue, json.dumps(message))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        with closing(
            self._file.execute("SELECT id, payload FROM message WHERE queue = ? ORDER BY id LIMIT 1", [queue])
        ) as rows:
            oldest = rows.fetchone()
        # Of several that found it, the one that deletes it has it; the others look again.
        if oldest is None or not self._write("DELETE FROM message WHERE id = ?", oldest[0]):
            raise Empty
        message: dict[str, Any] = json.loads(oldest[1])
        return message

    def _size(self, queue: str) -> int:
        with closing(self._file.execute("SELECT count(*) FROM message WHERE queue = ?", [queue])) as rows:
            return int(rows.fetchone()[0])

    def _purge(self, queue: str) -> int:
        return self._write("DELETE FROM message WHERE queue = ?", queue)

    def _write(self, statement: str, *values: object) -> int:
        with closing(self._file.execute(statement, values)) as cursor:
            return cursor.rowcount

    def close(self) -> None:
        super().close()
        file = self._files.pop(os.getpid(), None)
        if file is not None:
            file.close()


class Transport(virtual.Transport):
    """What Celery finds by the setting ``broker_transport``.

    It takes part in a worker's event loop. Where a transport does not, Celery's children share a pipe and a lock, and
    one that is killed while it holds the lock leaves the others waiting for ever.
    """

    Channel = Channel
    can_parse_url = True
    default_port = 0
    driver_type = driver_name = "sqlite"
    implements = virtual.Transport.implements.extend(asynchronous=True)
    #: So that a worker that met a locked file connects again instead of ending.
    connection_errors = (*virtual.Transport.connection_errors, sqlite3.Error)

    def __init__(self, client: Connection, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._leave: list[Callable[[], None]] = []

    def driver_version(self) -> str:
        return sqlite3.sqlite_version

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Look for work at every turn of the loop, and let it turn often enough."""
        timer = loop.call_repeatedly(self.polling_interval, self._look)
        loop.on_tick.add(self._look)
        self._leave += [timer.cancel, partial(loop.on_tick.discard, self._look)]

    def close_connection(self, connection: Any) -> None:
        while self._leave:
            self._leave.pop()()
        super().close_connection(connection)

    def _look(self) -> None:
        channels: Any = self.cycle
        with suppress(Empty):
            while True:
                channels.get(self._deliver)

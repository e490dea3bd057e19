"""The pub on the stage: its database, its tables, its web server and its worker."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from example_project.demo.stage import Process, Stage, StageFailed, wait_for_page, wait_for_words

#: How many ports after the wanted one are tried.
_TRIED: Final = 20
_PORTS: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class LaidTable:
    """A table with something on it: the bill, and what is to be paid."""

    id: str
    bill_id: str
    total: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Pub:
    """The pub: where it listens, and what stands on its tables."""

    port: int
    webhook_path: str
    tables: Sequence[LaidTable]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhook(self) -> str:
        return f"{self.url}{self.webhook_path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Who works in the pub: a web server that hears Qerko, and a worker that answers later."""

    web: Process
    worker: Process

    def require_running(self) -> None:
        """Raises StageFailed where one of them has ended."""
        self.web.require_running()
        self.worker.require_running()


def lay_tables(stage: Stage, number: int, *, port: int) -> Pub:
    """Make the pub in its database, with something on each table; it will listen on this port."""
    opened = json.loads(stage.command("pub_open", f"--tables={number}", "--json"))
    return Pub(
        port=port,
        webhook_path=opened["restaurant"]["webhook_path"],
        tables=[
            LaidTable(id=table["id"], bill_id=table["bill_id"], total=Decimal(table["total"]))
            for table in opened["tables"]
        ],
    )


def open_doors(stage: Stage, door: socket.socket, *, access_log: bool = False) -> Staff:
    """Serve the pub under gunicorn through this open door, with a worker beside it, and wait until both are there."""
    with door:
        port = int(door.getsockname()[1])
        arguments = ["-m", "gunicorn", "example_project.wsgi", f"--bind=fd://{door.fileno()}", "--threads=4"]
        # One control socket per user is gunicorn's default, and a pub that runs already has it.
        arguments += ["--no-control-socket", "--graceful-timeout=3", "--log-level=warning"]
        arguments += ["--access-logfile=-", "--access-logformat=%(m)s %(U)s %(s)s"] if access_log else []
        web = stage.start("the pub", arguments, handing_over=[door.fileno()])
    # Two children are enough for a pub, however many processors there are.
    arguments = ["-m", "celery", "--app=example_project", "worker", "--concurrency=2", "--loglevel=INFO"]
    worker = stage.start("the worker", arguments)
    wait_for_page(web, port)
    wait_for_words(worker, " ready.")
    return Staff(web=web, worker=worker)


def listening(port: int) -> socket.socket:
    """A socket that listens on this port of this machine, or one of the next. Raises StageFailed where none is free."""
    for candidate in range(port, min(port + _TRIED, _PORTS)):
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", candidate))
            door.listen()
        except OSError:
            door.close()
        else:
            return door
    raise StageFailed(f"Port {port} is taken, and so are the {_TRIED - 1} after it.")

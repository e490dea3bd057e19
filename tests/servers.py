"""Start the tests' project as a server process, and speak HTTP to it with bytes of our own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connections

from tests.deliveries import Signed

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server process that listens on loopback."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def kill_workers(self) -> None:
        """Kill what gunicorn forked, as a machine that runs out of memory would; it forks anew."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for worker in children.split():
            os.kill(int(worker), signal.SIGKILL)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(folder: Path, *, workers: int = 1, threads: int = 4, asgi: bool = False, **env: str) -> Iterator[Server]:
    """The tests' project under gunicorn, or uvicorn, on the database of the running test."""
    port = free_port()
    command = _uvicorn(port) if asgi else _gunicorn(port, workers, threads)
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(**env), stdout=output, stderr=output)
    try:
        _wait(port, process, log)
        yield Server(port=port, process=process, log=log)
    finally:
        process.terminate()
        process.wait(timeout=20)


def environment(**env: str) -> dict[str, str]:
    """What a process needs to run the tests' project on the databases of the running test."""
    names = {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections}
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings_served",
        "SERVED_SETTINGS": settings.SETTINGS_MODULE,
        "SERVED_DATABASES": json.dumps(names),
        **env,
    }


def send(delivery: Signed, *, chunked: bool = False, timeout: float = 30) -> Response:
    """Deliver over HTTP, the body with its length or in chunks."""
    target = urlsplit(delivery.url)
    wire = http.client.HTTPConnection("127.0.0.1", target.port, timeout=timeout)
    try:
        if chunked:
            pieces = (delivery.body[at : at + 1000] for at in range(0, len(delivery.body), 1000))
            wire.request("POST", target.path, body=pieces, headers=delivery.headers, encode_chunked=True)
        else:
            wire.request("POST", target.path, body=delivery.body, headers=delivery.headers)
        answer = wire.getresponse()
        return Response(status=answer.status, headers=dict(answer.getheaders()), body=answer.read())
    finally:
        wire.close()


def _gunicorn(port: int, workers: int, threads: int) -> list[str]:
    options = ["--workers", str(workers), "--threads", str(threads), "--bind", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "gunicorn", "tests.wsgi", *options, "--no-control-socket"]


def _uvicorn(port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "tests.asgi:application", "--port", str(port), "--lifespan", "off"]


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until a worker answers: the port alone is open before there is one."""
    until = time.monotonic() + 60
    while True:
        wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            wire.request("GET", "/qerko/webhook/")
            assert wire.getresponse().status == 405
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        else:
            return
        finally:
            wire.close()

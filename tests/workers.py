"""Start the tests' project with a worker beside the server, a broker between them, and a Qerko to reply to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu import Queue

from tests.qerkos import StrangeQerko, Talk, response, saying
from tests.servers import ROOT, Server, environment, serving


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker process with beat in it, in a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill it with all that it forked, as a machine that loses its power would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a project is made of, on this machine."""

    folder: Path
    qerko: StrangeQerko
    broker: str
    queue: str

    @property
    def env(self) -> dict[str, str]:
        return {"SERVED_BROKER": self.broker, "SERVED_QUEUE": self.queue, "SERVED_QERKO": self.qerko.url}

    @contextmanager
    def serving(self, **how: Any) -> Iterator[Server]:
        with serving(self.folder, **self.env | how) as server:
            yield server

    @contextmanager
    def working(self, *, pool: str = "threads", concurrency: int = 4) -> Iterator[Worker]:
        """A worker that is ready."""
        log = self.folder / f"worker-{uuid4().hex}.log"
        options = [
            "-n",
            f"{uuid4().hex}@%h",
            "-B",
            "-P",
            pool,
            "-c",
            str(concurrency),
            "-l",
            "DEBUG",
            "--without-gossip",
            "--without-mingle",
        ]
        command = [sys.executable, "-m", "celery", "-A", "tests.celery", "worker", *options]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(**self.env),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        worker = Worker(process=process, log=log)
        try:
            until(lambda: " ready." in log.read_text(), seconds=60)
            yield worker
        finally:
            process.terminate()
            process.wait(timeout=30)

    def replies(self) -> list[dict[str, Any]]:
        """What Qerko was told, in order; not what a worker was killed in the midst of."""
        return [json.loads(request.body) for request in self.qerko.requests if request.is_whole]


@contextmanager
def on_stage(folder: Path, talk: Talk | None = None, *, broker: str | None = None) -> Iterator[Stage]:
    """A Qerko that takes everything, unless it talks otherwise, and the broker of this lane."""
    qerko = StrangeQerko(talk or saying(response()))
    url = broker or os.environ.get("TEST_BROKER_URL") or f"sqlite:///{folder / 'broker.sqlite3'}"
    stage = Stage(folder=folder, qerko=qerko, broker=url, queue=f"qerko-{uuid4().hex}")
    try:
        yield stage
    finally:
        qerko.close()
        if broker is None and not url.startswith("sqlite:"):
            with Celery(broker=url, set_as_current=False).connection_for_write() as connection:
                Queue(stage.queue, channel=connection.default_channel).delete()


def until(holds: Callable[[], Any], *, seconds: float) -> None:
    """Wait until something holds, and fail where it does not come about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)

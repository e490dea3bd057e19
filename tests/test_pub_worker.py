"""The pub's worker needs no other process: it brings beat along, so that what a crash left is finished."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.signals import worker_shutting_down

from django_qerko.keys import ApiKey
from django_qerko.queueing import HANDLE_EVENT
from django_qerko.sandbox.qerko import PointOfSale, Qerko
from example_project import celery
from example_project.demo.pub import lay_tables, listening
from example_project.demo.stage import Process, Stage, wait_for_page, wait_for_words
from tests.deliveries import KEY
from tests.workers import until

HANDLED = 6


def hire(stage: Stage) -> Process:
    # More children than there are events, so that the worker takes them all into its hands.
    worker = stage.start(
        "the worker", ["-m", "celery", "-A", "example_project", "worker", "--concurrency=8", "--loglevel=INFO"]
    )
    wait_for_words(worker, " ready.")
    return worker


def children(process: Process) -> list[int]:
    pid = process.popen.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def events(stage: Stage) -> dict[str, int]:
    figures: dict[str, dict[str, int]] = json.loads(stage.command("qerko_stats", "--json"))
    return figures["events"]


@pytest.mark.process
@pytest.mark.once
def test_a_worker_that_is_killed_with_events_in_hand_handles_them_once_it_is_back() -> None:
    with Stage() as stage, Qerko() as qerko, listening(0) as door:
        stage.environment |= {
            "CELERY_BROKER_URL": f"sqlite:///{stage.folder / 'broker.sqlite3'}",
            "DATABASE_URL": f"sqlite:///{stage.folder / 'pub.sqlite3'}",
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "QERKO_API_KEY": KEY.reveal(),
        }
        stage.command("migrate", "--verbosity=0")
        pub = lay_tables(stage, 1, port=int(door.getsockname()[1]))
        pos = PointOfSale(url=pub.webhook, api_key=ApiKey(KEY.reveal()))
        bind = f"--bind=fd://{door.fileno()}"
        web = stage.start(
            "the pub",
            ["-m", "gunicorn", "example_project.wsgi", bind, "--no-control-socket"],
            handing_over=[door.fileno()],
        )
        worker = hire(stage)
        wait_for_page(web, pub.port)
        for child in children(worker):
            os.kill(child, signal.SIGSTOP)
        answers = [
            qerko.ask(pos, "paymentClosed", {"paymentId": str(number), "state": "CANCELLED"}).status
            for number in range(HANDLED)
        ]
        wait_for_words(worker, f"Task {HANDLE_EVENT}")
        os.killpg(worker.popen.pid, signal.SIGKILL)
        worker.popen.wait()
        left = events(stage)

        hire(stage)

        until(lambda: events(stage)["handled"] == HANDLED, seconds=60)

    assert answers == [202] * HANDLED
    assert left["received"] == HANDLED


@pytest.mark.parametrize("own", [None, object()])
def test_a_worker_brings_beat_along_unless_it_has_one(own: object, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def embedded(app: object, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(
            start=lambda: heard.append("start"), service=SimpleNamespace(stop=lambda: heard.append("stop"))
        )

    monkeypatch.setattr(celery, "EmbeddedService", embedded)
    monkeypatch.setattr(worker_shutting_down, "receivers", [])

    celery.start_beat(sender=SimpleNamespace(controller=SimpleNamespace(beat=own)))
    worker_shutting_down.send(sender="a worker")

    assert heard == ([] if own else ["start", "stop"])

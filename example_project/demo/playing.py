"""Play the evening from beginning to end, on a stage that is gone afterwards."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from collections.abc import Sequence
from typing import Final

from django.conf import settings

from django_qerko.keys import ApiKey
from django_qerko.sandbox.qerko import PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from example_project.demo.book import BookIsWrong, look_into_book
from example_project.demo.evening import Evening, WrongExchange
from example_project.demo.pub import Pub, Staff, lay_tables, listening, open_doors
from example_project.demo.scenes import SCENES, Scene
from example_project.demo.stage import Stage
from example_project.demo.telling import Teller

#: What the developer may have set for a pub of their own, or for every gunicorn and Celery.
_OWN: Final = ("CELERY_", "DATABASE_URL", "DJANGO_", "GUNICORN_", "QERKO_", "WEB_CONCURRENCY")


def play(
    teller: Teller, scenes: Sequence[Scene] = SCENES, *, database: str | None = None, broker: str | None = None
) -> bool:
    """Play all scenes, and say whether everything was right. Raises StageFailed where they cannot be played.

    ``database`` and ``broker`` are the URLs of servers to play on; without, both are files on the stage.
    """
    teller.title("An evening in the pub")
    if not settings.configured:
        # The sandbox's server reads none of them, but Django wants to have some, and would look for the developer's.
        settings.configure()
    # Every question of the evening is a scene's, so none is asked by itself.
    with Stage() as stage, Qerko(receipt_pauses=()) as qerko, listening(0) as door:
        key = _made_up_key()
        servers = {"DATABASE_URL": database, "CELERY_BROKER_URL": broker}
        stage.environment = _apart(stage) | {"QERKO_API_KEY": key}
        stage.environment |= {name: url for name, url in servers.items() if url}
        pub = _prepare(stage, teller, port=int(door.getsockname()[1]))
        pos = PointOfSale(url=pub.webhook, api_key=ApiKey(key), name="The pub")
        with SandboxServer(qerko, [pos]) as sandbox:
            stage.environment |= {"QERKO_BASE_URL": sandbox.api_url}
            staff = _open(stage, teller, door)
            teller.say(
                f"It listens at {pub.url}; Qerko is played by the sandbox, and takes replies at {sandbox.api_url}."
            )
            evening = Evening(qerko=qerko, pos=pos, pub=pub, teller=teller)
            for scene in scenes:
                staff.require_running()
                _play(scene, evening)
            return _close(evening, stage)


def _apart(stage: Stage) -> dict[str, str]:
    """An environment in which nothing of the developer's own is used or touched."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return inherited | {
        "CELERY_BROKER_URL": f"sqlite:///{stage.folder / 'broker.sqlite3'}",
        "DATABASE_URL": f"sqlite:///{stage.folder / 'pub.sqlite3'}",
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        "DJANGO_DEBUG": "0",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
    }


def _made_up_key() -> str:
    """An API key for tonight, its check digits right (protocol section 1, D)."""
    head = "".join(f"{secrets.token_hex(2)}-" for _ in range(5))
    return head + hashlib.sha1(head.encode(), usedforsecurity=False).hexdigest()[:4]


def _prepare(stage: Stage, teller: Teller, *, port: int) -> Pub:
    with teller.step("Making a database for tonight"):
        stage.command("migrate", "--verbosity=0")
    with teller.step("Laying four tables"):
        return lay_tables(stage, 4, port=port)


def _open(stage: Stage, teller: Teller, door: socket.socket) -> Staff:
    with teller.step("Opening the pub under gunicorn, with a Celery worker beside it: some seconds"):
        return open_doors(stage, door)


def _play(scene: Scene, evening: Evening) -> None:
    evening.teller.scene(scene.__doc__ or scene.__name__)
    try:
        scene(evening)
    except WrongExchange:
        evening.teller.say("The scene ends here; the others go on.", style="dim")


def _close(evening: Evening, stage: Stage) -> bool:
    teller, faults, book = evening.teller, list(evening.faults), ""
    teller.say()
    with teller.step("Looking into the pub's book"):
        try:
            book = look_into_book(stage, evening.exchanges, list(evening.stories.values()))
        except BookIsWrong as wrong:
            faults.append(str(wrong))
    teller.say()
    teller.title("The bill, please")
    for fault in faults:
        teller.warn(fault)
    if book:
        teller.say(book)
    teller.say(evening.figures, style="bold")
    return not faults

"""Keep the pub, its worker and Qerko's sandbox open, with the addresses to visit, until somebody closes them."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from django_qerko.queueing import SWEEP
from example_project.demo.pub import Pub, Staff, lay_tables, listening, open_doors
from example_project.demo.stage import Process, Stage, wait_for_page
from example_project.demo.telling import Teller


def serve(teller: Teller, *, port: int, sandbox_port: int) -> NoReturn:
    """Serve until interrupted. Raises StageFailed where something does not start, or ends by itself."""
    teller.title("The pub and Qerko, on your machine")
    with Stage() as stage, listening(port) as door:
        with listening(sandbox_port) as place:
            sandbox_at = int(place.getsockname()[1])
        stage.environment |= {"DJANGO_SETTINGS_MODULE": "example_project.settings", "GUNICORN_CMD_ARGS": ""}
        stage.environment |= {"QERKO_BASE_URL": f"http://127.0.0.1:{sandbox_at}/api/v4/pos"}
        pub, landlord = _prepare(stage, teller, port=int(door.getsockname()[1]))
        staff = _open(stage, teller, door)
        sandbox = _start_sandbox(stage, teller, pub, sandbox_at)
        _tell_taken(teller, "pub", port, pub.port)
        _tell_taken(teller, "sandbox", sandbox_port, sandbox_at)
        _invite(teller, pub, sandbox_at, landlord)
        _follow(
            teller,
            [
                Follower(name="pub", process=staff.web),
                # What it says at its start is long, and every two seconds it says that it sweeps.
                Follower(name="worker", process=staff.worker, read=len(staff.worker.written.encode()), without=SWEEP),
                Follower(name="Qerko", process=sandbox),
            ],
        )


def _prepare(stage: Stage, teller: Teller, *, port: int) -> tuple[Pub, dict[str, Any]]:
    with teller.step("Bringing the database up to date"):
        stage.command("migrate", "--verbosity=0")
    with teller.step("Laying four tables"):
        pub = lay_tables(stage, 4, port=port)
    with teller.step("Looking for the landlord"):
        return pub, json.loads(stage.command("pub_landlord", "--json"))


def _open(stage: Stage, teller: Teller, door: socket.socket) -> Staff:
    with teller.step("Opening the pub under gunicorn, with a Celery worker beside it: some seconds"):
        return open_doors(stage, door, access_log=True)


def _start_sandbox(stage: Stage, teller: Teller, pub: Pub, port: int) -> Process:
    with teller.step("Starting Qerko's sandbox"):
        sandbox = stage.start("the sandbox", ["manage.py", "qerko_sandbox", f"--port={port}", f"--pos={pub.url}"])
        wait_for_page(sandbox, port)
    return sandbox


def _invite(teller: Teller, pub: Pub, sandbox_at: int, landlord: dict[str, Any]) -> None:
    teller.say()
    teller.say(f"The pub       {pub.url}/", style="bold")
    teller.say(f"Its admin     {pub.url}/admin/", style="bold")
    teller.say(_way_in(landlord), margin=16)
    teller.say(f"A guest       http://127.0.0.1:{sandbox_at}/", style="bold")
    teller.say("a phone with Qerko's sandbox behind it, which calls the pub", margin=16)
    teller.say()
    teller.say("Ctrl-C closes all of it. What they write follows.")
    teller.say()


def _way_in(landlord: dict[str, Any]) -> str:
    name, password = landlord["name"], landlord["password"]
    if password:
        return f"log in as {name} with the password {password} (shown this once)"
    return f"log in as {name}; `python manage.py changepassword {name}` gives a new password"


def _tell_taken(teller: Teller, who: str, wanted: int, got: int) -> None:
    if wanted not in {0, got}:
        teller.warn(f"Port {wanted} is taken, so the {who} has {got}.")


@dataclass(kw_only=True)
class Follower:
    """Reads what a process writes, as it writes it."""

    name: str
    process: Process
    read: int = 0
    #: A line with this in it is not worth reading.
    without: str | None = None

    def news(self) -> list[str]:
        """The lines that came since the last look; half a line waits for its end."""
        with self.process.log.open("rb") as log:
            log.seek(self.read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self.read += len(whole) + len(newline)
        lines = whole.decode(errors="replace").splitlines()
        return [line for line in lines if self.without is None or self.without not in line]


def _follow(teller: Teller, followers: list[Follower]) -> NoReturn:
    while True:
        for follower in followers:
            follower.process.require_running()
            teller.lines(follower.name, follower.news())
        time.sleep(0.2)

"""The demo plays for real, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from rich.console import Console

from django_qerko.keys import ApiKey
from django_qerko.sandbox.conversation import Finding
from django_qerko.sandbox.qerko import Exchange, PointOfSale, Qerko
from example_project.demo.evening import Expected, answered, refused
from example_project.demo.pub import listening
from example_project.demo.stage import ROOT, Stage, StageFailed, undisturbed, wait_for_page, wait_for_words
from example_project.demo.telling import Teller
from example_project.demo.words import heard, listed, total
from example_project.pub.opening import EXAMPLE_KEY
from tests.deliveries import KEY

#: A gunicorn that answers everything with an empty list.
OBLIGING_GUNICORN = """
import http.server, socket, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"[]")

    do_POST = do_GET

bind = next(argument for argument in sys.argv if argument.startswith("--bind="))
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(bind.rpartition("/")[2]))
server.server_activate()
server.serve_forever()
"""


#: As a shell script starts what it puts into the background: deaf to Ctrl-C.
IN_THE_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


# -- Plays, as a shell would start them ----------------------------------------------------------


@pytest.fixture
def empty_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The URL of a database of its own, on the server of this lane."""
    name = f"evening_{uuid.uuid4().hex}"
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        yield urlsplit(os.environ["TEST_DATABASE_URL"])._replace(path=f"/{name}").geturl()
        cursor.execute(f"DROP DATABASE {name}")


@pytest.mark.process
@pytest.mark.skipif("TEST_DATABASE_URL" not in os.environ, reason="by itself the demo plays on files")
def test_the_evening_is_played_on_servers_too(start: Callable[..., Play], empty_database: str) -> None:
    broker = os.environ.get("TEST_BROKER_URL", "")

    status, said = start("--database", empty_database, "--broker", broker).finish()

    assert status == 0, said
    assert "exchanges were right" in said


@dataclass(frozen=True, kw_only=True)
class Play:
    """A demo that runs, with a folder of its own for what it should take away again."""

    process: subprocess.Popen[bytes]
    mark: str
    folder: Path

    def read_until(self, words: str, *, within: float = 120) -> str:
        """What it has printed, once these words are in it."""
        assert self.process.stdout is not None
        said, give_up = b"", time.monotonic() + within
        while words.encode() not in said:
            assert time.monotonic() < give_up, said.decode()
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, said.decode()
            said += piece
        return said.decode()

    def finish(self, *, within: float = 120) -> tuple[int, str]:
        """Its exit status, and what it printed last."""
        said, _ = self.process.communicate(timeout=within)
        return self.process.returncode, said.decode()

    def left_behind(self) -> list[str]:
        """Its processes that still run, by what their environment says, and its files."""
        return [str(pid) for pid in self.running()] + [path.name for path in self.folder.iterdir()]

    def running(self) -> Iterator[int]:
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if self.mark.encode() in path.read_bytes():
                    yield int(path.parent.name)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Play]]:
    """Starts demos, and ends whatever a failed test leaves of them."""
    plays: list[Play] = []

    def start(*arguments: str, gunicorn: str | None = None, shell: Sequence[str] = (), **environment: str) -> Play:
        if gunicorn is not None:
            fake = tmp_path / "fake"
            fake.mkdir()
            (fake / "gunicorn.py").write_text(gunicorn)
            environment["PYTHONPATH"] = str(fake)
        folder, mark = tmp_path / "tmp", uuid.uuid4().hex
        folder.mkdir()
        process = subprocess.Popen(
            [*shell, sys.executable, "-m", "example_project.demo", *arguments],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(folder), "DEMO_MARK": mark} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        plays.append(Play(process=process, mark=mark, folder=folder))
        return plays[-1]

    yield start
    for play in plays:
        play.process.kill()
        play.process.communicate()
        list(map(os.kill, play.running(), itertools.repeat(signal.SIGKILL)))


@pytest.mark.process
@pytest.mark.once
def test_the_evening_is_played_and_everything_is_right(start: Callable[..., Play]) -> None:
    # What a developer may have set for a pub of their own must not matter.
    play = start(
        CELERY_BROKER_URL="amqp://nowhere.invalid//",
        DATABASE_URL="sqlite:////nowhere/at/all",
        DJANGO_DEBUG="no",
        GUNICORN_CMD_ARGS="-x",
        QERKO_API_KEY="x",
    )

    status, said = play.finish()

    assert status == 0, said
    last = said.rstrip().splitlines()[-1]
    figures = re.fullmatch(r"  (\d+) of (\d+) exchanges were right, median \d+ ms; 12 replies, median \d+ ms", last)
    assert figures, said
    assert int(figures[1]) == int(figures[2]) >= 40
    for words in (
        "Celkem",
        "BILL_CLOSED",
        "BAD_PARAMETER",
        "tried 3 times: 503, 503 and 200",
        "Z kuchyně (7)",
        "paymentClosed  CANCELLED",
        "ACCESS_DENIED: Another payment is in progress",
        "Sleva pro štamgasty",
        "no receipt yet; ask again",
        "gets lost on its way",
        "17 payments: 13 paid, 4 cancelled, none left open",
    ):
        assert words in said, said
    assert all(len(line) <= 100 for line in said.splitlines())
    assert "\x1b" not in said
    assert not play.left_behind()


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize("port", ["65536", "-1", "http", ""])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    command = [sys.executable, "-m", "example_project.demo", f"--port={port}"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "a port is a number" in done.stderr


@pytest.mark.process
@pytest.mark.once
def test_an_exchange_that_is_wrong_is_named_with_what_was_expected(start: Callable[..., Play]) -> None:
    play = start(gunicorn=OBLIGING_GUNICORN)

    status, said = play.finish()

    assert status == 1
    assert "getTableList: expected 200 and the tables T1, T2, T3 and T4" in said
    assert "getBill: expected 401 and the code UNAUTHORIZED" in said
    assert "The pub's book: expected" in said
    assert re.search(r"0 of \d+ exchanges were right", said.splitlines()[-1])
    assert not play.left_behind()


@pytest.mark.process
@pytest.mark.once
def test_a_pub_that_does_not_start_is_told_with_its_last_words(start: Callable[..., Play]) -> None:
    play = start(gunicorn="raise SystemExit('out of beer')")

    status, said = play.finish()

    assert status == 1
    assert "the pub ended with status 1" in said
    assert "out of beer" in said
    assert not play.left_behind()


@pytest.mark.process
@pytest.mark.once
def test_a_worker_that_dies_is_told_and_leaves_no_children(start: Callable[..., Play]) -> None:
    play = start()
    play.read_until("It listens at")
    (worker,) = (pid for pid in play.running() if is_worker(pid))

    os.kill(worker, signal.SIGKILL)

    status, said = play.finish()
    assert status == 1
    assert "the worker ended with status -9" in said
    assert not play.left_behind()


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize(
    ("number", "at", "shell"),
    [
        (signal.SIGINT, "Making a database", ()),
        (signal.SIGINT, "Opening the pub", ()),
        (signal.SIGINT, "It listens at", IN_THE_BACKGROUND),
        (signal.SIGTERM, "It listens at", ()),
        (signal.SIGHUP, "will answer later", ()),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(
    start: Callable[..., Play], number: int, at: str, shell: Sequence[str]
) -> None:
    play = start(shell=shell)
    play.read_until(at)
    assert list(play.running())

    play.process.send_signal(number)

    status, said = play.finish()
    assert status == 130, said
    assert said.endswith("Closed.\n")
    assert not play.left_behind()


@pytest.mark.process
@pytest.mark.once
def test_the_pub_stays_open_until_it_is_closed(start: Callable[..., Play], tmp_path: Path) -> None:
    database = tmp_path / "pub.sqlite3"
    with listening(0) as taken:
        wanted = taken.getsockname()[1]
        options = (f"--port={wanted}", "--sandbox-port=0")
        play = start(
            "--serve",
            *options,
            CELERY_BROKER_URL=f"sqlite:///{tmp_path / 'broker.sqlite3'}",
            DATABASE_URL=f"sqlite:///{database}",
            DJANGO_SUPERUSER_PASSWORD="a good one",
        )
        said = play.read_until("Ctrl-C closes all of it")

    assert "log in as landlord with the password a good one" in said
    assert f"Port {wanted} is taken, so the pub has" in said
    pub, guest = re.findall(r"(?:The pub|A guest) +http://127\.0\.0\.1:(\d+)/$", said, re.MULTILINE)
    assert "Stůl 1" in page(pub, "/")
    assert "Log in" in page(pub, "/admin/login/")
    assert page(pub, "/static/admin/css/base.css")
    page(guest, "/")
    play.read_until("pub │ GET /admin/login/ 200")
    with Qerko() as stranger:
        # The pub's Qerko did not ask this, and so it refuses what the worker replies.
        pub_itself = PointOfSale(url=f"http://127.0.0.1:{pub}/qerko/webhook/", api_key=ApiKey(EXAMPLE_KEY))
        assert stranger.ask(pub_itself, "paymentProcessed", {"paymentId": "1"}).status == 202
    refused_there = play.read_until("404 to its reply")
    assert "sweep" not in refused_there

    play.process.send_signal(signal.SIGINT)

    status, said = play.finish()
    assert status == 0, said
    assert not play.left_behind()
    assert database.exists()


def is_worker(pid: int) -> bool:
    """Whether a process is the first of a worker, and none of its children."""
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    is_celery, is_child = (b"celery" in Path(f"/proc/{number}/cmdline").read_bytes() for number in (pid, parent))
    return is_celery and not is_child


def page(port: str, path: str) -> str:
    connection = HTTPConnection("127.0.0.1", int(port), timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status < 400
        return response.read().decode()
    finally:
        connection.close()


# -- Its parts -------------------------------------------------------------------------------------


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(
        number=1,
        at=datetime.now(tz=UTC),
        pos=PointOfSale(url="http://127.0.0.1/", api_key=KEY),
        event="getBill",
        event_id="1",
        request_url="http://127.0.0.1/",
        request_headers={},
        request_body=b"",
        status=200,
        response_headers={},
        response_body=b"null",
        milliseconds=12.0,
        error=None,
    )


BILL = b'{"id": "42", "currency": "CZK", "items": [{"quantity": "2", "price": "65.50"}]}'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BILL, "bill 42 with 1 item, 131.00 CZK"),
        (b"[" + BILL + b"," + BILL + b"]", "bill 42 with 1 item, 131.00 CZK and bill 42 with 1 item, 131.00 CZK"),
        (b'[{"id": "T1", "name": "Table 1"}]', "1 table: T1"),
        (b'[{"id": "T1"}, {"id": "T2"}, {"id": "T3"}]', "3 tables: T1, T2 and T3"),
        (b"[]", "nothing to pay"),
        (b"null", "null"),
        (b'{"code": "BILL_CLOSED", "message": "The bill is closed."}', "BILL_CLOSED: The bill is closed."),
        (
            b'{"receiptInfo": {"serial": "7"}, "taxInfo": [{"base": "1", "tax": "0.21"}], "items": []}',
            "receipt 7: 1.00 and 0.21 VAT",
        ),
        (b'{"receiptInfo": null}', "{'receiptInfo': None}"),
        (b'{"receiptInfo": {}, "receiptDeliveryType": "POSTPONED"}', "no receipt yet; ask again"),
        (b'{"menus": [{"name": "Pivo", "items": [1, 2]}, {"name": "Soup", "items": []}]}', "Pivo (2) and Soup (0)"),
        (b'{"menus": [{}]}', "{'menus': [{}]}"),
        (b'"what?"', "what?"),
        (b'{"name": "?"}', "{'name': '?'}"),
        (b'[{"id": 1}, 2]', "[{'id': 1}, 2]"),
        (b'{"items": [{"price": "dear"}]}', "{'items': [{'price': 'dear'}]}"),
        (b'{"items": 1}', "{'items': 1}"),
    ],
)
def test_an_answer_is_told_in_words(exchange: Exchange, body: bytes, words: str) -> None:
    assert heard(replace(exchange, response_body=body)) == words


def test_an_answer_that_comes_later_is_told(exchange: Exchange) -> None:
    assert heard(replace(exchange, status=202)) == "notes it, and will answer later"


def test_silence_is_told_with_its_reason(exchange: Exchange) -> None:
    assert heard(replace(exchange, status=None, error="connection refused")) == "(silence: connection refused)"


def test_a_list_of_one_is_one() -> None:
    assert listed(["T1"]) == "T1"
    assert total({"items": []}) == Decimal(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 500},
        {"status": None, "error": "connection refused"},
        {"response_body": b"[]"},
        {"response_body": b"7"},
        {"findings": (Finding(section=5, text="currency is missing"),)},
    ],
)
def test_an_exchange_that_is_not_as_expected_is_a_fault(exchange: Exchange, changes: dict[str, Any]) -> None:
    expected = answered("bill 42", lambda bill: bill["id"] == "42")
    right = replace(exchange, response_body=BILL)
    assert expected.fault(right) is None

    fault = expected.fault(replace(right, **changes))

    assert fault is not None
    assert fault.startswith("expected 200 and bill 42")
    assert ("currency is missing" in fault) is ("findings" in changes)


def test_a_refusal_is_expected_with_its_code(exchange: Exchange) -> None:
    closed = replace(exchange, status=422, response_body=b'{"code": "BILL_CLOSED", "message": ""}')

    assert refused(422, "BILL_CLOSED").fault(closed) is None
    assert refused(422, "BILL_NOT_FOUND").fault(closed) == "expected 422 and the code BILL_NOT_FOUND"
    assert Expected(status=422, words="anything", holds=lambda _: True).fault(closed) is None


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_story_keeps_within_its_lines(exchange: Exchange, width: int) -> None:
    out = io.StringIO()
    teller = Teller(Console(file=out, width=width, color_system=None))

    teller.title("An evening")
    teller.scene("A scene")
    teller.exchange(
        replace(exchange, response_body=b'"' + b"very long " * 30 + b'"'), who="Qerko", about="", fault=None
    )
    teller.exchange(replace(exchange, status=None), who="a stranger", about="about " * 30, fault="wrong " * 30)
    teller.say("said " * 50)

    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= min(width, 96)
    assert [line for line in lines if line.endswith(("✓", "✗"))] == [line for line in lines if " ms " in line]
    assert any("—    12 ms ✗" in line for line in lines)


@pytest.mark.process
@pytest.mark.once
def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    with Stage() as stage, pytest.raises(StageFailed, match=r"`manage\.py no_such_thing` failed(.|\n)*Unknown command"):
        stage.command("no_such_thing")


@pytest.mark.process
@pytest.mark.once
def test_a_command_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("example_project.demo.stage.COMMAND_WITHIN", 0.01)

    with Stage() as stage, pytest.raises(StageFailed, match="did not end within"):
        stage.command("check")


@pytest.mark.process
@pytest.mark.once
def test_a_page_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("example_project.demo.stage.COMES_UP_WITHIN", 0.3)

    with listening(0) as nobody:
        port = nobody.getsockname()[1]
    with Stage() as stage:
        process = stage.start("the sleeper", ["-c", "import time; time.sleep(60)"])
        with pytest.raises(StageFailed, match="the sleeper runs, but / gave no answer"):
            wait_for_page(process, port)

    assert process.has_ended
    assert not stage.folder.exists()


@pytest.mark.process
@pytest.mark.once
def test_words_that_do_not_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage() as stage:
        process = stage.start("the sleeper", ["-c", "import time; print('yawns'); time.sleep(60)"])
        wait_for_words(process, "yawns")
        monkeypatch.setattr("example_project.demo.stage.COMES_UP_WITHIN", 0.3)
        with pytest.raises(StageFailed, match="the sleeper runs, but has not said 'ready'(.|\n)*yawns"):
            wait_for_words(process, "ready")


@pytest.mark.process
@pytest.mark.once
def test_what_does_not_end_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("example_project.demo.stage.ENDS_WITHIN", 0.5)
    stubborn = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); "
        "print(os.getpid(), flush=True); time.sleep(60)"
    )

    with Stage() as stage:
        process = stage.start("the stubborn", ["-c", stubborn])
        while len(pids := [int(number) for number in process.log.read_text().split()]) < 2:
            time.sleep(0.02)

    assert process.popen.returncode == -signal.SIGKILL
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody waits for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_ports_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("example_project.demo.pub._TRIED", 1)

    with listening(0) as taken, pytest.raises(StageFailed, match=r"Port \d+ is taken"):
        listening(taken.getsockname()[1])


def test_an_interrupt_waits_until_it_may_come() -> None:
    reached = []

    def interrupted() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert reached == ["the end"]

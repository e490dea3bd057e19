"""`qerko_sandbox`, as a person runs it: in any project, from a shell, until Ctrl-C."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from rich.console import Console

from django_qerko.models import Restaurant
from django_qerko.sandbox import command
from django_qerko.sandbox.printing import print_line
from django_qerko.sandbox.qerko import Qerko
from tests.commands import Terminal
from tests.deliveries import KEY, OTHER_KEY
from tests.points_of_sale import Till, a_till

ROOT = Path(__file__).resolve().parent.parent
BILL = {"id": "42", "currency": "CZK", "items": [{"id": "1", "name": "Pivo", "quantity": "2", "price": 55}]}


@pytest.fixture
def till() -> Iterator[Till]:
    with a_till(getTableList=[{"id": "T1", "name": "Window"}], getBill=BILL) as till:
        yield till


# -- As a process ---------------------------------------------------------------------------------


def bare_project(folder: Path) -> str:
    """The settings of a project that has nothing but the app."""
    (folder / "bare.py").write_text(
        'SECRET_KEY = "x"\nINSTALLED_APPS = ["rest_framework", "django_qerko"]\n'
        f'DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{folder}/never.sqlite3"}}}}\n'
    )
    return "bare"


@contextmanager
def running(
    *words: str, project: Path = ROOT, said: str = "", **env: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, once it listens: the address of its page, and the process, which may be read on."""
    command = [sys.executable, "-m", "django", "qerko_sandbox", "--port", "0", *words]
    environment = os.environ | {"PYTHONPATH": f"{project}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1", **env}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(said)
        process.stdin.close()
        try:
            first = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", first)
            assert found, first + process.stdout.read()
            yield found[0], process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> str:
    """What the command still says after Ctrl-C."""
    assert process.stdout
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(20) == 0, rest
    return rest


@pytest.mark.process
@pytest.mark.once
def test_it_plays_for_any_point_of_sale_in_an_empty_project(till: Till, tmp_path: Path) -> None:
    words = ("--url", till.url, "--api-key", KEY.reveal())
    with running(*words, project=tmp_path, DJANGO_SETTINGS_MODULE=bare_project(tmp_path)) as (url, process):
        tables = requests.get(url, timeout=20)
        requests.get(f"{url}1/bills/42/", timeout=20)
        said = ended(process)
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=20)

    assert "Window" in tables.text
    assert f"It calls          {till.url} of 127.0.0.1:{till.port}, with the key …e4e1\n" in said
    assert re.search(r"\n\d\d:\d\d:\d\d ✓ 127\.0\.0\.1:\d+ +getTableList +200 +\d+\.\d ms\n", said)
    assert re.search(r"✗ .* getBill +200 +\d+\.\d ms  items\.0\.price: .* \(protocol section 5\)\n", said)
    assert said.endswith("The sandbox is closed.\n")
    assert KEY.reveal() not in said
    assert not (tmp_path / "never.sqlite3").exists()


@pytest.mark.process
@pytest.mark.once
def test_keys_come_from_standard_input(till: Till) -> None:
    words = ("--url", till.url, "--api-key", "-", "--url", "http://localhost:1", "--api-key", "-")
    keys = f"{KEY.reveal()}\n{OTHER_KEY.reveal()}\n"
    with running(*words, said=keys, DJANGO_SETTINGS_MODULE="tests.settings") as (url, process):
        front = requests.get(url, timeout=20)
        said = ended(process)

    assert "localhost:1" in front.text
    assert f"{till.url} of 127.0.0.1:{till.port}, with the key …e4e1" in said
    assert "http://localhost:1/ of localhost:1, with the key …4757" in said


@pytest.mark.process
@pytest.mark.once
def test_the_restaurants_of_the_project_are_called(transactional_restaurant: Restaurant, tmp_path: Path) -> None:
    Restaurant.objects.create(name="Not open yet")
    (tmp_path / "same_database.py").write_text(
        f'from tests.settings import *\nDATABASES["default"]["NAME"] = {str(connection.settings_dict["NAME"])!r}\n'
    )
    words = ("--pos", "http://127.0.0.1:9000/")
    with running(*words, project=tmp_path, DJANGO_SETTINGS_MODULE="same_database") as (url, process):
        assert requests.get(f"{url}style.css", timeout=20).status_code == 200
        said = ended(process)

    address = f"http://127.0.0.1:9000/qerko/webhook/{transactional_restaurant.webhook_token}/"
    assert f"{address} of U Zlatého tygra, with the key …e4e1" in said
    assert "Not open yet" not in said


# -- What is called wrongly -----------------------------------------------------------------------


def complaint(*words: str) -> str:
    """What the command says instead of starting."""
    with pytest.raises(CommandError) as refusal:
        call_command("qerko_sandbox", *words)
    return str(refusal.value)


NAMED = ("--url", "http://127.0.0.1:1/", "--api-key", KEY.reveal())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url", "http://127.0.0.1:1/"), "Each --url goes with an --api-key, and there are 1 and 0."),
        (("--api-key", KEY.reveal()), "Each --url goes with an --api-key, and there are 0 and 1."),
        ((*NAMED, "--url", "nowhere"), "'nowhere' is no absolute http or https URL."),
        (("--api-key", "two words"), "An API key is 1 to 128 printable ASCII characters"),
        ((*NAMED, "--port", "65536"), "a port is a number from 0 to 65535"),
        ((*NAMED, "--port", "http"), "a port is a number from 0 to 65535"),
        ((*NAMED, "--host", "0.0.0.0"), "0.0.0.0 is not this machine alone, and listening to others was not allowed."),
        (
            ("--url", "http://example.com/", "--api-key", KEY.reveal()),
            "example.com is not this machine, and calling others was not allowed. --allow-remote allows it.",
        ),
        (
            (*NAMED, "--allow-remote", "--host", "no.such.host.invalid"),
            "Cannot listen at no.such.host.invalid, port 8765",
        ),
    ],
)
def test_a_wrong_call_is_explained(words: tuple[str, ...], said: str) -> None:
    assert said in complaint(*words)


def test_a_wrong_key_is_not_repeated() -> None:
    assert "two words" not in complaint("--api-key", "two words")


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        said = f"Cannot listen at 127.0.0.1, port {port}: Address already in use. --port 0 takes any free one."
        assert complaint(*NAMED, "--port", port) == said


@pytest.mark.django_db
def test_no_restaurant() -> None:
    Restaurant.objects.create(name="Without a key")

    assert complaint().startswith("No restaurant has a key: add one")


@pytest.mark.process
@pytest.mark.once
def test_no_table_of_restaurants(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "django", "qerko_sandbox"]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": bare_project(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert said.returncode == 2
    assert "CommandError: The tables of django_qerko are missing: python manage.py migrate makes them." in said.stderr


def test_no_address_of_the_webhook(restaurant: Restaurant, settings: object) -> None:
    settings.ROOT_URLCONF = "tests.urls_without_webhook"  # type: ignore[attr-defined]

    assert complaint() == "The webhook has no address: include django_qerko.urls in your URLconf."


def test_a_key_that_cannot_be_read(restaurant: Restaurant, settings: object) -> None:
    settings.SECRET_KEY = "another one"  # type: ignore[attr-defined]

    assert "cannot be read under any of QERKO['ENCRYPTION_KEYS']" in complaint()


# -- What is printed ------------------------------------------------------------------------------


def printed(till: Till, **how: bool) -> str:
    page = io.StringIO()
    with Qerko() as qerko:
        print_line(Console(file=page, **how), qerko.ask(till.pos(name="U [b]Kocoura"), "getBill"))  # type: ignore[arg-type]
    return page.getvalue()


def test_a_strangers_words_do_not_move_the_cursor(till: Till) -> None:
    till.answers["getBill"] = (422, {"code": "\x1b[2J\nX", "message": ""})

    line = printed(till)

    assert "U [b]Kocoura" in line
    assert line.count("\n") == 1
    assert "422 \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}X" in line
    assert "\x1b" not in line


def test_a_key_is_not_printed(till: Till) -> None:
    till.answers["getBill"] = (422, {"code": KEY.reveal(), "message": ""})

    assert KEY.reveal() not in printed(till)


def test_a_terminal_gets_colour(till: Till) -> None:
    assert "\x1b[31m✗" in printed(till, force_terminal=True)


@pytest.mark.parametrize(("no_color", "environment"), [(True, ""), (False, "1"), (False, "")])
def test_without_colours_nothing_is_said_to_the_terminal_itself(
    till: Till, monkeypatch: pytest.MonkeyPatch, no_color: bool, environment: str
) -> None:
    def run(console: Console, _: object, **__: object) -> None:
        with Qerko() as qerko:
            print_line(console, qerko.ask(till.pos(), "getBill"))

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", environment)
    monkeypatch.setattr(command, "run", run)
    page = Terminal()

    call_command("qerko_sandbox", *NAMED, no_color=no_color, stdout=page)

    assert "getBill" in page.getvalue()
    assert ("\x1b" in page.getvalue()) is not (no_color or bool(environment))


def test_an_error_that_keeps_the_protocol_is_no_violation(till: Till) -> None:
    till.answers["getBill"] = (422, {"code": "BILL_CLOSED", "message": ""})

    assert "\x1b[33m✓" in printed(till, force_terminal=True)

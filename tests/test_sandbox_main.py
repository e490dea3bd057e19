"""`python -m django_qerko.sandbox`: Qerko without any project, for a point of sale in any language."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import IO, cast
from urllib.parse import urlsplit

import pytest
import requests

from django_qerko.sandbox import arguments, command
from tests.deliveries import KEY
from tests.points_of_sale import POS_ID, Till, a_till
from tests.servers import ROOT
from tests.workers import until

BILL = {"id": "42", "currency": "CZK", "items": [{"id": "1", "name": "Pivo", "quantity": "2", "price": "55.00"}]}


@pytest.fixture
def till() -> Iterator[Till]:
    with a_till(getTableList=[{"id": "T1", "name": "Window"}], getBill=BILL) as till:
        yield till


@contextmanager
def running(*words: str, shell: tuple[str, ...] = ()) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """The sandbox once it listens: its address, what it said before the conversation, and its process."""
    # A project that is named in the environment is none of its business.
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "no.such.project"}
    with subprocess.Popen(
        [*shell, sys.executable, "-m", "django_qerko.sandbox", "--port", "0", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said = ""
            while "Ctrl-C ends it" not in said:
                line = cast("IO[str]", process.stdout).readline()
                assert line, said
                said += line
            yield re.findall(r"http://\S+/", said)[0], said, process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], by: signal.Signals = signal.SIGINT) -> str:
    process.send_signal(by)
    rest = cast("IO[str]", process.stdout).read()
    assert process.wait(20) == 0, rest
    return rest


@pytest.mark.process
@pytest.mark.once
def test_it_plays_without_any_project(till: Till) -> None:
    with running("--url", till.url, "--api-key", KEY.reveal(), "--scheme", "hmac-sha256") as (url, said, process):
        tables = requests.get(f"{url}1/", timeout=20)
        rest = ended(process)
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=20)

    assert "Window" in tables.text
    assert f"It calls          {till.url} of 127.0.0.1:{till.port}, with the key …e4e1\n" in said
    assert "It behaves badly" not in said
    assert re.search(r"✓ 127\.0\.0\.1:\d+ +getTableList +200", rest)
    assert rest.endswith("The sandbox is closed.\n")
    assert till.received[0].hmac_holds
    assert "Signature" not in till.received[0].headers
    assert KEY.reveal() not in said + rest


@pytest.mark.process
@pytest.mark.once
def test_it_behaves_badly_where_it_is_told_to(till: Till) -> None:
    bad = ("--fail", "100%", "--forge", "1", "--unknown-members", "--slow", "0.01", "--seed", "7")
    with running("--url", till.url, "--api-key", KEY.reveal(), *bad) as (url, said, process):
        requests.get(f"{url}1/", timeout=20)
        headers = {"Authorization": f"Bearer {KEY.reveal()}", "Pos-Id": POS_ID}
        busy = requests.post(f"{url}api/v4/pos/who-am-i", headers=headers, timeout=20)
        rest = ended(process, signal.SIGTERM)

    words = "answers after 0.01 s, fails 100%, forges 100%, says what nobody knows (--seed 7)"
    assert f"It behaves badly  {words}\n" in said
    assert busy.status_code == 503
    assert "a forged delivery is answered 401, not 200 (protocol section 2)" in rest
    assert [received.hmac_holds for received in till.received] == [False, True]
    assert till.received[1].document["qerkoNews"]


@pytest.mark.process
@pytest.mark.once
def test_an_address_where_nobody_is_comes_with_a_hint(till: Till) -> None:
    till.answers["getTableList"] = (404, {"code": "NOT_FOUND", "message": ""})
    with running("--url", till.url, "--api-key", KEY.reveal()) as (url, _, process):
        requests.get(f"{url}1/", timeout=20)

        assert re.search(r"404 NOT_FOUND .*is the webhook’s address right", ended(process))


@pytest.mark.process
@pytest.mark.once
def test_ctrl_c_ends_what_a_shell_put_into_the_background_and_what_it_was_doing(till: Till) -> None:
    till.answers["getTableList"] = (202, None)
    deaf = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    named = ("--url", till.url, "--api-key", KEY.reveal())
    with running(*named, shell=deaf) as (url, _, process), looking_at(url, "/1/"):
        # It waits for a reply, which takes 15 seconds.
        until(lambda: till.received, seconds=20)

        assert ended(process).endswith("The sandbox is closed.\n")


def looking_at(url: str, path: str) -> socket.socket:
    """Whoever opened a page, and waits for it."""
    address = urlsplit(url)
    browser = socket.create_connection((str(address.hostname), int(address.port or 0)))
    browser.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    return browser


def test_it_begins_nothing_where_it_is_only_imported() -> None:
    assert import_module("django_qerko.sandbox.__main__").main


# -- What is called wrongly -----------------------------------------------------------------------

NAMED = ("--url", "http://127.0.0.1:1/", "--api-key", KEY.reveal())


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Name the --url of a webhook, and its restaurant's --api-key."),
        (("--url", "http://127.0.0.1:1/"), "Each --url goes with an --api-key, and there are 1 and 0."),
        ((*NAMED, "--fail", "20"), "argument --fail: a share is a number from 0 to 1, or from 0% to 100%"),
        ((*NAMED, "--host", "0.0.0.0"), "listening to others was not allowed. --allow-remote allows it."),
        (
            ("--url", "http://example.com/", "--api-key", KEY.reveal()),
            "calling others was not allowed. --allow-remote allows it.",
        ),
        ((KEY.reveal(),), "unrecognized arguments: …"),
    ],
)
def test_a_wrong_call_is_explained(words: tuple[str, ...], said: str) -> None:
    wrong = subprocess.run(
        [sys.executable, "-m", "django_qerko.sandbox", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert wrong.returncode == 2
    assert wrong.stderr.endswith(f"{said}\n")
    assert "Traceback" not in wrong.stderr
    assert KEY.reveal() not in wrong.stderr


@pytest.mark.process
@pytest.mark.once
def test_a_port_that_is_taken_comes_with_its_cure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = [*NAMED, "--port", str(taken.getsockname()[1])]
        wrong = subprocess.run(
            [sys.executable, "-m", "django_qerko.sandbox", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    assert wrong.returncode == 2
    assert wrong.stderr.endswith(": Address already in use. --port 0 takes any free one.\n")


@pytest.mark.parametrize(("text", "share"), [("0", 0), ("1", 1), ("0.25", 0.25), ("20%", 0.2), ("100%", 1)])
def test_a_share_is_a_number_or_per_cent(text: str, share: float) -> None:
    assert arguments.share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "much", "1.01", "-0.1", "101%", "nan", "inf"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="a share is a number from 0 to 1"):
        arguments.share(text)


@pytest.mark.parametrize("text", ["0", "-1", "3601", "nan", "soon"])
def test_what_nobody_waits(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="an hour at most"):
        arguments.patience(text)


def test_the_help_tells_of_everything() -> None:
    parser = ArgumentParser()
    command.add_arguments(parser)

    assert "such as 20%" in parser.format_help()


def test_whoever_interrupted_before_is_heard_again() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with command._interruptible():
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before

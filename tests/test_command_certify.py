"""`qerko_certify`, as a person or a pipeline runs it: on the pub, on a stranger, and called wrongly."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import IO, Any, cast
from xml.etree import ElementTree as ET

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from pytest_django import Settings

from django_qerko.certifying import RULES
from django_qerko.certifying.playing import OPEN_BILLS
from django_qerko.keys import ApiKey
from django_qerko.management.commands.qerko_certify import _on_stage
from django_qerko.sandbox.conversation import PointOfSale
from example_project.demo.pub import lay_tables, listening, open_doors
from example_project.demo.stage import Stage
from tests.broken_pubs.defects import NOW, AnswersFloats, HasBillsWithoutCurrency, SaysNothingToTheUnknown
from tests.broken_pubs.pub import KEY, Pub, opening
from tests.commands import Terminal
from tests.servers import ROOT, free_port
from tests.test_bare_pos import BARE_POS

NAMES = [rule.name for rule in RULES]
PUB = "example_project.pub.fixture.four_tables"


# -- As a process ------------------------------------------------------------------------------------


def certify(*words: str, said: str | None = "", **env: str) -> subprocess.CompletedProcess[str]:
    """The command, once it is over; nobody is there to be asked, unless something is ``said``."""
    return subprocess.run(
        [sys.executable, "-m", "django", "qerko_certify", *words],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "example_project.settings", **env},
        input=said,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rows(printed: str) -> Mapping[str, list[str]]:
    """The cells of the table by the names of the rules, as a program reads it."""
    table = [line.split("\t") for line in printed.splitlines() if "\t" in line]
    assert table[0] == ["§", "rule", "verdict", "what was seen", "what to do"]
    return {name: [section, *rest] for section, name, *rest in table[1:]}


def is_good(row: list[str]) -> bool:
    return row[1] in {"holds", "not needed"}


def databases() -> str:
    """The names of all databases of the server."""
    statements = {
        "mysql": "SHOW DATABASES",
        "postgresql": "SELECT datname FROM pg_database",
        "sqlite": "PRAGMA database_list",
    }
    with connection.cursor() as cursor:
        cursor.execute(statements[connection.vendor])
        return str(cursor.fetchall())


@pytest.mark.process
@pytest.mark.django_db
def test_the_pub_is_certified_in_process_and_nothing_of_it_is_touched(tmp_path: Path) -> None:
    own = {
        "DATABASE_URL": os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{tmp_path / 'pub.sqlite3'}",
        "CELERY_BROKER_URL": f"sqlite:///{tmp_path / 'broker.sqlite3'}",
        "TMPDIR": str(tmp_path),
    }
    began = time.monotonic()

    done = certify("--fixture", PUB, "--junit", str(tmp_path / "junit.xml"), **own)

    assert time.monotonic() - began < 60
    verdicts = rows(done.stdout)
    assert [*verdicts] == NAMES
    assert [row for row in verdicts.values() if not is_good(row)] == []
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"Of {len(RULES)} rules: {len(RULES)} hold."
    assert [file.name for file in tmp_path.iterdir()] == ["junit.xml"]
    assert "qerko_certify" not in databases()


@pytest.mark.process
@pytest.mark.once
def test_a_project_without_a_bill_hears_what_was_not_tried(tmp_path: Path) -> None:
    own = {"DATABASE_URL": f"sqlite:///{tmp_path / 'pub.sqlite3'}", "QERKO_ANSWER_LATER": ""}

    done = certify(**own)

    verdicts = rows(done.stdout)
    assert done.returncode == 1
    assert verdicts["tables"][:3] == ["5", "not tried", "there is no table"]
    assert verdicts["tables"][3].startswith("In process, name a --fixture and fill the test database: a few bills")
    assert verdicts["payment"][1:3] == ["not tried", "bills is not tried"]
    assert verdicts["forged"][1] == "holds"
    assert "broken" not in {row[1] for row in verdicts.values()}


@pytest.mark.process
@pytest.mark.once
def test_the_pub_is_certified_by_its_url_with_a_worker_beside_it(tmp_path: Path) -> None:
    replies = free_port()
    with Stage() as stage, listening(0) as door:
        stage.environment |= {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'pub.sqlite3'}",
            "CELERY_BROKER_URL": f"sqlite:///{tmp_path / 'broker.sqlite3'}",
            "QERKO_BASE_URL": f"http://127.0.0.1:{replies}/api/v4/pos",
            "QERKO_API_KEY": KEY,
        }
        stage.command("migrate", "--verbosity=0")
        pub = lay_tables(stage, 3, port=int(door.getsockname()[1]))
        open_doors(stage, door)
        began = time.monotonic()

        done = certify("--url", pub.webhook, "--api-key", "-", "--yes", "--port", str(replies), said=f"{KEY}\n")

    assert time.monotonic() - began < 60
    assert [row for row in rows(done.stdout).values() if not is_good(row)] == []
    assert rows(done.stdout)["reply-in-time"][1] == "holds"
    assert done.returncode == 0
    assert KEY not in done.stdout + done.stderr


@contextmanager
def a_stranger() -> Iterator[str]:
    """The address of a point of sale of a hundred lines, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, str(BARE_POS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        say, hear = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        say.write(f"{KEY}\n")
        say.flush()
        try:
            yield hear.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.mark.process
@pytest.mark.once
def test_a_point_of_sale_that_is_not_ours_needs_a_url_and_a_key(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text('SECRET_KEY = "x"\nINSTALLED_APPS = ["rest_framework", "django_qerko"]\n')
    env = {"DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with a_stranger() as url:
        done = certify("--url", url, "--api-key", KEY, "--yes", "--port", "0", **env)

    verdicts = rows(done.stdout)
    assert done.returncode == 1
    assert {name for name, row in verdicts.items() if row[1] == "broken"} == {
        "another-currency",
        "broken-json",
        "old-names",
        "receipts",
        "second-payment",
        "too-large",
        "unknown-code",
        "unknown-event",
        "wrong-address",
    }
    assert {name for name, row in verdicts.items() if row[1] == "not tried"} == set()
    assert verdicts["reply-headers"] == ["1", "not needed", "everything is answered at once", ""]
    assert KEY not in done.stdout


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize(("answer", "is_tried"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_bills_are_paid_only_where_somebody_agrees(answer: str, is_tried: bool) -> None:
    with opening(pub := Pub(later=NOW)):
        done = certify("--url", pub.url, "--api-key", KEY, "--only", "payment", "--port", "0", said=answer)

    assert done.stdout.startswith(f"Bills at {pub.url} will be paid, a little of each. Go on? [y/N] ")
    assert (done.returncode, [*pub.payments] != []) == ((0, True) if is_tried else (2, False))
    assert ("--yes allows it" in done.stderr) == (answer == "")


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--fixture", "tests.broken_pubs.fixtures.a_restaurant_without_a_key"), "No restaurant has a key"),
        (
            ("--fixture", "tests.broken_pubs.fixtures.one_that_breaks"),
            "The fixture tests.broken_pubs.fixtures.one_that_breaks broke: TypeError: no tables\\nat all\n",
        ),
        (("--fixture", "tests.broken_pubs.fixtures.NOTHING"), "fixtures.NOTHING cannot be called"),
        (("--fixture", "tests.no_such_module.fill"), "No module named 'tests.no_such_module'"),
        (("--fixture", "fill"), "fill doesn't look like a module path"),
        (("--only", "tips"), "there is no rule 'tips'; there are answers, tables, "),
    ],
)
def test_a_wrong_call_ends_with_2(tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    done = certify(*words, DATABASE_URL=f"sqlite:///{tmp_path / 'pub.sqlite3'}", TMPDIR=str(tmp_path))

    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [*tmp_path.iterdir()] == []


class IsAsked(Pub):
    """It lets a test know, and answers when the test has seen enough."""

    asked = threading.Event()
    released = threading.Event()

    def hear(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        self.asked.set()
        return super().hear(path, headers, body) if self.released.wait(60) else (503, None)


@pytest.mark.process
@pytest.mark.once
def test_whoever_has_seen_enough_may_leave() -> None:
    with (
        opening(pub := IsAsked()),
        subprocess.Popen(
            [sys.executable, "-m", "django", "qerko_certify", "--url", pub.url, "--api-key", KEY, "--yes", "--port=0"],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert pub.asked.wait(30)
        process.send_signal(signal.SIGINT)
        printed, complained = process.communicate(timeout=30)
        pub.released.set()

    assert (process.returncode, printed) == (1, "")
    assert complained == "CommandError: Given up before all rules were tried.\n"


# -- What is printed ---------------------------------------------------------------------------------


def printed(pub: Pub, *words: str, terminal: bool = False, port: int = 0, **options: Any) -> tuple[str, int]:
    """What it prints about a pub, and its exit status."""
    out = Terminal() if terminal else StringIO()
    with opening(pub):
        try:
            call_command(
                "qerko_certify", "--url", pub.url, "--api-key", KEY, "--yes", *words, port=port, stdout=out, **options
            )
        except SystemExit as ended:
            return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


LATER_ONLY = {"reply-headers", "reply-envelope", "reply-in-time"}
TWO = ("--only", "unknown-event", "--only", "answers")


def test_what_could_not_be_tried_is_told_with_the_reason_and_what_to_do() -> None:
    text, status = printed(Pub(bills={"1": {}}, later=NOW))

    assert status == 1
    assert rows(text)["bills"] == ["5", "not tried", "there is no bill on any table", OPEN_BILLS]
    assert rows(text)["payment"] == ["4", "not tried", "bills is not tried", ""]
    assert rows(text)["forged"][1] == "holds"


def test_replies_are_taken_where_the_point_of_sale_sends_them() -> None:
    port = free_port()

    text, status = printed(Pub(api_url=f"http://127.0.0.1:{port}/api/v4/pos"), "--only", "reply-in-time", port=port)

    assert (rows(text)["reply-in-time"][1], status) == ("holds", 0)


def test_a_rule_that_is_broken_is_told_with_what_was_seen_and_what_to_do() -> None:
    text, status = printed(AnswersFloats(later=NOW), "--only", "amounts", "--only", "forged")

    assert status == 1
    assert [*rows(text)] == ["forged", "amounts"]
    section, verdict, seen, cure = rows(text)["amounts"]
    assert (section, verdict) == ("5", "broken")
    assert seen.startswith("0.items.0.price: an amount is a decimal string, not a number; ")
    assert cure.startswith('Write "55.00" with its quotation marks')
    assert text.splitlines()[-1] == "Of 2 rules: 1 hold, 1 broken."
    assert "\x1b" not in text


def test_the_rule_that_kept_another_from_being_tried_is_told_as_well() -> None:
    text, status = printed(HasBillsWithoutCurrency(later=NOW), "--only", "receipts")

    assert status == 1
    assert {name: row[1] for name, row in rows(text).items()} == {"bills": "broken", "receipts": "not tried"}
    assert rows(text)["bills"][3].startswith("Answer with a Bill")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("terminal")
def test_a_person_sees_a_table_that_is_read_without_colours() -> None:
    text, status = printed(SaysNothingToTheUnknown(later=NOW), *TWO, terminal=True)

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert status == 1
    assert "✓ holds" in plain
    assert "✗ broken" in plain
    assert "of 2: " in plain
    assert max(map(len, plain.replace("\r", "\n").splitlines())) <= 100
    assert "\x1b[1;31m" in text


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("how", ["option", "environment"])
def test_without_colours_nothing_is_said_to_the_terminal_itself(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("NO_COLOR", "1" if how == "environment" else "")

    text, _ = printed(SaysNothingToTheUnknown(later=NOW), *TWO, terminal=True, no_color=how == "option")

    assert "✗ broken" in text
    assert "\t" not in text
    assert "\x1b" not in text


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("stdout", [Terminal, StringIO], ids=["plain", "piped"])
def test_a_person_without_colours_sees_which_rule_is_tried(stdout: type[StringIO]) -> None:
    errors = Terminal()
    with opening(Pub(later=NOW)) as pub:
        words = ("--url", pub.url, "--api-key", KEY, "--yes", "--only", "answers", "--only", "unknown-event")
        call_command("qerko_certify", *words, port=0, stdout=stdout(), stderr=errors, no_color=True)

    assert errors.getvalue().splitlines() == [
        "1 of 2: A genuine delivery is let in",
        "2 of 2: An event that nobody knows is NO_SUCH_METHOD",
    ]


@pytest.mark.process
@pytest.mark.once
def test_a_test_database_is_not_made_in_silence(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    own = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'pub.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
    }
    with os.fdopen(ours, "rb") as terminal, os.fdopen(its, "wb") as stderr:
        subprocess.run(
            [sys.executable, "-m", "django", "qerko_certify", "--only", "answers"],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "example_project.settings"} | own,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            timeout=120,
            check=False,
        )
        said = terminal.read1(1000).decode().splitlines()

    assert said == ["Making a test database", "1 of 1: A genuine delivery is let in"]


def test_the_log_is_silent_unless_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    for verbosity in (1, 2):
        printed(Pub(), "--only", "forged", verbosity=verbosity)

    assert KEY not in caplog.text


@pytest.mark.parametrize("only", ["forged", ["forged"]])
def test_a_rule_may_be_named_by_keyword(only: object) -> None:
    text, status = printed(Pub(later=NOW), only=only)

    assert ([*rows(text)], status) == (["forged"], 0)


# -- JUnit -------------------------------------------------------------------------------------------


def test_junit_has_a_test_case_for_each_rule(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"

    printed(Pub(bills={"1": {}}, later=NOW), "--junit", str(report))

    (suite,) = ET.parse(report).getroot()
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert [*cases] == NAMES
    assert suite.get("tests") == str(len(NAMES))
    assert {name for name, case in cases.items() if case.find("skipped") is not None} == LATER_ONLY
    assert suite.get("skipped") == str(len(LATER_ONLY))
    assert suite.get("failures") == "0"
    bills = cases["bills"].find("error")
    assert bills is not None
    assert bills.get("message") == "not tried: there is no bill on any table"
    assert str(bills.text).startswith("In process, name a --fixture")
    assert suite.get("errors") == str(len([*suite.iter("error")]))
    assert cases["forged"].get("classname") == "qerko_certify.section2"
    assert float(cases["forged"].get("time", "-1")) >= 0


def test_junit_blames_the_rule_to_mend(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"

    printed(SaysNothingToTheUnknown(bills={"1": {}}, later=NOW), "--junit", str(report))

    (suite,) = ET.parse(report).getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")


class Shouts(Pub):
    def refusal(self, code: str) -> tuple[int, Any]:
        return super().refusal("\ufffe]]>&<" + code)


def test_junit_stays_xml_whatever_is_said(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"

    printed(Shouts(later=NOW), "--junit", str(report), "--only", "unknown-bill")

    (failure,) = ET.parse(report).iter("failure")
    assert "]]>&<BILL_NOT_FOUND" in str(failure.get("message"))
    assert str(failure.text).startswith("Refuse with the code BILL_NOT_FOUND")


# -- What is called wrongly --------------------------------------------------------------------------


def complaint(*words: str) -> CommandError:
    with pytest.raises(CommandError) as refusal:
        call_command("qerko_certify", *words)
    return refusal.value


URL = ("--url", "http://127.0.0.1:1/")
NAMED = (*URL, "--api-key", KEY, "--yes")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (URL, "--url and --api-key go together."),
        (("--api-key", KEY), "--url and --api-key go together."),
        ((*NAMED, "--fixture", PUB), "--fixture fills a test database, and with --url there is none."),
        ((*NAMED, "--port", "70000"), "a port is a number from 0 to 65535"),
        (("--url", "pub", "--api-key", KEY), "'pub' is no absolute http or https URL"),
        ((*URL, "--api-key", f"{KEY} "), "An API key is 1 to 128 printable"),
    ],
)
def test_what_does_not_fit_together_is_said(words: tuple[str, ...], said: str) -> None:
    wrong = complaint(*words)

    assert said in str(wrong)
    assert KEY not in str(wrong)


@pytest.mark.parametrize(
    ("is_remote", "cure"),
    [
        (False, "--port 0 takes any free one."),
        (True, "and give the point of sale that one, too."),
    ],
    ids=["in process", "by its URL"],
)
def test_a_port_that_is_taken_is_said_with_its_cure(*, is_remote: bool, cure: str) -> None:
    pos = PointOfSale(url="http://127.0.0.1:1/", api_key=ApiKey(KEY))
    find = pos if is_remote else {"": pos}.__getitem__
    with socket.create_server(("127.0.0.1", 0)) as taken, ExitStack() as stack:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Cannot listen at port {port}: Address already in use") as refusal:
            _on_stage(stack, find, port)
    wrong = refusal.value

    assert str(wrong).endswith(cure)
    assert ("sandbox" in str(wrong)) is is_remote
    assert wrong.returncode == 2


def test_a_project_without_the_webhook_hears_what_is_missing(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.urls_without_webhook"

    wrong = complaint()

    assert str(wrong) == "The webhook has no address: include django_qerko.urls in your URLconf."
    assert wrong.returncode == 2


def test_a_report_that_cannot_be_written_is_said() -> None:
    wrong = complaint(*NAMED, "--junit", "/nowhere/junit.xml", "--only", "answers", "--port", "0")

    assert str(wrong) == "/nowhere/junit.xml cannot be written: No such file or directory."
    assert wrong.returncode == 2

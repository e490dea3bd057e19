"""What all commands share: how arguments are read, and how lines are printed."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone as django_timezone
from pytest_django import Settings

from django_qerko.keys import ApiKey
from django_qerko.management import arguments, from_file
from django_qerko.management.calling import CalledCommand
from django_qerko.management.printing import PrintingCommand, iso
from django_qerko.models import Restaurant
from django_qerko.sandbox import arguments as sandbox_arguments
from tests.commands import run, running
from tests.deliveries import KEY, OTHER_KEY
from tests.records import NOON, enter
from tests.servers import ROOT, environment

SPANS = {
    "90s": timedelta(seconds=90),
    "15m": timedelta(minutes=15),
    "2h": timedelta(hours=2),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
    "0s": timedelta(0),
}


class Table(PrintingCommand):
    """A command that prints what it is given."""

    def __init__(self, rows: list[Any]) -> None:
        super().__init__()
        self.rows = rows

    def handle(self, **_: Any) -> None:
        self.print_table(("who", "what"), self.rows)


@pytest.mark.parametrize(("text", "span"), SPANS.items(), ids=SPANS)
def test_a_span_is_a_moment_before_now(text: str, span: timedelta) -> None:
    before = django_timezone.now()

    moment = arguments.moment(text)

    assert before <= moment + span <= django_timezone.now()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T12:00:00Z", NOON),
        ("2026-11-24T13:00:00+01:00", NOON),
        ("2026-11-24 13:00", NOON),
        ("2026-11-24", datetime(2026, 11, 23, 23, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_one_of_the_projects_zone(settings: Settings, text: str, moment: datetime) -> None:
    settings.TIME_ZONE = "Europe/Prague"

    assert arguments.moment(text) == moment


def test_a_project_without_time_zones_gets_none(settings: Settings) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Prague"

    assert arguments.moment("2026-11-24T12:00:00Z") == datetime(2026, 11, 24, 13)  # noqa: DTZ001
    assert arguments.moment("2026-11-24T12:00:00") == datetime(2026, 11, 24, 12)  # noqa: DTZ001
    assert django_timezone.is_naive(arguments.moment("1h"))


@pytest.mark.parametrize("text", ["", "yesterday", "15", "m", "-5m", "1.5h", "999999999w", "9999999999s", "15m "])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="15m, 2h or 1d"):
        arguments.moment(text)


@pytest.mark.parametrize(("text", "typed"), [(KEY.reveal(), ""), ("-", f"{KEY.reveal()}\n"), ("-", KEY.reveal())])
def test_a_key_is_an_argument_or_a_line_of_standard_input(
    monkeypatch: pytest.MonkeyPatch, text: str, typed: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    assert arguments.api_key(text) == KEY


@pytest.mark.parametrize(("text", "typed"), [("my secret key", ""), ("-", "my secret key"), ("-", "")])
def test_a_key_that_is_none_is_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str, typed: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    with pytest.raises(ArgumentTypeError) as refused:
        arguments.api_key(text)

    assert "secret" not in str(refused.value)


#: A person's terminal. It gives no line: what is read like that is seen by whoever looks on.
KEYBOARD = SimpleNamespace(isatty=lambda: True)

READERS: list[Callable[[str], ApiKey]] = [arguments.api_key, from_file.api_key]


@pytest.mark.parametrize("reader", READERS)
def test_a_person_types_a_key_unseen(monkeypatch: pytest.MonkeyPatch, reader: Callable[[str], ApiKey]) -> None:
    monkeypatch.setattr("sys.stdin", KEYBOARD)
    monkeypatch.setattr(sandbox_arguments, "getpass", lambda _: f" {KEY.reveal()}\t")

    assert reader("-") == KEY


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("given_up", [EOFError, KeyboardInterrupt])
def test_a_person_who_gives_up_has_typed_no_key(
    monkeypatch: pytest.MonkeyPatch, reader: Callable[[str], ApiKey], given_up: type[BaseException]
) -> None:
    def give_up(_: str) -> str:
        raise given_up

    monkeypatch.setattr("sys.stdin", KEYBOARD)
    monkeypatch.setattr(sandbox_arguments, "getpass", give_up)

    with pytest.raises(ArgumentTypeError, match="An API key is"):
        reader("-")


@pytest.mark.process
def test_a_real_terminal_does_not_show_a_key(transactional_restaurant: Restaurant) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "django", "qerko_restaurant", "add", "U Fleků", "--api-key", "-"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        while b"API key (it is not shown): " not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, f"{OTHER_KEY.reveal()}\n".encode())
        # At its end a terminal says EIO.
        with suppress(OSError):
            while True:
                shown += os.read(ours, 1024)
        os.close(ours)
        assert process.wait(30) == 0

    assert OTHER_KEY.reveal() not in shown.decode()
    assert Restaurant.objects.get(name="U Fleků").keys.get().api_key == OTHER_KEY


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5"])
def test_what_is_no_number_above_zero_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        arguments.positive(text)

    assert arguments.positive("7") == 7


def test_a_program_reads_iso() -> None:
    assert iso(NOON) == "2026-11-24T12:00:00+00:00"
    assert iso(None) is None


def test_a_program_gets_columns_between_tabs_and_nothing_cut() -> None:
    rows = [("x" * 500, "[red]bold[/]"), (None, 5)]

    assert run(Table(rows)) == f"who\twhat\n{'x' * 500}\t[red]bold[/]\n\t5\n"


def test_a_person_gets_a_table_of_text_that_is_neither_markup_nor_a_command() -> None:
    shown = run(Table([("[red]x[/red]", "\x1b[2J\t\x9b\n")]), terminal=True)

    assert "[red]x[/red]  \\x1b[2J\\t\\x9b\\n" in shown
    assert "\x1b[2J" not in shown
    assert len(shown.splitlines()) == 2


@pytest.mark.parametrize("no_color", [True, False])
def test_without_colours_no_heading_is_bold(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    shown = run(Table([("x", "y")]), terminal=True, no_color=no_color)

    assert ("\x1b[1mwho  what" in shown) is not no_color
    assert ("\x1b" in shown) is not no_color


@pytest.mark.parametrize("no_color", ["1", ""])
def test_the_environment_leaves_out_djangos_colours_too(monkeypatch: pytest.MonkeyPatch, no_color: str) -> None:
    class Heading(CalledCommand):
        def handle(self, **_: Any) -> None:
            self.stdout.write(self.style.MIGRATE_HEADING("Answer"))

    monkeypatch.setenv("NO_COLOR", no_color)

    shown = run(Heading(), terminal=True, force_color=True)

    assert ("\x1b" in shown) is not bool(no_color)
    assert "Answer" in shown


def test_a_person_can_copy_a_line_that_is_longer_than_the_terminal() -> None:
    address = "https://pos.example/" + "x" * 500

    assert address in run(Table([("寿司", address)]), terminal=True)


def test_a_closed_pipe_in_this_process_is_no_error() -> None:
    class Closed(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    Table([]).execute(stdout=Closed(), no_color=True, force_color=False, skip_checks=True)


@pytest.mark.process
def test_a_reader_that_hangs_up_ends_a_command_quietly(transactional_restaurant: Restaurant) -> None:
    for number in range(1000):
        enter(transactional_restaurant, event_id=f"{number:0100}")

    with running("qerko_events", "--limit", "1000") as (process, out, errors):
        heading = out.readline()
        out.close()

        assert heading.startswith("received\t")
        assert errors.read() == ""
        assert process.wait(timeout=30) == 0

"""A command whose tables are missing, or whose database is gone, says so in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, ProgrammingError, connection
from django.db.models import Model

from django_qerko.management import tables
from django_qerko.management.printing import PrintingCommand
from django_qerko.models import Attempt, Restaurant
from tests.commands import run
from tests.deliveries import KEY
from tests.servers import ROOT

MISSING = "The tables of django_qerko are missing: python manage.py migrate makes them."

READERS = {
    "qerko_diagnose": 1,
    "qerko_diagnose 1": 1,
    "qerko_diagnose --file {file}": 2,
    "qerko_events": 1,
    "qerko_reconcile": 1,
    "qerko_restaurant add X --api-key {key}": 1,
    "qerko_restaurant list": 1,
    "qerko_restaurant rotate X --finish": 1,
    "qerko_sandbox": 2,
    "qerko_send getBill": 2,
    "qerko_show a": 1,
    "qerko_stats": 1,
    "qerko_sweep": 1,
    "qerko_sweep --loop": 1,
}


@pytest.fixture
def unmigrated(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in apps.get_app_config("django_qerko").get_models():
        lose(model, monkeypatch)


def lose(model: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a table that isn't there, for one test: a field keeps the table that it was first asked by."""
    for field in model._meta.concrete_fields:
        assert field.cached_col.alias == model._meta.db_table
    monkeypatch.setattr(model._meta, "db_table", f"no_{model._meta.db_table}")


class Failing(PrintingCommand):
    """A command whose database says this."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def handle(self, **_: Any) -> None:
        raise self.error


def complaint(command: str | BaseCommand, *arguments: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as wrong:
        run(command, *arguments)
    return str(wrong.value), wrong.value.returncode


# An error breaks the transaction of a test on PostgreSQL.
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("unmigrated")
@pytest.mark.parametrize(("command", "status"), READERS.items(), ids=READERS)
def test_without_tables_it_says_what_makes_them(command: str, status: int, tmp_path: Path) -> None:
    file = tmp_path / "request"
    file.write_bytes(b"POST /qerko/webhook/ HTTP/1.1\r\nHost: pos.example\r\n\r\n{}")

    words = command.format(key=KEY.reveal(), file=file).split()

    assert complaint(*words) == (MISSING, status)


@pytest.mark.django_db(transaction=True)
def test_one_table_that_is_missing_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    lose(Attempt, monkeypatch)

    assert complaint(Failing(OperationalError("no such table"))) == (MISSING, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("unmigrated")
def test_a_database_of_our_own_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "connections", {"books": connection, "default": connection})
    settings.DATABASE_ROUTERS = [Router()]

    told, _ = complaint(Failing(ProgrammingError("relation does not exist")))

    assert told == MISSING.replace("migrate", "migrate --database books")


class Router:
    def db_for_write(self, model: type, **_: Any) -> str | None:
        return "books" if model is Restaurant else None


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OperationalError("disk is full"), InterfaceError("closed")], ids=str)
def test_another_trouble_of_a_database_is_said_in_its_own_words(error: Exception) -> None:
    assert complaint(Failing(error)) == (f"The database cannot be used: {error}", 1)


@pytest.mark.django_db
def test_a_statement_that_is_wrong_shows_where() -> None:
    with pytest.raises(ProgrammingError, match="no such column"):
        run(Failing(ProgrammingError("no such column")))


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("qerko_events",), 1, "The database cannot be used: {}"),
        (("qerko_send", "getBill"), 2, "The restaurants cannot be read: {}. Name a --url and its --api-key."),
    ],
    ids=str,
)
def test_a_database_that_is_gone_is_told_without_a_traceback(
    tmp_path: Path, words: tuple[str, ...], status: int, told: str
) -> None:
    def said(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "django", *words, *options],
            cwd=ROOT,
            env=os.environ | {"TEST_DATABASE_URL": f"sqlite:///{tmp_path}/nowhere/gone.sqlite3"},
            capture_output=True,
            text=True,
            check=False,
        )

    in_short = said()

    assert (in_short.stderr, in_short.returncode) == (
        f"CommandError: {told.format('unable to open database file')}\n",
        status,
    )
    assert said("--traceback").stderr.startswith("Traceback")

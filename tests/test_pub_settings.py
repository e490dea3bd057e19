"""The pub's settings come from the environment, with a default that needs no server."""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from django_qerko.keys import ApiKey
from django_qerko.queueing import SWEEP
from example_project.pub.opening import EXAMPLE_KEY

NAMES = (
    "CELERY_BROKER_URL",
    "DATABASE_URL",
    "DJANGO_ALLOWED_HOSTS",
    "DJANGO_DEBUG",
    "DJANGO_SECRET_KEY",
    "QERKO_ANSWER_LATER",
    "QERKO_BASE_URL",
    "QERKO_POS_ID",
    "QERKO_PUBLIC_URL",
)


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """The settings under this environment and nothing else."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runpy.run_module("example_project.settings")


def test_without_an_environment_everything_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    pub = settings(monkeypatch)

    database = pub["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.sqlite3"
    assert Path(database["NAME"]).parent == Path(__file__).resolve().parent.parent / "var"
    assert pub["QERKO"]["BASE_URL"] == "http://127.0.0.1:8765/api/v4/pos"
    assert set(pub["QERKO"]) == {"POS_ID", "BASE_URL"}
    assert pub["DEBUG"]
    assert "127.0.0.1" in pub["ALLOWED_HOSTS"]
    assert ApiKey(EXAMPLE_KEY).is_checked


@pytest.mark.parametrize("url", ["", "sqlite:////tmp/pub.sqlite3", "sqlite://:memory:"])
def test_sqlite_takes_several_writers(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    options = settings(monkeypatch, DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]

    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode = WAL" in options["init_command"]


@pytest.mark.parametrize("url", ["", "sqlite:////tmp/broker.sqlite3"])
def test_without_a_server_the_broker_is_a_file(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    pub = settings(monkeypatch, CELERY_BROKER_URL=url)

    assert pub["CELERY_BROKER_URL"].startswith("sqlite:///")
    assert pub["CELERY_BROKER_URL"].endswith("/broker.sqlite3")
    assert find_spec(pub["CELERY_BROKER_TRANSPORT"].partition(":")[0])
    assert not pub["CELERY_WORKER_ENABLE_REMOTE_CONTROL"]


def test_a_broker_that_is_a_server_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pub = settings(monkeypatch, CELERY_BROKER_URL="redis://broker.example/3")

    assert pub["CELERY_BROKER_URL"] == "redis://broker.example/3"
    assert "CELERY_BROKER_TRANSPORT" not in pub


def test_the_pub_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SWEEP in settings(monkeypatch)["CELERY_BEAT_SCHEDULE"]


def test_a_server_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    database = settings(monkeypatch, DATABASE_URL="postgres://pub:beer@db.example:5433/pub")["DATABASES"]["default"]

    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db.example", 5433, "pub")
    assert database["CONN_MAX_AGE"] == 60
    assert "transaction_mode" not in database.get("OPTIONS", {})


@pytest.mark.parametrize(
    ("given", "is_on"), [("1", True), ("true", True), ("0", False), ("false", False), ("False", False), ("", False)]
)
def test_debug_is_off_for_what_says_so(monkeypatch: pytest.MonkeyPatch, given: str, is_on: bool) -> None:
    assert settings(monkeypatch, DJANGO_DEBUG=given)["DEBUG"] is is_on


def test_what_is_given_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    pub = settings(
        monkeypatch,
        DJANGO_ALLOWED_HOSTS="pub.example, www.pub.example",
        DJANGO_SECRET_KEY="a better one",
        QERKO_ANSWER_LATER="getBill, paymentStart",
        QERKO_BASE_URL="https://qerko.example/api",
        QERKO_POS_ID="0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47",
        QERKO_PUBLIC_URL="https://pub.example",
    )

    assert pub["ALLOWED_HOSTS"] == ["pub.example", "www.pub.example"]
    assert pub["SECRET_KEY"] == "a better one"
    assert pub["QERKO"] == {
        "ANSWER_LATER": ["getBill", "paymentStart"],
        "BASE_URL": "https://qerko.example/api",
        "POS_ID": "0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47",
        "PUBLIC_URL": "https://pub.example",
    }


def test_an_empty_list_answers_nothing_later(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, QERKO_ANSWER_LATER="")["QERKO"]["ANSWER_LATER"] == []

"""One id, one finding, one cure: what the system checks say, and that nothing makes them fall over."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from celery import Celery, _state
from celery.app import default_app
from django.core import checks
from django.db import connections
from django.dispatch import Signal
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from django_qerko import queueing, signals
from django_qerko.checks.queue import FINDINGS
from django_qerko.checks.values import RULES, TAG
from django_qerko.conf import DEFAULTS

ROOT = Path(__file__).resolve().parent.parent
POS_ID = "0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47"
SOUND = {"POS_ID": POS_ID, "BASE_URL": "https://qerko.example/api/v4/pos"}
KEY = "A" * 43 + "="

#: What stands in QERKO beside what must, by the id of what is found.
MALFORMED: dict[str, list[dict[Any, Any]]] = {
    "qerko.E002": [{"POS-ID": POS_ID}, {"pos_id": POS_ID}, {"": 1}, {1: 2}, {None: 3}],
    "qerko.E003": [
        {"BASE_URL": url}
        for url in (
            "http://qerko.example/api",
            "HTTP://qerko.example",
            "http://127.0.0.1.example",
            "http://192.168.0.1:8765",
            "http://localhost.example/",
            "http://[2001:db8::1]/",
            "http://128.0.0.1",
        )
    ],
    "qerko.E004": [{"POS_ID": value} for value in ("pub", POS_ID.replace("-", ""), f"{{{POS_ID}}}", UUID(POS_ID), 0)],
    "qerko.E005": [
        {"BASE_URL": value}
        for value in (
            "qerko.example",
            "ftp://qerko.example",
            "https://",
            "https:///api",
            "https://user:password@qerko.example",
            "https://qerko.example/?key=1",
            "https://qerko.example/#top",
            "https://qerko.example/a b",
            "https://qerko.example:port",
            "https://qerko.example:0",
            "https://[::1",
            "https://žižkov.example",
            "https://qerko\\example",
            b"https://qerko.example",
            False,
        )
    ],
    "qerko.E006": [{"PUBLIC_URL": value} for value in ("https://pos.example/qerko", "pos.example", "//pos.example", 1)],
    "qerko.E007": [{"ANSWER_LATER": value} for value in ("paymentStart", [1], [""], None, {"paymentStart": True})],
    "qerko.E009": [
        {"HTTP_TIMEOUT": 5},
        {"HTTP_TIMEOUT": (1,)},
        {"HTTP_TIMEOUT": (1, 2, 3)},
        {"HTTP_TIMEOUT": (0, 5)},
        {"HTTP_TIMEOUT": (1, -5)},
        {"HTTP_TIMEOUT": (1, float("nan"))},
        {"HTTP_TIMEOUT": (1, float("inf"))},
        {"HTTP_TIMEOUT": ("1", "5")},
        {"HTTP_TIMEOUT": (True, 1)},
    ],
    "qerko.E010": [{"SIGNATURE_SCHEMES": value} for value in ([], ["md5"], "rfc9421", ["rfc9421", "none"], [None])],
    "qerko.E012": [{"MAX_BODY_BYTES": value} for value in (0, -1, True, 1.5, "262144", None)],
    "qerko.E013": [
        {"ENCRYPTION_KEYS": ["too short"]},
        {"ENCRYPTION_KEYS": [KEY, "ключ"]},
        {"ENCRYPTION_KEYS": [KEY, 1]},
        {"ENCRYPTION_KEYS": KEY},
        {"ENCRYPTION_KEYS": []},
        {"ENCRYPTION_KEYS": {KEY}},
        {"ENCRYPTION_KEYS": [b"\xff" * 44]},
        {"ENCRYPTION_KEYS": 7},
    ],
    "qerko.E014": [{"BOOKKEEPING": value} for value in (["getbill"], "getBill", [["getBill"]], None)],
    "qerko.E015": [{"BILL_ITEMS": value} for value in ("paid", "", None, ["unpaid"])],
    "qerko.E016": [{"CONTRADICTIONS": value} for value in ("reject", True, None)],
    "qerko.E022": [
        {"PUBLIC_URL": url} for url in ("http://pos.example", "HTTP://192.168.0.1:8000/", "http://[2001:db8::1]")
    ],
    "qerko.E021": [{"CELERY_QUEUE": value} for value in ("", 1, ["qerko"])],
}
for span in (name for name, default in DEFAULTS.items() if isinstance(default, timedelta)):
    MALFORMED[RULES[span].id] = [{span: timedelta(seconds=-1)}, {span: 15}, {span: "15"}, {span: None}]
    MALFORMED[RULES[span].id] += [] if span == "CLOCK_SKEW" else [{span: timedelta(0)}]

WELL_FORMED: list[dict[str, Any]] = [
    {name: value for name, value in DEFAULTS.items() if name not in SOUND},
    {"BASE_URL": "http://localhost:8765/api/v4/pos"},
    {"BASE_URL": "http://127.9.9.9"},
    {"BASE_URL": "http://[::1]:8765/"},
    {"POS_ID": POS_ID.upper()},
    {"PUBLIC_URL": "https://pos.example:8443/"},
    {"PUBLIC_URL": "http://127.0.0.1:8000"},
    {"PUBLIC_URL": ""},
    {"ANSWER_LATER": []},
    {"ANSWER_LATER": {"orderStart"}},
    {"ANSWER_LATER": ["getBill", "getWeather", "refundStart"]},
    {"HTTP_TIMEOUT": [0.5, 3]},
    {"SIGNATURE_SCHEMES": ["rfc9421"]},
    {"CLOCK_SKEW": timedelta(0)},
    {"ENCRYPTION_KEYS": [KEY, KEY.encode()]},
    {"BOOKKEEPING": ()},
    {"BILL_ITEMS": "ordered", "CONTRADICTIONS": "refuse", "CELERY_QUEUE": "qerko"},
]

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.timedeltas() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
addresses = st.text("htps:/[]@?#.1%0aé\\ \n-", max_size=30).map("http://".__add__)


class InTheBook:
    """A router that keeps the book in a database of its own."""

    def db_for_write(self, model: type[Any], **_: Any) -> str:
        return "book"


def answers(**_: Any) -> None:
    """A receiver; it is only looked for."""


def found() -> list[str]:
    return sorted(str(message.id) for message in checks.run_checks(tags=[TAG]))


def hints() -> list[str | None]:
    return [message.hint for message in checks.run_checks(tags=[TAG])]


@pytest.fixture
def book(settings: Settings) -> Iterator[Callable[..., None]]:
    """Keeps the book in a SQLite database of its own, whatever the tests run on."""

    def keep(name: object, **options: str) -> None:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
        configured = connections.configure_settings({"default": database, "book": database})
        connections.settings["book"] = configured["book"]
        settings.DATABASE_ROUTERS = [InTheBook()]

    yield keep
    assert connections["book"].connection is None, "a check opened the database"
    del connections["book"], connections.settings["book"]


@pytest.fixture(autouse=True)
def celery(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The project's Celery app, which is sound but for the settings that a test makes."""

    def make(**settings: object) -> None:
        app = Celery("pub", fixups=[], set_as_current=False, broker="memory://")
        app.conf.update({"beat_schedule": queueing.BEAT_SCHEDULE} | settings)
        monkeypatch.setattr(_state, "default_app", app)
        monkeypatch.setattr(_state._tls, "current_app", app)  # type: ignore[attr-defined]

    make()
    return make


@pytest.fixture(autouse=True)
def sound_project(settings: Settings, book: Callable[..., None]) -> Iterator[None]:
    """Nothing is wrong, but for what a test breaks."""
    settings.QERKO = SOUND
    needed: list[Signal] = [signals.table_contents_requested, signals.bill_requested, signals.payment_processed]
    for signal in needed:
        signal.connect(answers)
    book(":memory:", transaction_mode="IMMEDIATE")
    yield
    for signal in needed:
        signal.disconnect(answers)


def test_a_sound_project_has_no_finding() -> None:
    assert found() == []


@pytest.mark.parametrize("value", [None, "https://qerko.example", ["POS_ID"], 1])
def test_e001_qerko_is_no_dict(settings: Settings, value: object) -> None:
    settings.QERKO = value

    assert found() == ["qerko.E001", "qerko.W001", "qerko.W002"]


@pytest.mark.parametrize(
    ("identity", "broken"), [(identity, broken) for identity, cases in MALFORMED.items() for broken in cases]
)
def test_what_is_malformed_has_its_id(settings: Settings, identity: str, broken: dict[Any, Any]) -> None:
    settings.QERKO = SOUND | broken

    assert found() == [identity]


@pytest.mark.parametrize("values", WELL_FORMED, ids=str)
def test_what_is_well_formed_is_no_finding(settings: Settings, values: dict[str, Any]) -> None:
    settings.QERKO = SOUND | values

    assert found() == []


def test_the_nearest_name_is_suggested(settings: Settings) -> None:
    settings.QERKO = SOUND | {"BASE_URI": "https://qerko.example"}

    assert hints() == ["Did you mean 'BASE_URL'?"]


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("paymentStar", "paymentStart"),
        ("getbill", "getBill"),
        ("payment_closed", "paymentClosed"),
        ("getMenus", "getMealMenus"),
    ],
)
def test_w018_the_nearest_event_is_suggested(settings: Settings, slip: str, meant: str) -> None:
    settings.QERKO = SOUND | {"ANSWER_LATER": ["getWeather", slip, "getBill"]}

    assert found() == ["qerko.W018"]
    assert hints() == [f"Did you mean {meant!r}?"]


def test_a_name_like_none_gets_all_of_them(settings: Settings) -> None:
    settings.QERKO = SOUND | {"x": 1}

    assert hints() == [f"Take it out; the names are {', '.join(DEFAULTS)}."]


@pytest.mark.parametrize(
    "broken",
    [
        {"POS_ID": "hunter2"},
        {"BASE_URL": "https://hunter2@qerko.example"},
        {"BASE_URL": "http://qerko.example/hunter2"},
        {"ENCRYPTION_KEYS": ["hunter2"]},
        {"CELERY_QUEUE": ["hunter2"]},
    ],
    ids=str,
)
def test_a_finding_tells_its_cure_and_never_the_value(settings: Settings, broken: dict[str, Any]) -> None:
    settings.QERKO = SOUND | broken

    (message,) = checks.run_checks(tags=[TAG])

    assert message.hint
    assert "hunter2" not in str(message)


@pytest.mark.parametrize("name", [*DEFAULTS, "UNKNOWN"])
@given(value=json | addresses)
def test_no_value_makes_a_check_fall_over(name: str, value: Any) -> None:
    with override_settings(QERKO={name: value}):
        assert {"qerko.W001", "qerko.W002"} & set(found())


@given(value=json)
def test_no_setting_makes_a_check_fall_over(value: Any) -> None:
    with override_settings(QERKO=value):
        assert set(found()) <= {"qerko.E001", "qerko.E002", "qerko.W001", "qerko.W002"}


@pytest.mark.parametrize("broken", [{}, {"POS_ID": None}, {"POS_ID": ""}])
def test_w001_pos_id_is_missing(settings: Settings, broken: dict[str, Any]) -> None:
    settings.QERKO = {"BASE_URL": SOUND["BASE_URL"]} | broken

    assert found() == ["qerko.W001"]


def test_w001_asks_for_the_name_where_there_is_no_setting_at_all(settings: Settings) -> None:
    settings.QERKO = {}
    told = set(hints())

    del settings.QERKO

    (more,) = set(hints()) - told
    assert more is not None
    assert more.removesuffix(" There is no setting QERKO at all: is it named so?") in told


@pytest.mark.parametrize("broken", [{}, {"BASE_URL": None}, {"BASE_URL": ""}])
def test_w002_base_url_is_missing(settings: Settings, broken: dict[str, Any]) -> None:
    settings.QERKO = {"POS_ID": POS_ID} | broken

    assert found() == ["qerko.W002"]


def test_in_debug_the_sandbox_is_the_base_url(settings: Settings) -> None:
    settings.QERKO = {"POS_ID": POS_ID}
    settings.DEBUG = True

    assert found() == []


def test_w003_the_rest_framework_is_not_installed(settings: Settings) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "rest_framework"]

    assert found() == ["qerko.W003"]


@pytest.mark.parametrize("urlconf", ["tests.urls_without_webhook", None])
def test_w004_the_webhook_has_no_address(settings: Settings, urlconf: str | None) -> None:
    settings.ROOT_URLCONF = urlconf

    assert found() == ["qerko.W004"]


@pytest.mark.parametrize(
    ("identity", "signal"),
    [
        ("qerko.W005", signals.table_contents_requested),
        ("qerko.W006", signals.bill_requested),
        ("qerko.W007", signals.payment_processed),
    ],
)
def test_w005_to_w007_nobody_answers(identity: str, signal: Signal) -> None:
    signal.disconnect(answers)

    assert found() == [identity]


OFFERS = ["getTableContents", "getBill", "searchBills"]


@pytest.mark.parametrize(
    ("kept", "identity", "named"),
    [
        ([*OFFERS, "paymentStart", "paymentProcessed"], "qerko.W016", "paymentStart and not paymentClosed,"),
        (["paymentStart"], "qerko.W016", "paymentStart and not paymentClosed,"),
        (["getBill", "paymentStart", "paymentClosed"], "qerko.W017", "not getTableContents and searchBills,"),
        (["getTableContents", "searchBills", "paymentClosed", "paymentStart"], "qerko.W017", "and not getBill,"),
    ],
)
def test_w016_and_w017_books_lean_on_books_that_are_not_kept(
    settings: Settings, kept: list[str], identity: str, named: str
) -> None:
    settings.QERKO = SOUND | {"BOOKKEEPING": kept}

    (message,) = checks.run_checks(tags=[TAG])

    assert (message.id, bool(message.hint), isinstance(message, checks.Warning)) == (identity, True, True)
    assert named in str(message)


def test_the_books_may_lack_both(settings: Settings) -> None:
    settings.QERKO = SOUND | {"BOOKKEEPING": ("getBill", "paymentStart")}

    assert found() == ["qerko.W016", "qerko.W017"]


@pytest.mark.parametrize(
    "kept",
    [
        [],
        OFFERS,
        ["getBill"],
        ["paymentClosed", "getBill"],
        ["paymentStart", "paymentClosed"],
        {*OFFERS, "paymentStart", "paymentClosed"},
    ],
    # A set has no order, and the workers of a run agree on the names of tests.
    ids=lambda kept: " ".join(sorted(kept)) or "none",
)
def test_books_that_need_no_others_are_no_finding(settings: Settings, kept: object) -> None:
    settings.QERKO = SOUND | {"BOOKKEEPING": kept}

    assert found() == []


def test_w008_a_new_sqlite_file_will_have_no_wal(book: Callable[..., None], tmp_path: Path) -> None:
    book(tmp_path / "new.sqlite3", transaction_mode="IMMEDIATE")

    assert found() == ["qerko.W008"]


@pytest.mark.parametrize(
    ("pragma", "findings"),
    [("PRAGMA journal_mode=WAL", []), ("pragma journal_mode('wal');", []), ("PRAGMA synchronous=1", ["qerko.W008"])],
)
def test_w008_sqlite_has_no_wal(book: Callable[..., None], tmp_path: Path, pragma: str, findings: list[str]) -> None:
    book(tmp_path / "book.sqlite3", transaction_mode="exclusive", init_command=pragma)

    assert found() == findings


@pytest.mark.parametrize(("mode", "findings"), [("wal", []), ("delete", ["qerko.W008"])])
def test_w008_is_settled_by_what_the_file_says_itself(
    book: Callable[..., None], tmp_path: Path, mode: str, findings: list[str]
) -> None:
    file = tmp_path / "book.sqlite3"
    run = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"
    script = f"PRAGMA journal_mode={mode}; CREATE TABLE book (page)"
    subprocess.run([sys.executable, "-c", run, str(file), script], check=True)

    book(file, transaction_mode="IMMEDIATE")

    assert found() == findings


@pytest.mark.parametrize("options", [{}, {"transaction_mode": "DEFERRED"}])
def test_w009_sqlite_defers_transactions(book: Callable[..., None], options: dict[str, str]) -> None:
    book("file::memory:?mode=memory&cache=shared", **options)

    assert found() == ["qerko.W009"]


def test_w010_the_project_has_no_celery_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "default_app", None)

    assert found() == ["qerko.W010"]
    assert not bool(default_app), "a check made Celery's own app, and the project's comes too late"


@pytest.mark.parametrize(
    ("identity", "chosen"),
    [
        ("qerko.W011", {"task_annotations": {"*": {"acks_late": False}}}),
        ("qerko.W012", {"accept_content": ["pickle"]}),
        ("qerko.W013", {"task_default_rate_limit": "10/m"}),
        ("qerko.W014", {"beat_schedule": {"reconcile": queueing.BEAT_SCHEDULE[queueing.RECONCILE]}}),
        ("qerko.W015", {"beat_schedule": {"sweep": queueing.BEAT_SCHEDULE[queueing.SWEEP]}}),
    ],
)
def test_w011_to_w015_celery_keeps_a_promise_from_being_kept(
    celery: Callable[..., None], identity: str, chosen: dict[str, Any]
) -> None:
    celery(**chosen)

    assert found() == [identity]


def test_every_trouble_with_celery_is_told() -> None:
    assert set(FINDINGS) == set(queueing.Trouble)


def test_one_line_cures_w008_and_w009(book: Callable[..., None], tmp_path: Path) -> None:
    book(tmp_path / "new.sqlite3")
    (line,) = {re.sub("^Write |; other options.*", "", str(hint)) for hint in hints()}
    mysite: dict[str, Any] = {"DATABASES": {"book": {}}}

    exec(line, mysite)
    del connections["book"]
    book(tmp_path / "new.sqlite3", **mysite["DATABASES"]["book"]["OPTIONS"])

    assert found() == []


def test_another_database_has_nothing_of_sqlite(book: Callable[..., None]) -> None:
    connections.settings["book"]["ENGINE"] = "django.db.backends.dummy"

    assert found() == []


def test_every_id_is_documented_with_its_cure_and_tested() -> None:
    source = "".join(file.read_text() for file in (ROOT / "django_qerko" / "checks").glob("*.py"))
    documented = re.findall(
        r"^\| `(qerko\.\w+)` \| .+ \| .+ \|$", (ROOT / "docs" / "checks.md").read_text(), re.MULTILINE
    )
    warnings = [f"qerko.W{number:03}" for number in range(1, 19)]

    assert set(re.findall(r"qerko\.[EW]\d+", source)) == set(documented)
    assert documented == sorted({"qerko.E001", *MALFORMED}) + warnings


@pytest.mark.process
def test_a_project_with_nothing_but_the_app_hears_all_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text('INSTALLED_APPS = ["django_qerko"]')
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-W", "error", "-m", "django", "check", "--settings", "bare"]

    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"qerko\.W\d+", done.stderr)) == [f"qerko.W{number:03}" for number in (*range(1, 8), 10)]
    assert done.stderr.count("HINT:") == 8

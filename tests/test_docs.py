"""The docs say what the code does: every setting with its default, every assumption with its module."""

from __future__ import annotations

import ast
import doctest
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.dispatch import Signal

from django_qerko import events, models, signals
from django_qerko.conf import DEFAULTS
from django_qerko.models import Restaurant
from django_qerko.signals import QUESTIONS
from tests.deliveries import deliver
from tests.records import begin, open_bill

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SOURCE = "".join(file.read_text() for file in sorted((ROOT / "django_qerko").rglob("*.py")))


def rows(page: str, heading: str = "") -> list[list[str]]:
    """The cells of every row of every table of a page, or of what stands under one heading, without their heads."""
    text = (DOCS / page).read_text()
    if heading:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = text.splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for above, line in pairwise(lines)
        if line.startswith("|") and above.startswith("|") and not line.startswith("|---")
    ]


def literal(cell: str) -> object:
    """The value that a cell shows in code, ``None`` where it says in words how the value is found."""
    code = re.fullmatch(r"`([^`]+)`", cell)
    return eval(code[1], {"timedelta": timedelta}) if code else None


SETTINGS = {name.strip("`"): default for name, default, _ in rows("settings.md")}


def test_every_setting_is_described() -> None:
    assert list(SETTINGS) == list(DEFAULTS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_setting_shows_its_true_default(name: str) -> None:
    assert literal(SETTINGS[name]) == DEFAULTS[name]


@pytest.mark.parametrize("module", sorted({module.strip("`") for _, module in rows("assumptions.md")}))
def test_an_assumption_stands_where_the_docs_say(module: str) -> None:
    assert find_spec(f"django_qerko.{module}")


def named(cell: str) -> list[str]:
    """The names that a cell shows in code."""
    return re.findall(r"`(\w+)`", cell)


OF_EVERY_EVENT = set(events.Event.model_fields)


def fields(cls: type[events.Event]) -> set[str]:
    """What an event of this class has beside what every event has; a property counts."""
    properties = {name for name, member in vars(cls).items() if isinstance(member, property)}
    return (set(cls.model_fields) | properties) - OF_EVERY_EVENT


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_every_question_is_described(number: int) -> None:
    event, signal, told, answer = rows("api.md", "Signals")[number]
    cls, question = list(QUESTIONS.items())[number]
    assert event == (f"`{cls.NAME}`" if cls.NAME else "any other")
    assert getattr(signals, signal.strip("`")) is question.signal
    assert named(told)[0] == cls.__name__
    assert set(named(told)[1:]) == fields(cls)
    assert named(answer)[:1] == [wanted.__name__ for wanted in question.answer]
    assert answer.startswith("a list of") is question.many
    assert answer.startswith("nothing") is question.accepts_silence


def test_every_signal_is_published() -> None:
    published = re.findall(r"autodata:: django_qerko\.signals\.(\w+)", (DOCS / "api.md").read_text())

    assert published == [name for name, value in vars(signals).items() if type(value) is Signal]
    assert len(rows("api.md", "Signals")) == len(QUESTIONS)


@pytest.mark.parametrize("row", rows("api.md", "Events"), ids=lambda row: row[0])
def test_a_payment_has_the_fields_that_are_described(row: list[str]) -> None:
    cls, told = getattr(events, row[0].strip("`")), re.sub(r" \(.*?\)", "", row[1])

    assert named(told) == list(cls.model_fields)


@pytest.mark.parametrize("row", rows("api.md", "Models"), ids=lambda row: row[0])
def test_a_row_has_what_can_be_read_of_it(row: list[str]) -> None:
    model = getattr(models, row[0].strip("`"))

    assert [name for name in named(row[1]) if not hasattr(model, name)] == []


def test_every_reason_of_a_rejection_has_its_cure() -> None:
    raised = re.findall(
        r"\b(?:Forged|Malformed|OutOfWindow|TooLarge|UnknownRestaurant)\(\s*\"(\w+)\"",
        SOURCE.replace("signatures.", ""),
    )
    told = [reason for row in rows("operating.md", "Why a delivery was turned away") for reason in named(row[0])]

    assert sorted(told) == sorted(set(raised))


LOG = rows("operating.md", "What the log says")


def pieces(line: str) -> list[str]:
    """The words of a line of the log between what is left open in it, as regular expressions."""
    return [re.escape(piece) for piece in line.strip("`").replace("401, …", "…").split("…")]


@pytest.mark.parametrize("line", [row[0] for row in LOG])
def test_a_line_of_the_log_is_one_that_is_written(line: str) -> None:
    assert re.search('[^"]*'.join(pieces(line)), SOURCE), line


class Logged(NamedTuple):
    """A line that the code logs, with what it fills in left open; ``level`` is none where it is worked out."""

    line: str
    level: str | None


#: What becomes of a reply: the line has no words of its own, and is told where its deadline is.
WITHOUT_WORDS = "… is ……"


def logged() -> Iterator[Logged]:
    """What is worth a warning or more, the sandbox apart: it is no part of what is operated."""
    levels = {"warning": "warning", "error": "error", "exception": "error", "critical": "error", "log": None}
    package = ROOT / "django_qerko"
    for file in sorted(package.rglob("*.py")):
        if file.is_relative_to(package / "sandbox"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=method), args=args) if method in levels:
                    (template, *_) = [
                        arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                    ]
                    yield Logged(re.sub(r"%[-.0-9]*[a-z]", "…", template), levels[method])


@pytest.mark.parametrize("written", sorted(set(logged()) - {Logged(WITHOUT_WORDS, None)}, key=str))
def test_a_line_that_is_logged_is_described(written: Logged) -> None:
    levels = [level for line, level, _ in LOG if re.match(".*".join(pieces(line)), written.line)]

    assert levels, written.line
    assert written.level is None or any(written.level in level for level in levels)


@pytest.mark.parametrize("state", models.WebhookEvent.State.values)
def test_every_state_is_described(state: str) -> None:
    assert [f"`{state}`"] == [
        row[0] for row in rows("operating.md", "What became of an event") if named(row[0]) == [state]
    ]


def test_every_section_that_the_code_names_can_be_read() -> None:
    named_there = re.findall(r"protocol,? sections? (\d)(?:, (\d))?(?: and (\d))?", SOURCE)
    sections = re.findall(r"^## (\d)\.", (DOCS / "protocol.md").read_text(), re.MULTILINE)

    assert {section for found in named_there for section in found if section} <= set(sections)


@pytest.fixture
def tutorial() -> Iterator[None]:
    """The tutorial's handlers listen."""
    (code,) = re.findall(r"```python\n(from django\.dispatch.*?)```", (DOCS / "tutorial.md").read_text(), re.DOTALL)
    handlers: dict[str, Any] = {"__name__": "pos.handlers"}
    exec(code, handlers)
    yield
    for signal in (signals.table_list_requested, signals.table_contents_requested, signals.bill_requested):
        for name in ("list_tables", "show_table", "show_bill"):
            signal.disconnect(handlers[name])


@pytest.mark.usefixtures("tutorial")
@pytest.mark.parametrize(
    ("event", "data", "status", "read"),
    [
        ("getTableList", None, 200, lambda said: [table["id"] for table in said] == ["T1", "T2"]),
        ("getTableContents", {"tableId": "T1"}, 200, lambda said: [bill["id"] for bill in said] == ["1"]),
        ("getTableContents", {"tableId": "T2"}, 200, lambda said: said == []),
        ("getTableContents", {"tableId": "T3"}, 422, lambda said: said["code"] == "NOT_FOUND"),
        ("getBill", {"billId": "1"}, 200, lambda said: said["items"][0]["price"] == "65.00"),
        ("getBill", {"billId": "2"}, 422, lambda said: said["code"] == "BILL_NOT_FOUND"),
    ],
)
def test_the_tutorial_answers(
    restaurant: Restaurant, event: str, data: Any, status: int, read: Callable[[Any], bool]
) -> None:
    response = deliver(restaurant, event, data)

    assert response.status_code == status
    assert read(json.loads(response.content))


@pytest.fixture
def evening(db: None) -> None:
    """Three beers, of which one is paid and one is being paid."""
    restaurant = Restaurant.objects.create(name="The Pub")
    beer = {"id": "beer", "name": "Pilsner", "quantity": "3", "price": "55.00"}
    bill = open_bill(restaurant, "42", snapshot={"id": "42", "currency": "CZK", "items": [beer]})
    for number, state in enumerate(["paid", "processed"], start=1):
        members = {"idCustomer": f"guest-{number}", "items": [beer | {"quantity": "1"}]}
        begin(restaurant, bill=bill, payment_id=f"p{number}", state=state, members=members)


@pytest.mark.usefixtures("evening")
def test_the_tables_answer_what_the_docs_ask_them() -> None:
    page = (DOCS / "payments.md").read_text().replace("```", "\n")
    queries = doctest.DocTestParser().get_doctest(page, {"Decimal": Decimal}, "payments.md", None, None)

    said: list[str] = []
    missed, asked = doctest.DocTestRunner(verbose=False).run(queries, out=said.append)

    assert (missed, "".join(said)) == (0, "")
    assert asked > 5

"""Staff add restaurants and rotate their keys, and no key is ever printed."""

from __future__ import annotations

import io
import json
import re

import pytest
from django.core.management import CommandError, ManagementUtility
from pytest_django import DjangoAssertNumQueries, Settings

from django_qerko.models import Restaurant
from tests.commands import run
from tests.deliveries import KEY, OTHER_KEY
from tests.records import NOON

pytestmark = pytest.mark.django_db

SLIP = "eeeu-g786-zp54-3v1c-db02-e4e2"


@pytest.fixture(autouse=True)
def nothing_tells_a_key(capsys: pytest.CaptureFixture[str], restaurant: Restaurant) -> object:
    yield
    said = "".join(capsys.readouterr())
    assert KEY.reveal() not in said
    assert OTHER_KEY.reveal() not in said
    assert SLIP not in said


def said_of(*arguments: str) -> tuple[str, str]:
    """What the command says on its two streams."""
    errors = io.StringIO()
    return run("qerko_restaurant", *arguments, stderr=errors), errors.getvalue()


def test_a_restaurant_is_added_and_its_address_is_printed(settings: Settings) -> None:
    settings.QERKO = {"PUBLIC_URL": "https://pos.example"}

    said, errors = said_of("add", "U Fleků", "--api-key", OTHER_KEY.reveal())

    added = Restaurant.objects.get(name="U Fleků")
    assert added.current_key is not None
    assert added.current_key.api_key == OTHER_KEY
    assert said.splitlines() == [
        "Added U Fleků with the key …4757.",
        f"Its webhook's path: {added.webhook_path}",
        f"Qerko is to call:   https://pos.example{added.webhook_path}",
    ]
    assert errors == ""


def test_a_key_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{OTHER_KEY.reveal()}\n"))

    said_of("add", "U Fleků", "--api-key", "-")

    assert Restaurant.objects.get(name="U Fleků").keys.get().api_key == OTHER_KEY


def test_a_project_without_the_webhook_hears_what_is_missing(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.urls_without_webhook"

    said, _ = said_of("add", "U Fleků", "--api-key", OTHER_KEY.reveal())

    assert "path: none" in said
    assert 'include("django_qerko.urls")' in said


@pytest.mark.parametrize("arguments", [("add", "U Fleků"), ("rotate", "U Zlatého tygra")])
def test_wrong_check_digits_are_a_warning_with_its_cure(arguments: tuple[str, str]) -> None:
    verb, name = arguments

    _, errors = said_of(verb, name, "--api-key", SLIP)

    assert errors.startswith("The check digits of this key are wrong.")
    assert f"\n  qerko_restaurant rotate '{name}' --api-key -\n" in errors
    assert f"\n  qerko_restaurant rotate '{name}' --finish\n" in errors
    assert Restaurant.objects.get(name=name).keys.count() == (1 if verb == "add" else 2)


def test_what_was_not_taken_is_not_warned_of() -> None:
    errors = io.StringIO()

    with pytest.raises(CommandError, match="U Zlatého tygra already"):
        run("qerko_restaurant", "add", "U Zlatého tygra", "--api-key", SLIP, stderr=errors)

    assert errors.getvalue() == ""


def test_of_a_short_key_nothing_is_shown() -> None:
    added, _ = said_of("add", "U Fleků", "--api-key", "short")
    rotated, _ = said_of("rotate", "U Fleků", "--api-key", "shorter")
    finished, _ = said_of("rotate", "U Fleků", "--finish")

    hidden = "a key too short to show"
    assert added.startswith(f"Added U Fleků with {hidden}.\n")
    assert rotated.startswith(f"Replies of U Fleků carry {hidden} now; {hidden} is accepted, too.\n")
    assert finished.startswith(f"U Fleků has only {hidden} now;")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("add", "U Zlatého tygra", "--api-key", OTHER_KEY.reveal()), "There is a restaurant U Zlatého tygra already"),
        (("add", "U Fleků", "--api-key", KEY.reveal()), "This key belongs to U Zlatého tygra already"),
        (("add", "x" * 201, "--api-key", OTHER_KEY.reveal()), "at most 200 characters"),
        (("add", "", "--api-key", OTHER_KEY.reveal()), "cannot be blank"),
        (("add", "U Fleků"), "--api-key"),
        (("add", "U Fleků", "--api-key", "not a key"), "printable ASCII"),
        (("rotate", "U Fleků", "--finish"), "There is no restaurant U Fleků"),
        (("rotate", "U Zlatého tygra"), "rotate wants one of --api-key --finish"),
        (("rotate", "U Zlatého tygra", "--finish", "--api-key", OTHER_KEY.reveal()), "not allowed with"),
        ((), "required: add, list or rotate"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        said_of(*arguments)

    assert Restaurant.objects.count() == 1
    assert Restaurant.objects.get().keys.get().api_key == KEY


@pytest.mark.parametrize("command", ["qerko_restaurant", "qerko_sandbox"])
@pytest.mark.parametrize(
    "arguments",
    ["{key}", "list --api-key {key}", "--api-key {key} {key}", "rotate X --finish {key}", "rotate {key} --finish"],
)
def test_a_key_in_the_wrong_place_is_not_repeated(
    command: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert KEY.reveal() not in complaint(capsys, command, *arguments.format(key=KEY.reveal()).split())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("{key}", "invalid choice: … (choose from "),
        ("list {key}", "unrecognized arguments: …"),
        ("list --api-key {key}", "unrecognized arguments: --api-key …"),
        ("list --apikey={key}", "unrecognized arguments: --apikey"),
        ("rotate X --finish={key}", "argument --finish: ignored explicit argument …"),
    ],
)
def test_of_what_has_no_place_only_options_are_repeated(
    arguments: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "sk_live_51HqL"

    said = complaint(capsys, "qerko_restaurant", *arguments.format(key=key).split())

    assert named in said
    assert key not in said


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a shell is told about a call that fails."""
    with pytest.raises(SystemExit):
        ManagementUtility(["manage.py", *words]).execute()
    said = capsys.readouterr().err
    assert re.search("(?i)error:", said)
    return said


def test_a_key_is_rotated_in_two_steps(restaurant: Restaurant) -> None:
    begun, _ = said_of("rotate", "U Zlatého tygra", "--api-key", OTHER_KEY.reveal())

    assert "carry the key …4757 now; the key …e4e1 is accepted, too" in begun
    assert [row.api_key for row in restaurant.keys.all()] == [OTHER_KEY, KEY]

    finished, _ = said_of("rotate", "U Zlatého tygra", "--finish")

    assert finished == "U Zlatého tygra has only the key …4757 now; older ones that were forgotten: 1.\n"
    assert [row.api_key for row in restaurant.keys.all()] == [OTHER_KEY]


def test_a_rotation_is_taken_back_and_may_be_asked_for_twice(restaurant: Restaurant) -> None:
    to, back = (("rotate", "U Zlatého tygra", "--api-key", key.reveal()) for key in (OTHER_KEY, KEY))

    unchanged, _ = said_of(*back)
    said_of(*to)
    again, _ = said_of(*to)
    returned, _ = said_of(*back)

    assert unchanged == "Replies of U Zlatého tygra carry the key …e4e1 already; no other is accepted, too.\n"
    assert "carry the key …4757 already; the key …e4e1 is accepted, too" in again
    assert "carry the key …e4e1 now; the key …4757 is accepted, too" in returned
    assert restaurant.api_key == KEY
    assert [row.api_key for row in restaurant.keys.all()] == [KEY, OTHER_KEY]


def test_a_key_of_another_restaurant_is_not_rotated_in(restaurant: Restaurant) -> None:
    Restaurant.objects.add(name="U Fleků", api_key=OTHER_KEY)

    with pytest.raises(CommandError, match="U Fleků has this key already"):
        said_of("rotate", "U Zlatého tygra", "--api-key", OTHER_KEY.reveal())


def test_a_restaurant_without_a_key_has_nothing_to_finish() -> None:
    Restaurant.objects.create(name="U Fleků")

    with pytest.raises(CommandError, match="U Fleků has no key"):
        said_of("rotate", "U Fleků", "--finish")


def test_restaurants_are_listed(restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    restaurant.add_key(OTHER_KEY)
    restaurant.keys.all().note_use(NOON)
    Restaurant.objects.create(name="U Fleků")

    with django_assert_num_queries(2):
        said, _ = said_of("list")

    assert [line.split("\t")[:3] for line in said.splitlines()] == [
        ["restaurant", "keys", "last used"],
        ["U Fleků", "", ""],
        ["U Zlatého tygra", "…4757, …e4e1", "2026-11-24 06:00:00.000"],
    ]


def test_restaurants_are_listed_for_a_program(restaurant: Restaurant) -> None:
    (listed,) = json.loads(said_of("list", "--json")[0])

    assert listed["name"] == "U Zlatého tygra"
    assert listed["id"] == restaurant.pk
    assert listed["webhook_path"] == restaurant.webhook_path
    assert [key["shown"] for key in listed["keys"]] == ["…e4e1"]
    assert listed["keys"][0]["last_used_at"] is None

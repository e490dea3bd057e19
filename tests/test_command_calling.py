"""A command is called from Python as from a shell, and repeats no key, wherever it stood."""

from __future__ import annotations

import io
import json
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, ManagementUtility, call_command, get_commands, load_command_class

from django_qerko.models import Restaurant
from tests.commands import run
from tests.deliveries import KEY, OTHER_KEY
from tests.points_of_sale import a_till

pytestmark = pytest.mark.django_db

COMMANDS = sorted(name for name, app in get_commands().items() if app == "django_qerko")
#: What a call cannot do without.
NEEDED = {"qerko_restaurant": ("list",), "qerko_send": ("getBill",), "qerko_show": ("1",)}


def actions(parser: ArgumentParser, *verbs: str) -> Iterator[tuple[tuple[str, ...], Action]]:
    """All that may be typed, and the verb after which it may."""
    for action in parser._actions:
        yield verbs, action
        if isinstance(action, _SubParsersAction):
            for verb, its_own in action.choices.items():
                yield from actions(its_own, verb)


OPTIONS = [
    (command, verbs, action)
    for command in COMMANDS
    for verbs, action in actions(load_command_class("django_qerko", command).create_parser("", ""))
    if action.option_strings
]
#: Those whose text is read; a path may be any.
READ = [
    pytest.param(
        (command, *((*verbs, "X") if verbs else NEEDED.get(command, ()))),
        action.dest,
        id=f"{command} {' '.join(verbs)} {action.dest}",
    )
    for command, verbs, action in OPTIONS
    if (action.type or action.choices) and action.type is not Path
]


@pytest.mark.parametrize(("words", "option"), READ)
def test_a_keyword_is_read_as_it_is_typed(words: tuple[str, ...], option: str) -> None:
    with pytest.raises(CommandError, match="Error: argument -"):
        call_command(*words, **{option: "no such thing"})


def test_every_option_has_the_name_of_its_flag() -> None:
    for command, _, action in OPTIONS:
        assert f"--{action.dest.replace('_', '-')}" in action.option_strings, command


@pytest.mark.parametrize("since", ["1h", "2026-11-24"])
def test_what_is_read_is_used(restaurant: Restaurant, since: str) -> None:
    assert json.loads(run("qerko_stats", since=since, json=True))["events"]["total"] == 0
    assert run("qerko_events", since=since, limit="1", json=True) == ""
    assert json.loads(run("qerko_restaurant", "list", json=True))[0]["name"] == restaurant.name
    assert run("qerko_reconcile", older_than=since, stderr=io.StringIO()) == ""


def test_a_key_is_rotated_by_keywords(restaurant: Restaurant) -> None:
    run("qerko_restaurant", "add", "U Fleků", api_key="short")
    run("qerko_restaurant", "rotate", "U Fleků", api_key=OTHER_KEY.reveal(), stderr=io.StringIO())
    run("qerko_restaurant", "rotate", "U Fleků", finish=True)

    assert Restaurant.objects.get(name="U Fleků").keys.get().api_key == OTHER_KEY


def test_a_delivery_is_sent_by_keywords() -> None:
    with a_till(getBill=(422, {"code": "BILL_CLOSED", "message": ""})) as till:
        how: dict[str, Any] = {"set": ["billId=7", "customerId=c"], "id": "e", "scheme": "both", "age": "1"}
        said = json.loads(run("qerko_send", "getBill", url=till.url, api_key=KEY.reveal(), json=True, **how))
        run("qerko_send", "getBill", url=till.url, api_key=KEY.reveal(), set="billId=8")

    assert (said["event_id"], said["is_deserved"]) == ("e", True)
    first, second = (delivery.document["data"] for delivery in till.received)
    assert first == {"billId": "7", "customerId": "c"}
    assert second["billId"] == "8"


# -- What is not repeated --------------------------------------------------------------------------

MISPLACED = [
    *((command, *NEEDED.get(command, ()), KEY.reveal()) for command in COMMANDS),
    *((command, *NEEDED.get(command, ()), f"--nobody={KEY.reveal()}") for command in COMMANDS),
    ("qerko_events", "--restaurant", KEY.reveal()),
    ("qerko_events", "--state", KEY.reveal()),
    ("qerko_restaurant", KEY.reveal()),
    ("qerko_show", KEY.reveal()),
    ("qerko_diagnose", KEY.reveal()),
    ("qerko_send", "getBill", "--data", KEY.reveal()),
    ("qerko_restaurant", "rotate", "X", f"--finish={KEY.reveal()}"),
]


@pytest.mark.parametrize("words", MISPLACED, ids=lambda words: " ".join(words).replace(KEY.reveal(), "KEY"))
def test_a_key_in_the_wrong_place_is_not_repeated(
    restaurant: Restaurant, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        ManagementUtility(["manage.py", *words]).execute()

    said = "".join(capsys.readouterr())
    assert "error" in said.lower()
    assert KEY.reveal() not in said


def test_an_id_that_is_not_found_is_named() -> None:
    uuid = "5f0c1f6e-4d53-4a3e-8a2f-1d9c8b470b2f"

    with pytest.raises(CommandError, match=uuid):
        run("qerko_show", uuid)

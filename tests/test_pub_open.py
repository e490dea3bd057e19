"""One command opens the pub, and opening it again changes nothing that is open."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse
from django.utils import timezone

from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant
from example_project.pub.management.commands import pub_open
from example_project.pub.models import Order, Table, TakenKey
from example_project.pub.opening import NAME
from tests.deliveries import KEY, OTHER_KEY

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QERKO_API_KEY", "DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def printed(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def opened(*arguments: str) -> Any:
    return json.loads(printed("pub_open", "--json", *arguments))


def keys(restaurant: Restaurant) -> list[ApiKey]:
    return [key.api_key for key in restaurant.keys.all()]


def test_it_says_whom_to_call_and_what_is_to_be_paid() -> None:
    said = opened("--tables", "4")

    restaurant = Restaurant.objects.get()
    orders = list(Order.objects.all())
    assert said == {
        "restaurant": {
            "id": restaurant.pk,
            "webhook_path": reverse("qerko:webhook", kwargs={"token": restaurant.webhook_token}),
        },
        "tables": [
            {"id": f"T{number}", "bill_id": str(order.pk), "total": str(order.owed)}
            for number, order in enumerate(orders, start=1)
        ],
    }
    assert all(order.is_open and order.owed > 0 and order.lines.count() > 2 for order in orders)


def test_it_says_so_to_people_as_well() -> None:
    said = printed("pub_open", "--tables=2")

    restaurant = Restaurant.objects.get()
    assert f"{restaurant} is open." in said
    assert str(restaurant.webhook_token) in said
    assert [line.split()[0] for line in said.splitlines()[2:]] == ["T1", "T2"]
    assert all(key.reveal() not in said for key in keys(restaurant))


def test_opening_again_keeps_everything() -> None:
    first = opened("--tables=3")

    assert opened("--tables=3") == first
    assert opened("--tables=1")["tables"] == first["tables"][:1]
    assert opened("--tables=5")["tables"][:3] == first["tables"]
    assert Table.objects.count() == Order.objects.count() == 5


def test_only_where_the_last_bill_is_closed_a_new_one_is_opened() -> None:
    first = opened("--tables=2")
    Order.objects.get(pk=first["tables"][0]["bill_id"]).close(at=timezone.now())

    again = opened("--tables=2")

    assert again["tables"][1] == first["tables"][1]
    assert again["tables"][0]["bill_id"] != first["tables"][0]["bill_id"]
    assert again["restaurant"] == first["restaurant"]
    assert Order.objects.open().count() == 2


def test_the_key_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    opened()
    opened()
    restaurant = Restaurant.objects.get()
    assert keys(restaurant) == [KEY]

    monkeypatch.setenv("QERKO_API_KEY", OTHER_KEY.reveal())
    opened()

    assert keys(restaurant) == [OTHER_KEY, KEY]


def test_a_key_that_was_rotated_away_stays_away() -> None:
    opened()
    restaurant = Restaurant.objects.get()
    printed("qerko_restaurant", "rotate", restaurant.name, "--api-key", OTHER_KEY.reveal())
    printed("qerko_restaurant", "rotate", restaurant.name, "--finish")

    opened()

    assert keys(restaurant) == [OTHER_KEY]


def test_an_environment_that_changes_back_makes_a_kept_key_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (KEY, OTHER_KEY, KEY):
        monkeypatch.setenv("QERKO_API_KEY", key.reveal())
        opened()

    assert keys(Restaurant.objects.get()) == [KEY, OTHER_KEY]


def test_an_environment_that_changes_back_brings_its_key_back(monkeypatch: pytest.MonkeyPatch) -> None:
    opened()
    restaurant = Restaurant.objects.get()
    monkeypatch.setenv("QERKO_API_KEY", OTHER_KEY.reveal())
    opened()
    restaurant.forget_old_keys()

    monkeypatch.setenv("QERKO_API_KEY", KEY.reveal())
    opened()

    assert keys(restaurant) == [KEY, OTHER_KEY]


def test_a_key_that_the_restaurant_was_given_before_is_no_trouble() -> None:
    printed("qerko_restaurant", "add", NAME, "--api-key", KEY.reveal())

    opened()

    assert keys(Restaurant.objects.get()) == [KEY]


def test_the_key_of_the_environment_is_kept_as_a_digest_only() -> None:
    opened()

    (taken,) = TakenKey.objects.all()
    assert str(taken) == str(Restaurant.objects.get().webhook_token)
    assert len(taken.digest) == 64
    assert taken.digest != KEY.mac(b"taken").hex()


def test_a_key_that_is_none_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QERKO_API_KEY", "two words")

    with pytest.raises(CommandError, match="QERKO_API_KEY") as failure:
        opened()

    assert "two words" not in str(failure.value)


def test_a_key_of_another_restaurant_is_refused_with_its_name_and_a_cure() -> None:
    printed("qerko_restaurant", "add", "Other", "--api-key", KEY.reveal())

    with pytest.raises(CommandError, match=r"QERKO_API_KEY: Other has this key already\. .*rotate") as failure:
        opened()

    assert KEY.reveal() not in str(failure.value)
    assert [restaurant.name for restaurant in Restaurant.objects.all()] == ["Other"]


@pytest.mark.parametrize("tables", ["0", "-1", "1000", "four", "1.5", ""])
def test_a_number_of_tables_that_fits_no_pub_is_refused(tables: str) -> None:
    with pytest.raises(CommandError, match="1 to 999 tables") as failure:
        opened(f"--tables={tables}")

    assert failure.value.returncode == 2


@pytest.mark.parametrize("tables", [2, "2"])
def test_a_program_may_open_it_by_keywords(tables: object) -> None:
    out = StringIO()

    call_command("pub_open", tables=tables, json=True, stdout=out)

    assert [table["id"] for table in json.loads(out.getvalue())["tables"]] == ["T1", "T2"]


@pytest.mark.parametrize("tables", [0, 1000, True, None, 1.5])
def test_a_keyword_that_fits_no_pub_is_refused(tables: object) -> None:
    with pytest.raises(CommandError, match="1 to 999 tables"):
        call_command("pub_open", tables=tables)


def test_a_database_that_lacks_a_migration_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: ["pub.0001_initial"])

    with pytest.raises(CommandError, match=r"run `python manage\.py migrate`"):
        opened()


def test_a_database_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(pub_open, "MigrationExecutor", away)

    with pytest.raises(CommandError, match="cannot be reached: connection refused"):
        opened()


def test_a_landlord_is_made_with_a_password_that_is_shown_once() -> None:
    made = json.loads(printed("pub_landlord", "--json"))

    landlord = User.objects.get()
    assert made["name"] == landlord.username == "landlord"
    assert landlord.is_superuser
    assert landlord.check_password(made["password"])
    assert json.loads(printed("pub_landlord", "--json")) == {"name": "landlord", "password": None}
    assert "landlord is there already" in printed("pub_landlord")


def test_a_landlord_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "hana")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a good one")

    assert "hana has the password a good one" in printed("pub_landlord")
    assert User.objects.get().check_password("a good one")


def test_whoever_is_a_superuser_is_the_landlord(admin_user: User) -> None:
    assert json.loads(printed("pub_landlord", "--json")) == {"name": admin_user.username, "password": None}
    assert User.objects.count() == 1

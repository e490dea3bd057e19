"""Restaurants: their addresses, and their keys, of which several may be live at once."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.urls import NoReverseMatch
from pytest_django import DjangoAssertNumQueries, Settings

from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant, RestaurantKey
from tests.deliveries import KEY, OTHER_KEY

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_restaurant_is_added_with_its_key(db: None) -> None:
    restaurant = Restaurant.objects.add(name="U Fleků", api_key=KEY)

    assert str(restaurant) == "U Fleků"
    assert [row.api_key for row in restaurant.keys.all()] == [KEY]


@pytest.mark.parametrize("name", ["", "x" * 201, "U Zlatého tygra"], ids=["empty", "too long", "taken"])
def test_a_restaurant_has_a_name_of_its_own(restaurant: Restaurant, name: str) -> None:
    with pytest.raises(ValidationError):
        Restaurant.objects.add(name=name, api_key=OTHER_KEY)

    assert Restaurant.objects.get() == restaurant
    assert RestaurantKey.objects.count() == 1


def test_a_key_belongs_to_one_restaurant(restaurant: Restaurant) -> None:
    with pytest.raises(ValidationError, match="belongs to U Zlatého tygra"):
        Restaurant.objects.add(name="U Fleků", api_key=KEY)


def test_only_one_is_the_restaurant_where_there_is_no_other(restaurant: Restaurant) -> None:
    assert Restaurant.objects.only_one() == restaurant

    Restaurant.objects.create(name="U Fleků")

    assert Restaurant.objects.only_one() is None


def test_no_restaurant_is_not_one(db: None) -> None:
    assert Restaurant.objects.only_one() is None


def test_each_restaurant_has_an_address_that_cannot_be_guessed(restaurant: Restaurant) -> None:
    other = Restaurant.objects.create(name="U Fleků")

    assert restaurant.webhook_token != other.webhook_token
    assert restaurant.webhook_token.version == 4
    assert restaurant.webhook_path == f"/qerko/webhook/{restaurant.webhook_token}/"


@pytest.mark.parametrize(
    ("public_url", "origin"), [("https://pos.example/", "https://pos.example"), ("", "https://<your host>")]
)
def test_the_address_for_people_has_the_public_host(
    restaurant: Restaurant, settings: Settings, public_url: str, origin: str
) -> None:
    settings.QERKO = {"PUBLIC_URL": public_url}

    assert restaurant.webhook_address == f"{origin}{restaurant.webhook_path}"


def test_a_project_without_the_webhook_has_no_address(restaurant: Restaurant, settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.urls_without_webhook"

    assert "include" in restaurant.webhook_address
    with pytest.raises(NoReverseMatch):
        restaurant.webhook_path  # noqa: B018


def test_the_newest_key_is_the_current_one_and_the_old_stays(restaurant: Restaurant) -> None:
    added = restaurant.add_key(OTHER_KEY)

    assert restaurant.current_key == added
    assert [row.api_key for row in restaurant.keys.all()] == [OTHER_KEY, KEY]


def test_the_current_key_again_changes_nothing(restaurant: Restaurant) -> None:
    before = restaurant.keys.get()

    assert restaurant.add_key(ApiKey(KEY.reveal())) == restaurant.keys.get() == before


def test_an_older_key_that_is_kept_becomes_the_current_one_again(restaurant: Restaurant) -> None:
    restaurant.keys.all().note_use(NOON)
    restaurant.add_key(OTHER_KEY)

    back = restaurant.add_key(KEY)

    assert restaurant.current_key == back
    assert restaurant.api_key == KEY
    assert back.last_used_at == NOON
    assert [row.api_key for row in restaurant.keys.all()] == [KEY, OTHER_KEY]
    assert restaurant.forget_old_keys() == 1
    assert [row.api_key for row in restaurant.keys.all()] == [KEY]


def test_a_key_of_another_restaurant_is_refused(restaurant: Restaurant) -> None:
    with pytest.raises(ValidationError, match="U Zlatého tygra has this key already"):
        Restaurant.objects.create(name="U Fleků").add_key(KEY)


def test_a_key_that_comes_while_old_ones_are_forgotten_stays(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = restaurant.current_key

    def meanwhile(self: Restaurant) -> RestaurantKey | None:
        self.keys.create(secret=OTHER_KEY.encrypt())
        return current

    monkeypatch.setattr(Restaurant, "current_key", property(meanwhile))

    assert restaurant.forget_old_keys() == 0
    assert [row.api_key for row in restaurant.keys.all()] == [OTHER_KEY, KEY]


def test_old_keys_are_forgotten(restaurant: Restaurant) -> None:
    restaurant.add_key(OTHER_KEY)

    assert restaurant.forget_old_keys() == 1
    assert [row.api_key for row in restaurant.keys.all()] == [OTHER_KEY]
    assert restaurant.forget_old_keys() == 0


def test_a_restaurant_without_keys_has_none_to_forget(db: None) -> None:
    restaurant = Restaurant.objects.create(name="U Fleků")

    assert restaurant.current_key is None
    assert restaurant.forget_old_keys() == 0


def test_the_keys_of_an_address_come_with_their_restaurant(
    restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    restaurant.add_key(OTHER_KEY)

    with django_assert_num_queries(1):
        rows = [(row.restaurant.name, row.api_key) for row in RestaurantKey.objects.opening(restaurant.webhook_token)]

    assert rows == [("U Zlatého tygra", OTHER_KEY), ("U Zlatého tygra", KEY)]
    assert not RestaurantKey.objects.opening(uuid.uuid4())


@pytest.mark.parametrize(("later", "is_kept"), [(timedelta(seconds=59), False), (timedelta(minutes=1), True)])
def test_the_last_use_of_a_key_is_kept_to_the_minute(restaurant: Restaurant, later: timedelta, is_kept: bool) -> None:
    keys = restaurant.keys.all()

    assert keys.note_use(NOON)
    assert keys.note_use(NOON + later) is is_kept
    assert keys.get().last_used_at == NOON + (later if is_kept else timedelta(0))


def test_a_key_whose_secret_is_gone_is_unreadable_and_nothing_breaks(
    restaurant: Restaurant, settings: Settings
) -> None:
    settings.SECRET_KEY = "another one"
    row = restaurant.keys.get()

    assert row.shown == str(row) == "unreadable"
    assert not row.opens_with(KEY)
    assert restaurant.add_key(KEY).shown == "…e4e1"
    with pytest.raises(ValueError, match="ENCRYPTION_KEYS"):
        row.api_key  # noqa: B018


def test_the_database_keeps_no_key_that_could_be_read(restaurant: Restaurant) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM django_qerko_restaurantkey")
        ((secret,),) = cursor.fetchall()

    assert KEY.reveal() not in secret
    assert ApiKey.decrypt(secret) == KEY


def test_two_restaurants_never_have_the_same_address(restaurant: Restaurant) -> None:
    with pytest.raises(IntegrityError):
        Restaurant.objects.create(name="U Fleků", webhook_token=restaurant.webhook_token)

"""How long a restaurant and its keys are remembered."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_qerko.models import Restaurant, RestaurantKey, WebhookEvent
from django_qerko.receiving import keyring as module
from django_qerko.receiving.keyring import Keyring, keyring
from django_qerko.signals import bill_requested
from tests.deliveries import KEY, OTHER_KEY, deliver, document, sign

MISSING = uuid.UUID(int=0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> Keyring:
    return Keyring(clock)


def test_a_restaurant_is_read_once_in_five_seconds(
    restaurant: Restaurant, memory: Keyring, clock: Clock, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        doors = [memory.door(restaurant.webhook_token) for clock.now in (100, 101, 104.9)]
        door = doors[-1]
    assert (door.restaurant, [key for _, key in door.keys]) == (restaurant, [KEY])

    clock.now = 105
    with django_assert_num_queries(1):
        memory.door(restaurant.webhook_token)


def test_a_key_that_was_taken_away_is_gone_after_five_seconds(
    restaurant: Restaurant, memory: Keyring, clock: Clock
) -> None:
    memory.door(restaurant.webhook_token)
    restaurant.keys.all().delete()
    assert memory.door(restaurant.webhook_token).keys

    clock.now += module.TRUSTED_FOR

    door = memory.door(restaurant.webhook_token)
    assert (door.restaurant, door.keys) == (restaurant, ())


def test_whoever_asks_for_news_is_told_at_most_once_a_second(
    restaurant: Restaurant, memory: Keyring, clock: Clock, django_assert_num_queries: Any
) -> None:
    memory.door(restaurant.webhook_token)
    restaurant.add_key(OTHER_KEY)

    with django_assert_num_queries(0):
        memory.door(restaurant.webhook_token, not_older_than=module.LOOKED_AGAIN_AFTER)
    clock.now += module.LOOKED_AGAIN_AFTER
    door = memory.door(restaurant.webhook_token, not_older_than=module.LOOKED_AGAIN_AFTER)

    assert [key for _, key in door.keys] == [OTHER_KEY, KEY]


def test_an_unknown_address_is_remembered_too(db: None, memory: Keyring, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        assert memory.door(MISSING).restaurant is None
    with django_assert_num_queries(0):
        memory.door(MISSING)


def test_addresses_are_bounded(db: None, memory: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADDRESSES", 3)

    for number in range(10):
        memory.door(uuid.UUID(int=number))

    assert len(memory._doors) == 3


@pytest.mark.parametrize(("restaurants", "found"), [(0, False), (1, True), (2, False)])
def test_the_address_without_a_name_is_the_only_restaurants(
    db: None, memory: Keyring, restaurants: int, found: bool
) -> None:
    for number in range(restaurants):
        Restaurant.objects.create(name=f"number {number}")

    assert (memory.door(None).restaurant is not None) is found


def test_an_unreadable_key_is_left_out_and_said(
    restaurant: Restaurant, memory: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    RestaurantKey.objects.create(restaurant=restaurant, secret="written under a secret that is gone")

    assert [key for _, key in memory.door(restaurant.webhook_token).keys] == [KEY]
    assert "is left out" in caplog.text


def test_use_is_noted_to_the_minute(restaurant: Restaurant, memory: Keyring, django_assert_num_queries: Any) -> None:
    key = restaurant.keys.get().pk
    noon = timezone.now().replace(hour=12, minute=0, second=1)

    with django_assert_num_queries(1):
        memory.note_use(key, noon)
        memory.note_use(key, noon + timedelta(seconds=50))
    memory.note_use(key, noon + timedelta(seconds=59))  # the next minute by the clock, but not one minute later

    assert restaurant.keys.get().last_used_at == noon

    memory.note_use(key, noon + timedelta(minutes=2))
    assert restaurant.keys.get().last_used_at == noon + timedelta(minutes=2)


def test_a_change_in_this_process_counts_at_once(restaurant: Restaurant) -> None:
    keyring.door(restaurant.webhook_token)

    restaurant.add_key(OTHER_KEY)
    assert len(keyring.door(restaurant.webhook_token).keys) == 2

    restaurant.keys.all().delete()
    assert len(keyring.door(restaurant.webhook_token).keys) == 0


def test_a_first_restaurant_is_found_within_a_second(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, answering: Any
) -> None:
    answering(bill_requested, lambda **_: None)
    nobody = module.Door(token=restaurant.webhook_token, restaurant=None, read_at=keyring._clock())
    keyring._doors[restaurant.webhook_token] = nobody
    assert deliver(restaurant, "getBill").status_code == 404

    monkeypatch.setattr(keyring, "_clock", lambda: nobody.read_at + 1)

    assert deliver(restaurant, "getBill").status_code == 422


def test_the_restaurant_that_took_over_an_address_is_the_one_that_is_recorded(
    db: None, monkeypatch: pytest.MonkeyPatch, answering: Any
) -> None:
    answering(bill_requested, lambda **_: None)
    first = Restaurant.objects.create(name="first")
    first.add_key(KEY)
    read_at = keyring.door(None).read_at
    # Another process deletes one and adds the other.
    Restaurant.objects.filter(pk=first.pk).update(webhook_token=uuid.uuid4(), name="second")
    RestaurantKey.objects.update(secret=OTHER_KEY.encrypt())
    monkeypatch.setattr(keyring, "_clock", lambda: read_at + 1)

    delivery = sign(document("getBill"), url="http://testserver/qerko/webhook/", key=OTHER_KEY)

    assert delivery.send().status_code == 422
    assert WebhookEvent.objects.get().restaurant.name == "second"


def test_a_new_key_is_found_when_the_remembered_ones_fail(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch, answering: Any
) -> None:
    answering(bill_requested, lambda **_: None)
    assert deliver(restaurant, "getBill").status_code == 422
    assert deliver(restaurant, "getBill", key=OTHER_KEY).status_code == 401
    # Another process writes the key, so nobody here is told.
    RestaurantKey.objects.bulk_create([RestaurantKey(restaurant=restaurant, secret=OTHER_KEY.encrypt())])
    assert deliver(restaurant, "getBill", key=OTHER_KEY).status_code == 401

    monkeypatch.setattr(keyring, "_clock", lambda: keyring._doors[restaurant.webhook_token].read_at + 1)

    assert deliver(restaurant, "getBill", key=OTHER_KEY).status_code == 422
    assert deliver(restaurant, "getBill").status_code == 422
    assert all(key.last_used_at for key in restaurant.keys.all())

"""A project's own handlers are certified in process, and nothing of what the project works with is touched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest
from celery import current_app
from django.core.exceptions import ValidationError
from django.dispatch import Signal
from pytest_django import Settings

from django_qerko import queueing, tasks
from django_qerko.certifying import RULES, Outcome, Verdict, house, on_stage, try_rule
from django_qerko.conf import conf
from django_qerko.exceptions import BillNotFound
from django_qerko.models import Rejection, Restaurant
from django_qerko.receiving import rejections
from django_qerko.sandbox.conversation import PointOfSale
from django_qerko.signals import bill_requested, table_list_requested
from tests.deliveries import KEY, OTHER_KEY
from tests.records import enter

Answering = Callable[[Signal, object], None]


@pytest.mark.django_db
def test_where_there_is_no_restaurant_one_is_added() -> None:
    restaurant = house.the_restaurant(None)

    assert list(Restaurant.objects.all()) == [restaurant]
    assert restaurant.api_key.is_checked


@pytest.mark.django_db
def test_the_fixture_brings_the_restaurant() -> None:
    def fill() -> None:
        Restaurant.objects.create(name="Not open yet")
        Restaurant.objects.add(name="U Kocoura", api_key=OTHER_KEY)

    restaurant = house.the_restaurant(fill)

    assert (restaurant.name, restaurant.api_key) == ("U Kocoura", OTHER_KEY)


@pytest.mark.django_db
def test_what_the_fixture_rings_for_is_run_at_once_and_reaches_no_broker() -> None:
    event = enter(Restaurant.objects.add(name="U Kocoura", api_key=KEY), state="received")

    house.the_restaurant(lambda: tasks.handle_event.delay(event.pk))

    event.refresh_from_db()
    assert event.state == "stale"


@pytest.mark.django_db
def test_a_restaurant_without_a_key_cannot_be_certified() -> None:
    with pytest.raises(ValueError, match="No restaurant has a key"):
        house.the_restaurant(lambda: Restaurant.objects.create(name="Not open yet"))


@pytest.mark.django_db
def test_what_breaks_the_fixture_is_not_hidden() -> None:
    def fill() -> None:
        Restaurant.objects.add(name="", api_key=KEY)

    with pytest.raises(ValidationError):
        house.the_restaurant(fill)


def refuse(**_: object) -> None:
    raise BillNotFound


@pytest.mark.process
def test_a_project_is_served_as_it_is_but_for_its_qerko(
    transactional_restaurant: Restaurant,
    answering: Answering,
    settings: Settings,
    memory_of_its_own: rejections.Counter,
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["pub.example"]
    settings.QERKO = {**settings.QERKO, "PUBLIC_URL": "https://pub.example", "ANSWER_LATER": ["getBill"]}
    answering(bill_requested, refuse)

    with ExitStack() as stack, on_stage(partial(served, stack, transactional_restaurant)) as play:
        verdicts = [try_rule(rule, play) for rule in RULES if rule.name in {"forged", "unknown-bill", "wrong-address"}]
        is_eager, base_url = current_app.conf.task_always_eager, conf.BASE_URL

    assert [verdict.seen for verdict in verdicts] == [
        "getBill: 202, and then replied BILL_NOT_FOUND",
        "401, however it was forged",
        "404",
    ]
    assert (is_eager, base_url) == (True, play.api_url)
    assert not current_app.conf.task_always_eager
    assert conf.PUBLIC_URL == "https://pub.example"
    assert rejections.counter is memory_of_its_own
    memory_of_its_own.write()
    assert not Rejection.objects.exists()


@pytest.mark.process
def test_the_address_without_a_restaurant_is_one_to_be_certified_by(
    transactional_restaurant: Restaurant, memory_of_its_own: rejections.Counter
) -> None:
    def at_the_bare_address(api_url: str) -> PointOfSale:
        pos = served(stack, transactional_restaurant, api_url)
        return replace(pos, url=pos.url.removesuffix(f"{transactional_restaurant.webhook_token}/"))

    with ExitStack() as stack, on_stage(at_the_bare_address) as play:
        verdicts = {
            rule.name: try_rule(rule, play) for rule in RULES if rule.name in {"wrong-address", "tells-nothing"}
        }
        assert play.pos.url.endswith("/webhook/")

    assert verdicts["wrong-address"].seen == "404"
    assert verdicts["tells-nothing"].outcome is Outcome.HOLDS, verdicts["tells-nothing"].seen


def break_down(**_: object) -> None:
    raise ZeroDivisionError("There is no table.\nNot one.")


@pytest.mark.process
@pytest.mark.parametrize(
    ("later", "heard"),
    [([], "500"), (["getTableList"], "202, and then replied an error without a code")],
    ids=["now", "later"],
)
def test_what_a_handler_broke_with_is_said(
    transactional_restaurant: Restaurant,
    answering: Answering,
    settings: Settings,
    memory_of_its_own: rejections.Counter,
    later: list[str],
    heard: str,
) -> None:
    settings.QERKO = {**settings.QERKO, "ANSWER_LATER": later}
    answering(table_list_requested, break_down)

    verdict = tables_of(transactional_restaurant)

    assert verdict.outcome is Outcome.BROKEN
    assert verdict.seen == f"getTableList: {heard} (ZeroDivisionError: There is no table.)"


@pytest.mark.process
def test_where_nobody_answers_it_is_said_who_should(
    transactional_restaurant: Restaurant, memory_of_its_own: rejections.Counter
) -> None:
    verdict = tables_of(transactional_restaurant)

    assert verdict.seen == "getTableList: 422 NO_SUCH_METHOD"
    assert verdict.cure.startswith("No handler answered. With django_qerko: is the module with the receivers imported")


def tables_of(restaurant: Restaurant) -> Verdict:
    """The verdict on the rule about tables."""
    (rule,) = (rule for rule in RULES if rule.name == "tables")
    with (
        house.overhearing() as failures,
        ExitStack() as stack,
        on_stage(partial(served, stack, restaurant), failures=failures) as play,
    ):
        return try_rule(rule, play)


def served(stack: ExitStack, restaurant: Restaurant, api_url: str) -> PointOfSale:
    """Serve the tests' project until the stack closes."""
    return stack.enter_context(house.serving(restaurant, api_url))


def test_tasks_are_as_eager_as_before_afterwards() -> None:
    app = current_app
    app.conf.task_always_eager = True
    try:
        with queueing.eagerly():
            pass
        assert app.conf.task_always_eager
    finally:
        app.conf.task_always_eager = False

"""Money is counted right, in whatever order Qerko, guests, the till and the clock do their part."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples
from hypothesis.stateful import run_state_machine_as_test

from django_qerko.models import Bill, Restaurant
from tests.money.machine import PRICES, STEPS, TABLES, UNKNOWN, Errors, MoneyMachine, World
from tests.money.model import POSTPONED
from tests.money.qerko import Qerko
from tests.money.till import Till

#: For each of the two ways in which a till may list its items; one lane of CI plays many more.
EXAMPLES = int(os.environ.get("MONEY_EXAMPLES", "100")) // 2


@pytest.fixture
def errors() -> Iterator[Errors]:
    """The errors in our log, and nothing else of it: a thousand evenings are more than anybody reads."""
    ours, requests, errors = logging.getLogger("django_qerko"), logging.getLogger("django.request"), Errors()
    ours.addHandler(errors)
    ours.propagate, requests.disabled = False, True
    yield errors
    ours.propagate, requests.disabled = True, False
    ours.removeHandler(errors)


@pytest.fixture
def world(restaurant: Restaurant, settings: Any, errors: Errors) -> Iterator[World]:
    till, qerko = Till(PRICES, TABLES), Qerko()
    with till.at_work(), qerko.listening() as url:
        settings.QERKO = settings.QERKO | {"BASE_URL": url}
        yield World(
            restaurant=restaurant,
            till=till,
            qerko=qerko,
            errors=errors,
            configure=partial(_configure, settings),
            is_net=False,
        )


def _configure(settings: Any, **names: Any) -> None:
    settings.QERKO.update(names)


@pytest.mark.parametrize("is_net", [False, True], ids=["unpaid", "ordered"])
def test_nothing_is_sold_twice_and_every_event_is_reflected(world: World, is_net: bool) -> None:
    world.is_net = is_net
    run_state_machine_as_test(
        cast(Any, partial(MoneyMachine, world)),
        settings=examples(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- What the machine found --------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["unpaid", "ordered"])
def evening(world: World, request: pytest.FixtureRequest) -> Iterator[MoneyMachine]:
    """The same machine, driven by hand."""
    world.is_net = request.param
    machine = MoneyMachine(world)
    machine.open(refuses=False, told=["b3"])
    try:
        yield machine
        machine.everything_holds()
    finally:
        machine.teardown()


def test_a_bill_that_is_paid_while_its_table_is_looked_at_stays_closed(evening: MoneyMachine) -> None:
    evening.start("b3", 0, "rest", "accept", "now")

    evening.pay_while_looking(0, table=True)

    bill = Bill.objects.get(bill_id="b3")
    assert (bill.state, any((bill.left or {}).values())) == ("closed", False)


def test_a_postponed_receipt_is_given_again_while_nobody_has_a_newer(evening: MoneyMachine) -> None:
    evening.process_one("b3", "rest", "accept", POSTPONED)

    evening.ask_for_receipt(0, "silent", "EMAIL")

    assert evening.letters[-1].state == "handled"


# -- What happens in one evening of many -------------------------------------------------------------


def test_handlers_that_break_or_refuse(evening: MoneyMachine) -> None:
    evening.look_at_bill("b1", "break", "now")
    evening.look_at_table("T1", "break", "now")
    evening.start("b3", 0, "rest", "break", "now")
    evening.start("b3", 0, "rest", "refuse", "now")
    evening.close(UNKNOWN, "PAID", "break", "now")


def test_an_end_that_overtakes_a_beginning(evening: MoneyMachine) -> None:
    evening.start("b2", 0, "rest", "accept", "later")
    evening.close(0, "DECLINED", "accept", "now")


def test_a_receipt_that_is_refused_when_the_payment_is_paid(evening: MoneyMachine) -> None:
    evening.start("b3", 0, "rest", "accept", "now")
    evening.close(1, "PAID", "accept", "now")
    evening.process(1, "refuse", POSTPONED, "now")


def test_nothing_is_delivered_again_where_nothing_was_delivered(evening: MoneyMachine) -> None:
    delivered, evening.letters = evening.letters, []
    evening.deliver_again(0, "accept", POSTPONED, "now")
    evening.letters = delivered


def test_the_same_again(evening: MoneyMachine) -> None:
    evening.process_one("b3", "rest", "accept", POSTPONED)
    evening.start_again(1, "accept", "now")
    evening.process(1, "accept", "QERKO_GENERATED", "now")
    evening.deliver_again(0, "accept", POSTPONED, "now")


def test_a_question_that_waits_until_it_is_too_late(evening: MoneyMachine) -> None:
    evening.start("b3", 0, "rest", "accept", "later")
    evening.wait()
    evening.work(0, "accept", POSTPONED)


@pytest.mark.parametrize("said", ["PAID", "STARTED", "DECLINED", None])
def test_an_end_that_qerko_is_asked_for(evening: MoneyMachine, said: str | None) -> None:
    evening.start("b3", 0, "rest", "accept", "now")
    evening.ask_about_payment(8, said, "takes", True, "accept")

    for pick in (0, 1):
        evening.ask_about_payment(pick, said, "takes", True, "accept")


def test_an_end_of_what_never_started(evening: MoneyMachine) -> None:
    evening.ask_about_unstarted(0, "PAID", "takes", "accept")


def test_an_end_of_what_started_only_then(evening: MoneyMachine) -> None:
    evening.close(UNKNOWN, "PAID", "accept", "now")
    evening.start("b3", 0, "rest", "accept", "now")
    evening.ask_about_unstarted(0, "PAID", "takes", "accept")

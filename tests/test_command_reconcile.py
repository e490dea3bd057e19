"""Qerko is asked for the payments in progress, and a table says what it said and what was done."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from django_qerko.models import Payment, Restaurant
from django_qerko.models.payment import PaymentQuerySet
from tests.commands import run, running
from tests.deliveries import SAMPLES, deliver
from tests.qerkos import StrangeQerko, knowing, once, response, say
from tests.records import SECOND

Knowing: TypeAlias = Callable[..., None]

HEADINGS = ["payment", "bill", "restaurant", "here", "Qerko says", "done"]


def told(payment_id: str, state: str) -> dict[str, Any]:
    """A payment as Qerko tells it, on a bill of its own."""
    return {**SAMPLES["paymentStart"]["payment"], "id": payment_id, "idBill": f"bill of {payment_id}", "state": state}


def begin(restaurant: Restaurant, *payment_ids: str) -> None:
    for payment_id in payment_ids:
        deliver(restaurant, "paymentStart", {"payment": told(payment_id, "STARTED")})


def table(*arguments: str, **how: Any) -> list[list[str]]:
    """What the command prints, without the headings."""
    first, *lines = run("qerko_reconcile", *arguments, **how).splitlines()
    assert first.split("\t") == HEADINGS
    return [line.split("\t") for line in lines]


def states() -> dict[str, str]:
    return dict(Payment.objects.values_list("payment_id", "state"))


@pytest.fixture
def qerko(settings: Any) -> Iterator[Callable[..., StrangeQerko]]:
    """Opens the project's Qerko, which knows these payments."""
    houses: list[StrangeQerko] = []

    def open_house(**known: Any) -> StrangeQerko:
        house = StrangeQerko(
            knowing({name: state if isinstance(state, int) else told(name, state) for name, state in known.items()})
        )
        houses.append(house)
        settings.QERKO = settings.QERKO | {"BASE_URL": house.url}
        return house

    yield open_house
    for house in houses:
        house.close()


def test_a_table_says_what_was_done(restaurant: Restaurant, qerko: Knowing) -> None:
    begin(restaurant, "a", "b", "c")
    qerko(a="PAID", c="AUTHORIZED")

    assert table() == [
        ["a", "bill of a", restaurant.name, "started", "PAID", "settled"],
        ["b", "bill of b", restaurant.name, "started", "NOT_FOUND", "cancelled"],
        ["c", "bill of c", restaurant.name, "started", "AUTHORIZED", "left"],
    ]
    assert states() == {"a": "paid", "b": "cancelled", "c": "started"}
    assert table() == [["c", "bill of c", restaurant.name, "started", "AUTHORIZED", "left"]]


def test_a_dry_run_asks_and_changes_nothing(restaurant: Restaurant, qerko: Knowing) -> None:
    begin(restaurant, "a", "b", "c")
    qerko(a="PAID", c="AUTHORIZED")
    before = list(Payment.objects.values())

    lines = table("--dry-run")

    assert [line[4:] for line in lines] == [
        ["PAID", "would be settled"],
        ["NOT_FOUND", "would be cancelled"],
        ["AUTHORIZED", "would be left"],
    ]
    assert list(Payment.objects.values()) == before


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["for real", "dry"])
def test_what_could_not_be_asked_makes_it_fail(restaurant: Restaurant, qerko: Knowing, options: list[str]) -> None:
    begin(restaurant, "a", "b")
    qerko(a=503, b="PAID")

    with pytest.raises(CommandError, match=r"Qerko could not be asked about 1 of 2\."):
        run("qerko_reconcile", *options)

    assert states() == {"a": "started", "b": "started" if options else "paid"}


def test_a_line_says_why_it_could_not_be_asked(restaurant: Restaurant, qerko: Knowing) -> None:
    begin(restaurant, "a")
    qerko(a=503)
    out = io.StringIO()

    with pytest.raises(CommandError):
        call_command("qerko_reconcile", stdout=out)

    assert out.getvalue().splitlines()[1].endswith("\tcould not be asked: 503 Service Unavailable")


def test_only_what_is_older_may_be_asked_about(restaurant: Restaurant, qerko: Knowing) -> None:
    begin(restaurant, "old", "young")
    Payment.objects.filter(payment_id="old").update(created_at=timezone.now() - 120 * SECOND)
    qerko()

    assert [line[0] for line in table("--older-than", "1m")] == ["old"]
    assert states() == {"old": "cancelled", "young": "started"}


@pytest.mark.django_db
def test_where_nothing_is_in_progress_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("qerko_reconcile") == ""
    assert capsys.readouterr().err == "No payments in progress.\n"


def test_what_is_over_when_its_turn_comes_is_not_asked_about(
    restaurant: Restaurant, qerko: Callable[..., StrangeQerko], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(restaurant, "a")
    house = qerko()
    first = PaymentQuerySet.first

    def closed_before(rows: PaymentQuerySet) -> Payment | None:
        monkeypatch.undo()
        deliver(restaurant, "paymentClosed", {"paymentId": "a", "state": "DECLINED"})
        return first(rows)

    monkeypatch.setattr(PaymentQuerySet, "first", closed_before)

    assert table() == []
    assert not house.requests


@pytest.mark.process
def test_a_real_run_shows_each_line_as_it_comes(
    transactional_restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(transactional_restaurant, "a", "b")

    paid = response(body=json.dumps(told("a", "PAID")).encode())
    house = StrangeQerko(once(say(paid), lambda caller: caller.listen(), lambda caller: caller.wait()))
    monkeypatch.setenv("SERVED_QERKO", house.url)
    try:
        with running("qerko_reconcile") as (process, out, _):
            assert [out.readline().split("\t")[0] for _ in range(2)] == ["payment", "a"]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) != 0
    finally:
        house.close()

    assert states() == {"a": "paid", "b": "started"}

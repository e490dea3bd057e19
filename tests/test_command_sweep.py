"""What was forgotten is finished, once or until somebody interrupts."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.dispatch import Signal
from django.utils import timezone

from django_qerko import signals
from django_qerko.management.commands import qerko_sweep
from django_qerko.models import Payment, Restaurant, WebhookEvent
from django_qerko.tending import reconciling, sweeping
from django_qerko.tending.sweeping import Swept
from tests.commands import run, running
from tests.deliveries import SAMPLES, deliver
from tests.qerkos import StrangeQerko, knowing
from tests.records import SECOND, enter, store
from tests.till.models import Note

Answering = Callable[[Signal, Any], None]


def forget(restaurant: Restaurant, name: str = "paymentClosed", **changes: Any) -> WebhookEvent:
    """An event that was promised, and that no queue brings any more."""
    now = timezone.now()
    members = {"payload": payload(SAMPLES[name]), "received_at": now, "deadline_at": now + 60 * SECOND, **changes}
    return enter(restaurant, name, state="received", promised_at=now - 5 * SECOND, **members)


def payload(data: Any) -> bytes:
    return json.dumps({"id": "e", "data": data}).encode()


def looped(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], Swept], asked: int = 0) -> list[str]:
    """What a loop says while its sweeps are these, one after another, and then somebody ends it.

    In the first so many questions are asked.
    """
    waiting, questions = list(happenings), [asked]

    def sweep(*, goes_on: Callable[[object], bool], **_: Any) -> Swept:
        assert goes_on("a row")
        if waiting:
            return waiting.pop(0)()
        signal.raise_signal(signal.SIGTERM)
        assert not goes_on("a row")
        return Swept()

    monkeypatch.setattr(qerko_sweep, "EVERY", 0.01)
    monkeypatch.setattr(sweeping, "sweep", sweep)
    monkeypatch.setattr(reconciling, "ask_due", lambda **_: questions.pop() if questions else 0)
    return run("qerko_sweep", "--loop").splitlines()


def trouble(error: Exception) -> Callable[[], Swept]:
    def sweep() -> Swept:
        raise error

    return sweep


def interrupted(sweep: Callable[[], Swept]) -> Callable[[], Swept]:
    def interrupt() -> Swept:
        signal.raise_signal(signal.SIGINT)
        return sweep()

    return interrupt


def test_one_sweep_says_what_it_did(restaurant: Restaurant, answering: Answering) -> None:
    now = timezone.now()
    answering(signals.payment_closed, None)
    # What it has to tell Qerko is late, but news is news.
    forgotten = forget(restaurant, deadline_at=now - SECOND)
    late = forget(restaurant, "getBill", deadline_at=now - SECOND)
    reply = store(enter(restaurant), deadline_at=now - SECOND)

    assert run("qerko_sweep") == "1 handled, 0 sent, 2 stale, 0 asked\n"

    forgotten.refresh_from_db()
    late.refresh_from_db()
    reply.refresh_from_db()
    assert (forgotten.state, late.state, reply.state) == ("handled", "stale", "stale")


def test_it_asks_about_payments_that_are_due(restaurant: Restaurant, settings: Any) -> None:
    deliver(restaurant, "paymentStart")
    Payment.objects.update(created_at=timezone.now() - 600 * SECOND, next_question_at=timezone.now())
    qerko = StrangeQerko(knowing({}))
    settings.QERKO = settings.QERKO | {"BASE_URL": qerko.url}
    try:
        assert run("qerko_sweep") == "0 handled, 0 sent, 0 stale, 1 asked\n"
    finally:
        qerko.close()

    assert Payment.objects.get().state == "cancelled"


@pytest.mark.django_db
def test_a_loop_asks_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looped(monkeypatch, Swept, asked=3) == ["0 handled, 0 sent, 0 stale, 3 asked"]


@pytest.mark.django_db
def test_where_nothing_was_forgotten_it_says_so() -> None:
    assert run("qerko_sweep") == "0 handled, 0 sent, 0 stale, 0 asked\n"


@pytest.mark.django_db
def test_a_loop_says_only_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    said = looped(monkeypatch, lambda: Swept(handled=3, sent=2, stale=1), Swept, lambda: Swept(sent=1))

    assert said == ["3 handled, 2 sent, 1 stale, 0 asked", "0 handled, 1 sent, 0 stale, 0 asked"]


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OperationalError("server closed"), InterfaceError("connection closed")], ids=str)
def test_a_loop_tries_again_where_the_database_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    assert looped(monkeypatch, trouble(error), lambda: Swept(sent=1)) == ["0 handled, 1 sent, 0 stale, 0 asked"]
    assert caplog.messages == [f"The database cannot be reached, and is tried again: {error}"]


@pytest.mark.django_db
def test_another_trouble_ends_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        looped(monkeypatch, trouble(ZeroDivisionError()))


@pytest.mark.django_db
def test_who_insists_is_obeyed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        looped(monkeypatch, interrupted(interrupted(Swept)))


@pytest.mark.django_db
def test_signals_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    looped(monkeypatch)

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_thread_that_hears_no_signals_may_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "sweep", lambda **_: Swept(handled=1))
    monkeypatch.setattr(reconciling, "ask_due", lambda **_: 0)
    said: list[str] = []

    thread = threading.Thread(target=lambda: said.append(run("qerko_sweep")))
    thread.start()
    thread.join()

    assert said == ["1 handled, 0 sent, 0 stale, 0 asked\n"]


@pytest.mark.process
@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_a_real_loop_ends_quietly_when_it_is_interrupted(
    transactional_restaurant: Restaurant, interruption: signal.Signals
) -> None:
    late = forget(transactional_restaurant, "getBill", deadline_at=timezone.now() - SECOND)

    with running("qerko_sweep", "--loop") as (process, out, _):
        assert out.readline() == "0 handled, 0 sent, 1 stale, 0 asked\n"

        process.send_signal(interruption)
        assert process.wait(timeout=30) == 0
        assert out.read() == ""

    late.refresh_from_db()
    assert late.state == "stale"


@pytest.mark.process
def test_a_real_sweep_that_is_interrupted_finishes_the_row_in_hand(transactional_restaurant: Restaurant) -> None:
    slow = payload({"billId": "slow:1.5"})
    first = forget(transactional_restaurant, "getBill", payload=slow)
    second = forget(transactional_restaurant, "getBill", payload=slow)

    with running("qerko_sweep", "--loop") as (process, out, _):
        while WebhookEvent.objects.in_state("handling").count() == 0:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=30) == 0
        assert out.read() == "1 handled, 0 sent, 0 stale, 0 asked\n"

    assert list(WebhookEvent.objects.order_by("pk").values_list("state", "handlings")) == [
        ("handled", 1),
        ("received", 0),
    ]
    assert first.pk < second.pk
    assert Note.objects.count() == 1

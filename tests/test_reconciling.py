"""What Qerko forgot to say is asked for, and then done as if it had been said."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from django.db import connections, transaction
from django.dispatch import Signal
from django.utils import timezone

from django_qerko import tasks
from django_qerko.answers import NOTHING
from django_qerko.events import PaymentClosed
from django_qerko.exceptions import CallFailed, DomainError, NotSent, StepRefused
from django_qerko.handling import keeping
from django_qerko.models import Bill, Payment, Reply, Restaurant, RestaurantKey, WebhookEvent
from django_qerko.replying import reply_later
from django_qerko.signals import payment_closed
from django_qerko.tending import take_back
from django_qerko.tending.reconciling import Asked, Outcome, ask_about_payment, ask_due, reconcile
from django_qerko.tending.sweeping import Swept, sweep
from tests import celery_app, records
from tests.deliveries import KEY, OTHER_KEY, SAMPLES, address, deliver, document, sign
from tests.qerkos import StrangeQerko, Talk, knowing, response, saying
from tests.servers import send
from tests.workers import on_stage, until

Answering: TypeAlias = Callable[[Signal, Any], None]
Opening: TypeAlias = Callable[[Talk], StrangeQerko]

MINUTE = timedelta(minutes=1)
ANOTHER_CLAIM = "00000000-0000-4000-8000-000000000000"


def told(payment_id: str = "p1", state: str | None = "STARTED", **members: Any) -> dict[str, Any]:
    """A payment as Qerko tells it."""
    return {**SAMPLES["paymentStart"]["payment"], "id": payment_id, "state": state, **members}


@pytest.fixture
def opened(settings: Any) -> Iterator[Opening]:
    """Opens a Qerko that talks like this, and makes it the project's."""
    houses: list[StrangeQerko] = []

    def open_house(talk: Talk) -> StrangeQerko:
        houses.append(StrangeQerko(talk))
        settings.QERKO = settings.QERKO | {"BASE_URL": houses[-1].url}
        return houses[-1]

    yield open_house
    for house in houses:
        house.close()


@pytest.fixture
def heard(answering: Answering) -> list[Any]:
    """What the project's handler of ``paymentClosed`` heard: the state, and the step in which our row was."""
    heard: list[Any] = []
    answering(payment_closed, lambda event, payment, **_: heard.append((event.state, payment and payment.state)))
    return heard


def begin(
    restaurant: Restaurant, payment_id: str = "p1", *, bill: str = "42", minutes: float = 10, due: bool = True
) -> Payment:
    """A payment that began so long ago, and whose next question is due."""
    assert deliver(restaurant, "paymentStart", {"payment": told(payment_id, idBill=bill)}).status_code == 200
    now = timezone.now()
    rows = Payment.objects.filter(payment_id=payment_id)
    rows.update(created_at=now - minutes * MINUTE, next_question_at=now if due else now + MINUTE)
    return rows.get()


def news(restaurant: Restaurant, state: str = "PAID", payment_id: str = "p1") -> int:
    """The status with which ``paymentClosed`` is answered."""
    return int(deliver(restaurant, "paymentClosed", {"paymentId": payment_id, "state": state}).status_code)


def elsewhere(work: Callable[[], object]) -> None:
    """Do something in another process, as it were: with connections of its own."""
    try:
        work()
    finally:
        connections.close_all()


def paths(qerko: StrangeQerko) -> list[str]:
    return [request.line.split()[1].rpartition("/")[2] for request in qerko.requests]


def steps(payment: Payment) -> list[tuple[str, str]]:
    return list(payment.steps.values_list("before", "state"))


# -- What is due is asked about ----------------------------------------------------------------------


def test_what_qerko_calls_paid_is_settled(restaurant: Restaurant, opened: Opening, heard: list[Any]) -> None:
    payment = begin(restaurant)
    qerko = opened(knowing({"p1": told(state="PAID")}))

    assert ask_due() == 1

    payment.refresh_from_db()
    assert (payment.state, payment.final_state, payment.alarm) == ("paid", "PAID", "")
    assert (payment.bill.locked, payment.bill.paid) == ({}, {"1": "1"})
    assert heard == [("PAID", "paid")]
    assert (paths(qerko), qerko.requests[0].header("authorization")) == (["get-payment"], f"Bearer {KEY.reveal()}")


def test_what_qerko_does_not_know_is_cancelled(restaurant: Restaurant, opened: Opening, heard: list[Any]) -> None:
    payment = begin(restaurant)
    opened(knowing({}))

    assert ask_due() == 1

    payment.refresh_from_db()
    assert (payment.state, payment.final_state, payment.bill.locked) == ("cancelled", "NOT_FOUND", {})
    assert heard == [("NOT_FOUND", "cancelled")]


def test_run_twice_it_changes_nothing_more(restaurant: Restaurant, opened: Opening, heard: list[Any]) -> None:
    begin(restaurant, "p1")
    qerko = opened(knowing({"p1": told(state="PAID")}))
    ask_due()
    before = [list(model.objects.order_by("pk").values()) for model in (WebhookEvent, Payment, Bill, Reply)]

    assert ask_due() == 0

    assert before == [list(model.objects.order_by("pk").values()) for model in (WebhookEvent, Payment, Bill, Reply)]
    assert (len(qerko.requests), len(heard)) == (1, 1)


def test_what_we_say_to_ourselves_is_an_event_like_any_other(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))

    ask_due()

    record = WebhookEvent.objects.get(name="paymentClosed")
    assert record.event_id.startswith("asked-")
    assert json.loads(bytes(record.payload)) == {
        "id": record.event_id,
        "event": "paymentClosed",
        "data": {"paymentId": "p1", "state": "PAID"},
    }
    assert (record.state, record.status, record.payment_id, record.bill_id) == ("handled", 200, "p1", None)
    assert (record.headers, record.promised_at) == ({}, None)
    assert payment.steps.get(state="paid").event == record


@pytest.mark.parametrize("state", ["STARTED", "DECLINED", None])
def test_any_other_state_is_left(restaurant: Restaurant, opened: Opening, heard: list[Any], state: str | None) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state=state)}))

    assert reconcile(payment).outcome is Outcome.LEFT

    payment.refresh_from_db()
    assert (payment.state, payment.bill.locked, heard) == ("started", {"1": "1"}, [])


def test_questions_come_with_growing_pauses(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told()}))

    ask_due()

    payment.refresh_from_db()
    assert payment.next_question_at is not None
    pause = payment.next_question_at - timezone.now()
    assert (payment.questions, round(pause / MINUTE)) == (1, 10)


def test_what_is_not_due_is_not_asked_about(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant, due=False)
    qerko = opened(knowing({}))

    assert ask_due() == 0
    assert not ask_about_payment(payment.pk)
    assert not ask_about_payment(payment.pk + 1)
    assert not qerko.requests


def test_what_is_young_and_unknown_is_asked_about_when_it_is_older(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant, minutes=1)
    opened(knowing({}))

    assert reconcile(payment).outcome is Outcome.LEFT

    payment.refresh_from_db()
    assert payment.next_question_at == payment.created_at + 2 * MINUTE


def test_what_somebody_else_asks_about_is_left_to_them(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant)
    qerko = opened(knowing({}))
    Payment.objects.update(questions=1)

    assert reconcile(payment) == Asked(outcome=Outcome.ELSEWHERE)
    assert not qerko.requests


def test_a_round_ends_when_its_time_is_over(restaurant: Restaurant, opened: Opening) -> None:
    begin(restaurant)
    qerko = opened(knowing({}))

    assert ask_due(seconds=0) == 0
    assert ask_due(goes_on=lambda _: False) == 0
    assert not qerko.requests


def test_one_payments_trouble_is_not_the_others(
    restaurant: Restaurant, opened: Opening, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = begin(restaurant), begin(restaurant, "p2", bill="43")
    opened(knowing({"p2": told("p2", "PAID")}))
    claim = Payment.claim_question

    def broken(payment: Payment, **how: Any) -> bool:
        if payment.pk == first.pk:
            raise RuntimeError("trouble")
        return claim(payment, **how)

    monkeypatch.setattr(Payment, "claim_question", broken)

    assert ask_due() == 1
    second.refresh_from_db()
    assert second.state == "paid"


def test_the_tasks_ask(restaurant: Restaurant, opened: Opening) -> None:
    payments = [begin(restaurant, f"p{number}", bill=str(number)) for number in range(2)]
    assert news(restaurant, payment_id="p2") == 422
    opened(knowing({f"p{number}": told(f"p{number}", "PAID", idBill=str(number)) for number in range(3)}))

    tasks.ask_about_payment(payments[0].pk)
    assert Payment.objects.paid().count() == 1
    tasks.ask_about_event(WebhookEvent.objects.get(name="paymentClosed", status=422).pk)
    assert Payment.objects.paid().count() == 2
    tasks.reconcile()
    assert Payment.objects.paid().count() == 3


# -- A Qerko that tells only a part ------------------------------------------------------------------

SHORT: dict[str, dict[str, Any]] = {
    "id and state": {"id": "p1"},
    "state alone": {},
    "id is null": {"id": None},
    "no items": {key: value for key, value in told().items() if key != "items"},
    "an empty customer": told(idCustomer=""),
    "an amount that is none": told(tipBrutto="1e3"),
}
short = pytest.mark.parametrize("part", SHORT.values(), ids=SHORT)


@short
@pytest.mark.parametrize(("state", "becomes"), [("PAID", "paid"), ("DECLINED", "cancelled")])
def test_of_a_payment_that_is_known_the_state_is_enough(
    restaurant: Restaurant, opened: Opening, heard: list[Any], part: dict[str, Any], state: str, becomes: str
) -> None:
    payment = begin(restaurant)
    payment.note_newer_start(at=timezone.now())
    opened(knowing({"p1": part | {"state": state}}))

    reconcile(payment)

    payment.refresh_from_db()
    assert (payment.state, payment.final_state, payment.alarm) == (becomes, state, "")
    assert heard == [(state, becomes)]


def test_of_a_payment_that_is_taken_back_the_state_is_enough(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": {"state": "CANCELLED"}}))

    assert take_back(payment).state == "cancelled"


# -- A Qerko that does not answer --------------------------------------------------------------------


def test_a_call_that_failed_waits_for_the_next_question(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant, minutes=3)
    known: dict[str, Any] = {"p1": 503}
    opened(knowing(known))

    assert ask_due() == 1
    assert ask_due() == 0

    payment.refresh_from_db()
    assert (payment.state, payment.questions) == ("started", 1)
    known["p1"] = told(state="PAID")
    Payment.objects.update(next_question_at=timezone.now())
    assert ask_due() == 1
    payment.refresh_from_db()
    assert payment.state == "paid"


NO_ANSWERS = [
    told("p2", "PAID"),
    {"id": "p2", "state": "PAID"},
    {"id": "", "state": "PAID"},
    {"id": "p1"},
    {"id": "p1", "state": None},
    {"id": "p1", "state": ""},
    {"id": "p1", "state": ["PAID"]},
]


@pytest.mark.parametrize("answer", [*NO_ANSWERS, 400, 429, 302])
def test_what_is_no_answer_changes_nothing(restaurant: Restaurant, opened: Opening, answer: Any) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": answer}))

    asked = reconcile(payment)

    assert (asked.outcome, asked.heard, isinstance(asked.failure, CallFailed)) == (Outcome.FAILED, None, True)
    payment.refresh_from_db()
    assert payment.state == "started"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_an_alarm(
    restaurant: Restaurant, opened: Opening, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": status}))

    assert reconcile(payment).outcome is Outcome.FAILED

    (error,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert error == f"Qerko refuses the API key or the Pos-Id of {restaurant} with {status}"


def test_without_a_key_nothing_can_be_asked(
    restaurant: Restaurant, opened: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    payment = begin(restaurant)
    qerko = opened(knowing({}))
    RestaurantKey.objects.all().delete()

    asked = reconcile(payment)

    assert isinstance(asked.failure, NotSent)
    assert f"Nothing could be asked of Qerko for {restaurant}" in caplog.text
    assert not qerko.requests


def test_a_key_that_cannot_be_read_gives_way_to_the_one_before(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant)
    qerko = opened(knowing({"p1": told()}))
    RestaurantKey.objects.create(restaurant=restaurant, secret="stored under a key that is gone")

    reconcile(payment)

    assert qerko.requests[0].header("authorization") == f"Bearer {KEY.reveal()}"


def test_a_newer_key_is_the_one_that_asks(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant)
    qerko = opened(knowing({"p1": told()}))
    restaurant.add_key(OTHER_KEY)

    reconcile(payment)

    assert qerko.requests[0].header("authorization") == f"Bearer {OTHER_KEY.reveal()}"


# -- A second start says that news of the first was missed -------------------------------------------


@pytest.fixture
def eager() -> Iterator[None]:
    """Whoever is rung for works at once."""
    celery_app.conf.task_always_eager = True
    yield
    celery_app.conf.task_always_eager = False


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("state", ["PAID", "DECLINED", "STARTED", 404])
def test_a_new_guest_unlocks_a_bill_whose_end_was_missed(
    restaurant: Restaurant, opened: Opening, django_capture_on_commit_callbacks: Any, state: Any
) -> None:
    first = begin(restaurant, due=False)
    opened(knowing({"p1": state if state == 404 else told(state=state)}))

    with django_capture_on_commit_callbacks(execute=True):
        refused = deliver(restaurant, "paymentStart", {"payment": told("p2")})
    then = deliver(restaurant, "paymentStart", {"payment": told("p3")})

    first.refresh_from_db()
    assert (refused.status_code, then.status_code) == (422, 200)
    assert first.state == ("paid" if state == "PAID" else "cancelled")
    assert Payment.objects.in_progress().get().payment_id == "p3"


@pytest.mark.parametrize("state", ["DECLINED", 404, 503])
def test_a_young_payment_may_only_be_late(restaurant: Restaurant, opened: Opening, state: Any) -> None:
    payment = begin(restaurant, minutes=1)
    opened(knowing({"p1": state if isinstance(state, int) else told(state=state)}))
    assert deliver(restaurant, "paymentStart", {"payment": told("p2")}).status_code == 422

    assert ask_due() == 1

    payment.refresh_from_db()
    assert (payment.state, payment.next_question_at) == ("started", payment.created_at + 2 * MINUTE)


@pytest.mark.parametrize(("minutes", "state"), [(1, "started"), (10, "cancelled")])
def test_an_end_that_passed_its_beginning_by_unlocks_the_bill(
    restaurant: Restaurant, opened: Opening, heard: list[Any], minutes: int, state: str
) -> None:
    news(restaurant, "DECLINED")
    records.begin(restaurant, bill=records.open_bill(restaurant, "42"), payment_id="p1")
    now = timezone.now()
    Payment.objects.update(created_at=now - minutes * MINUTE, next_question_at=now)
    opened(knowing({"p1": told(state="EXPIRED")}))

    assert ask_due() == 1

    payment = Payment.objects.get()
    assert (payment.state, bool(payment.bill.locked)) == (state, state == "started")
    assert heard == [("DECLINED", None)] + ([("EXPIRED", "cancelled")] if state == "cancelled" else [])


def test_pauses_begin_anew_where_a_newer_start_was_seen(restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(restaurant, minutes=600)
    opened(knowing({"p1": 503}))
    deliver(restaurant, "paymentStart", {"payment": told("p2")})

    ask_due()

    payment.refresh_from_db()
    assert payment.next_question_at is not None
    assert payment.next_question_at - timezone.now() <= 2 * MINUTE


# -- While Qerko is asked, the world goes on ---------------------------------------------------------


def talking(work: Callable[[], object], answer: bytes) -> Talk:
    """Answers once something has happened here meanwhile."""

    def talk(caller: Any) -> None:
        while caller.listen():
            elsewhere(work)
            caller.say(answer)

    return talk


PAID = response(body=json.dumps(told(state="PAID")).encode())
DECLINED = response(body=json.dumps(told(state="DECLINED")).encode())


@pytest.mark.django_db(transaction=True)
def test_nothing_is_locked_while_qerko_is_asked(transactional_restaurant: Restaurant, opened: Opening) -> None:
    payment = begin(transactional_restaurant)

    def write() -> None:
        with transaction.atomic():
            row = Payment.objects.held(transactional_restaurant, "p1")
            assert row is not None
            row.note_newer_start(at=timezone.now())

    opened(talking(write, DECLINED))

    # What was noted meanwhile counts, too.
    assert reconcile(payment).outcome is Outcome.CANCELLED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("said", ["PAID", "DECLINED"])
def test_an_end_that_is_told_meanwhile_is_the_end(
    transactional_restaurant: Restaurant, opened: Opening, heard: list[Any], said: str
) -> None:
    payment = begin(transactional_restaurant)
    opened(talking(lambda: news(transactional_restaurant, said), DECLINED))

    assert reconcile(payment).outcome is Outcome.ELSEWHERE
    assert heard == [(said, "paid" if said == "PAID" else "cancelled")]


@pytest.mark.django_db(transaction=True)
def test_paid_wins_over_an_end_that_is_told_meanwhile(
    transactional_restaurant: Restaurant, opened: Opening, heard: list[Any]
) -> None:
    payment = begin(transactional_restaurant)
    opened(talking(lambda: news(transactional_restaurant, "DECLINED"), PAID))

    assert reconcile(payment).outcome is Outcome.SETTLED

    assert heard == [("DECLINED", "cancelled"), ("PAID", "paid")]
    assert "cancelled before" in Payment.objects.get().alarm


@pytest.mark.django_db(transaction=True)
def test_two_who_heard_the_same_do_it_once(
    transactional_restaurant: Restaurant, opened: Opening, heard: list[Any]
) -> None:
    payment = begin(transactional_restaurant)
    qerko = opened(knowing({"p1": told(state="PAID")}))
    together = threading.Barrier(2)

    def ask() -> None:
        own = Payment.objects.get(pk=payment.pk)
        together.wait()
        reconcile(own)

    threads = [threading.Thread(target=elsewhere, args=(ask,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(qerko.requests), heard) == (1, [("PAID", "paid")])
    assert steps(payment) == [("", "started"), ("started", "paid")]


# -- A handler that breaks, and a process that dies --------------------------------------------------


def test_a_handler_that_breaks_hears_it_again(restaurant: Restaurant, opened: Opening, answering: Answering) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))
    handlings: list[int] = []

    def broken_once(**_: Any) -> None:
        handlings.append(1)
        if len(handlings) == 1:
            raise RuntimeError("the till is broken")

    answering(payment_closed, broken_once)

    assert reconcile(payment).outcome is Outcome.TO_BE_HANDLED
    record = WebhookEvent.objects.get(name="paymentClosed")
    assert (record.state, record.next_handling_at is not None) == ("failed", True)
    # Asked again before its moment, nothing happens.
    WebhookEvent.objects.filter(pk=record.pk).update(next_handling_at=timezone.now() + MINUTE)
    assert reconcile(payment).outcome is Outcome.TO_BE_HANDLED
    assert len(handlings) == 1

    WebhookEvent.objects.filter(pk=record.pk).update(next_handling_at=timezone.now())
    assert sweep() == Swept(handled=1)

    payment.refresh_from_db()
    assert (payment.state, len(handlings)) == ("paid", 2)
    assert not Reply.objects.exists()


def test_a_handler_that_was_given_up_hears_it_with_the_next_question(
    restaurant: Restaurant, opened: Opening, answering: Answering
) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))
    broken = [False, True, True]

    def break_twice(**_: Any) -> None:
        if broken.pop():
            raise RuntimeError("the till is broken")

    answering(payment_closed, break_twice)
    reconcile(payment)
    day_before = timezone.now() - timedelta(hours=25)
    WebhookEvent.objects.filter(state="failed").update(next_handling_at=None, received_at=day_before)
    assert sweep() == Swept()

    # It is tried once more with each question, and by nobody between them.
    assert reconcile(payment).outcome is Outcome.TO_BE_HANDLED
    assert WebhookEvent.objects.get(state="failed").next_handling_at is None
    assert reconcile(payment).outcome is Outcome.SETTLED

    record = WebhookEvent.objects.get(name="paymentClosed")
    assert (record.state, record.handlings, broken) == ("handled", 3, [])
    assert not Reply.objects.exists()


def test_whoever_is_quicker_tries_again_what_was_given_up(
    restaurant: Restaurant, opened: Opening, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))
    handlings: list[int] = []

    def broken(**_: Any) -> None:
        handlings.append(1)
        raise RuntimeError("the till is broken")

    answering(payment_closed, broken)
    reconcile(payment)
    WebhookEvent.objects.filter(state="failed").update(next_handling_at=None)
    monkeypatch.setattr(WebhookEvent, "claim_again", lambda *_, **__: False)

    assert reconcile(payment).outcome is Outcome.TO_BE_HANDLED
    assert len(handlings) == 1


def test_one_payments_end_is_never_taken_for_anothers(
    restaurant: Restaurant, opened: Opening, heard: list[Any]
) -> None:
    first, second = begin(restaurant, "p x"), begin(restaurant, "p", bill="43")
    opened(knowing({"p x": told("p x", "PAID"), "p": told("p", "x PAID")}))
    second.note_newer_start(at=timezone.now())

    assert (reconcile(first).outcome, reconcile(second).outcome) == (Outcome.SETTLED, Outcome.CANCELLED)

    assert heard == [("PAID", "paid"), ("x PAID", "cancelled")]
    assert WebhookEvent.objects.filter(event_id__startswith="asked-").count() == 2


def test_what_asking_brings_due_is_handled_at_once(
    restaurant: Restaurant, opened: Opening, answering: Answering
) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))
    broken = [True]

    def break_once(**_: Any) -> None:
        if broken.pop():
            raise RuntimeError("the till is broken")

    answering(payment_closed, break_once)
    reconcile(payment)
    broken.append(False)
    WebhookEvent.objects.filter(state="failed").update(next_handling_at=timezone.now())

    assert reconcile(payment).outcome is Outcome.SETTLED


def test_a_handling_that_was_lost_to_somebody_else_is_theirs(
    restaurant: Restaurant, opened: Opening, answering: Answering
) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))
    rows = WebhookEvent.objects.named("paymentClosed")
    answering(payment_closed, lambda **_: rows.update(claim=ANOTHER_CLAIM) and None)

    assert reconcile(payment).outcome is Outcome.TO_BE_HANDLED


def test_a_refusal_is_recorded_and_not_obeyed(restaurant: Restaurant, opened: Opening, answering: Answering) -> None:
    def refuse(**_: Any) -> None:
        raise DomainError("ACCESS_DENIED", "not today")

    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))
    answering(payment_closed, refuse)

    assert reconcile(payment).outcome is Outcome.SETTLED


def test_no_reply_leaves_for_what_qerko_did_not_tell(
    restaurant: Restaurant, opened: Opening, answering: Answering
) -> None:
    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))

    def reply(event: PaymentClosed, **_: Any) -> None:
        reply_later(event, NOTHING)

    answering(payment_closed, reply)

    reconcile(payment)

    assert Reply.objects.get().state == "stale"


def test_who_dies_over_it_is_followed_by_the_sweeper(
    restaurant: Restaurant, opened: Opening, heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise SystemExit

    payment = begin(restaurant)
    opened(knowing({"p1": told(state="PAID")}))
    with monkeypatch.context() as patched:
        patched.setattr(keeping, "handle", die)
        with pytest.raises(SystemExit):
            reconcile(payment)
    assert sweep() == Swept()

    WebhookEvent.objects.filter(state="handling").update(claimed_until=timezone.now())
    assert sweep() == Swept(handled=1)

    payment.refresh_from_db()
    assert (payment.state, heard) == ("paid", [("PAID", "paid")])
    assert not Reply.objects.exists()


# -- Payments that never started here ----------------------------------------------------------------


def test_a_payment_that_never_started_is_recorded_as_paid_with_an_alarm(
    restaurant: Restaurant, opened: Opening, heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert news(restaurant) == 422
    whole = json.dumps(told(state="PAID")).replace('"tipNetto": "5.00"', '"tipNetto": 12345678901.99, "news": 0.10')
    opened(saying(response(body=whole.encode())))

    assert ask_due() == 1
    assert ask_due() == 0

    payment = Payment.objects.get()
    assert steps(payment) == [("", "cancelled"), ("cancelled", "paid")]
    assert (payment.alarm, payment.bill.paid) == (
        "It was cancelled before (It never started here.), and is paid after all.",
        {"1": "1"},
    )
    assert (payment.payload["tipNetto"], payment.payload["news"]) == ("12345678901.99", "0.10")
    assert payment.tip_netto == Decimal("12345678901.99")
    told_by = WebhookEvent.objects.get(status=422)
    assert (payment.steps.get(state="cancelled").event, told_by.next_handling_at) == (told_by, None)
    assert heard == [("PAID", None), ("PAID", "paid")]
    assert "It never started here" in caplog.text


@pytest.mark.usefixtures("eager")
def test_qerko_is_asked_about_it_at_once(
    restaurant: Restaurant, opened: Opening, django_capture_on_commit_callbacks: Any
) -> None:
    opened(knowing({"p1": told(state="PAID")}))

    with django_capture_on_commit_callbacks(execute=True):
        assert news(restaurant) == 422

    assert Payment.objects.get().state == "paid"


@pytest.mark.parametrize("answer", [404, told(state="DECLINED"), told(state=None), {"state": "DECLINED"}])
def test_a_qerko_that_contradicts_itself_needs_a_person(
    restaurant: Restaurant, opened: Opening, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    news(restaurant)
    opened(knowing({"p1": answer}))

    assert (ask_due(), ask_due()) == (1, 0)

    assert "Qerko contradicts itself" in caplog.text
    assert not Payment.objects.exists()


@pytest.mark.parametrize("answer", [404, told(state="DECLINED")], ids=["404", "DECLINED"])
def test_a_qerko_that_contradicts_itself_may_only_not_know_yet(
    restaurant: Restaurant, opened: Opening, answer: Any
) -> None:
    news(restaurant)
    known = {"p1": answer}
    opened(knowing(known))
    ask_due()
    known["p1"] = told(state="PAID")
    WebhookEvent.objects.update(next_handling_at=timezone.now())

    assert ask_due() == 1

    assert Payment.objects.get().state == "paid"
    assert not WebhookEvent.objects.exclude(next_handling_at=None)


def test_a_payment_that_started_meanwhile_is_settled(restaurant: Restaurant, opened: Opening) -> None:
    news(restaurant)
    payment = begin(restaurant, due=False)
    opened(knowing({"p1": told(state="PAID")}))

    assert ask_due() == 1

    payment.refresh_from_db()
    assert steps(payment) == [("", "started"), ("started", "paid")]
    assert payment.alarm == ""


@short
def test_where_it_never_started_a_part_is_not_enough(
    restaurant: Restaurant, opened: Opening, caplog: pytest.LogCaptureFixture, part: dict[str, Any]
) -> None:
    news(restaurant)
    opened(knowing({"p1": part | {"state": "PAID"}}))

    assert ask_due() == 1

    assert not Payment.objects.exists()
    assert WebhookEvent.objects.get().next_handling_at is not None
    assert "could not be asked" in caplog.text
    assert "contradicts itself" not in caplog.text


def test_where_it_started_meanwhile_the_state_is_enough(restaurant: Restaurant, opened: Opening) -> None:
    news(restaurant)
    payment = begin(restaurant, due=False)
    opened(knowing({"p1": {"state": "PAID"}}))

    assert ask_due() == 1

    payment.refresh_from_db()
    assert steps(payment) == [("", "started"), ("started", "paid")]
    assert not WebhookEvent.objects.exclude(next_handling_at=None).exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_payment_that_starts_at_this_very_moment_is_settled(
    restaurant: Restaurant,
    opened: Opening,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_there: bool,
) -> None:
    news(restaurant)
    payment = begin(restaurant, due=False)
    opened(knowing({"p1": told(state="PAID")}))
    seen = iter([None, payment if is_there else None])
    monkeypatch.setattr(type(Payment.objects.all()), "known", lambda *_: next(seen))

    assert ask_due() == is_there

    payment.refresh_from_db()
    assert payment.state == ("paid" if is_there else "started")
    assert ("UNIQUE" in caplog.text.upper() or "DUPLICATE" in caplog.text.upper()) is not is_there
    assert WebhookEvent.objects.filter(next_handling_at=None, status=422).exists() is is_there


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (503, "cannot be asked about it"),
        (404, "says NOT_FOUND when it is asked"),
        (told(state="DECLINED"), "says DECLINED when it is asked"),
    ],
    ids=["503", "404", "DECLINED"],
)
def test_questions_about_it_come_with_growing_pauses_and_an_end(
    restaurant: Restaurant, opened: Opening, caplog: pytest.LogCaptureFixture, answer: Any, finding: str
) -> None:
    news(restaurant)
    opened(knowing({"p1": answer}))
    record = WebhookEvent.objects.get()
    pauses: list[timedelta] = []
    for minutes in (0, 10, 300, 24 * 60):
        now = timezone.now()
        WebhookEvent.objects.update(received_at=now - minutes * MINUTE, next_handling_at=now)

        assert ask_due() == 1

        record.refresh_from_db()
        pauses.append((record.next_handling_at or now) - now)

    assert [round(pause / MINUTE) for pause in pauses] == [2, 10, 60, 0]
    assert (record.next_handling_at, finding in caplog.text) == (None, True)


def test_what_somebody_else_asks_about_it_is_left_to_them(
    restaurant: Restaurant, opened: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    news(restaurant)
    qerko = opened(knowing({}))
    monkeypatch.setattr(WebhookEvent, "claim_question", lambda *_, **__: False)

    assert ask_due() == 0
    tasks.ask_about_event(0)
    assert not qerko.requests


@pytest.mark.parametrize("state", ["LOST\n\x1b[2J", "PAID", 404, 503])
def test_whatever_qerko_says_stands_in_one_line_of_the_log(
    restaurant: Restaurant, opened: Opening, caplog: pytest.LogCaptureFixture, state: Any
) -> None:
    started, unknown = "p1\n\x1b[2J", "p2\u2028\x07"
    begin(restaurant, started, bill="42\r\x1b[0m").note_newer_start(at=timezone.now())
    news(restaurant, payment_id=unknown)
    WebhookEvent.objects.update(received_at=timezone.now() - timedelta(hours=25))
    known = (state if isinstance(state, int) else told(name, state) for name in (started, unknown))
    opened(cancelled_by(dict(zip((started, unknown), known, strict=True)), 500, 500))
    caplog.clear()

    assert ask_due() == 2
    if state == 503:
        with pytest.raises(CallFailed):
            take_back(Payment.objects.in_progress().get())

    lines = [line.getMessage() for line in caplog.records if line.name.startswith("django_qerko")]
    assert len([line for line in lines if "p1" in line]) > 0 < len([line for line in lines if "p2" in line])
    assert [line for line in lines if not line.isprintable()] == []


# -- A waiter who takes a payment back ---------------------------------------------------------------


def cancelled_by(known: dict[str, Any], state: Any, status: int = 200) -> Talk:
    """Answers a wish to cancel with this status, and then says this."""

    def cancel(payment_id: str) -> int:
        known[payment_id] = state if isinstance(state, int) else told(payment_id, state)
        return status

    return knowing(known, cancelling=cancel)


@pytest.mark.parametrize(
    ("said", "status", "state"),
    [
        ("CANCELLED", 200, "cancelled"),
        (404, 204, "cancelled"),
        ("PAID", 200, "paid"),
        ("PAID", 409, "paid"),
        ("STARTED", 200, "started"),
        ("CANCELLED", 409, "started"),
        (404, 500, "cancelled"),
    ],
)
def test_qerkos_state_decides_what_a_wish_to_cancel_comes_to(
    restaurant: Restaurant, opened: Opening, heard: list[Any], said: Any, status: int, state: str
) -> None:
    payment = begin(restaurant, due=False)
    qerko = opened(cancelled_by({}, said, status))

    taken = take_back(payment)

    assert (taken, taken.state, paths(qerko)) == (payment, state, ["cancel-payment", "get-payment"])
    word = "NOT_FOUND" if said == 404 else said
    assert heard == ([] if state == "started" else [(word, state)])
    assert taken.bill.locked == ({"1": "1"} if state == "started" else {})
    assert Payment.objects.to_be_asked_about(timezone.now()).exists() is (state == "started")


@pytest.mark.parametrize(
    ("said", "status", "state"),
    [
        # It took the wish, and does what it did before.
        ("PROCESSED", 200, "processed"),
        ("STARTED", 200, "processed"),
        ("CANCELLED", 200, "cancelled"),
        (404, 200, "cancelled"),
        ("PAID", 200, "paid"),
        ("CANCELLED", 409, "processed"),
    ],
)
def test_a_payment_whose_money_moved_is_taken_back_only_where_qerko_says_something_new(
    restaurant: Restaurant, opened: Opening, heard: list[Any], said: Any, status: int, state: str
) -> None:
    bill = records.open_bill(restaurant, "42")
    payment = records.begin(restaurant, bill=bill, payment_id="p1", state="processed")
    qerko = opened(cancelled_by({"p1": told(state="PROCESSED")}, said, status))

    taken = take_back(payment)

    assert (taken.state, paths(qerko)) == (state, ["get-payment", "cancel-payment", "get-payment"])
    assert bool(Bill.objects.get().locked) is (state == "processed")
    word = "NOT_FOUND" if said == 404 else said
    assert heard == ([] if state == "processed" else [(word, state)])
    assert Payment.objects.to_be_asked_about(timezone.now()).exists() is (state == "processed")


@pytest.mark.parametrize(("becomes", "state"), [("STARTED", "started"), ("CANCELLED", "cancelled")])
def test_a_payment_whose_state_was_not_told_is_asked_about_before_it_is_taken_back(
    restaurant: Restaurant, opened: Opening, becomes: str, state: str
) -> None:
    payment = records.begin(restaurant, payment_id="p1", members={"state": None})
    qerko = opened(cancelled_by({"p1": told(state="STARTED")}, becomes))

    assert take_back(payment).state == state
    assert paths(qerko) == ["get-payment", "cancel-payment", "get-payment"]


@pytest.mark.parametrize(
    ("state", "asked"), [("started", ["cancel-payment", "get-payment"]), ("processed", ["get-payment"])]
)
def test_a_waiter_hears_that_qerko_cannot_be_asked(
    restaurant: Restaurant, opened: Opening, state: str, asked: list[str]
) -> None:
    payment = records.begin(restaurant, payment_id="p1", state=state)
    qerko = opened(cancelled_by({"p1": 503}, 503))

    with pytest.raises(CallFailed):
        take_back(payment)

    assert paths(qerko) == asked
    assert Payment.objects.to_be_asked_about(timezone.now()).get().state == state


def test_what_is_over_is_not_taken_back(restaurant: Restaurant, opened: Opening) -> None:
    paid, cancelled = begin(restaurant), begin(restaurant, "p2", bill="43")
    news(restaurant)
    news(restaurant, "DECLINED", "p2")
    qerko = opened(knowing({}))

    with pytest.raises(StepRefused, match="p1 is paid"):
        take_back(paid)
    assert take_back(cancelled).state == "cancelled"
    assert not qerko.requests


# -- The story of a crash ----------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_after_everything_was_killed_qerko_is_asked(
    transactional_restaurant: Restaurant, tmp_path: Path, settings: Any
) -> None:
    states: Mapping[str, Any] = {"paid": "PAID", "unknown": 404, "odd": "AUTHORIZED"}
    known = {name: state if state == 404 else told(name, state, idBill=name) for name, state in states.items()}
    with on_stage(tmp_path, knowing(known)) as stage, stage.serving() as server, stage.working() as worker:
        for name in states:
            start = document("paymentStart", {"payment": told(name, idBill=name)})
            send(sign(start, url=address(transactional_restaurant, origin=server.origin)))
        until(lambda: Payment.objects.in_progress().count() == 3, seconds=30)
        worker.kill()
        server.process.kill()
        server.kill_workers()
        settings.QERKO = settings.QERKO | {"BASE_URL": stage.qerko.url}
        began: datetime = timezone.now() - 10 * MINUTE
        Payment.objects.update(created_at=began, next_question_at=began)

        assert ask_due() == 3

        ended = dict(Payment.objects.values_list("payment_id", "state"))
        assert ended == {"paid": "paid", "unknown": "cancelled", "odd": "started"}
        Payment.objects.in_progress().update(next_question_at=began)
        assert ask_due() == 1
        assert dict(Payment.objects.values_list("payment_id", "state")) == ended
        assert WebhookEvent.objects.filter(event_id__startswith="asked-").count() == 2

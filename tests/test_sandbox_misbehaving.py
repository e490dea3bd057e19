"""A bad Qerko: slow, failing, cutting, repeating, overtaking, forging; and the same again with the same seed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import requests

from django_qerko import events
from django_qerko.sandbox.calling import Cut
from django_qerko.sandbox.errands import Errands, Pauses
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.misbehaving import NEWS, Misbehaviour
from django_qerko.sandbox.qerko import Exchange, Manners, Qerko
from django_qerko.sandbox.telling import outcome
from tests.points_of_sale import Later, Till, an_evening, later

BILL = {
    "id": "42",
    "currency": "CZK",
    "items": [{"id": "1", "name": "Pivo", "quantity": "2", "price": "55.00", "additionalData": {"plu": 7}}],
    "additionalData": {"waiter": "Jan"},
}
RECEIPT: dict[str, Any] = {"receiptInfo": {}, "items": [], "taxInfo": []}
ALWAYS = 1.0


@contextmanager
def playing(*, seed: int = 1, **manners: Any) -> Iterator[tuple[Qerko, Till]]:
    """A Qerko of these manners, and a till that answers what is right."""
    answers = {"getBill": BILL, "paymentProcessed": RECEIPT}
    with Qerko(manners=Manners(**manners), seed=seed, closing_pauses=()) as qerko, an_evening(qerko, **answers) as till:
        yield qerko, till


def heard(till: Till) -> list[str]:
    return [received.document["event"] for received in till.received]


def findings(qerko: Qerko) -> list[str]:
    return [str(finding) for said in qerko.said for finding in said.findings]


# -- The dice -------------------------------------------------------------------------------------


def an_evening_of(seed: int | None) -> list[Any]:
    dice = Misbehaviour(Manners(fail=0.5, cut=0.5, reorder=0.5), seed=seed)
    return [(dice.fails(), dice.cuts(), dice.cut(), dice.overtaken_by()) for _ in range(20)]


def test_the_same_seed_tells_the_same_evening() -> None:
    assert an_evening_of(7) == an_evening_of(7) != an_evening_of(8)


def test_without_a_seed_each_evening_is_another_and_can_be_told_again() -> None:
    dice = Misbehaviour(Manners(fail=0.2, unknown_members=True))
    assert str(dice) == f"fails 20%, says what nobody knows (--seed {dice.seed})"
    assert len({Misbehaviour(Manners()).seed for _ in range(5)}) > 1


def test_one_misbehaviour_does_not_move_the_dice_of_another() -> None:
    one, other = (Misbehaviour(Manners(fail=0.5, cut=0.5), seed=3) for _ in range(2))
    for _ in range(10):
        one.fails()

    assert [one.cuts() for _ in range(20)] == [other.cuts() for _ in range(20)]


def test_a_share_is_kept() -> None:
    dice = Misbehaviour(Manners(fail=0.2), seed=1)

    assert 150 < sum(dice.fails() for _ in range(1000)) < 250


@pytest.mark.parametrize(
    ("manners", "complaint"),
    [
        ({"fail": 1.1}, "A share"),
        ({"cut": -0.1}, "A share"),
        ({"twice": float("nan")}, "A share"),
        ({"slow": -1}, "No"),
    ],
)
def test_what_is_no_share(manners: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Manners(**manners)  # type: ignore[arg-type]


def test_its_manners_are_told_in_words() -> None:
    manners = Manners(slow=0.5, fail=0.2, cut=0.1, twice=0.3, reorder=0.4, forge=1)

    assert str(manners) == "answers after 0.5 s, fails 20%, cuts 10%, delivers twice 30%, reorders 40%, forges 100%"
    assert str(Manners()) == ""


# -- What the point of sale asks ------------------------------------------------------------------


def test_everything_that_is_asked_fails() -> None:
    with playing(fail=ALWAYS) as (qerko, till):
        till.answers["getBill"] = (202, None)
        exchange = qerko.ask(till.pos(), "getBill")
        letter = {"id": exchange.event_id, "event": "getBill", "result": BILL}
        statuses = [till.post(path, letter).status_code for path in ("reply", "who-am-i", "get-payment")]
        stranger = till.post("who-am-i", {}, key="nobody")

    assert statuses == [503, 503, 503]
    assert stranger.status_code == 401
    assert [reply.status for reply in qerko.replies] == [503]
    assert findings(qerko) == [str(Judgement.UNKNOWN_KEY())]


@pytest.mark.parametrize("path", ["reply", "who-am-i", "get-payment", "cancel-payment"])
def test_a_line_is_cut_after_what_was_asked_is_done(path: str) -> None:
    with playing(cut=ALWAYS) as (_, till):
        said = [_said_to(till, path) for _ in range(12)]

    # Before the answer, or in the midst of it.
    assert {type(error) for error in said} == {requests.ConnectionError, requests.exceptions.ChunkedEncodingError}


def _said_to(till: Till, path: str) -> Exception | None:
    try:
        till.post(path, {"paymentId": "p"})
    except requests.RequestException as error:
        return error
    return None


def test_a_reply_that_was_taken_and_cut_may_come_again() -> None:
    with playing(cut=ALWAYS) as (qerko, till):
        till.answers["getBill"] = (202, None)
        # Qerko cuts its own line as well, so that the 202 is not heard; the letter is judged all the same.
        qerko.misbehaviour.cut = lambda: None  # type: ignore[method-assign]
        exchange = qerko.ask(till.pos(), "getBill")
        letter = {"id": exchange.event_id, "event": "getBill", "result": BILL}
        assert all(_reply_is_cut(till, letter) for _ in range(2))

    assert [(reply.status, reply.is_cut) for reply in qerko.replies] == [(200, True)] * 2
    assert findings(qerko) == []


def _reply_is_cut(till: Till, letter: dict[str, Any]) -> bool:
    with pytest.raises(requests.RequestException):
        till.post("reply", letter)
    return True


def test_a_slow_qerko_answers_later_and_forgives_who_did_not_wait() -> None:
    with playing(slow=0.2) as (qerko, till):
        till.answers["getBill"] = (202, None)
        exchange = qerko.ask(till.pos(), "getBill")
        letter = {"id": exchange.event_id, "event": "getBill", "result": BILL}
        began = time.monotonic()
        statuses = [till.post("reply", letter).status_code for _ in range(2)]
        took = time.monotonic() - began

    assert statuses == [200, 200]
    assert took >= 0.4
    assert findings(qerko) == []


def test_nobody_waits_for_a_slow_qerko_that_is_closed() -> None:
    with playing(slow=60) as (qerko, till):
        asking = threading.Thread(target=lambda: _said_to(till, "who-am-i"))
        asking.start()
        time.sleep(0.1)
        qerko.close()
        asking.join(10)

    assert not asking.is_alive()


# -- What the point of sale is told ---------------------------------------------------------------


def test_a_delivery_is_cut_and_the_point_of_sale_is_not_to_blame() -> None:
    with playing(cut=ALWAYS) as (qerko, till):
        exchanges = [qerko.ask(till.pos(), "getBill") for _ in range(12)]
        received = len(till.received)

    assert {exchange.error for exchange in exchanges} == {str(cut) for cut in Cut}
    assert {(exchange.status, exchange.is_cut, exchange.is_answered) for exchange in exchanges} == {(None, True, False)}
    assert received == 12
    assert {outcome(exchange) for exchange in exchanges} == {"Qerko hung up"}
    assert findings(qerko) == []


def test_a_reply_to_what_was_cut_is_not_awaited() -> None:
    with playing(cut=ALWAYS) as (qerko, till):
        qerko.misbehaviour.cuts = lambda: False  # type: ignore[method-assign]
        exchange = qerko.ask(till.pos(), "getBill")
        response = till.post("reply", {"id": exchange.event_id, "event": "getBill", "result": BILL})

    assert response.status_code == 404
    assert findings(qerko) == []


def test_what_is_cut_cancels_a_payment() -> None:
    with playing(cut=ALWAYS) as (qerko, till):
        story = qerko.pay(till.pos(), BILL)

    assert story.payment.history == ("STARTED", "CANCELLED")


def test_everything_is_delivered_twice_at_once_or_one_after_the_other() -> None:
    with playing(twice=ALWAYS) as (qerko, till):
        exchanges = [qerko.ask(till.pos(), "getBill") for _ in range(6)]
        times = Counter(received.document["id"] for received in till.received)

    assert times == dict.fromkeys((exchange.event_id for exchange in exchanges), 2)
    assert all(exchange.is_answered for exchange in exchanges)
    assert len(qerko.conversation) == 12


def test_an_answer_to_either_of_two_is_an_answer() -> None:
    turns = []
    with playing(twice=ALWAYS) as (qerko, till):
        for _ in range(6):
            till.answers["getBill"] = iter([(503, {"message": "B"}), later(BILL)])
            turns.append(qerko.ask_and_wait(till.pos(), "getBill"))

    assert all(turn.is_answered for turn in turns)
    assert {turn.answer["id"] for turn in turns} == {"42"}


def test_a_payment_is_overtaken_by_its_end() -> None:
    with playing(reorder=ALWAYS) as (qerko, till):
        story = qerko.pay(till.pos(), BILL)
        assert qerko.await_errands(20)
        events = heard(till)

    assert story.payment.history == ("STARTED", "CANCELLED")
    assert sorted(events) == ["paymentClosed", "paymentStart"]


def test_the_question_for_a_receipt_is_overtaken_by_the_end() -> None:
    with playing() as (qerko, till):
        story = qerko.start_payment(till.pos(), BILL)
        qerko.misbehaviour.overtaken_by = lambda: 0.3  # type: ignore[method-assign]
        story = qerko.close_payment(qerko.process_payment(story))
        assert heard(till) == ["paymentStart", "paymentClosed"]
        assert qerko.await_errands(20)
        events = heard(till)

    assert story.is_paid
    assert events == ["paymentStart", "paymentClosed", "paymentProcessed"]


def test_members_that_nobody_knows_stand_at_every_depth() -> None:
    with playing(unknown_members=True) as (qerko, till):
        qerko.pay(till.pos(), BILL, payment_id="p-1")
        qerko.ask(till.pos(), "getTableList")
        asked = till.post("get-payment", {"paymentId": "p-1"}).json()
        known = till.post("who-am-i", {}).json()
        document = till.received[0].document
        nothing = till.received[-1].document

    payment = document["data"]["payment"]
    for told in (document, document["data"], payment, payment["items"][0], payment["parts"][0]["provider"], asked):
        assert told[NEWS]
    assert known[0][NEWS]
    assert (payment["additionalData"], payment["items"][0]["additionalData"]) == ({"waiter": "Jan"}, {"plu": 7})
    assert nothing["data"] is None
    assert events.read_event(document).payment_id == "p-1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("schemes", [["rfc9421"], ["hmac-sha256"], ["rfc9421", "hmac-sha256"]])
def test_a_forgery_comes_before_what_is_genuine_and_breaks_each_signature(schemes: list[str]) -> None:
    with playing(forge=ALWAYS) as (qerko, till):
        for _ in range(8):
            qerko.ask(till.pos(), "getBill", schemes=schemes)
        forged, genuine = till.received[0::2], till.received[1::2]

    assert not any(received.hmac_holds for received in forged)
    assert not any("Signature-Input" in received.headers and received.rfc9421_holds for received in forged)
    assert all(received.hmac_holds or received.rfc9421_holds for received in genuine)
    assert [exchange.expected for exchange in qerko.conversation] == [401, 200] * 8
    assert findings(qerko) == ["a forged delivery is answered 401, not 200 (protocol section 2)"] * 8


def test_a_forgery_that_was_asked_for_comes_alone() -> None:
    with playing(forge=ALWAYS, twice=ALWAYS) as (qerko, till):
        qerko.ask(till.pos(), "getBill", tamper="body")

        assert len(till.received) == 1


# -- In the background ----------------------------------------------------------------------------


def test_pauses_grow_up_to_the_longest_and_end_with_the_whole() -> None:
    assert list(Pauses(first=1, longest=4, whole=12)) == [1, 2, 4, 4]
    endless = iter(Pauses(first=1, longest=3))
    assert [next(endless) for _ in range(5)] == [1, 2, 3, 3, 3]


def trying(results: list[Any]) -> Callable[[], bool]:
    def work() -> bool:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return bool(result)

    return work


def test_something_is_tried_until_it_is_done(caplog: pytest.LogCaptureFixture) -> None:
    errands, results = Errands(), [False, ValueError("broken"), True, True]
    errands.persist(trying(results), [0.0] * 10)

    assert errands.wait(10)
    assert results == [True]
    assert "What Qerko tries again broke" in caplog.text
    errands.close()


def test_something_is_tried_until_the_pauses_are_over() -> None:
    errands, results = Errands(), [False] * 5
    errands.persist(trying(results), [0.0] * 3)

    assert errands.wait(10)
    assert len(results) == 2
    errands.close()


def test_what_breaks_in_the_background_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    errands = Errands()
    errands.begin(trying([ValueError("broken")]))

    assert errands.wait(10)
    assert "What Qerko does in the background broke" in caplog.text
    errands.close()


def test_many_errands_share_a_few_threads_and_the_earliest_comes_first() -> None:
    errands, done = Errands(), list[int]()
    for number in range(40):
        errands.begin(partial(done.append, number), after=(40 - number) / 200)

    assert not errands.wait(0.01)
    assert errands.wait(10)
    assert sorted(done) == list(range(40))
    assert done[0] > done[-1]
    errands.close()


def test_nothing_is_left_running_when_it_is_closed() -> None:
    errands, done = Errands(), list[int]()
    closed = threading.Event()

    def close() -> None:
        errands.close()
        closed.set()

    errands.begin(lambda: done.append(1), after=60)
    errands.begin(close)
    assert closed.wait(10)
    errands.close()
    errands.begin(lambda: done.append(2))

    assert errands.wait(10)
    assert done == []
    assert not any(thread.name == "qerko-errand" for thread in threading.enumerate())


def silent(_: Any) -> None:
    threading.Event().wait(2)


def test_whoever_is_called_is_hung_up_on_when_qerko_closes() -> None:
    with playing() as (qerko, till):
        till.misbehave = silent
        exchanges: list[Exchange] = []
        asking = threading.Thread(target=lambda: exchanges.append(qerko.ask(till.pos(), "getBill")))
        asking.start()
        while not till.received:
            time.sleep(0.01)
        qerko.close()
        asking.join(1.5)
        assert not asking.is_alive()
        afterwards = qerko.ask(till.pos(), "getBill")

    for exchange in (*exchanges, afterwards):
        assert (exchange.error, exchange.is_cut, exchange.findings) == ("the sandbox was closed", True, ())


def test_nobody_waits_for_a_reply_when_qerko_closes() -> None:
    with playing() as (qerko, till):
        till.answers["getBill"] = Later(letters=[])
        closing = threading.Timer(0.2, qerko.close)
        closing.start()
        began = time.monotonic()
        turn = qerko.ask_and_wait(till.pos(), "getBill")

    assert turn.reply is None
    assert time.monotonic() - began < 10

"""A reply waits, is taken up by one at a time, and comes to one end; each attempt at it is counted."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from pytest_django import DjangoAssertNumQueries

from django_qerko.keys import ApiKey
from django_qerko.models import Attempt, Reply, Restaurant
from tests.deliveries import KEY, OTHER_KEY
from tests.records import NOON, SECOND, enter, knock, store

THIRD_KEY = ApiKey("aaaa-aaaa-aaaa-aaaa-aaaa-aaaa")
CLAIM: dict[str, Any] = {"claim": uuid.UUID(int=1), "claimed_until": NOON + 5 * SECOND}
#: Each ends a reply, or lays it back.
VERBS: dict[str, Callable[[Reply], bool]] = {
    "delivered": lambda reply: reply.mark_delivered(at=NOON + 2 * SECOND),
    "refused": lambda reply: reply.mark_refused(at=NOON + 2 * SECOND, reason="BAD_PAYLOAD"),
    "stale": lambda reply: reply.mark_stale(at=NOON + 2 * SECOND, reason="too late"),
    "waiting": lambda reply: reply.wait_until(NOON + 3 * SECOND),
}
every_verb = pytest.mark.parametrize(("state", "verb"), VERBS.items(), ids=VERBS)


@pytest.fixture
def reply(restaurant: Restaurant) -> Reply:
    """A reply that waits: it may leave from 12:00:01 on, and until 12:00:15."""
    return store(enter(restaurant, "paymentStart", event_id="a"))


def take_up(reply: Reply, at: datetime) -> Reply | None:
    return Reply.objects.take_up(reply.pk, at=at, until=at + 5 * SECOND, grace=SECOND)


def kept(reply: Reply) -> dict[str, Any]:
    names = ("state", "reason", "claim", "claimed_until", "next_attempt_at", "finished_at")
    return dict(Reply.objects.filter(pk=reply.pk).values(*names).get())


# -- What the database takes -------------------------------------------------------------------------


@pytest.mark.parametrize("state", Reply.State.values)
def test_a_reply_in_any_of_its_states_is_taken(restaurant: Restaurant, state: str) -> None:
    reply = store(enter(restaurant, event_id="a"), state=state)

    assert str(reply) == f"reply {reply.pk} to getBill a"
    assert reply.is_waiting == (state == "waiting")
    assert not reply.is_error


def test_a_reply_that_is_claimed_is_taken(restaurant: Restaurant) -> None:
    assert store(enter(restaurant), **CLAIM).is_waiting


def test_a_new_reply_may_leave_at_once(restaurant: Restaurant) -> None:
    reply = Reply(event=enter(restaurant), answer=b"null", deadline_at=NOON + 15 * SECOND)

    reply.begin_waiting(at=NOON)
    reply.save()

    assert Reply.objects.due(NOON).get() == reply


def test_a_reply_may_be_stale_from_the_beginning(restaurant: Restaurant) -> None:
    reply = Reply(event=enter(restaurant), answer=b"null", deadline_at=NOON)

    reply.begin_stale(at=NOON + SECOND)
    reply.save()

    assert kept(reply)["state"] == "stale"
    assert kept(reply)["finished_at"] == NOON + SECOND
    assert "after the deadline" in kept(reply)["reason"]


@pytest.mark.parametrize(
    ("state", "changes", "constraint"),
    [
        ("waiting", {"state": "lost"}, "qerko_reply_"),
        ("delivered", {"state": "lost"}, "qerko_reply_state"),
        ("waiting", {"next_attempt_at": None}, "qerko_reply_waits_or_is_finished"),
        ("waiting", {"finished_at": NOON}, "qerko_reply_waits_or_is_finished"),
        ("delivered", {"next_attempt_at": NOON}, "qerko_reply_waits_or_is_finished"),
        ("refused", {"finished_at": None}, "qerko_reply_waits_or_is_finished"),
        ("stale", {"state": "waiting"}, "qerko_reply_waits_or_is_finished"),
        ("waiting", CLAIM | {"claimed_until": None}, "qerko_reply_claim"),
        ("waiting", CLAIM | {"claim": None}, "qerko_reply_claim"),
        ("delivered", CLAIM, "qerko_reply_claim"),
        ("stale", CLAIM, "qerko_reply_claim"),
        ("waiting", {"event_id": None}, "event_id"),
        ("waiting", {"answer": None}, "answer"),
        ("waiting", {"deadline_at": None}, "deadline_at"),
    ],
)
def test_the_database_refuses_a_reply_that_cannot_be(
    restaurant: Restaurant, state: str, changes: dict[str, Any], constraint: str
) -> None:
    reply = store(enter(restaurant), state=state)

    with pytest.raises(DatabaseError, match=constraint), transaction.atomic(using=reply._state.db):
        Reply.objects.filter(pk=reply.pk).update(**changes)


@pytest.mark.parametrize("outcome", Attempt.Outcome.values)
@pytest.mark.parametrize("status", [None, 100, 599])
def test_an_attempt_with_any_outcome_is_taken(reply: Reply, outcome: str, status: int | None) -> None:
    attempt = knock(reply, outcome=outcome, status=status)

    assert str(attempt) == f"attempt 1: {outcome}"


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"number": 0}, "qerko_attempt_counts_from_one"),
        ({"number": -1}, "number|qerko_attempt_counts_from_one"),
        ({"outcome": "lost"}, "qerko_attempt_outcome"),
        ({"status": 99}, "qerko_attempt_status"),
        ({"status": 600}, "qerko_attempt_status"),
        ({"reply_id": None}, "reply_id"),
        ({"started_at": None}, "started_at"),
        ({"duration": None}, "duration"),
    ],
)
def test_the_database_refuses_an_attempt_that_cannot_be(reply: Reply, changes: dict[str, Any], constraint: str) -> None:
    attempt = knock(reply)

    with pytest.raises(DatabaseError, match=constraint), transaction.atomic(using=attempt._state.db):
        Attempt.objects.filter(pk=attempt.pk).update(**changes)


def test_an_attempts_number_is_taken_once(reply: Reply) -> None:
    knock(reply, number=1)

    with pytest.raises(IntegrityError), transaction.atomic(using=reply._state.db):
        knock(reply, number=1)

    assert knock(store(reply.event), number=1).number == 1


def test_attempts_stand_in_their_order(reply: Reply) -> None:
    for number in (2, 3, 1):
        knock(reply, number=number)

    assert [attempt.number for attempt in reply.attempts.all()] == [1, 2, 3]


def test_replies_and_attempts_go_with_their_event(reply: Reply) -> None:
    knock(reply)

    reply.event.delete()

    assert not Reply.objects.exists()
    assert not Attempt.objects.exists()


# -- Which are due, and who has them -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "is_due", "is_overdue"),
    [(0, False, False), (1, True, False), (14.999, True, False), (15, False, True), (16, False, True)],
)
def test_a_reply_is_due_from_its_next_attempt_until_its_deadline(
    reply: Reply, seconds: float, is_due: bool, is_overdue: bool
) -> None:
    at = NOON + seconds * SECOND

    assert Reply.objects.due(at).exists() == is_due
    assert Reply.objects.overdue(at).exists() == is_overdue
    assert Reply.objects.unclaimed(at).exists()


@pytest.mark.parametrize(("seconds", "is_abandoned"), [(4, False), (5, True), (6, True)])
def test_a_claimed_reply_is_due_again_once_its_claim_ran_out(
    restaurant: Restaurant, seconds: float, is_abandoned: bool
) -> None:
    store(enter(restaurant), **CLAIM)
    at = NOON + seconds * SECOND

    assert Reply.objects.unclaimed(at).exists() == is_abandoned
    assert Reply.objects.due(at).exists() == is_abandoned


@pytest.mark.parametrize(("seconds", "is_overdue"), [(15, False), (17, True)])
def test_a_reply_that_is_being_sent_is_not_overdue(restaurant: Restaurant, seconds: float, is_overdue: bool) -> None:
    store(enter(restaurant), claim=uuid.UUID(int=1), claimed_until=NOON + 16 * SECOND)

    assert Reply.objects.overdue(NOON + seconds * SECOND).exists() == is_overdue


@pytest.mark.parametrize("state", ["delivered", "refused", "stale"])
def test_a_reply_that_is_finished_is_never_due(restaurant: Restaurant, state: str) -> None:
    store(enter(restaurant), state=state)

    assert not Reply.objects.waiting().exists()
    assert not Reply.objects.due(NOON + 5 * SECOND).exists()
    assert not Reply.objects.overdue(NOON + 60 * SECOND).exists()
    assert Reply.objects.delivered().exists() == (state == "delivered")


def test_of_two_that_take_up_a_reply_one_has_it(reply: Reply) -> None:
    ours = take_up(reply, NOON + SECOND)

    assert ours == reply
    assert ours is not None
    assert kept(reply)["claim"] == ours.claim
    assert kept(reply)["claimed_until"] == NOON + 6 * SECOND
    assert take_up(reply, NOON + SECOND) is None
    assert take_up(reply, NOON + 5.9 * SECOND) is None


def test_an_abandoned_claim_is_taken_up_and_its_holder_has_lost_it(reply: Reply) -> None:
    lost = take_up(reply, NOON + SECOND)

    found = take_up(reply, NOON + 6 * SECOND)

    assert lost is not None
    assert found is not None
    assert lost.claim != found.claim
    assert not any(verb(lost) for state, verb in VERBS.items() if state != "delivered")
    # What Qerko took must not be sent again, whoever holds it by now.
    assert lost.mark_delivered(at=NOON + 7 * SECOND)
    assert not found.mark_delivered(at=NOON + 7 * SECOND)


def test_a_claim_runs_out_soon_after_the_deadline(reply: Reply) -> None:
    take_up(reply, NOON + 12 * SECOND)

    assert kept(reply)["claimed_until"] == NOON + 16 * SECOND


@pytest.mark.parametrize("seconds", [0, 15, 60])
def test_what_is_not_due_is_not_taken_up(reply: Reply, seconds: int) -> None:
    before = kept(reply)

    assert take_up(reply, NOON + seconds * SECOND) is None
    assert kept(reply) == before


def test_what_is_not_there_is_not_taken_up(reply: Reply) -> None:
    assert Reply.objects.take_up(reply.pk + 1, at=NOON + SECOND, until=NOON + 5 * SECOND, grace=SECOND) is None


# -- What happens to them ----------------------------------------------------------------------------


@every_verb
@pytest.mark.parametrize("is_claimed", [True, False])
def test_a_reply_comes_to_its_end_or_waits_again(
    reply: Reply, state: str, verb: Callable[[Reply], bool], is_claimed: bool
) -> None:
    ours = take_up(reply, NOON + SECOND) if is_claimed else reply
    assert ours is not None

    assert verb(ours)

    is_finished = state != "waiting"
    assert kept(reply) == {
        "state": state,
        "reason": {"refused": "BAD_PAYLOAD", "stale": "too late"}.get(state, ""),
        "claim": None,
        "claimed_until": None,
        "next_attempt_at": None if is_finished else NOON + 3 * SECOND,
        "finished_at": NOON + 2 * SECOND if is_finished else None,
    }
    assert {name: getattr(ours, name) for name in kept(reply)} == kept(reply)


@every_verb
@pytest.mark.parametrize("end", ["delivered", "refused", "stale"])
def test_what_is_finished_stays_as_it_is(
    restaurant: Restaurant, state: str, verb: Callable[[Reply], bool], end: str
) -> None:
    reply = store(enter(restaurant))
    behind = Reply.objects.get()
    VERBS[end](reply)
    before = kept(reply)

    assert not verb(reply)
    assert not verb(behind)
    assert kept(reply) == before
    assert behind.state == "waiting"


@every_verb
def test_who_did_not_claim_a_reply_changes_nothing(reply: Reply, state: str, verb: Callable[[Reply], bool]) -> None:
    take_up(reply, NOON + SECOND)
    before = kept(reply)

    assert verb(reply) is (state == "delivered")
    assert (kept(reply) == before) is (state != "delivered")


# -- Its letterhead, and lists -----------------------------------------------------------------------


def test_a_reply_is_taken_up_in_two_statements_with_all_that_sending_wants(
    reply: Reply, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    knock(reply)
    knock(reply)

    with django_assert_num_queries(2):
        ours = take_up(reply, NOON + SECOND)
        assert ours is not None
        wanted = (ours.event.event_id, ours.event.name, ours.event.restaurant.name, ours.api_key, ours.next_number)

    assert wanted == ("a", "paymentStart", "U Zlatého tygra", KEY, 3)
    assert bytes(ours.answer) == b'{"id":"42"}'


def test_replies_carry_the_newest_key_of_their_restaurant_in_one_statement(
    reply: Reply, restaurant: Restaurant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    restaurant.add_key(OTHER_KEY)
    other = Restaurant.objects.create(name="U Fleků")
    other.add_key(THIRD_KEY)
    store(enter(other))

    with django_assert_num_queries(1):
        keys = {each.event.restaurant.name: each.api_key for each in Reply.objects.with_letterhead()}

    assert keys == {"U Zlatého tygra": OTHER_KEY, "U Fleků": THIRD_KEY}


def test_the_first_attempt_has_the_number_one(reply: Reply) -> None:
    assert Reply.objects.with_letterhead().get().next_number == 1


def test_a_restaurant_without_a_key_says_so(reply: Reply, restaurant: Restaurant) -> None:
    restaurant.keys.all().delete()

    with pytest.raises(ValueError, match="no API key"):
        _ = Reply.objects.with_letterhead().get().api_key


def test_a_key_that_cannot_be_read_says_so(reply: Reply, restaurant: Restaurant) -> None:
    restaurant.keys.update(secret="of an encryption key that is gone")

    with pytest.raises(ValueError, match="cannot be read"):
        _ = Reply.objects.with_letterhead().get().api_key


def test_lists_read_nothing_large(reply: Reply, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    knock(reply)

    with django_assert_num_queries(2) as statements:
        told = [str(each.event.restaurant) for each in Reply.objects.in_brief()]
        tried = [str(each.reply.event.restaurant) for each in Attempt.objects.in_brief()]

    assert told == tried == ["U Zlatého tygra"]
    read = " ".join(query["sql"] for query in statements.captured_queries)
    assert not any(column in read for column in ("answer", "payload", "headers"))


def test_replies_are_found_by_when_their_event_came(reply: Reply, restaurant: Restaurant) -> None:
    store(enter(restaurant, received_at=NOON - SECOND))

    assert Reply.objects.to_events_since(NOON).get() == reply


def test_delays_are_those_of_the_newest_events_whose_reply_arrived(restaurant: Restaurant) -> None:
    for seconds in (1, 2, 3):
        store(enter(restaurant, promised_at=NOON), state="delivered", finished_at=NOON + timedelta(seconds=seconds))
    store(enter(restaurant, promised_at=NOON))

    assert Reply.objects.delays(2) == [3 * SECOND, 2 * SECOND]

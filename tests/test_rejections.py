"""How what was turned away is counted and sampled."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import RequestFactory
from django.utils import timezone

from django_qerko.exceptions import Forged
from django_qerko.exceptions import Rejection as Turned
from django_qerko.models import Rejection, Restaurant
from django_qerko.models.rejection import SAMPLES_KEPT, RejectionQuerySet
from django_qerko.receiving.rejections import Counter, rejected_at, sample_of


def forged(restaurant: Restaurant | None = None, body: bytes = b"") -> Forged:
    with pytest.raises(Forged) as turned, rejected_at(restaurant, body):
        raise Forged("signature_mismatch")
    return turned.value


@pytest.fixture
def counter() -> Counter:
    return Counter(every=None)


def test_counts_add_up_by_restaurant_and_reason(restaurant: Restaurant, counter: Counter) -> None:
    for _ in range(3):
        counter.note(forged(restaurant), {"n": 1})
    counter.note(forged(), {"n": 2})
    counter.write()
    counter.note(forged(restaurant), {"n": 3})
    counter.write()
    counter.write()

    rows = {row.restaurant: row for row in Rejection.objects.all()}
    assert {key: row.number for key, row in rows.items()} == {restaurant: 4, None: 1}
    assert rows[restaurant].samples == [{"n": 3}]
    assert Rejection.objects.by_reason() == {"signature_mismatch": 5}
    assert str(rows[None]) == "signature_mismatch: 1"


def test_samples_are_few(restaurant: Restaurant, counter: Counter) -> None:
    for number in range(10):
        counter.note(forged(restaurant), {"n": number})
    counter.write()

    assert Rejection.objects.get().samples == [{"n": number} for number in range(10 - SAMPLES_KEPT, 10)]


def test_an_hour_that_another_process_opens_meanwhile_is_added_to(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    how: dict[str, Any] = {"restaurant_id": restaurant.pk, "reason": "x", "hour": now, "at": now, "samples": []}
    Rejection.objects.add(number=5, **how)
    update = RejectionQuerySet.update

    def update_early(self: RejectionQuerySet, **changes: Any) -> int:
        monkeypatch.setattr(RejectionQuerySet, "update", update)
        return 0

    monkeypatch.setattr(RejectionQuerySet, "update", update_early)
    Rejection.objects.add(number=2, **how)

    assert Rejection.objects.get().number == 7


def test_what_the_database_does_not_take_is_kept(
    restaurant: Restaurant, counter: Counter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise OperationalError("no database")

    counter.note(forged(restaurant), {"n": 1})
    with monkeypatch.context() as without:
        without.setattr(RejectionQuerySet, "add", gone)
        counter.write()
    assert "could not be written now" in caplog.text

    counter.note(forged(restaurant), {"n": 2})
    counter.write()

    assert (Rejection.objects.get().number, Rejection.objects.get().samples) == (2, [{"n": 1}, {"n": 2}])


@pytest.mark.django_db(transaction=True)
def test_the_counts_of_a_restaurant_that_is_gone_are_gone(counter: Counter) -> None:
    counter.note(forged(Restaurant(pk=10**9, name="gone")), {})

    counter.write()
    counter.write()

    assert not Rejection.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_thread_writes_by_itself_and_hangs_up(transactional_restaurant: Restaurant) -> None:
    turned = forged(transactional_restaurant)
    counter = Counter(every=0.5)
    counter.note(turned, {})
    thread = counter._thread
    assert thread is not None
    counter.note(turned, {})
    thread.join()

    assert Rejection.objects.get().number == 2
    assert counter._thread is None


def test_where_no_thread_can_be_had_the_next_rejection_tries_again(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    counter = Counter(every=60)
    with monkeypatch.context() as without:
        without.setattr(threading.Timer, "start", exhausted)
        counter.note(forged(restaurant), {})
    counter.note(forged(restaurant), {})
    thread = counter._thread
    assert thread is not None
    assert thread.is_alive()
    thread.cancel()

    counter.write()

    assert Rejection.objects.get().number == 2


def test_a_fork_starts_with_an_empty_counter_and_a_thread_of_its_own(restaurant: Restaurant) -> None:
    counter = Counter(every=60)
    counter.note(forged(restaurant), {})
    parents = counter._thread

    counter._begin()  # what a child does first
    counter.write()
    assert not Rejection.objects.exists()
    counter.note(forged(restaurant), {})
    childs = counter._thread
    counter.write()

    assert Rejection.objects.get().number == 1
    assert childs is not parents
    for thread in (parents, childs):
        assert thread is not None
        thread.cancel()


def test_a_sample_holds_lengths_and_digests_and_never_the_body() -> None:
    body = b'{"secret": "of the guest"}'
    headers = {"Signature": "sig=:c2VjcmV0:", "Signature-Input": "sig=()\0", "Authorization": "Bearer secret"}
    headers |= {f"X-{number}": "x" * 9000 for number in range(100)}
    request = RequestFactory().post("/", data=body, content_type="application/json", headers=headers)

    sample = sample_of(request, forged(body=body))

    assert (sample["method"], sample["body_length"]) == ("POST", len(body))
    assert len(sample["body_sha256"]) == 64
    assert sample["headers"]["Signature-Input"] == "sig=()\\x00"
    text = json.dumps(sample)
    assert "secret" not in text
    assert "c2VjcmV0" not in text
    assert len(text) < 4096


def test_an_hour_ends(restaurant: Restaurant) -> None:
    now = timezone.now()
    for ago in (0, 1):
        at = now - timedelta(hours=ago)
        Rejection.objects.add(restaurant_id=None, reason="x", hour=at, at=at, number=1, samples=[])

    assert Rejection.objects.count() == 2
    assert Rejection.objects.since(now - timedelta(minutes=1)).count() == 1


def test_a_rejection_says_its_own_sentence_where_there_is_no_finding() -> None:
    assert Turned("x").finding == "The delivery was turned away."
    assert logging.getLogger("django_qerko").propagate

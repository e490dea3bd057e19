"""What follows from Qerko's word is arithmetic, and so is when it is asked again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_qerko import events
from django_qerko.tending.weighing import Heard, Verdict, pause, weigh, weigh_after_cancelling, word
from tests.deliveries import SAMPLES

MINUTE = timedelta(minutes=1)
PATIENCE = 2 * MINUTE


def heard(state: object) -> Heard:
    """What Qerko says; ``404`` where it knows nothing."""
    if state == 404:
        return Heard()
    document: dict[str, Any] = SAMPLES["paymentStart"]["payment"] | {"state": state}
    return Heard(told=events.Payment.model_validate(document), document=document)


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("superseded", [False, True])
@pytest.mark.parametrize("age", [0, 1, 2, 600])
def test_paid_is_settled_however_it_came(age: int, superseded: bool, by_hand: bool) -> None:
    verdict = weigh(heard("PAID"), age=age * MINUTE, patience=PATIENCE, is_superseded=superseded, by_hand=by_hand)

    assert verdict is Verdict.SETTLE


@pytest.mark.parametrize(
    ("state", "minutes", "superseded", "by_hand", "verdict"),
    [
        (404, 1.9, False, False, Verdict.LEAVE),
        (404, 2, False, False, Verdict.CANCEL),
        (404, 0, False, True, Verdict.CANCEL),
        (404, 1.9, True, False, Verdict.LEAVE),
        (404, 2, True, False, Verdict.CANCEL),
        (404, 0, True, True, Verdict.CANCEL),
        ("STARTED", 600, False, False, Verdict.LEAVE),
        ("DECLINED", 600, False, True, Verdict.LEAVE),
        ("paid", 600, False, True, Verdict.LEAVE),
        (None, 600, False, True, Verdict.LEAVE),
        ("STARTED", 1.9, True, False, Verdict.LEAVE),
        ("STARTED", 1.9, True, True, Verdict.LEAVE),
        ("STARTED", 2, True, False, Verdict.CANCEL),
        (None, 2, True, True, Verdict.CANCEL),
    ],
)
def test_what_is_not_paid_is_cancelled_only_where_that_is_sure(
    state: object, minutes: float, superseded: bool, by_hand: bool, verdict: Verdict
) -> None:
    weighed = weigh(heard(state), age=minutes * MINUTE, patience=PATIENCE, is_superseded=superseded, by_hand=by_hand)

    assert weighed is verdict


@pytest.mark.parametrize(
    ("state", "taken", "was", "verdict"),
    [
        ("PAID", True, ["STARTED"], Verdict.SETTLE),
        ("PAID", False, ["STARTED"], Verdict.SETTLE),
        ("PAID", True, ["PAID"], Verdict.SETTLE),
        (404, True, ["STARTED"], Verdict.CANCEL),
        (404, False, ["STARTED"], Verdict.CANCEL),
        ("CANCELLED", True, ["STARTED"], Verdict.CANCEL),
        ("CANCELLED", False, ["STARTED"], Verdict.LEAVE),
        ("STARTED", True, ["STARTED"], Verdict.LEAVE),
        ("PROCESSED", True, ["STARTED", "PROCESSED"], Verdict.LEAVE),
        ("PROCESSED", True, ["STARTED"], Verdict.CANCEL),
        ("CANCELLED", True, ["STARTED", "PROCESSED"], Verdict.CANCEL),
        (None, True, [None], Verdict.LEAVE),
        ("CANCELLED", True, [None], Verdict.CANCEL),
    ],
)
def test_a_wish_to_cancel_is_judged_by_the_state_that_follows(
    state: object, taken: bool, was: list[object], verdict: Verdict
) -> None:
    assert weigh_after_cancelling(heard(state), was_taken=taken, was=was) is verdict


@pytest.mark.parametrize(
    ("asked_for", "first", "waits"),
    [
        (0, 2, 2),
        (2, 2, 2),
        (4, 2, 4),
        (32, 2, 32),
        (64, 2, 60),
        (100_000, 2, 60),
        (0, 90, 90),
        (500, 90, 90),
    ],
)
def test_pauses_double_up_to_an_hour(asked_for: int, first: int, waits: int) -> None:
    assert pause(asked_for * MINUTE, first * MINUTE) == waits * MINUTE


@pytest.mark.parametrize(
    ("state", "kept"), [("PAID", "PAID"), (None, "UNKNOWN"), ("", "UNKNOWN"), (7, "7"), ("x" * 300, "x" * 255)]
)
def test_a_state_is_kept_as_it_came_where_it_can_be(state: object, kept: str) -> None:
    assert word(state) == kept

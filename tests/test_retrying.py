"""Qerko is knocked at as often as is decent, and never too late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_qerko.replying.retrying import next_attempt, pause_before_handling

AMPLE = 1000.0
#: Up to the largest number below 1 that ``random.random()`` gives.
dice = st.floats(min_value=0, max_value=1, exclude_max=True)

WAITS = [
    # after attempt, seconds left, dice, seconds to wait
    (1, AMPLE, 0.5, 0.2),
    (2, AMPLE, 0.5, 0.4),
    (3, AMPLE, 0.5, 0.8),
    (4, AMPLE, 0.5, 1.6),
    (5, AMPLE, 0.5, 3.0),
    (6, AMPLE, 0.5, 3.0),
    (10_000, AMPLE, 0.5, 3.0),
    (1, AMPLE, 0.0, 0.15),
    (1, AMPLE, 0.999999, 0.25),
    (6, AMPLE, 0.0, 2.25),
    (6, AMPLE, 0.999999, 3.75),
    # a last attempt comes before its usual time
    (6, 3.0, 0.0, 2.25),
    (6, 2.0, 0.0, 1.75),
    (6, 2.0, 0.5, 1.625),
    (6, 2.0, 0.999999, 1.5),
    (1, 0.4, 0.0, 0.15),
    (1, 0.36, 0.0, 0.11),
    # nothing is worth it any more
    (1, 0.34, 0.0, None),
    (1, 0.59, 0.999999, None),
    (6, 0.2, 0.0, None),
    (1, 0.0, 0.0, None),
    (1, -5.0, 0.0, None),
]

PAUSES = [
    # broke so many times, rests so long
    (1, timedelta(seconds=1)),
    (2, timedelta(seconds=4)),
    (3, timedelta(seconds=15)),
    (4, timedelta(minutes=1)),
    (5, timedelta(minutes=5)),
    (6, timedelta(minutes=30)),
    (7, timedelta(hours=1)),
    (8, timedelta(hours=1)),
    (10_000, timedelta(hours=1)),
]


@pytest.mark.parametrize(("number", "left", "thrown", "wait"), WAITS)
def test_after_an_attempt_comes_the_next(number: int, left: float, thrown: float, wait: float | None) -> None:
    assert next_attempt(number, left=left, dice=thrown) == pytest.approx(wait, abs=1e-5)


@given(number=st.integers(1, 10**6), left=st.floats(-20, 20), dice=dice)
def test_no_wait_reaches_the_deadline(number: int, left: float, dice: float) -> None:
    wait = next_attempt(number, left=left, dice=dice)

    assert wait is None or 0.1 <= wait <= left - 0.25


@given(dice=dice)
def test_a_silent_qerko_is_asked_eight_to_twelve_times_in_fifteen_seconds(dice: float) -> None:
    passed, attempts = 0.0, 1
    while (wait := next_attempt(attempts, left=15 - passed, dice=dice)) is not None:
        passed, attempts = passed + wait, attempts + 1

    assert 8 <= attempts <= 12
    assert 15 - passed < 0.6


@pytest.mark.parametrize(("handlings", "pause"), PAUSES)
def test_a_tell_that_broke_rests_longer_each_time(handlings: int, pause: timedelta) -> None:
    assert pause_before_handling(handlings) == pause


def test_a_tell_is_handled_a_fourth_time_within_half_a_minute() -> None:
    assert sum(map(pause_before_handling, (1, 2, 3)), timedelta()) < timedelta(seconds=30)

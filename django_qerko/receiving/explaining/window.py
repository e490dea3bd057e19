"""Why a time window is not now."""

from __future__ import annotations

from collections.abc import Sequence

from django_qerko.receiving.explaining.causes import Cause
from django_qerko.signatures import Window


def explain_window(window: Window, *, judged: float, received: float, skew: float) -> list[Cause]:
    """The cause for which a window was refused at the moment ``judged``; none where it holds.

    ``received`` is when the first of the request came, before its body was read. All in Unix seconds.
    """
    created, expires = window.created, window.expires
    if created is None or expires is None:
        missing = " and ".join(name for name, at in (("created", created), ("expires", expires)) if at is None)
        return [Cause(name="window_missing", told=f"What was signed has no readable {missing}.")]
    if judged > expires:
        return [_expired(created, expires, judged=judged, received=received)]
    if created > judged + skew:
        told = (
            f"It was created {created - judged:.1f} s after it arrived, by this machine's clock, which is behind by so"
            f" much at least; {skew:g} s are tolerated."
        )
        return [Cause(name="clock_behind", told=told)]
    if created > expires:
        return [Cause(name="window_missing", told="It expires before it was created.")]
    return []


def _expired(created: float, expires: float, *, judged: float, received: float) -> Cause:
    late, age = f"{judged - expires:.1f} s", f"{judged - created:.1f} s"
    if received <= expires:
        told = (
            f"It was in time when it began to arrive; {judged - received:.1f} s later its body was there, and it had"
            f" expired {late} before."
        )
        return Cause(name="expired_while_read", told=told)
    told = (
        f"It expired {late} before it was judged, {age} after it was created; it was valid for {expires - created:g} s."
        f" Either it was held up on its way, or this machine's clock is ahead by {late} at least."
    )
    return Cause(name="expired", told=told)


def compare_ages(age: float, others: Sequence[float]) -> str:
    """What the ages of deliveries that were accepted around the same time say about one that had expired.

    Ages are seconds from ``created`` to arrival, by this machine's clock: all have its error.
    """
    if not others:
        return (
            "No delivery was accepted in the quarter of an hour around it. If all are as late, the clock is ahead; if"
            " some come in time, this one was held up."
        )
    usual = min(others)
    accepted = f"Of {len(others)} accepted in the quarter of an hour around it the quickest came {usual:.1f} s after"
    if 2 * usual > age:
        return (
            f"{accepted} it was created, which is late as well: this machine's clock is ahead by about that, or"
            " everything is held up on its way."
        )
    return (
        f"{accepted} it was created, so the clock is not the cause: this one was held up on its way, for about"
        f" {age - usual:.1f} s."
    )

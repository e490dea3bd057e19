"""Ask Qerko about payments of which no end was heard, and see to it that what it says is done here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import takewhile
from typing import Final

from django.db import router
from django.utils import timezone

from django_qerko.conf import conf
from django_qerko.exceptions import CallFailed, StepRefused
from django_qerko.models import Bill, Payment, WebhookEvent
from django_qerko.models.kept import printable
from django_qerko.models.payment import PaymentQuerySet
from django_qerko.tending import asking, hearsay, unstarted, weighing
from django_qerko.tending.sweeping import GoesOn, unharmed
from django_qerko.tending.weighing import Heard, Verdict

log: Final = logging.getLogger(__name__)

#: Rows looked at in one round, per kind; the next round goes on.
_ROWS: Final = 500
#: Seconds for which a round begins further questions: the next is there after a minute.
ROUND: Final = 50.0


class Outcome(Enum):
    """What came of asking about a payment."""

    SETTLED = "settled"
    CANCELLED = "cancelled"
    LEFT = "left"
    #: It is known how it ended, and a handler broke over it, or is at it.
    TO_BE_HANDLED = "left to be handled again"
    #: Somebody else has the question, or heard the end.
    ELSEWHERE = "is seen to elsewhere"
    FAILED = "could not be asked"
    #: What would come of it.
    WOULD_SETTLE = "would be settled"
    WOULD_CANCEL = "would be cancelled"
    WOULD_LEAVE = "would be left"


_FORESEEN: Final = {
    Verdict.SETTLE: Outcome.WOULD_SETTLE,
    Verdict.CANCEL: Outcome.WOULD_CANCEL,
    Verdict.LEAVE: Outcome.WOULD_LEAVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What Qerko said of a payment, and what came of it."""

    outcome: Outcome
    heard: Heard | None = None
    failure: CallFailed | None = None


def ask_due(*, goes_on: GoesOn = lambda _: True, seconds: float = ROUND) -> int:
    """Ask about everything that is due, and say about how much Qerko was asked; safe beside others that do the same.

    ``goes_on`` is asked before each row. After ``seconds`` the rest is left to the next round, because each question
    may take as long as Qerko does.

    Raises OperationalError or InterfaceError where the database cannot be reached.
    """
    now, until = timezone.now(), time.monotonic() + seconds

    def ask(question: Callable[[int], bool], due: Iterable[int]) -> int:
        in_time = takewhile(lambda key: time.monotonic() < until and goes_on(key), list(due))
        return sum(unharmed(question, key) for key in in_time)

    payments = _book().to_be_asked_about(now).order_by("next_question_at")
    records = unstarted.book().to_be_asked_about(now).order_by("next_handling_at")
    return ask(ask_about_payment, payments.values_list("pk", flat=True)[:_ROWS]) + ask(
        unstarted.ask_about_event, records.values_list("pk", flat=True)[:_ROWS]
    )


def ask_about_payment(key: int) -> bool:
    """Ask about a payment whose next question is due; say whether Qerko was asked."""
    due = _book().to_be_asked_about(timezone.now() + asking.SKEW)
    payment = due.select_related("restaurant", "bill").filter(pk=key).first()
    return payment is not None and reconcile(payment).outcome is not Outcome.ELSEWHERE


def reconcile(payment: Payment, *, by_hand: bool = False) -> Asked:
    """Ask about a payment in progress, due or not, and do what follows.

    What Qerko does not know is cancelled by hand however young it is, and else once it is older than
    ``RECONCILE_AFTER``. Where Qerko does not answer, the next question is asked after a growing pause.
    """
    if not payment.claim_question(next_at=_next_question(payment, timezone.now())):
        return Asked(outcome=Outcome.ELSEWHERE)
    try:
        heard = asking.ask(payment.restaurant, payment.payment_id)
    except CallFailed as failure:
        log.warning("Qerko could not be asked about payment %s: %s", payment, failure.reason)
        _look_again(payment)
        return Asked(outcome=Outcome.FAILED, failure=failure)
    _look_again(payment)
    return Asked(outcome=_follow(payment, heard, _weighed(payment, heard, by_hand=by_hand)), heard=heard)


def foresee(payment: Payment) -> Asked:
    """Ask about a payment in progress by hand, and change nothing."""
    try:
        heard = asking.ask(payment.restaurant, payment.payment_id)
    except CallFailed as failure:
        return Asked(outcome=Outcome.FAILED, failure=failure)
    return Asked(outcome=_FORESEEN[_weighed(payment, heard, by_hand=True)], heard=heard)


def take_back(payment: Payment) -> Payment:
    """Ask Qerko to cancel a payment, for a waiter who must take it back, and then what became of it.

    Qerko's state decides: ``PAID`` is settled as paid; what Qerko does not know is cancelled, and so is a payment that
    is not as it began any more, where Qerko took the request. Anything else stays in progress and is asked about again.

    Gives the payment as it then is. Raises StepRefused where it is paid already, and CallFailed where Qerko cannot be
    asked; what was asked of it may have been done then, and it is asked again. Qerko may take its time: call it outside
    a transaction.
    """
    _refresh(payment)
    if payment.is_paid:
        raise StepRefused(f"Payment {payment} is paid, and cannot be taken back.")
    if payment.is_cancelled:
        return payment
    payment.claim_question(next_at=_next_question(payment, timezone.now()))
    was = [payment.payload.get("state")]
    try:
        if payment.state == Payment.State.PROCESSED or was == [None]:
            # Qerko's word for where it stands was not told, so it is asked for.
            was.append(asking.ask(payment.restaurant, payment.payment_id).state)
        was_taken = asking.cancel(payment.restaurant, payment.payment_id)
        heard = asking.ask(payment.restaurant, payment.payment_id)
    except CallFailed:
        payment.hasten_question(at=timezone.now())
        raise
    _refresh(payment)
    _follow(payment, heard, weighing.weigh_after_cancelling(heard, was_taken=was_taken, was=was))
    payment.hasten_question(at=timezone.now())
    return payment


def _weighed(payment: Payment, heard: Heard, *, by_hand: bool) -> Verdict:
    return weighing.weigh(
        heard,
        age=timezone.now() - payment.created_at,
        patience=conf.RECONCILE_AFTER,
        is_superseded=payment.newer_start_at is not None or _was_ended(payment),
        by_hand=by_hand,
    )


def _was_ended(payment: Payment) -> bool:
    """Whether its end was told while a handler was at its beginning, and passed by."""
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent))
    return book.of_ended_payment(payment.restaurant, payment.payment_id).exists()


def _follow(payment: Payment, heard: Heard, verdict: Verdict) -> Outcome:
    """Do what follows, by the same verbs as if Qerko had told us."""
    if verdict is Verdict.LEAVE and payment.is_in_progress:
        return Outcome.LEFT
    # PAID wins, be it over an end that was heard while Qerko was asked.
    if not (payment.is_in_progress or (payment.is_cancelled and verdict is Verdict.SETTLE)):
        return Outcome.ELSEWHERE
    log.warning(
        "Qerko says %s of payment %s on bill %s, and had not told us",
        printable(heard.state),
        payment,
        payment.bill,
    )
    hearsay.say_closed(payment.restaurant, payment.payment_id, heard.state)
    _refresh(payment)
    if payment.is_paid:
        return Outcome.SETTLED
    return Outcome.CANCELLED if payment.is_cancelled else Outcome.TO_BE_HANDLED


def _look_again(payment: Payment) -> None:
    """What changed while Qerko was asked; what is too young to be cancelled is asked about when it is old enough."""
    _refresh(payment)
    old_at = payment.created_at + conf.RECONCILE_AFTER
    if timezone.now() < old_at:
        payment.hasten_question(at=old_at)


def _next_question(payment: Payment, now: datetime) -> datetime:
    since = payment.newer_start_at or payment.created_at
    return now + weighing.pause(now - since, conf.RECONCILE_AFTER)


def _refresh(payment: Payment) -> None:
    """Read it again where it is written, its bill with it."""
    alias, restaurant = router.db_for_write(Payment), payment.restaurant
    payment.refresh_from_db(using=alias)
    payment.restaurant, payment.bill = restaurant, Bill.objects.using(alias).get(pk=payment.bill_id)


def _book() -> PaymentQuerySet:
    return Payment.objects.using(router.db_for_write(Payment))

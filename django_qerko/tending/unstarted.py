"""Ask Qerko about payments that it told us are paid, and that never started here."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from django_qerko.conf import conf
from django_qerko.exceptions import CallFailed, Unconfirmed
from django_qerko.models import Bill, Payment, WebhookEvent
from django_qerko.models.event import WebhookEventQuerySet
from django_qerko.models.kept import printable
from django_qerko.tending import asking, hearsay, weighing
from django_qerko.tending.weighing import Heard

log: Final = logging.getLogger(__name__)


def book() -> WebhookEventQuerySet:
    """Read where it is written."""
    return WebhookEvent.objects.using(router.db_for_write(WebhookEvent))


def ask_about_event(key: int) -> bool:
    """Ask about the payment of a tell whose next question is due; say whether Qerko was asked.

    A payment that Qerko calls paid is recorded so, with an alarm. Where Qerko does not answer, it is asked again with
    growing pauses, for ``RETRY_TELLS``.
    """
    now = timezone.now()
    record = book().to_be_asked_about(now + asking.SKEW).select_related("restaurant").filter(pk=key).first()
    if record is None or record.payment_id is None:
        return False
    pause = weighing.pause(now - record.received_at, conf.RECONCILE_AFTER)
    if not record.claim_question(next_at=now + pause):
        return False
    try:
        heard = asking.ask(record.restaurant, record.payment_id)
        if heard.is_paid:
            _enter(record, record.payment_id, heard)
    except CallFailed as failure:
        _wait(record, failure, now + pause)
    else:
        _follow(record, record.payment_id, heard, now + pause)
    return True


def _follow(record: WebhookEvent, payment_id: str, heard: Heard, next_at: datetime) -> None:
    if heard.is_paid:
        hearsay.say_closed(record.restaurant, payment_id, heard.state)
        record.claim_question(next_at=None)
    else:
        # It may only not know yet what it told us a moment ago.
        log.error(
            "Qerko contradicts itself: it told in %s that payment %s of %s is paid, and says %s when it is asked. "
            "A person must look.",
            record,
            printable(payment_id),
            record.restaurant,
            printable(heard.state),
        )
        if next_at > record.received_at + conf.RETRY_TELLS:
            record.claim_question(next_at=None)


def _enter(record: WebhookEvent, payment_id: str, heard: Heard) -> None:
    """Enter the payment as one that came to nothing; that it is paid after all is then a step, with its alarm.

    Raises Unconfirmed where it is not known here, and Qerko told less than the whole of it.
    """
    alias = router.db_for_write(Payment)
    payments = Payment.objects.using(alias)
    if payments.known(record.restaurant, payment_id) is not None:
        return
    told = heard.told
    if told is None:
        raise Unconfirmed("It says that it is paid, and not what was paid.")
    try:
        with transaction.atomic(using=alias):
            bill = Bill.objects.using(alias).held(record.restaurant, told.bill_id, currency=told.currency)
            payments.refuse(
                record.restaurant,
                told,
                bill=bill,
                payload=heard.document,
                at=timezone.now(),
                reason="It never started here.",
                because_of=record.pk,
            )
    except IntegrityError:
        # It may have started at this very moment.
        if payments.known(record.restaurant, payment_id) is None:
            raise


def _wait(record: WebhookEvent, failure: CallFailed, next_at: datetime) -> None:
    log.warning("Qerko could not be asked about the payment of %s: %s", record, failure.reason)
    if next_at > record.received_at + conf.RETRY_TELLS:
        log.error(
            "Qerko says that payment %s of %s is paid, which never started here, and cannot be asked about it. "
            "A person must look.",
            printable(str(record.payment_id)),
            record.restaurant,
        )
        record.claim_question(next_at=None)

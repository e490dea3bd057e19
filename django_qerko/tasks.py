"""Celery's door: each task is one call into a stage.

A message holds an id and nothing else. Every task may run twice: the table says whether there is anything to do.
"""

from __future__ import annotations

from celery import shared_task

from django_qerko.handling import claiming
from django_qerko.queueing import (
    ASK_ABOUT_EVENT,
    ASK_ABOUT_PAYMENT,
    HANDLE_EVENT,
    RECONCILE,
    SEND_REPLY,
    SWEEP,
    InOurQueue,
)
from django_qerko.replying import sending
from django_qerko.tending import reconciling, sweeping, unstarted


@shared_task(
    base=InOurQueue,
    name=HANDLE_EVENT,
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    serializer="json",
)
def handle_event(record: int) -> None:
    """Handle a record that was promised."""
    claiming.handle_recorded(record)


@shared_task(
    base=InOurQueue, name=SEND_REPLY, acks_late=True, reject_on_worker_lost=True, ignore_result=True, serializer="json"
)
def send_reply(reply: int) -> None:
    """Make one attempt at a reply."""
    sending.send(reply)


@shared_task(base=InOurQueue, name=SWEEP, ignore_result=True, serializer="json")
def sweep() -> None:
    """Finish what was forgotten."""
    sweeping.sweep()


@shared_task(
    base=InOurQueue,
    name=ASK_ABOUT_PAYMENT,
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    serializer="json",
)
def ask_about_payment(payment: int) -> None:
    """Ask Qerko about a payment whose next question is due."""
    reconciling.ask_about_payment(payment)


@shared_task(
    base=InOurQueue,
    name=ASK_ABOUT_EVENT,
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    serializer="json",
)
def ask_about_event(record: int) -> None:
    """Ask Qerko about a payment that it calls paid and that never started here."""
    unstarted.ask_about_event(record)


@shared_task(base=InOurQueue, name=RECONCILE, ignore_result=True, serializer="json")
def reconcile() -> None:
    """Ask Qerko about every payment whose next question is due."""
    reconciling.ask_due()

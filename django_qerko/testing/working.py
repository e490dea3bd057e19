"""Do in a test what worker, sweeper and beat do elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import router
from django.utils import timezone

from django_qerko.handling import claiming
from django_qerko.models import Reply, WebhookEvent
from django_qerko.models.event import WebhookEventQuerySet
from django_qerko.models.reply import ReplyQuerySet
from django_qerko.replying import sending
from django_qerko.tending import reconciling
from django_qerko.testing.isolating import isolated
from django_qerko.testing.listening import listener

if TYPE_CHECKING:
    from django_qerko.testing.recording import RecordingQerko

#: A Qerko that is busy for longer keeps its reply waiting.
_ATTEMPTS: Final = 20


def work() -> None:
    """Have handled what was promised, and sent what waits, in this thread and in the order in which it came.

    What is past its deadline becomes ``stale`` first. Where a recording Qerko listens, each reply is attempted until it
    is taken, refused or stale, without the pauses between attempts, and payments that are due are asked about;
    otherwise nothing leaves. Whatever a handler raises is recorded, as a worker would.
    """
    with isolated():
        _expire()
        _handle()
        if qerko := listener():
            _send(qerko)
            reconciling.ask_due()


def _expire() -> None:
    now = timezone.now()
    for record in _events().postponed().overdue(now):
        record.mark_stale(at=now)
    for reply in _replies().select_related("event__restaurant").overdue(now):
        sending.expire(reply)


def _handle() -> None:
    records = _events().waiting() | _events().failed_and_due(timezone.now())
    for key in list(records.order_by("pk").values_list("pk", flat=True)):
        claiming.handle_recorded(key)


def _send(qerko: RecordingQerko) -> None:
    for reply in list(_replies().waiting().with_event().order_by("pk")):
        qerko.expect(reply.event)
        for _ in range(_ATTEMPTS):
            _replies().filter(pk=reply.pk).waiting().update(next_attempt_at=timezone.now())
            if not sending.send(reply.pk):
                break


def _events() -> WebhookEventQuerySet:
    return WebhookEvent.objects.using(router.db_for_write(WebhookEvent))


def _replies() -> ReplyQuerySet:
    return Reply.objects.using(router.db_for_write(Reply))

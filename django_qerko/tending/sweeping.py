"""Finish what a crash or a lost queue left: handle, send, or mark stale."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import takewhile
from typing import Final

from django.db import InterfaceError, OperationalError, connections, router
from django.utils import timezone

from django_qerko import queueing
from django_qerko.handling import claiming
from django_qerko.models import Reply, WebhookEvent
from django_qerko.replying import sending

log: Final = logging.getLogger(__name__)

#: The queue gets this long before the sweeper takes over what it was rung for.
GRACE: Final = timedelta(seconds=2)
#: Replies sent at once; each may wait for Qerko.
_MESSENGERS: Final = 8
#: Rows looked at in one sweep, per kind; the next sweep goes on.
_ROWS: Final = 500

#: Asked with each row before it is worked on.
GoesOn = Callable[[object], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep did, in numbers."""

    handled: int = 0
    sent: int = 0
    stale: int = 0
    #: Questions to Qerko about payments; the sweep itself asks none.
    asked: int = 0

    def __bool__(self) -> bool:
        return bool(self.handled or self.sent or self.stale or self.asked)


def sweep(*, goes_on: GoesOn = lambda _: True, grace: timedelta = GRACE) -> Swept:
    """Go once through what was left behind. Safe beside workers and other sweepers: every step claims its row.

    What the queue was rung for less than ``grace`` ago is left to it. ``goes_on`` is asked before each row; once it
    says no, the rest is left to the next sweep.

    Raises OperationalError or InterfaceError where the database cannot be reached.
    """
    stale = sum(1 for _ in _expire_events(goes_on)) + sum(1 for _ in _expire_replies(goes_on))
    # Replies first: their time runs out. And last: those that the handling brought, where no queue hears.
    sent = _send_replies(goes_on, _left_behind(grace))
    handled = list(_handle_events(goes_on, grace))
    sent += _send_replies(goes_on, _left_behind(grace, handled))
    swept = Swept(handled=len(handled), sent=sent, stale=stale)
    if swept:
        log.info("Swept: %d handled, %d sent, %d stale", swept.handled, swept.sent, swept.stale)
    return swept


def _expire_events(goes_on: GoesOn) -> Iterator[WebhookEvent]:
    now = timezone.now()
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent)).overdue(now)
    late = [
        *book.questions().waiting()[:_ROWS],
        *book.questions().abandoned(now)[:_ROWS],
        *book.postponed()[:_ROWS],
    ]
    for record in takewhile(goes_on, late):
        if record.mark_stale(at=now):
            log.warning("%s met its deadline without an answer", record)
            yield record


def _expire_replies(goes_on: GoesOn) -> Iterator[Reply]:
    replies = Reply.objects.using(router.db_for_write(Reply)).select_related("event__restaurant")
    for reply in takewhile(goes_on, replies.overdue(timezone.now())[:_ROWS]):
        if sending.expire(reply):
            yield reply


def _handle_events(goes_on: GoesOn, grace: timedelta) -> Iterator[int]:
    now = timezone.now()
    book = WebhookEvent.objects.using(router.db_for_write(WebhookEvent))
    forgotten = book.waiting().filter(promised_at__lte=now - grace)
    for rows in (
        forgotten,
        book.abandoned(now).exclude(promised_at=None),
        book.tells().abandoned(now),
        book.failed_and_due(now),
    ):
        for key in takewhile(goes_on, list(rows.order_by("pk").values_list("pk", flat=True)[:_ROWS])):
            if unharmed(claiming.handle_recorded, key):
                yield key


def _left_behind(grace: timedelta, handled: Sequence[int] = ()) -> list[int]:
    """Replies that nobody sent; of those to records that we ``handled``, also younger ones that no queue hears of."""
    now = timezone.now()
    due = Reply.objects.using(router.db_for_write(Reply)).due(now).order_by("deadline_at").values_list("pk", flat=True)
    forgotten = due.filter(next_attempt_at__lte=now - grace)[:_ROWS]
    young = due.filter(next_attempt_at__gt=now - grace, event__in=handled)
    return [*forgotten, *(key for key in young if not unharmed(_is_heard, key))]


def _is_heard(key: int) -> bool:
    # Rung for once already, when it was stored; to ring again does no harm, and tells whether anybody is there.
    return queueing.ring(queueing.SEND_REPLY, key)


def _send_replies(goes_on: GoesOn, keys: list[int]) -> int:
    if len(keys) < 2:
        return sum(unharmed(sending.send, key) for key in takewhile(goes_on, keys))
    with ThreadPoolExecutor(min(_MESSENGERS, len(keys))) as messengers:
        return sum(messengers.map(partial(_send_and_hang_up, goes_on), keys))


def _send_and_hang_up(goes_on: GoesOn, key: int) -> bool:
    try:
        return goes_on(key) and unharmed(sending.send, key)
    finally:
        connections.close_all()


def unharmed(step: Callable[[int], bool], key: int) -> bool:
    """One row's trouble is not the others', unless it is that the database hung up."""
    try:
        return step(key)
    except Exception as error:
        if isinstance(error, InterfaceError | OperationalError) and _is_hung_up():
            raise
        log.exception("Sweeping %s %s broke", step.__name__, key)
        return False


def _is_hung_up() -> bool:
    wire = connections[router.db_for_write(WebhookEvent)]
    return wire.connection is None or not wire.is_usable()

"""Make the attempts of one reply until it is taken, refused or stale."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.utils import timezone

from django_qerko import queueing, signals
from django_qerko.client import QerkoClient
from django_qerko.conf import conf
from django_qerko.exceptions import CallFailed, NotSent, Refused
from django_qerko.models import Attempt, Reply
from django_qerko.models.reply import Outcome
from django_qerko.replying import retrying
from django_qerko.replying.telling import tell_of_reply

log: Final = logging.getLogger(__name__)

#: Longer than an attempt takes: a claim that outlives it belongs to a process that died.
_GRACE: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knock:
    """One attempt, and what became of it."""

    at: datetime
    duration: timedelta
    outcome: Outcome
    status: int | None
    reason: str = ""


def send(key: int) -> bool:
    """Make one attempt at a reply, where it is due and nobody else is at it; say whether one was made.

    What failed and may work later waits for its next attempt, and holds no worker meanwhile.
    """
    now = timezone.now()
    until = now + timedelta(seconds=sum(conf.HTTP_TIMEOUT)) + _GRACE
    reply = Reply.objects.using(router.db_for_write(Reply)).take_up(key, at=now, until=until, grace=_GRACE)
    if reply is None:
        return False
    # By the clock after the claim, which may have waited for a lock until it was too late.
    _keep(reply, _knock(reply, timezone.now()))
    return True


def expire(reply: Reply) -> bool:
    """Give up a reply whose deadline has passed while nobody was at it."""
    if not reply.mark_stale(at=timezone.now(), reason="Nobody sent it in time."):
        return False
    _tell(reply)
    return True


def _knock(reply: Reply, at: datetime) -> _Knock:
    started = time.monotonic()
    deadline = started + (reply.deadline_at - at).total_seconds()
    answer = bytes(reply.answer)
    try:
        client = QerkoClient(reply.api_key)
        status = client.reply(
            reply.event.event_id,
            reply.event.name,
            result=None if reply.is_error else answer,
            error=answer if reply.is_error else None,
            deadline=min(deadline, started + sum(conf.HTTP_TIMEOUT)),
        )
    except CallFailed as error:
        return _failed(at, started, error)
    except (ImproperlyConfigured, ValueError) as error:
        # No address, no Pos-Id, no readable key: another attempt may find it mended.
        log.error("Nothing could be sent to Qerko for %s: %s", reply.event.restaurant, error)
        return _failed(at, started, NotSent(str(error)))
    return _Knock(at=at, duration=_since(started), outcome=Outcome.TAKEN, status=status)


def _failed(at: datetime, started: float, error: CallFailed) -> _Knock:
    outcomes = {Refused: Outcome.REFUSED, NotSent: Outcome.NOT_SENT}
    outcome = outcomes.get(type(error), Outcome.UNCONFIRMED)
    return _Knock(at=at, duration=_since(started), outcome=outcome, status=error.status, reason=error.reason)


def _keep(reply: Reply, knock: _Knock) -> None:
    """Write the attempt and what follows from it, together."""
    alias = reply._state.db
    with transaction.atomic(using=alias):
        Attempt.objects.using(alias).add(
            reply,
            started_at=knock.at,
            duration=knock.duration,
            outcome=knock.outcome,
            status=knock.status,
            reason=knock.reason,
        )
        _FOLLOWING.get(knock.outcome, _wait)(reply, knock)
    if not reply.is_waiting:
        _tell(reply)


def _deliver(reply: Reply, knock: _Knock) -> None:
    reply.mark_delivered(at=timezone.now())


def _refuse(reply: Reply, knock: _Knock) -> None:
    if knock.status in (401, 403):
        log.error(
            "Qerko refuses the API key or the Pos-Id of %s with %d: nothing that is sent for it arrives",
            reply.event.restaurant,
            knock.status,
        )
    reply.mark_refused(at=timezone.now(), reason=knock.reason)


def _wait(reply: Reply, knock: _Knock) -> None:
    now = timezone.now()
    left = (reply.deadline_at - now).total_seconds()
    wait = retrying.next_attempt(reply.next_number, left=left, dice=random.random())  # noqa: S311
    if wait is None:
        reply.mark_stale(at=now, reason=knock.reason)
    elif reply.wait_until(now + timedelta(seconds=wait)):
        queueing.ring_after_commit(queueing.SEND_REPLY, reply.pk, using=str(reply._state.db), delay=wait)


_FOLLOWING: Final[dict[Outcome, Callable[[Reply, _Knock], None]]] = {
    Outcome.TAKEN: _deliver,
    Outcome.REFUSED: _refuse,
}


def _tell(reply: Reply) -> None:
    observers = {
        Reply.State.DELIVERED: signals.reply_delivered,
        Reply.State.REFUSED: signals.reply_refused,
        Reply.State.STALE: signals.reply_stale,
    }
    state = Reply.State(reply.state)
    log.log(
        logging.DEBUG if state is Reply.State.DELIVERED else logging.WARNING,
        "%s is %s%s",
        reply,
        state.value,
        f": {reply.reason}" if reply.reason else "",
    )
    tell_of_reply(observers[state], reply)


def _since(started: float) -> timedelta:
    return timedelta(seconds=time.monotonic() - started)

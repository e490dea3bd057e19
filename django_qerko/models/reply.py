"""An answer that leaves later, and each try at sending it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.db import IntegrityError, models, transaction
from django.db.models import Case, F, OuterRef, Q, Subquery, Value, When
from django.utils import timezone

from django_qerko.keys import ApiKey
from django_qerko.models.event import WebhookEvent
from django_qerko.models.restaurant import RestaurantKey


class ReplyState(models.TextChoices):
    """The states of a reply; all but the first are final."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    REFUSED = "refused"
    STALE = "stale"


class Outcome(models.TextChoices):
    """What became of one attempt."""

    TAKEN = "taken"
    NOT_SENT = "not_sent"
    UNCONFIRMED = "unconfirmed"
    REFUSED = "refused"


#: What is large in an event, and not needed beside its replies.
_LARGE: Final = ("event__payload", "event__headers", "event__answer", "event__error")
#: An event, when 202 was said to it, and when its reply arrived.
_PROMISE: Final = ("event", "event__promised_at", "finished_at")


class ReplyQuerySet(models.QuerySet["Reply"]):
    def waiting(self) -> Self:
        return self.filter(state=ReplyState.WAITING)

    def delivered(self) -> Self:
        return self.filter(state=ReplyState.DELIVERED)

    def to_events_since(self, moment: datetime) -> Self:
        """Replies to what was received since a moment."""
        return self.filter(event__received_at__gte=moment)

    def unclaimed(self, at: datetime) -> Self:
        """Nobody is sending them, or whoever did has died."""
        return self.filter(Q(claim=None) | Q(claimed_until__lte=at))

    def due(self, at: datetime) -> Self:
        """Waiting, in time, and their next attempt's moment has come."""
        return self.waiting().unclaimed(at).filter(next_attempt_at__lte=at, deadline_at__gt=at)

    def overdue(self, at: datetime) -> Self:
        """Waiting, though their deadline has passed."""
        return self.waiting().unclaimed(at).filter(deadline_at__lte=at)

    def take_up(self, key: int, *, at: datetime, until: datetime, grace: timedelta) -> Reply | None:
        """Claim the sending of one reply, and give it with its letterhead; ``None`` where it is not due.

        The claim runs out at ``until``, and so long after the deadline as ``grace`` at the latest.
        """
        claim = uuid.uuid4()
        ends = Case(When(deadline_at__lt=until - grace, then=F("deadline_at") + grace), default=Value(until))
        if not self.filter(pk=key).due(at).update(claim=claim, claimed_until=ends):
            return None
        return self.with_letterhead().filter(pk=key, claim=claim).first()

    def supersede(self, at: datetime) -> int:
        """Give up errors that wait, because their event was handled after all; what is being sent is left alone."""
        return (
            self.waiting()
            .filter(is_error=True, claim=None)
            .update(
                state=ReplyState.STALE,
                reason="The event was handled after all.",
                next_attempt_at=None,
                finished_at=at,
            )
        )

    def with_letterhead(self) -> Self:
        """Each with its event and restaurant, its last attempt's number, and the restaurant's newest key."""
        keys = RestaurantKey.objects.filter(restaurant=OuterRef("event__restaurant")).order_by("-id")
        attempts = Attempt.objects.filter(reply=OuterRef("pk")).order_by("-number")
        return self.with_event().annotate(
            secret=Subquery(keys.values("secret")[:1]), last_number=Subquery(attempts.values("number")[:1])
        )

    def with_event(self) -> Self:
        """Each with its event and restaurant, but without what is large there."""
        return self.select_related("event__restaurant").defer(*_LARGE)

    def in_brief(self) -> Self:
        """Without what is large, and with event and restaurant: for lists."""
        return self.with_event().defer("answer")

    def delays(self, at_most: int) -> list[timedelta]:
        """How long after 202 was said the first reply to each event arrived, for the newest of these."""
        arrived = self.delivered().filter(finished_at__gte=F("event__promised_at")).order_by("-id")
        # The newest come first, so of several replies to one event the first is the one that stays.
        spans = {event: at - promised for event, promised, at in arrived.values_list(*_PROMISE)[:at_most]}
        return list(spans.values())


class Reply(models.Model):
    """What Qerko will hear later about one event. Each verb is one ``UPDATE`` that names the state it starts from."""

    State = ReplyState

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="replies")
    #: The JSON of the result or of the error, in UTF-8, as it will be sent.
    answer = models.BinaryField()
    is_error = models.BooleanField(default=False)
    state = models.CharField(max_length=9, choices=ReplyState, default=ReplyState.WAITING)
    reason = models.TextField(default="", blank=True)
    deadline_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True, db_index=True)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True)

    objects = ReplyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "replies"
        indexes = [models.Index(fields=["state", "deadline_at"], name="qerko_reply_waiting")]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ReplyState.values), name="qerko_reply_state"),
            models.CheckConstraint(
                condition=Q(state=ReplyState.WAITING, next_attempt_at__isnull=False, finished_at=None)
                | (~Q(state=ReplyState.WAITING) & Q(next_attempt_at=None, finished_at__isnull=False)),
                name="qerko_reply_waits_or_is_finished",
            ),
            models.CheckConstraint(
                condition=Q(claim=None, claimed_until=None)
                | Q(claim__isnull=False, claimed_until__isnull=False, state=ReplyState.WAITING),
                name="qerko_reply_claim",
            ),
        ]

    def __str__(self) -> str:
        return f"reply {self.pk} to {self.event}"

    @property
    def api_key(self) -> ApiKey:
        """The key that ``with_letterhead`` brought.

        Raises ValueError where the restaurant has none that can be read.
        """
        secret = getattr(self, "secret", None)
        if secret is None:
            raise ValueError("The restaurant has no API key.")
        return ApiKey.decrypt(secret)

    @property
    def next_number(self) -> int:
        """The number of the next attempt, where ``with_letterhead`` brought the last."""
        return (getattr(self, "last_number", None) or 0) + 1

    @property
    def is_waiting(self) -> bool:
        return self.state == ReplyState.WAITING

    def begin_waiting(self, *, at: datetime) -> None:
        """Before its ``INSERT``: it may leave at once."""
        self.state, self.next_attempt_at = ReplyState.WAITING, at

    def begin_stale(self, *, at: datetime) -> None:
        """Before its ``INSERT``: it is too late for Qerko."""
        self.state, self.finished_at = ReplyState.STALE, at
        self.reason = "It was answered after the deadline."

    def mark_delivered(self, *, at: datetime) -> bool:
        """Qerko took it, whoever thinks to hold it by now: it must not be sent again."""
        return self._finish(self._row.waiting(), ReplyState.DELIVERED, at, "")

    def mark_refused(self, *, at: datetime, reason: str) -> bool:
        """Qerko refused it for good."""
        return self._finish(self._ours, ReplyState.REFUSED, at, reason)

    def mark_stale(self, *, at: datetime, reason: str) -> bool:
        """There is no time left for another attempt."""
        return self._finish(self._ours, ReplyState.STALE, at, reason)

    def wait_until(self, moment: datetime) -> bool:
        """Lay it back until its next attempt."""
        return self._change(self._ours, claim=None, claimed_until=None, next_attempt_at=moment)

    def _finish(self, row: ReplyQuerySet, state: ReplyState, at: datetime, reason: str) -> bool:
        return self._change(
            row,
            state=state,
            reason=reason,
            claim=None,
            claimed_until=None,
            next_attempt_at=None,
            finished_at=at,
        )

    @property
    def _row(self) -> ReplyQuerySet:
        return Reply.objects.using(self._state.db).filter(pk=self.pk)

    @property
    def _ours(self) -> ReplyQuerySet:
        return self._row.waiting().filter(claim=self.claim)

    def _change(self, row: ReplyQuerySet, **changes: Any) -> bool:
        """Compare and set: change the row where it is still in that condition, and this object with it."""
        if not row.update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True


class AttemptQuerySet(models.QuerySet["Attempt"]):
    def add(self, reply: Reply, **what: Any) -> Attempt:
        """Write an attempt under its number, or the next where a messenger that was given up wrote that one since."""
        try:
            with transaction.atomic(using=self.db):
                return self.create(reply=reply, number=reply.next_number, **what)
        except IntegrityError:
            last = self.filter(reply=reply).aggregate(last=models.Max("number"))["last"] or 0
            return self.create(reply=reply, number=last + 1, **what)

    def in_brief(self) -> Self:
        """Without what is large, and with reply, event and restaurant: for lists."""
        return self.select_related("reply__event__restaurant").defer(
            *(f"reply__{name}" for name in ("answer", *_LARGE))
        )


class Attempt(models.Model):
    """One try at sending a reply, numbered from 1; written when its outcome is known."""

    Outcome = Outcome

    id = models.BigAutoField(primary_key=True)
    reply = models.ForeignKey(Reply, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration = models.DurationField()
    outcome = models.CharField(max_length=11, choices=Outcome)
    status = models.PositiveSmallIntegerField(null=True)
    reason = models.TextField(default="", blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        # By the column: by the relation would be in the order of replies, with a join.
        ordering = ["reply_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["reply", "number"], name="qerko_attempt_number_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="qerko_attempt_counts_from_one"),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="qerko_attempt_outcome"),
            models.CheckConstraint(
                condition=Q(status=None) | Q(status__gte=100, status__lte=599), name="qerko_attempt_status"
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.outcome}"

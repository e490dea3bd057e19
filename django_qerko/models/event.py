"""The record of an event: what Qerko said, byte for byte, what became of it, and what we answered."""

from __future__ import annotations

import re
import uuid
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.db import IntegrityError, models, router, transaction
from django.db.models import Q

from django_qerko.events import CLASSES
from django_qerko.models.identifier import IdentifierField
from django_qerko.models.kept import printable
from django_qerko.models.restaurant import Restaurant

_KEY: Final = re.compile(r"[0-9]{1,18}")

#: How the ids of events begin that nobody delivered: Qerko was asked.
ASKED: Final = "asked-"

#: Events that tell what has happened: they are handled at any age.
TELLS: Final = tuple(name for name, cls in CLASSES.items() if not cls.is_question)


class EventState(models.TextChoices):
    """The states of a record (design: one row per event, however often it is delivered)."""

    RECEIVED = "received"
    HANDLING = "handling"
    HANDLED = "handled"
    FAILED = "failed"
    STALE = "stale"


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    def handled(self) -> Self:
        return self.filter(state=EventState.HANDLED)

    def unfinished(self) -> Self:
        return self.exclude(state=EventState.HANDLED)

    def in_progress(self) -> Self:
        """Records that did not come to an end: they wait to be handled, or are being handled."""
        return self.filter(state__in=(EventState.RECEIVED, EventState.HANDLING))

    def in_state(self, state: str) -> Self:
        return self.filter(state=state)

    def claimable(self, at: datetime) -> Self:
        """Records that whoever comes now may handle: nobody holds them, or the holder's claim ran out."""
        untouched = Q(state__in=(EventState.RECEIVED, EventState.FAILED, EventState.STALE))
        abandoned = Q(state=EventState.HANDLING, claimed_until__lte=at)
        return self.filter(untouched | abandoned)

    def of_restaurant(self, name: str) -> Self:
        return self.filter(restaurant__name=name)

    def named(self, name: str) -> Self:
        return self.filter(name=name)

    def unmodelled(self) -> Self:
        """Events without a class of their own."""
        return self.exclude(name__in=CLASSES)

    def about_bill(self, bill_id: str) -> Self:
        return self.filter(bill_id=bill_id)

    def about_payment(self, payment_id: str) -> Self:
        return self.filter(payment_id=payment_id)

    def waiting(self) -> Self:
        """Promised, and nobody has taken them up."""
        return self.filter(state=EventState.RECEIVED)

    def postponed(self) -> Self:
        """A handler said ``LATER``, and no reply is stored yet."""
        return self.filter(state=EventState.HANDLING, claim=None)

    def abandoned(self, at: datetime) -> Self:
        """Claimed by somebody whose claim ran out."""
        return self.filter(state=EventState.HANDLING, claimed_until__lte=at)

    def overdue(self, at: datetime) -> Self:
        return self.filter(deadline_at__lte=at)

    def questions(self) -> Self:
        return self.exclude(name__in=TELLS)

    def tells(self) -> Self:
        return self.filter(name__in=TELLS)

    def failed_and_due(self, at: datetime) -> Self:
        """Tells whose handler broke, and whose next handling's moment has come."""
        return self.filter(state=EventState.FAILED, next_handling_at__lte=at)

    def to_be_asked_about(self, at: datetime) -> Self:
        """Handled tells of payments that never started here, and that Qerko is to be asked about."""
        return self.filter(state=EventState.HANDLED, next_handling_at__lte=at)

    def of_ended_payment(self, restaurant: Restaurant, payment_id: str) -> Self:
        """Tells that a payment came to nothing, which nobody had to ask Qerko about."""
        return self.filter(restaurant=restaurant).about_payment(payment_id).tells().handled().filter(status=200)

    def delivered(self) -> Self:
        """Without what nobody delivered."""
        return self.exclude(event_id__startswith=ASKED)

    def asked_for(self) -> Self:
        """What nobody delivered, because Qerko was asked for it."""
        return self.filter(event_id__startswith=ASKED)

    def received_since(self, moment: datetime) -> Self:
        return self.filter(received_at__gte=moment)

    def entered_after(self, record: int) -> Self:
        return self.filter(pk__gt=record)

    def known_as(self, text: str) -> Self:
        """Records with this id, be it the event's or the row's own: a person may have copied either."""
        return self.filter(Q(event_id=text) | Q(pk=int(text) if _KEY.fullmatch(text) else None))

    def in_brief(self) -> Self:
        """Without what is large, and with the restaurant: for lists."""
        return self.select_related("restaurant").defer("payload", "headers", "answer", "error")

    def with_replies(self) -> Self:
        """With what is told later about each, and every try at telling it."""
        return self.prefetch_related("replies__attempts")

    def durations(self, at_most: int) -> list[timedelta]:
        """How long the newest of these took to handle."""
        spans = self.filter(duration__isnull=False).order_by("-id").values_list("duration", flat=True)
        return [span for span in spans[:at_most] if span is not None]

    def enter(self, record: WebhookEvent) -> tuple[WebhookEvent, bool]:
        """Enter a record into the book, unless its event stands there: the row in force, and whether it is new.

        An ``INSERT`` that meets the constraint breaks a PostgreSQL transaction, so where one is open (a
        test's) a savepoint stands around that one statement.
        """
        alias = router.db_for_write(self.model)
        book = self.using(alias)
        shelter = (
            transaction.atomic(using=alias) if transaction.get_connection(alias).in_atomic_block else nullcontext()
        )
        try:
            with shelter:
                record.save(using=alias, force_insert=True)
        except IntegrityError:
            known = book.filter(restaurant=record.restaurant, event_id=record.event_id).first()
            if known is None:
                raise
            known.restaurant = record.restaurant
            return known, False
        return record, True


class WebhookEvent(models.Model):
    """One event of one restaurant. Each verb is one ``UPDATE`` that names the state, or the claim, it starts from."""

    State = EventState

    id = models.BigAutoField(primary_key=True)
    restaurant = models.ForeignKey(Restaurant, on_delete=models.PROTECT, related_name="events")
    event_id = IdentifierField(max_length=128)
    name = IdentifierField(max_length=128)
    bill_id = IdentifierField(max_length=128, null=True, db_index=True)
    payment_id = IdentifierField(max_length=128, null=True, db_index=True)
    #: The body as it came, so that a signature can be checked again and nothing is lost in decoding.
    payload = models.BinaryField()
    headers = models.JSONField(default=dict)
    received_at = models.DateTimeField(db_index=True)
    deadline_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=EventState)
    #: When 202 was said for its latest delivery; an event that is answered now has none.
    promised_at = models.DateTimeField(null=True)
    #: When a tell whose handler broke is handled again; of a handled one, when Qerko is asked about a payment that it
    #: calls paid and that never started here.
    next_handling_at = models.DateTimeField(null=True, db_index=True)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    handlings = models.PositiveIntegerField(default=0)
    #: What Qerko heard last: the JSON in UTF-8, byte for byte, and its HTTP status.
    answer = models.BinaryField(null=True)
    status = models.PositiveSmallIntegerField(null=True)
    error = models.TextField(default="", blank=True)
    duration = models.DurationField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = WebhookEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["restaurant", "received_at"], name="qerko_event_of_restaurant"),
            models.Index(fields=["state", "deadline_at"], name="qerko_event_waiting"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["restaurant", "event_id"], name="qerko_event_once"),
            models.CheckConstraint(condition=~Q(event_id="") & ~Q(name=""), name="qerko_event_has_id_and_name"),
            models.CheckConstraint(condition=Q(state__in=EventState.values), name="qerko_event_state"),
            models.CheckConstraint(
                condition=Q(claim=None, claimed_until=None)
                | Q(claim__isnull=False, claimed_until__isnull=False, state=EventState.HANDLING),
                name="qerko_event_claim",
            ),
            models.CheckConstraint(
                condition=~Q(state=EventState.HANDLED)
                | Q(answer__isnull=False, status__isnull=False, finished_at__isnull=False),
                name="qerko_event_handled_has_answer",
            ),
            models.CheckConstraint(
                condition=Q(status=None) | Q(status__gte=200, status__lte=599), name="qerko_event_status"
            ),
        ]

    def __str__(self) -> str:
        return printable(f"{self.name} {self.event_id}")

    @property
    def is_handled(self) -> bool:
        return self.state == EventState.HANDLED

    @property
    def is_stale(self) -> bool:
        return self.state == EventState.STALE

    @property
    def is_promised(self) -> bool:
        """Whether 202 was said, and the answer is still owed."""
        open_states = (EventState.RECEIVED, EventState.HANDLING)
        return self.promised_at is not None and self.state in open_states

    @property
    def is_postponed(self) -> bool:
        """Whether a handler said ``LATER``, and no reply is stored yet."""
        return self.state == EventState.HANDLING and self.claim is None

    @property
    def is_decided(self) -> bool:
        """Whether its handler said what becomes of it, be it ``LATER``."""
        return self.is_handled or self.is_postponed

    def wants_handling(self, at: datetime) -> bool:
        """Whether the queue, or the sweeper, should have it handled; of what failed only a tell whose time has come."""
        match self.state:
            case EventState.RECEIVED:
                return True
            case EventState.HANDLING:
                return self.claimed_until is not None and self.claimed_until <= at
            case EventState.FAILED:
                return self.next_handling_at is not None and self.next_handling_at <= at
            case _:
                return False

    @property
    def is_in_hand(self) -> bool:
        """Whether a promised record is being handled, or a handler said ``LATER``: 202 stands."""
        return self.is_promised and self.state == EventState.HANDLING

    def begin_claimed(self, *, until: datetime) -> None:
        """Before its ``INSERT``: whoever enters this record handles it, too."""
        self.state, self.handlings = EventState.HANDLING, 1
        self.claim, self.claimed_until = uuid.uuid4(), until

    def begin_promised(self, *, at: datetime) -> None:
        """Before its ``INSERT``: the queue will bring it to a handler."""
        self.state, self.promised_at = EventState.RECEIVED, at

    def begin_stale(self, *, at: datetime) -> None:
        """Before its ``INSERT``: nobody waits for the answer any more."""
        self.state, self.finished_at = EventState.STALE, at

    def claim_again(self, *, at: datetime, until: datetime, deadline_at: datetime, promised: bool) -> bool:
        """Take up a record that nobody is handling; say whether it is ours now.

        ``promised``: whether its answer leaves later, because 202 was said. A record that changed since it was read,
        got a new deadline, or was promised, is not ours.
        """
        as_read = {name: getattr(self, name) for name in ("handlings", "deadline_at", "promised_at")}
        return self._change(
            self._row.claimable(at).filter(**as_read),
            state=EventState.HANDLING,
            claim=uuid.uuid4(),
            claimed_until=until,
            deadline_at=max(self.deadline_at, deadline_at),
            handlings=self.handlings + 1,
            next_handling_at=None,
            promised_at=self.promised_at if promised else None,
        )

    def promise_again(self, *, at: datetime, deadline_at: datetime) -> bool:
        """A record that nobody is handling was delivered again: the queue will bring it to a handler."""
        return self._change(
            self._row.claimable(at),
            state=EventState.RECEIVED,
            claim=None,
            claimed_until=None,
            deadline_at=max(self.deadline_at, deadline_at),
            promised_at=at,
            next_handling_at=None,
        )

    def extend(self, *, at: datetime, deadline_at: datetime) -> bool:
        """A promised record was delivered again while it is being handled, or after a handler said ``LATER``.

        A delivery that is older than the last one changes nothing.
        """
        in_hand = Q(claim=None) | Q(claimed_until__gt=at)
        row = self._row.filter(in_hand, state=EventState.HANDLING, promised_at__isnull=False)
        return self._change(row, deadline_at=max(self.deadline_at, deadline_at))

    def mark_stale(self, *, at: datetime) -> bool:
        """Give up a record that met its deadline, unless somebody is handling it."""
        return self._change(
            (self._row.claimable(at) | self._row.postponed()).overdue(at),
            state=EventState.STALE,
            claim=None,
            claimed_until=None,
            finished_at=at,
        )

    def finish(
        self,
        *,
        status: int,
        answer: bytes,
        at: datetime,
        duration: timedelta,
        error: str = "",
        next_handling_at: datetime | None = None,
    ) -> bool:
        """Keep the answer of our handling; ``False`` where our claim was lost in between."""
        return self._end_claim(
            self._ours, EventState.HANDLED, status, answer, at, duration, error, next_handling_at=next_handling_at
        )

    def finish_postponed(self, *, status: int, answer: bytes, at: datetime, error: str = "") -> bool:
        """Keep the first answer that came after a ``LATER``."""
        return self._end_claim(self._row.postponed(), EventState.HANDLED, status, answer, at, self.duration, error)

    def fail(
        self,
        *,
        status: int,
        answer: bytes,
        at: datetime,
        duration: timedelta,
        error: str,
        next_handling_at: datetime | None = None,
    ) -> bool:
        """Keep why our handling came to no answer; ``False`` where our claim was lost in between."""
        return self._end_claim(
            self._ours, EventState.FAILED, status, answer, at, duration, error, next_handling_at=next_handling_at
        )

    def claim_question(self, *, next_at: datetime | None) -> bool:
        """Take the next question to Qerko about its payment; ``None``: there is nothing to ask any more."""
        row = self._row.filter(state=EventState.HANDLED, next_handling_at=self.next_handling_at)
        return self._change(row.exclude(next_handling_at=None), next_handling_at=next_at)

    def postpone(self, *, at: datetime, duration: timedelta) -> bool:
        """A handler said ``LATER``: nobody holds the record, and its answer is owed."""
        promised_at = self.promised_at or at
        return self._change(self._ours, claim=None, claimed_until=None, promised_at=promised_at, duration=duration)

    def expire(self, *, at: datetime, duration: timedelta) -> bool:
        """Give up our handling of a question that took until after its deadline."""
        return self._change(
            self._ours.overdue(at),
            state=EventState.STALE,
            claim=None,
            claimed_until=None,
            finished_at=at,
            duration=duration,
        )

    def _end_claim(
        self,
        row: WebhookEventQuerySet,
        state: EventState,
        status: int,
        answer: bytes,
        at: datetime,
        duration: timedelta | None,
        error: str,
        **changes: Any,
    ) -> bool:
        return self._change(
            row,
            state=state,
            claim=None,
            claimed_until=None,
            status=status,
            answer=answer,
            finished_at=at,
            duration=duration,
            error=error,
            **changes,
        )

    def look_at_deadline(self) -> None:
        """Read the deadline again."""
        self.refresh_from_db(using=self._state.db, fields=["deadline_at"])

    def look_again(self) -> None:
        """Read again what handling changes."""
        self.refresh_from_db(
            using=self._state.db,
            fields=[
                *("state", "claim", "claimed_until", "handlings", "deadline_at", "promised_at", "next_handling_at"),
                *("answer", "status", "error", "duration", "finished_at"),
            ],
        )

    @property
    def _row(self) -> WebhookEventQuerySet:
        return WebhookEvent.objects.using(self._state.db).filter(pk=self.pk)

    @property
    def _ours(self) -> WebhookEventQuerySet:
        return self._row.filter(state=EventState.HANDLING, claim=self.claim)

    def _change(self, row: WebhookEventQuerySet, **changes: Any) -> bool:
        """Compare and set: change the row where it is still in that condition, and this object with it."""
        if not row.update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True

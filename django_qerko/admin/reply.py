"""Answers that leave later, and every try at sending them."""

from __future__ import annotations

from typing import Final, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join

from django_qerko.admin.reading import (
    NOTHING,
    ReadOnlyAdmin,
    ReadOnlyBriefAdmin,
    ReadOnlyInline,
    shown_document,
    shown_text,
)
from django_qerko.models import Attempt, Reply, Restaurant
from django_qerko.models.reply import AttemptQuerySet, ReplyQuerySet
from django_qerko.tending import legible, timeline


class _Reason:
    @admin.display(description="reason")
    def shown_reason(self, row: Reply | Attempt) -> str:
        return shown_text(legible.lines(row.reason))


class ShownReply(_Reason):
    """What pages and lists show of a reply."""

    @admin.display(ordering="created_at")
    def stored(self, reply: Reply) -> str:
        return timeline.when(reply.created_at)

    @admin.display(ordering="deadline_at")
    def deadline(self, reply: Reply) -> str:
        return timeline.when(reply.deadline_at)

    @admin.display(description="next attempt", ordering="next_attempt_at")
    def next_attempt(self, reply: Reply) -> str:
        return timeline.when(reply.next_attempt_at) or NOTHING

    @admin.display(ordering="finished_at")
    def finished(self, reply: Reply) -> str:
        return timeline.when(reply.finished_at) or NOTHING

    @admin.display
    def attempts(self, reply: Reply) -> str:
        tries = ((timeline.tried(attempt),) for attempt in reply.attempts.all())
        return format_html_join("", "<div>{}</div>", tries) or NOTHING

    @admin.display(description="answer")
    def shown_answer(self, reply: Reply) -> str:
        return shown_document(reply.answer)


class _ShownAttempt(_Reason):
    """What pages and lists show of an attempt."""

    @admin.display(ordering="started_at")
    def started(self, attempt: Attempt) -> str:
        return timeline.when(attempt.started_at)

    @admin.display(ordering="duration")
    def took(self, attempt: Attempt) -> str:
        return timeline.spelled(attempt.duration)


_OF_AN_ATTEMPT: Final = ("number", "started", "took", "outcome", "status", "shown_reason")


class AttemptInline(_ShownAttempt, ReadOnlyInline):
    model = Attempt
    fields = readonly_fields = _OF_AN_ATTEMPT


@admin.register(Reply)
class ReplyAdmin(ShownReply, ReadOnlyBriefAdmin):
    list_display = ("stored", "event", "restaurant", "state", "is_error", "deadline", "finished", "shown_reason")
    list_filter = ("state", "is_error", "event__restaurant", "created_at")
    # By their beginning, which an index finds, and with their case.
    search_fields = ("event__event_id__startswith", "event__bill_id__startswith", "event__payment_id__startswith")
    search_help_text = "The beginning of an event's, a bill's or a payment's id"
    fields = readonly_fields = (
        *("event", "restaurant", "state", "is_error", "shown_reason"),
        *("stored", "deadline", "next_attempt", "finished", "shown_answer"),
    )
    inlines = (AttemptInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reply]:
        return cast("ReplyQuerySet", super().get_queryset(request)).with_event()

    @admin.display(ordering="event__restaurant")
    def restaurant(self, reply: Reply) -> Restaurant:
        return reply.event.restaurant


@admin.register(Attempt)
class AttemptAdmin(_ShownAttempt, ReadOnlyAdmin):
    list_display = ("started", "reply", "restaurant", "number", "outcome", "status", "took", "shown_reason")
    list_filter = ("outcome", "reply__event__restaurant", "started_at")
    ordering = ("-id",)
    fields = readonly_fields = ("reply", "restaurant", *_OF_AN_ATTEMPT)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return cast("AttemptQuerySet", super().get_queryset(request)).in_brief()

    @admin.display(ordering="reply__event__restaurant")
    def restaurant(self, attempt: Attempt) -> Restaurant:
        return attempt.reply.event.restaurant

"""Events: what came, what became of it, and what was answered."""

from __future__ import annotations

from typing import Any, Final, cast

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from django_qerko.admin.reading import (
    NOTHING,
    ReadOnlyBriefAdmin,
    ReadOnlyInline,
    linked,
    shown_document,
    shown_identity,
    shown_json,
    shown_lines,
    shown_moments,
    shown_text,
)
from django_qerko.admin.reply import ShownReply
from django_qerko.events import CLASSES
from django_qerko.models import PaymentStep, Reply, WebhookEvent
from django_qerko.models.event import WebhookEventQuerySet
from django_qerko.models.reply import ReplyQuerySet
from django_qerko.tending import legible, timeline

_OTHER: Final = "other"

#: The page of one event, from what it is to what was said.
_SAID: Final = ("name", "event_id", "restaurant", "bill_id", "payment_id", "state")
_BECAME: Final = ("life", "steps", "handlings", "took", "shown_error")
_CAME: Final = ("shown_payload", "shown_headers")
_ANSWERED: Final = ("status", "shown_answer")


class NameFilter(admin.SimpleListFilter):
    """By Qerko's name. The names are the protocol's: to collect those in the table would read it whole."""

    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((name, name) for name in CLASSES), (_OTHER, "any other")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        book, name = cast("WebhookEventQuerySet", queryset), self.value()
        if name not in (_OTHER, *CLASSES):
            return book
        return book.unmodelled() if name == _OTHER else book.named(name)


class ReplyInline(ShownReply, ReadOnlyInline):
    model = Reply
    fields = readonly_fields = ("state", "is_error", "stored", "deadline", "attempts", "shown_reason", "shown_answer")
    show_change_link = True
    verbose_name_plural = "What was answered later"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reply]:
        replies = cast("ReplyQuerySet", super().get_queryset(request))
        return replies.with_event().prefetch_related("attempts").order_by("pk")


@admin.register(WebhookEvent)
class EventAdmin(ReadOnlyBriefAdmin):
    list_display = ("received", "name", "state", "event", "status", "took", "bill", "payment", "restaurant")
    list_display_links = ("received", "event")
    list_filter = ("state", NameFilter, "restaurant", "received_at")
    # By their beginning, which an index finds, and with their case.
    search_fields = ("event_id__startswith", "bill_id__startswith", "payment_id__startswith")
    search_help_text = "The beginning of an event's, a bill's or a payment's id"
    fieldsets = (
        (None, {"fields": _SAID}),
        ("What became of it", {"fields": _BECAME}),
        ("What came", {"fields": _CAME}),
        ("What was answered", {"fields": _ANSWERED}),
    )
    readonly_fields = (*_SAID, *_BECAME, *_CAME, *_ANSWERED)
    inlines = (ReplyInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEvent]:
        records = cast("WebhookEventQuerySet", super().get_queryset(request))
        steps = Prefetch("payment_steps", PaymentStep.objects.with_payments())
        return records.select_related("restaurant").with_replies().prefetch_related(steps)

    @admin.display(ordering="received_at")
    def received(self, record: WebhookEvent) -> str:
        return timeline.when(record.received_at)

    @admin.display(description="event id", ordering="event_id")
    def event(self, record: WebhookEvent) -> str:
        return shown_identity(record.event_id)

    @admin.display(description="bill id", ordering="bill_id")
    def bill(self, record: WebhookEvent) -> str:
        return shown_identity(record.bill_id)

    @admin.display(description="payment id", ordering="payment_id")
    def payment(self, record: WebhookEvent) -> str:
        return shown_identity(record.payment_id)

    @admin.display(description="handling took", ordering="duration")
    def took(self, record: WebhookEvent) -> str:
        return NOTHING if record.duration is None else timeline.spelled(record.duration)

    @admin.display(description="moments")
    def life(self, record: WebhookEvent) -> str:
        return shown_moments(timeline.moments(record, timeline.payment_of(record)))

    @admin.display(description="steps of a payment")
    def steps(self, record: WebhookEvent) -> str:
        """The steps that it caused, with links to their payments."""
        return shown_lines(self._step(step) for step in record.payment_steps.all())

    def _step(self, step: PaymentStep) -> str:
        payment = linked(self.admin_site, step.payment, str(step.payment))
        return format_html("payment {}: {}", payment, timeline.stepped(step))

    @admin.display(description="payload")
    def shown_payload(self, record: WebhookEvent) -> str:
        return shown_document(record.payload)

    @admin.display(description="headers kept")
    def shown_headers(self, record: WebhookEvent) -> str:
        return shown_json(record.headers)

    @admin.display(description="answer")
    def shown_answer(self, record: WebhookEvent) -> str:
        return shown_document(record.answer)

    @admin.display(description="error")
    def shown_error(self, record: WebhookEvent) -> str:
        return shown_text(legible.lines(record.error))

"""Payments, from the guest's first tap to their end, and each step on the way."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_qerko.admin.reading import (
    NOTHING,
    MarkFilter,
    ReadOnlyBriefAdmin,
    ReadOnlyTable,
    linked,
    shown_identity,
    shown_json,
    shown_lines,
    shown_mark,
    shown_table,
    shown_text,
)
from django_qerko.handling.contradicting import Contradiction
from django_qerko.models import Payment, PaymentItem, PaymentPart, PaymentStep
from django_qerko.models.payment import PaymentStepQuerySet
from django_qerko.models.quantities import times, total
from django_qerko.tending import legible
from django_qerko.tending.timeline import when

_IS: Final = ("payment_id", "restaurant", "bill", "customer_id", "state", "final_state", "shown_reason")
_LOOK_AT: Final = ("shown_alarm", "shown_contradictions")
_MONEY: Final = ("sum_of_items", "shown_discount", "tip_with_tax", "tip_without_tax")
_ASKED: Final = ("began", "changed", "newer_start", "next_question", "questions")
_KEPT: Final = ("shown_receipt", "told")


class AlarmFilter(MarkFilter):
    title = "alarm"
    parameter_name = "alarming"


class ContradictionFilter(MarkFilter):
    title = "does not fit its bill"
    parameter_name = "contradictory"


class ItemTable(ReadOnlyTable):
    model = PaymentItem
    verbose_name_plural = "Items"
    fields = readonly_fields = ("name", "item_id", "much", "each", "sum")

    @admin.display(description="quantity")
    def much(self, item: PaymentItem) -> str:
        return legible.quantity(item.quantity)

    @admin.display(description="price")
    def each(self, item: PaymentItem) -> str:
        return NOTHING if item.price is None else legible.money(item.price)

    @admin.display
    def sum(self, item: PaymentItem) -> str:
        return NOTHING if item.price is None else legible.money(times(item.price, item.quantity))


class PartTable(ReadOnlyTable):
    model = PaymentPart
    verbose_name_plural = "Parts, and who moves them"
    fields = readonly_fields = ("much", "provider_name", "provider_type", "provider_id")

    @admin.display(description="total")
    def much(self, part: PaymentPart) -> str:
        return legible.money(part.total)


class StepTable(ReadOnlyTable):
    model = PaymentStep
    verbose_name_plural = "Steps"
    fields = readonly_fields = ("taken", "before", "state", "because_of", "reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentStep]:
        return cast("PaymentStepQuerySet", super().get_queryset(request)).with_events()

    @admin.display(description="at")
    def taken(self, step: PaymentStep) -> str:
        return when(step.at)

    @admin.display(description="because of")
    def because_of(self, step: PaymentStep) -> str:
        return NOTHING if step.event is None else linked(self.admin_site, step.event, str(step.event))


@admin.register(Payment)
class PaymentAdmin(ReadOnlyBriefAdmin):
    list_display = ("began", "payment", "state", "look_at", "of_bill", "customer", "final_state", "restaurant")
    list_display_links = ("began", "payment")
    list_filter = ("state", AlarmFilter, ContradictionFilter, "restaurant", "created_at")
    # By their beginning, and with their case.
    search_fields = ("payment_id__startswith", "bill__bill_id__startswith", "customer_id__startswith")
    search_help_text = "The beginning of a payment's, a bill's or a customer's id"
    fieldsets = (
        (None, {"fields": _IS}),
        ("What to look at", {"fields": _LOOK_AT}),
        ("Money", {"fields": _MONEY}),
        ("Moments, and questions to Qerko", {"fields": _ASKED}),
        ("The receipt, and what Qerko told", {"fields": _KEPT, "classes": ("collapse",)}),
    )
    readonly_fields = (*_IS, *_LOOK_AT, *_MONEY, *_ASKED, *_KEPT)
    inlines = (StepTable, ItemTable, PartTable)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        payments: QuerySet[Payment] = super().get_queryset(request)
        return payments.select_related("restaurant", "bill")

    @admin.display(description="payment id", ordering="payment_id")
    def payment(self, payment: Payment) -> str:
        return shown_identity(payment.payment_id)

    @admin.display(description="bill", ordering="bill__bill_id")
    def of_bill(self, payment: Payment) -> str:
        return linked(self.admin_site, payment.bill, shown_identity(payment.bill.bill_id))

    @admin.display(description="customer id", ordering="customer_id")
    def customer(self, payment: Payment) -> str:
        return shown_identity(payment.customer_id)

    @admin.display(description="look at")
    def look_at(self, payment: Payment) -> str:
        return shown_lines(_marks(payment))

    @admin.display(description="reason")
    def shown_reason(self, payment: Payment) -> str:
        return shown_text(legible.lines(payment.reason))

    @admin.display(description="alarm")
    def shown_alarm(self, payment: Payment) -> str:
        return shown_lines(map(shown_mark, payment.alarm.splitlines()))

    @admin.display(description="does not fit its bill")
    def shown_contradictions(self, payment: Payment) -> str:
        found = map(Contradiction.from_json, payment.contradictions)
        rows = ((shown_mark(one.what), f"{one.expected:f}", f"{one.told:f}", f"{one.difference:+f}") for one in found)
        return shown_table(("what", "expected", "told", "difference"), rows)

    @admin.display
    def sum_of_items(self, payment: Payment) -> str:
        lines = [times(item.price, item.quantity) for item in payment.items.all() if item.price is not None]
        return legible.money(total(lines), payment.currency)

    @admin.display(description="discount")
    def shown_discount(self, payment: Payment) -> str:
        return NOTHING if payment.discount is None else shown_json(payment.discount)

    @admin.display(description="tip (tipBrutto)")
    def tip_with_tax(self, payment: Payment) -> str:
        return _money(payment.tip_brutto, payment.currency)

    @admin.display(description="tip (tipNetto)")
    def tip_without_tax(self, payment: Payment) -> str:
        return _money(payment.tip_netto, payment.currency)

    @admin.display(ordering="created_at")
    def began(self, payment: Payment) -> str:
        return when(payment.created_at)

    @admin.display(ordering="changed_at")
    def changed(self, payment: Payment) -> str:
        return when(payment.changed_at)

    @admin.display(description="another wanted to begin")
    def newer_start(self, payment: Payment) -> str:
        return when(payment.newer_start_at) or NOTHING

    @admin.display(description="next question")
    def next_question(self, payment: Payment) -> str:
        return when(payment.next_question_at) or NOTHING

    @admin.display(description="receipt")
    def shown_receipt(self, payment: Payment) -> str:
        return NOTHING if payment.receipt is None else shown_json(payment.receipt)

    @admin.display(description="what Qerko told")
    def told(self, payment: Payment) -> str:
        return shown_json(payment.payload)


def _money(amount: Decimal | None, currency: str) -> str:
    return NOTHING if amount is None else legible.money(amount, currency)


def _marks(payment: Payment) -> Iterator[str]:
    if payment.alarm:
        yield shown_mark("alarm")
    if payment.contradictions:
        yield shown_mark("does not fit its bill")
    if payment.newer_start_at and payment.is_in_progress:
        yield shown_mark("another waits")

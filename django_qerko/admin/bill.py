"""Bills: what Qerko was last told of them, what of it is being paid, and what is paid."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from operator import attrgetter
from typing import Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from django_qerko.admin.reading import (
    NOTHING,
    MarkFilter,
    ReadOnlyBriefAdmin,
    linked,
    shown_identity,
    shown_json,
    shown_lines,
    shown_mark,
    shown_moments,
    shown_table,
)
from django_qerko.models import Bill
from django_qerko.models.quantities import Quantities
from django_qerko.tending import legible
from django_qerko.tending.timeline import Moment, when

_IS: Final = ("bill_id", "restaurant", "state", "look_at", "owed", "items", "payments", "life")
_ITEMS: Final = ("item", "id", "price", "told to Qerko", "paid", "being paid", "left", "offered again")


class OfferedAgainFilter(MarkFilter):
    title = "paid items offered again"
    parameter_name = "offered_again"


@admin.register(Bill)
class BillAdmin(ReadOnlyBriefAdmin):
    list_display = ("bill", "state", "look_at", "being_paid", "currency", "told_at", "restaurant")
    list_display_links = ("bill",)
    list_filter = ("state", OfferedAgainFilter, "restaurant", "snapshot_at")
    # By its beginning, which an index finds, and with its case.
    search_fields = ("bill_id__startswith",)
    search_help_text = "The beginning of a bill's id"
    fieldsets = (
        (None, {"fields": _IS}),
        ("What Qerko was told", {"fields": ("told",)}),
    )
    readonly_fields = (*_IS, "told")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bill]:
        bills: QuerySet[Bill] = super().get_queryset(request)
        return bills.select_related("restaurant")

    @admin.display(description="bill id", ordering="bill_id")
    def bill(self, bill: Bill) -> str:
        return shown_identity(bill.bill_id)

    @admin.display(description="told to Qerko", ordering="snapshot_at")
    def told_at(self, bill: Bill) -> str:
        return when(bill.snapshot_at) or NOTHING

    @admin.display(description="look at")
    def look_at(self, bill: Bill) -> str:
        return shown_mark("offered again") if bill.offered_again else NOTHING

    @admin.display(description="being paid")
    def being_paid(self, bill: Bill) -> str:
        return "yes" if bill.locked else NOTHING

    @admin.display
    def owed(self, bill: Bill) -> str:
        owed = bill.owed
        return "Qerko was never told of this bill" if owed is None else legible.money(owed, bill.currency)

    @admin.display
    def payments(self, bill: Bill) -> str:
        number, lines = bill.payments.count(), []
        if in_progress := bill.payments.in_progress().first():
            link = linked(self.admin_site, in_progress, str(in_progress))
            lines.append(format_html("in progress: {} ({})", link, in_progress.state))
        if number:
            page = reverse("admin:django_qerko_payment_changelist", current_app=self.admin_site.name)
            name = "the one payment" if number == 1 else f"all {number} payments"
            lines.append(format_html('<a href="{}?bill__id__exact={}">{} of this bill</a>', page, bill.pk, name))
        return shown_lines(lines)

    @admin.display
    def items(self, bill: Bill) -> str:
        return shown_table(_ITEMS, _items(bill))

    @admin.display(description="moments")
    def life(self, bill: Bill) -> str:
        return shown_moments(sorted(_moments(bill), key=attrgetter("at")))

    @admin.display(description="as JSON")
    def told(self, bill: Bill) -> str:
        return NOTHING if bill.snapshot is None else shown_json(bill.snapshot)


def _items(bill: Bill) -> Iterator[tuple[str, ...]]:
    """Every item that Qerko was told of or that was paid, with the quantities that are known of it."""
    told = {item["id"]: item for item in (bill.snapshot or {"items": []})["items"]}
    stands = {item: Decimal(told[item]["quantity"]) for item in told}
    kept = (stands, bill.paid_quantities, bill.locked_quantities, bill.left or {}, bill.offered_quantities)
    for item in dict.fromkeys(item for quantities in kept for item in quantities):
        name, price = (told[item]["name"], legible.money(Decimal(told[item]["price"]))) if item in told else ("", "")
        yield name or NOTHING, item, price or NOTHING, *(_much(item, quantities) for quantities in kept)


def _much(item: str, quantities: Quantities) -> str:
    return legible.quantity(quantities[item]) if item in quantities else NOTHING


def _moments(bill: Bill) -> Iterator[Moment]:
    kept = (
        (bill.created_at, "first heard of"),
        (bill.snapshot_at, "Qerko was last told of it"),
        (bill.settled_at, "last paid"),
        (bill.closed_at, "last closed"),
        (bill.opened_at if bill.opened_at > bill.created_at else None, "opened again"),
    )
    for at, what in kept:
        if at is not None:
            yield Moment(at, what)

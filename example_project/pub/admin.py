"""The pub's tables and bills, for the staff."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from example_project.pub.models import IssuedReceipt, Line, Order, Table

if TYPE_CHECKING:
    TableAdminBase = admin.ModelAdmin[Table]
    OrderAdminBase = admin.ModelAdmin[Order]
    IssuedReceiptAdminBase = admin.ModelAdmin[IssuedReceipt]
    LineInlineBase = admin.TabularInline[Line, Order]
else:
    TableAdminBase = OrderAdminBase = IssuedReceiptAdminBase = admin.ModelAdmin
    LineInlineBase = admin.TabularInline


@admin.register(Table)
class TableAdmin(TableAdminBase):
    list_display = ["code", "name", "area"]
    search_fields = ["code", "name"]


class LineInline(LineInlineBase):
    model = Line
    extra = 0
    readonly_fields = ["paid_quantity"]


@admin.register(Order)
class OrderAdmin(OrderAdminBase):
    """Bills; a waiter closes one that was paid at the counter."""

    list_display = ["id", "table", "opened_at", "closed_at", "owed"]
    list_filter = ["table", ("closed_at", admin.EmptyFieldListFilter)]
    list_select_related = ["table"]
    readonly_fields = ["closed_at"]
    inlines = [LineInline]
    actions = ["close"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).prefetch_related("lines")

    @admin.action(description="Close the selected bills", permissions=["change"])
    def close(self, request: HttpRequest, orders: QuerySet[Order]) -> None:
        closed = sum(order.close(at=timezone.now()) for order in orders)
        messages.success(request, f"Bills closed: {closed}.")


@admin.register(IssuedReceipt)
class IssuedReceiptAdmin(IssuedReceiptAdminBase):
    """The receipts that guests got; nobody changes one by hand."""

    list_display = ["serial", "payment_id", "order", "issued_at", "voided_at"]
    list_filter = [("voided_at", admin.EmptyFieldListFilter)]
    list_select_related = ["order__table"]
    search_fields = ["payment_id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: IssuedReceipt | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: IssuedReceipt | None = None) -> bool:
        return False

"""What was turned away at the door, by the hour."""

from __future__ import annotations

from django.contrib import admin

from django_qerko.admin.reading import ReadOnlyAdmin, shown_json
from django_qerko.models import Rejection


@admin.register(Rejection)
class RejectionAdmin(ReadOnlyAdmin):
    list_display = ("hour", "reason", "number", "restaurant", "last_at")
    list_filter = ("reason", "restaurant", "hour")
    list_select_related = ("restaurant",)
    search_fields = ("reason",)
    fields = readonly_fields = ("id", "restaurant", "reason", "hour", "number", "first_at", "last_at", "shown_samples")

    @admin.display(description="samples")
    def shown_samples(self, rejection: Rejection) -> str:
        """By the ids under which ``qerko_diagnose`` knows them."""
        return shown_json(rejection.named_samples)

"""Restaurants, where Qerko calls them, and their keys, of which four characters are shown."""

from __future__ import annotations

from typing import Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_qerko.admin.reading import ReadOnlyAdmin, ReadOnlyInline
from django_qerko.models import Restaurant, RestaurantKey

_OF_A_KEY: Final = ("added_at", "last_used_at")


class KeyInline(ReadOnlyInline):
    model = RestaurantKey
    verbose_name = "key"
    verbose_name_plural = "keys"
    fields = (_OF_A_KEY,)
    readonly_fields = _OF_A_KEY


@admin.register(Restaurant)
class RestaurantAdmin(ReadOnlyAdmin):
    list_display = ("name", "keys", "created_at")
    search_fields = ("name",)
    fields = readonly_fields = ("name", "address", "created_at")
    inlines = (KeyInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Restaurant]:
        restaurants: QuerySet[Restaurant] = super().get_queryset(request)
        return restaurants.prefetch_related("keys")

    @admin.display
    def keys(self, restaurant: Restaurant) -> str:
        return ", ".join(key.shown for key in restaurant.keys.all())

    @admin.display(description="Qerko calls")
    def address(self, restaurant: Restaurant) -> str:
        return restaurant.webhook_address


@admin.register(RestaurantKey)
class RestaurantKeyAdmin(ReadOnlyAdmin):
    list_display = ("key", "restaurant", *_OF_A_KEY)
    list_filter = ("restaurant",)
    list_select_related = ("restaurant",)
    fields = readonly_fields = ("restaurant", "key", *_OF_A_KEY)

    @admin.display
    def key(self, row: RestaurantKey) -> str:
        return row.shown

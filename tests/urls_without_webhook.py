"""A URLconf that knows nothing of Qerko."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []

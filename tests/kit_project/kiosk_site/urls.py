"""Where the kiosk listens."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("qerko/", include("django_qerko.urls"))]

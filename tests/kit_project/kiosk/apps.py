"""The kiosk's handlers are connected when Django starts."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class KioskConfig(AppConfig):
    name = "kiosk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import_module("kiosk.handlers")

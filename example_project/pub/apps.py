"""The pub, with its handlers connected at start."""

from __future__ import annotations

from django.apps import AppConfig


class PubConfig(AppConfig):
    """The pub's own app."""

    name = "example_project.pub"
    label = "pub"
    verbose_name = "The pub"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from example_project.pub import handlers, payments  # noqa: F401

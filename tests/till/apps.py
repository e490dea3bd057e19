"""The till, silent in the tests' own process and open in a server's."""

from __future__ import annotations

from django.apps import AppConfig


class TillConfig(AppConfig):
    name = "tests.till"
    default = True


class OpenTillConfig(TillConfig):
    """The till with its handlers connected."""

    default = False

    def ready(self) -> None:
        from tests.till import handlers

        handlers.connect()

"""Defaults of DRF, and a router, that would break a view that leans on them."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db.models import Model
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.throttling import BaseThrottle


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Nobody may come here."""
    raise AssertionError("A default of the host reached the webhook")


class NoRenderer(BaseRenderer):
    media_type = "text/hostile"
    render = refuse


class NoParser(BaseParser):
    media_type = "*/*"
    parse = refuse


class NoPermission(BasePermission):
    has_permission = refuse


class NoThrottle(BaseThrottle):
    allow_request = refuse


class NoNegotiation(DefaultContentNegotiation):
    select_renderer = refuse


class Router:
    """Qerko's tables, and what its handlers write, stand in a database of their own."""

    def _home(self, model: type[Model], **_: Any) -> str:
        return "qerko" if model._meta.app_label in ("django_qerko", "till") else "default"

    db_for_read = db_for_write = _home

    def allow_relation(self, one: Model, other: Model, **_: Any) -> bool:
        return self._home(type(one)) == self._home(type(other))

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return (db == "qerko") == (app_label in ("django_qerko", "till"))

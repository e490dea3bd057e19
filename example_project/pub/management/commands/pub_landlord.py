"""Make sure that somebody can log in to the admin."""

from __future__ import annotations

import json
import os
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = (
        "Make a superuser, unless there is one: $DJANGO_SUPERUSER_USERNAME (default: landlord) with "
        "$DJANGO_SUPERUSER_PASSWORD (default: one is made up, and shown this once)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")

    def handle(self, *, json: bool, **_: Any) -> None:
        name, password = landlord()
        self.stdout.write(as_json(name, password) if json else as_text(name, password))


def landlord() -> tuple[str, str | None]:
    """A superuser's name, and the password of one that was made now."""
    users = get_user_model().objects
    known = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if known is not None:
        return known.get_username(), None
    name = os.environ.get("DJANGO_SUPERUSER_USERNAME") or "landlord"
    password = os.environ.get("DJANGO_SUPERUSER_PASSWORD") or secrets.token_urlsafe(9)
    users.create_superuser(username=name, password=password)
    return name, password


def as_json(name: str, password: str | None) -> str:
    return json.dumps({"name": name, "password": password})


def as_text(name: str, password: str | None) -> str:
    return f"{name} has the password {password}" if password else f"{name} is there already"

"""Open the pub: tables, a bill on each, and a restaurant that Qerko can call."""

from __future__ import annotations

import json
import os
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant
from example_project.pub.models import CURRENCY
from example_project.pub.opening import EXAMPLE_KEY, OpenPub, open_pub

ANOTHER_KEY: Final = (
    "Set QERKO_API_KEY to another key, or give that restaurant another by `qerko_restaurant rotate`, "
    "and the same with --finish."
)


def some(tables: object) -> int:
    """A number of tables that fits into a pub, typed or handed over by ``call_command``, which reads no keyword."""
    text = str(tables)
    if not text.isdecimal() or not 1 <= int(text) <= 999:
        raise CommandError(f"A pub has 1 to 999 tables, not {text!r}.", returncode=2)
    return int(text)


class Command(BaseCommand):
    help = (
        "Make tables T1, T2, … with an open bill on each, and a restaurant whose key is $QERKO_API_KEY. "
        "Run again it keeps all of it, adds the key only where $QERKO_API_KEY has changed, "
        "and opens a new bill where the last one is closed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tables", default=4, metavar="N", help="how many tables (default: 4)")
        parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")

    def handle(self, *, tables: object, json: bool, **_: Any) -> None:
        number = some(tables)
        require_migrated()
        try:
            pub = open_pub(tables=number, api_key=key_of_the_pub())
        except ValidationError as error:
            raise CommandError(f"QERKO_API_KEY: {error.message} {ANOTHER_KEY}") from None
        self.stdout.write(as_json(pub) if json else as_text(pub))


def require_migrated() -> None:
    """Raises CommandError, with the cure, where the database cannot be asked or lacks a migration."""
    try:
        executor = MigrationExecutor(connection)
    except OperationalError as error:
        raise CommandError(f"The database cannot be reached: {error}") from error
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is not ready: run `python manage.py migrate` first.")


def key_of_the_pub() -> ApiKey:
    try:
        return ApiKey(os.environ.get("QERKO_API_KEY") or EXAMPLE_KEY)
    except ValueError as error:
        raise CommandError(f"QERKO_API_KEY: {error}") from None


def webhook_path(restaurant: Restaurant) -> str:
    return reverse("qerko:webhook", kwargs={"token": restaurant.webhook_token})


def as_json(pub: OpenPub) -> str:
    return json.dumps(
        {
            "restaurant": {"id": pub.restaurant.pk, "webhook_path": webhook_path(pub.restaurant)},
            "tables": [
                {"id": order.table.code, "bill_id": str(order.pk), "total": str(order.owed)} for order in pub.orders
            ],
        }
    )


def as_text(pub: OpenPub) -> str:
    bills = [f"  {order.table.code:<5} bill {order.pk:<5} {order.owed:>9} {CURRENCY}" for order in pub.orders]
    address = f"Qerko calls it at {webhook_path(pub.restaurant)}"
    return "\n".join([f"{pub.restaurant} is open.", address, *bills])

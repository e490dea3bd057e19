"""Say whether the pub and the app agree on what is paid."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from example_project.pub.auditing import disagreements


class Command(BaseCommand):
    help = "Compare what Qerko's guests paid, as the app's books have it, with what the pub's own lines count as paid."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON list of what differs, for programs")

    def handle(self, *, json: bool, **_: Any) -> None:
        found = list(disagreements())
        if json:
            self.stdout.write(as_json(found))
        elif found:
            raise CommandError("\n".join(found))
        else:
            self.stdout.write("Both books agree.")


def as_json(found: list[str]) -> str:
    return json.dumps(found, ensure_ascii=False)

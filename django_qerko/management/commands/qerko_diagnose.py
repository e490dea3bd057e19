"""Say why a delivery was turned away: one that was recorded, or a request in a file."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_qerko.management import arguments, from_file, recorded
from django_qerko.management.printing import PrintingCommand
from django_qerko.receiving.explaining.causes import Cause
from django_qerko.tending import legible

HEADINGS: Final = ("id", "last", "reason", "restaurant", "why")


class Command(PrintingCommand):
    help = (
        "Say why a signature or a time window was refused: of a recorded rejection, or of a request saved in a file."
        " Without arguments, list the latest rejections with their ids."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("id", metavar="ID", nargs="?", help="of a rejection, with all its samples, or of one sample")
        which.add_argument("--file", metavar="FILE", help="a whole HTTP request, as it came; - is standard input")
        parser.add_argument("--limit", metavar="N", type=arguments.positive, default=20, help="list so many (20)")
        about = parser.add_argument_group("about the request in a file")
        about.add_argument("--restaurant", metavar="NAME", help="whom it was for, where its address does not say so")
        about.add_argument("--api-key", metavar="KEY", type=from_file.api_key, help="judge by this key; - reads it")
        about.add_argument("--body", metavar="FILE", help="its body, where the file has the headers only")
        about.add_argument("--url", metavar="URL", type=arguments.address, help="what Qerko was told to call")
        about.add_argument("--at", metavar="WHEN", type=arguments.moment, help="when it came: 15m, or in ISO 8601")

    def handle(self, *, id: str | None, file: str | None, limit: int, **options: Any) -> None:  # noqa: A002
        about = {name: options[name] for name in ("restaurant", "api_key", "body", "url", "at")}
        if file is not None:
            self._of_a_file(from_file.Question(file=file, **about))
        elif any(value is not None for value in about.values()):
            raise CommandError("That is about the request in a --file, which is not named.", returncode=2)
        elif id is not None:
            self._of_a_record(id)
        else:
            self._list(limit)

    def _list(self, limit: int) -> None:
        rows = list(recorded.latest(limit))
        if rows:
            self.print_table(HEADINGS, rows)
        else:
            self.stderr.write("Nothing was turned away.", str)

    def _of_a_record(self, known_as: str) -> None:
        rejection, samples = recorded.known(known_as)
        for name, sample in samples.items():
            title = f"{name}: {rejection.reason}, at the door of {rejection.restaurant or 'nobody'}"
            self._say(title, recorded.facts(sample))
            self._say_why(recorded.causes_of(rejection, sample))
            self._say("", recorded.compared(sample))
        if not samples:
            self._say(f"{rejection.pk}: {rejection.reason}", ["No sample of it was kept."])

    def _of_a_file(self, question: from_file.Question) -> None:
        answer = from_file.diagnose_file(question, now=time.time())
        self._say(answer.title, answer.facts)
        self._say_why(answer.causes)
        if not answer.causes:
            self._say("", ["Nothing is wrong with its signature."])
        if any(cause.name == "unexplained" for cause in answer.causes):
            raise CommandError("What was done to it is not known.")

    def _say_why(self, causes: Iterable[Cause]) -> None:
        for cause in causes:
            self._say(cause.name, [recorded.told(cause), cause.cure])

    def _say(self, title: str, lines: Iterable[str]) -> None:
        if title:
            self.stdout.write(self.style.MIGRATE_HEADING(legible.line(title)))
        for line in lines:
            self.stdout.write(f"  {legible.line(line)}")

"""Play Qerko on this machine: call a webhook, and show what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any, cast

from django.core.management.base import CommandError, CommandParser

from django_qerko.keys import ApiKey
from django_qerko.management import arguments, points_of_sale
from django_qerko.management.calling import CalledCommand
from django_qerko.sandbox import command
from django_qerko.sandbox.printing import console_on


class Command(CalledCommand):
    help = "Play Qerko on this machine: a guest's phone page that calls your webhook, and what was said."
    # It judges any point of sale: this project's database and its QERKO setting may be missing.
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        command.add_arguments(parser)
        parser.add_argument(
            "--pos",
            default=points_of_sale.ORIGIN,
            type=arguments.address,
            metavar="ORIGIN",
            help="where this project runs, where no --url is named (%(default)s)",
        )

    def handle(
        self,
        *,
        url: Sequence[str],
        api_key: Sequence[ApiKey],
        pos: str,
        no_color: bool,
        force_color: bool,
        **options: Any,
    ) -> None:
        console = console_on(cast("IO[str]", self.stdout), no_color=no_color, force_color=force_color)
        try:
            known = command.named(url, api_key) or points_of_sale.of_this_project(pos)
            command.run(console, known, **options)
        except command.WrongCall as wrong:
            raise CommandError(str(wrong)) from wrong

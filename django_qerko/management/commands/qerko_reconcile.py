"""Ask Qerko for the payments in progress, and do what follows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.db import router

from django_qerko.management import arguments
from django_qerko.management.printing import PrintingCommand
from django_qerko.models import Payment
from django_qerko.models.payment import PaymentQuerySet
from django_qerko.tending.reconciling import Asked, Outcome, foresee, reconcile

HEADINGS: Final = ("payment", "bill", "restaurant", "here", "Qerko says", "done")
_WIDTHS: Final = (36, 16, 20, 9, 12, 0)


class Command(PrintingCommand):
    help = "Ask Qerko for the payments in progress: PAID is settled, unknown is cancelled, any other state is shown."
    # What was paid is paid, whatever a check has to say.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            metavar="WHEN",
            type=arguments.moment,
            help="only payments that began longer ago: 15m, 2h, 1d, or before a time in ISO 8601",
        )
        parser.add_argument("--dry-run", action="store_true", help="ask, and change nothing")

    def handle(self, *, older_than: datetime | None, dry_run: bool, **_: Any) -> None:
        book = Payment.objects.using(router.db_for_write(Payment)).in_progress().select_related("restaurant", "bill")
        chosen = book if older_than is None else book.begun_before(older_than)
        keys = list(chosen.order_by("pk").values_list("pk", flat=True))
        if not keys:
            self.stderr.write("No payments in progress.", str)
            return
        if failed := sum(outcome is Outcome.FAILED for outcome in self._ask(book, keys, dry_run=dry_run)):
            raise CommandError(f"Qerko could not be asked about {failed} of {len(keys)}.")

    def _ask(self, book: PaymentQuerySet, keys: list[int], *, dry_run: bool) -> Iterator[Outcome]:
        """Line by line, because each question may take as long as Qerko does."""
        self.print_rows([HEADINGS], widths=_WIDTHS, style="bold")
        for key in keys:
            # Read when its turn comes, because it may be over by then.
            if payment := book.filter(pk=key).first():
                names = (payment, payment.bill, payment.restaurant, payment.state)
                asked = foresee(payment) if dry_run else reconcile(payment, by_hand=True)
                self.print_rows([(*names, *_told(asked))], widths=_WIDTHS)
                self.stdout.flush()
                yield asked.outcome


def _told(asked: Asked) -> tuple[str, str]:
    said = "" if asked.heard is None else asked.heard.state
    why = "" if asked.failure is None else f": {asked.failure.reason}"
    return said, f"{asked.outcome.value}{why}"

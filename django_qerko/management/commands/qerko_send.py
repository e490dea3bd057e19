"""Send one signed delivery, and show what came back, whether that is right, and what would follow."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.management.base import CommandError, CommandParser

from django_qerko.events import meant
from django_qerko.keys import ApiKey
from django_qerko.management import arguments, points_of_sale, showing
from django_qerko.management.printing import PrintingCommand
from django_qerko.sandbox.conversation import decode
from django_qerko.sandbox.following import following
from django_qerko.sandbox.judging import is_deserved
from django_qerko.sandbox.qerko import PATIENCE, Exchange, PointOfSale, Qerko
from django_qerko.sandbox.samples import sample
from django_qerko.sandbox.signing import TAMPERINGS, Written
from django_qerko.sandbox.telling import as_json
from django_qerko.signatures import SCHEMES
from django_qerko.tending import legible

_BOTH: Final = "both"
_STANDARD_INPUT: Final = "-"
#: Whoever waits for longer is told so.
_SILENT_FOR: Final = 1.0


class Command(PrintingCommand):
    help = "Send one signed delivery to a webhook. Exit status 0: what came back is what it deserves; 1: it is not."
    # It tries any point of sale: this project's database and its QERKO setting may be missing.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("event", metavar="EVENT", help="in Qerko's words: getBill; any other name will do, too")
        _add_content(parser)
        _add_addressee(parser)
        _add_seal(parser)
        parser.add_argument("--json", action="store_true", help="print one object")

    def handle(
        self,
        *,
        event: str,
        data: str | None,
        scheme: str,
        tamper: str | None,
        timeout: float,
        json: bool,
        **options: Any,
    ) -> None:
        pos = _addressee(**options)
        if known := meant(event):
            self.stderr.write(legible.line(f"{event} is no event of Qerko's; did you mean {known}?"), str)
        said = _changed(sample(event, pos), options["set"]) if data is None else _read(data)
        how = {name: options[name] for name in ("age", "lifetime", "url_per_event")}
        schemes = SCHEMES if scheme == _BOTH else (scheme,)
        # Whoever typed an address allowed it; a key is not in a delivery, only what it signed.
        with Qerko(timeout=timeout, allow_remote=True) as qerko, self._patience(timeout):
            exchange = _asked(qerko, pos, event, said, tamper=tamper, schemes=schemes, event_id=options["id"], **how)
        if json:
            self.print_json(_members(exchange))
        else:
            self._print(showing.sections(exchange, tamper))
        if not is_deserved(exchange):
            self.stdout.flush()
            raise SystemExit(1)

    @contextmanager
    def _patience(self, timeout: float) -> Iterator[None]:
        """Say that it waits, where it does; Ctrl-C gives up."""
        text = f"No answer yet; it may take {timeout:g} seconds. Ctrl-C gives up."
        timer = threading.Timer(_SILENT_FOR, self.stderr.write, [text, str])
        timer.start()
        try:
            yield
        except KeyboardInterrupt:
            raise CommandError("Given up before an answer came.") from None
        finally:
            timer.cancel()

    def _print(self, sections: Iterator[tuple[str, str]]) -> None:
        for title, text in sections:
            self.stdout.write(self.style.MIGRATE_HEADING(title))
            self.stdout.write("".join(f"  {line}".rstrip() + "\n" for line in text.split("\n")))


# -- What a person types ---------------------------------------------------------------------------


def _add_content(parser: CommandParser) -> None:
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--data", metavar="FILE", help="the event's data as JSON; - reads standard input")
    content.add_argument(
        "--set",
        metavar="MEMBER=VALUE",
        action="append",
        default=[],
        type=_change,
        help="change a text in the sample data: billId=7, payment.idBill=7; may be repeated",
    )
    parser.add_argument("--id", metavar="ID", help="of the event; the same again delivers it again")


def _add_addressee(parser: CommandParser) -> None:
    an_address = arguments.address
    parser.add_argument("--url", type=an_address, help="the webhook; without it, that of this project's restaurant")
    parser.add_argument(
        "--api-key", metavar="KEY", type=arguments.api_key, help="what to sign with; - reads standard input"
    )
    parser.add_argument("--restaurant", metavar="NAME", help="which one of this project, where there are several")
    parser.add_argument(
        "--pos",
        metavar="ORIGIN",
        type=an_address,
        default=points_of_sale.ORIGIN,
        help="where this project runs, where no --url is named (%(default)s)",
    )
    parser.add_argument("--url-per-event", action="store_true", help="to the event's own address: …/getBill/")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=arguments.patience,
        default=PATIENCE,
        help="how long to wait for an answer (%(default)g)",
    )


def _add_seal(parser: CommandParser) -> None:
    some_seconds = arguments.seconds
    parser.add_argument(
        "--age", metavar="SECONDS", type=some_seconds, default=0.0, help="created so long ago; -60 lies in the future"
    )
    parser.add_argument(
        "--lifetime", metavar="SECONDS", type=some_seconds, default=60.0, help="from created to expires (%(default)g)"
    )
    parser.add_argument(
        "--tamper", choices=TAMPERINGS, help="; ".join(f"{name}: {what}" for name, what in TAMPERINGS.items())
    )
    parser.add_argument("--scheme", choices=[*SCHEMES, _BOTH], default=_BOTH, help="how it is signed (%(default)s)")


def _change(text: str) -> tuple[str, str]:
    member, is_written, value = text.partition("=")
    if not (member and is_written):
        raise argparse.ArgumentTypeError("not of the form member=value")
    return member, value


def _addressee(*, url: str | None, api_key: ApiKey | None, restaurant: str | None, pos: str, **_: Any) -> PointOfSale:
    """Whom to call; the database is asked only where something is not named."""
    if url is not None and api_key is not None:
        return PointOfSale(url=url, api_key=api_key, name=urlsplit(url).netloc)
    ours = points_of_sale.the_one(points_of_sale.of_this_project(pos), restaurant)
    return replace(ours, url=url or ours.url, api_key=api_key or ours.api_key)


def _changed(data: Any, changes: Sequence[tuple[str, str]]) -> Any:
    """The sample with some of its texts changed; where there is no sample, an object with these."""
    for member, value in changes:
        data = {} if data is None else data
        *way, name = member.split(".")
        holder = data
        for step in way:
            holder = holder.setdefault(step, {})
            if not isinstance(holder, dict):
                raise _wrong(f"{legible.line(member)} is not in the sample data: {legible.line(step)} has no members.")
        holder[name] = value
    return data


def _read(name: str) -> Written:
    """The JSON in a file, or in what is left of standard input."""
    source = "Standard input" if name == _STANDARD_INPUT else legible.line(name)
    try:
        body = _standard_input() if name == _STANDARD_INPUT else Path(name).read_bytes()
        decode(body)
    except OSError as error:
        raise _wrong(f"{source} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise _wrong(f"{source} holds no JSON: {error}.") from error
    return Written(body.decode())


def _standard_input() -> bytes:
    """As text, because its first line may have been the key, and what comes after that was read as text as well."""
    return sys.stdin.read().encode("utf-8", "surrogateescape")


def _asked(qerko: Qerko, pos: PointOfSale, event: str, data: object, **how: Any) -> Exchange:
    try:
        return qerko.ask(pos, event, data, **how)
    except ValueError as error:
        raise _wrong(str(error)) from error


def _wrong(text: str) -> CommandError:
    return CommandError(text, returncode=2)


def _members(exchange: Exchange) -> dict[str, Any]:
    return {
        **as_json(exchange),
        "expected": exchange.expected,
        "is_deserved": is_deserved(exchange),
        "following": list(following(exchange)),
    }

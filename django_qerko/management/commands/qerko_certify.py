"""Try every rule of the protocol on a point of sale, and say which hold, which are broken, and what to do."""

from __future__ import annotations

import errno
import logging
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast
from urllib.parse import urlsplit

from django.core.management.base import CommandError, CommandParser
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from django_qerko.certifying import house, junit
from django_qerko.certifying.catalogue import RULES, try_all
from django_qerko.certifying.playing import Play
from django_qerko.certifying.reporting import Progress, report
from django_qerko.certifying.ruling import Rule
from django_qerko.certifying.stage import on_stage
from django_qerko.keys import ApiKey
from django_qerko.management import arguments, points_of_sale
from django_qerko.management.calling import CalledCommand
from django_qerko.sandbox.conversation import PointOfSale
from django_qerko.sandbox.printing import console_on
from django_qerko.tending import legible

#: Where a point of sale that runs on this machine sends its replies.
_PORT: Final = 8765
_NAMES: Final = {rule.name: rule for rule in RULES}


class Command(CalledCommand):
    help = (
        "Try every rule of Qerko's protocol on a point of sale: a running one, or this project's handlers on a test"
        " database. Exit status 0: all hold; 1: not all do; 2: the call is wrong."
    )
    # It judges any point of sale: this project's database and its QERKO setting may be missing.
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", type=arguments.address, help="a webhook that is running; goes with --api-key")
        parser.add_argument(
            "--api-key", metavar="KEY", type=arguments.api_key, help="its restaurant's key; - reads standard input"
        )
        parser.add_argument("--yes", action="store_true", help="its bills may be paid: do not ask")
        parser.add_argument(
            "--fixture", metavar="DOTTED.PATH", type=_callable, help="a function that fills the test database"
        )
        parser.add_argument(
            "--port", type=arguments.port, help=f"where replies are taken ({_PORT}; without --url any free one)"
        )
        parser.add_argument(
            "--only", metavar="RULE", action="append", type=_rule, help="try this rule, and what it needs; repeatable"
        )
        parser.add_argument("--junit", metavar="FILE", type=Path, help="write JUnit XML, a test case for each rule")

    def handle(
        self,
        *,
        only: Sequence[Rule] | None,
        junit: Path | None,
        verbosity: int,
        no_color: bool,
        force_color: bool,
        **options: Any,
    ) -> None:
        rules = [rule for rule in RULES if only is None or rule in only]
        console = console_on(cast("IO[str]", self.stdout), no_color=no_color, force_color=force_color)
        progress = Progress(console, len(rules), say_otherwise=self._say)
        try:
            with _quiet(verbosity), ExitStack() as stack:
                if options["url"] is None:
                    # Nobody is asked anything, and a test database is not made in a moment.
                    stack.enter_context(progress.shown())
                    progress.say("Making a test database")
                play = stack.enter_context(_playing(**options))
                if options["url"] is not None:
                    stack.enter_context(progress.shown())
                verdicts = try_all(rules, play, before=progress.tell)
        except KeyboardInterrupt:
            raise CommandError("Given up before all rules were tried.") from None
        report(console, verdicts)
        if junit is not None:
            _write(junit, verdicts)
        if not all(verdict.is_good for _, verdict in verdicts):
            raise SystemExit(1)

    def _say(self, text: str) -> None:
        """Say it to a person whose terminal shows no line that changes, and to nobody else."""
        if self.stderr.isatty():
            self.stderr.write(text, style_func=str)


# -- What a person types ---------------------------------------------------------------------------


def _callable(path: str) -> Callable[[], object]:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ArgumentTypeError(str(error)) from error
    if not callable(found):
        raise ArgumentTypeError(f"{path} cannot be called")

    def fill() -> None:
        try:
            found()
        except Exception as error:
            told = legible.line(f"{type(error).__name__}: {error}")
            raise _wrong(f"The fixture {path} broke: {told}") from error

    return fill


def _rule(name: str) -> Rule:
    if name not in _NAMES:
        raise ArgumentTypeError(f"there is no rule {name!r}; there are {', '.join(_NAMES)}")
    return _NAMES[name]


def _wrong(text: str) -> CommandError:
    return CommandError(text, returncode=2)


# -- Whom it is tried on ---------------------------------------------------------------------------


@contextmanager
def _playing(
    *,
    url: str | None,
    api_key: ApiKey | None,
    yes: bool,
    fixture: Callable[[], object] | None,
    port: int | None,
    **_: Any,
) -> Iterator[Play]:
    """The point of sale that was named, or this project's own."""
    if (url is None) != (api_key is None):
        raise _wrong("--url and --api-key go together.")
    if url is None or api_key is None:
        with _in_process(fixture, port or 0) as play:
            yield play
        return
    if fixture is not None:
        raise _wrong("--fixture fills a test database, and with --url there is none.")
    if not yes:
        _ask_first(url)
    pos = PointOfSale(url=url, api_key=api_key, name=urlsplit(url).netloc)
    with ExitStack() as stack:
        yield _on_stage(stack, pos, _PORT if port is None else port, allow_remote=True)


@contextmanager
def _in_process(fixture: Callable[[], object] | None, port: int) -> Iterator[Play]:
    try:
        reverse("qerko:webhook")
    except NoReverseMatch as error:
        raise _wrong(points_of_sale.NO_ADDRESS) from error
    with house.an_own_database(), house.overhearing() as failures, ExitStack() as stack:
        try:
            restaurant = house.the_restaurant(fixture)
        except ValueError as error:
            raise _wrong(str(error)) from error
        yield _on_stage(
            stack, lambda api_url: stack.enter_context(house.serving(restaurant, api_url)), port, failures=failures
        )


def _on_stage(stack: ExitStack, find: PointOfSale | Callable[[str], PointOfSale], port: int, **how: Any) -> Play:
    try:
        return stack.enter_context(on_stage(find, port=port, **how))
    except OSError as error:
        cure = _cure_of_port(is_remote=not callable(find)) if error.errno == errno.EADDRINUSE else ""
        raise _wrong(f"Cannot listen at port {port}: {error.strerror}.{cure}") from error


def _cure_of_port(*, is_remote: bool) -> str:
    """A point of sale that runs replies where its settings say, and not where a free port is."""
    if is_remote:
        return (
            " Probably the sandbox of its BASE_URL still runs there: stop it, or name another --port, and give the"
            " point of sale that one, too."
        )
    return " --port 0 takes any free one."


def _ask_first(url: str) -> None:
    try:
        said = input(f"Bills at {url} will be paid, a little of each. Go on? [y/N] ")
    except EOFError:
        raise _wrong("Bills will be paid, and nobody is there to be asked: --yes allows it.") from None
    if said.strip().lower() not in {"y", "yes"}:
        raise _wrong("Nothing was tried.")


@contextmanager
def _quiet(verbosity: int) -> Iterator[None]:
    """Keep what is logged of all that is tried on purpose from the terminal, unless it is asked for."""
    before = logging.root.manager.disable
    logging.disable(before if verbosity > 1 else logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _write(path: Path, verdicts: Sequence[tuple[Rule, Any]]) -> None:
    try:
        junit.write(path, verdicts)
    except OSError as error:
        raise _wrong(f"{path} cannot be written: {error.strerror}.") from error

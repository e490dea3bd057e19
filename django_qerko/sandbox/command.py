"""Run the sandbox for a person: what can be typed, and what is printed until Ctrl-C."""

from __future__ import annotations

import errno
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from rich.console import Console

from django_qerko.keys import ApiKey
from django_qerko.sandbox import arguments
from django_qerko.sandbox.misbehaving import Manners
from django_qerko.sandbox.printing import print_line
from django_qerko.sandbox.qerko import PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from django_qerko.signatures import SCHEMES

BOTH: Final = "both"
#: What ends it: Ctrl-C, and whoever started it.
_INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM)
_SHARES: Final = {
    "fail": "of its answers to the point of sale that are 503",
    "cut": "of connections that it cuts, in both directions",
    "twice": "of deliveries that come twice, at once or one after the other",
    "reorder": "of the steps of a payment that are overtaken by what follows",
    "forge": "of deliveries before which a forged one comes, which must get 401",
}


class WrongCall(Exception):
    """The sandbox cannot be started like this; the message is for whoever typed it."""


def add_arguments(parser: ArgumentParser) -> None:
    """Everything that can be typed, whichever way the sandbox is started."""
    parser.add_argument(
        "--url", action="append", default=[], type=arguments.address, help="a webhook; goes with --api-key"
    )
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        type=arguments.api_key,
        help="its restaurant's key; - reads standard input",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (%(default)s)")
    parser.add_argument("--port", default=8765, type=arguments.port, help="0 takes any free one (%(default)s)")
    parser.add_argument("--allow-remote", action="store_true", help="listen to, and call, other machines")
    parser.add_argument(
        "--scheme", choices=[*SCHEMES, BOTH], default=BOTH, help="how deliveries are signed (%(default)s)"
    )
    _add_manners(parser)


def _add_manners(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "a bad Qerko", "How often it does what it should not: SHARE is a number from 0 to 1, or per cent, such as 20%%."
    )
    group.add_argument(
        "--slow", default=0.0, type=arguments.patience, metavar="SECONDS", help="before each answer of Qerko's"
    )
    for name, of_what in _SHARES.items():
        group.add_argument(f"--{name}", default=0.0, type=arguments.share, metavar="SHARE", help=of_what)
    group.add_argument("--unknown-members", action="store_true", help="say what nobody knows, at every depth")
    group.add_argument("--seed", type=int, help="of the dice, so that an evening can be told again")


def named(urls: Sequence[str], api_keys: Sequence[ApiKey]) -> list[PointOfSale]:
    """Whom --url and --api-key name. Raises WrongCall where they are no pairs."""
    if len(urls) != len(api_keys):
        raise WrongCall(f"Each --url goes with an --api-key, and there are {len(urls)} and {len(api_keys)}.")
    return [
        PointOfSale(url=url, api_key=api_key, name=urlsplit(url).netloc)
        for url, api_key in zip(urls, api_keys, strict=True)
    ]


def run(
    console: Console,
    known: Sequence[PointOfSale],
    *,
    host: str,
    port: int,
    allow_remote: bool,
    scheme: str,
    seed: int | None,
    **others: Any,
) -> None:
    """Play until Ctrl-C. Raises WrongCall where that cannot begin."""
    tell = partial(print_line, console)
    manners = Manners(**{field.name: others[field.name] for field in fields(Manners)})
    qerko = Qerko(
        on_exchange=tell,
        on_reply=tell,
        on_note=tell,
        allow_remote=allow_remote,
        schemes=SCHEMES if scheme == BOTH else [scheme],
        manners=manners,
        seed=seed,
    )
    try:
        server = SandboxServer(qerko, known, host=host, port=port, allow_remote=allow_remote)
    except ValueError as error:
        raise WrongCall(f"{error} --allow-remote allows it.") from error
    except OSError as error:
        cure = " --port 0 takes any free one." if error.errno == errno.EADDRINUSE else ""
        raise WrongCall(f"Cannot listen at {host}, port {port}: {error.strerror}.{cure}") from error
    with _interruptible(), qerko, server, suppress(KeyboardInterrupt):
        _welcome(console, server, known, qerko)
        threading.Event().wait()
    console.print("The sandbox is closed.")


@contextmanager
def _interruptible() -> Iterator[None]:
    """End in order, too, where a shell started us in the background, deaf to Ctrl-C, or somebody terminates us."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _welcome(console: Console, server: SandboxServer, known: Sequence[PointOfSale], qerko: Qerko) -> None:
    badly = str(qerko.misbehaviour.manners)
    lines = [
        f"A guest's phone   {server.url}",
        f"Qerko's API       {server.api_url}",
        *(f"It calls          {pos.url} of {pos.name}, with the key {pos.api_key.shown}" for pos in known),
        *([f"It behaves badly  {qerko.misbehaviour}"] if badly else []),
        "Ctrl-C ends it. What is said, times in UTC:",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

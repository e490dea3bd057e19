"""Read what a person types who names a point of sale: its address, its key, and how Qerko is to behave."""

from __future__ import annotations

import math
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from getpass import getpass
from typing import Final, NoReturn

from django_qerko.keys import ApiKey
from django_qerko.sandbox.loopback import callable_address

#: What is shaped like an API key, checked or not (protocol section 1, D).
#: A part of a UUID is shaped so, too, and an event that is not found should be named.
_KEY_OR_UUID: Final = re.compile(
    r"(\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)|\w{4}(?:-\w{4}){2,}", re.IGNORECASE
)
#: What a parser says of words that have no place in a call. A key of any shape may be among them.
_OUT_OF_PLACE: Final = re.compile(
    r"(unrecognized arguments: |ignored explicit argument |argument [^-][^:]*: invalid choice: )"
    r"(.*?)($| \(choose from )",
    re.DOTALL,
)


def api_key(text: str) -> ApiKey:
    """An API key; ``-`` reads it from standard input, unseen at a terminal. No message repeats what was typed."""
    if text == "-":
        text = _asked_for_a_key() if sys.stdin.isatty() else sys.stdin.readline().strip()
    try:
        return ApiKey(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def address(text: str) -> str:
    """An ``http`` or ``https`` URL, as it is called and signed; whether it may lead elsewhere is asked later."""
    try:
        return callable_address(text, allow_remote=True)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def port(text: str) -> int:
    """The port of a server; 0 is any free one."""
    if not (text.isascii() and text.isdecimal() and int(text) < 65_536):
        raise ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def patience(text: str) -> float:
    """Seconds that somebody waits, an hour at most."""
    number = _number(text)
    if not 0 < number <= 3600:
        raise ArgumentTypeError("not a number of seconds above zero, and an hour at most")
    return number


def share(text: str) -> float:
    """A share of many: a number from 0 to 1, or per cent."""
    number = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise ArgumentTypeError("a share is a number from 0 to 1, or from 0% to 100%")
    return number


def keep_keys_unsaid(parser: ArgumentParser) -> None:
    """Let a parser's complaints not repeat a key that stands in the wrong place, nor what has no place but options."""
    complain = parser.error

    def error(message: str) -> NoReturn:
        complain(unsaid(_OUT_OF_PLACE.sub(_placeless, message)))

    parser.error = error  # type: ignore[method-assign]  # Django makes the parser, and lets nobody choose its class


def unsaid(text: str) -> str:
    """A text without the keys that stand in it."""
    return _KEY_OR_UUID.sub(lambda found: found[1] or "…", text)


def _placeless(found: re.Match[str]) -> str:
    """The names of options, because they are mistyped most; nothing else of what was typed."""
    words = [word.partition("=")[0] if word.startswith("--") else "…" for word in found[2].split()]
    return f"{found[1]}{' '.join(words)}{found[3]}"


def _asked_for_a_key() -> str:
    """What a person types at a terminal, which does not show it; nothing, where they give up."""
    try:
        return getpass("API key (it is not shown): ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan

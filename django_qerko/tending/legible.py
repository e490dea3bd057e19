"""Show what strangers sent so that a person can read it, and neither a page nor a terminal obeys it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from django_qerko.amounts import EXACT

_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_OPENING: Final = frozenset("{[")
_CLOSING: Final = frozenset("}]")
#: Deeper levels stand no further to the right: a few kilobytes of brackets must not become a page of megabytes.
_DEEPEST: Final = 32


def pretty(document: bytes) -> str:
    """JSON indented, its numbers digit for digit as they came; what is no JSON as text, what is no text as escapes."""
    text = document.decode("utf-8", "backslashreplace")
    return "".join(_indented(_PIECE.findall(text))) if _is_json(text) else lines(text)


def line(text: str) -> str:
    """One line: whatever is not printed, line breaks and a terminal's commands among it, is written as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def lines(text: str) -> str:
    """The same, but line breaks stay."""
    return "\n".join(map(line, text.split("\n")))


def quantity(value: Decimal) -> str:
    """A quantity, without the zeros that a database adds."""
    return f"{value.normalize(EXACT):f}"


def money(value: Decimal, currency: str = "") -> str:
    """An amount in major units, with two decimals at least."""
    whole, _, decimals = quantity(value).partition(".")
    return f"{whole}.{decimals:0<2} {currency}".rstrip()


def _is_json(text: str) -> bool:
    try:
        # Numbers stay text: Python would refuse to read one of five thousand digits.
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _indented(pieces: Iterable[str]) -> Iterator[str]:
    depth, before = 0, ":"
    for piece in pieces:
        depth -= piece in _CLOSING
        if before == "," or (before in _OPENING) != (piece in _CLOSING):
            yield "\n" + "  " * min(depth, _DEEPEST)
        yield _string(piece) if piece.startswith('"') else piece
        if piece == ":":
            yield " "
        depth += piece in _OPENING
        before = piece


def _string(written: str) -> str:
    """A JSON string whose letters can be read, and that is still the same JSON string."""
    return '"' + "".join(char if _is_plain(char) else json.dumps(char)[1:-1] for char in json.loads(written)) + '"'


def _is_plain(char: str) -> bool:
    return char.isprintable() and char not in '"\\'

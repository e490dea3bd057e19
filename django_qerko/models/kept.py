"""JSON of a stranger's, kept whole, on every database."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _JSONField = models.JSONField[Any, Any]
else:
    _JSONField = models.JSONField

#: Longer numbers are kept as strings: Python does not read a JSON number of any length.
_DIGITS: Final = 30


class KeptField(_JSONField):
    """JSON however deeply it is nested: MariaDB's own type takes 32 levels, so there it is text, without lookups."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "longtext" if connection.vendor == "mysql" else super().db_type(connection)

    def db_check(self, connection: BaseDatabaseWrapper) -> str | None:
        return None if connection.vendor == "mysql" else super().db_check(connection)


def plain(value: Any) -> Any:
    """Decoded JSON as it is kept: whole numbers stay numbers, every other ``Decimal`` becomes a decimal string."""
    match value:
        case Decimal():
            return _number(value)
        case dict():
            return {name: plain(member) for name, member in value.items()}
        case list() | tuple():
            return [plain(member) for member in value]
    return value


def printable(text: str) -> str:
    """A stranger's text in one line of a log: no line break in it, and nothing that a terminal obeys."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _number(value: Decimal) -> int | str:
    is_whole = value.is_finite() and value.as_tuple().exponent == 0 and len(value.as_tuple().digits) <= _DIGITS
    return int(value) if is_whole else str(value)

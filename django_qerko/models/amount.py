"""An amount, exact on every database."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import lookups

from django_qerko import amounts
from django_qerko.amounts import DECIMALS, WHOLE_DIGITS

if TYPE_CHECKING:
    _DecimalField = models.DecimalField[Any, Any]
else:
    _DecimalField = models.DecimalField


class AmountField(_DecimalField):
    """A decimal of protocol section 5: up to 12 digits before the point and 6 after it.

    SQLite would keep it as a float, of which 15 digits are right, so there it is text. Comparisons are by number
    everywhere; the order of rows by such a column is not, on SQLite.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"max_digits": WHOLE_DIGITS + DECIMALS, "decimal_places": DECIMALS})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        del options["max_digits"], options["decimal_places"]
        return name, path, args, options

    def get_internal_type(self) -> str:
        # A name of its own: what backends do for decimals, SQLite's floats above all, is not for this one.
        return "AmountField"

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "text" if connection.vendor == "sqlite" else f"decimal({self.max_digits}, {self.decimal_places})"

    def cast_db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "real" if connection.vendor == "sqlite" else self.db_type(connection)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        if connection.vendor == "sqlite" and isinstance(value, Decimal | int):
            return format(Decimal(value), "f")
        return super().get_db_prep_value(value, connection, prepared)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        # A decimal may be NaN, or have more digits than the column, and no two databases do the same with those.
        if isinstance(value, Decimal | int):
            amounts.read(value)
        return super().get_db_prep_save(value, connection)

    def get_db_converters(self, connection: BaseDatabaseWrapper) -> list[Any]:
        return [_as_decimal]


def _as_decimal(value: Any, *_: Any) -> Decimal | None:
    """Whatever the driver gives for it: text, a decimal, or the float of an expression on SQLite."""
    return value if value is None or isinstance(value, Decimal) else Decimal(str(value))


class _ByNumber:
    """SQLite compares text letter by letter, and this is a number."""

    def process_lhs(self, compiler: Any, connection: Any, lhs: Any = None) -> Any:
        return _number(connection, *super().process_lhs(compiler, connection, lhs))  # type: ignore[misc]

    def process_rhs(self, compiler: Any, connection: Any) -> Any:
        return _number(connection, *super().process_rhs(compiler, connection))  # type: ignore[misc]


def _number(connection: BaseDatabaseWrapper, sql: str, params: Any) -> tuple[str, Any]:
    return (f"CAST({sql} AS REAL)" if connection.vendor == "sqlite" else sql), params


for _lookup in (
    lookups.Exact,
    lookups.GreaterThan,
    lookups.GreaterThanOrEqual,
    lookups.LessThan,
    lookups.LessThanOrEqual,
):
    AmountField.register_lookup(type(f"Amount{_lookup.__name__}", (_ByNumber, _lookup), {}))

"""Read and write a decimal exactly as protocol section 5 has it."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Final

#: An optional minus, 1-12 ASCII digits, up to 6 decimals (protocol section 5, A).
WHOLE_DIGITS: Final = 12
DECIMALS: Final = 6

_PATTERN: Final = re.compile(rf"-?[0-9]{{1,{WHOLE_DIGITS}}}(?:\.[0-9]{{1,{DECIMALS}}})?")
_LIMIT: Final = Decimal(f"1E{WHOLE_DIGITS}")
#: For sums and products of amounts: the host's threads may round to fewer digits than these have.
EXACT: Final = Context(prec=60)
#: Our own for the same reason; one digit more, for what rounds up to the limit.
_EXACT: Final = Context(prec=WHOLE_DIGITS + DECIMALS + 1, traps=[])


class JsonNumber(Decimal):
    """A number of a JSON document, exact; it is known apart from an amount that somebody reckoned."""

    __slots__ = ()


def read(value: object) -> Decimal:
    """Give the decimal that a string or a JSON number stands for, in major units.

    A string must look like ``"-12.50"``; a number (``int`` or ``Decimal``, as JSON decoded without
    floats gives it) must lie in the same range.

    Raises ValueError for everything else: exponents in a string, NaN, infinities, floats, booleans,
    other alphabets' digits, and what needs more than 12 digits before or 6 after the point.
    Source: protocol section 5 (C, D for decimal strings, A for the limits).
    """
    if isinstance(value, str):
        if not _PATTERN.fullmatch(value):
            raise ValueError("not a decimal of at most 12 digits and 6 decimals")
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"an amount is a decimal string, a Decimal or a whole number, not {type(value).__name__}")
    return _in_range(Decimal(value))


def write(value: Decimal) -> str:
    """Give the decimal string of an amount, without exponent, its trailing zeros kept.

    Raises ValueError where ``read`` would not take it back.
    """
    exact = _in_range(value)
    return format(exact if exact else exact.copy_abs(), "f")


def _in_range(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("an amount is a finite number")
    if not -_LIMIT < value < _LIMIT:
        raise ValueError(f"an amount has at most {WHOLE_DIGITS} digits before the point")
    rounded = value.quantize(Decimal((0, (1,), -_decimals(value))), context=_EXACT)
    if rounded != value:
        raise ValueError(f"an amount has at most {DECIMALS} decimals")
    return rounded


def _decimals(value: Decimal) -> int:
    """How many decimals an amount is written with: as many as the value has, but none for ``1E+3``."""
    exponent = value.as_tuple().exponent
    return min(max(-exponent, 0), DECIMALS) if isinstance(exponent, int) else 0

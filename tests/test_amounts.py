"""Amounts are read and written exactly, and what is none is refused cheaply."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_qerko import amounts

READ: dict[str, tuple[Any, str]] = {
    "crowns and hellers": ("25.00", "25.00"),
    "trailing zeros stay": ("0.10", "0.10"),
    "half a portion": ("0.5", "0.5"),
    "negative": ("-12.50", "-12.50"),
    "leading zeros go": ("007", "7"),
    "the largest": ("999999999999.999999", "999999999999.999999"),
    "the smallest": ("-999999999999.999999", "-999999999999.999999"),
    "no minus before nothing": ("-0.00", "0.00"),
    "a whole JSON number": (Decimal(156), "156"),
    "a JSON number with 17 digits": (Decimal("12345678901.123456"), "12345678901.123456"),
    "a JSON number with an exponent": (Decimal("1.5E+3"), "1500"),
    "a small JSON number with an exponent": (Decimal("1E-6"), "0.000001"),
    "nothing, to a thousand places": (Decimal("0E-1000"), "0.000000"),
    "nothing, written enormously": (Decimal("0E+999999"), "0"),
    "zeros beyond the sixth decimal": (Decimal("1.50000000"), "1.500000"),
    "an int": (12, "12"),
}

REFUSED: dict[str, Any] = {
    "nothing": "",
    "a blank before": " 1",
    "a line break after": "1\n",
    "a plus": "+1",
    "an underscore": "1_0",
    "an exponent": "1e3",
    "a comma": "1,5",
    "a bare point": ".5",
    "nothing after the point": "5.",
    "two minuses": "--1",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "Arabic digits": "١٢",
    "13 digits": "1000000000000",
    "7 decimals": "0.0000001",
    "ten thousand digits": "1" * 10_000,
    "a JSON number with 13 digits": Decimal("1000000000000"),
    "a negative one": Decimal("-1000000000000"),
    "a JSON number with 7 decimals": Decimal("0.1234567"),
    "one that rounds up to the limit": Decimal("999999999999.9999999"),
    "a JSON number with ten thousand digits": Decimal("1" * 10_000),
    "one with ten thousand decimals": Decimal("0." + "1" * 10_000),
    "an enormous exponent": Decimal("1E+999999"),
    "an exponent that vanishes": Decimal("1E-999999"),
    "an enormous int": 10**5000,
    "not a number": Decimal("NaN"),
    "a signalling one": Decimal("sNaN"),
    "infinite": Decimal("-Infinity"),
    "a float": 1.5,
    "true": True,
    "null": None,
    "a list": ["1"],
    "bytes": b"1",
}

decimals = st.decimals(
    min_value=Decimal("-999999999999.999999"), max_value=Decimal("999999999999.999999"), places=6
) | st.decimals(min_value=-1000, max_value=1000, places=2)


@pytest.mark.parametrize(("value", "written"), READ.values(), ids=READ)
def test_an_amount_is_read_and_written_exactly(value: Any, written: str) -> None:
    assert amounts.write(amounts.read(value)) == written


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="decimal|amount"):
        amounts.read(value)


def test_who_writes_a_float_hears_what_to_write() -> None:
    with pytest.raises(ValueError, match="a decimal string, a Decimal or a whole number, not float"):
        amounts.read(1.5)


@given(decimals)
def test_an_amount_survives_the_journey(amount: Decimal) -> None:
    assert amounts.read(amounts.write(amount)) == amount


@given(st.from_regex(r"(0|-?[1-9][0-9]{0,11})(\.[0-9]{1,6})?", fullmatch=True))
def test_a_decimal_string_survives_the_journey(text: str) -> None:
    assert amounts.write(amounts.read(text)) == text


@given(st.decimals() | st.integers() | st.floats() | st.text() | st.none() | st.booleans())
def test_whatever_comes_is_an_amount_or_a_value_error(value: Any) -> None:
    try:
        amount = amounts.read(value)
    except ValueError:
        return
    assert amounts.read(amounts.write(amount)) == amount


def test_a_host_that_calculates_coarsely_changes_no_amount() -> None:
    with localcontext(Context(prec=3, traps=[Inexact])):
        amount = amounts.read(Decimal("123456789012.123456"))

        assert amounts.write(amount) == "123456789012.123456"

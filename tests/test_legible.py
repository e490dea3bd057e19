"""What strangers sent is shown as it came, and obeyed by nobody."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_qerko.tending import legible

SHOWN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", ""),
    "a number": (b"12345678901234567.890", "12345678901234567.890"),
    "null": (b" null ", "null"),
    "an empty object": (b"{ }", "{}"),
    "an empty list": (b"[]", "[]"),
    "members": (b'{"a":1,"b":[true,{}]}', '{\n  "a": 1,\n  "b": [\n    true,\n    {}\n  ]\n}'),
    "exact numbers": (b"[1e400,0.10,-0.0]", "[\n  1e400,\n  0.10,\n  -0.0\n]"),
    "a number of ten thousand digits": (b"1" * 10_000, "1" * 10_000),
    "the same member twice": (b'{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'),
    "letters": (b'"Kr\\u010dma \\"U Zl\\u00e1t\xc3\xa9ho\\\\"', '"Krčma \\"U Zlátého\\\\"'),
    "structure inside a string": (b'"[1,{\\"a\\":2}]"', '"[1,{\\"a\\":2}]"'),
    "a terminal's command": (b'"\\u001b[2J\xc2\x9b\\n"', '"\\u001b[2J\\u009b\\n"'),
    "text from right to left": ('"\u202eevil"'.encode(), '"\\u202eevil"'),
    "half a surrogate pair": (b'"\\ud800"', '"\\ud800"'),
    "no JSON": (b"<html>\n\x1b[31m", "<html>\n\\x1b[31m"),
    "JSON that was cut": (b'{"a": ', '{"a": '),
    "no UTF-8": (b'"\xff\x00"', '"\\xff\\x00"'),
    "brackets without end": (b"[" * 100_000, "[" * 100_000),
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(("document", "shown"), SHOWN.values(), ids=SHOWN)
def test_a_document_is_shown_as_it_came(document: bytes, shown: str) -> None:
    assert legible.pretty(document) == shown


@given(value=json_values, is_ascii=st.booleans())
def test_what_is_shown_means_the_same_and_is_well_indented(value: Any, is_ascii: bool) -> None:
    written = json.dumps(value, ensure_ascii=is_ascii)

    shown = legible.pretty(written.encode())

    assert json.loads(shown) == value
    assert len(shown.splitlines()) == len(json.dumps(value, indent=2).splitlines())


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_number_is_lost(number: Decimal) -> None:
    assert legible.pretty(f"[{number:f}]".encode()) == f"[\n  {number:f}\n]"


@given(st.binary() | st.binary().map(lambda inner: b'"%s"' % inner))
def test_nothing_steers_a_terminal(document: bytes) -> None:
    assert all(char.isprintable() for char in legible.pretty(document).replace("\n", ""))


def test_deep_levels_do_not_grow_the_page() -> None:
    deep = b"[" * 400 + b"1" + b"]" * 400

    assert len(legible.pretty(deep)) < 100 * len(deep)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("U Fleků", "U Fleků"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_line_stays_one_line(text: str, shown: str) -> None:
    assert legible.line(text) == shown


def test_lines_stay_lines() -> None:
    assert legible.lines("Traceback:\n  \x1b[1mboom") == "Traceback:\n  \\x1b[1mboom"


@pytest.mark.parametrize(
    ("kept", "quantity", "money"),
    [
        ("1", "1", "1.00 CZK"),
        ("0.500000", "0.5", "0.50 CZK"),
        ("1000", "1000", "1000.00 CZK"),
        ("1E+3", "1000", "1000.00 CZK"),
        ("-12.345", "-12.345", "-12.345 CZK"),
        ("0.000000", "0", "0.00 CZK"),
        ("123456789012.123456", "123456789012.123456", "123456789012.123456 CZK"),
    ],
)
def test_a_decimal_is_shown_without_what_a_database_adds(kept: str, quantity: str, money: str) -> None:
    assert legible.quantity(Decimal(kept)) == quantity
    assert legible.money(Decimal(kept), "CZK") == money


@given(st.decimals(-(10**12), 10**12, places=6))
def test_no_digit_of_an_amount_is_lost(amount: Decimal) -> None:
    with localcontext(prec=3):
        assert Decimal(legible.money(amount)) == Decimal(legible.quantity(amount)) == amount

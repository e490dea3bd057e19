"""Count how much of which item, exactly: mappings of decimals, and their JSON of decimal strings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, TypeAlias

from django_qerko.amounts import EXACT

#: How much of which item, by the item's id.
Quantities: TypeAlias = Mapping[str, Decimal]

_NOTHING: Final = Decimal(0)


def read(kept: Mapping[str, str] | None) -> dict[str, Decimal]:
    """Quantities as they are kept."""
    return {item: Decimal(quantity) for item, quantity in (kept or {}).items()}


def write(quantities: Quantities) -> dict[str, str]:
    """The JSON of quantities; what is nothing is left out."""
    return {item: shown(quantity) for item, quantity in quantities.items() if quantity}


def shown(quantity: Decimal) -> str:
    """A quantity without the zeros that a database adds, so that all databases keep and show the same."""
    return format(quantity.normalize(EXACT), "f")


def add_up(pairs: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Quantities of items that may be named several times."""
    sums: dict[str, Decimal] = {}
    for item, quantity in pairs:
        sums[item] = EXACT.add(sums.get(item, _NOTHING), quantity)
    return sums


def plus(some: Quantities, more: Quantities) -> dict[str, Decimal]:
    return add_up([*some.items(), *more.items()])


def minus(some: Quantities, less: Quantities) -> dict[str, Decimal]:
    """What is left of ``some``; below nothing where there was not so much."""
    return {item: EXACT.subtract(quantity, less.get(item, _NOTHING)) for item, quantity in some.items()}


def times(price: Decimal, quantity: Decimal) -> Decimal:
    return EXACT.multiply(price, quantity)


def total(amounts: Iterable[Decimal]) -> Decimal:
    result = _NOTHING
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result

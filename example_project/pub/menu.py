"""What the pub serves, and what the parties at its tables have had so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

#: Czech VAT of 2026: drinks, and what is cooked.
_DRINK: Final = Decimal(21)
_FOOD: Final = Decimal(12)
_HALF: Final = Decimal("0.5")
_WHOLE: Final = Decimal(1)


class Dish(NamedTuple):
    """Something on the menu: its price in crowns with VAT, and the smallest part of it that a guest may pay."""

    name: str
    price: Decimal
    vat_rate: Decimal
    smallest_part: Decimal = _WHOLE


PILSNER: Final = Dish("Pilsner Urquell 0,5 l", Decimal("65.00"), _DRINK)
SMALL_BEER: Final = Dish("Pilsner Urquell 0,3 l", Decimal("45.00"), _DRINK)
BIRELL: Final = Dish("Birell světlý 0,5 l", Decimal("49.00"), _DRINK)
KOFOLA: Final = Dish("Kofola točená 0,4 l", Decimal("48.50"), _DRINK)
BECHEROVKA: Final = Dish("Becherovka 4 cl", Decimal("69.00"), _DRINK)
COFFEE: Final = Dish("Espresso", Decimal("59.00"), _DRINK)
SIRLOIN: Final = Dish("Svíčková na smetaně, houskový knedlík", Decimal("239.00"), _FOOD, _HALF)
GOULASH: Final = Dish("Hovězí guláš, karlovarský knedlík", Decimal("215.00"), _FOOD, _HALF)
SCHNITZEL: Final = Dish("Vepřový řízek, bramborový salát", Decimal("229.00"), _FOOD, _HALF)
CHEESE: Final = Dish("Smažený eidam, tatarská omáčka", Decimal("199.00"), _FOOD, _HALF)
SOUP: Final = Dish("Kulajda", Decimal("79.00"), _FOOD)
HERMELIN: Final = Dish("Nakládaný hermelín, chléb", Decimal("119.00"), _FOOD, _HALF)
DUMPLINGS: Final = Dish("Jahodové knedlíky s tvarohem", Decimal("169.00"), _FOOD, _HALF)

_MENUS: Final[Mapping[str, Sequence[Dish]]] = {
    "Pivo": (PILSNER, SMALL_BEER, BIRELL),
    "Nealko, káva a ostré": (KOFOLA, COFFEE, BECHEROVKA),
    "Z kuchyně": (SOUP, SIRLOIN, GOULASH, SCHNITZEL, CHEESE, HERMELIN, DUMPLINGS),
}

Round = Sequence[tuple[int, Dish]]

_ROUNDS: Final[Sequence[Round]] = (
    ((4, PILSNER), (1, SIRLOIN), (1, SCHNITZEL), (1, HERMELIN)),
    ((2, KOFOLA), (1, SOUP), (1, CHEESE), (1, DUMPLINGS), (1, COFFEE)),
    ((6, PILSNER), (3, GOULASH), (3, BECHEROVKA)),
    ((1, BIRELL), (1, SMALL_BEER), (2, SOUP), (2, SIRLOIN)),
)


def menu() -> list[dict[str, Any]]:
    """The menus with their dishes, as JSON has them."""
    return [
        {"name": name, "items": [{"name": dish.name, "price": dish.price} for dish in dishes]}
        for name, dishes in _MENUS.items()
    ]


def a_round(number: int) -> Round:
    """What the party with this number, from 0, has had: always the same, so that a demo can be told again."""
    return _ROUNDS[number % len(_ROUNDS)]

"""Open the pub: a restaurant for Qerko, tables, and something to pay on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.utils.crypto import salted_hmac

from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant
from example_project.pub.areas import BAR, GARDEN, TAPROOM
from example_project.pub.menu import a_round
from example_project.pub.models import Line, Order, Table, TakenKey

NAME: Final = "Hospoda Na Růžku"
#: An example out of Qerko's documentation (protocol section 1, D), and so no secret.
EXAMPLE_KEY: Final = "eeeu-g786-zp54-3v1c-db02-e4e1"

#: Table by table, over and over.
_AREAS: Final = (TAPROOM, BAR, GARDEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPub:
    """The pub as it stands open: one order for each of its tables, the latest."""

    restaurant: Restaurant
    orders: Sequence[Order]


@transaction.atomic
def open_pub(*, tables: int, api_key: ApiKey) -> OpenPub:
    """Make what is missing, and keep what is there: the restaurant, its address and keys, tables, open orders.

    The key is added where it is another than the last time. Raises ValidationError where another restaurant has it.
    """
    restaurant, _ = Restaurant.objects.get_or_create(name=NAME)
    _take(api_key, restaurant)
    return OpenPub(restaurant=restaurant, orders=[_order_on(_table(number)) for number in range(tables)])


def _take(api_key: ApiKey, restaurant: Restaurant) -> None:
    """Add a key unless it is the one that was taken last: that may have been rotated away on purpose."""
    digest = salted_hmac("example_project.pub.TakenKey", api_key.mac(b"taken"), algorithm="sha256").hexdigest()
    if TakenKey.objects.filter(restaurant=restaurant.webhook_token, digest=digest).exists():
        return
    restaurant.add_key(api_key)
    TakenKey.objects.update_or_create(restaurant=restaurant.webhook_token, defaults={"digest": digest})


def _table(number: int) -> Table:
    table, _ = Table.objects.get_or_create(
        code=f"T{number + 1}", defaults={"name": f"Stůl {number + 1}", "area": _AREAS[number % len(_AREAS)]}
    )
    return table


def _order_on(table: Table) -> Order:
    """The last open order on a table; a new one, with a new round, where none is open."""
    return table.orders.open().last() or _new_order(table)


def _new_order(table: Table) -> Order:
    parties = Order.objects.count()
    order = Order.objects.create(table=table)
    Line.objects.bulk_create(
        Line(
            order=order,
            name=dish.name,
            quantity=quantity,
            smallest_part=dish.smallest_part,
            price=dish.price,
            vat_rate=dish.vat_rate,
        )
        for quantity, dish in a_round(parties)
    )
    return order

"""The pub's areas, and what is different in each."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

TAPROOM: Final = "Lokál"
BAR: Final = "Výčep"
GARDEN: Final = "Zahrádka"


class Offer(NamedTuple):
    """A discount for everybody in an area, in per cent."""

    name: str
    percent: Decimal


#: Whoever stands at the tap is a regular.
OFFERS: Final[Mapping[str, Offer]] = {BAR: Offer("Sleva pro štamgasty", Decimal(10))}

#: No printer stands outside: these receipts are written once the money is certain.
WITH_LATE_RECEIPTS: Final = frozenset({GARDEN})

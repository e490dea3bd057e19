"""How much work a diagnosis may be: whoever sends garbage buys no more than that. Pure."""

from __future__ import annotations

from typing import Final

#: For one delivery at the door, in bytes that are hashed, or what takes as long: some hundredths of a second, and not
#: while anybody waits. An attacker pays nothing.
AT_THE_DOOR: Final = 32 * 1024 * 1024
#: For a person who waits: some seconds.
FOR_A_PERSON: Final = 4 * 1024 * 1024 * 1024

#: What a character weighs that is not only hashed: where it stands in a signature base, is parsed, or written as JSON.
IN_A_BASE: Final = 128
PARSED: Final = 256
WRITTEN: Final = 32
INDENTED: Final = 512


class Exhausted(Exception):
    """More work is not done."""


class Effort:
    """Work that is left. A count and no clock: the same request gives the same diagnosis on every machine."""

    def __init__(self, units: int) -> None:
        self._left = units

    def spend(self, units: int) -> None:
        """Raises Exhausted where less is left."""
        if units > self._left:
            raise Exhausted
        self._left -= units

    def half(self) -> Effort:
        """Half of what is left, for one of two searches, so that the other has its share."""
        self._left //= 2
        return Effort(self._left)

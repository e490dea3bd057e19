"""Say when to knock again, by arithmetic alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

#: Seconds before the second attempt at a reply; each further wait is twice the one before.
_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 3.0
#: A wait is up to this part of itself shorter or longer, so that what failed together does not come back together.
_JITTER: Final = 0.25
#: An attempt that starts later than this before the deadline is not worth it.
_WORTHWHILE: Final = 0.25
#: Shorter than this is no wait, but a second attempt in the same breath.
_SHORTEST_WAIT: Final = 0.1

#: Before a tell whose handler broke is handled again: soon while a database may be restarting, then as patiently as
#: it takes to mend a handler.
_PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (1, 4, 15, 60, 300, 1800, 3600))


def next_attempt(number: int, *, left: float, dice: float) -> float | None:
    """Seconds to wait after attempt ``number`` (from 1) of a reply; ``None`` where no further one is worth it.

    ``left`` is what is left until the deadline, in seconds; ``dice`` a number from 0 to 1, 1 excluded. What would
    come too late comes earlier, as a last attempt, which has 0.25 to 0.5 seconds. No wait reaches the deadline.
    """
    # The exponent is bounded, because a float is too.
    usual = min(_FIRST_WAIT * 2.0 ** min(number - 1, 10), _LONGEST_WAIT)
    wait = min(usual * (1 + _JITTER * (2 * dice - 1)), left - _WORTHWHILE * (1 + dice))
    return wait if wait >= _SHORTEST_WAIT else None


def pause_before_handling(handlings: int) -> timedelta:
    """How long a tell rests that was handled ``handlings`` times (from 1) and broke each time: a second to an hour."""
    return _PAUSES[min(handlings, len(_PAUSES)) - 1]

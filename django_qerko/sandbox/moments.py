"""Where a guest's payment stands at a moment: what is happening, what was decided, and what was said so far."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django_qerko.answers import Bill
from django_qerko.sandbox.stories import PaymentStory, Turn


class Phase(StrEnum):
    """What is happening now."""

    ASKING = "asking"
    STARTING = "starting"
    DECIDING = "deciding"
    PROCESSING = "processing"
    CLOSING = "closing"
    AWAITING = "awaiting"
    FETCHING = "fetching"
    OVER = "over"


class Ending(StrEnum):
    """What decides a payment that began: the guest and the bank; or the clock, or the point of sale."""

    CONFIRM = "confirm"
    REFUSE = "refuse"
    LEAVE = "leave"
    LATE = "late"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A visit as it is now; ``since`` is when its phase began, by the monotonic clock."""

    phase: Phase = Phase.ASKING
    number: int = 0
    since: float = 0.0
    bill: Bill | None = None
    turns: tuple[Turn, ...] = ()
    story: PaymentStory | None = None
    #: The phrase that says why nothing was paid, where it was not the point of sale that refused.
    problem: str | None = None
    ending: Ending | None = None

    @property
    def is_in_progress(self) -> bool:
        """Whether Qerko is busy, so that it is worth to look again soon."""
        return self.phase not in {Phase.DECIDING, Phase.AWAITING, Phase.OVER}

"""What became of a rule: it holds, it is broken, or it could not be tried."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    HOLDS = "holds"
    BROKEN = "broken"
    #: Something that it needs is missing, or is broken itself.
    NOT_TRIED = "not tried"
    #: It is about something that this point of sale does not do, and need not do.
    NOT_NEEDED = "not needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a rule: what was seen, or why it was not tried, and what to do where it does not hold."""

    outcome: Outcome
    seen: str
    cure: str = ""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the point of sale keeps the rule, be it that it never comes to it."""
        return self.outcome in {Outcome.HOLDS, Outcome.NOT_NEEDED}


class Ended(Exception):
    """A trial came to its end without finding that the rule holds; the message is what was seen.

    ``cure`` is what to do, where that is not what the rule says of itself.
    """

    outcome = Outcome.NOT_TRIED

    def __init__(self, seen: str, *, cure: str = "") -> None:
        super().__init__(seen)
        self.cure = cure


class Broken(Ended):
    """The rule is broken."""

    outcome = Outcome.BROKEN


class NotTried(Ended):
    """A precondition failed, which is not this rule's fault."""


class NotNeeded(Ended):
    """This point of sale never comes to it."""

    outcome = Outcome.NOT_NEEDED


class Refused(NotTried):
    """The point of sale refused a payment at its beginning, and the rule wanted to know something else."""

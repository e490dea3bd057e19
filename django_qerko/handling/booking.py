"""What our books say about one event, and what is told once its handling is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django_qerko import answers
from django_qerko.exceptions import DomainError
from django_qerko.models import Bill, Payment


@dataclass(slots=True, kw_only=True)
class Booking:
    """The rows that an event is about, and what follows from them."""

    bill: Bill | None = None
    payment: Payment | None = None
    #: The rows of the bills that were asked for by name, as they were before a handler was asked.
    read_before: Mapping[str, Bill | None] | None = None
    #: What the books alone say to it: no handler is asked.
    own: answers.Answer | DomainError | None = None
    #: What Qerko hears, whatever handlers say to what has happened.
    verdict: DomainError | None = None
    #: What is said where no handler answers.
    fallback: answers.Answer | DomainError | None = None
    #: Whether Qerko is to be asked about a payment that never started here, and that it calls paid.
    wants_news: bool = False
    #: Told to observers after the commit.
    tidings: list[Callable[[], object]] = field(default_factory=list)

    @property
    def rows(self) -> dict[str, Any]:
        """What handlers get beside the event."""
        return {"bill": self.bill, "payment": self.payment}

    def tell(self) -> None:
        for tiding in self.tidings:
            tiding()

"""What a point of sale answered later: one letter that came through ``/reply``, and what Qerko said to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from django_qerko.sandbox.conversation import Answered, Exchange, Finding, PointOfSale, decode, text_of
from django_qerko.sandbox.judgements import Judgement

#: More of a letter is not read.
MAX_LETTER: Final = 1_000_000
_MAX_ID: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """The body of ``/reply`` (protocol section 3, A): which event is answered, and the result or the error.

    ``fault`` says why it cannot be read as such.
    """

    body: bytes = field(repr=False)
    event_id: str = ""
    event: str = ""
    answer: Any = field(default=None, repr=False)
    is_error: bool = False
    fault: Finding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Answered):
    """One letter, when it came, and how Qerko took it.

    ``exchange`` is the number of the exchange that it belongs to, ``None`` where it belongs to none. ``status`` is
    Qerko's own: 200 where the reply was taken. ``milliseconds`` go from the 202 to the arrival of the reply (0 where it
    was faster than the 202), and are ``None`` where nothing was asked. ``is_cut`` is where Qerko hung up on it.
    """

    number: int
    at: datetime
    pos: PointOfSale
    letter: Letter
    exchange: int | None
    status: int
    milliseconds: float | None
    is_cut: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def event(self) -> str:
        return self.letter.event

    @property
    def event_id(self) -> str:
        return self.letter.event_id

    @property
    def answer(self) -> Any:
        """The decoded JSON of the result, or of the error, its fractions as ``Decimal``."""
        return self.letter.answer

    @property
    def is_taken(self) -> bool:
        return self.status == 200

    @property
    def is_error(self) -> bool:
        """Whether the point of sale replied with an error."""
        return self.letter.is_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No reply came in time to an event that was answered 202; ``exchange`` is the number of the delivery."""

    number: int
    at: datetime
    pos: PointOfSale
    event: str
    event_id: str
    exchange: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What somebody asked of Qerko beside ``/reply``, and the status that was answered; or ``/reply``, answered 401.

    ``pos`` is ``None`` where the caller is not known.
    """

    number: int
    at: datetime
    pos: PointOfSale | None
    path: str
    status: int
    findings: tuple[Finding, ...] = ()

    @property
    def event(self) -> str:
        """What was asked, by the end of its address: ``get-payment``."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def event_id(self) -> str:
        """It is about no event, as far as anybody looked."""
        return ""


#: What is told of a point of sale that is no answer of its own.
Note: TypeAlias = Silence | Call
Said: TypeAlias = Exchange | Reply | Note


def read_letter(body: bytes) -> Letter:
    """Read the body of ``/reply``; members that nobody knows are passed over. Raises nothing."""
    if len(body) > MAX_LETTER:
        return Letter(body=body[:MAX_LETTER], fault=Judgement.REPLY_TOO_LONG(most=MAX_LETTER))
    try:
        document = decode(body)
    except ValueError as error:
        return Letter(body=body, fault=Judgement.REPLY_NO_JSON(why=error))
    event_id, event = text_of(document, "id") or "", text_of(document, "event") or ""
    if not event or not 0 < len(event_id) <= _MAX_ID:
        return Letter(body=body, fault=Judgement.REPLY_FORM())
    said = [member for member in ("result", "error") if member in document]
    if len(said) != 1:
        return Letter(body=body, event_id=event_id, event=event, fault=Judgement.REPLY_RESULT_OR_ERROR())
    return Letter(body=body, event_id=event_id, event=event, answer=document[said[0]], is_error=said == ["error"])

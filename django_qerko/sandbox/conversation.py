"""What a point of sale answered at once: one delivery, and what came back."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from django_qerko.keys import ApiKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOfSale:
    """Whom Qerko calls: the address of a webhook, and the restaurant's API key."""

    url: str
    api_key: ApiKey
    name: str = "The restaurant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A violation of the protocol, and the section of ``docs/protocol`` that is violated."""

    section: int
    text: str
    #: The name of its ``Judgement``.
    judgement: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.text} (protocol section {self.section})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is delivered, to whom and how; the same again is another delivery of the same event."""

    pos: PointOfSale
    event: str
    event_id: str
    data: Any = field(repr=False)
    age: float
    lifetime: float
    tamper: str | None
    schemes: Sequence[str]
    url_per_event: bool
    extra: Mapping[str, Any]


class Answered(ABC):
    """Holds the decoded JSON of an answer, or of an error instead of one (protocol section 5)."""

    __slots__ = ()

    @property
    @abstractmethod
    def answer(self) -> Any: ...

    @property
    @abstractmethod
    def is_error(self) -> bool: ...

    @property
    def error_code(self) -> str | None:
        """The code of an error that the point of sale answered with."""
        return text_of(self.answer, "code") if self.is_error else None

    @property
    def error_message(self) -> str | None:
        return text_of(self.answer, "message") if self.is_error else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange(Answered):
    """One delivery and what came back.

    ``status`` is ``None`` where nothing did, and ``error`` says why. ``expected`` is the status that the delivery
    deserves by its seal alone: 200, or 401 where it was tampered with, or 410 outside its time window. ``is_stale``
    is a question whose time for an answer was over before one came, although its window was open. ``is_cut`` is where
    Qerko itself hung up. ``question`` is what was delivered.
    """

    number: int
    at: datetime
    pos: PointOfSale
    event: str
    event_id: str
    request_url: str
    request_headers: Mapping[str, str] = field(repr=False)
    request_body: bytes = field(repr=False)
    expected: int = 200
    is_stale: bool = False
    status: int | None
    response_headers: Mapping[str, str] = field(repr=False)
    response_body: bytes = field(repr=False)
    milliseconds: float
    error: str | None
    is_cut: bool = False
    question: Question | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()

    @property
    def answer(self) -> Any:
        """The decoded JSON of the response, its fractions as ``Decimal``; ``None`` where there is none."""
        try:
            return decode(self.response_body)
        except ValueError:
            return None

    @property
    def is_answered(self) -> bool:
        """Whether the answer is the response itself (200), or comes later (202)."""
        return self.status in {200, 202}

    @property
    def is_error(self) -> bool:
        """Whether anything else came, or nothing."""
        return not self.is_answered


def text_of(said: Any, member: str) -> str | None:
    """A text that stands in an object of decoded JSON; ``None`` where there is no object, or no text in it."""
    value = said.get(member) if isinstance(said, dict) else None
    return value if isinstance(value, str) else None


def decode(body: bytes) -> Any:
    """Read JSON exactly: no float anywhere. Raises ValueError for what is no JSON in UTF-8."""
    try:
        return json.loads(body.decode("utf-8"), parse_float=_fraction, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _fraction(text: str) -> Decimal:
    """A number with a point or an exponent. Raises ValueError for an exponent that no Decimal holds."""
    try:
        return Decimal(text)
    except ArithmeticError as error:
        raise ValueError(f"{text[:40]} is out of every range") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")

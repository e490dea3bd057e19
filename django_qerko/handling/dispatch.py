"""Bring an event to its handlers, and bring back their one answer."""

from __future__ import annotations

import logging
from typing import Any, Final

from django_qerko.answers import NOTHING, Answer, Later
from django_qerko.events import Event
from django_qerko.exceptions import DomainError, NobodyAnswered, SeveralAnswered, WrongAnswer
from django_qerko.models.kept import printable
from django_qerko.signals import QUESTIONS, Question

log: Final = logging.getLogger(__name__)


def ask(event: Event, *, fallback: Answer | DomainError | None = None, **rows: Any) -> Answer | DomainError | Later:
    """Ask the receivers of the event's signal; ``rows`` are what they get beside ``event``.

    ``fallback`` is the answer where every receiver of a question returned ``None``. Whatever a receiver raises goes on
    to the caller. Raises NobodyAnswered where nobody answered, and there is no fallback; SeveralAnswered where more
    than one did; and WrongAnswer where the one value does not answer this event.
    """
    question = QUESTIONS[type(event)]
    responses: list[tuple[Any, Any]] = question.signal.send(sender=type(event), event=event, **rows)
    said = [
        (receiver, answer)
        for receiver, answer in responses
        if answer is not None and not (question.accepts_silence and answer is NOTHING)
    ]
    if not said:
        return _silence(event, question) if fallback is None else fallback
    if len(said) > 1:
        names = ", ".join(sorted(_name(receiver) for receiver, _ in said))
        raise SeveralAnswered(f"{event.name} was answered by {len(said)} receivers, and one must: {names}")
    receiver, answer = said[0]
    if not question.fits(answer):
        raise WrongAnswer(f"{event.name} wants {question.wanted}; {_name(receiver)} returned {type(answer).__name__}")
    fitting: Answer | Later = answer
    return fitting


def _silence(event: Event, question: Question) -> Answer:
    if question.accepts_silence:
        return NOTHING
    level = logging.WARNING if event.NAME is None else logging.ERROR
    log.log(
        level, "Nobody answered %s: connect a receiver that does, or refuse with a DomainError", printable(event.name)
    )
    raise NobodyAnswered


def _name(receiver: Any) -> str:
    return f"{receiver.__module__}.{getattr(receiver, '__qualname__', type(receiver).__qualname__)}"

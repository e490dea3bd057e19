"""Take replies to what was asked, and keep the 15 seconds (protocol section 3, S)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeAlias

from django_qerko.keys import ApiKey
from django_qerko.sandbox.conversation import Exchange, Finding, PointOfSale
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.judging import judge_letter
from django_qerko.sandbox.replies import Letter, Reply

#: A reply to an event before the last ones is not late any more, but unknown.
REMEMBERED: Final = 2_000

_Key: TypeAlias = tuple[ApiKey, str]


@dataclass(slots=True, kw_only=True)
class _Question:
    """An event under its id. Delivered again it has a new number and a new deadline, and keeps its replies."""

    number: int
    pos: PointOfSale
    event: str
    deadline: float
    #: Deliveries that are not over yet.
    on_the_way: int = 0
    #: What was said instead of 202, once every exchange is over.
    instead: str | None = None
    #: Qerko itself hung up, so that it does not know what was said.
    is_cut: bool = False
    noted_at: float | None = None
    replies: list[Reply] = field(default_factory=list)
    is_told: bool = False
    #: Whoever waited for the delivery of this number went away: later is too late, whatever the clock says.
    given_up: int | None = None
    #: Of the delivery of this number it was said that no reply came.
    silent: int | None = None


class Letterbox:
    """Knows what was asked, and what of it was answered through ``/reply``. Safe to use from several threads.

    Where ``is_slow``, a point of sale may have given up before Qerko said that its reply is taken.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], *, is_slow: bool = False) -> None:
        self._seconds = seconds
        self._clock = clock
        self._is_slow = is_slow
        self._is_closed = False
        self._changed = threading.Condition()
        self._questions: dict[_Key, _Question] = {}
        self._busy = 0

    def be_busy(self, times: int) -> None:
        """Put off the next replies, as many as that."""
        with self._changed:
            self._busy = times

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def expect(self, pos: PointOfSale, event: str, event_id: str, *, number: int, asked_at: float) -> None:
        """An event is about to leave: a reply might be faster than its 202."""
        key, deadline = (pos.api_key, event_id), asked_at + self._seconds
        with self._changed:
            question = self._questions.pop(key, None)
            if question is None or question.event != event:
                question = _Question(number=number, pos=pos, event=event, deadline=deadline)
            question.number, question.deadline, question.instead = number, deadline, None
            question.on_the_way += 1
            self._questions[key] = question
            if len(self._questions) > REMEMBERED:
                del self._questions[next(iter(self._questions))]

    def note(self, exchange: Exchange) -> None:
        """The exchange is over: from now on its reply is waited for, or none."""
        with self._changed:
            question = self._questions.get(_key(exchange))
            if question is None:
                return
            question.on_the_way -= 1
            question.is_cut |= exchange.is_cut
            if exchange.status == 202:
                question.noted_at = time.perf_counter()
            elif question.noted_at is None and not question.on_the_way:
                question.instead = str(exchange.status) if exchange.status else "with silence"

    def drop_in(
        self, letter: Letter, pos: PointOfSale, *, number: int, is_busy: bool = False, is_cut: bool = False
    ) -> Reply:
        """Judge a letter from this restaurant, and keep it where it is taken; ``tell`` lets others see it.

        Qerko puts it off where it ``is_busy``, and hangs up before it says how it took it where that ``is_cut``.
        """
        with self._changed:
            question = self._questions.get((pos.api_key, letter.event_id))
            status, objection = self._objection(question, letter, is_busy=is_busy)
            findings = (objection,) if objection else ()
            reply = Reply(
                number=number,
                at=datetime.now(tz=UTC),
                pos=question.pos if question else pos,
                letter=letter,
                exchange=question.number if question else None,
                status=status,
                milliseconds=_since(question),
                is_cut=is_cut,
                findings=findings + (judge_letter(letter) if status == 200 else ()),
            )
            if question and reply.is_taken:
                question.replies.append(reply)
            return reply

    def tell(self, reply: Reply) -> None:
        """Everybody may know of a reply, whoever waits for it included."""
        with self._changed:
            question = self._questions.get(_key(reply))
            if question is not None and reply.is_taken:
                question.is_told = True
            self._changed.notify_all()

    def wait(self, exchange: Exchange, timeout: float | None) -> Reply | None:
        """The first reply to an event that was answered 202, as soon as it is told; ``None`` where none came."""
        with self._changed:
            question = self._questions.get(_key(exchange)) if exchange.status == 202 else None
            if question is None:
                return None
            left = max(question.deadline - self._clock(), 0)
            seconds = left if timeout is None else min(left, timeout)
            self._changed.wait_for(lambda: question.replies or self._is_closed, seconds)
            if question.replies:
                self._changed.wait_for(lambda: question.is_told)
                return question.replies[0]
            if seconds == left:
                question.given_up = exchange.number
            return None

    def has_answer(self, exchange: Exchange) -> bool:
        """Whether any reply to this event, whichever delivery it answers, is no error."""
        with self._changed:
            question = self._questions.get(_key(exchange))
            return question is not None and any(not reply.is_error for reply in question.replies)

    def falls_silent(self, exchange: Exchange) -> bool:
        """Whether somebody waited for a reply to this delivery until its deadline, and none came; said once."""
        with self._changed:
            question = self._questions.get(_key(exchange))
            if question is None or self._is_closed or question.replies:
                return False
            if question.given_up != exchange.number or question.silent == exchange.number:
                return False
            question.silent = exchange.number
            return True

    def _objection(self, question: _Question | None, letter: Letter, *, is_busy: bool) -> tuple[int, Finding | None]:
        """The status that a letter deserves, and what is wrong with it."""
        if is_busy:
            return 503, None
        if self._busy:
            self._busy -= 1
            return 503, None
        if letter.fault:
            return 400, letter.fault
        if question is None:
            return 404, Judgement.REPLY_TO_NOTHING()
        if letter.event != question.event:
            return 400, Judgement.REPLY_TO_ANOTHER_EVENT(event=question.event)
        return self._on(question, letter)

    def _on(self, question: _Question, letter: Letter) -> tuple[int, Finding | None]:
        if question.instead:
            # Whoever said 202 into a line that was cut is not to blame, and yet Qerko waits for nothing.
            return 404, None if question.is_cut else Judgement.REPLY_NOT_AWAITED(instead=question.instead)
        if self._clock() > question.deadline or question.given_up == question.number:
            return 410, Judgement.REPLY_TOO_LATE(seconds=self._seconds)
        same = [
            known for known in question.replies if (known.answer, known.is_error) == (letter.answer, letter.is_error)
        ]
        # Whoever did not hear that it was taken is right to say it again.
        if any(not known.is_cut for known in same) and not self._is_slow:
            return 200, Judgement.REPLY_REPEATED()
        return 200, None


def _key(said: Exchange | Reply) -> _Key:
    return said.pos.api_key, said.event_id


def _since(question: _Question | None) -> float | None:
    if question is None:
        return None
    return 0.0 if question.noted_at is None else (time.perf_counter() - question.noted_at) * 1000

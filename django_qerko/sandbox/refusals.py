"""Say in a guest's words, and in a developer's, why there is no answer to go on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django_qerko.sandbox.conversation import Exchange
from django_qerko.sandbox.phrases import PHRASES
from django_qerko.sandbox.replies import Reply
from django_qerko.sandbox.speaking import Language
from django_qerko.sandbox.stories import Turn
from django_qerko.sandbox.telling import hidden, hint

#: Statuses that say what is wrong, whatever code comes with them.
_BY_STATUS: Final = {400: "refused_400", 401: "refused_401", 404: "refused_404", 410: "refused_410"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a guest is told, what the point of sale said, and what a developer may look at."""

    title: str
    said: str = ""
    hint: str = ""


def refusal(turn: Turn, language: Language) -> Refusal | None:
    """Why a turn gave no answer; ``None`` where it gave one, readable or not."""
    if turn.is_answered:
        return None
    exchange = turn.exchange
    if exchange.status is None:
        return Refusal(
            title=language.say("no_answer"),
            said=exchange.error or "",
            hint=language.say("no_answer_hint", url=exchange.request_url),
        )
    if exchange.status == 202 and turn.reply is None:
        return Refusal(title=language.say("no_reply"), hint=language.say("no_reply_hint"))
    return _of_error(turn.reply or exchange, language)


def unreadable(language: Language) -> Refusal:
    """For an answer that came, and that Qerko could make nothing of."""
    return Refusal(title=language.say("unreadable"))


def _of_error(said: Exchange | Reply, language: Language) -> Refusal:
    words = ": ".join(filter(None, (said.error_code, said.error_message)))
    advice = hint(said)
    return Refusal(
        title=language.say(_title(said)),
        said=hidden(said, words or (f"HTTP {said.status}" if isinstance(said, Exchange) else "")),
        hint=language.say(advice, id=hidden(said, said.event_id)) if advice else "",
    )


def _title(said: Exchange | Reply) -> str:
    if isinstance(said, Exchange) and said.status in _BY_STATUS:
        return _BY_STATUS[said.status]
    if hint(said) == "hint_broke":
        return "refused_broke"
    named = f"code_{said.error_code}"
    return named if named in PHRASES else "refused"

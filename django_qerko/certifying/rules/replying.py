"""Rules about answers that come later: by whom, under which id, when, and how often."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from django_qerko.certifying.examining import REPLY
from django_qerko.certifying.playing import Play
from django_qerko.certifying.rules.asking import answers, bills, unknown_payment
from django_qerko.certifying.ruling import rule, try_rule
from django_qerko.certifying.verdicts import Broken, Ended, NotNeeded, NotTried
from django_qerko.certifying.wording import listed, named
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.replies import Reply

#: How long a second answer has time to come, in seconds.
_A_MOMENT: Final = 0.3


@rule(
    "Every reply carries the API key as bearer token, and the Pos-Id",
    section=1,
    cure="Send Authorization: Bearer with the restaurant's API key, and Pos-Id with the integration's UUID.",
    needs=(answers,),
)
def reply_headers(play: Play) -> str:
    _provoke(play)
    if play.qerko.strangers:
        stranger = play.qerko.strangers[0]
        raise Broken(f"{stranger.path}: {listed(list(stranger.findings))}")
    return named(len(_letters(play)), "call")


@rule(
    "A reply has the id and the name of its event, and a result or an error",
    section=3,
    cure='Reply {"id": …, "event": …, "result": …} with the id as it came, or "error" in the place of "result".',
    needs=(answers,),
)
def reply_envelope(play: Play) -> str:
    _provoke(play)
    if astray := play.qerko.astray:
        raise Broken(listed([finding for letter in astray for finding in letter.findings]))
    return named(len(_letters(play)), "reply").replace("replys", "replies")


@rule(
    "Whatever was answered 202 is replied to within 15 seconds",
    section=3,
    cure=REPLY,
    needs=(answers,),
)
def reply_in_time(play: Play) -> str:
    _provoke(play)
    if play.qerko.strangers or play.qerko.astray:
        raise NotTried("its replies do not arrive")
    if unreplied := play.qerko.unreplied:
        letters = named(len(play.qerko.letters), "call")
        raise Broken(f"no reply to {', '.join(sorted(unreplied))}; {letters} to {play.api_url}/reply in all")
    slowest = max(letter.milliseconds or 0.0 for letter in _letters(play))
    return f"{slowest:.0f} ms after the 202 at most"


@rule(
    "An event has one answer: at once, or through /reply",
    section=3,
    cure="Do not reply to what was answered 200, and do not send the same reply again once Qerko took it.",
    needs=(answers,),
)
def one_answer(play: Play) -> str:
    with suppress(Ended):
        _provoke(play)
    time.sleep(_A_MOMENT)
    said: dict[str, list[int | None]] = {}
    for exchange in play.qerko.exchanges:
        said.setdefault(exchange.event_id, []).append(exchange.status)
    for letter in play.qerko.letters:
        statuses = said.get(letter.event_id, [202])
        if 202 not in statuses:
            raise Broken(f"{letter.event} was answered {statuses[0]}, and a reply came as well")
        is_repeated = any(finding.judgement == Judgement.REPLY_REPEATED.name for finding in letter.findings)
        if is_repeated and len(statuses) == 1:
            raise Broken(f"{letter.event}: {listed(list(letter.findings))}")
    return f"{named(len(said), 'event')}, {len(play.qerko.letters)} of the answers through /reply"


def _provoke(play: Play) -> None:
    """See to it that something was answered 202, if anything ever is. Raises NotNeeded otherwise."""
    for other in (bills, unknown_payment):
        try_rule(other, play)
    with suppress(Ended):
        play.first_payment()
    if not any(exchange.status == 202 for exchange in play.qerko.exchanges):
        raise NotNeeded("everything is answered at once")


def _letters(play: Play) -> list[Reply]:
    """What came through ``/reply``. Raises NotTried where nothing did."""
    if not play.qerko.letters:
        raise NotTried(f"no call came to {play.api_url}/reply", cure=REPLY)
    return play.qerko.letters

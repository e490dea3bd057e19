"""Rules about the door: whom it keeps out, and what it tells them."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

from django_qerko.certifying.playing import Play, findings_of
from django_qerko.certifying.rules.asking import answers
from django_qerko.certifying.ruling import rule, try_rule
from django_qerko.certifying.verdicts import Broken, NotNeeded, NotTried
from django_qerko.certifying.wording import listed, said
from django_qerko.sandbox.conversation import Exchange
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.signing import TAMPERINGS, Written, tamperings
from django_qerko.signatures import SCHEMES

#: A question that needs no data, and changes nothing.
_QUESTION: Final = "getTableList"
_MINUTES: Final = 60.0
#: More than any event has, and less than a server in front of a point of sale would cut short.
_TOO_LARGE: Final = 2 * 1024 * 1024
#: What is wrong with an error that Qerko cannot read.
_NO_ERROR: Final = (Judgement.NO_JSON, Judgement.ERROR_FORM)
#: What stands in the traces of errors, in several languages.
_TRACE: Final = re.compile(
    r"Traceback|stack ?trace|Exception|File \"|\.(?:py|php|java|cs|js|rb|go):\d|\bat line \d", re.IGNORECASE
)
#: A number, or an id in hexadecimal.
_NUMBER: Final = re.compile(r"[0-9A-Fa-f-]*[0-9][0-9A-Fa-f-]*")


@rule(
    "A forged delivery is answered 401",
    section=2,
    cure="Verify a signature over the bytes of the body as they came, before anything else is looked at.",
    needs=(answers,),
)
def forged(play: Play) -> str:
    for tamper in tamperings(SCHEMES):
        _turned_away(play, play.qerko.ask(play.pos, _QUESTION, tamper=tamper), 401, TAMPERINGS[tamper])
    return "401, however it was forged"


@rule(
    "Either signature is enough, and is verified by itself",
    section=2,
    cure="Refuse a delivery on which no signature of yours was verified; a header that is missing proves nothing.",
    needs=(forged,),
)
def either_signature(play: Play) -> str:
    enough: list[str] = []
    for scheme in SCHEMES:
        for tamper in tamperings([scheme]):
            exchange = play.qerko.ask(play.pos, _QUESTION, tamper=tamper, schemes=[scheme])
            _turned_away(play, exchange, 401, f"with {scheme} alone, {TAMPERINGS[tamper]}")
        if play.qerko.ask(play.pos, _QUESTION, schemes=[scheme]).status != 401:
            enough.append(scheme)
    return f"it verifies {' and '.join(enough)}" if enough else "it wants both signatures"


@rule(
    "A delivery outside its time window is answered 410",
    section=2,
    cure="Compare created and expires, from a place that was verified, with the clock.",
    needs=(answers,),
)
def time_window(play: Play) -> str:
    for age, what in ((10 * _MINUTES, "expired ten minutes ago"), (-10 * _MINUTES, "created in ten minutes")):
        _turned_away(play, play.qerko.ask(play.pos, _QUESTION, age=age, lifetime=5.0), 410, what)
    return "410, too old as well as too new"


@rule(
    "A body that is no JSON is answered 400",
    section=3,
    cure="Answer 400 where the body cannot be read; 500 says that you broke, and lets Qerko try again.",
    needs=(answers,),
)
def broken_json(play: Play) -> str:
    _turned_away(play, play.qerko.ask(play.pos, _QUESTION, Written("{")), 400, "signed, and no JSON")
    return "400"


@rule(
    "A body that is too large is answered 413",
    section=3,
    cure="Stop reading after some hundred kilobytes, before the signature is computed: a stranger may send anything.",
    needs=(answers,),
)
def too_large(play: Play) -> str:
    exchange = play.qerko.ask(play.pos, _QUESTION, extra={"padding": "x" * _TOO_LARGE})
    if exchange.status is None:
        raise NotTried(
            f"whoever keeps it out hangs up before it can be read why: {exchange.error}",
            cure="Read the rest, and throw it away, before you answer.",
        )
    _turned_away(play, exchange, 413, "two megabytes")
    return "413"


@rule(
    "An address that is nobody's is answered 404",
    section=3,
    cure="Answer 404 for every address but those of your webhooks.",
    needs=(answers,),
)
def wrong_address(play: Play) -> str:
    asked = urlsplit(play.pos.url).path
    path, slash = asked.rstrip("/"), "/" if asked.endswith("/") else ""
    before, _, last = path.rpartition("/")
    if _names_a_restaurant(last):
        _turned_away(play, _ask_at(play, f"{before}/{uuid4()}{slash}"), 404, "an address of nobody")
        return "404"
    # One address for all: below it may be those of events, and beside it whatever else the server has.
    exchange = _ask_at(play, f"{path}/{uuid4()}{slash}")
    if exchange.status != 404:
        exchange = _ask_at(play, f"{path or '/'}-{uuid4().hex}{slash}")
    if exchange.status == 404 and findings_of(exchange.findings, *_NO_ERROR):
        return "404, with a page that is not judged: it need not be the webhook's"
    _turned_away(play, exchange, 404, "an address of nobody")
    return "404"


@rule(
    "Whoever is turned away gets JSON that tells nothing",
    section=3,
    cure='Answer {"code": …, "message": …} with the same few words to everybody; what went wrong belongs in your log.',
    needs=(answers,),
)
def tells_nothing(play: Play) -> str:
    for other in (forged, time_window, broken_json, too_large, wrong_address):
        try_rule(other, play)
    if not play.turned_away:
        raise NotTried("nobody was turned away as they should be")
    for exchange in play.turned_away:
        if faults := findings_of(exchange.findings, *_NO_ERROR):
            raise Broken(f"{exchange.status}: {listed(faults)}")
        if told := _told(exchange):
            raise Broken(f"{exchange.status} tells {told}")
    if len(words := sorted({_words(exchange) for exchange in play.turned_away if exchange.status == 401})) > 1:
        raise Broken(f"401 tells what was wrong: {', or '.join(words)}")
    return f"in {len(play.turned_away)} answers"


@rule(
    "Where each event has an address of its own, it is answered there",
    section=2,
    cure="Read the event from the address, …/getTableList/, where the body does not name it.",
    needs=(answers,),
)
def address_of_an_event(play: Play) -> str:
    exchange = play.qerko.ask(play.pos, _QUESTION, url_per_event=True)
    if exchange.status in {400, 404, 405, 422}:
        raise NotNeeded("one address serves all events")
    if exchange.status not in {200, 202}:
        raise Broken(said(exchange))
    return said(exchange)


def _turned_away(play: Play, exchange: Exchange, status: int, what: str) -> None:
    """Raises Broken where a delivery got something else than this status."""
    if exchange.status != status:
        raise Broken(f"{what}: {said(exchange)}, and not {status}")
    play.turned_away.append(exchange)


def _ask_at(play: Play, path: str) -> Exchange:
    """Ask at another address of the same server."""
    url = urlunsplit(urlsplit(play.pos.url)._replace(path=path))
    return play.qerko.ask(replace(play.pos, url=url), _QUESTION)


def _names_a_restaurant(segment: str) -> bool:
    try:
        UUID(segment)
    except ValueError:
        return False
    return True


def _words(exchange: Exchange) -> str:
    """What is said, without what numbers each delivery."""
    return _NUMBER.sub("…", json.dumps(exchange.answer, sort_keys=True, ensure_ascii=False))


def _told(exchange: Exchange) -> str | None:
    """What the answer lets a stranger know."""
    key, text = exchange.pos.api_key, exchange.response_body.decode("utf-8", "replace")
    right = key.mac(exchange.request_body)
    if key.reveal() in text:
        return "the API key"
    if right.hex() in text.lower() or base64.b64encode(right).decode() in text:
        return "which signature would be right"
    if trace := _TRACE.search(text):
        return f"where it broke: {trace[0]}"
    return None

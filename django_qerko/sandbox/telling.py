"""Put an exchange into words: for the pages, for ``conversation.json`` and for a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from django_qerko.sandbox.conversation import Exchange
from django_qerko.sandbox.replies import Call, Note, Reply, Said, Silence
from django_qerko.sandbox.speaking import Language

_QERKO: Final = "Qerko"
_HINTS: Final[Mapping[int, str]] = {400: "hint_not_understood", 404: "hint_unknown", 413: "hint_not_understood"}
_VERDICTS: Final[Mapping[str, str]] = {"✓": "kept", "!": "look", "✗": "broken"}
_LOOKS: Final[Mapping[str, str]] = {"✓": "good", "!": "odd", "✗": "bad"}
_WRITTEN: Final = re.compile('"\ue000([^\ue000]*)\ue000"')


def outcome(said: Said) -> str:
    """What came back, in a word or two: ``200``, ``422 BILL_NOT_FOUND``, ``no answer``, ``replied``."""
    if isinstance(said, Reply):
        return f"replied {said.error_code or ''}".strip() if said.is_taken else f"{said.status} to its reply"
    if isinstance(said, Silence):
        return "no reply"
    if isinstance(said, Call):
        return str(said.status)
    if said.status is None:
        return "Qerko hung up" if said.is_cut else "no answer"
    return f"{said.status} {said.error_code or ''}".strip()


def mark(said: Said) -> str:
    """A sign that is read without colour: the protocol was violated, or kept; or kept, and yet something is wrong."""
    if said.findings:
        return "✗"
    return "!" if hint(said) else "✓"


def hint(said: Said) -> str | None:
    """The phrase with what a developer may look at; ``None`` where nothing is wrong but, perhaps, a guest's wish."""
    if isinstance(said, Reply):
        # A handler that broke after a 202 is told like this (protocol section 3), and perhaps one that refused.
        return "hint_no_code" if said.is_error and said.error_code is None else None
    if isinstance(said, Note):
        return None
    if said.status == said.expected or said.status is None:
        return None
    return "hint_broke" if said.status >= 500 else _HINTS.get(said.status)


def is_error(said: Said) -> bool:
    """Whether anything else came than an answer, or was answered."""
    if isinstance(said, Call):
        return said.status >= 400
    return isinstance(said, Silence) or said.is_error


def took(said: Said) -> str:
    """The milliseconds, where they are known."""
    return "" if isinstance(said, Note) or said.milliseconds is None else f"{said.milliseconds:.1f} ms"


def as_json(exchange: Exchange) -> dict[str, Any]:
    """The exchange for a program to read. A key that a point of sale shows is hidden, here as everywhere."""
    return {
        "number": exchange.number,
        "at": exchange.at.isoformat(),
        "restaurant": exchange.pos.name,
        "event": exchange.event,
        "event_id": exchange.event_id,
        "request": {
            "url": exchange.request_url,
            "headers": dict(exchange.request_headers),
            "body": hidden(exchange, exchange.request_body.decode("utf-8", "replace")),
        },
        "status": exchange.status,
        "error": exchange.error,
        "response": {
            "headers": _hidden_values(exchange, exchange.response_headers),
            "body": hidden(exchange, exchange.response_body.decode("utf-8", "replace")),
        },
        "milliseconds": round(exchange.milliseconds, 1),
        "findings": _findings(exchange),
    }


def reply_as_json(reply: Reply) -> dict[str, Any]:
    """A reply for a program to read; ``exchange`` is the number of the one that it belongs to."""
    return {
        "number": reply.number,
        "at": reply.at.isoformat(),
        "restaurant": reply.pos.name,
        "event": hidden(reply, reply.event),
        "event_id": hidden(reply, reply.event_id),
        "exchange": reply.exchange,
        "body": hidden(reply, reply.letter.body.decode("utf-8", "replace")),
        "status": reply.status,
        "milliseconds": None if reply.milliseconds is None else round(reply.milliseconds, 1),
        "findings": _findings(reply),
    }


def note_as_json(note: Note) -> dict[str, Any]:
    """A note for a program to read: what somebody asked of Qerko, or the number of the exchange without a reply."""
    told: dict[str, Any] = {
        "number": note.number,
        "at": note.at.isoformat(),
        "restaurant": who(note),
        "event": note.event,
    }
    if isinstance(note, Silence):
        told |= {"event_id": note.event_id, "exchange": note.exchange}
    else:
        told |= {"path": note.path, "status": note.status}
    return told | {"findings": _findings(note)}


def who(said: Said) -> str | None:
    """The name of the restaurant that it is about, where that is known."""
    return said.pos.name if said.pos else None


def for_page(said: Said, language: Language, *, is_alone: bool) -> dict[str, Any]:
    """The same for a template: everything is text already, so that no setting formats it.

    Where there ``is_alone`` one restaurant, nobody needs its name on every line.
    """
    advice = hint(said)
    sign = mark(said)
    return {
        "number": str(said.number),
        "answers": str(said.exchange or "") if isinstance(said, Reply | Silence) else "",
        "time": f"{said.at:%H:%M:%S}",
        "mark": sign,
        "verdict": language.say(_VERDICTS[sign]),
        "look": _LOOKS[sign],
        "hint": language.say(advice, id=hidden(said, said.event_id)) if advice else "",
        "restaurant": "" if is_alone else who(said) or "",
        "event": hidden(said, said.event or language.say("reply")),
        "outcome": hidden(said, outcome(said)),
        "took": took(said),
        "spoken": _spoken(said),
        "may_come_again": isinstance(said, Exchange),
        "findings": [hidden(said, str(finding)) for finding in said.findings],
    }


def hidden(said: Said, text: str) -> str:
    """The text without the API key, which a point of sale might repeat."""
    return text.replace(said.pos.api_key.reveal(), said.pos.api_key.shown) if said.pos else text


def _spoken(said: Said) -> list[dict[str, str]]:
    """Who said what, word by word; of silence there is nothing to say."""
    if isinstance(said, Exchange):
        return _of_exchange(said)
    if isinstance(said, Reply):
        return _of_reply(said)
    return _of_call(said) if isinstance(said, Call) else []


def _of_exchange(exchange: Exchange) -> list[dict[str, str]]:
    first = f"POST {exchange.request_url}\n{_message(exchange, exchange.request_headers, exchange.request_body)}"
    outcome_ = ": ".join(filter(None, (hidden(exchange, outcome(exchange)), exchange.error)))
    second = f"{outcome_}\n{_message(exchange, exchange.response_headers, exchange.response_body)}"
    return [_line(_QERKO, exchange.pos.name, first), _line(exchange.pos.name, _QERKO, second)]


def _of_reply(reply: Reply) -> list[dict[str, str]]:
    first = f"POST …/reply\n\n{hidden(reply, _pretty(reply.letter.body))}"
    return [_line(reply.pos.name, _QERKO, first), _line(_QERKO, reply.pos.name, str(reply.status))]


def _of_call(call: Call) -> list[dict[str, str]]:
    caller = who(call) or "?"
    return [_line(caller, _QERKO, f"POST {call.path}"), _line(_QERKO, caller, str(call.status))]


def _line(speaker: str, listener: str, text: str) -> dict[str, str]:
    return {"speaker": speaker, "listener": listener, "text": text}


def _findings(said: Said) -> list[dict[str, Any]]:
    return [{"section": finding.section, "text": hidden(said, finding.text)} for finding in said.findings]


def _message(exchange: Exchange, headers: Mapping[str, str], body: bytes) -> str:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return hidden(exchange, "\n".join([*lines, "", _pretty(body)]).strip())


def _pretty(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text, parse_float=_as_written, parse_int=_as_written)
    except (RecursionError, ValueError):
        return text
    return _WRITTEN.sub(r"\1", json.dumps(document, ensure_ascii=False, indent=2))


def _as_written(number: str) -> str:
    """Numbers are shown as the other side wrote them, and not as Python would."""
    return f"\ue000{number}\ue000"


def _hidden_values(exchange: Exchange, headers: Mapping[str, str]) -> dict[str, str]:
    return {name: hidden(exchange, value) for name, value in headers.items()}

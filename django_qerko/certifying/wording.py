"""Put what came back into a few words."""

from __future__ import annotations

from django_qerko.sandbox.conversation import Exchange, Finding
from django_qerko.sandbox.qerko import Reply, Turn
from django_qerko.sandbox.telling import outcome

#: Of many things that are wrong no more are told.
MOST = 3


def said(exchange: Exchange) -> str:
    """What came back to a delivery: ``getBill: 200``, ``getBill: no answer (connection refused)``."""
    return f"{exchange.event}: {outcome(exchange)}{_why(exchange)}"


def told(turn: Turn) -> str:
    """What came back, and what was replied to it."""
    if turn.exchange.status != 202:
        return said(turn.exchange)
    replied = _replied(turn.reply) if turn.reply else "no reply"
    return f"{turn.exchange.event}: 202, and then {replied}{_why(turn.exchange)}"


def _why(exchange: Exchange) -> str:
    return f" ({exchange.error})" if exchange.error else ""


def _replied(reply: Reply) -> str:
    is_bare = reply.is_taken and reply.is_error and reply.error_code is None
    return f"{outcome(reply)}{' an error without a code' if is_bare else ''}"


def listed(findings: list[Finding]) -> str:
    """The first few of several findings, each once."""
    texts = [*dict.fromkeys(finding.text for finding in findings)]
    return "; ".join([*texts[:MOST], *(["…"] if len(texts) > MOST else [])])


def named(number: int, one: str) -> str:
    """So many of something: ``1 table``, ``4 tables``."""
    return f"{number} {one}{'' if number == 1 else 's'}"

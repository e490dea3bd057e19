"""Show one exchange whole: what was sent, what came back, how it was judged, and what would follow."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import responses
from typing import Final

from django_qerko.sandbox.conversation import Exchange
from django_qerko.sandbox.following import following
from django_qerko.sandbox.judging import is_deserved
from django_qerko.sandbox.signing import TAMPERINGS
from django_qerko.sandbox.telling import hidden, took
from django_qerko.tending import legible

#: Of a response's headers those that say something about it; what a server says of itself is left out.
_TELLING_HEADERS: Final = frozenset(
    {"allow", "content-encoding", "content-type", "location", "retry-after", "www-authenticate"}
)


def sections(exchange: Exchange, tamper: str | None) -> Iterator[tuple[str, str]]:
    """Titles, and the text under each; ``tamper`` says what was done to the delivery."""
    yield f"Request{_spoilt(exchange, tamper)}", hidden(exchange, "\n".join(_request(exchange)))
    yield "Response", hidden(exchange, "\n".join(_response(exchange)))
    yield "Judgement", hidden(exchange, "\n".join(_judgement(exchange)))
    yield "What would follow", "\n".join(_following(exchange))


def _spoilt(exchange: Exchange, tamper: str | None) -> str:
    if tamper is not None:
        return f", forged: {TAMPERINGS[tamper]}"
    return ", outside its time window" if exchange.expected == 410 else ""


def _request(exchange: Exchange) -> Iterator[str]:
    yield legible.line(f"POST {exchange.request_url}")
    for name, value in exchange.request_headers.items():
        yield legible.line(f"{name}: {value}")
    yield ""
    yield legible.pretty(exchange.request_body)


def _response(exchange: Exchange) -> Iterator[str]:
    if exchange.status is None:
        yield legible.line(f"None after {took(exchange)}: {exchange.error}")
        return
    yield f"{exchange.status} {responses.get(exchange.status, '')}".rstrip() + f" after {took(exchange)}"
    for name, value in exchange.response_headers.items():
        if name.lower() in _TELLING_HEADERS:
            yield legible.line(f"{name}: {value}")
    yield ""
    yield legible.pretty(exchange.response_body) if exchange.response_body else "(no body)"


def _judgement(exchange: Exchange) -> Iterator[str]:
    if is_deserved(exchange):
        yield "✓ This is what the delivery deserves."
    elif not exchange.findings:
        yield f"✗ A genuine delivery deserves an answer, and was answered {exchange.status}."
    for finding in exchange.findings:
        yield legible.line(f"✗ {finding}")


def _following(exchange: Exchange) -> Iterator[str]:
    yield from following(exchange)
    if exchange.status == 202:
        yield "The reply goes to the BASE_URL of the point of sale; here nobody takes it, qerko_sandbox does."

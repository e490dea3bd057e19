"""One HTTP exchange under one clock.

On the standard library's ``http.client`` and sockets of our own, because ``requests`` cannot keep the promise: its
time-outs start again with every byte and leave out the resolution of the name, its session reads the whole body of a
redirect, keeps cookies and lets a ``.netrc`` replace the bearer, and its exceptions carry the request, bearer included.
Nothing here follows a redirect, asks a proxy, keeps a cookie or sends anything twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Final

from django_qerko.client import lines
from django_qerko.client.wire import LIMIT, Place, ResponseTooLong, Wire
from django_qerko.exceptions import CallFailed, NotSent, Unconfirmed

#: Seconds for the body of a failure, which nobody needs: only so that the connection can be used again.
_COURTESY: Final = 0.25

#: All that goes wrong between two machines, and what ``http.client`` makes of a stranger's bytes.
_EXPECTED: Final = (OSError, HTTPException, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A response: its body whole where it is 2xx, ``None`` where that is longer than ``LIMIT``, else empty."""

    status: int
    body: bytes | None


def post(
    place: Place,
    path: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    patience: tuple[float, float],
    deadline: float,
) -> Heard:
    """POST a body, and hear what is said to it.

    ``patience`` are seconds until it is connected and, from then on, for everything else; both end at ``deadline``, a
    moment of ``time.monotonic()``. A connection whose exchange did not come to its end is torn down.

    Raises NotSent where no byte of the request left, and Unconfirmed where some did and no status came back, or a 2xx
    whose body does not end. They have no cause, because the frames of ``http.client`` hold the headers.
    """
    try:
        write = partial(_write, path=path, headers=headers, body=body)
        outcome = _attempt(place, write, patience, deadline)
    except BaseException as error:
        # A worker that is told to stop, for one: its traceback would show the local variables of those frames.
        raise error.with_traceback(None) from None
    if isinstance(outcome, CallFailed):
        raise outcome
    return outcome


def _attempt(
    place: Place, write: Callable[[Wire], None], patience: tuple[float, float], deadline: float
) -> Heard | CallFailed:
    try:
        line = lines.of_this_process().take(place, min(time.monotonic() + patience[0], deadline))
    except _EXPECTED as error:
        return NotSent(_words(error))
    may_rest = False
    try:
        line.begin(min(time.monotonic() + patience[1], deadline))
        write(line)
        outcome, may_rest = _hear(line)
    except _EXPECTED as error:
        return (Unconfirmed if line.has_sent else NotSent)(_words(error))
    finally:
        (lines.of_this_process().keep if may_rest else Wire.tear_down)(line)
    return outcome


class _Writer(HTTPConnection):
    """Writes one request on a wire, and opens none by itself."""

    auto_open = 0
    # Who debugs http.client has it print every header, the bearer among them.
    debuglevel = 0

    def __init__(self, line: Wire) -> None:
        super().__init__(line.place.host, line.place.port)
        self.default_port = 443 if line.place.secure else 80
        self.sock = line


def _write(line: Wire, *, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
    writer = _Writer(line)
    writer.putrequest("POST", path)
    for header in headers:
        writer.putheader(*header)
    writer.putheader("Content-Length", str(len(body)))
    try:
        writer.endheaders(body)
    except ConnectionError:
        # Who refuses may say so before everything is read, and hang up: that answer may be here already.
        if not line.has_sent:
            raise


def _hear(line: Wire) -> tuple[Heard | CallFailed, bool]:
    """What is said, and whether the connection may be used again."""
    with closing(HTTPResponse(line, method="POST")) as response:
        _begin(response)
        status = response.status
        is_taken = 200 <= status < 300
        if not is_taken:
            line.until = min(line.until, time.monotonic() + _COURTESY)
        try:
            body = _body(response)
        except ResponseTooLong:
            return Heard(status=status, body=None if is_taken else b""), False
        except _EXPECTED as error:
            cut = Unconfirmed(f"{status}, and then: {_words(error)}", status=status)
            return cut if is_taken else Heard(status=status, body=b""), False
        if response.will_close:
            line.close()
        # After 101 it may speak anything.
        may_rest = response.isclosed() and not response.will_close and status >= 200
        return Heard(status=status, body=body if is_taken else b""), may_rest


def _begin(response: HTTPResponse) -> None:
    """Read the head of the answer: any 1xx before it says only that it will come, but for 101 (RFC 9110, 15.2)."""
    response.begin()
    while response.status < 200 and response.status != HTTPStatus.SWITCHING_PROTOCOLS:
        # http.client passes over 100 alone, and begins again only where it holds no head.
        response.headers = None  # type: ignore[assignment]
        response.begin()


def _body(response: HTTPResponse) -> bytes:
    body = response.read(LIMIT)
    if response.length:
        raise IncompleteRead(body, response.length)
    return body


def _words(error: BaseException) -> str:
    """What went wrong in the system's words or, because those of ``http.client`` quote a stranger, by its name."""
    if isinstance(error, TimeoutError):
        return "The time was over."
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__

"""Read a request that was saved to a file, by ``nc``, a proxy, or ``curl -v``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_REQUEST_LINE: Final = re.compile(rb"(?:> )?([A-Z]{1,20}) (\S+) HTTP/[0-9.]{1,3}[ \t]*\r?\n")
_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,8})(?:;[^\r\n]*)?\r?\n")
_LINE_END: Final = re.compile(rb"\r?\n?")
_CURLS_OWN: Final = (b"* ", b"{ [", b"} [")
_RESPONSE: Final = re.compile(rb"^<", re.MULTILINE)
_HEADER: Final = re.compile(r"([!-9;-~]+):[ \t]*(.*?)[ \t]*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What the file holds. ``remarks`` say what was made of it, where that is not plain."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(repr=False)
    #: ``None`` where the file holds none, as that of ``curl -v``.
    body: bytes | None = field(repr=False)
    remarks: tuple[str, ...] = ()

    def header(self, name: str) -> str | None:
        """Its first value; ``None`` where it is not there."""
        return next((value for known, value in self.headers if known.lower() == name), None)


def read_saved(content: bytes) -> Saved:
    """The request in a file: request line, headers, an empty line, the body; lines end in LF or CRLF.

    What stands before the request line is skipped, and ``curl -v``'s marks are understood. Raises ValueError where
    there is no request.
    """
    start = _REQUEST_LINE.search(content)
    if start is None or content[: start.start()].rpartition(b"\n")[2]:
        raise ValueError("there is no request line such as: POST /qerko/webhook/ HTTP/1.1")
    is_curls = start[0].startswith(b">")
    head, rest = _head(content[start.end() :], is_curls=is_curls)
    headers = _headers(head)
    body, remarks = _body(headers, rest, is_curls=is_curls)
    return Saved(
        method=start[1].decode("latin-1"),
        target=start[2].decode("latin-1"),
        headers=headers,
        body=body,
        remarks=tuple(remarks),
    )


def _head(content: bytes, *, is_curls: bool) -> tuple[list[str], bytes]:
    """The lines up to the empty one, and what comes after it."""
    lines: list[str] = []
    while content:
        line, _, content = content.partition(b"\n")
        text = line.removesuffix(b"\r").decode("latin-1")
        if is_curls:
            if not text.startswith(">"):
                continue  # curl speaks of other things in between
            text = text[1:].removeprefix(" ")
        if not text:
            return lines, content
        lines.append(text)
    return lines, b""


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    """A line that begins with a space goes on where the one before ended (RFC 9112 section 5.2)."""
    joined: list[str] = []
    for line in lines:
        if line.startswith((" ", "\t")) and joined:
            joined[-1] += f"\r\n{line}"
        else:
            joined.append(line)
    headers = []
    for line in joined:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise ValueError(f"this is no header: {line:.80}")
        headers.append((header[1], header[2]))
    return headers


def _body(headers: list[tuple[str, str]], rest: bytes, *, is_curls: bool) -> tuple[bytes | None, list[str]]:
    known = {name.lower(): value for name, value in headers}
    if is_curls:
        return _curls_body(rest), []
    if "chunked" in known.get("transfer-encoding", "").lower():
        body = _unchunked(rest)
        return (rest, ["The body is not in chunks, as its header says."]) if body is None else (body, [])
    if not known.get("content-length", "").isdecimal():
        return rest, ["There is no Content-Length: a line break at the end may be the editor's."]
    length = int(known["content-length"])
    if len(rest) < length:
        return rest, [f"The file holds {len(rest)} bytes of a body of {length}."]
    left = rest[length:]
    return rest[:length], [f"What follows the body, {len(left)} bytes, is left out."] if left.strip() else []


def _curls_body(rest: bytes) -> bytes | None:
    """What somebody put after the headers; ``curl -v`` itself saves no body, and goes on with the response."""
    sent = _RESPONSE.split(rest, maxsplit=1)[0]
    body = b"".join(line for line in sent.splitlines(keepends=True) if not line.startswith(_CURLS_OWN))
    return body or None


def _unchunked(rest: bytes) -> bytes | None:
    parts: list[bytes] = []
    at = 0
    while chunk := _CHUNK.match(rest, at):
        size, at = int(chunk[1], 16), chunk.end()
        if not size:
            return b"".join(parts)
        parts.append(rest[at : at + size])
        at = _LINE_END.match(rest, at + size).end()  # type: ignore[union-attr]  # it matches nothing, too
    return None

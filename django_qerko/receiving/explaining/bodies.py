"""What a body may have been before something on the way rewrote it. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import permutations, product
from typing import Any, Final, NamedTuple

from django_qerko.receiving.explaining.effort import INDENTED, WRITTEN

#: Longer JSON is not written indented, and in longer texts no accents are composed: Python does both slowly, the
#: second in the square of the length.
MAX_INDENTED: Final = 8_192
MAX_DEPTH: Final = 32
MAX_COMPOSED: Final = 4_096
#: Of more members not every order is tried.
MAX_SHUFFLED: Final = 5

_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,6})(?:;[^\r\n]{0,200})?\r\n")
_BOM: Final = b"\xef\xbb\xbf"
_CHARSETS: Final = ("latin-1", "windows-1252", "iso-8859-2", "windows-1250", "utf-16", "utf-16-le", "utf-16-be")
_FORMS: Final = ("NFC", "NFD", "NFKC", "NFKD")
# A number is kept as it was written: between two signs that stand for nothing, in quotes that are taken off later.
_SIGN: Final = "\ue000"
_SIGNS: Final = tuple(mark for sign in (_SIGN, "\\ue000") for mark in (f'"{sign}', f'{sign}"'))
_BRACKET: Final = re.compile(rb"([\[{])|[\]}]")
_ESCAPE: Final = re.compile(r"\\u[0-9a-f]{4}")

_COMPACT: Final = ("without spaces", {"separators": (",", ":")})
_SPACED: Final = ("with a space after each comma and colon", {"separators": (", ", ": ")})
_INDENTED: Final = tuple((f"indented by {number}", {"indent": number}) for number in (2, 4))


class Change(NamedTuple):
    """What happened to a body: the name of the cause, a clause that says it, and what finding out weighs for a byte."""

    name: str
    told: str
    weight: int = 1


def earlier_bodies(body: bytes) -> Iterator[tuple[Change, bytes]]:
    """Bodies of which this one may have been made, the likeliest first, and how; itself may be among them."""
    yield from _line_breaks(body)
    yield from _marks(body)
    yield from _framing(body)
    yield from _charsets(body)
    yield from _normal_forms(body)
    yield from _written_anew(body)


def _line_breaks(body: bytes) -> Iterator[tuple[Change, bytes]]:
    added = Change("body_newline", "a line break or spaces were added at its end")
    for end in (b"\r\n", b"\n"):
        yield added, body.removesuffix(end)
    yield added, body.rstrip()
    for end in (b"\n", b"\r\n"):
        yield Change("body_newline", "the line break at its end was taken off"), body + end
    plain = body.replace(b"\r\n", b"\n")
    yield Change("body_line_ends", "its line breaks were CRLF, and are LF"), plain.replace(b"\n", b"\r\n")
    yield Change("body_line_ends", "its line breaks were LF, and are CRLF"), plain


def _marks(body: bytes) -> Iterator[tuple[Change, bytes]]:
    yield Change("body_charset", "a byte order mark was put before it"), body.removeprefix(_BOM)
    yield Change("body_charset", "the byte order mark before it was taken off"), _BOM + body


def _framing(body: bytes) -> Iterator[tuple[Change, bytes]]:
    """RFC 9112 section 7.1: chunks that were passed on as if their sizes were part of the body."""
    parts, at = [], 0
    while match := _CHUNK.match(body, at):
        size, at = int(match[1], 16), match.end()
        parts.append(body[at : at + size])
        if not size:
            yield Change("body_framed", "it was chunked, and the sizes of the chunks stand in it"), b"".join(parts)
            return
        at += size + 2 * body.startswith(b"\r\n", at + size)


def _charsets(body: bytes) -> Iterator[tuple[Change, bytes]]:
    for charset in _CHARSETS:
        with suppress(ValueError):
            told = f"it is UTF-8, and was {charset}, or UTF-8 that was taken for {charset}"
            yield Change("body_charset", told), body.decode().encode(charset)
        with suppress(ValueError):
            yield Change("body_charset", f"it is {charset}, and was UTF-8"), body.decode(charset).encode()


def _normal_forms(body: bytes) -> Iterator[tuple[Change, bytes]]:
    if len(body) > MAX_COMPOSED:
        return
    with suppress(ValueError):
        text = body.decode()
        for form in _FORMS:
            told = f"the accents in it were composed otherwise, in Unicode's form {form}"
            yield Change("body_normalised", told), unicodedata.normalize(form, text).encode()


def _written_anew(body: bytes) -> Iterator[tuple[Change, bytes]]:
    """The same JSON as other programs would write it."""
    with suppress(ValueError, RecursionError):
        document = json.loads(body, parse_int=_kept, parse_float=_kept)
        layouts = [_COMPACT, _SPACED, *(_INDENTED if _is_simple(body) else ())]
        for order, (layout, how), (escapes, write) in product((False, True), layouts, _WRITERS.items()):
            told = f"it was written {layout}, {escapes}{', its members sorted' if order else ''}"
            yield _anew(told), write(document, sort_keys=order, **how)
        for shuffled, (layout, how), escapes in product(_orders(document), (_COMPACT, _SPACED), _SHUFFLED):
            told = f"its members were in another order, {layout}, {escapes}"
            yield _anew(told), _WRITERS[escapes](shuffled, **how)


def _is_simple(body: bytes) -> bool:
    """Whether Python indents it soon: each level costs time for all that is in it."""
    depth = deepest = 0
    for bracket in _BRACKET.finditer(body) if len(body) <= MAX_INDENTED else ():
        depth += 1 if bracket[1] else -1
        deepest = max(deepest, depth)
    return len(body) <= MAX_INDENTED and deepest <= MAX_DEPTH


def _anew(told: str) -> Change:
    weight = INDENTED if "indented" in told else WRITTEN
    return Change("body_reencoded", f"something read the JSON and wrote it anew; {told}", weight)


def _orders(document: Any) -> Iterator[dict[str, Any]]:
    """The envelope's members in every order. Deeper ones keep theirs."""
    if isinstance(document, dict) and len(document) <= MAX_SHUFFLED:
        for members in permutations(document.items()):
            yield dict(members)


def _kept(written: str) -> str:
    return f"{_SIGN}{written}{_SIGN}"


def _dumped(document: Any, *, ascii_only: bool, **how: Any) -> str:
    written = json.dumps(document, ensure_ascii=ascii_only, **how)
    for mark in _SIGNS:
        written = written.replace(mark, "")
    return written


def _plain(document: Any, **how: Any) -> bytes:
    return _dumped(document, ascii_only=False, **how).encode("utf-8", "surrogatepass")


def _escaped(document: Any, **how: Any) -> bytes:
    return _dumped(document, ascii_only=True, **how).encode()


def _capitals(document: Any, **how: Any) -> bytes:
    """As .NET does."""
    return _ESCAPE.sub(lambda match: f"\\u{match[0][2:].upper()}", _dumped(document, ascii_only=True, **how)).encode()


def _slashes(document: Any, **how: Any) -> bytes:
    """As PHP does; a slash stands in strings only."""
    return _escaped(document, **how).replace(b"/", b"\\/")


def _plain_slashes(document: Any, **how: Any) -> bytes:
    return _plain(document, **how).replace(b"/", b"\\/")


def _html(document: Any, **how: Any) -> bytes:
    """As Go does."""
    written = _plain(document, **how)
    for char in "<>&":
        written = written.replace(char.encode(), f"\\u{ord(char):04x}".encode())
    return written


_LETTERS: Final = "letters as they are"
_ESCAPES: Final = "letters as escapes"
_SHUFFLED: Final = (_LETTERS, _ESCAPES)
_WRITERS: Final[Mapping[str, Callable[..., bytes]]] = {
    _LETTERS: _plain,
    _ESCAPES: _escaped,
    f"{_ESCAPES} in capitals": _capitals,
    f"{_ESCAPES} and slashes, too": _slashes,
    f"{_LETTERS} and slashes as escapes": _plain_slashes,
    f"{_LETTERS} and <, >, & as escapes": _html,
}

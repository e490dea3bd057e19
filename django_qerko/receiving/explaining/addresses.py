"""What a request's address may have been before a proxy passed it on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django_qerko.signatures import SignedRequest

#: Of hosts and paths no more are tried: a stranger writes the headers that name some.
MAX_HOSTS: Final = 8
MAX_PATHS: Final = 10
_MAX_LENGTH: Final = 1_000
_MAX_DROPPED: Final = 3

#: What each component tells of the address (RFC 9421 section 2.2). Which port is the default one, and so left out of
#: `@authority`, depends on the scheme.
_TOLD: Final[Mapping[str, frozenset[str]]] = {
    "@target-uri": frozenset({"scheme", "host", "path", "query"}),
    "@authority": frozenset({"scheme", "host"}),
    "@scheme": frozenset({"scheme"}),
    "@request-target": frozenset({"path", "query"}),
    "@path": frozenset({"path"}),
    "@query": frozenset({"query"}),
    "host": frozenset({"host"}),
}
_PATH_HEADERS: Final = ("x-original-uri", "x-original-url", "x-forwarded-uri", "x-rewrite-url")
_FORWARDED: Final = re.compile(r'\bhost="?([^";,\s]+)', re.IGNORECASE)
_TOKEN: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def told_by(components: Iterable[str]) -> frozenset[str]:
    """The parts of the address on which a signature over these components depends."""
    return frozenset[str]().union(*(_TOLD.get(name, ()) for name in components))


def earlier_addresses(
    request: SignedRequest, parts: frozenset[str], origins: Sequence[str]
) -> Iterator[tuple[str, SignedRequest]]:
    """Addresses that this request may have been sent to, and that differ in these parts; the likeliest first.

    ``origins`` are addresses that the project knows itself by. Headers of proxies are hints: a stranger's word proves
    nothing, but here a signature does.
    """
    came = _split(request.target_uri)
    headers = {name.lower(): value[:_MAX_LENGTH] for name, value in request.headers}
    known = [_split(origin) for origin in origins]
    choices = {
        "scheme": ["https", "http"],
        "host": [*_hosts(headers, came), *(origin.netloc for origin in known if origin.netloc)][:MAX_HOSTS],
        "path": [*_paths(headers, came), *(origin.path for origin in known if origin.path)][:MAX_PATHS],
        "query": [""],
    }
    was = {"scheme": came.scheme, "host": came.netloc, "path": came.path, "query": came.query}
    tried = [dict.fromkeys([was[part], *(choices[part] if part in parts else ())]) for part in was]
    for way in sorted(product(*tried), key=lambda way: sum(map(str.__ne__, way, was.values()))):
        if list(way) != list(was.values()):
            yield _target(*way), _sent_to(request, _target(*way), way[1] if "host" in parts else None)


def without_token(text: str) -> str:
    """An address to show, without the part of it that nobody can guess."""
    return _TOKEN.sub("…", text)


def _hosts(headers: Mapping[str, str], came: SplitResult) -> Iterator[str]:
    port = headers.get("x-forwarded-port", "").strip()
    for named in (
        *headers.get("x-forwarded-host", "").split(",")[:2],
        *_FORWARDED.findall(headers.get("forwarded", ""))[:2],
        headers.get("x-original-host", ""),
        headers.get("host", ""),
        came.netloc.rpartition(":")[0],
    ):
        if host := named.strip():
            yield host
            if port:
                yield f"{host}:{port}"


def _paths(headers: Mapping[str, str], came: SplitResult) -> Iterator[str]:
    path = came.path
    yield path.removesuffix("/") if path.endswith("/") else f"{path}/"
    yield from (_split(headers[name]).path for name in _PATH_HEADERS if headers.get(name))
    if prefix := headers.get("x-forwarded-prefix", "").strip("/ "):
        yield f"/{prefix}{path}"
    rest = path
    for _ in range(_MAX_DROPPED):
        rest = rest[1:].partition("/")[2]
        if not rest:
            return
        rest = f"/{rest}"
        yield rest


def _split(url: str) -> SplitResult:
    """The parts of an address, none of them where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _target(scheme: str, host: str, path: str, query: str) -> str:
    return f"{scheme}://{host}{path}{'?' if query else ''}{query}"


def _sent_to(request: SignedRequest, target: str, host: str | None) -> SignedRequest:
    headers = [
        (name, host if host is not None and name.lower() == "host" else value) for name, value in request.headers
    ]
    return replace(request, target_uri=target, headers=headers)

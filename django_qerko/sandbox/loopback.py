"""Stay on this machine: which hosts are it, and which addresses may be called."""

from __future__ import annotations

import ipaddress

from requests.utils import requote_uri
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost``, ``127.0.0.0/8`` or ``::1``, with or without brackets."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def callable_address(url: str, *, allow_remote: bool = False) -> str:
    """The address as it is called and signed: normalised, without a default port and a fragment.

    Raises ValueError where it is no absolute ``http`` or ``https`` URL, holds a user or password, or leads to another
    machine that is not allowed.
    """
    parts = _parsed(url)
    if parts.auth:
        raise ValueError("An address with a user or a password in it is not called.")
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise ValueError(f"{url!r} is no absolute http or https URL.")
    if not allow_remote and not is_loopback(parts.host):
        raise ValueError(f"{parts.host} is not this machine, and calling others was not allowed.")
    port = None if parts.port == {"http": 80, "https": 443}[parts.scheme] else parts.port
    # Requests spells an address anew; one that is spelt like this already is called as it was signed.
    return requote_uri(Url(parts.scheme, None, parts.host, port, parts.path or "/", parts.query).url)


def _parsed(url: str) -> Url:
    try:
        return parse_url(url.strip())
    except LocationParseError as error:
        raise ValueError("That is no URL.") from error

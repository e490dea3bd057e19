"""Keep the other pages of a developer's browser away from a server that listens on loopback."""

from __future__ import annotations

import re
from typing import Final

from django.http import HttpRequest

from django_qerko.sandbox.loopback import is_loopback

_HOST: Final = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?", re.ASCII)
_SAFE: Final = {"GET", "HEAD"}
_OWN: Final = {"same-origin", "none"}


def objection(request: HttpRequest, *, allow_remote: bool) -> str | None:
    """Why a request is not answered, or ``None``.

    A page whose name was made to point here (DNS rebinding) still says its own name in ``Host``. A page elsewhere may
    look, as the browser does not show it the answer, but it may not change anything.
    """
    host = request.META.get("HTTP_HOST", "")
    if not allow_remote and not is_loopback(_name(host)):
        return "This server answers under an address of this machine only, such as http://127.0.0.1."
    if request.method in _SAFE:
        return None
    origin, site = request.META.get("HTTP_ORIGIN"), request.META.get("HTTP_SEC_FETCH_SITE")
    if site not in {None, *_OWN} or origin not in {None, f"http://{host}"}:
        return "Another page must not change anything here."
    return None


def _name(host: str) -> str:
    """The name or address in a Host header, without its port; empty where it is no such header."""
    found = _HOST.fullmatch(host)
    return found[1] if found else ""

"""Turn the sandbox's own templates into responses; no template setting of the project is asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.template import Context, Engine

from django_qerko.sandbox.replies import Said
from django_qerko.sandbox.request import SandboxRequest
from django_qerko.sandbox.telling import for_page

TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
#: Exchanges and replies that stand beside a page, the newest first.
SHOWN: Final = 20

_HTML: Final = "text/html; charset=utf-8"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    # With "no-referrer" a browser would not say either where a form comes from, and the guard wants to know.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_NAMES: Final = {"en": "English", "cs": "Česky"}


class _LookAt(HttpResponseRedirect):
    status_code = 303


def page(request: SandboxRequest, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
    """A page with the conversation beside it."""
    newest = request.sandbox.qerko.said[: -SHOWN - 1 : -1]
    values = {
        **context,
        "conversation": _told(request, newest),
        "last": str(newest[0].number) if newest else "",
        "here": request.get_full_path() if request.method == "GET" else "/",
        "others": [(code, name) for code, name in _NAMES.items() if code != request.language.code],
    }
    return _html(request, template, values, status=status)


def fragment(request: SandboxRequest, template: str, **context: Any) -> HttpResponse:
    """A part of a page, which the script puts in its place."""
    return _html(request, template, context)


def news(request: SandboxRequest, after: str) -> HttpResponse:
    """What was said after the exchange or reply of this number, the newest first; 204 where that was the last."""
    said = request.sandbox.qerko.said
    heard = next((place for place, one in enumerate(said, start=1) if str(one.number) == after), 0)
    newest = said[heard:][: -SHOWN - 1 : -1]
    if not newest:
        return nothing_new()
    return fragment(request, "said.html", conversation=_told(request, newest))


def nothing_new() -> HttpResponse:
    return HttpResponse(status=204, headers=_HEADERS)


def look_at(address: str) -> HttpResponse:
    """Where to look after something was done."""
    return _LookAt(address, headers=_HEADERS)


def notice(request: SandboxRequest, status: int, title: str, text: str) -> HttpResponse:
    """A page that says in a sentence why there is no other."""
    return page(request, "notice.html", status=status, title=title, text=text)


def stylesheet() -> HttpResponse:
    return _file("style.css", "text/css; charset=utf-8")


def script() -> HttpResponse:
    return _file("script.js", "text/javascript; charset=utf-8")


def document(value: Any, *, status: int = 200) -> JsonResponse:
    """A JSON document for a program."""
    return JsonResponse(value, status=status, safe=False, headers=_HEADERS)


def error(status: int, code: str | None, message: str) -> JsonResponse:
    """An error as Qerko's API says it (protocol section 5, C)."""
    return document({"code": code, "message": message}, status=status)


def _told(request: SandboxRequest, newest: Sequence[Said]) -> list[dict[str, Any]]:
    is_alone = len(request.sandbox.points_of_sale) == 1
    return [for_page(said, request.language, is_alone=is_alone) for said in newest]


def _html(request: SandboxRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    values = {**context, "t": request.language.words, "language": request.language.code}
    text = _engine().get_template(template).render(Context(values, use_l10n=False, use_tz=False))
    # A point of sale may say half a surrogate pair, which is JSON and no text.
    return HttpResponse(text.encode("utf-8", "replace"), status=status, content_type=_HTML, headers=_HEADERS)


def _file(name: str, content_type: str) -> HttpResponse:
    return HttpResponse((TEMPLATES / name).read_bytes(), content_type=content_type, headers=_HEADERS)


@lru_cache(maxsize=1)
def _engine() -> Engine:
    return Engine(dirs=[str(TEMPLATES)], debug=False, autoescape=True)

"""Bring a request to its page, past every setting of the project that the sandbox runs in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, cast

from django.core.handlers.wsgi import WSGIHandler
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import get_resolver, set_script_prefix, set_urlconf

from django_qerko.sandbox import rendering
from django_qerko.sandbox.guard import objection
from django_qerko.sandbox.request import Sandbox, SandboxRequest
from django_qerko.sandbox.speaking import Language, spoken_to

log: Final = logging.getLogger(__name__)

URLS: Final = "django_qerko.sandbox.urls"
API: Final = "/api/"

_ENGLISH: Final = Language("en")
#: The code and the phrase for what there is instead of a page.
_TOLD: Final[Mapping[int, tuple[str | None, str]]] = {
    403: ("ACCESS_DENIED", "error_403"),
    404: ("NOT_FOUND", "error_404_text"),
    500: (None, "problem_broke"),
}


class SandboxHandler(WSGIHandler):
    """A WSGI application without middleware, with its own URLconf, its own pages for errors and no transaction."""

    request_class = SandboxRequest

    def __init__(self, sandbox: Sandbox, *, allow_remote: bool = False) -> None:
        self._sandbox = sandbox
        self._allow_remote = allow_remote
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        """None: a project's middleware might demand a login, redirect, or write to its database."""

    def get_response(self, request: HttpRequest) -> Any:
        set_script_prefix("/")
        set_urlconf(URLS)
        request.encoding = "utf-8"
        own = cast("SandboxRequest", request)
        own.sandbox = self._sandbox
        own.language = spoken_to(own)
        try:
            return self._answer(own)
        except Http404:
            return _trouble(own, 404)
        except Exception:
            log.exception("The sandbox could not answer %s %s", request.method, request.path_info)
            return _trouble(own, 500)

    def _answer(self, request: SandboxRequest) -> HttpResponseBase:
        if reason := objection(request, allow_remote=self._allow_remote):
            return _trouble(request, 403, reason)
        match = get_resolver(URLS).resolve(request.path_info)
        request.resolver_match = match
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return response


def _trouble(request: SandboxRequest, status: int, reason: str | None = None) -> HttpResponseBase:
    """A program is told in English, a guest in their language; but why a stranger is not let in, in English."""
    if request.path_info.startswith(API):
        code, phrase = _TOLD[status]
        return rendering.error(status, code, reason or _ENGLISH.say(phrase))
    say = request.language.say
    return rendering.notice(request, status, say(f"error_{status}"), reason or say(_TOLD[status][1]))

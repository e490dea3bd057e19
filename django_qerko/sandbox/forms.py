"""Read a form that a browser of this machine sent; no setting of a project counts or limits its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from django_qerko.sandbox.request import SandboxRequest

#: More of a form is not read; a bill of a thousand items fits.
MAX_FORM: Final = 200_000


def sent(request: SandboxRequest) -> Mapping[str, str]:
    """The fields of a form that was posted; of several with one name the last counts."""
    return _fields(request.read(MAX_FORM))


def asked(request: SandboxRequest) -> Mapping[str, str]:
    """The fields in an address."""
    return _fields(request.META.get("QUERY_STRING", "").encode("latin-1"))


def _fields(text: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))

"""What a value of a setting can be. To judge one raises nothing, whatever it is."""

from __future__ import annotations

import ipaddress
import math
import re
import uuid
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from cryptography.fernet import Fernet

Judge: TypeAlias = Callable[[Any], bool]

_NO_ADDRESS: Final = re.compile(r"[^!-~]|[\\@?#]")


def is_uuid(value: object) -> bool:
    """Written as Qerko writes it: it is sent as it stands."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def address(value: object) -> SplitResult | None:
    """The parts of an http or https address without user, query and fragment; ``None`` for everything else."""
    if not isinstance(value, str) or _NO_ADDRESS.search(value):
        return None
    try:
        parts = urlsplit(value)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if right else None


def is_address(value: object) -> bool:
    return address(value) is not None


def is_origin(value: object) -> bool:
    """Whether it is an address of scheme and host alone."""
    parts = address(value)
    return parts is not None and parts.path in {"", "/"}


def is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_span(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)


def is_tolerance(value: object) -> bool:
    """A span that may be none at all."""
    return isinstance(value, timedelta) and value >= timedelta(0)


def is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_pair_of_numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_positive, value))


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def are_encryption_keys(value: object) -> bool:
    """In their order, so no set, and at least one: none would quietly mean the derived ones."""
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_encryption_key, value))


def each(judge: Judge, *, at_least: int = 0) -> Judge:
    """Judges the members of a list, a tuple or a set; a bare string is none, though it is a sequence."""
    return lambda value: (
        isinstance(value, list | tuple | set | frozenset) and len(value) >= at_least and all(map(judge, value))
    )


def one_of(choices: Collection[str]) -> Judge:
    return lambda value: isinstance(value, str) and value in choices


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_encryption_key(value: object) -> bool:
    try:
        return isinstance(value, str | bytes) and bool(Fernet(value))
    except ValueError:
        return False

"""Whether SQLite, where the book is kept in it, lets several writers wait for each other.

Read from the settings and from the file's header, because a check that opens the database would make one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections, router

from django_qerko.checks.values import TAG
from django_qerko.models import WebhookEvent

_TURNS_WAL_ON: Final = re.compile(r"journal_mode\s*[=(]\s*['\"]?wal\b", re.IGNORECASE)
#: One line cures both findings; a project that ``startproject`` made has no OPTIONS yet.
_OPTIONS: Final = '{"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"}'
#: Two bytes of the header say which journal the file is written and read with; two means a WAL (SQLite's file format).
_JOURNAL: Final = slice(18, 20)
_WAL: Final = b"\x02\x02"


@checks.register(TAG)
def check_journal(**_: Any) -> list[CheckMessage]:
    """Readers do not lock writers out."""
    alias, sqlite = _book()
    if sqlite is None or _is_in_memory(sqlite) or _has_wal(sqlite):
        return []
    message = f"The SQLite database {alias!r} keeps no write-ahead log: whoever reads it locks writers out."
    return [checks.Warning(message, hint=_hint(alias), id="qerko.W008")]


@checks.register(TAG)
def check_transactions(**_: Any) -> list[CheckMessage]:
    """Two writers wait for each other."""
    alias, sqlite = _book()
    if sqlite is None or str(sqlite["OPTIONS"].get("transaction_mode")).upper() in {"IMMEDIATE", "EXCLUSIVE"}:
        return []
    message = f"The SQLite database {alias!r} defers its transactions: of two that write at once, one fails."
    return [checks.Warning(message, hint=_hint(alias), id="qerko.W009")]


def _hint(alias: str) -> str:
    return f'Write DATABASES["{alias}"]["OPTIONS"] = {_OPTIONS}; other options that stand there may stay.'


def _book() -> tuple[str, dict[str, Any] | None]:
    """The alias of the database where events are written, and its settings where it is SQLite."""
    alias = router.db_for_write(WebhookEvent)
    connection = connections[alias]
    return alias, connection.settings_dict if connection.vendor == "sqlite" else None


def _is_in_memory(sqlite: dict[str, Any]) -> bool:
    name = str(sqlite["NAME"])
    return name == ":memory:" or "mode=memory" in name


def _has_wal(sqlite: dict[str, Any]) -> bool:
    return bool(_TURNS_WAL_ON.search(str(sqlite["OPTIONS"].get("init_command")))) or _is_written_with_wal(sqlite)


def _is_written_with_wal(sqlite: dict[str, Any]) -> bool:
    try:
        with Path(sqlite["NAME"]).open("rb") as file:
            return file.read(_JOURNAL.stop)[_JOURNAL] == _WAL
    except (OSError, ValueError):
        return False

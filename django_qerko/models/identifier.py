"""Text that identifies something: compared byte for byte on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _CharField = models.CharField[Any, Any]
else:
    _CharField = models.CharField


class IdentifierField(_CharField):
    """A ``CharField`` that MariaDB and MySQL, too, compare by case, accents and trailing blanks.

    Their collations without padding have different names, and other databases need none, so Django's
    own ``db_collation``, one name for all, does not serve.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return super().db_parameters(connection) | {"collation": _binary_collation(connection)}


def _binary_collation(connection: BaseDatabaseWrapper) -> str | None:
    if connection.vendor != "mysql":
        return None
    return "utf8mb4_nopad_bin" if getattr(connection, "mysql_is_mariadb", False) else "utf8mb4_0900_bin"

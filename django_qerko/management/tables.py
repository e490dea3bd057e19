"""Know whether the tables of this app are there, and what makes them."""

from __future__ import annotations

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections, router


def missing() -> str:
    """What makes the tables that are missing; empty where all are there, or where the database cannot be asked.

    A driver's error does not say it: three databases, three classes and texts.
    """
    for model in apps.get_app_config("django_qerko").get_models():
        alias = router.db_for_write(model)
        known = connections[alias].introspection
        try:
            if known.identifier_converter(model._meta.db_table) not in known.table_names():
                which = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
                return f"The tables of django_qerko are missing: python manage.py migrate{which} makes them."
        except (Error, ImproperlyConfigured):
            return ""
    return ""

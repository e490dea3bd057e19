"""Know the restaurants of this project as Qerko does: whom to call, and with which key."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error
from django.urls import NoReverseMatch

from django_qerko.management import tables
from django_qerko.models import Restaurant
from django_qerko.sandbox.conversation import PointOfSale

#: Where Django's development server listens, and gunicorn.
ORIGIN = "http://127.0.0.1:8000"
NO_ADDRESS = "The webhook has no address: include django_qerko.urls in your URLconf."


def of_this_project(origin: str) -> list[PointOfSale]:
    """The restaurants that have a key. Raises CommandError where there is none, or where they cannot be read."""
    try:
        known = [
            PointOfSale(url=f"{origin.rstrip('/')}{restaurant.webhook_path}", api_key=key.api_key, name=restaurant.name)
            for restaurant in Restaurant.objects.all()
            if (key := restaurant.current_key)
        ]
    except (Error, ImproperlyConfigured) as error:
        unreadable = f"The restaurants cannot be read: {error}. Name a --url and its --api-key."
        raise _not_known(tables.missing() or unreadable) from error
    except NoReverseMatch as error:
        raise _not_known(NO_ADDRESS) from error
    except ValueError as error:
        raise _not_known(str(error)) from error
    if not known:
        raise _not_known("No restaurant has a key: add one (qerko_restaurant add), or name a --url and its --api-key.")
    return known


def the_one(known: list[PointOfSale], name: str | None) -> PointOfSale:
    """The one of this name; without a name, the only one. Raises CommandError where that is not one."""
    found = [pos for pos in known if name in {None, pos.name}]
    if len(found) == 1:
        return found[0]
    names = ", ".join(pos.name for pos in known)
    if name is not None:
        raise _not_known(f"No restaurant of that name has a key; there are: {names}.")
    raise _not_known(f"There are several restaurants: {names}. Say which with --restaurant.")


def _not_known(text: str) -> CommandError:
    return CommandError(text, returncode=2)

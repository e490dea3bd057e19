"""Add restaurants, show them, and rotate their API keys."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.urls import NoReverseMatch

from django_qerko.keys import ApiKey
from django_qerko.management import arguments
from django_qerko.management.printing import PrintingCommand, iso
from django_qerko.models import Restaurant
from django_qerko.tending.timeline import when


class Command(PrintingCommand):
    help = (
        "Add restaurants, show them, and rotate their API keys. Of a key at most the last four characters are printed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="add, list or rotate", required=True)
        a_key = arguments.api_key

        add = verbs.add_parser("add", help="add a restaurant, and print the address that Qerko is to call")
        add.add_argument("name", metavar="NAME")
        add.add_argument(
            "--api-key", metavar="KEY", type=a_key, required=True, help="from Qerko's Restaurant Admin; - reads it"
        )

        show = verbs.add_parser("list", help="show all restaurants")
        show.add_argument("--json", action="store_true", help="print one list of objects")

        rotate = verbs.add_parser("rotate", help="give a restaurant a new key, and later forget the old one")
        rotate.add_argument("name", metavar="NAME")
        # That one of them is there is asked later: call_command has keywords only where this is not required here.
        step = rotate.add_mutually_exclusive_group()
        step.add_argument(
            "--api-key", metavar="KEY", type=a_key, help="what replies carry now; the old is accepted, too"
        )
        step.add_argument("--finish", action="store_true", help="forget every key but the newest")

    def handle(self, *, verb: str, **options: Any) -> None:
        verbs: dict[str, Callable[..., None]] = {"add": self.add, "list": self.show, "rotate": self.rotate}
        verbs[verb](**options)

    def add(self, *, name: str, api_key: ApiKey, **_: Any) -> None:
        try:
            restaurant = Restaurant.objects.add(name=name, api_key=api_key)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"Added {restaurant} with {_spoken(api_key.shown)}.")
        self.stdout.write(f"Its webhook's path: {_path(restaurant) or 'none'}")
        self.stdout.write(f"Qerko is to call:   {restaurant.webhook_address}")
        self._warn_of_a_slip(restaurant, api_key)

    def show(self, *, json: bool, **_: Any) -> None:
        restaurants = Restaurant.objects.prefetch_related("keys")
        if json:
            self.print_json([_members(restaurant) for restaurant in restaurants])
        else:
            self.print_table(("restaurant", "keys", "last used", "Qerko calls"), map(_cells, restaurants))

    def rotate(self, *, name: str, api_key: ApiKey | None, finish: bool, **_: Any) -> None:
        if (api_key is not None) is finish:
            raise CommandError("rotate wants one of --api-key --finish.", returncode=2)
        restaurant = arguments.restaurant(name)
        if api_key is None:
            self._finish(restaurant)
        else:
            self._begin(restaurant, api_key)

    def _begin(self, restaurant: Restaurant, api_key: ApiKey) -> None:
        before = restaurant.current_key
        try:
            added = restaurant.add_key(api_key)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        older = ", ".join(_spoken(key.shown) for key in restaurant.keys.exclude(pk=added.pk))
        new = _spoken(added.shown)
        since = "already" if added == before else "now"
        self.stdout.write(f"Replies of {restaurant} carry {new} {since}; {older or 'no other'} is accepted, too.")
        if older:
            self.stdout.write("Once Qerko signs with that key, run the same with --finish.")
        self._warn_of_a_slip(restaurant, api_key)

    def _finish(self, restaurant: Restaurant) -> None:
        forgotten = restaurant.forget_old_keys()
        current = restaurant.current_key
        if current is None:
            raise CommandError(f"{restaurant} has no key.")
        self.stdout.write(
            f"{restaurant} has only {_spoken(current.shown)} now; older ones that were forgotten: {forgotten}."
        )

    def _warn_of_a_slip(self, restaurant: Restaurant, api_key: ApiKey) -> None:
        if api_key.is_checked:
            return
        rotate = f"qerko_restaurant rotate {shlex.quote(restaurant.name)}"
        self.stderr.write(
            "The check digits of this key are wrong. It was taken as it is; if it was mistyped, give the right one with"
            f"\n  {rotate} --api-key -\nand, once Qerko signs with that, forget this one with\n  {rotate} --finish"
        )


def _spoken(shown: str) -> str:
    """A key in a sentence, by what may be shown of it; of a short one nothing is shown but the dots."""
    return f"the key {shown}" if shown.strip("…") else "a key too short to show"


def _path(restaurant: Restaurant) -> str | None:
    try:
        return restaurant.webhook_path
    except NoReverseMatch:
        return None


def _cells(restaurant: Restaurant) -> tuple[str, ...]:
    keys = list(restaurant.keys.all())
    used = [key.last_used_at for key in keys if key.last_used_at]
    return str(restaurant), ", ".join(map(str, keys)), when(max(used, default=None)), restaurant.webhook_address


def _members(restaurant: Restaurant) -> dict[str, Any]:
    return {
        "id": restaurant.pk,
        "name": restaurant.name,
        "webhook_path": _path(restaurant),
        "webhook_address": restaurant.webhook_address,
        "created_at": iso(restaurant.created_at),
        "keys": [
            {"shown": key.shown, "added_at": iso(key.added_at), "last_used_at": iso(key.last_used_at)}
            for key in restaurant.keys.all()
        ],
    }

"""Take a call as it was typed, and the same by keyword, and repeat no key of it."""

from __future__ import annotations

import os
from argparse import Action, ArgumentError, ArgumentParser, _AppendAction, _SubParsersAction
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_qerko.sandbox.arguments import keep_keys_unsaid, unsaid


class CalledCommand(BaseCommand):
    """A command that reads what ``call_command`` was given by keyword as it reads what is typed.

    Django hands keywords over as they are: ``since="1h"`` would stay a text. No complaint repeats a key, wherever it
    stood. ``NO_COLOR`` in the environment means ``--no-color``, which is all that Django knows.
    """

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        for each in _with_its_verbs(parser):
            keep_keys_unsaid(each)
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        colours = {"no_color": True, "force_color": False} if os.environ.get("NO_COLOR") else {}
        try:
            return super().execute(*args, **options | self._read(options) | colours)
        except CommandError as error:
            error.args = (unsaid(str(error)),)
            raise

    def _read(self, options: dict[str, Any]) -> dict[str, Any]:
        """Those that a parser knows, read by it. Raises CommandError where one cannot be read."""
        whole = self.create_parser("", "")
        read: dict[str, Any] = {}
        try:
            for parser in _with_its_verbs(whole):
                known = [action for action in parser._actions if action.dest in options.keys() - read.keys()]
                read |= {action.dest: _value(parser, action, options[action.dest]) for action in known}
        except ArgumentError as error:
            whole.error(str(error))
        return read


def _with_its_verbs(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            yield from action.choices.values()


def _value(parser: ArgumentParser, action: Action, given: Any) -> Any:
    """One value, or all of what may be repeated; what is no text was read before, or needs no reading."""
    if isinstance(action, _AppendAction):
        given = [given] if isinstance(given, str) else given or []
        return [_one(parser, action, one) for one in given] or action.default
    return _one(parser, action, given)


def _one(parser: ArgumentParser, action: Action, given: Any) -> Any:
    if not isinstance(given, str):
        return given
    value = parser._get_value(action, given)
    parser._check_value(action, value)
    return value

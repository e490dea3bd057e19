"""Print a conversation as it happens, one line for each exchange and each reply."""

from __future__ import annotations

import os
from typing import IO, Final

from rich.console import Console
from rich.text import Text

from django_qerko.sandbox.replies import Said
from django_qerko.sandbox.speaking import Language
from django_qerko.sandbox.telling import hidden, hint, is_error, mark, outcome, took, who

_NAME_WIDTH: Final = 16
_EVENT_WIDTH: Final = 20
_OUTCOME_WIDTH: Final = 20
_ENGLISH: Final = Language("en")


def console_on(file: IO[str], *, no_color: bool = False, force_color: bool = False) -> Console:
    """A console; without colours (``NO_COLOR``) there are no other codes of a terminal either: nothing is bold or dim,
    and nothing moves.
    """
    is_plain = no_color or bool(os.environ.get("NO_COLOR"))
    return Console(file=file, color_system=None if is_plain else "auto", force_terminal=force_color or None)


def print_line(console: Console, said: Said) -> None:
    """One line: time (UTC), sign, restaurant, event, what came back, milliseconds, findings and advice."""
    style = "red" if said.findings else "yellow" if is_error(said) else "green"
    advice = hint(said)
    words = [*map(str, said.findings), *([_ENGLISH.say(advice, id=said.event_id)] if advice else [])]
    findings = "; ".join(words)
    line = Text.assemble(
        (f"{said.at:%H:%M:%S} ", "dim"),
        (f"{mark(said)} ", style),
        f"{_plain(said, who(said) or '?'):<{_NAME_WIDTH}} ",
        (f"{_plain(said, said.event or 'a reply'):<{_EVENT_WIDTH}} ", "bold"),
        (f"{_plain(said, outcome(said)):<{_OUTCOME_WIDTH}} ", style),
        f"{took(said):>11}",
        (f"  {_plain(said, findings)}" if findings else "", style),
    )
    console.print(line, soft_wrap=True, highlight=False)


def _plain(said: Said, text: str) -> str:
    """Without the API key, and without what moves a terminal's cursor: the words are a stranger's."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in hidden(said, text)
    )

"""Print the verdicts: a table with colours for a person, a line for each rule for whatever else reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from django_qerko.certifying.ruling import Rule
from django_qerko.certifying.verdicts import Outcome, Verdict

_HEADINGS: Final = ("§", "rule", "verdict", "what was seen", "what to do")
#: A sign for each verdict that is read without its colour.
_SIGNS: Final[Mapping[Outcome, tuple[str, str]]] = {
    Outcome.HOLDS: ("✓", "green"),
    Outcome.BROKEN: ("✗", "bold red"),
    Outcome.NOT_TRIED: ("?", "yellow"),
    Outcome.NOT_NEEDED: ("–", "dim"),
}
_COUNTED: Final[Mapping[Outcome, str]] = {
    Outcome.HOLDS: "hold",
    Outcome.BROKEN: "broken",
    Outcome.NOT_TRIED: "not tried",
    Outcome.NOT_NEEDED: "not needed",
}


class Progress:
    """Says which rule is being tried: in a line that changes on a terminal that has colours, and else in lines of
    their own, if anybody reads them.
    """

    def __init__(self, console: Console, number: int, *, say_otherwise: Callable[[str], object]) -> None:
        self._status = console.status("") if console.is_terminal and console.color_system else None
        self._say_otherwise = say_otherwise
        self._number = number
        self._begun = 0

    def tell(self, rule: Rule) -> None:
        """The turn of a rule has come."""
        self._begun += 1
        self.say(f"{self._begun} of {self._number}: {rule.sentence}")

    def say(self, text: str) -> None:
        """What is being done."""
        if self._status:
            self._status.update(Text(text))
        else:
            self._say_otherwise(text)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While this lasts."""
        with self._status or nullcontext():
            yield


def report(console: Console, verdicts: Sequence[tuple[Rule, Verdict]]) -> None:
    """Print all verdicts, and how many there are of each."""
    if console.is_terminal:
        _print_table(console, verdicts)
    else:
        for row in [_HEADINGS, *map(_cells, verdicts)]:
            # Past rich, which makes spaces of tabs.
            console.file.write("\t".join(row) + "\n")
    counts = Counter(verdict.outcome for _, verdict in verdicts)
    said = [f"{counts[outcome]} {word}" for outcome, word in _COUNTED.items() if counts[outcome]]
    console.print(Text(f"Of {len(verdicts)} rules: {', '.join(said)}."), soft_wrap=True)


def _print_table(console: Console, verdicts: Sequence[tuple[Rule, Verdict]]) -> None:
    table = Table(*_HEADINGS, box=None, pad_edge=False, header_style="bold")
    for rule, verdict in verdicts:
        sign, style = _SIGNS[verdict.outcome]
        section, *_ = cells = _cells((rule, verdict))
        table.add_row(
            Text(section, style="dim"),
            Text.assemble(rule.name, "\n", (rule.sentence, "dim")),
            Text(f"{sign} {verdict.outcome}", style=style, no_wrap=True),
            *map(Text, cells[3:]),
        )
    console.print(table)


def _cells(tried: tuple[Rule, Verdict]) -> tuple[str, ...]:
    rule, verdict = tried
    return str(rule.section), rule.name, str(verdict.outcome), verdict.seen, verdict.cure

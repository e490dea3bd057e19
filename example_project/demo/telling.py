"""Tell a person what happens: in colour on a terminal, as plain text elsewhere."""

from __future__ import annotations

import itertools
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from django_qerko.answers import Receipt
from django_qerko.sandbox.qerko import Exchange, PaymentStory, Reply
from example_project.demo.slips import printed
from example_project.demo.words import heard, listed

#: Wider lines are harder to read, however wide the terminal.
_WIDEST: Final = 96
_MARGIN: Final = 2
#: Where it stands who asks, and what.
_WHO: Final = 15
_WHAT: Final = 27
#: What status, milliseconds and mark take at the end of a line.
_FIGURES: Final = 15


class Teller:
    """Tells the evening, line by line as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _WIDEST)
        self._scenes = 0

    def title(self, text: str) -> None:
        self._console.print(Rule(Text(text, style="bold"), align="left", style="dim"), width=self._width)

    def say(self, text: str = "", *, style: str = "", margin: int = _MARGIN, who: str = "") -> None:
        """Text within its margins, line breaks kept; who says it stands before the first line."""
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, self._width - margin) or [""]]
        heads = [who.rjust(_WHO + len(who)).ljust(margin) if who else " " * margin]
        for line, head in itertools.zip_longest(lines or [""], heads, fillvalue=" " * margin):
            self._console.print(Text(f"{head}{line}".rstrip(), style=style), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.say(text, style="red")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Tell what is being done while it is done, and how long it took."""
        self._console.print(Text(f"{' ' * _MARGIN}{what} …"), end="")
        started = time.perf_counter()
        ending = Text()
        try:
            yield
            ending = Text(f" {time.perf_counter() - started:.1f} s", style="dim")
        finally:
            self._console.print(ending)

    def scene(self, title: str) -> None:
        self._scenes += 1
        self.say()
        self.say(f"{self._scenes}  {title}", style="bold")

    def exchange(self, exchange: Exchange, *, who: str, about: str, fault: str | None) -> None:
        """Two lines: who asked what, and what the pub answered; more where that was wrong."""
        what = Text.assemble(exchange.event, (f"  {about}", "dim"))
        self._line(exchange.at, who, what, _figures(exchange.status, exchange.milliseconds, fault=fault))
        self.say(heard(exchange), margin=_WHAT, who="the pub")
        self._fault(fault)

    def reply(self, reply: Reply, *, fault: str | None) -> None:
        """What the pub replied, how long after the 202, and what Qerko said to that, where it did not take it."""
        what = Text.assemble("/reply", (f"  to {reply.event}", "dim"))
        self._line(reply.at, "the pub", what, _figures(reply.status, reply.milliseconds, fault=fault))
        if reply.is_taken:
            self.say(heard(reply), margin=_WHAT)
        else:
            self.say("is busy; come again" if reply.status == 503 else "refuses it", margin=_WHAT, who="Qerko")
        self._fault(fault)

    def payment(self, story: PaymentStory, *, who: str, fault: str | None) -> None:
        """A payment in short: what was paid, and how long the pub took for each reply."""
        items = [f"{item.quantity:f} × {item.name}" for item in story.payment.items]
        figures = _figures(
            "PAID" if story.is_paid else None, sum(turn.milliseconds for turn in story.turns), fault=fault
        )
        self._line(story.payment.begun_at, who, Text(f"pays {listed(items)}"), figures)
        replies = [f"{reply.milliseconds:.0f}" for reply in story.replies]
        self.say(f"replies after {listed(replies)} ms" if replies else "does not reply", margin=_WHAT, who="the pub")
        self._fault(fault)

    def receipt(self, receipt: Receipt, currency: str) -> None:
        """A receipt, as it comes out of the printer."""
        for line in printed(receipt, currency):
            self._console.print(Text(f"{' ' * _WHAT}{line}"), soft_wrap=True)

    def lines(self, name: str, lines: Sequence[str]) -> None:
        """What a process has written."""
        for line in lines:
            self._console.print(Text.assemble((f"{name:>7} │ ", "dim"), line), soft_wrap=True)

    def _line(self, at: datetime, who: str, what: Text, figures: Text) -> None:
        line = Text.assemble((f"     {at.astimezone():%H:%M:%S}", "dim"))
        line.pad_right(_WHO - len(line))
        line.append(f"{who:<{_WHAT - _WHO}}").append_text(what)
        line.truncate(self._width - _FIGURES, overflow="ellipsis", pad=True)
        self._console.print(line.append_text(figures), soft_wrap=True)

    def _fault(self, fault: str | None) -> None:
        if fault is not None:
            self.say(fault, style="red", margin=_WHAT)


def _figures(status: int | str | None, milliseconds: float | None, *, fault: str | None) -> Text:
    mark = (" ✓", "green") if fault is None else (" ✗", "red")
    took = f"{milliseconds or 0.0:>6.0f} ms"
    return Text.assemble((f"{status or '—':>4}", "bold"), (took, "dim"), mark)

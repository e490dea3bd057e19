"""Print for a person at a terminal, and plainly for whatever else reads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import IO, Any, Final, cast

from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError, ProgrammingError
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from django_qerko.management import tables
from django_qerko.management.calling import CalledCommand
from django_qerko.sandbox.printing import console_on
from django_qerko.tending import legible

#: As a UUID.
_WIDEST: Final = 36


class PrintingCommand(CalledCommand):
    """A command whose text comes from strangers, and whose reader may leave early.

    Cells are neither markup nor terminal commands, whatever they hold. Where nobody's terminal reads, columns
    are separated by tabs and nothing is cut. When the reader hangs up (``| head``), the command ends quietly; where
    the database is gone, or has no tables of ours, in one line (``--traceback`` shows the rest).
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        said = None
        self._no_color = bool(options.get("no_color"))
        try:
            said = super().execute(*args, **options)
            self.stdout.flush()
        except BrokenPipeError:
            # Whoever gave another output than the process's own sees to it.
            if not options.get("stdout"):
                _hang_up()
        except ProgrammingError as error:
            if cure := tables.missing():
                raise CommandError(cure) from error
            raise
        except (InterfaceError, OperationalError) as error:
            raise CommandError(tables.missing() or f"The database cannot be used: {error}") from error
        return said

    def print_json(self, value: object) -> None:
        """One line of JSON, in ASCII."""
        self.stdout.write(json.dumps(value))

    def print_table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table whose columns are as wide as they must be; a line that is longer than the terminal is not cut."""
        rows = list(rows)
        widths = [max(map(_width, column)) for column in zip(headings, *rows, strict=True)]
        self.print_rows([headings], widths=widths, style="bold")
        self.print_rows(rows, widths=widths)

    def print_rows(self, rows: Iterable[Sequence[object]], *, widths: Sequence[int], style: str = "") -> None:
        """Rows one by one, without knowing the next: on a terminal each cell has its width at least."""
        for row in rows:
            if self.stdout.isatty():
                cells = map(_padded, row, widths)
                self._console().print(Text("  ".join(cells).rstrip(), style=style), soft_wrap=True, highlight=False)
            else:
                self.stdout.write("\t".join(map(_cell, row)))

    def _console(self) -> Console:
        return console_on(cast("IO[str]", self.stdout), no_color=self._no_color)


def widened(widths: Sequence[int], rows: Iterable[Sequence[object]]) -> list[int]:
    """These widths, or more where a cell needs it; a cell that is wider than an id overflows in its own line only."""
    needed = ([width if (width := _width(cell)) <= _WIDEST else 0 for cell in row] for row in rows)
    return [max(column) for column in zip(widths, *needed, strict=True)]


def iso(moment: datetime | None) -> str | None:
    """A moment as a program reads it."""
    return moment.isoformat() if moment else None


def _cell(value: object) -> str:
    return legible.line("" if value is None else str(value))


def _width(value: object) -> int:
    return cell_len(_cell(value))


def _padded(value: object, width: int) -> str:
    return _cell(value) + " " * (width - _width(value))


def _hang_up() -> None:
    """Nobody reads any more; Python would complain once again when it flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

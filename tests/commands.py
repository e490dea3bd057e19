"""Run a command: in this process, at a pretended terminal, or as a process of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from django.core.management import call_command
from django.core.management.base import BaseCommand

from tests.servers import ROOT, environment


class Terminal(io.StringIO):
    """What is written here is written to a person."""

    def isatty(self) -> bool:
        return True


def run(command: str | BaseCommand, *arguments: str, terminal: bool = False, **options: Any) -> str:
    """What a command prints."""
    out = Terminal() if terminal else io.StringIO()
    call_command(command, *arguments, stdout=out, **options)
    return out.getvalue()


@contextmanager
def running(command: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """A command as a process of its own, on the database of the running test, and its two streams."""
    with subprocess.Popen(
        [sys.executable, "-m", "django", command, *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, cast("IO[str]", process.stdout), cast("IO[str]", process.stderr)
        finally:
            process.kill()

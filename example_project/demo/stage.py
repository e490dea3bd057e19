"""A stage: a folder of its own, and processes that all end when the play does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, Final, Self

#: Where manage.py is.
ROOT: Final = Path(__file__).resolve().parent.parent.parent

#: What ends a play: Ctrl-C, whoever runs us, and a terminal that is closed.
INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Seconds that a process has to come up, to carry out a command, and to end when it is asked to.
COMES_UP_WITHIN: Final = 30.0
COMMAND_WITHIN: Final = 60.0
ENDS_WITHIN: Final = 5.0


class StageFailed(Exception):
    """The play cannot go on; the message is for whoever started it."""


@dataclass(kw_only=True)
class Process:
    """A process that plays a part, and what it has written so far."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    @property
    def written(self) -> str:
        """All that it has written."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def tail(self, lines: int = 15) -> str:
        """The last lines that it wrote."""
        return "\n".join(self.written.rstrip().splitlines()[-lines:]) or "(it wrote nothing)"

    def require_running(self) -> None:
        """Raises StageFailed, with its last words, where it has ended."""
        if self.has_ended:
            status = self.popen.returncode
            raise StageFailed(f"{self.name} ended with status {status}. Its last words:\n\n{self.tail()}")

    def ask_to_end(self) -> None:
        """Ask it to end, and wait for nothing."""
        self.popen.terminate()

    def end(self) -> None:
        """Wait until it has ended, as it was asked to; end it where it does not, and what it leaves of its children."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(ENDS_WITHIN)
        with suppress(OSError):
            # Until there is nobody left to kill; a second at most, since not every container buries its dead.
            for _ in range(100):
                os.killpg(self.popen.pid, signal.SIGKILL)
                self.popen.poll()
                time.sleep(0.01)
        self.popen.wait()


@dataclass(kw_only=True)
class Stage:
    """What the processes share: a folder, which is gone afterwards, and an environment."""

    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="qerko-demo-")))
    processes: list[Process] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with undisturbed():
            for process in reversed(self.processes):
                process.ask_to_end()
            for process in reversed(self.processes):
                process.end()
            shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *arguments: str) -> str:
        """Carry out a command of manage.py, and give what it printed. Raises StageFailed where it failed."""
        name = f"`manage.py {arguments[0]}`"
        printed = self.folder / "printed"
        with printed.open("wb") as out:
            process = self.start(name, ["manage.py", *arguments], out=out)
        try:
            status = process.popen.wait(COMMAND_WITHIN)
        except subprocess.TimeoutExpired:
            raise StageFailed(f"{name} did not end within {COMMAND_WITHIN:g} s.") from None
        if status != 0:
            raise StageFailed(f"{name} failed. Its last words:\n\n{process.tail()}")
        self.processes.remove(process)
        return printed.read_text(encoding="utf-8", errors="replace")

    def start(
        self, name: str, arguments: Sequence[str], *, handing_over: Sequence[int] = (), out: IO[bytes] | None = None
    ) -> Process:
        """Start Python in the background. It may get open sockets handed over, and print elsewhere than in its log."""
        descriptor, log = tempfile.mkstemp(suffix=".log", dir=self.folder)
        with os.fdopen(descriptor, "wb") as written, undisturbed():
            popen = self._popen(arguments, out or written, written, handing_over)
            process = Process(name=name, popen=popen, log=Path(log))
            self.processes.append(process)
        return process

    def _popen(
        self, arguments: Sequence[str], out: IO[bytes], err: IO[bytes], handing_over: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self._whole_environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=handing_over,
            # A Ctrl-C in the terminal is ours alone: we end the others, in order.
            start_new_session=True,
        )

    @property
    def _whole_environment(self) -> dict[str, str]:
        # What is killed takes nothing away, so whatever it put aside is in our folder.
        return self.environment | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "TMPDIR": str(self.folder)}


def heed_interrupts() -> None:
    """Have every interrupt end a play in order; only `nohup` is taken at its word."""
    for number in INTERRUPTS:
        # A shell without job control has what it puts into the background ignore Ctrl-C, and we would not end.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have a Ctrl-C wait until this is over, so that no process is started and then forgotten."""
    came: list[int] = []
    heeded = [number for number in INTERRUPTS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def wait_for_page(process: Process, port: int, path: str = "/") -> None:
    """Wait until a page on this machine is there. Raises StageFailed where it is not, or its process has ended."""

    def what_is_missing() -> str | None:
        status = _status(port, path)
        if status is not None and status < 400:
            return None
        return f"{path} gave {'no answer' if status is None else f'status {status}'}"

    _wait(process, what_is_missing)


def wait_for_words(process: Process, words: str) -> None:
    """Wait until a process has written these words. Raises StageFailed where it does not, or has ended."""
    _wait(process, lambda: None if words in process.written else f"has not said {words!r}")


def _wait(process: Process, what_is_missing: Callable[[], str | None]) -> None:
    give_up = time.monotonic() + COMES_UP_WITHIN
    while missing := what_is_missing():
        process.require_running()
        if time.monotonic() > give_up:
            raise StageFailed(f"{process.name} runs, but {missing}. Its last words:\n\n{process.tail()}")
        time.sleep(0.1)


def _status(port: int, path: str) -> int | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()

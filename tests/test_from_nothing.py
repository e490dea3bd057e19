"""The page "From nothing to certified", gone step by step: its files are written, its commands say what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from django_qerko.keys import ApiKey
from django_qerko.sandbox.qerko import PaymentStory, PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from tests.servers import free_port

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "from-nothing-to-certified.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

REDIS = 'CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"'

pytestmark = [pytest.mark.process, pytest.mark.once, pytest.mark.xdist_group("docs")]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A section of the page: the files that it has one write, and the commands with what they say."""

    files: list[tuple[str, str]]
    commands: list[tuple[str, str]]


def read_steps() -> dict[int, Step]:
    """The numbered sections, by their numbers."""
    steps = {}
    for number, text in re.findall(r"^## (\d+)\. .*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        blocks = BLOCK.findall(text)
        files = [re.fullmatch(r"# (\S+)\n(.*)", code, re.DOTALL) for kind, code in blocks if kind in {"python", "ini"}]
        assert all(files), text
        steps[int(number)] = Step(
            files=[(found[1], found[2]) for found in files if found],
            commands=[
                (command, said)
                for kind, code in blocks
                if kind == "console"
                for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", code, re.MULTILINE)
            ],
        )
    return steps


STEPS = read_steps()


def says(shown: str) -> re.Pattern[str]:
    """What a command says, where `…` alone is any lines, and `…` in a line is any text."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else r"[^\n]*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in plain(shown).splitlines()
    ]
    return re.compile("".join(lines))


def plain(text: str) -> str:
    """However wide the columns are."""
    lines = (re.sub(r"[ \t]+", " ", line).rstrip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, kw_only=True)
class Walker:
    """Somebody who types what the page says, in a folder of their own, at ports that are free."""

    folder: Path
    port: int = field(default_factory=free_port)
    qerko_port: int = field(default_factory=free_port)

    def write(self, number: int) -> None:
        for name, code in STEPS[number].files:
            path = self.folder / name
            path.write_text(f"{path.read_text() if path.exists() else ''}\n{self._here(code)}")

    def take_out(self, name: str, line: str) -> None:
        """What the page has one take out of a file."""
        text = (self.folder / name).read_text()
        assert text.count(line) == 1
        (self.folder / name).write_text(text.replace(line, ""))

    def run(self, number: int, *wanted: str) -> None:
        """The commands of a step, or those that begin with one of these words; each says what the page shows."""
        chosen = [known for known in STEPS[number].commands if not wanted or known[0].startswith(wanted)]
        assert chosen
        for command, shown in chosen:
            done = subprocess.run(
                self._words(command),
                cwd=self.folder,
                env=self._env,
                text=True,
                # In one stream, as a terminal has it.
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            said = plain(self._there(done.stdout))
            assert done.returncode == 0, f"$ {command}\n{said}"
            assert says(shown).fullmatch(said), f"$ {command}\n{said}\nshould be\n{shown}"

    @contextmanager
    def running(self, number: int, word: str) -> Iterator[Path]:
        """A command that stays, and its log."""
        (command,) = (command for command, _ in STEPS[number].commands if word in command)
        log = self.folder / f"{word}-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._words(command), cwd=self.folder, env=self._env, stdout=output, stderr=output
            )
        try:
            yield log
        finally:
            process.terminate()
            process.wait(timeout=30)

    def until(self, log: Path, pattern: re.Pattern[str]) -> None:
        """Wait until a log says something."""
        end = time.monotonic() + 60
        while not pattern.search(plain(self._there(log.read_text()))):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)

    def pay(self, api_key: str = "eeeu-g786-zp54-3v1c-db02-e4e1", **how: str) -> PaymentStory:
        """What the guest does on the phone, with the sandbox's own hands."""
        url = f"http://127.0.0.1:{self.port}/qerko/webhook/"
        pos = PointOfSale(url=url, api_key=ApiKey(api_key), name="The Pub")
        with Qerko() as qerko, SandboxServer(qerko, [pos], port=self.qerko_port):
            bill = qerko.ask_and_wait(pos, "getBill", {"billId": "1"}).answer
            return qerko.pay(pos, bill, items=how, tip="10.00")

    @property
    def _env(self) -> dict[str, str]:
        strangers = ("DJANGO", "PYTEST", "COV")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(strangers)}
        return inherited | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def _words(self, command: str) -> list[str]:
        """As typed, but for where things are here."""
        words = shlex.split(command)
        words = [*([] if words[0] == "python" else ["-m"]), *words[words[0] == "python" :]]
        words = ["django" if word == "django-admin" else word for word in words]
        match words[1]:
            case "runserver":
                words += ["--noreload", str(self.port)]
            case "qerko_sandbox":
                words += ["--port", str(self.qerko_port), "--pos", f"http://127.0.0.1:{self.port}"]
            case "qerko_send":
                words += ["--pos", f"http://127.0.0.1:{self.port}"]
            case "qerko_certify" if "--url" in words:
                words = [word.replace("8000", str(self.port)) for word in words] + ["--port", str(self.qerko_port)]
        return [sys.executable, *words]

    def _here(self, code: str) -> str:
        """At our ports, and with a broker that needs no server."""
        broker = (
            f'CELERY_BROKER_URL = "sqlite:///{self.folder / "broker.sqlite3"}"\n'
            'CELERY_BROKER_TRANSPORT = "example_project.broker:Transport"\n'
            'CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.02}'
        )
        return code.replace("8765", str(self.qerko_port)).replace(REDIS, broker)

    def _there(self, said: str) -> str:
        return said.replace(str(self.qerko_port), "8765").replace(str(self.port), "8000")


def test_the_way_is_as_it_is_told(tmp_path: Path) -> None:
    walker = Walker(folder=tmp_path)
    walker.run(1, "django-admin", "python manage.py")
    for number in (1, 2):
        walker.write(number)
    walker.run(2)
    walker.write(3)
    walker.run(3)
    walker.run(4)
    with walker.running(5, "runserver") as web:
        walker.until(web, re.compile("Starting development server"))
        with walker.running(5, "qerko_sandbox") as sandbox:
            walker.until(sandbox, says(dict(STEPS[5].commands)["python manage.py qerko_sandbox"]))
        walker.run(5, "python manage.py qerko_send")
    walker.write(6)
    with walker.running(5, "runserver") as web:
        walker.until(web, re.compile("Starting development server"))
        assert walker.pay(**{"1": "1"}).is_paid
    walker.run(6)
    walker.take_out("mysite/settings.py", '    "ANSWER_LATER": [],\n')
    walker.write(7)
    with walker.running(5, "runserver") as web, walker.running(7, "celery") as worker:
        walker.until(web, re.compile("Starting development server"))
        walker.until(worker, re.compile(r" ready\."))
        story = walker.pay(**{"1": "1"})
        assert story.is_paid
        assert [exchange.status for exchange in story.exchanges] == [202, 202, 202]
        walker.run(7, "python")
        walker.run(9, "python manage.py qerko_certify --url")
    walker.write(8)
    walker.run(8)
    walker.run(9, "python manage.py qerko_certify --fixture")
    walker.run(10)

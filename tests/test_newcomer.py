"""What a newcomer meets: an empty project, the app installed from the wheel or the sdist, and the README."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import free_port

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.process, pytest.mark.once]


@dataclass(frozen=True)
class Newcomer:
    """An empty folder and a Python of its own, in which only the app is installed; the libraries are borrowed."""

    folder: Path
    python: Path

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "COV"))}
        return inherited | {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": sysconfig.get_paths()["purelib"],
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *command: str, check: bool = True) -> str:
        """The output of a command, both streams."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def manage(self, *command: str, check: bool = True) -> str:
        return self.run(str(self.python), "manage.py", *command, check=check)

    @contextmanager
    def running(self, *command: str) -> Iterator[None]:
        process = subprocess.Popen(
            [str(self.python), "manage.py", *command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(params=["*.whl", "*.tar.gz"], ids=["wheel", "sdist"])
def newcomer(request: pytest.FixtureRequest, packages: Path, tmp_path: Path) -> Newcomer:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (package,) = packages.glob(request.param)
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", str(package)]
    site = Newcomer(folder=tmp_path, python=python)
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], env=site.environment, check=True)
    assert str(tmp_path) in site.run(str(python), "-c", "import django_qerko; print(django_qerko.__file__)")
    site.run(str(python), "-m", "django", "startproject", "mysite", ".")
    return site


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language, in their order."""
    return [code for found, code in BLOCK.findall((ROOT / "README.md").read_text()) if found == language]


def append(path: Path, code: str) -> None:
    path.write_text((path.read_text() if path.exists() else "") + "\n" + code)


def schema(database: Path) -> set[str]:
    with sqlite3.connect(database) as connection:
        return {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}


def test_an_empty_project_is_told_all_that_is_missing_and_how_to_mend_it(newcomer: Newcomer) -> None:
    settings = newcomer.folder / "mysite" / "settings.py"
    newcomer.manage("migrate")
    empty = schema(newcomer.folder / "db.sqlite3")
    append(settings, 'INSTALLED_APPS += ["django_qerko"]\n')

    said = newcomer.manage("check")

    for missing in (
        "POS_ID",
        "rest_framework",
        "urls",
        "getTableContents",
        "getBill",
        "paymentProcessed",
        "WAL",
        "IMMEDIATE",
    ):
        assert missing in said
    assert said.count("HINT:") == len(re.findall(r"\(qerko\.\w\d+\)", said)) >= 7
    assert "Traceback" not in said

    append(settings, 'INSTALLED_APPS += ["rest_framework"]\n')
    newcomer.manage("migrate")
    assert "django_qerko_webhookevent" in " ".join(schema(newcomer.folder / "db.sqlite3"))
    assert "No changes detected" in newcomer.manage("makemigrations", "--check", "--dry-run")
    newcomer.manage("migrate", "django_qerko", "zero")
    assert schema(newcomer.folder / "db.sqlite3") == empty


def test_the_readme_answers_its_first_question(newcomer: Newcomer) -> None:
    pos, mysite = newcomer.folder / "pos", newcomer.folder / "mysite"
    in_settings, in_urls, in_handlers, in_apps = blocks("python")
    _, starting, making, serving = blocks("console")
    assert "startapp pos" in starting
    newcomer.manage("startapp", "pos")
    append(mysite / "settings.py", in_settings)
    append(mysite / "urls.py", in_urls)
    append(pos / "handlers.py", in_handlers)
    append(pos / "apps.py", in_apps)

    said = [newcomer.run("sh", "-c", line.removeprefix("$ ")) for line in making.splitlines()]
    assert "getTableContents" in said[-1]
    assert "getBill" not in said[-1]
    assert "SQLite" not in said[-1]

    till, qerko = free_port(), free_port()
    commands = [line.split("manage.py ")[1].split("#")[0].split() for line in serving.splitlines()]
    assert commands == [["runserver"], ["qerko_sandbox"]]
    with (
        newcomer.running("runserver", "--noreload", str(till)),
        newcomer.running("qerko_sandbox", "--pos", f"http://127.0.0.1:{till}", "--port", str(qerko)),
    ):
        page = fetched(f"http://127.0.0.1:{qerko}/1/bills/1/", "Pilsner Urquell 0,5 l")
        assert "130" in page
        fetched(f"http://127.0.0.1:{qerko}/1/bills/2/", "BILL_NOT_FOUND")


def fetched(url: str, wanted: str) -> str:
    """The page, once it shows what it should; while servers start there is none, or one that says so."""
    until = time.monotonic() + 60
    page, address = "", urlsplit(url)
    while wanted not in page:
        assert time.monotonic() < until, page
        time.sleep(0.1)
        with suppress(OSError), closing(HTTPConnection(address.netloc, timeout=10)) as wire:
            wire.request("GET", address.path)
            page = wire.getresponse().read().decode()
    return page

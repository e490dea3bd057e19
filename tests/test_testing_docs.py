"""The test kit's own documentation, run in a small project that is not the pub: with pytest, and with unittest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "tests" / "kit_project"
PAGE = (ROOT / "docs" / "testing.md").read_text()
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
FIXTURES = re.findall(r"^\| `(qerko\w*)` \|", PAGE, re.MULTILINE)

pytestmark = [pytest.mark.process, pytest.mark.once, pytest.mark.xdist_group("docs")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the page shows, under their names."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    """What a command says about the kiosk; from our own folder, so that what it runs of ours is counted."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    paths = os.pathsep.join(map(str, (folder, PROJECT, ROOT)))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *command],
        cwd=ROOT,
        env=inherited | {"PYTHONPATH": paths, "DJANGO_SETTINGS_MODULE": "kiosk_site.settings"},
        text=True,
        capture_output=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def written(*names: str) -> int:
    """How many tests stand in these files."""
    return sum(len(re.findall(r"^ *def test_", FILES[name], re.MULTILINE)) for name in names)


def run_pytest(folder: Path, *options: str) -> str:
    """Without the settings of our own pytest."""
    return run(
        folder, "pytest", *options, "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", os.devnull, str(folder)
    )


def test_the_page_is_true_with_pytest(folder: Path) -> None:
    said = run_pytest(folder, "-q")

    passed = re.search(r"(\d+) passed", said)
    assert passed, said
    assert int(passed[1]) >= written(*FILES) >= 20
    assert "skipped" not in said


def test_the_page_is_true_with_unittest(folder: Path) -> None:
    said = run(folder, "django", "test", "--pattern", "test_unittest*.py", str(folder))

    assert f"Ran {written(*(name for name in FILES if 'unittest' in name))} tests" in said


def test_every_fixture_is_described(folder: Path) -> None:
    said = run_pytest(folder, "--fixtures")

    assert re.findall(r"^(qerko\w*) -- ", said, re.MULTILINE) == FIXTURES

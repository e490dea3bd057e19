"""What is in the wheel and in the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_qerko"

pytestmark = [pytest.mark.process, pytest.mark.once]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_the_wheel_brings_all_of_the_package_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}

    assert names == ours
    assert {"django_qerko/py.typed", "django_qerko/migrations/__init__.py"} <= names


def test_the_sdist_brings_tests_docs_and_the_example_too(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {Path(name).parts[1] for name in archive.getnames()}

    assert {
        "django_qerko",
        "docs",
        "example_project",
        "tests",
        "LICENSE",
        "Makefile",
        "README.md",
        "manage.py",
    } <= inside
    assert not {".git", ".venv", "var", "dist"} & inside


def test_the_version_is_written_once(dist: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert {file.name for file in dist.iterdir()} == {
        f"django_qerko-{version}-py3-none-any.whl",
        f"django_qerko-{version}.tar.gz",
    }

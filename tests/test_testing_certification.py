"""The rules of certification as tests: what is broken fails, and what that keeps from being tried does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from django_qerko.certifying import RULES, Outcome, Verdict
from django_qerko.certifying.junit import write
from django_qerko.testing.certification import RULE_NAMES, Certification, _read
from tests.test_testing_docs import PROJECT

#: Fixtures of the kiosk's: one leaves nothing to pay, one a handler that breaks, and one breaks itself.
BROKEN = """
from kiosk.evening import fill
from kiosk import handlers


def nothing():
    pass


def an_unreadable_hand():
    fill()
    handlers.bill_of = None


def nobody_is_home():
    raise RuntimeError("The kiosk is closed.")
"""
TEST = """
from django_qerko.testing.plugin import certification

test_certified = certification("kiosk_broken.{fixture}")
"""


def nested() -> Certification:
    return Certification(lambda: None)


def test_a_fixture_is_named_by_its_path() -> None:
    assert Certification(nested)._fixture == f"{__name__}.nested"
    assert Certification("kiosk.evening.fill")._fixture == "kiosk.evening.fill"
    assert Certification()._fixture is None


def test_a_fixture_that_nobody_can_import_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="cannot be imported"):
        nested()


@pytest.mark.parametrize("outcome", Outcome)
def test_a_verdict_comes_through_whole(tmp_path: Path, outcome: Outcome) -> None:
    cure = "" if outcome is Outcome.HOLDS else "Mend it: now"
    write(tmp_path / "v.xml", [(RULES[0], Verdict(outcome=outcome, seen="seen: <it> & that", cure=cure))])

    verdict = _read(tmp_path / "v.xml")[RULES[0].name]

    assert verdict.outcome is outcome
    assert "seen: <it> & that" in verdict.text
    assert verdict.text.endswith(cure)


@pytest.mark.parametrize(
    ("outcomes", "complains"),
    [
        ([Outcome.HOLDS, Outcome.BROKEN], ""),
        ([Outcome.NOT_NEEDED], ""),
        ([Outcome.BROKEN, Outcome.HOLDS], "answers is broken: seen"),
        ([Outcome.NOT_TRIED, Outcome.HOLDS], "answers is not tried: seen"),
        ([Outcome.NOT_TRIED, Outcome.BROKEN], ""),
    ],
)
def test_the_rule_to_mend_is_the_one_that_fails(tmp_path: Path, outcomes: list[Outcome], complains: str) -> None:
    tried = [(rule, Verdict(outcome=one, seen="seen")) for rule, one in zip(RULES, outcomes, strict=False)]
    write(tmp_path / "v.xml", tried)
    certification = Certification()
    certification._tried = (_read(tmp_path / "v.xml"), "")

    assert certification.complaint("answers").replace(f"{RULES[0].sentence}. ", "") == complains
    assert bool(certification.excuse("answers")) is (outcomes == [Outcome.NOT_TRIED, Outcome.BROKEN])
    with pytest.raises(AssertionError) if complains else nullcontext():
        certification.require("answers")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kiosk_broken.py").write_text(BROKEN)
    return tmp_path


def tried(folder: Path, fixture: str, *, settings: str = "kiosk_site.settings") -> str:
    """What pytest says in the kiosk."""
    (folder / "test_it.py").write_text(TEST.format(fixture=fixture))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-rfs", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(folder), str(folder)],
        cwd=PROJECT.parent.parent,
        env=inherited
        | {
            "PYTHONPATH": os.pathsep.join(map(str, (folder, PROJECT, PROJECT.parent.parent))),
            "DJANGO_SETTINGS_MODULE": settings,
            # So that no line is shortened.
            "COLUMNS": "1000",
        },
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.process
@pytest.mark.once
def test_nothing_to_pay_is_no_certificate(folder: Path) -> None:
    said = tried(folder, "nothing")

    assert "test_certified[payment]" in said
    assert "not tried: " in said
    assert "In process, name a --fixture" in said
    assert "Traceback" not in said


@pytest.mark.process
@pytest.mark.once
def test_the_broken_rule_fails_and_what_needs_it_is_skipped(folder: Path) -> None:
    said = tried(folder, "an_unreadable_hand")

    failed = re.findall(r"^FAILED .*\[([\w-]+)\] - (.*)", said, re.MULTILINE)
    assert "bills" in dict(failed)
    assert "bills is broken: " in said
    assert "payment" not in dict(failed)
    assert re.search(r"SKIPPED .* not tried: ", said)


@pytest.mark.process
@pytest.mark.once
def test_a_fixture_that_breaks_is_told(folder: Path) -> None:
    said = tried(folder, "nobody_is_home")

    assert "qerko_certify could not judge" in said
    assert "The kiosk is closed." in said
    assert f"{len(RULE_NAMES)} failed" in said


@pytest.mark.process
@pytest.mark.once
def test_a_project_without_the_webhook_is_told_so(folder: Path) -> None:
    (folder / "kiosk_closed.py").write_text(
        "from kiosk_site.settings import *\nROOT_URLCONF = __name__\nurlpatterns = []\n"
    )

    said = tried(folder, "nothing", settings="kiosk_closed")

    assert "The webhook has no address: include django_qerko.urls in your URLconf." in said
    assert "Traceback" not in said

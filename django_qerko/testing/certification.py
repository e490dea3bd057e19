"""Have a project's handlers certified by `qerko_certify`, and give the verdict on each rule to a test of its own.

The command runs in a process of its own: it needs a database that several threads may use at once, and tests often have
none, or keep theirs in one transaction.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from django.conf import settings

from django_qerko.certifying import RULES, Outcome

#: The names of all rules, in the order in which they are tried.
RULE_NAMES: Final = tuple(rule.name for rule in RULES)
#: A certification takes seconds; in so many something hangs.
_PATIENCE: Final = 600.0
#: Exit statuses of the command with which there is a verdict on every rule.
_JUDGED: Final = {0, 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """What became of a rule: its outcome, and what was seen, with what to do where it does not hold."""

    outcome: Outcome
    text: str = ""


class Certification:
    """The verdicts on this project's handlers, which are tried when the first is asked for.

    ``fixture`` fills the empty test database with tables and bills: a function, or its dotted path. Raises ValueError
    for a function that another process could not import.
    """

    def __init__(self, fixture: str | Callable[[], object] | None = None) -> None:
        self._fixture = _path_of(fixture) if callable(fixture) else fixture

    @property
    def verdicts(self) -> Mapping[str, RuleVerdict]:
        """By the names of the rules; empty where the command could not judge."""
        return self._tried[0]

    @property
    def trouble(self) -> str:
        """What the command said where it could not judge."""
        return self._tried[1]

    def require(self, rule: str) -> None:
        """Raises AssertionError where ``complaint`` has something to say."""
        if complaint := self.complaint(rule):
            raise AssertionError(complaint)

    def complaint(self, rule: str) -> str:
        """Why a rule is not kept, as far as anybody knows; empty where it is, and where another one is to blame."""
        if self.trouble:
            return f"qerko_certify could not judge:\n{self.trouble}"
        verdict = self.verdicts[rule]
        if verdict.outcome in {Outcome.HOLDS, Outcome.NOT_NEEDED} or self.excuse(rule):
            return ""
        return f"{rule} is {verdict.outcome}: {verdict.text}"

    def excuse(self, rule: str) -> str:
        """Why a rule was not tried, where another one is broken, which is the one to mend."""
        verdict = self.verdicts.get(rule)
        if verdict is None or verdict.outcome is not Outcome.NOT_TRIED:
            return ""
        is_another_broken = any(other.outcome is Outcome.BROKEN for other in self.verdicts.values())
        return f"not tried: {verdict.text}" if is_another_broken else ""

    @cached_property
    def _tried(self) -> tuple[Mapping[str, RuleVerdict], str]:
        with tempfile.TemporaryDirectory(prefix="qerko-certification-") as folder:
            report = Path(folder, "verdicts.xml")
            done = self._run(report)
            if done.returncode in _JUDGED and report.exists():
                return _read(report), ""
        return {}, done.stdout + done.stderr

    def _run(self, report: Path) -> subprocess.CompletedProcess[str]:
        chosen = ["--fixture", self._fixture] if self._fixture else []
        return subprocess.run(
            [sys.executable, "-m", "django", "qerko_certify", "--junit", str(report), *chosen],
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
                # What this process can import, that one can, too.
                "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            },
            text=True,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )


def _path_of(fixture: Callable[[], object]) -> str:
    path = f"{fixture.__module__}.{fixture.__qualname__}"
    if not all(part.isidentifier() for part in path.split(".")) or fixture.__module__ == "__main__":
        raise ValueError(f"{path} cannot be imported by another process: the fixture is a function of a module.")
    return path


def _read(report: Path) -> dict[str, RuleVerdict]:
    cases = ET.parse(report).iter("testcase")  # noqa: S314  # we have just written it
    return {str(case.get("name")): _verdict(case) for case in cases}


def _with_cure(seen: str, element: ET.Element) -> str:
    return f"{seen}\n{element.text or ''}".strip()


def _verdict(case: ET.Element) -> RuleVerdict:
    if (failure := case.find("failure")) is not None:
        return RuleVerdict(outcome=Outcome.BROKEN, text=_with_cure(str(failure.get("message")), failure))
    for untried in (*case.iter("error"), *case.iter("skipped")):
        outcome, _, seen = str(untried.get("message")).partition(": ")
        return RuleVerdict(outcome=Outcome(outcome), text=_with_cure(seen, untried))
    return RuleVerdict(outcome=Outcome.HOLDS, text=case.findtext("system-out") or "")

"""Write the verdicts as JUnit XML, one test case for each rule, for whatever reads that in CI."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from django_qerko.certifying.ruling import Rule
from django_qerko.certifying.verdicts import Outcome, Verdict

SUITE: Final = "qerko_certify"
#: What no XML 1.0 may hold, however it is escaped.
_UNSAYABLE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, verdicts: Iterable[tuple[Rule, Verdict]]) -> None:
    """Write them all. What could not be tried is an error, unless a rule is broken, which is then the one to mend.

    Raises OSError where the file cannot be written.
    """
    tried = list(verdicts)
    is_any_broken = any(verdict.outcome is Outcome.BROKEN for _, verdict in tried)
    suite = ET.Element("testsuite", name=SUITE, tests=str(len(tried)))
    for rule, verdict in tried:
        _add_case(suite, rule, verdict, is_excused=is_any_broken)
    for count, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len([*suite.iter(element)])))
    suite.set("time", f"{sum(verdict.seconds for _, verdict in tried):.3f}")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add_case(suite: ET.Element, rule: Rule, verdict: Verdict, *, is_excused: bool) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=f"{SUITE}.section{rule.section}", name=rule.name, time=f"{verdict.seconds:.3f}"
    )
    seen = _UNSAYABLE.sub("\N{REPLACEMENT CHARACTER}", verdict.seen)
    if verdict.outcome is Outcome.BROKEN:
        ET.SubElement(case, "failure", message=f"{rule.sentence}. {seen}").text = verdict.cure
    elif verdict.outcome is Outcome.HOLDS:
        ET.SubElement(case, "system-out").text = f"{rule.sentence}. {seen}"
    else:
        element = "skipped" if verdict.is_good or is_excused else "error"
        ET.SubElement(case, element, message=f"{verdict.outcome}: {seen}").text = verdict.cure

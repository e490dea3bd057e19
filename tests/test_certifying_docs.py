"""The docs have the rules as they are tried, and the rule that they show can be tried."""

from __future__ import annotations

import re
from typing import Any

import pytest

from django_qerko.certifying import RULES, Outcome, try_rule
from django_qerko.certifying.playing import Play
from django_qerko.certifying.rules.asking import answers
from django_qerko.certifying.ruling import Rule, rule
from django_qerko.certifying.verdicts import Verdict
from django_qerko.certifying.wording import told
from tests.broken_pubs.certifying import playing
from tests.broken_pubs.pub import Pub, Refused
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "certifying.md").read_text()


def test_the_rules_stand_in_the_docs_as_they_are_tried() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\d) \| (.+) \|$", PAGE, re.MULTILINE)

    assert rows == [(rule.name, str(rule.section), rule.sentence) for rule in RULES]


def test_a_section_of_a_rule_can_be_read() -> None:
    sections = re.findall(r"^## (\d)\.", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE)

    assert {str(rule.section) for rule in RULES} <= {*sections}


def test_the_verdicts_stand_in_the_docs() -> None:
    verdicts = re.findall(r"^\| (\w+(?: \w+)?) \|", PAGE.split("\n## What a verdict means\n")[1], re.MULTILINE)

    assert verdicts[1 : 1 + len(Outcome)] == [outcome.value for outcome in Outcome]


class HasNoSuchTable(Pub):
    def on_getTableContents(self, data: Any) -> Any:  # noqa: N802
        raise Refused("NOT_FOUND")


@pytest.mark.parametrize(
    ("pub", "outcome"), [(Pub, Outcome.BROKEN), (HasNoSuchTable, Outcome.HOLDS)], ids=["another code", "right"]
)
def test_the_rule_in_the_docs_can_be_tried(pub: type[Pub], outcome: Outcome) -> None:
    (code,) = re.findall(r"```python\n(@rule\(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "docs", "rule": rule, "answers": answers, "told": told, "Play": Play}
    exec(code, names)
    made: Rule = names["unknown_table"]

    with playing(pub()) as play:
        verdict: Verdict = try_rule(made, play)

    assert (made.name, verdict.outcome) == ("unknown-table", outcome)

"""Certification names what is broken, and nothing that is not: pubs with one defect each, and pubs with none."""

from __future__ import annotations

from typing import Any

import pytest

from django_qerko.certifying import RULES, Outcome
from tests.broken_pubs.certifying import certified, of
from tests.broken_pubs.defects import DEFECTS, NOW, Defect
from tests.broken_pubs.pub import KEY, Pub

pytestmark = [pytest.mark.process, pytest.mark.once, pytest.mark.xdist_group("defects")]

LATER_ONLY = {"reply-headers", "reply-envelope", "reply-in-time"}


@pytest.mark.parametrize(
    ("how", "not_needed"),
    [
        ({}, {"postponed-receipts"}),
        ({"later": NOW}, {"postponed-receipts", *LATER_ONLY}),
        ({"postpones": True}, set[str]()),
    ],
    ids=["later", "now", "postponed"],
)
def test_a_pub_without_a_defect_keeps_every_rule(how: dict[str, Any], not_needed: set[str]) -> None:
    verdicts = certified(Pub(**how))

    assert [*verdicts] == [rule.name for rule in RULES]
    assert {name: verdict.seen for name, verdict in verdicts.items() if not verdict.is_good} == {}
    assert {*of(verdicts, Outcome.NOT_NEEDED)} == not_needed


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_a_defect_is_named_and_one_neighbour_at_most(defect: Defect) -> None:
    verdicts = certified(defect.open())

    broken = of(verdicts, Outcome.BROKEN)
    seen = {name: verdict.seen for name, verdict in verdicts.items()}
    assert defect.rule in broken, seen
    assert len(broken) <= 2, {name: seen[name] for name in broken}
    assert verdicts[defect.rule].cure
    assert KEY not in str(seen)


def test_every_rule_is_broken_by_somebody() -> None:
    assert {defect.rule for defect in DEFECTS} == {rule.name for rule in RULES}

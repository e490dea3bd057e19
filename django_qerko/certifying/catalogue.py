"""All rules, in the order in which they are tried: what changes nothing first, and what is paid last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from django_qerko.certifying.playing import Play
from django_qerko.certifying.rules import asking, knocking, paying, repeating, replying, tolerating
from django_qerko.certifying.ruling import Rule, rules_of, try_rule
from django_qerko.certifying.verdicts import Verdict

#: These judge all that was said before.
_LAST: Final = (paying.postponed_receipts, paying.refusals, asking.amounts, replying.one_answer, tolerating.in_time)

RULES: Final[tuple[Rule, ...]] = (
    *(rule for rule in rules_of(asking, knocking, tolerating, paying, replying, repeating) if rule not in _LAST),
    *_LAST,
)


def try_all(
    rules: Sequence[Rule], play: Play, *, before: Callable[[Rule], object] = lambda _: None
) -> list[tuple[Rule, Verdict]]:
    """Try these rules, one after another; ``before`` is called with each as its turn comes.

    The verdicts on those that kept one of them from being tried are given as well, in the order of ``RULES``.
    """
    chosen = {rule.name for rule in rules}
    for rule in rules:
        before(rule)
        try_rule(rule, play)
    return [(rule, play.verdicts[rule.name]) for rule in RULES if rule.name in chosen | play.blamed]

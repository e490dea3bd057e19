"""What a rule is, and how one is tried."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TypeAlias

from django_qerko.certifying.playing import Play
from django_qerko.certifying.verdicts import Ended, NotTried, Outcome, Verdict

#: Tries a rule, and says what was seen where it holds. Raises Broken, NotTried or NotNeeded where it does not.
Trial: TypeAlias = Callable[[Play], str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """A rule of the protocol: its sentence, the section of ``docs/protocol``, and what to do where it is broken.

    Where a rule that it ``needs`` does not hold, it is not tried.
    """

    name: str
    sentence: str
    section: int
    cure: str
    needs: tuple[Rule, ...]
    trial: Trial = field(repr=False)

    def __str__(self) -> str:
        return self.name


def rule(sentence: str, *, section: int, cure: str, needs: tuple[Rule, ...] = ()) -> Callable[[Trial], Rule]:
    """Make a rule of a function, whose name it has, with dashes."""

    def made(trial: Trial) -> Rule:
        name = trial.__name__.replace("_", "-")
        return Rule(name=name, sentence=sentence, section=section, cure=cure, needs=needs, trial=trial)

    return made


def rules_of(*modules: ModuleType) -> tuple[Rule, ...]:
    """The rules that stand in these modules, in the order in which they stand there."""
    return tuple(
        member
        for module in modules
        for member in vars(module).values()
        if isinstance(member, Rule) and member.trial.__module__ == module.__name__
    )


def try_rule(rule: Rule, play: Play) -> Verdict:
    """Try a rule, and before it those that it needs; one that was tried in this play is not tried again."""
    if rule.name not in play.verdicts:
        play.verdicts[rule.name] = _tried(rule, play)
    return play.verdicts[rule.name]


def require(rule: Rule, play: Play) -> None:
    """Raises NotTried where a rule does not hold."""
    verdict = try_rule(rule, play)
    if not verdict.is_good:
        play.blamed.add(rule.name)
        raise NotTried(f"{rule} is {verdict.outcome}")


def _tried(rule: Rule, play: Play) -> Verdict:
    started = time.monotonic()
    outcome, cure = Outcome.HOLDS, ""
    try:
        for needed in rule.needs:
            require(needed, play)
        seen = rule.trial(play)
    except Ended as ended:
        outcome, seen = ended.outcome, str(ended)
        cure = ended.cure or (rule.cure if outcome is Outcome.BROKEN else "")
    return Verdict(outcome=outcome, seen=play.legible(seen), cure=cure, seconds=time.monotonic() - started)

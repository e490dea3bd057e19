"""What a rule is, and how one is tried."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final, TypeAlias

from django_qerko.certifying.playing import Play
from django_qerko.certifying.verdicts import Ended, NotTried, Outcome, Verdict

logger = logging.getLogger(__name__)

#: What to do where nothing is wrong with the point of sale, as far as is known.
_REPORT: Final = "Report it to django_qerko, with the traceback that -v 2 shows."

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


def _place(error: Exception) -> str:
    """What a trial broke with, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, line {last.lineno}: {error}"


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
    except Exception as error:
        # An answer of which nobody thought: the other rules are tried, and the report is written.
        logger.exception("The rule %s could not be tried", rule)
        outcome, seen, cure = Outcome.NOT_TRIED, f"the trial itself broke: {_place(error)}", _REPORT
    return Verdict(outcome=outcome, seen=play.legible(seen), cure=cure, seconds=time.monotonic() - started)

"""Judge a point of sale: one small rule after another, played through the sandbox."""

from django_qerko.certifying.catalogue import RULES
from django_qerko.certifying.ruling import Rule, try_rule
from django_qerko.certifying.stage import on_stage
from django_qerko.certifying.verdicts import Outcome, Verdict

__all__ = ["RULES", "Outcome", "Rule", "Verdict", "on_stage", "try_rule"]

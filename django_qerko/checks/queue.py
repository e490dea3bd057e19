"""Whether the project's Celery lets us keep what we promise with a 202."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.core import checks
from django.core.checks import CheckMessage

from django_qerko.checks.values import TAG
from django_qerko.queueing import RECONCILE, SWEEP, Trouble, troubles


class Finding(NamedTuple):
    """How a trouble is told. No message shows a value: a broker's address carries a password."""

    id: str
    message: str
    hint: str


FINDINGS: Final[Mapping[Trouble, Finding]] = {
    Trouble.NO_APP: Finding(
        "qerko.W010",
        "The project has no Celery app that every thread finds, so no worker is rung for: requests do it all.",
        "Make one in a celery.py, after DJANGO_SETTINGS_MODULE is set, and import it in the __init__.py beside it.",
    ),
    Trouble.ACKNOWLEDGED_EARLY: Finding(
        "qerko.W011",
        "A task of django_qerko is acknowledged before its work is done, so a worker that is killed loses it.",
        "Take acks_late out of CELERY_TASK_ANNOTATIONS; the tasks state it themselves.",
    ),
    Trouble.UNREADABLE: Finding(
        "qerko.W012",
        "Workers refuse the messages of django_qerko: their serializer is not among the accepted ones.",
        'Let CELERY_ACCEPT_CONTENT have "json", and leave the serializer out of CELERY_TASK_ANNOTATIONS.',
    ),
    Trouble.RATE_LIMITED: Finding(
        "qerko.W013",
        "The rate of django_qerko's tasks is limited, so replies wait in a worker until they are too late.",
        "Limit the rate of your own tasks only, by CELERY_TASK_ANNOTATIONS.",
    ),
    Trouble.NOT_SWEPT: Finding(
        "qerko.W014",
        f"Beat has no entry for {SWEEP}, so nobody finds what a killed worker or a lost queue left.",
        "Write CELERY_BEAT_SCHEDULE = django_qerko.queueing.BEAT_SCHEDULE, or run qerko_sweep --loop and silence this.",
    ),
    Trouble.NOT_RECONCILED: Finding(
        "qerko.W015",
        f"Beat has no entry for {RECONCILE}, so a payment whose end was missed locks its bill.",
        "Write CELERY_BEAT_SCHEDULE = django_qerko.queueing.BEAT_SCHEDULE, or run qerko_sweep --loop and silence this.",
    ),
}


@checks.register(TAG)
def check_queue(**_: Any) -> list[CheckMessage]:
    """What is promised later is done, and in time."""
    found = [FINDINGS[trouble] for trouble in troubles()]
    return [checks.Warning(finding.message, hint=finding.hint, id=finding.id) for finding in found]

"""What stands in the ``QERKO`` setting: every name is known, every value can be used, nothing is missing."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from django_qerko.checks import kinds
from django_qerko.conf import DEFAULTS, SANDBOX_URL, given
from django_qerko.events import CLASSES, meant
from django_qerko.signatures import SCHEMES

#: ``manage.py check --tag qerko`` runs these alone.
TAG: Final = "qerko"

#: Names that an empty string leaves unset, because that is what an empty environment variable gives.
_EMPTY_IS_UNSET: Final = ("POS_ID", "BASE_URL", "PUBLIC_URL")
#: What may not be plain http to another machine: the id of the finding, and what travels there.
_IN_THE_CLEAR: Final = {
    "BASE_URL": ("qerko.E003", "every request there carries an API key"),
    "PUBLIC_URL": ("qerko.E022", "every delivery there tells what a guest pays"),
}


class Rule(NamedTuple):
    """What the value of one name must be. No message shows the value: it may be a secret."""

    id: str
    holds: kinds.Judge
    wanted: str
    example: str


_SPAN: Final = "a timedelta above zero"

RULES: Final[Mapping[str, Rule]] = {
    "POS_ID": Rule("qerko.E004", kinds.is_uuid, "a UUID in a string", '"0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47"'),
    "BASE_URL": Rule(
        "qerko.E005",
        kinds.is_address,
        "an http or https address in ASCII, without user, query or fragment",
        f'"{SANDBOX_URL}"',
    ),
    "PUBLIC_URL": Rule(
        "qerko.E006", kinds.is_origin, "an http or https address of scheme and host alone", '"https://pos.example.com"'
    ),
    "ANSWER_LATER": Rule("qerko.E007", kinds.each(kinds.is_text), "a list of Qerko's event names", '["paymentStart"]'),
    "REPLY_DEADLINE": Rule("qerko.E008", kinds.is_span, _SPAN, "timedelta(seconds=15)"),
    "HTTP_TIMEOUT": Rule("qerko.E009", kinds.is_pair_of_numbers, "a pair of seconds, both above zero", "(1.0, 5.0)"),
    "SIGNATURE_SCHEMES": Rule(
        "qerko.E010",
        kinds.each(kinds.one_of(SCHEMES), at_least=1),
        f"a list of {' and '.join(SCHEMES)}, or of one of them",
        f'["{SCHEMES[0]}"]',
    ),
    "CLOCK_SKEW": Rule("qerko.E011", kinds.is_tolerance, "a timedelta of zero or more", "timedelta(seconds=5)"),
    "MAX_BODY_BYTES": Rule("qerko.E012", kinds.is_size, "a whole number above zero", "262_144"),
    "ENCRYPTION_KEYS": Rule(
        "qerko.E013",
        kinds.are_encryption_keys,
        "a list of Fernet keys, newest first",
        "[what Fernet.generate_key() gave]",
    ),
    "BOOKKEEPING": Rule(
        "qerko.E014",
        kinds.each(kinds.one_of(CLASSES)),
        f"a list of events that this app knows ({', '.join(CLASSES)})",
        '["getBill"]',
    ),
    "BILL_ITEMS": Rule("qerko.E015", kinds.one_of(("unpaid", "ordered")), '"unpaid" or "ordered"', '"unpaid"'),
    "CONTRADICTIONS": Rule("qerko.E016", kinds.one_of(("accept", "refuse")), '"accept" or "refuse"', '"accept"'),
    "RECONCILE_AFTER": Rule("qerko.E017", kinds.is_span, _SPAN, "timedelta(minutes=2)"),
    "RETRY_TELLS": Rule("qerko.E018", kinds.is_span, _SPAN, "timedelta(hours=24)"),
    "RETAIN_EVENTS": Rule("qerko.E019", kinds.is_span, _SPAN, "timedelta(days=90)"),
    "RETAIN_PAYMENTS": Rule("qerko.E020", kinds.is_span, _SPAN, "timedelta(days=3652)"),
    "CELERY_QUEUE": Rule("qerko.E021", kinds.is_text, "the name of a queue", '"qerko"'),
}


@checks.register(TAG)
def check_names(**_: Any) -> list[CheckMessage]:
    """``QERKO`` is a dict, and all of its names are known."""
    value = getattr(settings, "QERKO", {})
    if not isinstance(value, Mapping):
        return [checks.Error("The setting QERKO is no dict.", hint='Write QERKO = {"POS_ID": "…"}.', id="qerko.E001")]
    return [
        checks.Error(f"QERKO has an unknown name: {_shown(name)}.", hint=_nearest(name), id="qerko.E002")
        for name in value
        if name not in DEFAULTS
    ]


@checks.register(TAG)
def check_values(**_: Any) -> list[CheckMessage]:
    """Every value has the form that its name asks for."""
    return [
        checks.Error(
            f'QERKO["{name}"] is not {rule.wanted}.',
            hint=f'Write for example "{name}": {rule.example}, or leave the name out.',
            id=rule.id,
        )
        for name, rule in RULES.items()
        if not _is_unset(name) and not rule.holds(given()[name])
    ]


@checks.register(TAG)
def check_transport(**_: Any) -> list[CheckMessage]:
    """Neither the bearer nor what a guest pays travels in the clear."""
    hint = "Write https://; plain http is for localhost, 127.0.0.0/8 and [::1]."
    return [
        checks.Error(f'QERKO["{name}"] is plain http to another machine, and {what}.', hint=hint, id=identity)
        for name, (identity, what) in _IN_THE_CLEAR.items()
        if (parts := kinds.address(given().get(name)))
        and parts.scheme == "http"
        and not kinds.is_this_machine(parts.hostname or "")
    ]


@checks.register(TAG)
def check_slips(**_: Any) -> list[CheckMessage]:
    """An event that is answered later is spelt as Qerko spells it; a name that is like no other may be an event."""
    names = given().get("ANSWER_LATER", ())
    if not RULES["ANSWER_LATER"].holds(names):
        return []
    return [
        checks.Warning(
            f'QERKO["ANSWER_LATER"] names {_shown(name)}, which is no event of Qerko\'s that is known.',
            hint=f"Did you mean {known!r}?",
            id="qerko.W018",
        )
        for name in names
        if (known := meant(name))
    ]


@checks.register(TAG)
def check_identity(**_: Any) -> list[CheckMessage]:
    """The project says which integration it is."""
    if not _is_unset("POS_ID"):
        return []
    message = 'QERKO["POS_ID"] is missing, and Qerko takes no reply without it.'
    hint = "Set it to the UUID that Qerko gave your integration; the sandbox takes any UUID."
    if not hasattr(settings, "QERKO"):
        hint += " There is no setting QERKO at all: is it named so?"
    return [checks.Warning(message, hint=hint, id="qerko.W001")]


@checks.register(TAG)
def check_destination(**_: Any) -> list[CheckMessage]:
    """The project says where Qerko's API lives."""
    if settings.DEBUG or not _is_unset("BASE_URL"):
        return []
    message = 'QERKO["BASE_URL"] is missing, so replies have nowhere to go.'
    hint = f"Set it to the address of Qerko's API; the sandbox's is {SANDBOX_URL}."
    return [checks.Warning(message, hint=hint, id="qerko.W002")]


def _is_unset(name: str) -> bool:
    if name not in given():
        return True
    value = given()[name]
    return (value is None and DEFAULTS[name] is None) or (value == "" and name in _EMPTY_IS_UNSET)


def _shown(name: object) -> str:
    return repr(name)[:60] if isinstance(name, str) else f"one of type {type(name).__name__}"


def _nearest(name: object) -> str:
    near = get_close_matches(name.upper(), DEFAULTS, n=1) if isinstance(name, str) else []
    return f"Did you mean {near[0]!r}?" if near else f"Take it out; the names are {', '.join(DEFAULTS)}."

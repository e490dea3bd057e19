"""Which books are kept goes together: what locks a bill is told how it ended, and judges by what Qerko has."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Final

from django.core import checks
from django.core.checks import CheckMessage

from django_qerko import events
from django_qerko.checks.values import RULES, TAG
from django_qerko.conf import conf

_START: Final = events.PaymentStarted.NAME
_END: Final = events.PaymentClosed.NAME
#: Events whose answers show Qerko a bill.
_OFFERS: Final = tuple(
    str(event.NAME) for event in (events.TableContentsRequested, events.BillRequested, events.BillsSearched)
)


@checks.register(TAG)
def check_bookkeeping(**_: Any) -> list[CheckMessage]:
    """The books of one event lean on those of others."""
    kept = _kept()
    if _START not in kept:
        return []
    return [*_end(kept), *_snapshots(kept)]


def _kept() -> Set[str]:
    """The events of which books are kept; none where the setting is not what it must be, which is said elsewhere."""
    names = conf.BOOKKEEPING
    return frozenset(names) if RULES["BOOKKEEPING"].holds(names) else frozenset()


def _end(kept: Set[str]) -> list[CheckMessage]:
    if _END in kept:
        return []
    message = f'QERKO["BOOKKEEPING"] names {_START} and not {_END}, so a payment that has ended locks its bill still.'
    hint = f"Name {_END}, too, or take {_START} out and lock the items yourself."
    return [checks.Warning(message, hint=hint, id="qerko.W016")]


def _snapshots(kept: Set[str]) -> list[CheckMessage]:
    missing = [event for event in _OFFERS if event not in kept]
    if not missing or len(missing) == len(_OFFERS):
        return []
    message = (
        f'QERKO["BOOKKEEPING"] names {_START} and not {" and ".join(missing)}, so a payment is judged by an older '
        "snapshot of its bill than Qerko has."
    )
    hint = f"Name all of {', '.join(_OFFERS)}, or none of them: then payments are not judged by a snapshot."
    return [checks.Warning(message, hint=hint, id="qerko.W017")]

"""Diagnose deliveries that were turned away, with the keys and addresses that this project knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from django_qerko.conf import conf
from django_qerko.events import read_document
from django_qerko.exceptions import Rejection
from django_qerko.models import RestaurantKey
from django_qerko.receiving.explaining.case import Case
from django_qerko.receiving.explaining.causes import Cause
from django_qerko.receiving.explaining.effort import AT_THE_DOOR, Effort
from django_qerko.receiving.explaining.whole import explain
from django_qerko.receiving.explaining.window import explain_window
from django_qerko.signatures import Mac, SignedRequest, Window, body_window, verify

#: Keys of other restaurants that are tried, the newest first. Each is decrypted for it.
MAX_OTHERS: Final = 500

_NO_TIME: Final = Window(created=None, expires=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A delivery to a restaurant (its row) that was turned away, whole; ``is_genuine`` where its signature was right.

    It never leaves the memory of this process. Times are in Unix seconds.
    """

    restaurant: int
    request: SignedRequest = field(repr=False)
    is_genuine: bool
    judged: float
    received: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why a delivery was turned away. ``window`` and the moments are those of one whose signature was right."""

    causes: Sequence[Cause]
    window: Window | None = None
    judged: float | None = None
    received: float | None = None

    def as_json(self) -> dict[str, Any]:
        """What is kept with a sample."""
        kept: dict[str, Any] = {"causes": [cause.as_json() for cause in self.causes]}
        if self.window is not None:
            times = {"judged": self.judged, "received": self.received}
            kept["window"] = {"created": self.window.created, "expires": self.window.expires, **times}
        return kept


def diagnose(evidence: Sequence[Evidence]) -> Iterator[Diagnosis]:
    """Diagnose each, as far as an attacker may cause work. A statement for each, and one for all."""
    others = readable(RestaurantKey.objects.all()[:MAX_OTHERS]) if any(not one.is_genuine for one in evidence) else []
    for one in evidence:
        own = readable(RestaurantKey.objects.filter(restaurant=one.restaurant))
        if one.is_genuine and own:
            yield in_time(one.request, [mac for _, mac in own], judged=one.judged, received=one.received)
        else:
            yield signed(one.request, own, others, Effort(AT_THE_DOOR))


def readable(rows: Iterable[RestaurantKey]) -> list[tuple[int, Mac]]:
    """Rows and keys, without those that cannot be decrypted; the keyring logs these."""
    keys: list[tuple[int, Mac]] = []
    for row in rows:
        with suppress(ValueError):
            keys.append((row.pk, row.api_key.mac))
    return keys


def signed(
    request: SignedRequest,
    own: Sequence[tuple[int, Mac]],
    others: Sequence[tuple[int, Mac]],
    effort: Effort,
    *,
    origins: Sequence[str] = (),
) -> Diagnosis:
    """Why a signature does not verify; no cause where it does.

    ``own`` are the keys of the restaurant; ``origins`` addresses at which it may have been called.
    """
    if not own:
        return Diagnosis(causes=[Cause(name="no_key", told="The restaurant has no key that can be read.")])
    rows = {row for row, _ in own}
    case = Case(
        request=request,
        own=[mac for _, mac in own],
        others=[(row, mac) for row, mac in others if row not in rows],
        origins=[*origins, *known_origins()],
        effort=effort,
    )
    return Diagnosis(causes=explain(case, conf.SIGNATURE_SCHEMES))


def in_time(request: SignedRequest, own: Sequence[Mac], *, judged: float, received: float) -> Diagnosis:
    """Why the time window of a request is not now; no cause where it is. Its signature must verify."""
    window = _window(request, own)
    causes = explain_window(window, judged=judged, received=received, skew=conf.CLOCK_SKEW.total_seconds())
    return Diagnosis(causes=causes, window=window, judged=judged, received=received)


def known_origins() -> list[str]:
    """Where this project says that it lives: schemes, hosts and prefixes that a proxy may have hidden from us."""
    hosts = [host for host in settings.ALLOWED_HOSTS if host.strip(".*") == host]
    named = [conf.PUBLIC_URL, *settings.CSRF_TRUSTED_ORIGINS, *(f"//{host}" for host in hosts)]
    return [origin for origin in named if origin and "*" not in origin]


def _window(request: SignedRequest, own: Sequence[Mac]) -> Window:
    """The window that counts, the one that lasts longest of several (protocol section 2)."""
    try:
        seal = verify(request, own, schemes=conf.SIGNATURE_SCHEMES)
        if not seal.windows:
            document = read_document(request.body)
            return body_window(document.get("created"), document.get("expires"))
    except Rejection:
        return _NO_TIME
    return max(seal.windows, key=lambda window: window.expires or 0)

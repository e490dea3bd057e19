"""Count what was turned away, and remember a bounded sample."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from django.db import Error, connections
from django.http import HttpRequest
from django.utils import timezone

from django_qerko import exceptions
from django_qerko.models import Rejection, Restaurant
from django_qerko.models.kept import printable
from django_qerko.models.rejection import SAMPLES_KEPT
from django_qerko.receiving.diagnosis import Evidence, diagnose
from django_qerko.receiving.reading import signed_request

log: Final = logging.getLogger(__name__)

#: A process writes its counts this many seconds apart at least, so that a flood does not reach the database.
WRITTEN_EVERY: Final = 1.0
#: So many deliveries are diagnosed each time that it writes. Their bodies are held until then, and nowhere written.
DIAGNOSED_AT_ONCE: Final = 3
_SAMPLED_HEADERS: Final = 40
_SAMPLED_CHARACTERS: Final = 500
#: Headers whose value is sampled: none can be used again, none is secret.
_SAMPLED_VALUES: Final = frozenset({"content-digest", "content-type", "date", "host", "signature-input", "user-agent"})


@contextmanager
def rejected_at(restaurant: Restaurant | None, body: bytes, *, received: float | None = None) -> Iterator[None]:
    """Say of every rejection in here whose door it was, what was read of the body, and when it began to arrive."""
    try:
        yield
    except exceptions.Rejection as rejection:
        rejection.restaurant, rejection.body, rejection.received = restaurant, body, received
        raise


def turned_away(request: HttpRequest, rejection: exceptions.Rejection) -> None:
    """Count a rejection, and remember what may be remembered of it."""
    evidence = evidence_of(request, rejection) if counter.is_curious else None
    counter.note(rejection, sample_of(request, rejection), evidence)


#: Restaurant, reason and hour.
_Key: TypeAlias = tuple[int | None, str, datetime]


@dataclass(slots=True, eq=False)
class _Sample:
    members: dict[str, Any]
    evidence: Evidence | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Count:
    last_at: datetime
    number: int = 0
    samples: list[_Sample] = field(default_factory=list)

    def keep(self, samples: Iterable[_Sample]) -> None:
        """The newest, but those that are diagnosed before those that are not."""
        kept = [*self.samples, *samples]
        while len(kept) > SAMPLES_KEPT:
            kept.remove(next((sample for sample in kept if sample.evidence is None), kept[0]))
        self.samples = kept


class Counter:
    """Counts rejections in memory and writes them from a thread of its own, ``every`` so many seconds.

    With ``every=None`` it writes only when told to. A fork starts with an empty counter and a thread of its own, so
    that no count is written twice.
    """

    def __init__(self, every: float | None = WRITTEN_EVERY) -> None:
        self._every = every
        self._knows_exit = False
        self._begin()
        # Under gunicorn's --preload the counter is there before the workers are.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[_Key, _Count] = {}
        self._curiosity = DIAGNOSED_AT_ONCE
        self._thread: threading.Timer | None = None

    @property
    def is_curious(self) -> bool:
        """Whether the next evidence is looked at: in a flood the first are."""
        return self._curiosity > 0

    def note(self, rejection: exceptions.Rejection, sample: dict[str, Any], evidence: Evidence | None = None) -> None:
        """Count one rejection. Cheap: no statement here, and no diagnosis; that is for the thread that writes."""
        now = timezone.now()
        hour = now.replace(minute=0, second=0, microsecond=0)
        with self._lock:
            key = (getattr(rejection.restaurant, "pk", None), rejection.reason, hour)
            count = self._counts.setdefault(key, _Count(last_at=now))
            count.number += 1
            count.last_at = now
            self._curiosity -= evidence is not None
            count.keep([_Sample(sample, evidence)])
            self._ring()

    def write(self) -> None:
        """Write what was counted; what the database does not take now is kept for the next time."""
        with self._lock:
            counts = self._counts
            self._counts, self._curiosity = {}, DIAGNOSED_AT_ONCE
        _diagnose(counts.values())
        for key, count in counts.items():
            restaurant_id, reason, hour = key
            try:
                Rejection.objects.add(
                    restaurant_id=restaurant_id,
                    reason=reason,
                    hour=hour,
                    at=count.last_at,
                    number=count.number,
                    samples=[sample.members for sample in count.samples],
                )
            except Error as error:
                log.warning("%d rejections (%s) could not be written now: %s", count.number, reason, error)
                self._keep(key, count)

    def _ring(self) -> None:
        if self._every is None:
            return
        if self._thread is None:
            thread = threading.Timer(self._every, self._write_and_hang_up)
            thread.daemon = True
            # Where none can be had just now, the next rejection tries again; where the process ends, its exit writes.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread
        if not self._knows_exit:
            self._knows_exit = True
            atexit.register(self._write_and_hang_up)

    def _write_and_hang_up(self) -> None:
        with self._lock:
            self._thread = None
        try:
            self.write()
        finally:
            connections.close_all()

    def _keep(self, key: _Key, count: _Count) -> None:
        with self._lock:
            newer = self._counts.setdefault(key, _Count(last_at=count.last_at))
            newer.number += count.number
            newer.samples, kept = count.samples, newer.samples
            newer.keep(kept)
            self._ring()


def _diagnose(counts: Iterable[_Count]) -> None:
    """Add the causes to the samples that have evidence, which is then forgotten, whatever becomes of it."""
    samples = [sample for count in counts for sample in count.samples if sample.evidence is not None]
    evidence = [sample.evidence for sample in samples if sample.evidence is not None]
    for sample in samples:
        sample.evidence = None
    try:
        for sample, diagnosis in zip(samples, diagnose(evidence), strict=True):
            sample.members |= diagnosis.as_json()
    except Exception:
        # A stranger wrote what is diagnosed. Whatever goes wrong, the counts are written.
        log.exception("A delivery that was turned away could not be diagnosed")


def evidence_of(request: HttpRequest, rejection: exceptions.Rejection) -> Evidence | None:
    """What a diagnosis needs, where it is about a signature or a time."""
    if rejection.restaurant is None or not isinstance(rejection, exceptions.Forged | exceptions.OutOfWindow):
        return None
    now = time.time()
    return Evidence(
        restaurant=rejection.restaurant.pk,
        request=signed_request(request, rejection.body),
        is_genuine=isinstance(rejection, exceptions.OutOfWindow),
        judged=now,
        received=now if rejection.received is None else rejection.received,
    )


def sample_of(request: HttpRequest, rejection: exceptions.Rejection) -> dict[str, Any]:
    """What may be remembered of a delivery that was turned away: lengths, digests, the finding, never the body."""
    headers = list(request.headers.items())[:_SAMPLED_HEADERS]
    return {
        "id": secrets.token_hex(2),
        "at": timezone.now().isoformat(),
        "finding": printable(rejection.finding[:_SAMPLED_CHARACTERS]),
        "method": request.method,
        "body_length": len(rejection.body),
        "body_sha256": hashlib.sha256(rejection.body).hexdigest(),
        "header_lengths": {_printable(name): len(value) for name, value in headers},
        "headers": {name: _printable(value) for name, value in headers if name.lower() in _SAMPLED_VALUES},
    }


def _printable(text: str) -> str:
    return text[:_SAMPLED_CHARACTERS].encode("unicode_escape").decode()


counter: Final = Counter()

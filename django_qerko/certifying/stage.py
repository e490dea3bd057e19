"""Put a point of sale on the stage: Qerko listens to its replies while its rules are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from django_qerko.certifying.examining import UNKNOWN, Examiner
from django_qerko.certifying.playing import Play
from django_qerko.sandbox.conversation import PointOfSale
from django_qerko.sandbox.loopback import callable_address
from django_qerko.sandbox.qerko import PATIENCE
from django_qerko.sandbox.server import SandboxServer


@contextmanager
def on_stage(
    find: PointOfSale | Callable[[str], PointOfSale],
    *,
    port: int = 0,
    allow_remote: bool = False,
    patience: float = PATIENCE,
    failures: Mapping[str, str] = UNKNOWN,
) -> Iterator[Play]:
    """Have a play whose Qerko takes replies on this machine at ``port``; 0 is any free one.

    ``find`` is the point of sale, or is called with the address for its replies and gives it. It may stand elsewhere
    where ``allow_remote``. Whatever ends the play, each payment that it began is ended. ``failures`` are what its
    handlers broke with, by the ids of the events. Raises ValueError for an address that is not called, OSError where
    the port is taken.
    """
    known: list[PointOfSale] = []
    with (
        Examiner(patience=patience, allow_remote=allow_remote, failures=failures) as qerko,
        SandboxServer(qerko, known, port=port) as server,
    ):
        pos = find(server.api_url) if callable(find) else find
        known.append(replace(pos, url=callable_address(pos.url, allow_remote=allow_remote)))
        play = Play(qerko, known[0], api_url=server.api_url)
        try:
            yield play
        finally:
            play.end_payments()
